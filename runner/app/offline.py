"""Runs without a socket: a strategy over recordings, and a recorded run decided again.

`replay_market` is a dry-run whose market is a recording: virtual time, paper fills, the same engine
and host. `replay_run` feeds a recorded run's own events and compares decisions, line by line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from runner.app.assembly import Parts, assemble, facts_event, host_of
from runner.app.decisions import DecisionLog
from runner.app.driver import Driver
from runner.app.frames import FrameReader
from runner.app.host import Host, JournalApi, Observer
from runner.app.paper import PaperDesk
from runner.app.paper_readiness import PaperReadiness
from runner.app.why import gather
from runner.base.clock import NS_PER_S
from runner.base.errors import WorldError
from runner.engine import build
from runner.engine.caretaking import with_care
from runner.engine.commands import Cancel, CancelAll, Query, Reconcile
from runner.engine.events import (
    ClockReading,
    Event,
    Facts,
    History,
    MarketEvent,
    Operator,
    Pulse,
    Readiness,
    Ready,
    Signal,
    Timer,
)
from runner.engine.proof import Journaled
from runner.engine.saved import Saved
from runner.spec.plan import Plan
from runner.spec.source_plan import SourceType
from runner.store.lines import AnyLine, Ev, In, Open
from runner.store.recording import Recording, merge

_CLOCK_EVERY = 30 * NS_PER_S
_FIRST_CLOCK = 3 * NS_PER_S
_AFTERMATH = 5 * NS_PER_S
_LONGEST_SILENCE = 7 * 86_400 * NS_PER_S
"""between two lines: windows would be moved slot by slot through years in which nothing was seen"""


class ClockFromFrames:
    """A time sync out of a capture: the least (receive - event time) seen is the clocks' offset.

    Nobody asked the exchange for its time when the capture was made; the quickest frame of the
    last half minute is the best witness there is.
    """

    def __init__(self, exchange_of: dict[str, str]) -> None:
        self._exchange_of = exchange_of
        self._least: dict[str, int] = {}
        self._next: dict[str, int] = {}

    def see(self, event: Event) -> ClockReading | None:
        """Take a market event; return a reading when one is due for its exchange."""
        if not isinstance(event, MarketEvent) or not event.ts or not event.conn:
            return None
        name = self._exchange_of[event.market]
        delay = event.wall - event.ts
        least = self._least.get(name)
        if least is None or delay < least:
            self._least[name] = least = delay
        due = self._next.setdefault(name, event.t + _FIRST_CLOCK)
        if event.t < due:
            return None
        self._next[name] = event.t + _CLOCK_EVERY
        del self._least[name]
        return ClockReading(exchange=name, offset=-least, uncertainty=0, t=event.t, wall=event.wall)


class MarketReplay:
    """One dry-run over recordings."""

    def __init__(
        self,
        plan: Plan,
        run_id: str,
        journal: JournalApi,
        balance: Decimal,
        observers: Sequence[Observer] = (),
        *,
        timed: bool = False,
    ) -> None:
        self.plan = plan
        facts = {name: build.catalogue_facts(plan, name) for name in plan.exchanges}
        self.parts: Parts = assemble(plan, run_id, facts)
        self.desk = PaperDesk(
            plan, self.parts.instruments, self.parts.books, run_id, balance=balance
        )
        self.parts.observers += [PaperReadiness(self), *observers]
        self.host: Host
        self.driver: Driver
        self.host, self.driver = host_of(
            self.parts, self.desk, journal, agenda=self.desk, virtual=True, timed=timed
        )
        self._facts = facts
        self._clocks = ClockFromFrames({m.name: m.exchange for m in plan.markets.values()})
        self._has_clock: set[str] = set()
        self.reader = FrameReader(plan, self._market, self.driver.advance)
        self._last = (0, 0)
        from runner.app.timetable import Timetable  # and with it APScheduler: only a replay does

        calendars = [s for s in plan.sources.values() if s.type is SourceType.SCHEDULE]
        self._table = Timetable(calendars, run_id, self.parts.engine.sources.last_sent_at)

    def run(self, lines: Iterable[AnyLine], until_ns: int | None = None) -> None:
        """Replay all lines (at most `until_ns` of recorded time), then stop the run."""
        frame, begun = self.reader.line, False
        start = 0
        for line in lines:
            if line.t < 0:
                continue  # a head: it carries no time of its own
            if not begun:
                begun, start = True, line.t
                self.begin(line.t, line.w)
                self._table.begin(line.w)
            if until_ns is not None and line.t - start > until_ns:
                break
            if line.t - self._last[0] > _LONGEST_SILENCE and self._last != (0, 0):
                raise WorldError(_apart(self._last[1], line.w))
            if self._table.next <= line.w:
                self._calendar(line.t, line.w)
            if isinstance(line, Ev):
                self._recorded(line.event())
            else:
                frame(line)
            self._last = (line.t, line.w)
        if not begun:
            raise WorldError("the recording holds no line")
        self.finish()

    def unseen(self) -> list[str]:
        """Return the markets, in words, of which the recordings held nothing."""
        seen = {s.market for s in self.parts.engine.market.streams.values() if s.seq}
        markets = [m for m in self.plan.markets.values() if m.name not in seen]
        types = self.plan.exchanges
        return [f"{m.name} ({m.symbol} on {types[m.exchange].type})" for m in markets]

    def begin(self, t: int, wall: int) -> None:
        """Tell the engine what stands before the first frame."""
        for name in self.plan.exchanges:
            self.host.feed(facts_event(name, self._facts[name], t, wall))
            self.host.feed(Ready(exchange=name, state=Readiness.RECONCILING, t=t, wall=wall))
            self.desk.reconcile(Reconcile(exchange=name, reason="start"), t, wall)

    def finish(self) -> None:
        """Stop as an operator would, and give orders in flight time to settle."""
        t, wall = self._last
        self.driver.advance(t, wall)
        self.parts.collector.leave_streams()
        self.host.feed(
            Operator(command="stop", who="runner", why="end of recording", t=t, wall=wall)
        )
        self.driver.advance(t + _AFTERMATH, wall + _AFTERMATH)
        self.parts.collector.end(t, wall)
        gather.keep(self.parts.engine, self.host.journal, whole=True)

    def _market(self, event: Event) -> None:
        reading = self._clocks.see(event)
        if reading is not None and reading.exchange not in self._has_clock:
            self.host.feed(reading)
        self.driver.feed(event)

    def _history(self, event: History) -> History:
        """Return what a recorded run knew of the past, of the markets that this one has."""
        markets = self.plan.markets
        return History(
            closes={m: rows for m, rows in event.closes.items() if m in markets},
            bars={key: rows for key, rows in event.bars.items() if key in self.plan.streams},
            funding={m: rows for m, rows in event.funding.items() if m in markets},
            t=event.t,
            wall=event.wall,
        )

    def _calendar(self, t: int, wall: int) -> None:
        """Let the times of calendars come, each at its own instant of the recording."""
        while self._table.next <= wall:
            at = self._table.next
            then = max(t - (wall - at), self._last[0])
            self.driver.advance(then, at)
            for name, instant in self._table.due(at):
                said = self._table.message(instant)
                self.host.feed(
                    Signal(source=name, id=said.id, fields={}, sent_at=instant, t=then, wall=at)
                )

    def _recorded(self, event: Event) -> None:
        """Of a recorded run's own events, those that speak of the market count."""
        if isinstance(event, MarketEvent):
            if event.market in self.plan.markets:
                self.driver.advance(event.t, event.wall)
                self.driver.feed(event)
        elif isinstance(event, History):
            self.driver.advance(event.t, event.wall)
            self.host.feed(self._history(event))
        elif isinstance(event, Signal | Pulse):
            source = self.plan.sources.get(event.source)
            if source is not None and source.type is not SourceType.SCHEDULE:
                self.driver.advance(event.t, event.wall)
                self.host.feed(event)
        elif isinstance(event, ClockReading | Facts) and event.exchange in self.plan.exchanges:
            if isinstance(event, ClockReading):
                self._has_clock.add(event.exchange)
            self.driver.advance(event.t, event.wall)
            self.host.feed(event)


