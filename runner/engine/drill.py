"""Drill: the way of an entry is walked now and then without entering, so that it is not cold.

Theory of operation. Entries are rare, and what a processor has not done for a millisecond it has to
fetch anew: the first walk takes twice as long as the second. So one rule that waits for its `when`
is taken by turns; it is sized, priced and named, every check of the gate is asked, and its row is
written down, as on entering. All of it is thrown away. Nothing is approved, and only what the gate
approved can be journaled, and only what was journaled can be sent: a drill has no way to send.

Nothing that is decided, told or saved depends on it: a run decides alike with it and without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.engine import snapshot
from runner.engine.codes import Refusal
from runner.engine.groups import entry_pass
from runner.engine.passes import drill
from runner.engine.rule import RuleRun, RuleState
from runner.engine.sizing import entry_drafts

if TYPE_CHECKING:
    from runner.engine.desk import Desk


class Drill:
    """Takes the rules by turns."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._next = 0
        self._runs = [run for run in desk.rules.runs.values() if _can(run)]

    def __call__(self) -> bool:
        """Walk the way of the next rule; whether one walked it."""
        if not self._runs:
            return False
        self._next = (self._next + 1) % len(self._runs)
        run, desk = self._runs[self._next], self._desk
        if run.state is not RuleState.IDLE:
            return False
        drafts = entry_drafts(run.plan.legs, run.program, desk.markets, desk.now)
        if isinstance(drafts, Refusal):
            return False
        drill(desk, entry_pass(run, drafts))
        snapshot.rule_row(desk, run)
        return True


def _can(run: RuleRun) -> bool:
    """Whether a rule enters with orders of its own at once: a quote's are sized otherwise."""
    return bool(run.plan.legs) and not run.plan.do and run.plan.quote is None
