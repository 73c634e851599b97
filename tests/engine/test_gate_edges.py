"""The gate at its edges: the second exchange, prices that are missing, frozen, nothing known."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from math import nan
from typing import Any

import pytest

from runner.engine.accounts import CLOCK_MAX_AGE, NO_TIME
from runner.engine.checks_world import REDUCE_WITHOUT_DATA
from runner.engine.codes import Refusal, Why
from runner.engine.commands import Purpose
from runner.engine.events import Budget, Fill, Readiness
from runner.engine.gate import Proposal
from runner.engine.limits import Mode
from runner.engine.scenario import Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from tests.engine.stage import BIN, PAIR, R1, arb_plan, btc, rule, stage, usdt
from tests.engine.test_gate import MID, aged, held, intent, judge, loose, mode, ready

OTHER: dict[str, Any] = {
    "market": "byb", "exchange": "bybit", "side": Side.SELL, "ticks": 599_999, "lots": 8,
}  # fmt: skip
CLOSE: dict[str, Any] = {"purpose": Purpose.CLOSE, "mids": [MID], "worst": 0.002}


def exit_(s: Scenario, **changes: Any) -> Any:
    return intent(s, **({"side": Side.SELL, "ticks": 599_990} | changes))


@pytest.mark.parametrize("first", [True, False])
def test_the_clock_of_every_exchange_must_be_good(first: bool) -> None:
    s = stage(loose())
    bad = s.engine.desk.venues["binance" if first else "bybit"].clock
    bad.at = s.engine.desk.now - CLOCK_MAX_AGE - 1
    assert judge(s, intent(s), intent(s, **OTHER)) is Why.CLOCK_OLD


def test_frozen_nothing_passes_not_even_what_reduces() -> None:
    s = stage(loose())
    held(8)(s)
    assert judge(s, exit_(s), **CLOSE) is None
    mode(Mode.FROZEN)(s)
    for purpose in (Purpose.CLOSE, Purpose.REPAIR):
        assert judge(s, exit_(s), **(CLOSE | {"purpose": purpose})) is Why.FROZEN


def test_ready_without_a_whole_picture_of_the_account_takes_no_new_risk() -> None:
    s = stage(loose())
    s.engine.desk.venues["binance"].picture_at = NO_TIME
    assert judge(s) is Why.RECONCILING


def test_an_exchange_that_was_never_ready_takes_no_exit_either() -> None:
    s = stage(loose())
    held(8)(s)
    ready(Readiness.RECONCILING)(s)
    assert judge(s, exit_(s), **CLOSE) is None
    s.engine.desk.venues["binance"].was_ready = False
    assert judge(s, exit_(s), **CLOSE) is Why.RECONCILING


def test_a_budget_counts_no_longer_than_its_window() -> None:
    s = stage(loose())
    budgets = s.engine.desk.venues["binance"].budgets
    for resets, want in ((s.engine.desk.now + 1, Why.RATE_BUDGET), (s.engine.desk.now, None)):
        budgets["orders"] = Budget(
            exchange="binance", name="orders", used=100, limit=100, resets_at=resets
        )
        assert judge(s) is want


def test_skew_is_between_the_times_at_which_the_exchanges_made_the_books() -> None:
    s = stage(loose())
    byb, now = s.market.streams["byb.book"], s.engine.desk.now
    s.market.streams["bin.book"].t = now
    byb.t, byb.lag = now, 99 * MS
    assert judge(s) is None
    byb.lag = 101 * MS
    assert judge(s) is Why.SKEW, "both came just now, one was made long before"


def test_a_reduction_needs_a_price_of_the_last_minute() -> None:
    for age, want in ((REDUCE_WITHOUT_DATA, None), (REDUCE_WITHOUT_DATA + 1, Why.STALE)):
        s = stage(loose())
        held(8)(s)
        aged("bin.book", age)(s)
        assert judge(s, exit_(s), **CLOSE) is want


@pytest.mark.parametrize(
    ("side", "own", "ticks", "meets"),
    [
        (Side.SELL, 600_001, 600_001, True),
        (Side.SELL, 600_001, 600_002, False),
        (Side.BUY, 600_001, 600_001, True),
        (Side.BUY, 600_001, 600_000, False),
    ],
)
def test_an_own_order_is_met_at_its_very_price(
    side: Side, own: int, ticks: int, meets: bool
) -> None:
    s = stage(loose())
    s.engine.desk.orders.add(intent(s, side=side.opposite, ticks=own))
    assert judge(s, intent(s, side=side, ticks=ticks)) is (Why.SELF_CROSS if meets else None)


def test_the_walk_of_a_price_is_seen_over_ten_seconds() -> None:
    s = stage(loose(price_collar=0.01))
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(20 * SECOND)
    for n in range(1, 5):  # 0.36 % every 2.5 s: 1.4 % in ten seconds, 0.7 % in five
        s.quote("bin", 60_000.0 + 215 * n, 60_000.1 + 215 * n)
        s.run(2500 * MS)
    s.run(1 * MS)
    ticks = 600_001 + 2150 * 4
    assert judge(s, intent(s, ticks=ticks)) is Why.PRICE_WALK
    s.run(10 * SECOND)
    assert judge(s, intent(s, ticks=ticks)) is None


@pytest.mark.parametrize(
    ("risk", "why"),
    [
        ({"max_position": {"bin": usdt(10**6), "byb": usdt(10**6)}}, Why.MAX_POSITION),
        ({"max_exposure": {"all": usdt(10**6)}}, Why.MAX_EXPOSURE),
        ({"max_order": usdt(10**6)}, Why.MAX_ORDER),
    ],
)
def test_what_cannot_be_valued_is_over_every_limit(risk: dict[str, Any], why: Why) -> None:
    s = stage(loose(**risk))
    gate = s.engine.desk.gate
    gate.checks = [c for c in gate.checks if c.__name__ == why.value]
    assert len(gate.checks) == 1
    s.engine.desk.markets["bin"].use(replace(BIN, price_hint=Decimal(0)))
    book = s.market.streams["bin.book"]
    book.last_bid = book.last_ask = book.bid = book.ask = nan
    order = intent(s)
    proposal = Proposal(s.engine.desk.plan.rules[R1], Purpose.ENTRY, [order], [nan], [8])
    verdict = gate.judge(proposal)
    assert isinstance(verdict, Refusal) and verdict.code is why


def test_what_other_rules_have_working_counts_at_its_worst_for_the_net_position() -> None:
    plan = arb_plan(
        rule(R1, PAIR), rule("lone", (Side.BUY,)),
        max_net_position={"BTC": Decimal("0.01")}, max_order=usdt(10**6),
        max_position={"bin": btc(9), "byb": btc(9)},
    )  # fmt: skip
    for lots, want in ((2, None), (3, Why.MAX_NET_POSITION)):
        s = stage(plan)
        s.engine.desk.orders.add(intent(s, rule="lone", lots=lots, ticks=600_000))
        assert judge(s, intent(s, lots=8)) is want, "0.008 beside what rests"


def test_two_orders_of_one_pass_on_one_market_count_together() -> None:
    s = stage(loose(max_position={"bin": btc("0.02"), "byb": btc(9)}))
    two = (intent(s, lots=11), intent(s, lots=10, ticks=600_000))
    assert judge(s, *two) is Why.MAX_POSITION
    assert judge(s, two[0], intent(s, lots=9, ticks=600_000)) is None


def test_an_exit_spends_no_margin() -> None:
    s = stage(loose())
    held(8)(s)
    before = s.engine.desk.venues["binance"].available("USDT")
    order = intent(s, side=Side.SELL, ticks=599_990, reduce_only=True, purpose=Purpose.CLOSE)
    s.engine.desk.orders.add(order)
    s.push(Fill(cid=order.cid, trade_id="1", lots=8, price=60_000.0))
    s.run(1)
    assert s.engine.desk.venues["binance"].available("USDT") == before
    entry = intent(s, lots=4)
    s.engine.desk.orders.add(entry)
    s.push(Fill(cid=entry.cid, trade_id="2", lots=4, price=60_000.0))
    s.run(1)
    taken = 4 * 0.001 * 60_000 * (1 / 2 + 0.0005)
    left = s.engine.desk.venues["binance"].available("USDT")
    assert before is not None and left == pytest.approx(before - taken)
