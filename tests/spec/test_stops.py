"""`stop:` and `target:` of a trade: what reaches the plan, and what is refused with its place."""

from __future__ import annotations

import pytest

from runner.cli.plan_text import as_text as plan_text
from runner.lang.render import as_text
from runner.spec import load
from runner.spec.rule_plan import GuardKind

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
      {key}: {{{stop}}}
      close: {{worst: 50bps, then: market}}
risk:
  max_order: 450 USDT
  max_position: {{btc: 0.5 BTC, eth: 9 ETH}}
  max_daily_loss: 20 USDT
  max_orders: {{count: 6, per: 1m}}
"""
ONE = "{market: btc, side: buy}"
TWO = "{market: btc, side: buy, weight: 1}, {market: eth, side: sell, weight: 1}"


def text(stop: str, legs: str = ONE, type: str = "bybit_linear", key: str = "stop") -> str:
    return FILE.format(stop=stop, legs=legs, type=type, key=key)


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


def test_a_target_reaches_the_plan_beside_a_stop_or_alone() -> None:
    checked = load(text("price: btc.bid * 101%, trigger: last", key="target"))
    assert checked.plan is not None, as_text(checked)
    trade = checked.plan.rules["go"].trade
    assert trade is not None and trade.guard is None and trade.target is not None
    assert (trade.target.kind, trade.target.trigger) == (GuardKind.TARGET, "last")
    assert trade.guards == (trade.target,)
    words = " ".join(plan_text(checked.plan).split())
    assert "a target at the exchange at btc.bid * 101%, by the last price" in words
    both = text("price: btc.bid * 99%").replace("close:", "target: {price: eth.bid}\n      close:")
    (error,) = load(both).findings
    assert error.code == "E0316" and error.path == "rules.go.trade.target.price"


@pytest.mark.parametrize(
    ("target", "legs", "type", "code", "says"),
    [
        ("price: 1.2%", ONE, "bybit_linear", "E0316", "a price is needed here"),
        ("trigger: last", ONE, "bybit_linear", "E0203", "`target` lacks `price`"),
        ("price: btc.bid, loss: 5 USDT", ONE, "bybit_linear", "E0201", "loss"),
        ("price: btc.bid, trigger: index", ONE, "bybit_linear", "E0203", "mark, last"),
        (
            "price: btc.bid",
            TWO,
            "bybit_linear",
            "E0203",
            "a target price belongs to a trade of one",
        ),
        ("price: btc.bid", ONE, "binance_spot", "E0207", "no target rests there"),
    ],
)
def test_a_target_that_cannot_be_meant_is_refused(
    target: str, legs: str, type: str, code: str, says: str
) -> None:
    checked = load(text(target, legs, type, "target"))
    assert code in {d.code for d in checked.findings if d.is_error}, as_text(checked)
    assert says in as_text(checked)


def test_a_target_alone_leaves_a_losing_position_open_and_must_say_how_it_closes() -> None:
    checked = load(text("price: btc.bid * 101%", key="target"))
    assert [d.code for d in checked.findings] == ["W0407"]
    rests = ONE.replace("side: buy", "side: buy, order: {tif: gtc, price: btc.bid}")
    unsaid = text("price: btc.bid * 101%", rests, key="target").replace(
        "      close: {worst: 50bps, then: market}\n", ""
    )
    assert "E0411" in {d.code for d in load(unsaid).findings}


@pytest.mark.parametrize(
    ("side", "price", "pays"),
    [
        ("buy", "btc.ask * 101%", True),
        ("buy", "(1 + 10bps) * btc.book.mid", False),
        ("buy", "btc.ask * 99%", False),
        ("sell", "btc.bid * (1 - 12bps)", True),
        ("sell", "btc.bid * (1 - 10bps)", False),
        ("buy", "eth.book.mid / eth.book.mid * btc.ask", True),
    ],
)
def test_a_target_within_the_round_trip_is_told(side: str, price: str, pays: bool) -> None:
    checked = load(text(f"price: {price}", f"{{market: btc, side: {side}}}", key="target"))
    assert checked.plan is not None, as_text(checked)
    assert ("W0505" not in {d.code for d in checked.findings}) == pays, as_text(checked)
