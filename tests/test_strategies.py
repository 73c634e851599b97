"""The tests beside the rules of all that ships: strategies, examples, blocks of the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.app.trial.suite import Suite
from runner.app.trial.text import result_text

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "strategies").rglob("*.yaml"), *(ROOT / "examples").rglob("*.yaml")])
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)


def failures(path: Path) -> list[str]:
    suite = Suite.load(path, {})
    assert suite.checked.plan is not None, f"{path} does not validate"
    return [result_text(result) for result in suite.run() if not result.passed]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_tests_of_a_shipped_file_pass(path: Path) -> None:
    assert failures(path) == []


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_tests_of_a_block_of_the_readme_pass(number: int, tmp_path: Path) -> None:
    path = tmp_path / "block.yaml"
    path.write_text(BLOCKS[number], encoding="utf-8")
    assert failures(path) == []
