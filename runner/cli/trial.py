"""The command `test`: the tests beside the rules."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from runner.app.trial.suite import Result, Suite
from runner.app.trial.text import result_text, summary
from runner.base.errors import UsageError
from runner.cli.check import print_findings, read_sets, strategy_files


def run(
    files: Sequence[str],
    name: str,
    sets: Sequence[str],
    params: Path | None,
) -> int:
    """Run the tests of files or folders; return 0 when all passed, 1 otherwise."""
    values = read_sets(sets)
    suites = [Suite.load(Path(file), values, params) for file in strategy_files(files)]
    broken = [suite for suite in suites if suite.checked.plan is None]
    for suite in suites:
        if suite.checked.plan is None or suite.checked.findings.errors:
            print_findings(suite.checked)
    results = _run_all([s for s in suites if s.checked.plan is not None], name)
    if not results and not broken:
        what = f"no test has `{name}` in its name" if name else "there are no tests"
        raise UsageError(f"{what} in {', '.join(str(s.path) for s in suites)}")
    if results:
        sys.stdout.write(f"{summary(results)}\n")
    return 1 if broken or not all(result.passed for result in results) else 0


def _run_all(suites: Sequence[Suite], name: str) -> list[Result]:
    results = []
    for suite in suites:
        if len(suites) > 1 and suite.trials(name):
            sys.stdout.write(f"{suite.path}\n")
        elif not suite.trials():
            sys.stderr.write(f"{suite.path}: no tests\n")
        for result in suite.run(name):
            sys.stdout.write(result_text(result))
            sys.stdout.flush()
            results.append(result)
    return results
