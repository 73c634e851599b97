"""Traces: why a rule did what it did, and what it was refused.

Theory of operation. Rings are kept per rule *and* per outcome, so that a million "not true" cannot
push out the one refusal. A refusal is recorded when its reason differs from the last; otherwise it
is counted. Changes of state that move nothing lasting (idle and pending, a part of `when` turning
false) stay in memory; the others are commands, and rows of the journal. A rule that does not wait
(`for`) only passes through pending: what became of it in the same instant has the trace.

The values of a trace cost more than the decision itself. They are read after the commands of the
event were carried out and before anything else is touched (`Desk.after`): the same values, off the
path of the order. Only numbers are kept; they are put into words when somebody asks, or when the
journal is about to be written (`rows`). What an order's answer brought about evaluates nothing and
keeps no values.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runner.engine.blocking import Block, Reading, readings, why_not
from runner.engine.codes import Refusal
from runner.engine.commands import Origin, Trace
from runner.engine.events import Event, Operator, OrderEvent, Signal
from runner.engine.looks import Looks
from runner.engine.rule import RuleState
from runner.engine.tally import Tallies

if TYPE_CHECKING:
    from runner.engine.desk import Desk

RING: Final = 32
MOST_ROWS: Final = 1000
"""traces that may wait for the journal; of more the oldest are in memory alone"""
_UNTIL: Final = (RuleState.ACTIVE, RuleState.LEAVING)
_EVALUATES: Final = (RuleState.WARMING, RuleState.IDLE, RuleState.PENDING, RuleState.ACTIVE)
Told = Callable[[], list[tuple[str, str]]]


@dataclass(slots=True)
class Funnel:
    """Counts of a rule for the report."""

    true: int = 0
    entries: int = 0
    exits: int = 0
    no_fill: int = 0
    undone: int = 0
    """entries whose legs did not match and were taken back"""
    rejected: int = 0
    repairs: int = 0
    trips: int = 0
    """inventories of a quote that were opened and closed again"""
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
    found: list[Reading] = field(default_factory=list)
    reads: tuple[tuple[str, int, int], ...] = ()
    apart: int = -1
    values: Told | None = None

    def brief(self) -> Trace:
        """Return its first line."""
        refusal = self.refusal
        return Trace(
            rule=self.rule,
            cause=self.cause,
            before=self.before,
            after=self.after,
            refusal=refusal.text if refusal is not None else "",
            code=refusal.code.value if refusal is not None else "",
        )

    def trace(self) -> Trace:
        """Put all of it into words."""
        return msgspec.structs.replace(
            self.brief(),
            origin=self.origin,
            part=self.part,
            conjuncts=tuple(each.told for each in self.found),
            values=tuple(self.values()) if self.values is not None else (),
            reads=self.reads,
            apart=self.apart,
        )


class Traces:
    """Rings of traces, and the counts beside them.

    `watching` False keeps the counts of the report alone: what tracing costs is measured by it.
    """

    __slots__ = (
        "_about", "_count", "_desk", "_ending", "_last", "_looks", "_newest", "_rings", "_rows",
        "_streams", "funnels", "watching",
    )  # fmt: skip

    def __init__(self, desk: Desk, watching: bool = True) -> None:
        self._desk = desk
        self._rings: dict[tuple[str, str], deque[Moment]] = {}
        self._last: dict[str, Refusal] = {}
        self._about: dict[str, str] = {}
        self._newest: dict[str, Moment] = {}
        self._rows: deque[Moment] = deque(maxlen=MOST_ROWS)
        self._looks = Looks(desk, self._last, self._changed)
        self._streams: dict[tuple[str, str], list[tuple[str, Any, bool]]] = {}
        self._ending: set[str] = set()
        """rules that have an `until`"""
        self._count = 0
        self.funnels: dict[str, Funnel] = {rule: Funnel() for rule in desk.plan.rules}
        self.watching = watching

    def start(self) -> None:
        """Begin to watch; called once the time is known."""
        if not self.watching:
            return
        rules = self._desk.rules
        for name, run in rules.runs.items():
            if run.plan.until is not None:
                self._ending.add(name)
            keys = {"when": run.program.when_streams, "until": run.program.until_streams}
            for part in keys:
                self._desk.program.probes(name, part)  # compiled now, not while something happens
                self._streams[name, part] = [
                    (key, rules.streams[key], key in rules.book_keys) for key in keys[part]
                ]
        self._looks.start()

    # -- what happens

    def refused(self, rule: str, state: str, refusal: Refusal, about: str = "") -> None:
        """Count a refusal; trace and journal it when it is not the last one again.

        about: the message that was refused; another one is told anew.
        """
        code = refusal.code
        self.funnels[rule].refusals[code] += 1
        last = self._last.get(rule)
        self._last[rule] = refusal
        if self.watching:
            self._looks.refused(rule, code)
        known = last is not None and last.code == code and self._about.get(rule, "") == about
        self._about[rule] = about
        if known:
            return
        self._desk.record("denied", rule=rule, code=code, text=refusal.text)
        self._later(rule, "refused", state, state, refusal, quiet=False)

    def moved(self, rule: str, cause: str, before: str, after: str, quiet: bool) -> None:
        """Trace a change of a rule's state; a quiet one stays in memory."""
        self._last.pop(rule, None)
        self._later(rule, cause, before, after, None, quiet=quiet)

    def passed(self, rule: str) -> None:
        """Note that a rule's `when` is true, and that what it does now will be traced."""
        self._last.pop(rule, None)
        if self.watching:
            self._looks.turned_true(rule)

    def rows(self) -> None:
        """Write what waits for the journal as rows."""
        while self._rows:
            moment = self._rows.popleft()
            text = msgspec.json.encode(moment.trace()).decode()
            self._desk.record("trace", rule=moment.rule, t=moment.t, wall=moment.wall, trace=text)

    # -- what is asked

    @property
    def count(self) -> int:
        """How many traces there have been."""
        return self._count

    def present(self, rule: str) -> list[Block]:
        """Return what stands in a rule's way now."""
        desk, run = self._desk, self._desk.rules.runs[rule]
        return why_not(desk, run, self._last.get(rule), readings(desk, rule, "when"))

    def readings(self, rule: str, part: str) -> list[Reading]:
        """Return the parts of a condition as they read now."""
        return readings(self._desk, rule, part)

    def latest(self, rule: str) -> dict[str, Block]:
        """Return the youngest figures of each reason that ever stood in a rule's way."""
        return self._looks.of[rule].latest

    def tallies(self, rule: str) -> Tallies:
        """Return a rule's time by reason, up to now."""
        if self.watching:
            self._looks.book(self._desk.rules.runs[rule])
        return self._looks.of[rule].tallies

    def last(self, rule: str, count: int) -> list[tuple[int, int, Trace]]:
        """Return the youngest traces of a rule over all outcomes: (monotonic, wall ns, trace)."""
        return [(each.t, each.wall, each.trace()) for each in self.moments(rule)[-count:]]

    def moments(self, rule: str) -> list[Moment]:
        """Return all that is kept of a rule, in its order."""
        kept = [row for (name, _), ring in self._rings.items() if name == rule for row in ring]
        return sorted(kept, key=lambda row: row.number)

    # -- keeping

    def _later(
        self, rule: str, cause: str, before: str, after: str, refusal: Refusal | None, *,
        quiet: bool,
    ) -> None:  # fmt: skip
        if self.watching:
            by = self._desk.cause
            build = partial(self._build, rule, cause, by, before, after, refusal, quiet)
            self._desk.after.append(build)

    def _build(
        self, rule: str, cause: str, by: Any, before: str, after: str, refusal: Refusal | None,
        quiet: bool,
    ) -> None:  # fmt: skip
        moment = self._moment(rule, cause, by, before, after, refusal)
        self._keep(moment, after if refusal is None else refusal.code)
        if not quiet:
            self._rows.append(moment)
            self._desk.emit(moment.brief())
        self._looks.moved(self._desk.rules.runs[rule], before, after)

    def _changed(self, rule: str, state: str, first: Block) -> None:
        """Something else stands first in a rule's way, as a look found."""
        moment = self._moment(rule, first.text or first.key, None, state, state, None)
        self._keep(moment, first.key)

    def _moment(
        self, rule: str, cause: str, by: Any, before: str, after: str, refusal: Refusal | None
    ) -> Moment:
        desk = self._desk
        part = "until" if before in _UNTIL and rule in self._ending else "when"
        self._count += 1
        moment = Moment(
            desk.now, desk.wall, self._count, rule, cause, _origin(by), before, after, refusal, part
        )
        if refusal is not None or before in _EVALUATES:
            self._evaluate(moment)
        return moment

    def _evaluate(self, moment: Moment) -> None:
        """Read what the decision read; two decisions on one event have read the same."""
        desk, rule, part, now = self._desk, moment.rule, moment.part, moment.t
        streams = self._streams[rule, part]
        moment.reads = tuple([(key, stream.seq, stream.age(now)) for key, stream, _ in streams])
        last = self._newest.get(rule)
        if (
            last is not None
            and last.t == now
            and last.part == part
            and last.reads == moment.reads
            and last.origin == moment.origin
        ):
            moment.found, moment.apart, moment.values = last.found, last.apart, last.values
            return
        self._newest[rule] = moment
        moment.found = readings(desk, rule, part)
        moment.values = desk.program.worth(rule, part, now)
        times = [stream.t - stream.lag for _, stream, book in streams if book and stream.seq]
        moment.apart = max(times) - min(times) if len(times) > 1 else -1

    def _keep(self, moment: Moment, outcome: str) -> None:
        ring = self._rings.get((moment.rule, outcome))
        if ring is None:
            ring = self._rings[moment.rule, outcome] = deque(maxlen=RING)
        ring.append(moment)


def _origin(by: Any) -> Origin:
    """Name what brought a decision about: a stream's frame, an order's answer, a timer."""
    if by is None:
        return Origin(name="look")
    if not isinstance(by, Event):
        return Origin(name=by.key, seq=by.seq, ts=by.ts)
    if isinstance(by, OrderEvent):
        return Origin(name=f"{type(by).__name__.lower()} {by.cid}")
    if isinstance(by, Signal):
        return Origin(name=f"signal {by.source}")
    if isinstance(by, Operator):
        return Origin(name=f"operator {by.command}")
    return Origin(name=type(by).__name__.lower())
