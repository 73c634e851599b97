"""Strategies written as text, compiled, on a stage of two markets."""

from __future__ import annotations

from typing import Any

from runner.engine.build import compiled
from runner.engine.scenario import Scenario
from runner.engine.timers import MS
from runner.spec.load import load
from runner.spec.plan import Plan

R = "spread"
HEAD = """\
version: 1
name: written
exchanges:
  binance: {type: binance_usdm, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
  bybit: {type: bybit_linear, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
markets:
  bin: {exchange: binance, symbol: BTCUSDT, streams: {book: {max_age: 250ms}}}
  byb: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 250ms}}}
"""
SPREAD = """\
  spread:
    when: gap(bin.bid, byb.ask) - 0 * ema(gap(bin.mid, byb.mid), 1s) > 30bps
    until: gap(bin.ask, byb.bid) < 5bps
    max_skew: 100ms
    cooldown: 100ms
    trade:
      size: 0.008 BTC
      legs:
        - {market: bin, side: sell, order: {type: limit, tif: ioc, collar: 1bps}}
        - {market: byb, side: buy, order: {type: limit, tif: ioc, collar: 1bps}}
      hedge: {policy: together, max_gap: 0.002 BTC, repair_within: 2s, worst: 15bps}
      close: {tif: ioc, collar: 2bps, worst: 20bps, then: hold}
"""
RISK = """\
risk:
  max_order: 1000 USDT
  max_position: {bin: 0.1 BTC, byb: 0.1 BTC}
  max_orders: {count: 1000, per: 1m}
  max_daily_loss: 1000 USDT
  price_collar: 5%
"""
QUOTES = {"bin": (60_000.0, 60_000.1), "byb": (59_999.9, 60_000.0)}


def plan_of(rules: str = SPREAD, risk: str = "", head: str = HEAD) -> Plan:
    """Check a strategy; its errors fail the test."""
    checked = load(f"{head}rules:\n{rules}{RISK}{risk}", environ={})
    assert checked.plan is not None, [(d.code, d.message) for d in checked.findings.items]
    return checked.plan


def play(plan: Plan, **options: Any) -> Scenario:
    """Set a plan on its stage, with quiet quotes."""
    s = Scenario(plan, compiled(plan), **options)
    return s.start(**QUOTES)


def ready(rules: str = SPREAD, risk: str = "", **options: Any) -> Scenario:
    """A strategy that is warm and idle."""
    return play(plan_of(rules, risk), **options).run(4500 * MS)


def widen(s: Scenario, ratio: float = 0.005) -> None:
    """Let the first market be dear by a ratio."""
    s.quote("bin", round(60_000 * (1 + ratio), 1), round(60_000 * (1 + ratio) + 0.1, 1))


def narrow(s: Scenario) -> None:
    """Bring the quotes back together."""
    s.quote("bin", *QUOTES["bin"])
