"""The other process of `bench loopback`: a feed and an order sink on one loopback port.

It speaks Binance USD-M: `/NAME/public/...` gets bookTicker frames of the combined stream,
`/NAME/trade` takes `order.place` and answers that the order expired unfilled. On `/control` it gets
`{"to": NAME, "frames": N, "every": K, "step_ns": S}`, sends the frames to that client at that pace,
every K-th with a heavy bid, and answers with the ns from sending such a frame to receiving the
order it caused: both ends are read on this process's clock. A trigger counts once; a second order
for it is a stray. Answers wait for the next quiet frame: no client sees the heavy bid twice. With a
`door` every second trigger is a signed message posted there (see `caller`) instead of a heavy bid.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import sys
from typing import Final

import msgspec
import picows
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest

from runner.app.bench.caller import Calls
from runner.app.bench.setup import LOUD_TOP, QUIET_TOP
from runner.base.clock import NS_PER_MS, NS_PER_S, SystemClock, stopwatch_ns

_GRACE_S: Final = 0.2
_ANSWER: Final = (
    '{"id":"%s","status":200,"result":{"orderId":%d,"symbol":"BTCUSDT","status":"EXPIRED",'
    '"clientOrderId":"%s","price":"60001.00","avgPrice":"0.00","origQty":"0.002",'
    '"executedQty":"0.000","cumQty":"0.000","cumQuote":"0.00","timeInForce":"IOC","type":"LIMIT",'
    '"reduceOnly":false,"side":"BUY","updateTime":%d},"rateLimits":[]}'
)


class Task(msgspec.Struct):
    """What one round is to be."""

    to: str
    frames: int
    every: int
    step_ns: int
    door: int = 0
    """port of a webhook; 0 without one"""


class Result(msgspec.Struct):
    """What one round was. Times in ns."""

    latencies: list[int]
    triggers: int
    strays: int
    behind: int
    """frames that left more than one step late"""
    posted: list[int] = []
    """latencies of messages; those of frames are `latencies`"""
    turned_away: int = 0
    """messages that were not answered with 202"""


class _Params(msgspec.Struct):
    newClientOrderId: str


class _Place(msgspec.Struct):
    id: str
    params: _Params


_place = msgspec.json.Decoder(_Place)
_task = msgspec.json.Decoder(Task)


class Peer:
    """All clients of this process."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.feeds: dict[str, WSTransport] = {}
        self.triggered = 0
        self.latencies: list[int] = []
        self.posted: list[int] = []
        self.calls = Calls(self.by_post)
        self.by_message = False
        """the open trigger is a message"""
        self.strays = 0
        self.orders = 0
        self.number = 0
        self.unanswered: list[tuple[WSTransport, bytes]] = []
        self.running: asyncio.Task[None] | None = None

    def accept(self, request: WSUpgradeRequest) -> WSListener | None:
        """Say who takes a connection, by its path."""
        path = request.path.decode().partition("?")[0].strip("/")
        name, _, what = path.partition("/")
        if path == "control":
            return _Control(self)
        if what.startswith("public"):
            return _Feed(self, name)
        if what.startswith("market"):
            return WSListener()  # marks are not sent here
        return _Trade(self) if what == "trade" else None

    def ordered(self, received: int) -> None:
        """Match an order with the trigger that is open."""
        self.orders += 1
        if self.triggered:
            found = self.posted if self.by_message else self.latencies
            found.append(received - self.triggered)
            self.triggered = 0
        else:
            self.strays += 1

    def by_post(self) -> None:
        """Note that a message is about to be written."""
        self.by_message, self.triggered = True, stopwatch_ns()

    async def play(self, task: Task, report: WSTransport) -> None:
        """Send one round of frames, each at its time."""
        self.latencies, self.posted, self.strays, self.triggered = [], [], 0, 0
        self.calls.turned_away = 0
        feed, clock, behind, triggers = self.feeds[task.to], self.clock, 0, 0
        due = stopwatch_ns()
        for i in range(1, task.frames + 1):
            due += task.step_ns
            await asyncio.sleep((due - stopwatch_ns()) / NS_PER_S)
            behind += stopwatch_ns() - due > task.step_ns
            self.number += 1
            now = clock.wall() // NS_PER_MS
            triggers += (fires := i % task.every == task.every // 2)  # a round ends quietly
            message = fires and task.door > 0 and triggers % 2 == 0
            loud = fires and not message
            frame = ((LOUD_TOP if loud else QUIET_TOP) % (self.number, now, now)).encode()
            if loud:
                self.by_message, self.triggered = False, stopwatch_ns()
            feed.send(WSMsgType.TEXT, frame)
            if self.unanswered and not loud:
                self._answer()
            if message:
                self.calls.post(task.door)
        await asyncio.sleep(_GRACE_S)
        result = Result(
            self.latencies, triggers, self.strays, behind, self.posted, self.calls.turned_away
        )
        report.send(WSMsgType.TEXT, msgspec.json.encode(result))

    def _answer(self) -> None:
        for transport, message in self.unanswered:
            order = _place.decode(message)
            now = self.clock.wall() // NS_PER_MS
            answer = _ANSWER % (order.id, self.orders, order.params.newClientOrderId, now)
            transport.send(WSMsgType.TEXT, answer.encode())
        self.unanswered.clear()


class _Feed(WSListener):
    def __init__(self, peer: Peer, name: str) -> None:
        self._peer, self._name = peer, name

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._peer.feeds[self._name] = transport


class _Trade(WSListener):
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        received = stopwatch_ns()
        if frame.msg_type is not WSMsgType.TEXT:
            return
        self._peer.ordered(received)
        self._peer.unanswered.append((transport, frame.get_payload_as_bytes()))


class _Control(WSListener):
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            task = _task.decode(frame.get_payload_as_bytes())
            peer = self._peer
            peer.running = asyncio.get_running_loop().create_task(peer.play(task, transport))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        asyncio.get_running_loop().stop()  # whoever asked is gone


def _other_cores() -> None:
    """Leave the core of the process that started us to it (see `loopback`)."""
    if sys.platform == "linux":
        cores = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
        if cores:
            os.sched_setaffinity(0, cores)


async def _serve() -> None:
    peer = Peer()
    server = await picows.ws_create_server(peer.accept, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until the control connection ends; the port is the first line of stdout.

    The loop waits by select(2), whose timeouts are in microseconds; epoll's are in milliseconds,
    which is five frames.
    """
    _other_cores()
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(_serve())
    loop.run_forever()


if __name__ == "__main__":
    main()
