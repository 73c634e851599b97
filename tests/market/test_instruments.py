"""Prices onto the grid: never worse than written, whichever way it is computed."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.base.units import plain
from runner.market.instruments import Fees, Instrument, Kind, Side


def listed(tick: str) -> Instrument:
    return Instrument(
        exchange_type="x", symbol="S", kind=Kind.PERPETUAL, base="B", quote="Q", tick=Decimal(tick),
        lot=Decimal(1), min_qty=Decimal(1), min_notional=Decimal(0), fees=Fees(0.0, 0.0),
    )  # fmt: skip


def exact(price: float, tick: Decimal, side: Side) -> int:
    """Return what the rule says, in decimals alone."""
    steps = Decimal(repr(price)) / tick
    nearest = steps.to_integral_value()
    if abs(steps - nearest) < Decimal("1e-6"):
        return int(nearest)
    return int(steps.to_integral_value(ROUND_FLOOR if side is Side.BUY else ROUND_CEILING))


@settings(deadline=None)
@given(
    st.sampled_from(("0.1", "0.01", "0.5", "0.00001", "0.0000001", "1", "25")),
    st.integers(0, 3_000_000_000),
    st.floats(-0.6, 0.6) | st.sampled_from((0.0, 9e-7, -9e-7, 1e-6, 1.1e-6, 1.9e-6, 5e-7, 0.5)),
    st.sampled_from(Side),
)
def test_a_price_rounds_as_decimals_would(tick: str, n: int, off: float, side: Side) -> None:
    price = (n + off) * float(tick)
    assert listed(tick).ticks_for(price, side) == exact(price, Decimal(tick), side)


@pytest.mark.parametrize(("side", "ticks"), [(Side.BUY, 3), (Side.SELL, 4)])
def test_a_price_between_two_ticks_is_never_worse_than_written(side: Side, ticks: int) -> None:
    assert listed("0.1").ticks_for(0.35, side) == ticks


def test_a_float_that_stands_for_a_tick_does_not_move_by_one() -> None:
    for side in Side:
        assert listed("0.1").ticks_for(0.1 + 0.2, side) == 3


@settings(deadline=None)
@given(
    st.sampled_from(("0.1", "0.01", "0.5", "0.00001", "0.0000001", "1", "25", "1E+2", "0.10")),
    st.integers(-1_000, 3_000_000_000),
)
def test_prices_and_quantities_are_written_as_their_decimals(step: str, n: int) -> None:
    wanted = plain(Decimal(step) * n)
    assert listed(step).price_text(n) == wanted
    assert replace(listed("1"), lot=Decimal(step)).qty_text(n) == wanted
