"""Sizes and prices: equal to the last digit without weights, no gap from rounding with them."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.base.ids import client_id
from runner.engine.codes import Refusal, Why
from runner.engine.desk import Listed
from runner.engine.scenario import Scenario
from runner.engine.sizing import Draft, common_lot, entry_drafts, limit_price
from runner.market.instruments import Instrument, Side
from runner.spec.rule_plan import OrderPlan
from tests.engine.stage import BIN, BYB, PAIR, R1, Knobs, arb_plan, market, rule, stage


def sized(
    knobs: Knobs, left: Instrument = BIN, right: Instrument = BYB
) -> tuple[list[Draft] | Refusal, Scenario]:
    plan = arb_plan(rule(R1, PAIR))
    markets = {"bin": market("bin", "binance", left), "byb": market("byb", "bybit", right)}
    s = stage(replace(plan, markets=markets), knobs)
    run = s.engine.desk.rules.runs[R1]
    return entry_drafts(run.plan.legs, run.program, s.engine.desk.markets, s.t), s


def test_without_weights_both_legs_are_the_least_rounded_to_the_common_lot() -> None:
    coarse = replace(BYB, lot=Decimal("0.003"), min_qty=Decimal("0.003"))
    drafts, _ = sized(Knobs(size=600.0), right=coarse)
    assert not isinstance(drafts, Refusal)
    assert [d.lots for d in drafts] == [9, 3], "0.009 BTC on both sides"


def test_contracts_are_counted_in_base() -> None:
    contracts = replace(BYB, lot=Decimal(1), min_qty=Decimal(1), contract_size=Decimal("0.002"))
    drafts, _ = sized(Knobs(size=500.0), right=contracts)
    assert not isinstance(drafts, Refusal)
    assert [d.lots for d in drafts] == [8, 4]


def test_with_weights_the_second_leg_is_sized_from_what_is_left_of_the_first() -> None:
    coarse, fine = replace(BIN, lot=Decimal("0.01")), replace(BYB, lot=Decimal("0.0001"))
    drafts, _ = sized(Knobs(size=1000.0, weights=(1.0, 0.5)), left=coarse, right=fine)
    assert not isinstance(drafts, Refusal)
    first, second = (d.lots for d in drafts)
    assert first == 1, "1000 USDT is 0.0166 BTC: one lot of 0.01"
    assert second == 49 or second == 50
    assert abs(second * 0.0001 - 0.5 * 0.01) <= 0.0001 + 1e-9


@pytest.mark.parametrize(
    ("knobs", "code"),
    [
        (Knobs(size=math.nan), Why.MISSING_SIZE),
        (Knobs(size=500.0, max=math.nan), Why.MISSING_SIZE),
        (Knobs(size=500.0, weights=(1.0, math.nan)), Why.MISSING_WEIGHT),
        (Knobs(size=500.0, prices=(math.nan, None)), Why.MISSING_PRICE),
        (Knobs(size=500.0, min=600.0), Why.SIZE_MIN),
        (Knobs(size=90.0), Why.MIN_NOTIONAL),
        (Knobs(size=30.0), Why.SIZE_ZERO),
        (Knobs(size=0.0), Why.SIZE_ZERO),
    ],
)
def test_what_cannot_be_sized_is_refused_with_the_reason(knobs: Knobs, code: Why) -> None:
    drafts, _ = sized(knobs)
    assert isinstance(drafts, Refusal)
    assert drafts.code is code


def test_one_leg_below_its_minimum_is_no_group_and_the_text_has_the_figures() -> None:
    drafts, _ = sized(Knobs(size=90.0))
    assert isinstance(drafts, Refusal)
    assert drafts.text == "size 59.994 USDT < 100 USDT (bin)"


def test_a_size_over_max_is_cut() -> None:
    drafts, _ = sized(Knobs(size=5000.0, max=500.0))
    assert not isinstance(drafts, Refusal)
    assert [d.lots for d in drafts] == [8, 8]


def test_an_amount_of_base_is_a_size_too() -> None:
    drafts, _ = sized(Knobs(size=0.0079, unit="BTC"))
    assert not isinstance(drafts, Refusal)
    assert [d.lots for d in drafts] == [7, 7]


@given(st.floats(100, 100_000), st.floats(0, 0.01), st.sampled_from(list(Side)))
def test_a_limit_never_rounds_to_worse_than_the_collar(touch: float, by: float, side: Side) -> None:
    written = limit_price(OrderPlan(collar=by), touch, side)
    ticks = BIN.ticks_for(written, side)
    price = float(BIN.price(ticks))
    assert (price - written) * side.sign <= 1e-6


@given(st.lists(st.sampled_from(["0.001", "0.003", "0.01", "1", "0.00001", "0.25"]), min_size=1))
def test_the_common_lot_is_a_multiple_of_each_lot(lots: list[str]) -> None:
    exact = tuple(Decimal(x) for x in lots)
    step, each = common_lot(exact)
    for lot, count in zip(exact, each, strict=True):
        assert float(lot * count) == pytest.approx(step, rel=1e-12)


def test_client_ids_have_the_form_of_the_base_floor() -> None:
    s = stage()
    desk = s.engine.desk
    expected = client_id(desk.prefixes["bybit"], desk.run_id, desk.ordinal + 1, 1, 3)
    assert desk.cid("bybit", 1, 3) == expected


def test_an_instruments_limits_are_ready_as_lots() -> None:
    listed = Listed(market("bin", "binance", BIN), BIN, None, None)
    assert (listed.min_lots, listed.max_lots, listed.min_notional) == (1, 1_000_000, 100.0)
    listed.use(replace(BIN, min_qty=Decimal("0.0015")))
    assert listed.min_lots == 2
