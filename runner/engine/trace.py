"""Traces: why a rule did what it did, what it was refused, and what stood in its way meanwhile.

Theory of operation. Rings are kept per rule *and* per outcome, so that a million "not true" cannot
push out the one refusal. A refusal is recorded when its reason differs from the last; otherwise it
is counted. Changes of state that move nothing lasting (idle and pending, a part of `when` turning
false) stay in memory; the others are commands, so that the journal has them.

The values of a trace cost more than the decision itself. They are read after the commands of the
event were handed over and before anything else is touched (`Desk.after`): the same values, off the
path of the order. A trace that stays in memory keeps the numbers and is put into words when
somebody asks.

A look, every second, asks what stands in each rule's way and books the time (`tally`); it is a
timer of the engine that reads and decides nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from runner.engine.blocking import Block, Reading, readings, why_not
from runner.engine.codes import Refusal
from runner.engine.commands import Origin, Trace
from runner.engine.events import Event, Operator, OrderEvent
from runner.engine.limits import STOP
from runner.engine.rule import RuleRun, RuleState
from runner.engine.tally import Near, Tallies, Tally
from runner.engine.timers import MS, SECOND

if TYPE_CHECKING:
    from runner.engine.desk import Desk

RING: Final = 32
LOOK: Final = 1 * SECOND
LOOK_FIRST: Final = 250 * MS
FIRST: Final = 60 * SECOND
"""in the first minute of a run the looks are closer: a short run is to be told something too"""
_LEAVES: Final = (RuleState.ACTIVE, RuleState.LEAVING)
_WAITS: Final = (RuleState.IDLE, RuleState.WARMING)
_COMPARES: Final = (RuleState.IDLE, RuleState.ACTIVE)
"""states in which a condition is waited for"""


@dataclass(slots=True)
class Funnel:
    """Counts of a rule for the report."""

    true: int = 0
    entries: int = 0
    exits: int = 0
    no_fill: int = 0
    rejected: int = 0
    repairs: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Moment:
    """One decision as it is kept: numbers now, words when asked."""

    t: int
    wall: int
    number: int
    rule: str
    cause: str
    origin: Origin
    before: str
    after: str
    refusal: Refusal | None
    part: str
    found: list[Reading]
    reads: tuple[tuple[str, int, int], ...]
    apart: int
    values: tuple[tuple[str, str], ...] = ()

    def trace(self) -> Trace:
        """Put it into words."""
        return Trace(
            rule=self.rule,
            cause=self.cause,
            before=self.before,
            after=self.after,
            refusal=self.refusal.text if self.refusal is not None else "",
            code=self.refusal.code.value if self.refusal is not None else "",
            origin=self.origin,
            part=self.part,
            conjuncts=tuple(each.told for each in self.found),
            values=self.values,
            reads=self.reads,
            apart=self.apart,
        )


@dataclass(slots=True)
class Present:
    """What stands in a rule's way since the last look."""

    keys: list[str] = field(default_factory=list)
    since: int = -1
    frames: int = 0
    latest: dict[str, Block] = field(default_factory=dict)
    """the youngest figures of each reason"""
    tallies: Tallies = field(default_factory=Tallies)


