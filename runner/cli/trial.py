"""The command `test`: the tests beside the rules."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from runner import spec
from runner.app.trial import junit
from runner.app.trial.coverage import Coverage
from runner.app.trial.suite import Result, Suite
from runner.app.trial.text import result_text, summary
from runner.base.errors import UsageError, WorldError
from runner.cli.check import print_findings, read_sets, strategy_files
from runner.cli.spans import span

MOST_SAMPLES: Final = 2_000
"""of a moment that becomes a test"""


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
        junit.write(junit_file, results, {str(s.path): s.mistake for s in suites if s.mistake})
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


def moment(
    files: Sequence[str],
    recordings: Sequence[Path],
    at: str,
    sets: Sequence[str],
    params: Path | None,
    spans: tuple[str, str, str],
) -> int:
    """Print a moment of recordings as a test to paste. `spans`: before, after, every."""
    from runner.app.offline import lines_of
    from runner.app.trial.moment import Window
    from runner.app.trial.moment import moment as write

    if len(files) != 1:
        raise UsageError("--from needs one strategy file")
    for path in recordings:
        if not path.exists():
            raise WorldError(f"{path}: there is no such recording")
    checked = spec.load(Path(files[0]), sets=read_sets(sets), params_file=params)
    if checked.plan is None:
        print_findings(checked)
        return 1
    options = ("--before", "--after", "--every")
    before, after, every = (_span(*each) for each in zip(spans, options, strict=True))
    if every <= 0 or (before + after) // every > MOST_SAMPLES:
        raise UsageError(f"--every: at most {MOST_SAMPLES} samples")
    when, wall = _when(at)
    window = Window(when, wall, before, after, every)
    names = ", ".join(path.name for path in recordings)
    sys.stdout.write(write(checked.plan, lambda: lines_of(recordings, _warn), window, names))
    return 0


def _when(text: str) -> tuple[int, bool]:
    """Read `--at`: a duration since the first line, or a time with its zone (then wall ns)."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return _span(text, "--at"), False
    if when.tzinfo is None:
        raise UsageError(f"--at {text}: write the zone, e.g. {text}Z")
    return round(when.timestamp() * 1e6) * 1000, True


def _span(text: str, option: str) -> int:
    found = span(text, option, zero=True)
    assert found is not None
    return found


def _warn(text: str) -> None:
    sys.stderr.write(f"{text}\n")
