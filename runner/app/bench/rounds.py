"""The other process of a bench, and how it is asked for rounds (see `peer`)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import msgspec
import picows
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from runner.app.bench.peer import Result, Task
from runner.app.bench.setup import EVERY
from runner.base.errors import WorldError


@contextmanager
def own_core() -> Iterator[None]:
    """Keep this process on one core and let the peer have the others.

    The scheduler likes to put two processes that wake each other on one core, where each would
    preempt the other in the middle of its work; no exchange does that to us.
    """
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    if len(cores) < 2:
        yield
        return
    os.sched_setaffinity(0, cores[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@asynccontextmanager
async def peer() -> AsyncIterator[str]:
    """Start the other process; yield the root of its URLs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runner.app.bench.peer", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = (await process.stdout.readline()).strip()
        if not port:
            raise WorldError("bench: the process of the feed did not start")
        yield f"ws://127.0.0.1:{int(port)}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class Control(WSListener):
    """Asks the peer for rounds."""

    def __init__(self) -> None:
        self._transport: WSTransport | None = None
        self._answer: asyncio.Future[Result] | None = None

    @classmethod
    async def open(cls, root: str) -> Control:
        _, listener = await picows.ws_connect(cls, f"{root}/control")
        assert isinstance(listener, Control)
        return listener

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT and self._answer is not None:
            self._answer.set_result(msgspec.json.decode(frame.get_payload_as_bytes(), type=Result))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WorldError("bench: the process of the feed went away"))

    async def play(self, task: Task) -> Result:
        """Have one round played."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.send(WSMsgType.TEXT, msgspec.json.encode(task))
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.disconnect()


async def in_turns(
    control: Control, names: Sequence[str], rounds: int, frames: int, step_ns: int
) -> dict[str, list[Result]]:
    """Play rounds for these clients by turns, after one that warms the first up."""
    results: dict[str, list[Result]] = {name: [] for name in names}
    await control.play(Task(names[0], frames, EVERY, step_ns))
    for _ in range(rounds):
        for name, kept in results.items():
            kept.append(await control.play(Task(name, frames, EVERY, step_ns)))
    return results
