"""Market data of one exchange: from a socket's frame to the engine, in the same callback.

A frame is recorded, decoded and handed on before the callback returns: no queue and no task switch
lie between a tick and the order it causes.

A book that has lost its place is asked for anew, by REST where the exchange gives snapshots there,
else by subscribing again; one question at a time per market, with a pause that grows while it is
lost again soon. Where subscribing again does not help either, the socket is connected anew.

Once a second somebody looks at the sockets: one that does not come up is told, once per outage; for
the markets of one that has been silent for 30 s the mark price is asked by REST, so that exits have
a price (trading.md, section 6). After `run` no task of the feed is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.app.errands import Errands
from runner.base.clock import NS_PER_S, Clock, stopwatch_ns
from runner.base.errors import Down, ExchangeError
from runner.engine.events import Event, Feed, SocketState
from runner.exchanges.api import Decoded, HttpRequest, MarketCodec, SocketSpec, Want
from runner.net.websocket import Listener, SocketOptions, WebSocket

Sink = Callable[[Event], None]
Stages = Callable[[str, int], None]
Fetch = Callable[[HttpRequest], Awaitable[bytes]]
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0
_CALM_NS = 10 * NS_PER_S
_RESUBSCRIPTIONS = 3
_LOOK_S = 1.0
_TELL_DOWN_NS = 5 * NS_PER_S
_SILENT_NS = 30 * NS_PER_S
_MARK_EVERY_NS = 10 * NS_PER_S


class FrameTape(Protocol):
    """Where raw frames are kept; a run without recording has one that keeps nothing."""

    def opened(self, conn: int, t: int, wall: int, spec: SocketSpec, exchange: str) -> None: ...
    def frame(self, conn: int, t: int, wall: int, more: bool, message: bytes) -> None: ...
    def closed(self, conn: int, t: int, wall: int) -> None: ...


class Wire(Protocol):
    """What is needed of a `WebSocket`."""

    connects: int
    last_failure: str

    @property
    def up(self) -> bool: ...
    def send(self, message: bytes) -> None: ...
    def kick(self, reason: str) -> None: ...
    def close(self) -> None: ...
    async def run(self) -> None: ...


class MarketFeed:
    """All public and market sockets of one exchange."""

    def __init__(
        self,
        name: str,
        codec: MarketCodec,
        wants: Sequence[Want],
        sink: Sink,
        clock: Clock,
        tape: FrameTape,
        options: SocketOptions,
        fetch: Fetch,
        notice: Callable[[str, str], None],
        stages: Stages | None = None,
        before: Callable[[int, int], None] = lambda t, wall: None,
        opener: Callable[[SocketSpec, Listener, SocketOptions], Wire] = WebSocket,
    ) -> None:
        self.name = name
        self.codec = codec
        self.gaps = 0
        self.refused: list[str] = []
        """subscriptions the exchange did not grant, in its own words"""
        self.sockets: list[Wire] = []
        self._listeners = [
            _Listener(self, spec, sink, clock, tape, notice, stages, before)
            for spec in codec.sockets(wants)
        ]
        for listener in self._listeners:
            socket = opener(listener.spec, listener, options)
            listener.socket = socket
            self.sockets.append(socket)
        self._sink = sink
        self._clock = clock
        self._fetch = fetch
        self._notice = notice
        self._before = before
        self._errands = Errands()
        self._asking: set[str] = set()
        self._asked: dict[str, _Asked] = {}
        self._marked_at: dict[str, int] = {}
        self._closed = asyncio.Event()

    @property
    def frames(self) -> int:
        """Frames received."""
        return sum(listener.frames for listener in self._listeners)

    @property
    def unrecognised(self) -> int:
        """Parts of frames of a kind that the codec does not know."""
        return sum(listener.unrecognised for listener in self._listeners)

    @property
    def reconnects(self) -> int:
        """Connections beyond the first of each socket."""
        return sum(max(0, socket.connects - 1) for socket in self.sockets)

    async def run(self) -> None:
        """Keep all sockets until `close`; what a callback or a task raises ends the run."""
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._errands.watch())
                sockets = [group.create_task(socket.run()) for socket in self.sockets]
                await self._look_after()
                if sockets:
                    await asyncio.wait(sockets)
                watch.cancel()
        finally:
            await self._errands.end()

    def close(self) -> None:
        """End all sockets for good; `run` returns."""
        self._closed.set()
        for socket in self.sockets:
            socket.close()

    # -- books that lost their place

    def resync(self, market: str) -> None:
        """Ask for a book's snapshot; a question under way is enough."""
        self.gaps += 1
        if market not in self._asking and self._errands.start(self._ask(market)):
            self._asking.add(market)

    async def _ask(self, market: str) -> None:
        asked = self._asked.setdefault(market, _Asked())
        await asyncio.sleep(asked.pause(self._clock.mono()))
        request = self.codec.snapshot(market)
        try:
            if request is None:
                self._subscribe_again(market, anew=asked.count > _RESUBSCRIPTIONS)
                return
            body = await self._fetch(request)
            t, wall = self._clock.mono(), self._clock.wall()
            snapshot = self.codec.parse_snapshot(market, body, t, wall)
        except ExchangeError as error:
            self._hand_later(self._lost(market, str(error)))
        else:
            # Later, when this question counts as answered: the snapshot may cause the next one.
            self._hand_later(snapshot)
        finally:
            self._asking.discard(market)

    def _hand_later(self, event: Event) -> None:
        asyncio.get_running_loop().call_soon(self._hand, event)

    def _hand(self, event: Event) -> None:
        """Hand on an event that came on no socket, after the timers that are due before it."""
        if not self._closed.is_set():
            event.t, event.wall = self._clock.mono(), self._clock.wall()
            self._before(event.t, event.wall)
            self._sink(event)

    def _lost(self, market: str, reason: str) -> Event:
        """Return the word that the book is still lost, on which the engine asks again."""
        return Feed(
            exchange=self.name,
            socket="",
            kind="public",
            state=SocketState.RESYNC,
            markets=(market,),
            reason=reason,
        )

    def _subscribe_again(self, market: str, anew: bool) -> None:
        frames = self.codec.resubscribe(market)
        for listener in self._listeners:
            if market not in listener.spec.markets or not listener.socket.up:
                continue
            if anew:
                self._asked.pop(market, None)
                listener.socket.kick(f"{market} does not come back by subscribing again")
                continue
            try:
                for frame in frames:
                    listener.socket.send(frame)
            except Down as error:  # a fresh connection subscribes to everything
                listener.socket.kick(str(error))

    # -- sockets that are silent

    async def _look_after(self) -> None:
        while not self._closed.is_set():
            now = self._clock.mono()
            for listener in self._listeners:
                listener.look(now)
                if listener.silent_for(now) >= _SILENT_NS:
                    for market in listener.spec.markets:
                        self._ask_mark(market, now)
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._closed.wait()
            except TimeoutError:
                continue

    def _ask_mark(self, market: str, now: int) -> None:
        if now - self._marked_at.get(market, -_MARK_EVERY_NS) < _MARK_EVERY_NS:
            return
        request = self.codec.mark(market)
        if request is not None and self._errands.start(self._mark(market, request)):
            self._marked_at[market] = now

    async def _mark(self, market: str, request: HttpRequest) -> None:
        try:
            body = await self._fetch(request)
            t, wall = self._clock.mono(), self._clock.wall()
            events = self.codec.parse_mark(market, body, t, wall)
        except ExchangeError as error:
            self._notice(self.name, f"the mark of {market}: {error}")
            return
        for event in events:
            self._hand(event)


