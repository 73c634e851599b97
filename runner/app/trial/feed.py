"""A test's happenings as events: series written out, ticks, and the clock readings of a run.

All updates of one instant are one read: each but the last says that newer frames wait behind it, so
that a rule that reads two books decides when both are there. A stream has a connection of its own;
`stale` is a frame that comes later than the stream's `max_age` allows, `down` the loss of its
connection.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from itertools import groupby
from math import inf
from typing import Any, Final

from runner.base.clock import NS_PER_S
from runner.engine.events import (
    Bar,
    ClockReading,
    Depth,
    Event,
    Feed,
    Funding,
    Mark,
    MarketEvent,
    Pulse,
    Signal,
    SocketState,
    Top,
    Trade,
)
from runner.spec.market_plan import StreamKind, StreamPlan
from runner.spec.plan import Plan
from runner.spec.source_plan import SourceType
from runner.spec.trial_plan import SeriesPlan, TickPlan, TrialPlan, Value

RUN_ID: Final = "test000001"
CLOCK_EVERY: Final = 30 * NS_PER_S
TOUCH: Final = 1_000_000.0
"""what a touch offers, in the quote, when a test does not say how much"""
FUNDING_EVERY: Final = 8 * 3600.0
_LATE: Final = NS_PER_S


class Wire:
    """One stream as a test feeds it: its last values, its connection, its next event."""

    def __init__(self, plan: Plan, stream: StreamPlan, conn: int, start: int) -> None:
        market = plan.markets[stream.market]
        self.stream = stream
        self.market = stream.market
        self.exchange = market.exchange
        self.instrument = market.instrument
        self.values: dict[str, Any] = {}
        self._conn = conn
        self._start = start
        self._touch = 0.0
        self._ids = 0
        self._make = {
            StreamKind.BOOK: self._top,
            StreamKind.TRADES: self._trade,
            StreamKind.MARK: self._mark,
            StreamKind.FUNDING: self._funding,
            StreamKind.BARS: self._bar,
        }[stream.kind]

    def event(self, t: int) -> Event:
        """Return the update that carries the values now in force."""
        return self._made(t, self._start + t)

    def late(self, t: int) -> Event:
        """Return an update that was sent too long ago to count."""
        age = self.stream.max_age_ns or 0
        return self._made(t, self._start + t - age - _LATE)

    def lost(self, t: int) -> Event:
        """Return the loss of the connection; what comes next comes on another."""
        conn, self._conn = self._conn, self._conn + 1
        return Feed(
            exchange=self.exchange,
            socket="test",
            kind="public",
            state=SocketState.DOWN,
            conn=conn,
            markets=(self.market,),
            t=t,
            wall=self._start + t,
        )

    def levels(self, tick: TickPlan) -> Event:
        """Return a whole book."""
        self._ids += 1
        event = Depth(
            market=self.market,
            snapshot=True,
            bids=list(tick.bids),
            asks=list(tick.asks),
            first=self._ids,
            last=self._ids,
        )
        if tick.bids:
            self.values["bid"], self.values["bid_qty"] = tick.bids[0]
        if tick.asks:
            self.values["ask"], self.values["ask_qty"] = tick.asks[0]
        return self._stamped(event, tick.t, self._start + tick.t)

    def _made(self, t: int, ts: int) -> Event:
        return self._stamped(self._make(t), t, ts)

    def _stamped(self, event: MarketEvent, t: int, ts: int) -> Event:
        event.t, event.wall = t, self._start + t
        event.ts, event.conn = ts, self._conn
        return event

    def _top(self, t: int) -> Top:
        values = self.values
        bid = values["bid"]
        if not self._touch:
            lots = max(1, int(TOUCH / (bid * self.instrument.lot_base_f)))
            self._touch = lots * self.instrument.lot_f
        return Top(
            market=self.market,
            bid=bid,
            ask=values["ask"],
            bid_qty=values.get("bid_qty", self._touch),
            ask_qty=values.get("ask_qty", self._touch),
        )

    def _trade(self, t: int) -> Trade:
        values = self.values
        qty = values.get("qty", self.instrument.lot_f)
        return Trade(
            market=self.market, price=values["last"], qty=qty, taker=values.get("taker", "")
        )

    def _mark(self, t: int) -> Mark:
        return Mark(market=self.market, price=self.values["price"])

    def _funding(self, t: int) -> Funding:
        values, wall = self.values, self._start + t
        interval = round(values.get("interval", FUNDING_EVERY) * NS_PER_S)
        if "next_in" in values:
            next_at = wall + round(values.pop("next_in") * NS_PER_S)
        else:
            next_at = (wall // interval + 1) * interval
        return Funding(market=self.market, rate=values["rate"], next_at=next_at, interval=interval)

    def _bar(self, t: int) -> Bar:
        values, every = self.values, self.stream.every_ns or 0
        close = values["close"]
        return Bar(
            market=self.market,
            every=every,
            open_at=self._start + t - every,
            open=values.get("open", close),
            high=values.get("high", close),
            low=values.get("low", close),
            close=close,
            volume=values.get("volume", 0.0),
            closed=True,
        )


class Timeline:
    """All events of a test in the order of time."""

    def __init__(self, plan: Plan, trial: TrialPlan) -> None:
        self.plan = plan
        self.trial = trial
        self.ticks = 0
        """values given so far"""
        self.wires = {
            key: Wire(plan, stream, 1 + 1_000_000 * i, trial.starts_ns)
            for i, (key, stream) in enumerate(plan.streams.items())
        }

    def reads(self) -> Iterator[tuple[int, list[Event]]]:
        """Yield what happens at each instant, all but the last market event `more`."""
        parts = (self._clocks(), self._series(), self._ticks(), self._calendars())
        merged = heapq.merge(*parts, key=lambda e: e.t)
        for t, group in groupby(merged, key=lambda e: e.t):
            events = list(group)
            market = [event for event in events if isinstance(event, MarketEvent)]
            for event in market[:-1]:
                event.more = True
            yield t, events

    def _clocks(self) -> Iterator[Event]:
        start = self.trial.starts_ns
        for t in range(CLOCK_EVERY, self.trial.until_ns + 1, CLOCK_EVERY):
            for name in self.plan.exchanges:
                yield ClockReading(exchange=name, offset=0, uncertainty=0, t=t, wall=start + t)

    def _calendars(self) -> Iterator[Event]:
        """Let the calendars of the file come at their own instants."""
        plans = [s for s in self.plan.sources.values() if s.type is SourceType.SCHEDULE]
        if not plans:
            return
        from runner.app.timetable import Timetable  # the library behind it is slow to load

        start = self.trial.starts_ns
        table = Timetable(plans, RUN_ID, lambda _: 0)
        table.begin(start - 1)
        while (wall := table.next) <= start + self.trial.until_ns:
            for name, instant in table.due(wall):
                said = table.message(instant)
                yield Signal(
                    source=name,
                    id=said.id,
                    fields=dict(said.fields),
                    sent_at=said.sent_at,
                    t=wall - start,
                    wall=wall,
                )

    def _series(self) -> Iterator[Event]:
        streams: dict[str, list[SeriesPlan]] = {}
        for series in self.trial.series:
            streams.setdefault(series.stream, []).append(series)
        feeds = [_Columns(self.wires[key], columns) for key, columns in streams.items()]
        length = max((feed.length for feed in feeds), default=0)
        every = self.trial.every_ns
        for i in range(length):
            for feed in feeds:
                if i < feed.length:
                    event = feed.step(i, i * every)
                    self.ticks += feed.given
                    if event is not None:
                        yield event

    def _ticks(self) -> Iterator[Event]:
        for tick in self.trial.ticks:
            self.ticks += 1
            if tick.source:
                yield self._message(tick)
                continue
            event = self._tick(self.wires[tick.key], tick)
            if event is not None:
                yield event

    def _message(self, tick: TickPlan) -> Event:
        """Return a message of a source as the door hands it on, or what befell the source."""
        t, wall = tick.t, self.trial.starts_ns + tick.t
        if tick.state:
            up = tick.state == "up"
            return Pulse(source=tick.key, ok=up, reason="" if up else "down", t=t, wall=wall)
        plan = self.plan.sources[tick.key]
        by = plan.dedupe.by if plan.dedupe is not None else "id"
        sent = wall - tick.old_ns
        values = dict(tick.values)
        id_ = str(values.get(by) or "")
        return Signal(source=tick.key, id=id_, fields=values, sent_at=sent, t=t, wall=wall)

    def _tick(self, wire: Wire, tick: TickPlan) -> Event | None:
        if tick.state == "down":
            return wire.lost(tick.t)
        if tick.state:
            return wire.late(tick.t) if wire.values else None
        if tick.bids or tick.asks:
            return wire.levels(tick)
        if wire.stream.kind is StreamKind.TRADES:
            wire.values.pop("taker", None)
        _put(wire.values, tick.values)
        return wire.event(tick.t)


class _Columns:
    """The series of one stream, side by side."""

    __slots__ = ("columns", "given", "length", "needed", "wire")

    def __init__(self, wire: Wire, series: list[SeriesPlan]) -> None:
        self.wire = wire
        self.columns = [(each.field, each.values.values()) for each in series]
        self.length = max(len(values) for _, values in self.columns)
        self.needed = {"bid", "ask"} if wire.stream.kind is StreamKind.BOOK else set()
        self.given = 0
        """values that the last step gave"""

    def step(self, i: int, t: int) -> Event | None:
        """Take the i-th values; return their event, None when there is no update."""
        values = self.wire.values
        given, stale = 0, False
        for name, column in self.columns:
            if i >= len(column):
                continue
            value = column[i]
            if value != value:
                continue
            given += 1
            if value == inf:
                stale = True
            else:
                values[name] = value
        self.given = given
        if not given or (self.needed and not self.needed <= values.keys()):
            return None
        return self.wire.late(t) if stale else self.wire.event(t)


def _put(values: dict[str, Any], given: Mapping[str, Value | None]) -> None:
    values.update(given)
