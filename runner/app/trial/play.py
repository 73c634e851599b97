"""Run one test and say how it went."""

from __future__ import annotations

from dataclasses import dataclass

from runner.app.host import Observer
from runner.app.trial.coverage import Coverage
from runner.app.trial.never import Invariants
from runner.app.trial.reasons import conditions, reasons
from runner.app.trial.record import Happening, Recorder
from runner.app.trial.stage import Check, Stage
from runner.app.trial.verdict import Checked, Mismatch, SeenOrders
from runner.engine.trace import Funnel
from runner.spec.plan import Plan
from runner.spec.trial_plan import TrialPlan


@dataclass(frozen=True, slots=True)
class Context:
    """What a reader of a failure asks for: a rule's state, why, and what it waits for.

    `conditions` are (source, true | false | missing, figures) of each part.
    """

    rule: str
    state: str
    reasons: tuple[str, ...]
    conditions: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test went; `mismatch` is None when all held."""

    trial: TrialPlan
    virtual_ns: int
    ticks: int
    mismatch: Mismatch | None
    lines: tuple[Happening, ...]
    context: tuple[Context, ...]
    funnels: dict[str, Funnel]


def play(plan: Plan, trial: TrialPlan, coverage: Coverage | None = None) -> Outcome:
    """Run a test of a plan that was compiled with the test's own parameters."""
    stage = Stage(plan, trial)
    watch = coverage.watch(stage) if coverage is not None else None
    recorder, invariants, seen = Recorder(plan), Invariants(stage), SeenOrders()
    checks = [Checked(expected, stage, recorder, seen) for expected in trial.expect]
    wanted: list[Check] = [*checks]
    end = _End(trial.until_ns, invariants)
    observers: list[Observer] = [recorder, invariants]
    stage.run([*observers, watch] if watch is not None else observers, [*wanted, end])
    if watch is not None:
        watch.end()
    found = [check.mismatch for check in checks if check.mismatch is not None]
    found += [invariants.broken] if invariants.broken is not None else []
    mismatch = min(found, key=lambda m: m.t, default=None)
    return Outcome(
        trial=trial,
        virtual_ns=stage.engine.desk.now if mismatch else trial.until_ns,
        ticks=stage.timeline.ticks,
        mismatch=mismatch,
        lines=recorder.timeline(),
        context=_context(stage, recorder, mismatch),
        funnels=dict(stage.engine.funnels),
    )


class _End(Check):
    """The end of a test: what may never last is looked at once more."""

    def __init__(self, t: int, invariants: Invariants) -> None:
        self.t = t
        self._invariants = invariants

    def look(self) -> bool:
        self._invariants.end(self.t)
        return True


def _context(stage: Stage, recorder: Recorder, mismatch: Mismatch | None) -> tuple[Context, ...]:
    """Read what the rules of a mismatch were at when the test ended with it."""
    if mismatch is None:
        return ()
    runs = stage.engine.desk.rules.runs
    return tuple(
        Context(
            rule,
            runs[rule].state.value,
            tuple(reasons(stage, recorder, rule)),
            tuple(conditions(stage, rule)),
        )
        for rule in mismatch.rules
    )