@dataclass(slots=True)
class _Asked:
    """How often a book was asked for within a short time."""

    count: int = 0
    last: int = 0

    def pause(self, now: int) -> float:
        """Count one question more; return the seconds to wait before it."""
        if now - self.last > _CALM_NS + int(self._wait() * NS_PER_S):
            self.count = 0
        wait = self._wait()
        self.count += 1
        self.last = now
        return wait

    def _wait(self) -> float:
        if not self.count:
            return 0.0
        return min(_FIRST_PAUSE_S * 2.0 ** (self.count - 1), _LONGEST_PAUSE_S)


class _Listener:
    """One socket's callbacks."""

    __slots__ = (
        "_before", "_clock", "_decode", "_down_since", "_feed", "_heard", "_id", "_notice", "_out",
        "_seen", "_sink", "_stages", "_tape", "frames", "socket", "spec", "unrecognised",
    )  # fmt: skip

    def __init__(
        self,
        feed: MarketFeed,
        spec: SocketSpec,
        sink: Sink,
        clock: Clock,
        tape: FrameTape,
        notice: Callable[[str, str], None],
        stages: Stages | None,
        before: Callable[[int, int], None],
    ) -> None:
        self.spec = spec
        self.socket: Wire
        self._feed = feed
        self._id = spec.id
        self._decode = feed.codec.decode
        self._sink = sink
        self._clock = clock
        self._tape = tape
        self._notice = notice
        self._stages = stages
        self._before = before
        self._out = Decoded()
        self.frames = 0
        self.unrecognised = 0
        self._seen = 0
        self._heard = clock.mono()
        self._down_since: int | None = self._heard

    def look(self, now: int) -> None:
        """Note whether frames came since the last look; say once why a socket stays down."""
        if self.frames != self._seen:
            self._seen, self._heard = self.frames, now
        if self._down_since is not None and now - self._down_since > _TELL_DOWN_NS:
            self._down_since = None
            why = self.socket.last_failure or "no answer"
            self._notice(self._feed.name, f"the {self._id} socket is down: {why}")

    def silent_for(self, now: int) -> int:
        """Return for how many ns no frame came, to the last look."""
        return now - self._heard

    def on_up(self, conn: int) -> None:
        t, wall = self._clock.mono(), self._clock.wall()
        self._down_since = None
        self._tape.opened(conn, t, wall, self.spec, self._feed.name)
        self._sink(self._event(SocketState.UP, conn, "", t, wall))

    def on_down(self, conn: int, reason: str) -> None:
        t, wall = self._clock.mono(), self._clock.wall()
        self._down_since = t
        self._sink(self._event(SocketState.DOWN, conn, reason, t, wall))
        self._tape.closed(conn, t, wall)

    def on_frame(self, message: bytes, more: bool, conn: int) -> None:
        t, wall = self._clock.mono(), self._clock.wall()
        self._before(t, wall)
        self._tape.frame(conn, t, wall, more, message)
        self.frames += 1
        out = self._out
        stages = self._stages
        if stages is None:
            self._decode(self._id, message, t, wall, conn, more, out)
        else:
            start = stopwatch_ns()
            self._decode(self._id, message, t, wall, conn, more, out)
            stages("decode", stopwatch_ns() - start)
        events = out.events
        if events:
            out.events = []
            for event in events:
                self._sink(event)
        if out.notices or out.unrecognised:
            self._rest(out)

    def _rest(self, out: Decoded) -> None:
        if out.unrecognised and not self.unrecognised:
            text = f"the {self._id} socket sent a frame of an unknown kind; more are only counted"
            self._notice(self._feed.name, text)
        self.unrecognised += out.unrecognised
        out.unrecognised = 0
        notices, out.notices = out.notices, []
        for text in notices:
            if text == "closing":
                self.socket.kick("the exchange announced that it closes the socket")
            elif text.startswith("refused"):
                self._refused(text)

    def _refused(self, text: str) -> None:
        """A stream that was not granted stays without data: say so, once, and keep it to show."""
        said = f"{self._id}: {text}"
        if said not in self._feed.refused:
            self._feed.refused.append(said)
            self._notice(self._feed.name, said)

    def _event(self, state: SocketState, conn: int, reason: str, t: int, wall: int) -> Feed:
        return Feed(
            exchange=self._feed.name,
            socket=self._id,
            kind=self.spec.kind.value,
            state=state,
            conn=conn,
            markets=self.spec.markets,
            reason=reason,
            t=t,
            wall=wall,
        )


class NoTape:
    """Keeps nothing."""

    def opened(self, conn: int, t: int, wall: int, spec: SocketSpec, exchange: str) -> None: ...
    def frame(self, conn: int, t: int, wall: int, more: bool, message: bytes) -> None: ...
    def closed(self, conn: int, t: int, wall: int) -> None: ...
