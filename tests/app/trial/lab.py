"""A small strategy whose tests are written by the tests here."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

from runner.app.trial.play import Outcome, play
from runner.app.trial.suite import Result, Suite
from runner.lang.render import as_text
from runner.spec import load

HEAD = """\
version: 1
name: spread
params:
  enter: {type: ratio, default: 30bps}
exchanges:
  bybit: {type: bybit_linear, network: testnet, auth: {key: {env: K}, secret: {env: S}}}
  binance: {type: binance_usdm, network: testnet, auth: {key: {env: K}, secret: {env: S}}}
markets:
  a: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 300ms}}}
  b: {exchange: binance, symbol: BTCUSDT, streams: {book: {max_age: 300ms}}}
signals:
  edge: gap(a.bid, b.ask)
  calm: edge < 10bps
rules:
  fade:
    when: edge > params.enter
    until: calm
    max_skew: 100ms
    cooldown: 1s
    trade:
      size: 500 USDT
      legs:
        - {market: a, side: sell, order: {type: limit, tif: ioc, collar: 1bps}}
        - {market: b, side: buy, order: {type: limit, tif: ioc, collar: 1bps}}
      hedge: {policy: together, max_gap: 0.002 BTC, repair: unwind, repair_within: 2s, worst: 15bps}
      close: {tif: ioc, collar: 2bps, retry: 250ms, worst: 20bps, then: hold}
risk:
  max_order: 600 USDT
  max_position: {a: 0.02 BTC, b: 0.02 BTC}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: {amount: 20 USDT, then: halt}
tests:
"""
WIDE = """\
every: 100ms
series:
  a.book.bid: "60_000x10 60_300x10 60_000x10"
  a.book.ask: "60_001x10 60_301x10 60_001x10"
  b.book.bid: "59_999x30"
  b.book.ask: "60_000x30"
"""
"""apart from 1 s to 2 s"""


def text_of(**tests: str) -> str:
    """Return the file with these tests, `_` of a name written as a space."""
    blocks = []
    for name, block in tests.items():
        blocks.append(f"  {name.replace('_', ' ')}:\n{indent(dedent(block), '    ')}")
    return HEAD + "".join(blocks)


def played(block: str) -> Outcome:
    """Run one test."""
    checked = load(text_of(one=block))
    assert checked.plan is not None, as_text(checked)
    (trial,) = checked.plan.trials
    return play(checked.plan, trial)


def difference(block: str) -> tuple[float, str, str] | None:
    """Run one test; return when (in seconds) it differs, what was expected and what was there."""
    mismatch = played(block).mismatch
    if mismatch is None:
        return None
    return mismatch.t / 1e9, mismatch.expected, mismatch.got


def results(tmp_path: Path, name: str = "", **tests: str) -> list[Result]:
    """Write a file with these tests and run them."""
    path = tmp_path / "spread.yaml"
    path.write_text(text_of(**tests), encoding="utf-8")
    return list(Suite.load(path, {}).run(name))