class Traces:
    """Rings of traces, tallies of time, and the counts beside them.

    `watching` False keeps the counts of the report alone: what tracing costs is measured by it.
    """

    __slots__ = ("_began", "_count", "_desk", "_last", "_present", "_rings", "funnels", "watching")

    def __init__(self, desk: Desk, watching: bool = True) -> None:
        self._desk = desk
        self._rings: dict[tuple[str, str], deque[Moment]] = {}
        self._last: dict[str, Refusal] = {}
        self._present: dict[str, Present] = {rule: Present() for rule in desk.plan.rules}
        self._count = 0
        self._began = 0
        self.funnels: dict[str, Funnel] = {rule: Funnel() for rule in desk.plan.rules}
        self.watching = watching

    def start(self) -> None:
        """Begin to watch; called once the time is known."""
        if not self.watching:
            return
        for rule, present in self._present.items():
            for part in ("when", "until"):
                self._desk.program.probes(rule, part)  # compiled now, not while something happens
            present.since = self._desk.now
            self._book(self._desk.rules.runs[rule])
        self._began = self._desk.now
        self._desk.timers.at(self._desk.now + LOOK_FIRST, self._look)

    # -- what happens

    def refused(self, rule: str, state: str, refusal: Refusal) -> None:
        """Count a refusal; trace and journal it when it is not the last one again."""
        code = refusal.code
        self.funnels[rule].refusals[code] += 1
        last = self._last.get(rule)
        self._last[rule] = refusal
        if self.watching:
            refusals = self._present[rule].tallies.at(self._desk.now).refusals
            refusals[code] = refusals.get(code, 0) + 1
        if last is not None and last.code == code:
            return
        self._desk.record("denied", rule=rule, code=code, text=refusal.text)
        self._later(rule, "refused", state, state, refusal, code, quiet=False)

    def moved(self, rule: str, cause: str, before: str, after: str, quiet: bool) -> None:
        """Trace a change of a rule's state; a quiet one stays in memory."""
        self._last.pop(rule, None)
        self._later(rule, cause, before, after, None, after, quiet=quiet)

    def present(self, rule: str) -> list[Block]:
        """Return what stands in a rule's way now."""
        desk, run = self._desk, self._desk.rules.runs[rule]
        return why_not(desk, run, self._last.get(rule), readings(desk, rule, "when"))

    def readings(self, rule: str, part: str) -> list[Reading]:
        """Return the parts of a condition as they read now."""
        return readings(self._desk, rule, part)

    def latest(self, rule: str) -> dict[str, Block]:
        """Return the youngest figures of each reason that ever stood in a rule's way."""
        return self._present[rule].latest

    def last(self, rule: str, count: int) -> list[tuple[int, int, Trace]]:
        """Return the youngest traces of a rule over all outcomes: (monotonic, wall ns, trace)."""
        return [(each.t, each.wall, each.trace()) for each in self.moments(rule)[-count:]]

    def moments(self, rule: str) -> list[Moment]:
        """Return all that is kept of a rule, in its order."""
        kept = [row for (name, _), ring in self._rings.items() if name == rule for row in ring]
        return sorted(kept, key=lambda row: row.number)

    def tallies(self, rule: str) -> Tallies:
        """Return a rule's time by reason, up to now."""
        self._book(self._desk.rules.runs[rule])
        return self._present[rule].tallies

    # -- keeping

    def _later(
        self, rule: str, cause: str, before: str, after: str, refusal: Refusal | None,
        outcome: str, *, quiet: bool,
    ) -> None:  # fmt: skip
        if not self.watching:
            return
        by = self._desk.cause

        def build() -> None:
            self._keep(rule, cause, by, before, after, refusal, outcome, quiet)
            self._count_move(rule, before, after)
            self._book(self._desk.rules.runs[rule])

        self._desk.after.append(build)

    def _keep(
        self, rule: str, cause: str, by: Any, before: str, after: str, refusal: Refusal | None,
        outcome: str, quiet: bool,
    ) -> None:  # fmt: skip
        desk = self._desk
        plan = desk.plan.rules[rule]
        part = "until" if before in _LEAVES and plan.until is not None else "when"
        keys = plan.until_streams if part == "until" else plan.when_streams
        reads = tuple(
            (key, stream.seq, stream.age(desk.now))
            for key in keys
            if (stream := desk.rules.streams.get(key)) is not None
        )
        self._count += 1
        moment = Moment(
            desk.now, desk.wall, self._count, rule, cause, _origin(by), before, after, refusal,
            part, readings(desk, rule, part), reads, self._apart(keys),
        )  # fmt: skip
        ring = self._rings.get((rule, outcome))
        if ring is None:
            ring = self._rings[rule, outcome] = deque(maxlen=RING)
        ring.append(moment)
        if not quiet:
            moment.values = tuple(desk.program.explain(rule, part, desk.now))
            desk.emit(moment.trace())

    def _apart(self, keys: Sequence[str]) -> int:
        """Return how far apart the exchanges' times of the books are, in ns; -1 for under two."""
        rules = self._desk.rules
        moments = [
            rules.streams[key].t - rules.streams[key].lag
            for key in keys
            if key in rules.book_keys and rules.streams[key].seq
        ]
        return max(moments) - min(moments) if len(moments) > 1 else -1

    def _count_move(self, rule: str, before: str, after: str) -> None:
        tally = self._present[rule].tallies.at(self._desk.now)
        if after == RuleState.PENDING:
            tally.true += before == RuleState.IDLE
        elif after == RuleState.ENTERING:
            tally.entered += before == RuleState.PENDING

    # -- looking

    def _look(self, _: Any) -> None:
        for run in self._desk.rules.runs.values():
            name, present = run.plan.name, self._present[run.plan.name]
            before = present.keys
            self._book(run)
            if (
                present.keys
                and present.keys != before
                and run.state in (RuleState.IDLE, RuleState.WARMING)
            ):
                first = present.latest[present.keys[0]]
                self._keep(
                    name, first.text, None, run.state, run.state, None, first.key, quiet=True
                )
        now = self._desk.now
        every = LOOK_FIRST if now - self._began < FIRST else LOOK
        self._desk.timers.at(now + every, self._look)

    def _book(self, run: RuleRun) -> None:
        """Book the time since the last look on what was found then, and look again."""
        desk, name = self._desk, run.plan.name
        present = self._present[name]
        tally = present.tallies.at(desk.now)
        if present.keys:
            tally.hold(present.keys, desk.now - present.since)
        present.since = desk.now
        streams = desk.rules.streams
        frames = 0
        for key in run.program.when_streams:
            frames += streams[key].seq
        tally.evaluations += frames - present.frames
        present.frames = frames
        part = "until" if run.state is RuleState.ACTIVE else "when"
        found = readings(desk, name, part) if run.state in _COMPARES else []
        blocks = why_not(desk, run, self._last.get(name), found)
        over = desk.limits.code == STOP  # the run ends: nobody asks why it does not trade
        present.keys = [] if over else [block.key for block in blocks]
        for block in blocks:
            present.latest[block.key] = block
        for reading in found:
            if reading.verdict is False:
                self._note_miss(tally, "until: " if part == "until" else "", reading)

    def _note_miss(self, tally: Tally, mark: str, reading: Reading) -> None:
        probe, values = reading.probe, reading.values
        for link in probe.links:
            by = link.missed_by(values)
            known = tally.near.get(mark + link.source)
            if by is not None and (known is None or by < known.distance):
                now, wall = self._desk.now, self._desk.wall
                near = Near(by, link.shown(by), link.figures(values), now, wall)
                tally.near[mark + link.source] = near


def _origin(by: Any) -> Origin:
    """Name what brought a decision about: a stream's frame, an order's answer, a timer."""
    if by is None:
        return Origin(name="look")
    if isinstance(by, OrderEvent):
        return Origin(name=f"{type(by).__name__.lower()} {by.cid}")
    if isinstance(by, Operator):
        return Origin(name=f"operator {by.command}")
    if isinstance(by, Event):
        return Origin(name=type(by).__name__.lower())
    return Origin(name=by.key, seq=by.seq, ts=by.ts)
