"""Spot: a position is our own fills less what the exchange kept of them, never the balance."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine.commands import Notify, Purpose
from runner.engine.events import Fill, Operator
from runner.engine.ledger import Ledgers
from runner.engine.scenario import Scenario
from runner.engine.timers import SECOND
from runner.market.instruments import Side
from runner.spec.market_plan import ExchangePlan, Network
from runner.spec.plan import Plan
from tests.engine.stage import SPOT, Knobs, arb_plan, market, rule, stage, usdt
from tests.engine.test_restart import reborn

R = "hold"
LOT = 0.00001


def spot_plan() -> Plan:
    """One leg, bought on spot; the fee is 0.1 % of the base."""
    plan = arb_plan(rule(R, (Side.BUY,), cooldown_ns=10**15), max_net_position={},
                    max_order=usdt(1300))  # fmt: skip
    exchange = ExchangePlan("binance", "binance_spot", Network.SIM, {})
    return replace(
        plan,
        exchanges={**plan.exchanges, "binance": exchange},
        markets={**plan.markets, "bin": market("bin", "binance", SPOT)},
    )


def holding(fee_in_base: bool = True) -> Scenario:
    s = stage(spot_plan(), Knobs(size=1000.0, enter_at=-1.0, exit_at=-1.0), warm=False)
    exchange = s.exchanges["binance"]
    execute = exchange.execute

    def with_fee(intent, share=1.0):  # type: ignore[no-untyped-def]
        truth = execute(intent, share)
        if fee_in_base and intent.side is Side.BUY:
            for fill in truth.fills:
                fill.fee, fill.fee_asset = fill.lots * LOT * 0.001, "BTC"
                exchange.free_base["BTC"] = exchange.free_base.get("BTC", 0.0) - fill.fee
        return truth

    exchange.execute = with_fee  # type: ignore[method-assign]
    return s.run(3 * SECOND)


def test_what_was_kept_as_a_fee_is_not_held() -> None:
    s = holding()
    assert s.state(R) == "active"
    (bought,) = s.sent
    assert bought.lots == 1666
    assert s.lots("bin") == 1664  # 1.666 lots were kept
    ledger = s.engine.desk.ledgers.of(R, "bin")
    assert ledger.fee_lots == 2 and ledger.fees == pytest.approx(1666 * LOT * 0.001 * 60_000.1)


def test_an_exit_sells_what_is_there_and_the_trade_is_over() -> None:
    s = holding()
    s.push(Operator(command="flatten", rule=R, who="test"))
    s.run(15 * SECOND)  # until the exchange has told the new balance
    sold = [i for i in s.sent if i.side is Side.SELL]
    assert [i.lots for i in sold] == [1664]
    assert s.lots("bin") == 0 and s.engine.flat
    assert s.engine.desk.limits.mode == "active"


def test_a_balance_below_the_position_is_a_difference_a_greater_one_is_anybodys() -> None:
    s = holding()
    s.exchanges["binance"].free_base["BTC"] += 5.0  # somebody else's
    new = reborn(s)
    new.exchanges["binance"].free_base = dict(s.exchanges["binance"].free_base)
    new.run(15 * SECOND)
    assert new.engine.world.differences == {} and new.lots("bin") == 1664

    new = reborn(s)
    new.exchanges["binance"].free_base["BTC"] = -1000 * LOT
    new.run(15 * SECOND)
    assert "bin" in new.engine.world.differences
    assert new.engine.desk.limits.mode == "reducing"
    assert any("the exchange holds 666 lots" in n.text for n in new.commands(Notify))


def test_an_exit_never_asks_for_more_than_the_balance() -> None:
    s = holding()
    s.exchanges["binance"].free_base["BTC"] -= 200 * LOT
    s.run(30 * SECOND)
    s.push(Operator(command="flatten", rule=R, who="test"))
    s.run(5 * SECOND)
    sold = [i for i in s.sent if i.purpose is Purpose.CLOSE]
    assert sold and sold[0].lots <= 1464


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.integers(0, 30))
def test_no_series_of_fills_holds_more_than_is_there(buys: list[int], bps: int) -> None:
    """The ledger is the true holding rounded down, by less than a lot."""
    ledgers = Ledgers({"bin": SPOT})
    true = 0.0
    for n, lots in enumerate(buys):
        fee = lots * LOT * bps / 1e4
        true += lots - fee / LOT
        fill = Fill(cid="c", trade_id=str(n), lots=lots, price=60_000.0, fee=fee, fee_asset="BTC")
        ledgers.book("r", "bin", Side.BUY, fill, lambda _a, _q: 1.0)
    held = ledgers.of("r", "bin").lots
    assert held <= true + 1e-3
    assert true - held < 1 + 1e-3
    assert held + ledgers.of("r", "bin").fee_lots == sum(buys)
