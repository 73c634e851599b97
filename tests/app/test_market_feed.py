"""A market feed against an exchange that does what the test says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from runner.app.market_feed import MarketFeed, NoTape, _Asked
from runner.base.clock import NS_PER_S, VirtualClock
from runner.base.errors import Down
from runner.base.rng import seeded
from runner.engine.events import Depth, Event, Feed, Mark, SocketState, Top
from runner.exchanges.api import Decoded, HttpRequest, MarketCodec, SocketKind, SocketSpec, Want
from runner.net.mock import MockSocket
from runner.net.websocket import Listener, SocketOptions
from tests.patience import PATIENCE_S

SNAPSHOT = HttpRequest("GET", "https://x/depth")
MARK = HttpRequest("GET", "https://x/mark")


class Codec:
    """Frames are words; books come by REST unless `resubscribes`."""

    def __init__(self, resubscribes: bool = False) -> None:
        self.resubscribes = resubscribes

    def sockets(self, wants: Sequence[Want]) -> list[SocketSpec]:
        return [SocketSpec("public", "wss://x", SocketKind.PUBLIC, markets=("m",))]

    def decode(
        self, socket: str, frame: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded
    ) -> None:
        if frame == b"odd":
            out.unrecognised += 1
        elif frame == b"bug":
            raise ZeroDivisionError
        elif frame == b"top":
            out.events.append(Top(market="m", bid=1, ask=2, bid_qty=1, ask_qty=1, conn=conn))
        else:
            out.notices.append(frame.decode())

    def snapshot(self, market: str) -> HttpRequest | None:
        return None if self.resubscribes else SNAPSHOT

    def resubscribe(self, market: str) -> tuple[bytes, ...]:
        return (b"again " + market.encode(),)

    def parse_snapshot(self, market: str, body: bytes, t: int, wall: int) -> Event:
        return Depth(market=market, bids=[], asks=[], snapshot=True)

    def mark(self, market: str) -> HttpRequest | None:
        return MARK

    def parse_mark(self, market: str, body: bytes, t: int, wall: int) -> list[Event]:
        return [Mark(market=market, price=5.0)]


class Wire(MockSocket):
    """Stays until it is closed."""

    last_failure = "no route"

    def __init__(self, spec: SocketSpec, listener: Listener, options: SocketOptions) -> None:
        super().__init__(listener)
        self.kicked: list[str] = []
        self._closed = asyncio.Event()

    async def run(self) -> None:
        await self._closed.wait()

    def kick(self, reason: str = "") -> None:
        self.kicked.append(reason)

    def close(self) -> None:
        self._closed.set()
        super().close()


class Lab:
    """One feed with one socket."""

    def __init__(self, codec: Codec) -> None:
        self.clock = VirtualClock()
        self.events: list[Event] = []
        self.notices: list[str] = []
        self.asked: list[HttpRequest] = []
        self.says: bytes | Down = b""
        self.feed = MarketFeed(
            "x",
            cast(MarketCodec, codec),
            [],
            self.events.append,
            self.clock,
            NoTape(),
            SocketOptions.make(itertools.count(1), seeded("x")),
            self._fetch,
            lambda name, text: self.notices.append(text),
            opener=Wire,
        )
        self.wire = cast(Wire, self.feed.sockets[0])

    async def _fetch(self, request: HttpRequest) -> bytes:
        self.asked.append(request)
        await asyncio.sleep(0)
        if isinstance(self.says, Down):
            raise self.says
        return self.says

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Lab]:
        before = asyncio.all_tasks()
        task = asyncio.create_task(self.feed.run())
        await asyncio.sleep(0)
        try:
            yield self
            self.feed.close()
            await asyncio.wait_for(task, PATIENCE_S)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert asyncio.all_tasks() == before

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    def all(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


def scenario(play: Callable[[Lab], Any], resubscribes: bool = False) -> Lab:
    async def run() -> Lab:
        lab = Lab(Codec(resubscribes))
        async with lab.running():
            lab.wire.connect()
            await play(lab)
        return lab

    return asyncio.run(run())


def test_a_frame_is_handed_on_before_its_callback_returns() -> None:
    async def play(lab: Lab) -> None:
        lab.wire.push(b"top")
        assert len(lab.all(Top)) == 1 and lab.feed.frames == 1

    scenario(play)


def test_a_book_is_asked_for_once_however_often_it_is_missed() -> None:
    async def play(lab: Lab) -> None:
        for _ in range(3):
            lab.feed.resync("m")
        await lab.settle()
        assert lab.asked == [SNAPSHOT] and len(lab.all(Depth)) == 1
        assert lab.feed.gaps == 3

    scenario(play)


def test_a_failed_question_is_told_so_that_the_engine_asks_again() -> None:
    async def play(lab: Lab) -> None:
        lab.says = Down("502")
        lab.feed.resync("m")
        await lab.settle()
        (told,) = [e for e in lab.all(Feed) if e.state is SocketState.RESYNC]
        assert told.markets == ("m",) and told.reason == "502"
        lab.says = b""
        lab.feed.resync("m")
        now = asyncio.get_running_loop().time
        begun = now()
        async with asyncio.timeout(PATIENCE_S):
            while not lab.all(Depth):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert now() - begun >= 0.2, "the second question waits a moment"
        assert lab.asked == [SNAPSHOT] * 2

    scenario(play)


def test_the_pause_grows_while_a_book_is_lost_again_and_ends_with_calm() -> None:
    asked, now, pauses = _Asked(), 0, []
    for _ in range(8):
        pauses.append(asked.pause(now))
        now += int(pauses[-1] * NS_PER_S)
    assert pauses == [0, 0.25, 0.5, 1, 2, 4, 8, 10]
    assert asked.pause(now + 21 * NS_PER_S) == 0


def test_subscribing_again_brings_a_book_back_and_after_three_times_a_new_connection() -> None:
    async def run() -> None:
        lab = Lab(Codec(resubscribes=True))
        async with lab.running():
            lab.wire.connect()
            lab.feed.resync("m")
            await lab.settle()
            assert lab.wire.sent == [b"again m"] and not lab.asked
            lab.feed._asked["m"].count = 3
            lab.feed._asked["m"].last = -(1 << 60)  # long ago: it begins anew
            lab.feed.resync("m")
            await lab.settle()
            assert lab.wire.sent == [b"again m"] * 2
            lab.feed._subscribe_again("m", anew=True)
            assert len(lab.wire.kicked) == 1

    asyncio.run(run())


def test_what_is_refused_or_unknown_is_told_once_and_kept_to_show() -> None:
    async def play(lab: Lab) -> None:
        lab.wire.push(b"refused no such topic", b"refused no such topic", b"odd", b"odd")
        assert lab.feed.refused == ["public: refused no such topic"]
        assert lab.feed.unrecognised == 2
        assert len(lab.notices) == 2

    scenario(play)


def test_a_socket_that_is_announced_to_close_is_connected_anew() -> None:
    async def play(lab: Lab) -> None:
        lab.wire.push(b"closing")
        assert len(lab.wire.kicked) == 1

    scenario(play)


def test_a_silent_socket_has_its_marks_asked_by_rest() -> None:
    async def play(lab: Lab) -> None:
        lab.clock.advance(31 * NS_PER_S)
        now = lab.clock.mono()
        for listener in lab.feed._listeners:
            assert listener.silent_for(now) >= 30 * NS_PER_S
        lab.feed._ask_mark("m", now)
        lab.feed._ask_mark("m", now + NS_PER_S)
        await lab.settle()
        assert lab.asked == [MARK]
        assert [(e.price, e.conn) for e in lab.all(Mark)] == [(5.0, 0)]

    scenario(play)


def test_a_socket_that_stays_down_is_told_once_with_the_reason() -> None:
    async def play(lab: Lab) -> None:
        lab.wire.drop("gone")
        for _ in range(3):
            lab.clock.advance(6 * NS_PER_S)
            lab.feed._listeners[0].look(lab.clock.mono())
        assert lab.notices == ["the public socket is down: no route"]

    scenario(play)


def test_closing_leaves_no_task_and_no_later_event() -> None:
    async def play(lab: Lab) -> None:
        lab.feed.resync("m")
        await asyncio.sleep(0)

    lab = scenario(play)
    assert not lab.all(Depth)


def test_a_task_that_dies_ends_the_feed_with_its_error() -> None:
    async def run() -> None:
        lab = Lab(Codec())
        lab.feed.codec.parse_snapshot = lambda *given: 1 / 0  # type: ignore[assignment,method-assign]
        task = asyncio.create_task(lab.feed.run())
        await asyncio.sleep(0)
        lab.feed.resync("m")
        with pytest.raises(ExceptionGroup) as caught:
            await asyncio.wait_for(task, PATIENCE_S)
        assert caught.group_contains(ZeroDivisionError)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
