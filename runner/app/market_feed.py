"""Market data of one exchange: from a socket's frame to the engine, in the same callback.

A frame is recorded, decoded and handed on before the callback returns: no queue and no task switch
lie between a tick and the order it causes. A book that has lost its place is asked for anew, by
REST where the exchange gives snapshots there, else by subscribing again; one question at a time
per market, with a pause that grows while answers fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from runner.base.clock import Clock, stopwatch_ns
from runner.base.errors import ExchangeError
from runner.engine.events import Event, Feed, SocketState
from runner.exchanges.api import Decoded, HttpRequest, MarketCodec, SocketSpec, Want
from runner.net.websocket import SocketOptions, WebSocket

Sink = Callable[[Event], None]
Stages = Callable[[str, int], None]
Fetch = Callable[[HttpRequest], Awaitable[bytes]]
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0


class FrameTape(Protocol):
    """Where raw frames are kept; a run without recording has one that keeps nothing."""

    def opened(self, conn: int, t: int, wall: int, spec: SocketSpec, exchange: str) -> None: ...
    def frame(self, conn: int, t: int, wall: int, more: bool, message: bytes) -> None: ...
    def closed(self, conn: int, t: int, wall: int) -> None: ...


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
    ) -> None:
        self.name = name
        self.codec = codec
        self.frames = 0
        self.unrecognised = 0
        self.gaps = 0
        self.sockets: list[WebSocket] = []
        self._listeners = [
            _Listener(self, spec, sink, clock, tape, notice, stages, before)
            for spec in codec.sockets(wants)
        ]
        for listener in self._listeners:
            socket = WebSocket(listener.spec, listener, options)
            listener.socket = socket
            self.sockets.append(socket)
        self._sink = sink
        self._clock = clock
        self._fetch = fetch
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}

    @property
    def reconnects(self) -> int:
        """Connections beyond the first of each socket."""
        return sum(max(0, socket.connects - 1) for socket in self.sockets)

    async def run(self) -> None:
        """Keep all sockets until `close`; what a callback raises ends the run."""
        async with asyncio.TaskGroup() as group:
            for socket in self.sockets:
                group.create_task(socket.run())

    def close(self) -> None:
        """End all sockets for good."""
        for task in self._asking.values():
            task.cancel()
        for socket in self.sockets:
            socket.close()

    def resync(self, market: str) -> None:
        """Ask for a book's snapshot; a question under way is enough."""
        self.gaps += 1
        running = self._asking.get(market)
        if running is not None and not running.done():
            return
        self._asking[market] = asyncio.get_running_loop().create_task(self._ask(market))

    async def _ask(self, market: str) -> None:
        failures = self._failures.get(market, 0)
        if failures:
            await asyncio.sleep(min(_FIRST_PAUSE_S * 2**failures, _LONGEST_PAUSE_S))
        request = self.codec.snapshot(market)
        try:
            if request is None:
                self._subscribe_again(market)
            else:
                body = await self._fetch(request)
                t, wall = self._clock.mono(), self._clock.wall()
                self._sink(self.codec.parse_snapshot(market, body, t, wall))
        except ExchangeError as error:
            self._failures[market] = failures + 1
            self._sink_later(market, str(error))
            return
        self._failures.pop(market, None)

    def _sink_later(self, market: str, reason: str) -> None:
        """The engine asks again when it is told that the book is still lost."""
        asyncio.get_running_loop().call_soon(self._lost, market, reason)

    def _lost(self, market: str, reason: str) -> None:
        self._asking.pop(market, None)
        self._sink(
            Feed(
                exchange=self.name,
                socket="",
                kind="public",
                state=SocketState.RESYNC,
                markets=(market,),
                reason=reason,
                t=self._clock.mono(),
                wall=self._clock.wall(),
            )
        )

    def _subscribe_again(self, market: str) -> None:
        frames = self.codec.resubscribe(market)
        for listener in self._listeners:
            if market in listener.spec.markets and listener.socket.up:
                for frame in frames:
                    listener.socket.send(frame)


class _Listener:
    """One socket's callbacks."""

    __slots__ = (
        "_before", "_clock", "_decode", "_feed", "_id", "_notice", "_out", "_sink", "_stages",
        "_tape", "socket", "spec",
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
        self.socket: WebSocket
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

    def on_up(self, conn: int) -> None:
        t, wall = self._clock.mono(), self._clock.wall()
        self._tape.opened(conn, t, wall, self.spec, self._feed.name)
        self._sink(self._event(SocketState.UP, conn, "", t, wall))

    def on_down(self, conn: int, reason: str) -> None:
        t, wall = self._clock.mono(), self._clock.wall()
        self._sink(self._event(SocketState.DOWN, conn, reason, t, wall))
        self._tape.closed(conn, t, wall)

    def on_frame(self, message: bytes, more: bool, conn: int) -> None:
        t, wall = self._clock.mono(), self._clock.wall()
        self._before(t, wall)
        self._tape.frame(conn, t, wall, more, message)
        self._feed.frames += 1
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
        self._feed.unrecognised += out.unrecognised
        out.unrecognised = 0
        notices, out.notices = out.notices, []
        for text in notices:
            if text == "closing":
                self.socket.kick("the exchange announced that it closes the socket")
            elif text.startswith("refused"):
                self._notice(self._feed.name, text)

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
