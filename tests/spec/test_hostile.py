"""Hostile files through the whole check and the writers: bounded, and never a traceback (R-67)."""

from __future__ import annotations

import pytest

from runner.lang.render import as_json, as_text
from runner.spec import load
from tests.patience import quickest

HEAD = """\
version: 1
name: hostile
exchanges: {x: {type: binance_usdm, network: testnet}}
markets: {m: {exchange: x, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}}
rules:
  r:
    when: m.bid > 0 * m.ask
    until: m.bid < 0 * m.ask
    trade: {size: 200 USDT, legs: [{market: m, side: buy}]}
"""

FILES = {
    "deep brackets": HEAD + "signals: {s: " + "(" * 1_900 + "1" + ")" * 1_900 + "}",
    "deep minus": HEAD + "signals: {s: " + "-" * 3_900 + "1}",
    "deep not": HEAD + "signals: {s: " + "not " * 900 + "true}",
    "a long sum": HEAD + "signals: {s: " + "1+" * 1_900 + "1}",
    "an expression beyond all length": HEAD + "signals: {s: " + "1+" * 100_000 + "1}",
    "signals that double": HEAD
    + "signals:\n  s0: m.mid\n"
    + "".join(f"  s{i}: s{i - 1} + s{i - 1}\n" for i in range(1, 60)),
    "a chain of signals": HEAD
    + "signals:\n  s0: m.mid\n"
    + "".join(f"  s{i}: s{i - 1} * 1\n" for i in range(1, 900)),
    "a chain backwards": HEAD
    + "signals:\n"
    + "".join(f"  s{i}: s{i + 1} * 1\n" for i in range(900))
    + "  s900: m.mid\n",
    "a long key": HEAD + "k" * 500_000 + ": 1\n",
    "a long unknown name": HEAD + "signals: {s: " + "q" * 3_900 + "}",
    "thousands of mistakes": HEAD + "signals:\n" + "".join(f"  s{i}: 1 +\n" for i in range(3_000)),
    "thousands of unknown keys": HEAD + "".join(f"k{i}: 1\n" for i in range(4_000)),
    "sections of the wrong kind": "version: []\nname: {}\nexchanges: []\nmarkets: 3\nrules: x\n",
    "sections without content": "version:\nname:\nexchanges:\nmarkets:\nrules:\nrisk:\nsignals:\n",
    "rules full of nothing": HEAD + "signals: {a: null, b: [], c: {}}\nrisk: {max_order: []}\n",
    "a sizing that is a text": HEAD + "sizing: x\n",
    "a list": "- 1\n- 2\n",
    "a text": "hello",
    "aliases shared by sections": HEAD + "signals: &a {s: m.mid}\nsizing: *a\n",
}


@pytest.mark.parametrize("name", FILES)
def test_the_check_ends_in_time_with_diagnostics(name: str) -> None:
    checked = load(FILES[name], environ={})
    text, machine = as_text(checked), as_json([checked])
    assert checked.findings.errors > 0
    assert text and machine.startswith("{")
    assert len(text) < 300_000
    spent = quickest(lambda: as_text(load(FILES[name], environ={})), enough=1.0)
    assert spent < 1.0, f"{spent:.2f} s"
