"""A listener that remembers, a scripted server, and a spec, for the tests of sockets."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection, serve

from runner.base.rng import seeded
from runner.exchanges.api import Keepalive, SocketKind, SocketSpec
from runner.net.websocket import SocketOptions
from tests.patience import PATIENCE_S

MS = 1_000_000


@dataclass
class Ear:
    """Remembers what a socket told it; `heard()` waits for the next call."""

    ups: list[int] = field(default_factory=list)
    frames: list[tuple[bytes, bool, int]] = field(default_factory=list)
    downs: list[tuple[int, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_up(self, conn: int) -> None:
        self.ups.append(conn)
        self._note(f"up {conn}")

    def on_frame(self, message: bytes, more: bool, conn: int) -> None:
        self.frames.append((message, more, conn))
        self._note(f"frame {conn}")

    def on_down(self, conn: int, reason: str) -> None:
        self.downs.append((conn, reason))
        self._note(f"down {conn}")

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.changed.set()

    async def until(self, condition: Callable[[Ear], bool], seconds: float = PATIENCE_S) -> None:
        async with asyncio.timeout(seconds):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()


def options() -> SocketOptions:
    return SocketOptions.make(itertools.count(1), seeded("tests"))


def spec(url: str, **rest: object) -> SocketSpec:
    return SocketSpec(id="public", url=url, kind=SocketKind.PUBLIC, **rest)  # type: ignore[arg-type]


def keepalive(every_ms: int = 0, frame: bytes | None = None, silence_ms: int = 60_000) -> Keepalive:
    return Keepalive(every_ns=every_ms * MS, frame=frame, silence_ns=silence_ms * MS)


@asynccontextmanager
async def server(
    script: Callable[[ServerConnection], Awaitable[None]], **rest: object
) -> AsyncIterator[str]:
    """Serve `script` on a free port of loopback and give its URL."""
    async with serve(script, "127.0.0.1", 0, **rest) as running:  # type: ignore[arg-type]
        (sock,) = running.sockets
        yield f"ws://127.0.0.1:{sock.getsockname()[1]}/ws"
