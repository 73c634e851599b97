"""Traces: why a rule did what it did, and what it was refused.

Rings are kept per rule *and* per outcome, so that a million "not true" cannot push out the one
refusal. A refusal is recorded when its reason differs from the last; otherwise it is counted.

The values of a trace cost more than the decision itself. They are read after the commands of the
event were handed over and before anything else is touched (`Desk.after`): the same values, off the
path of the order.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from runner.engine.commands import Trace

if TYPE_CHECKING:
    from runner.engine.desk import Desk

RING: Final = 32


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


class Traces:
    """Rings of traces and the counts beside them."""

    __slots__ = ("_desk", "_last", "_rings", "funnels")

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._rings: dict[tuple[str, str], deque[tuple[int, int, Trace]]] = {}
        self._last: dict[str, str] = {}
        self.funnels: dict[str, Funnel] = {rule: Funnel() for rule in desk.plan.rules}

    def refused(self, rule: str, state: str, code: str, text: str) -> None:
        """Count a refusal; trace and journal it when it is not the last one again."""
        self.funnels[rule].refusals[code] += 1
        if self._last.get(rule) == code:
            return
        self._last[rule] = code
        self._desk.record("denied", rule=rule, code=code, text=text)
        self._later(rule, "refused", state, state, text, code, quiet=False)

    def moved(self, rule: str, cause: str, before: str, after: str, quiet: bool) -> None:
        """Trace a change of a rule's state; a quiet one stays in memory."""
        self._last.pop(rule, None)
        self._later(rule, cause, before, after, "", after, quiet=quiet)

    def last(self, rule: str, count: int) -> list[tuple[int, int, Trace]]:
        """Return the youngest traces of a rule over all outcomes: (monotonic, wall ns, trace)."""
        kept = [row for (name, _), ring in self._rings.items() if name == rule for row in ring]
        kept.sort(key=lambda row: row[0])
        return kept[-count:]

    def _later(
        self,
        rule: str,
        cause: str,
        before: str,
        after: str,
        refusal: str,
        outcome: str,
        *,
        quiet: bool,
    ) -> None:
        def build() -> None:
            self._keep(self._build(rule, cause, before, after, refusal), outcome, quiet)

        self._desk.after.append(build)

    def _build(self, rule: str, cause: str, before: str, after: str, refusal: str) -> Trace:
        desk = self._desk
        plan = desk.plan.rules[rule]
        part = "until" if before in ("active", "leaving") and plan.until is not None else "when"
        keys = plan.until_streams if part == "until" else plan.when_streams
        streams = desk.rules.streams
        return Trace(
            rule=rule,
            cause=cause,
            before=before,
            after=after,
            refusal=refusal,
            values=tuple(desk.program.explain(rule, part, desk.now)),
            ages=tuple((key, streams[key].age(desk.now)) for key in keys if key in streams),
        )

    def _keep(self, trace: Trace, outcome: str, quiet: bool) -> None:
        ring = self._rings.setdefault((trace.rule, outcome), deque(maxlen=RING))
        ring.append((self._desk.now, self._desk.wall, trace))
        if not quiet:
            self._desk.emit(trace)
