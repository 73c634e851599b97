"""Intervals: whatever two numbers come from them, the result is in the result's interval."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.lang.ranges import Interval, magnitude, point
from runner.lang.spans import span
from tests.lang.material import tree_of

WHOLE = st.integers(-20, 20)


@st.composite
def within(draw: st.DrawFn) -> tuple[Interval, float]:
    """An interval and a number in it."""
    value, low, high = sorted([draw(WHOLE), draw(WHOLE), draw(WHOLE)])[1], 0, 0
    low, high = value - draw(st.integers(0, 9)), value + draw(st.integers(0, 9))
    opens = (draw(st.booleans()) and low < value, draw(st.booleans()) and high > value)
    interval = Interval(low, high, *opens)
    return draw(st.sampled_from([interval, Interval(low, inf, opens[0])])), float(value)


def holds(interval: Interval, value: float) -> bool:
    slack = 1e-9 * max(1.0, abs(value))
    return not (interval & Interval(value - slack, value + slack)).empty


@given(a=within(), b=within())
def test_arithmetic_is_on_the_wide_side(
    a: tuple[Interval, float], b: tuple[Interval, float]
) -> None:
    (ai, x), (bi, y) = a, b
    assert holds(ai + bi, x + y) and holds(ai - bi, x - y) and holds(ai * bi, x * y)
    assert y == 0 or holds(ai / bi, x / y)
    assert holds(-ai, -x) and holds(magnitude(ai), abs(x))
    assert holds(ai | bi, x) and holds(ai | bi, y)
    assert (ai & bi).empty or (ai.contains(ai & bi) and bi.contains(ai & bi))


def test_open_ends_decide_at_the_edge() -> None:
    assert (Interval(-1, 1) & Interval(1, inf, low_open=True)).empty
    assert not (Interval(-1, 1) & Interval(1, inf)).empty
    assert point(3.0).point == 3.0 and Interval(0, 1).point is None


@pytest.mark.parametrize(
    ("source", "low", "high"),
    [
        ("bin.book.imbalance", -1, 1),
        ("bin.bid", 0, inf),
        ("gap(bin.bid, byb.ask)", -1, inf),
        ("abs(bin.book.imbalance) * 2 + 1", 1, 3),
        ("clamp(bin.book.imbalance, 0, params.enter)", 0, 1),
        ("params.enter - 0.2", 2.0, 2.0),
        ("corr(bin.mid, byb.mid, 1h) if true else 3", -1, 3),
        ("-bin.book.spread", -inf, 0),
        ("min(bin.book.imbalance, 0)", -1, 0),
    ],
)
def test_what_an_expression_can_be_at_all(source: str, low: float, high: float) -> None:
    found = span(tree_of(source), {"enter": point(2.2)})
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
