"""Files with tests: which run, with which parameters, and what came of them.

A test that sets parameters is run on the file compiled with them; files are compiled once for each
set of parameters. What such a file then lacks is the test's failure, not a crash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner import spec
from runner.app.trial.coverage import Coverage
from runner.app.trial.play import Outcome, play
from runner.base.clock import NS_PER_S, stopwatch_ns
from runner.base.errors import FileError, RunnerError
from runner.spec.plan import Plan
from runner.spec.trial_plan import TrialPlan


@dataclass(frozen=True, slots=True)
class Result:
    """One test that was run. `fault` says why it could not be; then there is no outcome."""

    file: str
    strategy: str
    trial: TrialPlan
    outcome: Outcome | None
    seconds: float
    fault: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome is not None and self.outcome.mismatch is None


@dataclass(slots=True)
class Suite:
    """The tests of one file."""

    path: Path
    checked: spec.Checked
    sets: Mapping[str, str]
    params: Path | None = None
    _plans: dict[tuple[tuple[str, str], ...], Plan] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, sets: Mapping[str, str], params: Path | None = None) -> Suite:
        """Read a file; `checked` holds its findings, and no plan when it is in error."""
        checked = spec.load(path, sets=dict(sets), params_file=params)
        return cls(path, checked, sets, params)

    @property
    def mistake(self) -> str:
        """The first error of the file, "" when it has none."""
        errors = (d for d in self.checked.findings if d.is_error)
        return next((f"{d.code} at line {d.mark.line}: {d.message}" for d in errors), "")

    def trials(self, name: str = "") -> list[TrialPlan]:
        """Return the tests whose name holds `name`, whatever its case."""
        plan = self.checked.plan
        wanted = name.casefold()
        return [t for t in plan.trials if wanted in t.name.casefold()] if plan is not None else []

    def run(self, name: str = "", coverage: Coverage | None = None) -> Iterator[Result]:
        """Run tests one by one."""
        for trial in self.trials(name):
            yield self._run(trial, coverage)

    def _run(self, trial: TrialPlan, coverage: Coverage | None) -> Result:
        begin = stopwatch_ns()
        outcome, fault = None, ""
        try:
            plan = self._plan(trial.sets)
            own = next(each for each in plan.trials if each.name == trial.name)
            outcome = play(plan, own, coverage)
        except RunnerError as error:
            fault = str(error)
        seconds = (stopwatch_ns() - begin) / NS_PER_S
        strategy = self.checked.plan.name if self.checked.plan is not None else ""
        return Result(self.checked.source.name, strategy, trial, outcome, seconds, fault)

    def _plan(self, sets: Mapping[str, str]) -> Plan:
        """Return the plan under a test's own parameters; FileError with the first mistake."""
        assert self.checked.plan is not None
        if not sets:
            return self.checked.plan
        key = tuple(sorted(sets.items()))
        if key not in self._plans:
            checked = spec.load(self.path, sets={**self.sets, **sets}, params_file=self.params)
            if checked.plan is None:
                first = next(d for d in checked.findings if d.is_error)
                raise FileError(
                    f"with its `set` the file is in error: {first.code} at line "
                    f"{first.mark.line}: {first.message}"
                )
            self._plans[key] = checked.plan
        return self._plans[key]
