"""The market half of the engine's state: events in, streams up to date.

`apply` is the hot path: a top of book on a live stream is stored in a few assignments. Staleness
costs it one comparison, because only the earliest deadline of all streams is kept (`due`) and it is
moved on when it passes, not when a frame comes. Everything else goes through `Stream.settle`.

Bars fetched for warm-up and marks fetched by REST come with `conn` 0: they belong to no
connection, so they warm nothing and take no lag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from runner.market.book import Step
from runner.market.events import (
    Bar,
    ClockReading,
    Depth,
    Event,
    Feed,
    Funding,
    Mark,
    MarketEvent,
    SocketState,
    Top,
    Trade,
)
from runner.market.freshness import FAR, SECOND, Link
from runner.market.streams import (
    NEVER,
    AnyStream,
    BarsStream,
    BookStream,
    FundingStream,
    MarkStream,
    StreamState,
    TradesStream,
)

_LIVE: Final = StreamState.LIVE
_ASK_AGAIN: Final = 5 * SECOND
_MARKET_SOCKETS: Final = frozenset(("public", "market"))


@dataclass(frozen=True, slots=True)
class StreamWant:
    """One stream to keep. `kind` is book, trades, mark, funding or bars; `max_age_ns` None: no
    limit; `every_ns` belongs to bars. `deep`: the book is not live before its levels are known.
    """

    key: str
    market: str
    exchange: str
    kind: str
    max_age_ns: int | None = None
    every_ns: int | None = None
    deep: bool = False


class Past(Protocol):
    """What a history tells of streams; see the event `History`."""

    t: int
    wall: int
    bars: dict[str, list[tuple[int, float, float, float, float, float]]]
    funding: dict[str, list[tuple[int, float]]]


class MarketState:
    """All streams of a strategy. `due` is the monotonic ns at which `on_timer` must be called."""

    __slots__ = (
        "_bars", "_books", "_by_type", "_funding", "_links", "_marks", "_sync", "_trades", "due",
        "resyncs", "streams",
    )  # fmt: skip

    def __init__(self, wants: Sequence[StreamWant]) -> None:
        self.streams: dict[str, AnyStream] = {}
        self.due = FAR
        self.resyncs: list[tuple[str, str]] = []
        """(market, reason) of books that need a snapshot; the engine empties it"""
        self._books: dict[str, BookStream] = {}
        self._trades: dict[str, TradesStream] = {}
        self._marks: dict[str, MarkStream] = {}
        self._funding: dict[str, FundingStream] = {}
        self._bars: dict[tuple[str, int], BarsStream] = {}
        self._links: dict[int, Link] = {}
        self._sync: dict[str, int] = {}
        self._by_type: dict[type[Event], Callable[..., AnyStream | None]] = {
            Depth: self._depth,
            Trade: self._trade,
            Mark: self._mark,
            Funding: self._rate,
            Bar: self._bar,
        }
        for want in wants:
            self._add(want)

    def apply(self, event: Event) -> AnyStream | None:
        """Take a market event; return the stream it changed, None when it changed none."""
        if type(event) is not Top:
            take = self._by_type.get(type(event))
            return None if take is None else take(event)
        stream = self._books.get(event.market)
        if stream is None:
            return None
        link = stream.link
        if link.id != event.conn:
            link = self._relink(stream, event)
        stream.t = t = event.t
        ts = event.ts
        if ts:
            stream.ts = ts
            delay = event.wall - ts
            if delay >= link.low and t < link.rotate_at:  # as in Link.stamp
                lag = link.lag = delay - link.floor
            else:
                lag = link.stamp(t, event.wall, ts)
        else:
            lag = link.lag
        stream.lag = lag
        u = event.u
        bid = event.bid
        ask = event.ask
        if stream.state is _LIVE and (u >= stream.u or not u) and 0.0 < bid < ask:
            stream.seq += 1
            stream.u = u
            stream.bid = stream.last_bid = bid
            stream.ask = stream.last_ask = ask
            stream.bid_qty = stream.last_bid_qty = event.bid_qty
            stream.ask_qty = stream.last_ask_qty = event.ask_qty
            if t + stream.max_age - lag < self.due:
                self._arm(stream, t)
            return stream
        if u and u < stream.u:
            return stream if self._settle(stream, t) else None
        stream.seq += 1
        stream.u = u
        stream.touch(bid, ask, event.bid_qty, event.ask_qty)
        self._settle(stream, t)
        return stream

    def on_timer(self, now: int) -> list[AnyStream]:
        """Settle what has gone stale, or warm, by `now`; return the streams that changed."""
        self.due = FAR
        return [stream for stream in self.streams.values() if self._settle(stream, now)]

    def on_feed(self, feed: Feed) -> list[AnyStream]:
        """Take a socket's going up or down, or a book's loss; return the streams that changed."""
        if feed.kind not in _MARKET_SOCKETS:
            return []
        if feed.state is SocketState.RESYNC:
            return self._lose(feed)
        if feed.state is SocketState.UP:
            sync = self._sync.get(feed.exchange)
            if feed.conn not in self._links:
                self._links[feed.conn] = Link(feed.conn, feed.exchange, feed.t, sync)
            return self._reopen(feed)
        self._links.pop(feed.conn, None)
        changed: list[AnyStream] = []
        for stream in self.streams.values():
            if stream.exchange == feed.exchange and stream.link.id == feed.conn:
                stream.drop()
                if self._settle(stream, feed.t):
                    changed.append(stream)
        return changed

    def on_clock(self, reading: ClockReading) -> list[AnyStream]:
        """Take a time sync: a second floor for the lag, and the end of warming."""
        if not reading.ok:
            return []
        sync = reading.uncertainty - reading.offset
        self._sync[reading.exchange] = sync
        for link in self._links.values():
            if link.exchange == reading.exchange:
                link.synced(sync)
        return [
            stream
            for stream in self.streams.values()
            if stream.exchange == reading.exchange and self._settle(stream, reading.t)
        ]

    def on_history(self, history: Past) -> list[AnyStream]:
        """Take the last closed bars and the last payments of before; return what changed.

        They prove no stream: values show once a frame has come.
        """
        for key, rows in history.bars.items():
            stream = self.streams.get(key)
            if isinstance(stream, BarsStream) and rows and rows[-1][0] > stream.open_at:
                stream.open_at = rows[-1][0]
                stream.closed += 1
                stream.new = rows[-1][1:]
        for market, payments in history.funding.items():
            funding = self._funding.get(market)
            paid = [at for at, _ in payments if at <= history.wall]
            if funding is not None and paid:
                funding.paid(paid[-1])
        return [s for s in self.streams.values() if s.t != NEVER and self._settle(s, history.t)]

    def _add(self, want: StreamWant) -> None:
        age = FAR if want.max_age_ns is None else want.max_age_ns
        stream: AnyStream
        if want.kind == "book":
            stream = BookStream(want.key, want.market, want.exchange, age, want.deep)
            self._books[want.market] = stream
        elif want.kind == "trades":
            stream = self._trades[want.market] = TradesStream(
                want.key, want.market, want.exchange, age
            )
        elif want.kind == "mark":
            stream = self._marks[want.market] = MarkStream(
                want.key, want.market, want.exchange, age
            )
        elif want.kind == "funding":
            stream = self._funding[want.market] = FundingStream(
                want.key, want.market, want.exchange, age
            )
        elif want.kind == "bars" and want.every_ns:
            stream = BarsStream(want.key, want.market, want.exchange, age, want.every_ns)
            self._bars[want.market, want.every_ns] = stream
        else:
            raise ValueError(f"{want.key}: no stream of kind {want.kind!r} (bars need every_ns)")
        self.streams[want.key] = stream

    def _depth(self, event: Depth) -> BookStream | None:
        stream = self._books.get(event.market)
        if stream is None:
            return None
        stream.deep = True
        if event.conn:
            self._stamp(stream, event)
        step = stream.book.apply(event)
        if step is Step.APPLIED:
            stream.seq += 1
            stream.gap = False
            if event.snapshot and event.conn:
                stream.u = 0  # a socket's snapshot begins the ids anew
            self._retouch(stream)
        elif step is Step.GAP:
            stream.lose()
            self._ask(stream, event, "gap")
        elif step is Step.KEPT:
            self._ask(stream, event, "no snapshot", again=False)
        elif step is Step.TOO_OLD:
            self._ask(stream, event, "snapshot too old")
        changed = self._settle(stream, event.t)
        if stream.crossed and step is Step.APPLIED and stream.u == stream.book.last:
            self._ask(stream, event, "crossed", again=False)
        return stream if changed or step is Step.APPLIED else None

    def _retouch(self, stream: BookStream) -> None:
        """Take the touch from the levels unless a newer top of book is there."""
        if stream.book.last >= stream.u or not stream.whole:
            stream.u = stream.book.last
            stream.touch(*stream.book.best())

    def _trade(self, event: Trade) -> TradesStream | None:
        stream = self._trades.get(event.market)
        if stream is not None:
            self._stamp(stream, event)
            stream.new = (event.price, event.qty)
            self._count(stream, event.t)
        return stream

    def _mark(self, event: Mark) -> MarkStream | None:
        stream = self._marks.get(event.market)
        if stream is not None:
            self._stamp(stream, event)
            stream.new = event.price
            self._count(stream, event.t)
        return stream

    def _rate(self, event: Funding) -> FundingStream | None:
        stream = self._funding.get(event.market)
        if stream is not None:
            self._stamp(stream, event)
            stream.new = event.rate
            stream.schedule(event.next_at, event.interval, event.wall)
            self._count(stream, event.t)
        return stream

    def _bar(self, event: Bar) -> BarsStream | None:
        stream = self._bars.get((event.market, event.every))
        if stream is None:
            return None
        self._stamp(stream, event)
        if not event.closed or event.open_at <= stream.open_at:
            return stream if self._settle(stream, event.t) else None
        stream.open_at = event.open_at
        stream.closed += 1
        stream.new = (event.open, event.high, event.low, event.close, event.volume)
        self._count(stream, event.t)
        return stream

    def _stamp(self, stream: AnyStream, event: MarketEvent) -> None:
        link = stream.link
        if not event.conn:
            stream.lag = 0
        else:
            if link.id != event.conn:
                link = self._relink(stream, event)
            stream.lag = link.stamp(event.t, event.wall, event.ts)
        stream.t = event.t
        if event.ts:
            stream.ts = event.ts

    def _count(self, stream: AnyStream, now: int) -> None:
        stream.seq += 1
        self._settle(stream, now)

    def _relink(self, stream: AnyStream, event: MarketEvent) -> Link:
        """Find the connection a frame came on; one that nobody announced opened with it."""
        link = self._links.get(event.conn)
        if link is None:
            sync = self._sync.get(stream.exchange)
            link = Link(event.conn, stream.exchange, event.t, sync)
            self._links[event.conn] = link
        stream.link = link
        stream.down = False
        if event.t < link.warm_at():
            self._settle(stream, event.t)
        return link

    def _settle(self, stream: AnyStream, now: int) -> bool:
        changed = stream.settle(now)
        if stream.state is _LIVE:
            self.due = min(self.due, stream.deadline())
        elif stream.state is StreamState.WAITING and now < stream.link.warm_at():
            self.due = min(self.due, stream.link.warm_at())
        return changed

    def _arm(self, stream: AnyStream, now: int) -> None:
        """Bring `due` forward to this stream's deadline, which may have passed already."""
        self._settle(stream, now)

    def _ask(self, stream: BookStream, event: Depth, reason: str, again: bool = True) -> None:
        """Ask for a snapshot, at most once per 5 s unless something new went wrong."""
        if again or event.t - stream.asked_at > _ASK_AGAIN:
            stream.asked_at = event.t
            self.resyncs.append((stream.market, reason))

    def _lose(self, feed: Feed) -> list[AnyStream]:
        changed: list[AnyStream] = []
        for market in feed.markets:
            stream = self._books.get(market)
            if stream is None or stream.exchange != feed.exchange:
                continue
            stream.book.clear()
            stream.lose()
            stream.asked_at = feed.t
            self.resyncs.append((market, feed.reason or "gap"))
            if self._settle(stream, feed.t):
                changed.append(stream)
        return changed

    def _reopen(self, feed: Feed) -> list[AnyStream]:
        """Let streams that were down wait for their first frame on the new connection."""
        changed: list[AnyStream] = []
        for stream in self.streams.values():
            if stream.down and stream.exchange == feed.exchange and stream.market in feed.markets:
                stream.down = False
                if self._settle(stream, feed.t):
                    changed.append(stream)
        return changed
