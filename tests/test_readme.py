"""What the README shows is true: its YAML validates, its commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from runner import spec
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_yaml_block_validates(number: int) -> None:
    checked = spec.load(BLOCKS[number], name=f"README block {number + 1}")
    assert [(d.code, d.mark.line, d.message) for d in checked.findings] == []


def test_there_is_a_yaml_block_to_check() -> None:
    assert BLOCKS


@pytest.mark.parametrize("name", ["main", "tests"])
def test_the_two_commands_can_be_copied_out(name: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "readme_command.py", name],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.count("\n") == 1 and "venv" in done.stdout


def test_every_command_of_the_table_exists() -> None:
    listed = set(re.findall(r"^\| `(\w[\w-]*)", README, re.MULTILINE))
    listed |= {"status", "halt", "resume", "flatten"}
    code = (
        "from runner.cli.main import app; import typer;print(*typer.main.get_command(app).commands)"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
    ).stdout.split()
    assert listed <= set(there), listed - set(there)


@pytest.mark.parametrize("path", sorted((ROOT / "strategies").glob("*.y*ml")), ids=lambda p: p.name)
def test_every_shipped_strategy_validates(path: Path) -> None:
    checked = spec.load(path)
    assert checked.plan is not None and checked.findings.errors == 0


HEADS = {
    path.name: line[1:].split()
    for path in sorted((ROOT / "strategies").glob("*.yaml"))
    for line in path.read_text(encoding="utf-8").splitlines()
    if line.startswith("#   runner dry-run ")
}


@pytest.mark.parametrize("name", HEADS)
def test_the_command_in_the_head_of_a_strategy_can_be_copied_out(name: str) -> None:
    """It names its own file, and what it sets lets the file validate."""
    words = shlex.split(" ".join(HEADS[name]))
    assert words[:3] == ["runner", "dry-run", f"strategies/{name}"]
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    checked = spec.load(ROOT / words[2], sets=dict(pair.split("=", 1) for pair in sets))
    assert checked.plan is not None and "--for" in words


def test_every_strategy_that_needs_patience_says_how_to_see_it_trade() -> None:
    shipped = {path.name for path in (ROOT / "strategies").glob("*.yaml")}
    assert shipped - set(HEADS) == {"arb.yaml"}, "the README's main command shows it"


def test_every_file_that_a_command_of_the_readme_names_exists() -> None:
    named = re.findall(r"(?:strategies|examples|tests|schemas)/[\w./-]+\.\w+", README)
    missing = {name for name in named if not (ROOT / name).exists()}
    assert named and missing == set()
