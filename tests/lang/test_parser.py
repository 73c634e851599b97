"""Lexer and parser: any text gives a tree or one diagnostic, with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.lang import parser
from runner.lang.lexer import Fault
from runner.lang.parser import parse
from tests.lang.material import findings

WORDS = st.sampled_from(
    "1 2.5 1e3 15bps 2% 500 USDT 20s 3bars x bin.bid params.a gap ( ) [ ] , . + - * / < <= == != "
    'and or not if else in true "a" \' # & = 1_ 1__0 é \n \t ema buy'.split(" ")
)


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=30).map(" ".join)))
def test_any_text_gives_a_tree_or_a_fault_inside_it(text: str) -> None:
    try:
        tree = parse(text)
    except Fault as fault:
        assert fault.code in ("E0301", "E0302", "E0303")
        assert 0 <= fault.start < fault.end <= max(len(text), 1)
    else:
        assert 0 <= tree.start < tree.end <= len(text)


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=30).map(" ".join)))
def test_any_text_gives_a_typed_tree_or_diagnostics(text: str) -> None:
    expr, found = findings(text)
    assert (expr is None) == bool(found)
    assert all(d.code.startswith("E03") or d.code == "E0207" for d in found)


@pytest.mark.parametrize("text", ["(" * 5000, "-" * 5000 + "1", "not " * 3000 + "true",
                                  "1+" * 3000 + "1", "1 if true else " * 900 + "1",
                                  "abs(" * 900, "x." * 900])  # fmt: skip
def test_hostile_nesting_is_refused_at_a_bounded_cost(text: str) -> None:
    with pytest.raises(Fault):
        parse(text)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("1 - 2 - 3", "((1 - 2) - 3)"),
        ("-1 * 2", "((- 1) * 2)"),
        ("a and b or not c and d", "((a and b) or ((not c) and d))"),
        ("not a < b", "(not (a < b))"),
        ("0 < x <= 5", "(0 < x <= 5)"),
        ("1 if a or b else 2 if c else 3", "(1 if (a or b) else (2 if c else 3))"),
        ('x in ["a", "b"] and y', '((x in ["a", "b"]) and y)'),
    ],
)
def test_operators_bind_as_the_grammar_says(text: str, shape: str) -> None:
    assert shown(parse(text)) == shape


def shown(node: parser.Syntax) -> str:
    """Write a tree with all its parentheses."""
    match node:
        case parser.NumberSyntax():
            return f"{node.value:g}"
        case parser.StringSyntax():
            return f'"{node.value}"'
        case parser.NameSyntax():
            return node.text
        case parser.UnarySyntax():
            return f"({node.op} {shown(node.operand)})"
        case parser.BinarySyntax():
            return f"({shown(node.left)} {node.op} {shown(node.right)})"
        case parser.ManySyntax():
            return "(" + f" {node.op} ".join(map(shown, node.items)) + ")"
        case parser.CompareSyntax():
            rest = zip(node.ops, node.operands[1:], strict=True)
            return (
                f"({shown(node.operands[0])}" + "".join(f" {o} {shown(e)}" for o, e in rest) + ")"
            )
        case parser.InSyntax():
            return f"({shown(node.operand)} in [{', '.join(map(shown, node.items))}])"
        case parser.IfSyntax():
            parts = (node.value, node.condition, node.other)
            return "({} if {} else {})".format(*map(shown, parts))
    raise AssertionError(node)


@pytest.mark.parametrize(
    ("text", "code", "start", "end"),
    [
        ("1 + & 2", "E0301", 4, 5),
        ('"abc', "E0301", 0, 4),
        ("(1 + 2", "E0302", 0, 1),
        ("1 +", "E0302", 2, 3),
        ("", "E0302", 0, 1),
        ("a b", "E0302", 2, 3),
        ("40 ms", "E0303", 0, 5),
        ("30sec", "E0303", 2, 5),
        ("1_", "E0302", 0, 2),
        ("x in 3", "E0302", 5, 6),
        ("1e999", "E0302", 0, 5),
    ],
)
def test_a_mistake_is_shown_where_it_is(text: str, code: str, start: int, end: int) -> None:
    with pytest.raises(Fault) as caught:
        parse(text)
    assert (caught.value.code, caught.value.start, caught.value.end) == (code, start, end)


def test_a_currency_may_stand_one_space_away() -> None:
    for text in ("500 USDT", "500USDT"):
        node = parse(text)
        assert isinstance(node, parser.NumberSyntax) and (node.value, node.unit) == (500, "USDT")
    assert isinstance(parse("2 if a else 3"), parser.IfSyntax)
