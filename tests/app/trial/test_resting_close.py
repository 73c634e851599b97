"""A file's own tests can say how an exit rests, is moved, and takes when its time is over."""

from __future__ import annotations

import pytest

from runner.app.trial.play import play
from runner.lang.render import as_text
from runner.spec import load

TEXT = """\
version: 1
name: swing
exchanges:
  binance: {type: binance_usdm, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
markets:
  btc: {exchange: binance, symbol: BTCUSDT, streams: {book: {max_age: 2s}}}
rules:
  dip:
    when: ret(btc.mid, 5s) < -10bps
    until: ret(btc.mid, 5s) > 5bps
    max_hold: 10m
    trade:
      size: 500 USDT
      legs: [{market: btc, side: buy}]
      close: {tif: post_only, give_up: 20s, reprice_every: 500ms, collar: 3bps, then: market}
      stop: {loss: 5 USDT}
risk:
  max_order: 600 USDT
  max_position: {btc: 0.02 BTC}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: 20 USDT
tests:
  the exit rests at the ask and leaves as maker:
    every: 100ms
    series:
      btc.book.bid: 60_000x60 59_900x60 59_960x20 59_970x40
      btc.book.ask: 60_001x60 59_901x60 59_961x20 59_971x40
    expect:
      - {t: 7s, rule: {dip: active}, orders: [{side: buy, tif: ioc}]}
      - t: 13s
        rule: {dip: leaving}
        why: {dip: rest at 59961}
        orders: [{side: sell, purpose: close, tif: post_only, price: 59_961, reduce_only: true}]
      - {t: 15.5s, position: {btc: 0 BTC}, rule: {dip: idle}, orders: [], changes: []}
    never: {position: {btc: "< 0 BTC"}}
  what nobody takes follows the market, is given up, and takes:
    every: 100ms
    series:
      btc.book.bid: 60_000x60 59_900x60 59_960x20 59_950x300
      btc.book.ask: 60_001x60 59_901x60 59_961x20 59_951x300
    expect:
      - {t: 12.5s, orders: [{side: buy}, {side: sell, tif: post_only, price: 59_961}]}
      - {t: 20s, rule: {dip: leaving}, orders: [], changes: [{side: sell, price: 59_951}]}
      - {t: 33s, position: {btc: 0 BTC}, orders: [{side: sell, tif: ioc, purpose: close}]}
  a stop takes at once what was resting:
    every: 100ms
    series:
      btc.book.bid: 60_000x60 59_900x60 59_960x20 59_000x50
      btc.book.ask: 60_001x60 59_901x60 59_961x20 59_001x50
    expect:
      - {t: 12.5s, orders: [{side: buy}, {side: sell, tif: post_only}]}
      - {t: 14.5s, position: {btc: 0 BTC}, orders: [{side: sell, tif: ioc}]}
"""
CHECKED = load(TEXT, environ={})
assert CHECKED.plan is not None, as_text(CHECKED)
PLAN = CHECKED.plan


@pytest.mark.parametrize("name", [trial.name for trial in PLAN.trials])
def test_a_file_can_say_it(name: str) -> None:
    (trial,) = [t for t in PLAN.trials if t.name == name]
    mismatch = play(PLAN, trial).mismatch
    assert mismatch is None, (mismatch.t, mismatch.expected, mismatch.got)
