"""`runner graph`: who feeds whom, drawn."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from runner import spec
from runner.app import wiring
from runner.base.errors import WorldError
from runner.spec.plan import Plan

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"


def plan(name: str) -> Plan:
    checked = spec.load(ROOT / "strategies" / f"{name}.yaml", environ={})
    assert checked.plan is not None, [d.message for d in checked.findings.items]
    return checked.plan


@pytest.mark.parametrize("name", ["arb", "signal"])
def test_the_drawing_is_this(name: str) -> None:
    golden = GOLDEN / f"graph_{name}.mmd"
    found = wiring.mermaid(plan(name))
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(found)
    assert found == golden.read_text()


def test_what_a_model_is_told_of_leads_to_it() -> None:
    assert ("headlines", "news") in {(a.name, b.name) for a, b in wiring.edges(plan("sentiment"))}


def test_everything_a_rule_reads_leads_to_it() -> None:
    """Walking back from each rule reaches all streams of its `when` and `until`."""
    for name in ("arb", "pairs", "maker", "carry", "signal"):
        found = plan(name)
        feeds: dict[str, set[str]] = {}
        for one, other in wiring.edges(found):
            feeds.setdefault(other.name, set()).add(one.name)
        for rule in found.rules.values():
            reached, open_ = set[str](), [rule.name]
            while open_:
                node = open_.pop()
                new = feeds.get(node, set()) - reached
                reached |= new
                open_ += new
            assert {*rule.when_streams, *rule.until_streams} <= reached, rule.name


def test_dot_names_the_same_edges() -> None:
    found = plan("arb")
    text = wiring.dot(found)
    assert text.count("->") == len(wiring.edges(found))
    assert '"bin.book" [shape=cylinder];' in text and '"sell_bin" -> "sell_bin_buy_byb";' in text


def test_without_graphviz_it_says_so(tmp_path: Path) -> None:
    nowhere = patch.dict(os.environ, {"PATH": str(tmp_path)})
    with nowhere, pytest.raises(WorldError, match="not installed"):
        wiring.svg(plan("arb"))


def test_graphviz_gets_the_drawing_and_its_mistake_is_told(tmp_path: Path) -> None:
    dot = tmp_path / "dot"
    dot.write_text('#!/bin/sh\nread line; [ "$line" = "digraph strategy {" ] && echo "<svg $1/>"\n')
    dot.chmod(0o700)
    with patch("shutil.which", lambda _: str(dot)):
        assert wiring.svg(plan("arb")) == "<svg -Tsvg/>\n"
        dot.write_text("#!/bin/sh\necho broken >&2; exit 1\n")
        with pytest.raises(WorldError, match="broken"):
            wiring.svg(plan("arb"))
