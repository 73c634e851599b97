"""The command `test`: the tests beside the rules."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from runner.app.trial import junit
from runner.app.trial.coverage import Coverage
from runner.app.trial.suite import Result, Suite
from runner.app.trial.text import result_text, summary
from runner.base.errors import UsageError
from runner.cli.check import print_findings, read_sets, strategy_files


def run(
    files: Sequence[str],
    name: str,
    sets: Sequence[str],
    params: Path | None,
    junit_file: Path | None,
    with_coverage: bool,
) -> int:
    """Run the tests of files or folders; return 0 when all passed, 1 otherwise."""
    values = read_sets(sets)
    suites = [Suite.load(Path(file), values, params) for file in strategy_files(files)]
    whole = [suite for suite in suites if suite.checked.plan is not None]
    for suite in suites:
        if suite not in whole:
            print_findings(suite.checked)
    results = _run_all(whole, name, with_coverage)
    if not results and len(whole) == len(suites):
        what = f"no test has `{name}` in its name" if name else "there are no tests"
        raise UsageError(f"{what} in {', '.join(str(s.path) for s in suites)}")
    if results:
        sys.stdout.write(f"{summary(results)}\n")
    if junit_file is not None:
        junit.write(junit_file, results)
    passed = all(result.passed for result in results)
    return 0 if passed and len(whole) == len(suites) else 1


def _run_all(suites: Sequence[Suite], name: str, with_coverage: bool) -> list[Result]:
    results = []
    for suite in suites:
        if len(suites) > 1 and suite.trials(name):
            sys.stdout.write(f"{suite.path}\n")
        elif not suite.trials():
            sys.stderr.write(f"{suite.path}: no tests\n")
        coverage = Coverage() if with_coverage else None
        for result in suite.run(name, coverage):
            sys.stdout.write(result_text(result))
            sys.stdout.flush()
            results.append(result)
        if coverage is not None:
            sys.stdout.write("".join(f"      {line}\n" for line in coverage.lines()))
    return results
