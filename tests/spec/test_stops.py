"""`stop:` of a trade: what reaches the plan, and what is refused with its place."""

from __future__ import annotations

import pytest

from runner.cli.plan_text import as_text as plan_text
from runner.lang.render import as_text
from runner.spec import load

FILE = """
version: 1
name: stopped
exchanges:
  bybit: {{type: {type}, network: testnet}}
markets:
  btc: {{exchange: bybit, symbol: BTCUSDT, streams: {{book: {{max_age: 1s}}}}}}
  eth: {{exchange: bybit, symbol: ETHUSDT, streams: {{book: {{max_age: 1s}}}}}}
rules:
  go:
    when: btc.book.imbalance > 0.5
    trade:
      size: 300 USDT
      legs: [{legs}]
      hedge: {{max_gap: 200 USDT}}
      stop: {{{stop}}}
      close: {{worst: 50bps, then: market}}
risk:
  max_order: 450 USDT
  max_position: {{btc: 0.5 BTC, eth: 9 ETH}}
  max_daily_loss: 20 USDT
  max_orders: {{count: 6, per: 1m}}
"""
ONE = "{market: btc, side: buy}"
TWO = "{market: btc, side: buy, weight: 1}, {market: eth, side: sell, weight: 1}"


def text(stop: str, legs: str = ONE, type: str = "bybit_linear") -> str:
    return FILE.format(stop=stop, legs=legs, type=type)


def test_a_stop_reaches_the_plan_with_its_words() -> None:
    checked = load(
        text("price: btc.bid * 99%, trigger: last, confirm_within: 2s, if_refused: keep")
    )
    assert checked.plan is not None, as_text(checked)
    trade = checked.plan.rules["go"].trade
    assert trade is not None and trade.guard is not None
    guard = trade.guard
    assert (guard.trigger, guard.confirm_within_ns, guard.if_refused) == ("last", 2 * 10**9, "keep")
    assert "btc.book" in checked.plan.rules["go"].when_streams
    assert "a stop at the exchange at btc.bid * 99%, by the last price" in " ".join(
        plan_text(checked.plan).split()
    )


@pytest.mark.parametrize(
    ("stop", "legs", "type", "code", "says"),
    [
        ("price: 1.2%", ONE, "bybit_linear", "E0316", "a price is needed here"),
        ("price: btc.bid, confirm_within: 10ms", ONE, "bybit_linear", "E0203", "at least 200ms"),
        ("price: btc.bid, trigger: index", ONE, "bybit_linear", "E0203", "mark, last"),
        ("trigger: mark", ONE, "bybit_linear", "E0203", "belongs to a stop at the exchange"),
        ("price: btc.bid", TWO, "bybit_linear", "E0203", "a trade of one leg"),
        ("price: btc.bid", ONE, "binance_spot", "E0207", "is spot"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    stop: str, legs: str, type: str, code: str, says: str
) -> None:
    checked = load(text(stop, legs, type))
    assert code in {d.code for d in checked.findings if d.is_error}
    assert says in as_text(checked)
