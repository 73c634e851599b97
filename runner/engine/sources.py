"""Sources: what others said, held as fields that expressions read.

Theory of operation. The host hands over a `Signal` for every message that passed the door. Here it
is accepted or refused: known id (`dedupe`), not above the last `seq`, too old or from the future by
its sender's time. What is accepted is remembered in a row of the journal before anything acts on
it, so that a restart does not act twice.

The fields of a *state* stand until the message is `max_age` old; those of an *event* are shown for
the instant (`show`) and hidden again before the next event of the engine, once its traces are
written. A source has a state like a stream: LIVE, STALE by a timer (its message, or its heartbeat,
is too old), DOWN when its host says so, WAITING before the first message of a state. An event
source is LIVE while nothing speaks against it. Of a poll without fields, whose items a language
model is told of, every answer is a message.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runner.base.units import format_age, format_duration
from runner.engine.codes import Refusal, Why
from runner.engine.commands import Topic
from runner.engine.events import Pulse, Signal, SignalValue
from runner.engine.timers import NEVER, SECOND
from runner.market.streams import NEVER as LONG_AGO
from runner.market.streams import StreamState
from runner.spec.source_plan import FieldKind, FieldPlan, SchedulePlan, SourcePlan, SourceType

if TYPE_CHECKING:
    from runner.engine.desk import Desk

FUTURE: Final = 30 * SECOND
"""how far ahead of ours a sender's clock may be"""
REMEMBERED: Final = 3600 * SECOND
"""how long an id is known where the file has no `dedupe`"""
MOST_IDS: Final = 100_000
LARGEST: Final = 1e15
LONGEST_TEXT: Final = 500


class FieldCell:
    """One field; `value` is None (text, bool) or NaN (number) when missing."""

    __slots__ = ("empty", "value")

    def __init__(self, plan: FieldPlan) -> None:
        numeric = plan.type.numeric
        self.empty: SignalValue = math.nan if numeric else None
        self.value: SignalValue = self.empty


class SourceStream:
    """A source as rules see it; it has what the engine reads of any stream."""

    __slots__ = (
        "alive_at", "cells", "down", "event", "exchange", "heartbeat", "key", "lag", "last",
        "market", "max_age", "plan", "said", "seq", "state", "t", "ts", "watched_until",
    )  # fmt: skip

    def __init__(self, plan: SourcePlan) -> None:
        self.plan = plan
        self.key = plan.name
        self.market = self.exchange = ""
        self.max_age = plan.max_age_ns
        self.event = plan.event
        self.heartbeat = plan.heartbeat_ns
        self.cells = {name: FieldCell(each) for name, each in plan.fields.items()}
        self.said: dict[str, SignalValue] = {}
        """the fields of the last message of a state"""
        self.last: Mapping[str, SignalValue] = {}
        """those of the last message of any kind, for who looks on"""
        self.lag = self.ts = self.seq = 0
        self.t = LONG_AGO
        """when the last message was sent, on our monotonic clock"""
        self.alive_at = LONG_AGO
        self.down = ""
        self.state = StreamState.LIVE if plan.event else StreamState.WAITING
        self.watched_until = NEVER

    def age(self, now: int) -> int:
        """Return how long ago the last message was sent, in ns; huge before the first."""
        return now - self.t

    def settle(self, now: int) -> bool:
        """Derive the state at `now`, show or hide a state's fields; whether it changed."""
        before, self.state = self.state, self._judge(now)
        if not self.event:
            self.put(self.said if self.state is StreamState.LIVE else {})
        return self.state is not before

    def put(self, values: Mapping[str, SignalValue]) -> None:
        """Let the fields have these values; what is absent is missing."""
        for name, cell in self.cells.items():
            value = values.get(name)
            cell.value = cell.empty if value is None else value

    def deadline(self, now: int) -> int:
        """Return when the source goes stale unless something comes."""
        due = NEVER
        if self.heartbeat is not None and self.alive_at != LONG_AGO:
            due = self.alive_at + self.heartbeat + 1
        if not self.event and self.t != LONG_AGO and now - self.t <= self.max_age:
            due = min(due, self.t + self.max_age + 1)
        return due if due > now else NEVER

    def _judge(self, now: int) -> StreamState:
        if self.down and (self.event or self.t == LONG_AGO):
            return StreamState.DOWN
        silent = self.heartbeat is not None and now - self.alive_at > self.heartbeat
        if self.event:
            return StreamState.STALE if silent else StreamState.LIVE
        if self.t == LONG_AGO:
            return StreamState.WAITING
        old = now - self.t > self.max_age
        return StreamState.STALE if old or silent else StreamState.LIVE


