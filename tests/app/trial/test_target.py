"""A file's own tests can say where a stop and a target rest, and which of them ends the trade."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.app.trial.suite import Suite

TEXT = """\
version: 1
name: swing
params:
  profit: {type: ratio, default: 50bps, range: [-1%, 2%]}
exchanges:
  ex: {type: EXCHANGE, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
markets:
  btc: {exchange: ex, symbol: BTCUSDT, streams: {book: {max_age: 2s}, mark: {max_age: 9s}}}
rules:
  dip:
    when: ret(btc.mid, 5s) < -10bps
    max_hold: 10m
    trade:
      size: 500 USDT
      legs: [{market: btc, side: buy}]
      stop: {price: btc.bid * 99%}
      target: {price: btc.ask * (1 + params.profit)}
      close: {collar: 3bps, worst: 50bps, then: market}
risk:
  max_order: 600 USDT
  max_position: {btc: 0.02 BTC}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: 20 USDT
tests:
  the target ends it:
    every: 100ms
    series:
      btc.book.bid: 60_000x60 59_900x40 60_210x20
      btc.book.ask: 60_001x60 59_901x40 60_211x20
      btc.mark.price: 60_000x60 59_900x40 60_210x20
    expect:
      - t: 9s
        rule: {dip: active}
        orders:
          - {side: buy, tif: ioc}
          - {side: sell, purpose: protect, type: stop, trigger: 59_301, reduce_only: true}
          - {side: sell, purpose: protect, type: target, trigger: 60_200.6, reduce_only: true}
      - {t: 11s, position: {btc: 0 BTC}, rule: {dip: cooldown}, orders: []}
  the stop ends it:
    every: 100ms
    series:
      btc.book.bid: 60_000x60 59_900x40 59_300x10
      btc.book.ask: 60_001x60 59_901x40 59_301x10
      btc.mark.price: 60_000x60 59_900x40 59_300x10
    expect:
      - {t: 9s, rule: {dip: active}, orders: [{side: buy}, {type: stop}, {type: target}]}
      - {t: 10.9s, position: {btc: 0 BTC}, orders: []}
  a target below the market keeps it out:
    set: {profit: -20bps}
    every: 100ms
    series:
      btc.book.bid: 60_000x60 59_900x40
      btc.book.ask: 60_001x60 59_901x40
      btc.mark.price: 60_000x60 59_900x40
    expect:
      - {t: 9s, orders: [], why: {dip: is not above 59900.5}}
"""


@pytest.mark.parametrize("exchange", ["binance_usdm", "bybit_linear"])
def test_a_file_can_say_it(tmp_path: Path, exchange: str) -> None:
    path = tmp_path / "swing.yaml"
    path.write_text(TEXT.replace("EXCHANGE", exchange), encoding="utf-8")
    results = list(Suite.load(path, {}).run(""))
    assert len(results) == 3
    for result in results:
        assert result.passed, (result.trial.name, result.fault, result.outcome)
