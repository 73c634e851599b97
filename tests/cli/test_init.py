"""`runner init`: what it writes validates, passes its tests, and replaces nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.app.trial.suite import Suite
from runner.base.errors import UsageError
from runner.cli.init import init, templates
from runner.spec import load, schema
from tests.cli.test_why import runner

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("template", sorted(templates()))
def test_every_template_validates_where_it_is_written(template: str, tmp_path: Path) -> None:
    assert init(tmp_path, template, "my-own") == 0
    file = tmp_path / "strategies" / "my-own.yaml"
    checked = load(file, environ={})
    assert checked.plan is not None and checked.plan.name == "my-own"
    assert checked.plan.trials, "a template has tests"


def test_its_tests_pass_and_its_first_line_leads_editors_to_the_schema(tmp_path: Path) -> None:
    init(tmp_path, "arb", None)
    file = tmp_path / "strategies" / "arb.yaml"
    assert all(result.passed for result in Suite.load(file, {}).run("mirror"))
    first = file.read_text(encoding="utf-8").split("\n")[0]
    place = file.parent / first.split("$schema=")[1]
    assert place.resolve().read_bytes() == schema.file().read_bytes()


def test_the_environment_names_secrets_without_values(tmp_path: Path) -> None:
    init(tmp_path, "arb", None)
    lines = (tmp_path / ".env.example").read_text(encoding="utf-8").split("\n")
    assert {"BINANCE_KEY=", "BINANCE_SECRET=", "BYBIT_KEY="} <= set(lines)
    assert "# Read from a file, mode 0600: /run/secrets/bybit" in lines


def test_nothing_that_exists_is_replaced(tmp_path: Path) -> None:
    init(tmp_path, "arb", None)
    file = tmp_path / "strategies" / "arb.yaml"
    file.write_text("mine: 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="nothing was written"):
        init(tmp_path, "arb", None)
    assert file.read_text(encoding="utf-8") == "mine: 1\n"


def test_a_second_strategy_stands_beside_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env.example").write_text("MINE=1", encoding="utf-8")
    init(tmp_path, "arb", None)
    init(tmp_path, "dca", None)
    lines = (tmp_path / ".env.example").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "MINE=1"
    assert {"BYBIT_KEY=", "BINANCE_SPOT_KEY="} <= set(lines) and len(lines) == len(set(lines))
    assert f"kept {tmp_path / 'schemas' / schema.NAME}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("template", "name", "message"),
    [
        ("abr", None, "did you mean `arb`"),
        ("arb", "My Own", "lower-case letters"),
        ("arb", "../x", "lower-case letters"),
    ],
)
def test_what_does_not_fit_is_refused(
    template: str, name: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        init(tmp_path, template, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("template", sorted(templates()))
def test_the_commands_of_its_head_can_be_copied_out(template: str, tmp_path: Path) -> None:
    """They name the file as it is called here, and senders and stand-ins that are there."""
    init(tmp_path, template, "my-own")
    head = (
        (tmp_path / "strategies" / "my-own.yaml").read_text(encoding="utf-8").split("\nparams:")[0]
    )
    named = set(re.findall(r"\b(?:strategies|examples)/\w[\w.-]*", head))
    assert all((tmp_path / each).is_file() for each in named), named
    assert named or template == "arb"


def test_the_package_holds_the_templates_and_the_other_ends() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert '"strategies" = "runner/strategies"' in text and '"examples" = "runner/examples"' in text


def test_the_list_of_commands_says_whole_sentences() -> None:
    code, out, _ = runner("--help")
    assert code == 0 and "To begin: runner init" in out
    cut = [line for line in out.splitlines()[1:] if line.endswith("...")]
    assert cut == []