class Pending(msgspec.Struct):
    """A message that waits to be acted on: `base` and the ends are monotonic ns."""

    source: str
    id: str
    values: dict[str, SignalValue]
    base: int
    until: int
    """the last instant at which it may start something"""
    ends: int
    """the last instant at which it may end something"""
    why: str = ""
    """the last refusal"""


@dataclass(slots=True)
class SourceCount:
    """What came of a source's messages."""

    accepted: int = 0
    late: int = 0
    lost: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Sources:
    """All sources of a strategy."""

    def __init__(self, desk: Desk, plans: Mapping[str, SourcePlan]) -> None:
        self.desk = desk
        self.streams = {name: SourceStream(plan) for name, plan in plans.items()}
        self.counts = {name: SourceCount() for name in plans}
        self.on_change: Callable[[SourceStream], None] = lambda _: None
        """a source's fields or state changed, and no signal says so"""
        self.run_after: Callable[[], None] = lambda: None
        self._seen: dict[str, dict[str, int]] = {name: {} for name in plans}
        self._seq: dict[str, float] = {}
        self._sent_at: dict[str, int] = {}
        self._shown: SourceStream | None = None

    def start(self) -> None:
        """Count heartbeats from now on."""
        for stream in self.streams.values():
            stream.alive_at = max(stream.alive_at, self.desk.now)
            stream.settle(self.desk.now)
            self._watch(stream)

    # -- a message

    def examine(self, signal: Signal) -> tuple[Refusal | None, bool]:
        """Return why a signal is not accepted, None when it is, and whether it came late.

        Nothing is changed: the door asks before it answers, the engine before it acts.
        """
        stream = self.streams.get(signal.source)
        if stream is None:
            return Refusal(Why.NO_SOURCE, f"no source is named {signal.source[:60]}"), False
        plan = stream.plan
        for name, each in plan.fields.items():
            value = signal.fields.get(name)
            if not each.derived and not fits(each, value):
                return Refusal(Why.BAD_FIELD, f"{plan.name}.{name} does not fit"), False
        known = self._repeated(plan, signal)
        if known is not None:
            return known, False
        age = signal.wall - signal.sent_at
        if age < -FUTURE:
            text = f"{plan.name} {signal.id} was sent {format_age(-age)} from now"
            return Refusal(Why.FUTURE, text), False
        if age <= self._tried_for(plan):
            return None, False
        text = f"{plan.name} {signal.id} {format_age(age)} / {_shown_age(plan)}"
        if plan.late is not None and age <= plan.late.max_age_ns and self._late(stream, signal):
            return None, True
        return Refusal(Why.LATE, text), False

    def on_signal(self, signal: Signal) -> tuple[Pending, bool] | None:
        """Accept a signal, or refuse it; return it as one that waits, and whether it is late."""
        refusal, late = self.examine(signal)
        if refusal is not None:
            self.refuse(signal.source, signal.id, refusal)
            stream = self.streams.get(signal.source)
            if stream is not None and stream.plan.type is SourceType.SCHEDULE:
                self.desk.tell("warn", f"not acted on: {refusal.text}", Topic.RULE)
            return None
        desk, stream = self.desk, self.streams[signal.source]
        plan, count = stream.plan, self.counts[signal.source]
        values = {name: v for name, v in signal.fields.items() if name in plan.fields}
        if plan.target is not None:
            values["target"] = plan.target.positions[str(values[plan.target.field])]
        age = max(0, signal.wall - signal.sent_at)
        base = desk.now if plan.type is SourceType.SCHEDULE else desk.now - age
        count.accepted += 1
        count.late += late
        stream.seq += 1
        stream.alive_at = desk.now
        self._remember(plan, signal)
        longest = plan.late.max_age_ns if plan.late is not None else 0
        ends = base + (longest if longest and self._late(stream, signal) else plan.max_age_ns)
        pending = Pending(plan.name, signal.id, values, base, base + plan.max_age_ns, ends)
        stream.t = base
        stream.last = values
        if not plan.event:
            stream.said = values
        stream.settle(desk.now)
        self._write(plan.name)
        self._watch(stream)
        return pending, late

    def refuse(self, source: str, id_: str, refusal: Refusal) -> None:
        """Count and record a message that is not accepted."""
        if source in self.counts:
            self.counts[source].refused[refusal.code.value] += 1
        self.desk.record(
            "signal_refused", source=source, id=id_, code=refusal.code.value, text=refusal.text
        )

    def on_pulse(self, pulse: Pulse) -> None:
        """Take a sign of life, or that a source is down."""
        stream = self.streams.get(pulse.source)
        if stream is None:
            return
        if pulse.ok:
            stream.alive_at = self.desk.now
            if not stream.event and not stream.cells:
                stream.t = self.desk.now
        before, stream.down = stream.down, "" if pulse.ok else pulse.reason or "down"
        if bool(before) != bool(stream.down):
            self.desk.record("source", source=pulse.source, ok=pulse.ok, why=pulse.reason)
        if stream.settle(self.desk.now):
            self.on_change(stream)
        self._watch(stream)

    # -- an event's instant

    def show(self, pending: Pending) -> None:
        """Show an event's fields until `hide`, which follows by itself after this event."""
        stream = self.streams[pending.source]
        if not stream.event:
            return
        if self._shown is not None:
            self.run_after()  # traces of the one shown before; they end with its `hide`
        self._shown = stream
        stream.put(pending.values)
        stream.t = pending.base
        stream.state = StreamState.LIVE

    def hide(self) -> None:
        """End the instant."""
        if self._shown is not None:
            self._shown.put({})
            self._shown.settle(self.desk.now)
            self._shown = None

    # -- what is remembered

    def known(self, source: str, id_: str) -> bool:
        """Whether an id was accepted and is still remembered."""
        return id_ in self._seen.get(source, ())

    def last_sent_at(self, source: str) -> int:
        """Return the sender's time (wall ns) of the last message accepted; 0 without one."""
        return self._sent_at.get(source, 0)

    def row(self, name: str) -> str:
        """Return a source's lasting state as JSON text."""
        stream = self.streams[name]
        row = {
            "v": 1,
            "seq": self._seq.get(name),
            "sent_at": self._sent_at.get(name, 0),
            "base": stream.t + self.desk.wall - self.desk.now if stream.t != LONG_AGO else None,
            "said": stream.said,
        }
        return msgspec.json.encode(row).decode()

    @property
    def heard(self) -> tuple[tuple[str, str, int], ...]:
        """All ids that are remembered: (source, id, wall ns)."""
        return tuple((n, i, w) for n, ids in self._seen.items() for i, w in ids.items())

    def restore(self, rows: Mapping[str, str], heard: Iterable[tuple[str, str, int]] = ()) -> None:
        """Take over what earlier runs remembered; `desk.now` and `wall` must be set."""
        desk = self.desk
        for source, id_, wall in heard:
            if source in self._seen:
                self._seen[source][id_] = wall
        for name, text in rows.items():
            stream = self.streams.get(name)
            if stream is None:
                continue
            row: dict[str, Any] = msgspec.json.decode(text)
            if row["seq"] is not None:
                self._seq[name] = float(row["seq"])
            self._sent_at[name] = row["sent_at"]
            said = row["said"]
            whole = all(fits(f, said.get(n)) for n, f in stream.plan.fields.items())
            if not stream.event and row["base"] is not None and said and whole:
                stream.said = said
                stream.t = row["base"] + desk.now - desk.wall

    # -- parts

    def _repeated(self, plan: SourcePlan, signal: Signal) -> Refusal | None:
        seen = self._seen[plan.name].get(signal.id) if signal.id else None
        if seen is not None and signal.wall - seen <= _remembered(plan):
            ago = format_age(signal.wall - seen)
            return Refusal(Why.DUPLICATE, f"{plan.name} {signal.id} was accepted {ago} ago")
        sent = self._sent_at.get(plan.name, 0)
        if plan.type is SourceType.SCHEDULE and signal.sent_at <= sent:
            return Refusal(Why.DUPLICATE, f"{plan.name} {signal.id} is not after the last")
        if not plan.event and not plan.seq and signal.sent_at < sent:
            text = f"{plan.name} {signal.id} was sent before the last one"
            return Refusal(Why.OUT_OF_ORDER, text)
        last = self._seq.get(plan.name)
        if plan.seq and last is not None:
            number = signal.fields.get(plan.seq)
            if not isinstance(number, int | float) or number <= last:
                text = f"{plan.name} {signal.id}: {plan.seq} {number} after {last:.15g}"
                return Refusal(Why.OUT_OF_ORDER, text)
        return None

    def _tried_for(self, plan: SourcePlan) -> int:
        """Return how old a message may be on arrival."""
        options = plan.options
        if isinstance(options, SchedulePlan):
            return max(plan.max_age_ns, options.missed_within_ns) + options.jitter_ns
        return plan.max_age_ns

    def _late(self, stream: SourceStream, signal: Signal) -> bool:
        """Whether a message of this kind may still end something when it is late."""
        before = {name: cell.value for name, cell in stream.cells.items()}
        stream.put(signal.fields)
        found = self.desk.program.conditions[late_key(stream.key)].true(self.desk.now)
        for name, cell in stream.cells.items():
            cell.value = before[name]
        return found

    def _remember(self, plan: SourcePlan, signal: Signal) -> None:
        seen = self._seen[plan.name]
        if signal.id:
            seen.pop(signal.id, None)
            seen[signal.id] = signal.wall
            self.desk.record("heard", source=plan.name, id=signal.id)
        oldest = signal.wall - _remembered(plan)
        while seen and (len(seen) > MOST_IDS or next(iter(seen.values())) < oldest):
            del seen[next(iter(seen))]
        if plan.seq:
            number = signal.fields.get(plan.seq)
            assert isinstance(number, int | float)
            self._seq[plan.name] = float(number)
        self._sent_at[plan.name] = signal.sent_at

    def _write(self, name: str) -> None:
        self.desk.record("source_row", name=name, json=self.row(name))

    def _watch(self, stream: SourceStream) -> None:
        """Set the timer of the source's deadline, unless an earlier one stands already."""
        due = stream.deadline(self.desk.now)
        if due < stream.watched_until:
            stream.watched_until = due
            self.desk.timers.at(due, self._look, (stream, due))

    def _look(self, subject: tuple[SourceStream, int]) -> None:
        stream, due = subject
        if stream.watched_until != due:
            return
        stream.watched_until = NEVER
        if stream.settle(self.desk.now):
            self.on_change(stream)
        self._watch(stream)


def fits(plan: FieldPlan, value: SignalValue) -> bool:
    """Return whether a value may stand in a field: its sort, its words, its bounds, its size."""
    if value is None:
        return plan.optional or plan.derived
    match plan.kind:
        case FieldKind.BOOL:
            return isinstance(value, bool)
        case FieldKind.TEXT:
            return isinstance(value, str) and len(value) <= LONGEST_TEXT
        case FieldKind.ENUM:
            return isinstance(value, str) and value in plan.values
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not math.isfinite(value) or abs(value) > LARGEST:
        return False
    if plan.kind is FieldKind.PRICE and value <= 0:
        return False
    low = -math.inf if plan.low is None else plan.low
    high = math.inf if plan.high is None else plan.high
    return low <= value <= high


def late_key(source: str) -> str:
    """Return the name under which a source's `late.when` is compiled."""
    return f"late {source}"


def _remembered(plan: SourcePlan) -> int:
    return plan.dedupe.within_ns if plan.dedupe is not None else REMEMBERED


def _shown_age(plan: SourcePlan) -> str:
    return format_duration(plan.max_age_ns)
