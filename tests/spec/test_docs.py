"""Every YAML block of the documentation is a strategy, or a part of one, that holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.lang.diagnostics import Findings
from runner.lang.nodes import Mapping
from runner.lang.pages import pages
from runner.lang.reader import read
from runner.lang.render import as_text
from runner.spec import load

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
BLOCKS = [
    pytest.param(block, id=f"{file.name}-{i}")
    for file in FILES
    for i, block in enumerate(BLOCK.findall(file.read_text(encoding="utf-8")))
]


def holds(text: str) -> None:
    if re.search(r"^version:", text, re.MULTILINE):
        checked = load(text, environ={})
        assert checked.plan is not None, as_text(checked)
        return
    findings = Findings()
    node = read(text, findings)
    assert isinstance(node, Mapping) and not findings.items, [d.message for d in findings]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_the_documentation_holds(block: str) -> None:
    holds(block)


@pytest.mark.parametrize("code", [c for c in pages() if c[1:] not in ("0602", "0603", "0604")])
def test_the_good_example_of_a_page_is_yaml(code: str) -> None:
    findings = Findings()
    node = read(pages()[code].good, findings)
    assert isinstance(node, Mapping) and not findings.items, [d.message for d in findings]


def test_the_check_of_a_block_can_fail() -> None:
    with pytest.raises(AssertionError):
        holds("version: 1\nname: a\n")
    with pytest.raises(AssertionError):
        holds("a: {b: f(1, 2)}\n")