def _apart(before: int, after: int) -> str:
    """Say that recordings do not belong together; both times in wall ns."""
    days = [
        datetime.fromtimestamp(wall / 1e9, UTC).strftime("%Y-%m-%d") for wall in (before, after)
    ]
    return f"the recordings lie apart, {days[0]} and {days[1]}: replay them one by one"


class NoOrders:
    """The order side of a run that is decided again: what came back is in the recording."""

    def send(self, orders: list[Journaled], t: int, wall: int) -> None: ...
    def amend(self, order: Journaled, t: int, wall: int) -> None: ...
    def cancel(self, command: Cancel, t: int, wall: int) -> None: ...
    def cancel_all(self, command: CancelAll, t: int, wall: int) -> None: ...
    def query(self, command: Query, t: int, wall: int) -> None: ...
    def reconcile(self, command: Reconcile, t: int, wall: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a replay decided otherwise: line number (1-based), both texts ("" where none)."""

    line: int
    recorded: str
    decided: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of `replay_run`."""

    events: int
    decisions: int
    divergence: Divergence | None
    broken: str
    unwritten: int = 0
    """decisions behind the last one that a run which was killed had written"""
    unrecorded: int = 0
    """decisions that were written, of the time behind the place where the recording is cut off"""


def replay_run(
    plan: Plan,
    recording: Recording,
    decisions: Path,
    journal: JournalApi,
    restored: Saved | None,
    adopt: bool = False,
) -> Verdict:
    """Decide a recorded run again and compare each decision with the recorded line."""
    text = decisions.read_text("utf-8", errors="replace") if decisions.exists() else ""
    expected = text[: text.rfind("\n") + 1].splitlines()  # a run that was killed leaves half a line
    decided: list[str] = []
    parts = assemble(
        with_care(plan, restored), recording.head.run, {}, restored=restored, adopt=adopt
    )
    parts.observers[:] = [DecisionLog(decided.append)]
    host, driver = host_of(parts, NoOrders(), journal, timed=False)
    reader = FrameReader(plan, driver.feed, lambda t, wall: None)
    for line in recording:
        if isinstance(line, Ev):
            event = line.event()
            if isinstance(event, Timer):
                host.tick(event.t, event.wall)
            else:
                host.feed(event)
        elif isinstance(line, In):
            reader.frame(line)
        elif isinstance(line, Open):
            reader.connect(line)  # its `Feed` event is in the recording
    killed = not recording.state.ended
    both = min(len(decided), len(expected)) if killed else max(len(decided), len(expected))
    difference = _first_difference(expected[:both], decided[:both])
    unwritten, unrecorded = max(0, len(decided) - both), max(0, len(expected) - both)
    broken = recording.state.broken
    return Verdict(
        host.handled, len(decided) - unwritten, difference, broken, unwritten, unrecorded
    )


def _first_difference(recorded: list[str], decided: list[str]) -> Divergence | None:
    for number in range(max(len(recorded), len(decided))):
        a = recorded[number] if number < len(recorded) else ""
        b = decided[number] if number < len(decided) else ""
        if a != b:
            return Divergence(number + 1, a, b)
    return None


def lines_of(folders: Sequence[Path], say: Callable[[str], None]) -> Iterable[AnyLine]:
    """Open recordings and yield their lines in the order of time; tell what was cut off."""
    recordings = [Recording(folder) for folder in folders]
    yield from merge(recordings)
    for each in recordings:
        if each.state.broken:
            say(f"{each.folder}: read {each.state.lines} lines, then: {each.state.broken}")


def saved_from(data: object) -> Saved | None:
    """Read the state that a recorded run had taken over, from its head."""
    return None if not data else msgspec.convert(data, Saved)
