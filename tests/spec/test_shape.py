"""The shape: our walk and `jsonschema` agree on what is right and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runner.lang.diagnostics import Findings
from runner.lang.nodes import Mapping, Node, Scalar
from runner.lang.reader import read
from runner.spec import load, schema
from runner.spec.shape import check_shape
from runner.spec.suggest import nearest

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft7Validator(schema.root())
STRATEGIES = sorted((ROOT / "strategies").glob("*.yaml"))


def plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Mapping):
        return {entry.key.text: plain(entry.value) for entry in node}
    return [plain(item) for item in node.items]


def walked(text: str) -> list[str]:
    findings = Findings()
    node = read(text, findings)
    assert node is not None and not findings.items
    check_shape(node, findings)
    return [d.code for d in findings]


def test_the_schema_is_draft_07() -> None:
    jsonschema.Draft7Validator.check_schema(schema.root())
    assert schema.root()["$schema"].endswith("draft-07/schema#")


@pytest.mark.parametrize("file", STRATEGIES, ids=lambda f: f.stem)
def test_editors_find_nothing_in_the_shipped_strategies(file: Path) -> None:
    node = read(file.read_text(), Findings())
    assert node is not None
    assert [e.message for e in VALIDATOR.iter_errors(plain(node))] == []


def changes(text: str) -> dict[str, str]:
    """Break the shape of a strategy in many ways, one at a time."""
    return {
        "unknown top key": text + "\nextra: 1\n",
        "name is a list": text.replace("name: spread-arb-btc", "name: [a]"),
        "name with spaces": text.replace("name: spread-arb-btc", "name: spread arb"),
        "name is a number": text.replace("name: spread-arb-btc", "name: 7"),
        "version 2": text.replace("version: 1", "version: 2"),
        "version is text": text.replace("version: 1", 'version: "1"'),
        "unknown network": text.replace("network: testnet", "network: tesnet", 1),
        "unknown exchange type": text.replace("binance_usdm", "binance_usd", 1),
        "leverage is text": text.replace("leverage: 2", "leverage: two", 1),
        "leverage out of range": text.replace("leverage: 2", "leverage: 1000", 1),
        "no legs": text.replace("      legs:", "      lags:", 1),
        "a leg without side": text.replace("side: sell, ", "", 1),
        "a side that is none": text.replace("side: sell", "side: short", 1),
        "hedge is a text": text.replace(
            "hedge: {policy: together, max_gap: 0.002 BTC, repair: cheaper, repair_within: 2s, "
            "worst: 15bps, on_failure: keep}",
            "hedge: together",
        ),
        "no exchanges": text.replace("\nexchanges:", "\nexchange:"),
        "a symbol that is empty": text.replace("symbol: BTCUSDT", 'symbol: ""', 1),
        "a count that is a ratio": text.replace("count: 40", "count: 4.5"),
        "a day without zone": text.replace("amount: 20 USDT", 'amount: 20 USDT, day: "8"'),
        "a market named in capitals": text.replace("\n  bin: {", "\n  BIN: {"),
        "a range of one": text.replace("range: [3bps, 25bps]", "range: [3bps]"),
    }


@pytest.mark.parametrize("name", changes(""))
def test_the_walk_refuses_what_jsonschema_refuses(name: str) -> None:
    good = (ROOT / "strategies" / "arb.yaml").read_text()
    text = changes(good)[name]
    assert text != good
    node = read(text, Findings())
    assert node is not None
    refused = not VALIDATOR.is_valid(plain(node))
    assert refused
    assert walked(text) != []


def test_every_key_has_a_description() -> None:
    silent = [path for path, part in schema.paths() if not part.get("description")]
    assert silent == []


def test_defaults_and_words_of_the_schema_are_of_its_own_kind() -> None:
    for path, part in schema.paths():
        if "enum" in part and "default" in part:
            assert part["default"] in part["enum"], path


def test_the_schema_in_the_repository_is_the_one_in_use() -> None:
    assert schema.file() == ROOT / "schemas" / schema.NAME
    assert json.loads(schema.file().read_text()) == schema.root()


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("askk", ["ask", "bid"], "ask"),
        ("bybti", ["binance", "bybit"], "bybit"),
        ("max_positon", ["max_position", "max_order"], "max_position"),
        ("binance", ["binance_usdm", "bybit_linear"], "binance_usdm"),
        ("zzz", ["ask", "bid"], None),
        ("", ["a"], None),
        ("x" * 100_000, ["x"], None),
    ],
)
def test_did_you_mean(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant


EXAMPLES = sorted(
    {(path, part["x-example"]) for path, part in schema.paths() if "x-example" in part}
)


@pytest.mark.parametrize(("path", "example"), EXAMPLES)
def test_the_example_of_a_key_has_the_shape_of_the_key(path: str, example: str) -> None:
    """`runner explain` shows it: what is copied from there is not refused."""
    findings = Findings()
    node = read(example, findings)
    assert node is not None and not findings.items, [d.message for d in findings]
    shown, (*_, holder, key) = plain(node), ("", *path.split("."))
    place = path
    if isinstance(shown, dict) and set(shown) == {key}:
        shown = shown[key]
    elif isinstance(shown, dict) and set(shown) == {holder}:
        shown, place = shown[holder], path.rsplit(".", 1)[0]
    whole = {**dict(schema.paths())[place], "definitions": schema.root()["definitions"]}
    errors = jsonschema.Draft7Validator(whole).iter_errors(shown)
    assert [error.message for error in errors] == []


def test_a_bound_of_a_size_in_the_other_currency_is_told_how_to_convert() -> None:
    text = (ROOT / "strategies" / "arb.yaml").read_text(encoding="utf-8").split("\ntests:")[0]
    checked = load(text.replace("max: 20% * account.binance.equity", "max: 0.01 BTC"), environ={})
    (found,) = [d for d in checked.findings.items if d.code == "E0316"]
    assert found.path == "sizing.clip.max" and "0.01 BTC * btc.ask" in found.help[0]
