"""Watches the connections to a listening door, so that nobody can hold all of it.

Theory of operation. A connection is a stranger until a message with proof came over it. Strangers

    have `STRANGER_S` from being opened to their proof, wherever the time goes: handshake apart, it
    may be spent on headers that come byte by byte, on a body, or on silence
    are at most `MOST_STRANGERS`; one more closes the oldest of the address that has most of them,
    so that one flooding machine pushes out itself, and others only when there is nobody else
    are closed with their answer when it is a no (the door's `force_close`)

Who proved itself may keep its connection for the next message. A TLS handshake has `HANDSHAKE_S`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

STRANGER_S: Final = 10.0
HANDSHAKE_S: Final = 5.0
MOST_STRANGERS: Final = 256
_KEEP_S: Final = 150.0
"""how long a connection with proof may be silent: longer than a proxy keeps it"""
_LINGER_S: Final = 1.0

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Stranger:
    """A connection without proof: from where, and the timer that ends it."""

    address: str
    transport: asyncio.Transport
    timer: asyncio.TimerHandle


class Doorkeeper(web.Server):
    """An HTTP server that closes connections which prove nothing; `turned_away` hears of each."""

    def __init__(
        self,
        answer: Answer,
        turned_away: Callable[[str, str], None],
        *,
        most: int = MOST_STRANGERS,
        patience_s: float = STRANGER_S,
    ) -> None:
        super().__init__(
            answer, access_log=None, keepalive_timeout=_KEEP_S, lingering_time=_LINGER_S
        )
        self._turned_away = turned_away
        self._most, self._patience = most, patience_s
        self._strangers: dict[web.RequestHandler, Stranger] = {}

    @property
    def strangers(self) -> int:
        """How many connections have proved nothing."""
        return len(self._strangers)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Begin to watch a connection, and make room for it."""
        super().connection_made(handler, transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        timer = asyncio.get_running_loop().call_later(self._patience, self._slow, handler)
        self._strangers[handler] = Stranger(address, transport, timer)
        if len(self._strangers) > self._most:
            self._make_room()

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection."""
        self._forget(handler)
        super().connection_lost(handler, exc)

    def proved(self, request: web.BaseRequest) -> None:
        """Let the connection of a request with proof stay."""
        self._forget(request.protocol)

    def _forget(self, handler: web.RequestHandler) -> Stranger | None:
        stranger = self._strangers.pop(handler, None)
        if stranger is not None:
            stranger.timer.cancel()
        return stranger

    def _slow(self, handler: web.RequestHandler) -> None:
        text = f"a connection brought no message with proof in {self._patience:g}s"
        self._end(handler, "slow", text)

    def _make_room(self) -> None:
        """Close the oldest stranger of the address that has the most."""
        counts = Counter(each.address for each in self._strangers.values())
        crowd = counts.most_common(1)[0][0]
        oldest = next(h for h, each in self._strangers.items() if each.address == crowd)
        self._end(oldest, "crowded", f"more than {self._most} connections without proof")

    def _end(self, handler: web.RequestHandler, code: str, text: str) -> None:
        stranger = self._forget(handler)
        if stranger is not None:
            stranger.transport.abort()
            self._turned_away(code, f"{text}, from {stranger.address}")
