"""Looks: what stands in each rule's way, asked at every change of its state and once a second.

Theory of operation (the measure: `tally`). A look is a timer of the engine that reads and decides
nothing. It books the time since the last look on what was found then, finds anew, and notes by how
little the comparisons were missed that are false now. A rule that comes back to a state in which it
was looked at less than a quarter second ago is not looked at again: what was found then holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from runner.engine.blocking import Block, Kind, Reading, read, why_not
from runner.engine.codes import Refusal
from runner.engine.limits import STOP
from runner.engine.quote_sides import sides
from runner.engine.rule import HOLDING, RuleRun, RuleState
from runner.engine.tally import Near, Tallies, Tally
from runner.engine.timers import MS, READS, SECOND

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.lang.api import ProbeApi

LOOK: Final = 1 * SECOND
LOOK_FIRST: Final = 250 * MS
FIRST: Final = 20 * SECOND
"""at the start of a run the looks are closer: a short run is to be told something too"""
_IN_TRADE: Final = [Kind.TRADE.value]
_WAITS: Final = (RuleState.IDLE, RuleState.WARMING)
_RESTS: Final = (RuleState.IDLE, RuleState.COOLDOWN)
"""states in which nothing new happens to a rule but what the next look finds"""
_NEVER: Final[tuple[int, list[str]]] = (-LOOK_FIRST, [])


@dataclass(slots=True)
class Seen:
    """What stands in a rule's way since the last look."""

    keys: list[str] = field(default_factory=list)
    since: int = 0
    lately: dict[RuleState, tuple[int, list[str]]] = field(default_factory=dict)
    """by state of rest: when the rule was looked at in it, and what stood in its way"""
    frames: int = 0
    streams: Sequence[Any] = ()
    """what its `when` reads"""
    when: Sequence[ProbeApi] = ()
    until: Sequence[ProbeApi] = ()
    sides: list[str] = field(default_factory=list)
    """of a quote: each side, with what it lacks"""
    latest: dict[str, Block] = field(default_factory=dict)
    """the youngest figures of each reason"""
    tallies: Tallies = field(default_factory=Tallies)


class Looks:
    """The looks at all rules.

    `refusals`: the last one of each rule since it became pending; `changed(rule, state, first)` is
    called when a look finds other reasons than the last, with the first of them.
    """

    __slots__ = ("_began", "_changed", "_desk", "_refusals", "of")

    def __init__(
        self,
        desk: Desk,
        refusals: Mapping[str, Refusal],
        changed: Callable[[str, str, Block], None],
    ) -> None:
        self._desk = desk
        self._refusals = refusals
        self._changed = changed
        self._began = 0
        self.of: dict[str, Seen] = {rule: Seen() for rule in desk.plan.rules}

    def start(self) -> None:
        """Begin to look."""
        self._began = now = self._desk.now
        for name, run in self._desk.rules.runs.items():
            seen, program = self.of[name], self._desk.program
            seen.since = now
            seen.when, seen.until = program.probes(name, "when"), program.probes(name, "until")
            seen.streams = [self._desk.rules.streams[key] for key in run.program.when_streams]
            self.book(run)
        self._desk.timers.at(now + LOOK_FIRST, self._look, READS)

    def refused(self, rule: str, code: str) -> None:
        """Count a refusal."""
        refusals = self.of[rule].tallies.at(self._desk.now).refusals
        refusals[code] = refusals.get(code, 0) + 1

    def turned_true(self, rule: str) -> None:
        """Count a `when` that became true."""
        self.of[rule].tallies.at(self._desk.now).true += 1

    def moved(self, run: RuleRun, before: str, after: str) -> None:
        """Count a change of state, and look at once."""
        tally = self.of[run.plan.name].tallies.at(self._desk.now)
        if after == RuleState.PENDING:
            tally.true += before == RuleState.IDLE
        elif after == RuleState.ENTERING or (after == RuleState.ACTIVE and run.plan.quote):
            tally.entered += before == RuleState.PENDING
        seen, now, state = self.of[run.plan.name], self._desk.now, run.state
        at, keys = seen.lately.get(state, _NEVER)
        if state not in HOLDING and now - at >= LOOK_FIRST:
            self.book(run)
            return
        if seen.keys:
            tally.hold(seen.keys, now - seen.since)
        self._sides(run, seen, tally)
        seen.since, seen.keys = now, _IN_TRADE if state in HOLDING else keys

    def book(self, run: RuleRun) -> None:
        """Book the time since the last look on what was found then, and look again."""
        desk, name = self._desk, run.plan.name
        seen = self.of[name]
        tally = seen.tallies.at(desk.now)
        if seen.keys:
            tally.hold(seen.keys, desk.now - seen.since)
        self._sides(run, seen, tally)
        seen.since = desk.now
        frames = 0
        for stream in seen.streams:
            frames += stream.seq
        tally.evaluations += frames - seen.frames
        seen.frames = frames
        part, found = "when", list[Reading]()
        if run.state is RuleState.IDLE:
            found = read(seen.when, desk.now)
        elif run.state is RuleState.ACTIVE:
            part, found = "until", read(seen.until, desk.now)
        blocks = why_not(desk, run, self._refusals.get(name), found)
        over = desk.limits.code == STOP  # the run ends: nobody asks why it does not trade
        seen.keys = [] if over else [block.key for block in blocks]
        if run.state in _RESTS:
            seen.lately[run.state] = (desk.now, seen.keys)
        for block in blocks:
            seen.latest[block.key] = block
        for reading in found:
            if reading.verdict is False:
                self._note_miss(tally, "until: " if part == "until" else "", reading)

    def _sides(self, run: RuleRun, seen: Seen, tally: Tally) -> None:
        """Book the time of a quote's sides, and look at them again."""
        if run.plan.quote is None:
            return
        tally.quoted(seen.sides, self._desk.now - seen.since)
        seen.sides = []
        if run.state is not RuleState.ACTIVE or self._desk.limits.code == STOP:
            return
        for side, lacks in sides(self._desk.rules.quoting, run):
            key = side if lacks is None else f"{side} {lacks.key}"
            seen.sides.append(key)
            if lacks is not None:
                seen.latest[key] = lacks

    def _look(self, _: Any) -> None:
        for name, run in self._desk.rules.runs.items():
            seen = self.of[name]
            before = seen.keys
            self.book(run)
            if seen.keys and seen.keys != before and run.state in _WAITS:
                self._changed(name, run.state, seen.latest[seen.keys[0]])
        now = self._desk.now
        every = LOOK_FIRST if now - self._began < FIRST else LOOK
        self._desk.timers.at(now + every, self._look, READS)

    def _note_miss(self, tally: Tally, mark: str, reading: Reading) -> None:
        values, now = reading.values, self._desk.now
        for link in reading.probe.links:
            by = link.missed_by(values)
            known = tally.near.get(mark + link.source)
            if by is not None and (known is None or by < known.distance):
                near = Near(by, link.shown(by), link.figures(values), now, self._desk.wall)
                tally.near[mark + link.source] = near
