"""Reading YAML: exact places, traps refused, hostile files refused quickly and cheaply (R-67)."""

from __future__ import annotations

import resource

import pytest

from runner.lang import reader
from runner.lang.diagnostics import Findings, Mark
from runner.lang.nodes import Mapping, Node, Scalar, Sequence
from runner.lang.reader import LARGEST_FILE, decode, read
from tests.patience import quickest


def parse(text: str) -> tuple[Node | None, Findings]:
    findings = Findings()
    return read(text, findings), findings


def codes(text: str) -> list[str]:
    return [d.code for d in parse(text)[1]]


def mapping(text: str) -> Mapping:
    node, findings = parse(text)
    assert not findings.items and isinstance(node, Mapping)
    return node


def scalar(node: Node | None) -> Scalar:
    assert isinstance(node, Scalar)
    return node


# --- places --------------------------------------------------------------------------------------


def test_keys_and_values_know_their_place() -> None:
    node = mapping("a: 1\nbb:\n  - x\n  - {c: 'd e'}\n")
    assert node.key("bb") == Mark(2, 1, 3)
    assert scalar(node.get("a")).mark == Mark(1, 4, 5)
    items = node.get("bb")
    assert isinstance(items, Sequence) and isinstance(items.items[1], Mapping)
    assert scalar(items.items[1].get("c")).mark == Mark(4, 9, 14)


def test_places_count_characters_not_bytes() -> None:
    node = mapping("é: {ü: ärger, b: 2}\n")
    inner = node.get("é")
    assert isinstance(inner, Mapping)
    assert scalar(inner.get("b")).mark == Mark(1, 18, 19)


@pytest.mark.parametrize(
    ("text", "exact", "column"),
    [
        ("a: x > 1", True, 4),
        ("a: 'x > 1'", True, 5),
        ('a: "x > 1"', True, 5),
        (r'a: "x \u003e 1"', False, 4),
        ("a: 'it''s'", False, 4),
        ("a: >-\n  x >\n  1\n", False, 4),
        ("a: |\n  x\n", False, 4),
    ],
)
def test_carets_point_inside_only_where_text_and_file_agree(
    text: str, exact: bool, column: int
) -> None:
    source = scalar(mapping(text).get("a")).source
    assert (source.exact, source.mark.column) == (exact, column)


def test_windows_line_ends_move_nothing() -> None:
    node = mapping("a: 1\r\nbb: [c, d]\r\n")
    items = node.get("bb")
    assert isinstance(items, Sequence) and items.items[1].mark == Mark(2, 9, 10)


@pytest.mark.parametrize("break_", ["\r", "\x85", "\u2028", "\u2029"])
def test_a_line_break_that_editors_do_not_show_is_refused_where_it_is(break_: str) -> None:
    (found,) = parse(f"a: 1\nb: 2{break_}c: 3\n")[1]
    assert (found.code, found.mark) == ("E0102", Mark(2, 5, 6))


def test_a_tab_is_shown_where_it_is() -> None:
    (found,) = parse("a: 1\nb:\n  \tc: 1\n")[1]
    assert (found.code, found.mark) == ("E0102", Mark(3, 3, 4))


def test_a_byte_order_mark_moves_nothing() -> None:
    findings = Findings()
    text = decode(b"\xef\xbb\xbfa: 1\n", findings)
    assert text is not None and mapping(text).key("a") == Mark(1, 1, 2)


# --- mistakes ------------------------------------------------------------------------------------


def test_of_a_duplicate_key_both_places_are_shown_and_the_last_value_stands() -> None:
    node, findings = parse("a: 1\nb: 2\na: 3\n")
    (found,) = findings
    assert (found.code, found.mark, found.related[0].mark) == (
        "E0103",
        Mark(3, 1, 2),
        Mark(1, 1, 2),
    )
    assert isinstance(node, Mapping) and scalar(node.get("a")).value == 3


@pytest.mark.parametrize(
    "text",
    ["a: {size: max(b, c), d: 1}", "a: {about: this, and that}", "a: {size: f(a, b, c)}"],
)
def test_a_comma_inside_braces_is_one_diagnostic(text: str) -> None:
    assert codes(text) == ["E0104"]


def test_a_null_value_inside_braces_is_no_split() -> None:
    assert codes("a: {b: , c: null, d: ~}") == []


