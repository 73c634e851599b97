"""What `runner test` prints and writes: golden text, JUnit, coverage, exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from runner.app.trial.coverage import Coverage
from runner.app.trial.junit import as_junit
from runner.app.trial.suite import Result, Suite
from runner.app.trial.text import result_text, summary
from runner.base.errors import UsageError
from runner.cli.trial import run
from tests.app.trial.lab import WIDE, results, text_of
from tests.patience import PATIENCE_S

GOLDEN = Path(__file__).with_name("output.out")
BOTH = "[{market: a, side: sell}, {market: b, side: buy}]"
FILE = {
    "opens_and_closes": WIDE + f"expect: [{{t: 1500ms, orders: {BOTH}, rule: {{fade: active}}}}]\n",
    "an_order_too_many": WIDE + "expect: [{t: 900ms, orders: []}, {t: 1500ms, orders: []}]\n",
    "an_order_too_few": WIDE + f"expect: [{{t: 900ms, orders: {BOTH}}}]\n",
    "another_size": WIDE + "expect: [{t: 1500ms, orders: [{qty: 0.009 BTC}, {}]}]\n",
    "a_position": WIDE + "expect: [{t: 2900ms, position: {a: -0.008 BTC}}]\n",
    "a_reason": WIDE + 'expect: [{t: 900ms, why: {fade: "stale"}}]\n',
    "an_invariant": WIDE + 'never: {net_position: "> 0.002 BTC for 10ms"}\n'
    "fills: {b: {after: 35ms}}\n",
    "its_own_parameters": WIDE + "set: {enter: 60bps}\nexpect: [{t: 2900ms, orders: []}]\n",
    "parameters_in_error": WIDE + "set: {enter: 5bps}\nexpect: [{t: 2900ms, orders: []}]\n",
}


def of(tmp_path: Path, found: list[Result]) -> str:
    text = "".join(result_text(result) for result in found) + summary(found) + "\n"
    return text.replace(f"{tmp_path}/", "")


def test_the_text_is_the_one_written_down(tmp_path: Path) -> None:
    assert of(tmp_path, results(tmp_path, **FILE)) == GOLDEN.read_text(encoding="utf-8")


def test_junit_counts_cases_failures_and_errors(tmp_path: Path) -> None:
    found = results(tmp_path, **FILE)
    root = ElementTree.fromstring(as_junit(found, {}))
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    assert {c.tag for c in suite} == {"testcase"}
    cases = list(suite)
    failed = [c for c in cases if c.find("failure") is not None]
    broken = [c for c in cases if c.find("error") is not None]
    for counted in (root, suite):
        assert counted.get("tests") == str(len(cases)) == str(len(FILE))
        assert counted.get("failures") == str(len(failed)) == "6"
        assert counted.get("errors") == str(len(broken)) == "1"
    assert [c.get("name") for c in cases] == [name.replace("_", " ") for name in FILE]
    for case in cases:
        assert case.get("classname") == "spread" and str(case.get("file")).endswith("spread.yaml")
        assert int(str(case.get("line"))) > 30 and float(str(case.get("time"))) >= 0
        assert {child.tag for child in case} <= {"properties", "failure", "error"}
    failure = failed[0].find("failure")
    assert failure is not None and failure.get("message") == "expected no orders, got 2"
    assert "> 1s" in str(failure.text)


def test_junit_holds_whatever_a_name_holds(tmp_path: Path) -> None:
    (result,) = results(tmp_path, **{'<&"\u00e9': WIDE + "expect: [{t: 1s, orders: []}]\n"})
    root = ElementTree.fromstring(as_junit([result], {}))
    assert root[0][0].get("name") == '<&"\u00e9'


def covered(tmp_path: Path, **tests: str) -> list[str]:
    path = tmp_path / "spread.yaml"
    path.write_text(text_of(**tests), encoding="utf-8")
    coverage = Coverage()
    assert all(result.passed for result in Suite.load(path, {}).run(coverage=coverage))
    return [re.sub(r"\s\s+", "  ", line) for line in coverage.lines()]


def test_coverage_tells_what_was_never_true_or_false(tmp_path: Path) -> None:
    quiet = """\
    ticks: [{t: 0s, a.book: {bid: 60_000, ask: 60_001}, b.book: {bid: 59_999, ask: 60_000}}]
    expect: [{t: 1s, orders: []}]
    """
    assert covered(tmp_path, quiet=quiet) == [
        "fade  never fired",
        "! when  edge > params.enter  never true",
        "! until  edge < 10bps  never looked at",
    ]
    assert covered(tmp_path, wide=WIDE + "expect: [{t: 2500ms, rule: {fade: cooldown}}]\n") == [
        "fade  fired in 1 test, left in 1 test",
        "  when  edge > params.enter  true and false",
        "  until  edge < 10bps  true and false",
    ]


def test_coverage_sees_what_exists_for_an_instant_alone() -> None:
    root = Path(__file__).parents[3]
    coverage = Coverage()
    assert list(Suite.load(root / "strategies" / "signal.yaml", {}).run(coverage=coverage))
    parts = coverage.rules["go_long"].parts
    assert (
        parts["when", 'voc.action == "long"'].true and parts["when", "voc.confidence >= 0.7"].both
    )


def command(path: Path, *, name: str = "", sets: tuple[str, ...] = ()) -> int:
    return run([str(path)], name, sets, None, path.with_suffix(".xml"), False)


def test_the_command_ends_with_1_when_a_test_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spread.yaml"
    path.write_text(text_of(**FILE), encoding="utf-8")
    assert command(path) == 1
    assert command(path, name="OPENS") == 0
    assert capsys.readouterr().out.endswith("1 passed\n")
    assert command(path, name="opens", sets=("enter=60bps",)) == 1
    assert ElementTree.parse(path.with_suffix(".xml")).getroot().get("failures") == "1"
    with pytest.raises(UsageError, match="no test has `nothing` in its name"):
        command(path, name="nothing")


def test_a_file_in_error_is_told_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spread.yaml"
    path.write_text(text_of(one="expect: [{t: 1s, ordrs: []}]\n"), encoding="utf-8")
    assert command(path) == 1
    assert "E0201" in capsys.readouterr().err
    root = ElementTree.parse(path.with_suffix(".xml")).getroot()
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    error = root.find("testsuite/testcase/error")
    assert error is not None and str(error.get("message")).startswith("E0201 at line")


def test_a_file_without_tests_is_told(tmp_path: Path) -> None:
    path = tmp_path / "spread.yaml"
    path.write_text(text_of().replace("tests:\n", ""), encoding="utf-8")
    with pytest.raises(UsageError, match="there are no tests"):
        command(path)


def test_the_order_of_hashes_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "spread.yaml"
    path.write_text(text_of(**FILE), encoding="utf-8")
    code = "from runner.cli.main import main; main()"
    said = [
        subprocess.run(
            [sys.executable, "-c", code, "test", str(path)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=False,
            timeout=PATIENCE_S,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] and said[0].endswith("2 passed, 7 failed\n")
