"""A file's own tests can say how an exit rests, is moved, and takes when its time is over."""

from __future__ import annotations

import pytest

from runner.app.trial.play import play
from runner.lang.render import as_text
from runner.spec import load
from runner.spec.plan import Plan

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
PAIR = """\
version: 1
name: pair
exchanges:
  bybit: {type: bybit_linear, network: testnet, auth: {key: {env: K}, secret: {env: S}}}
  binance: {type: binance_usdm, network: testnet, auth: {key: {env: K}, secret: {env: S}}}
markets:
  a: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 300ms}}}
  b: {exchange: binance, symbol: BTCUSDT, streams: {book: {max_age: 300ms}}}
rules:
  fade:
    when: gap(a.bid, b.ask) > 40bps
    until: gap(a.ask, b.bid) < 20bps
    max_skew: 100ms
    trade:
      size: 0.008 BTC
      legs: [{market: a, side: sell}, {market: b, side: buy}]
      hedge: {max_gap: 0.004 BTC}
      close: {tif: post_only, give_up: 20s, clip: 0.004 BTC, collar: 3bps, then: hold}
risk:
  max_order: 600 USDT
  max_position: {a: 0.02 BTC, b: 0.02 BTC}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: 20 USDT
tests:
  each clip of the first leg is followed by the second:
    every: 100ms
    series:
      a.book.bid: 60_000x10 60_300x10 60_100x10 60_090x10 60_080x10
      a.book.ask: 60_001x10 60_301x10 60_101x10 60_091x10 60_081x10
      b.book.bid: 59_999x50
      b.book.ask: 60_000x50
    expect:
      - {t: 1.5s, rule: {fade: active}, orders: [{market: a}, {market: b}]}
      - t: 2.5s
        rule: {fade: leaving}
        orders: [{market: a, side: buy, tif: post_only, price: 60_100, qty: 0.004 BTC}]
      - t: 3.5s
        position: {a: -0.004 BTC, b: 0.004 BTC}
        orders: [{market: b, side: sell, tif: ioc, qty: 0.004 BTC}, {market: a, price: 60_090}]
      - {t: 4.9s, rule: {fade: cooldown}, position: {a: 0 BTC, b: 0 BTC}}
    never: {net_position: "> 0.004 BTC for 50ms"}
"""


def trials() -> list[tuple[str, str]]:
    return [(text, t.name) for text in (TEXT, PAIR) for t in plan_of(text).trials]


def plan_of(text: str) -> Plan:
    checked = load(text, environ={})
    assert checked.plan is not None, as_text(checked)
    return checked.plan


@pytest.mark.parametrize(("text", "name"), trials(), ids=lambda x: x[:20])
def test_a_file_can_say_it(text: str, name: str) -> None:
    plan = plan_of(text)
    (trial,) = [t for t in plan.trials if t.name == name]
    mismatch = play(plan, trial).mismatch
    assert mismatch is None, (mismatch.t, mismatch.expected, mismatch.got)