@pytest.mark.parametrize(
    "value",
    "yes No ON off 007 0o17 0x1F 0b1 12:30 12:30:45 2024-01-01 2024-01-01T00:00:00 .nan .inf "
    "-.Inf 00 01.5 1e999".split(),
)
def test_what_yaml_readers_disagree_about_is_refused_with_the_quoted_form(value: str) -> None:
    _, findings = parse(f"a: {value}")
    (found,) = findings
    assert found.code == "E0102" and "`" in found.help[0]
    assert codes(f'a: "{value}"') == []


def test_a_trap_is_refused_as_a_key_too() -> None:
    assert codes("on: 1") == ["E0102"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("60_180", 60180),
        ("-5", -5),
        ("0", 0),
        ("0.5", 0.5),
        ("1e6", 1e6),
        ("1.5e-3", 0.0015),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("40ms", "40ms"),
        ("500 USDT", "500 USDT"),
        ("nothing", "nothing"),
        ("online", "online"),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = scalar(mapping(f"a: {text}").get("a")).value
    assert found == value and type(found) is type(value)


# --- hostile files -------------------------------------------------------------------------------

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
HOSTILE = {
    "deep flow lists": "a: " + "[" * 100_000,
    "deep flow mappings": "a: " + "{a: " * 50_000,
    "deep block": "".join(" " * i + "a:\n" for i in range(400)),
    "deep block lists": "- " * 60_000 + "x",
    "billion laughs": BOMB,
    "many aliases": "a: &x 1\nb: [" + ",".join(["*x"] * 101) + "]",
    "an alias inside its anchor": "a: &x [*x]",
    "an alias before its anchor": "a: *x\nb: &x 1",
    "a python object": "a: !!python/object/apply:os.system ['true']",
    "a python name": "a: !!python/name:os.system",
    "a custom tag": "a: !env HOME",
    "a binary tag": "a: !!binary aGVsbG8=",
    "a tag directive": "%TAG ! tag:evil,2000:\n---\na: !x 1\n",
    "a merge": "b: &b {x: 1}\na: {<<: *b}",
    "a tab": "a:\n\tb: 1\n",
    "a null byte": "a: b\x00c",
    "a control character": "a: b\x07c",
    "a lone surrogate": "a: \ud800",
    "too large": "a: " + "x" * (LARGEST_FILE + 1),
    "too many values": "a: [" + "x," * 200_000 + "]",
    "too many keys": "".join(f"k{i}: 1\n" for i in range(20_000)),
    "two documents": "a: 1\n---\nb: 2\n",
    "nothing": "",
    "only comments": "# nothing\n",
    "a list as key": "? [a, b]\n: c",
    "a mapping as key": "{{a: b}: c}",
    "a template": "a: {{ x }}",
    "a template in quotes": "a: '{{ x }}'",
    "an open quote": "a: 'x\n" + "y\n" * 50_000,
    "an open bracket": "a: [1, 2\nb: 3",
    "a number of a million digits": "a: " + "9" * 1_000_000,
    "a huge exponent": "a: 1e999999999",
    "duplicates without end": "a: 1\n" * 9_000,
    "a million of colons": "a" + ": " * 300_000,
    "an unknown escape": 'a: "\\q"',
    "a percent directive": "%FOO bar\n- a",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_within_200_ms_and_100_mb(name: str) -> None:
    text = HOSTILE[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert parse(text)[1].errors > 0
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown <= 100_000, f"{grown} KB"
    spent = quickest(lambda: parse(text), enough=0.2)
    assert spent <= 0.2, f"{spent * 1e3:.0f} ms"


def test_too_many_values_are_found_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = []
    monkeypatch.setattr(reader._Reader, "_node", lambda self, event: built.append(event))
    for name in ("too many values", "too many keys"):
        (found,) = parse(HOSTILE[name])[1]
        assert (found.code, built) == ("E0101", []) and "more than 10000" in found.message


@pytest.mark.parametrize(
    "name", ["deep block lists", "deep flow mappings", "a million of colons", "an open quote"]
)
def test_counting_first_changes_no_other_verdict(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = list(parse(HOSTILE[name])[1])
    monkeypatch.setattr(reader, "_may_be_too_many", lambda text: False)
    assert counted == list(parse(HOSTILE[name])[1])


def test_bytes_that_are_not_utf_8_are_shown_where_they_are() -> None:
    findings = Findings()
    assert decode(b"a: 1\nb: \xff\n", findings) is None
    (found,) = findings
    assert (found.code, found.mark.line, found.mark.column) == ("E0101", 2, 4)


def test_a_file_over_one_mebibyte_is_not_even_decoded() -> None:
    findings = Findings()
    assert decode(b"\xff" * (LARGEST_FILE + 1), findings) is None
    assert "larger" in next(iter(findings)).message
