"""Diagnostics word by word: for every code a file that raises it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.lang.pages import pages
from runner.lang.render import as_text, settle
from runner.spec import load

GOLDEN = Path(__file__).parents[1] / "golden"
PACKAGE = Path(__file__).parents[2] / "runner"
FILES = sorted(GOLDEN.glob("*.yaml"))
CODES = [f.stem for f in FILES if re.fullmatch(r"[EW]\d{4}", f.stem)]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_the_text_is_the_one_written_down(file: Path) -> None:
    checked = load(file, name=file.name, environ={})
    assert as_text(checked) == file.with_suffix(".out").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", CODES)
def test_a_file_with_one_mistake_raises_one_code(code: str) -> None:
    checked = load(GOLDEN / f"{code}.yaml", environ={})
    assert {d.code for d in checked.findings} == {code}
    assert (checked.plan is None) == any(d.is_error for d in checked.findings)


def test_every_code_that_the_source_can_raise_has_a_golden_file() -> None:
    raised: set[str] = set()
    for file in [*(PACKAGE / "lang").glob("*.py"), *(PACKAGE / "spec").glob("*.py")]:
        raised |= set(re.findall(r"\"([EW]0\d{3})\"", file.read_text(encoding="utf-8")))
    assert raised - set(CODES) == set()


def test_broken_yaml_has_exactly_15_errors_and_4_warnings() -> None:
    shown = settle(load(GOLDEN / "broken.yaml", environ={}).findings)
    assert sum(d.is_error for d in shown) == 15
    assert sum(not d.is_error for d in shown) == 4


@pytest.mark.parametrize("code", sorted({*CODES, *pages()}))
def test_every_code_has_a_page_with_two_examples(code: str) -> None:
    page = pages()[code]
    assert page.title and page.bad and page.good and page.bad != page.good
