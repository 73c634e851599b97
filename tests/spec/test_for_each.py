"""`for_each`: what is written out, in which letters, and within which bounds."""

from __future__ import annotations

import json

import pytest
import yaml
from jsonschema import Draft7Validator

from runner.spec import load, schema
from runner.spec.for_each import fill

FILE = """
version: 1
name: several
for_each: {base: [BTC, ETH, SOL]}
exchanges:
  binance: {type: binance_usdm, network: testnet}
markets:
  bin_{base}: {exchange: binance, symbol: "{base}USDT", streams: {book: {max_age: 1s}}}
signals:
  mean_{base}: sma(bin_{base}.mid, 1h)
  all: bin_btc.book.spread + bin_eth.book.spread + bin_sol.book.spread
rules:
  r_{way}_{base}:
    for_each: {way: [buy, sell]}
    when: bin_{base}.mid > mean_{base} and all < 1%
    order: {market: "bin_{base}", side: "{way}", size: 200 USDT}
    mode: net
risk:
  max_order: 600 USDT
  max_position:
    bin_{base}: 2 {base}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: 20 USDT
"""


def test_an_editor_finds_no_fault_with_its_names() -> None:
    flags = Draft7Validator(json.loads(schema.file().read_bytes()))
    doc = yaml.safe_load(FILE.replace('side: "{way}"', "side: buy"))
    assert list(flags.iter_errors(doc)) == []
    assert load(FILE, environ={}).plan is not None
    market = doc["markets"]["bin_{base}"]
    for name in ("Bin_{base}", "bin_{Base}", "bin-{base}", "{base", "_{base}"):
        doc["markets"] = {name: market}
        assert len(list(flags.iter_errors(doc))) == 1, name
    assert ("E0203", "`bin_{bas}` cannot be a name here", 8) in said(
        FILE.replace("  bin_{base}: {ex", "  bin_{bas}: {ex")
    )


def said(text: str) -> list[tuple[str, str, int]]:
    checked = load(text, environ={})
    return [(d.code, d.message, d.mark.line) for d in checked.findings if d.is_error]


def test_markets_signals_rules_and_limits_are_written_out() -> None:
    checked = load(FILE, environ={})
    plan = checked.plan
    assert plan is not None, [d.message for d in checked.findings]
    assert {n: m.symbol for n, m in plan.markets.items()} == {
        "bin_btc": "BTCUSDT", "bin_eth": "ETHUSDT", "bin_sol": "SOLUSDT",
    }  # fmt: skip
    assert set(plan.signals) == {"mean_btc", "mean_eth", "mean_sol", "all"}
    assert len(plan.rules) == 6 and plan.rules["r_sell_sol"].legs[0].market == "bin_sol"
    assert plan.risk.max_position["bin_eth"].unit == "ETH"
    lines = {name: rule.line for name, rule in plan.rules.items()}
    assert set(lines.values()) == {13}, "all come from one line of the file"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("bin_{base}", "bin_btc"),
        ("{base}_mean > 2", "btc_mean > 2"),
        ("{base}USDT", "BTCUSDT"),
        ("1000{base}USDT", "1000BTCUSDT"),
        ("0.02 {base}", "0.02 BTC"),
        ("{other}", "{other}"),
    ],
)
def test_names_are_small_and_symbols_as_given(text: str, written: str) -> None:
    assert fill(text, {"base": "BTC"}) == written


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("for_each: {base: [BTC, ETH, SOL]}", "for_each: [BTC]", "is a mapping of names to lists"),
        ("{base: [BTC, ETH, SOL]}", "{base: [BTC, 'a b']}", "1 to 50 different words"),
        ("{base: [BTC, ETH, SOL]}", "{base: []}", "1 to 50 different words"),
        ("{base: [BTC, ETH, SOL]}", "{Base: [BTC]}", "is no name of a variable"),
        ("r_{way}_{base}", "r_{base}", "does not hold `{way}`"),
        ("r_{way}_{base}:\n", "r_buy_btc: {when: all > 1, order: {}}\n  r_{way}_{base}:\n",
         "is there already"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_out_is_said(old: str, new: str, message: str) -> None:
    assert old in FILE
    found = said(FILE.replace(old, new))
    assert any(message in text for code, text, _ in found if code == "E0203"), found


def test_prose_is_not_filled_in() -> None:
    plan = load(FILE.replace("    mode: net", "    mode: net\n    about: of {base}")).plan
    assert plan is not None


def test_it_cannot_blow_up() -> None:
    """Each level is bounded, and so is what all of them make."""
    values = "[" + ", ".join(f"A{i}" for i in range(50)) + "]"
    many = FILE.replace("{base: [BTC, ETH, SOL]}", f"{{base: {values}, to: {values}}}")
    assert any("2500 of each" in text for _, text, _ in said(many))
    legs = ", ".join('{market: "bin_{base}", side: buy}' for _ in range(100))
    wide = FILE.replace("{base: [BTC, ETH, SOL]}", f"{{base: {values}}}").replace(
        'order: {market: "bin_{base}", side: "{way}", size: 200 USDT}',
        f"trade: {{size: 2 USDT, legs: [{legs}]}}",
    )
    assert any("more than 10000 values" in text for _, text, _ in said(wide))
