"""Windows against a plain recomputation over all samples, and their rules of being missing."""

from __future__ import annotations

import math
import statistics
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.market.slots import Extreme, Moments, Products, Ring
from runner.market.windows import (
    Ema,
    ExtremeWindow,
    MomentWindow,
    PairWindow,
    PastWindow,
    ReturnWindow,
)

SECOND = 1_000_000_000
SAMPLES = st.lists(st.one_of(st.just(nan), st.floats(59_990, 60_010)), min_size=1, max_size=60)
BIG = 1_300
"""additions that pass two recomputations"""


def known(values: list[float]) -> list[float]:
    return [v for v in values if v == v]


@given(values=SAMPLES, size=st.integers(1, 12))
def test_a_ring_knows_its_last_samples(values: list[float], size: int) -> None:
    ring = Ring(size)
    for value in values:
        ring.push(value)
    last = values[-size:]
    assert known(ring.samples()) == known(last) and ring.known == len(known(last))
    missing = size - len(known(last))
    assert ring.ready() == (len(values) >= size and missing <= 0.1 * size)


@given(values=SAMPLES, size=st.integers(1, 12))
def test_mean_and_deviation_equal_a_recomputation(values: list[float], size: int) -> None:
    moments = Moments(size)
    for value in values:
        moments.push(value)
    last = known(values[-size:])
    if last:
        assert moments.mean() == pytest.approx(statistics.fmean(last), rel=1e-12)
        assert moments.deviation() == pytest.approx(statistics.pstdev(last), abs=1e-6)
    else:
        assert math.isnan(moments.mean()) and math.isnan(moments.deviation())


@given(values=SAMPLES, size=st.integers(1, 12), sign=st.sampled_from([1.0, -1.0]))
def test_extremes_equal_a_recomputation(values: list[float], size: int, sign: float) -> None:
    extreme = Extreme(size, sign)
    for index, value in enumerate(values):
        extreme.push(value)
        last = known(values[max(0, index + 1 - size) : index + 1])
        pick = min if sign > 0 else max
        assert extreme.value() == pick(last) if last else math.isnan(extreme.value())


@settings(max_examples=60)
@given(
    pairs=st.lists(st.tuples(st.floats(59_000, 61_000), st.floats(1_900, 2_100)), min_size=3,
                   max_size=40),
    size=st.integers(3, 12),
)  # fmt: skip
def test_slope_and_correlation_equal_a_recomputation(
    pairs: list[tuple[float, float]], size: int
) -> None:
    products = Products(size)
    for x, y in pairs:
        products.push(x, y)
    xs, ys = zip(*pairs[-size:], strict=True)
    if statistics.pstdev(xs) > 1e-3 and statistics.pstdev(ys) > 1e-3:
        slope = statistics.linear_regression(xs, ys).slope
        assert products.slope_of_y() == pytest.approx(slope, rel=1e-6, abs=1e-9)
        assert products.correlation() == pytest.approx(
            statistics.correlation(xs, ys), rel=1e-6, abs=1e-6
        )


def test_sums_keep_their_digits_over_thousands_of_additions() -> None:
    """A price of 60 000 that moves by hundredths, over several recomputations."""
    moments, values = Moments(512), []
    for i in range(5 * BIG):
        values.append(60_000 + i * 0.5 + math.sin(i) * 0.01)
        moments.push(values[-1])
    last = values[-512:]
    assert moments.mean() == pytest.approx(statistics.fmean(last), rel=1e-14)
    assert moments.deviation() == pytest.approx(statistics.pstdev(last), rel=1e-9)


def test_a_constant_has_no_deviation_and_no_correlation() -> None:
    """What is left of equal sums is rounding: dividing by it would make a z-score of noise."""
    moments, products = Moments(8), Products(8)
    for _ in range(20):
        moments.push(60_123.45)
        products.push(60_123.45, 1.0)
    assert moments.deviation() == 0.0
    assert math.isnan(products.correlation()) and math.isnan(products.slope_of_y())


def test_a_duration_window_has_512_slots_of_at_least_10_ms() -> None:
    assert (MomentWindow("", 512 * SECOND).size, MomentWindow("", 512 * SECOND).slot_ns) == (
        512,
        SECOND,
    )
    assert (MomentWindow("", SECOND).size, MomentWindow("", SECOND).slot_ns) == (100, 10_000_000)
    assert ReturnWindow("", 512 * SECOND).size == PairWindow("", 512 * SECOND).size == 256


def close_all(window: MomentWindow, values: list[float], start: int = 0) -> int:
    window.close(start, nan)
    for value in values:
        window.close(window.due, value)
    return window.due - window.slot_ns


def test_missing_until_the_window_has_passed() -> None:
    window = MomentWindow("", SECOND)
    close_all(window, [5.0] * 99)
    assert math.isnan(window.mean) and not window.full and window.progress == 0.99
    window.close(window.due, 5.0)
    assert window.mean == 5.0 and window.full


def test_missing_while_more_than_a_tenth_of_the_slots_is() -> None:
    window = MomentWindow("", SECOND)
    close_all(window, [nan] * 10 + [5.0] * 90)
    assert window.mean == 5.0
    window = MomentWindow("", SECOND)
    close_all(window, [nan] * 11 + [5.0] * 89)
    assert math.isnan(window.mean)
    window.close(window.due, 5.0)  # the first missing slot leaves
    assert window.mean == 5.0


def test_a_late_timer_closes_all_slots_that_have_passed() -> None:
    window = MomentWindow("", SECOND)
    window.close(0, 1.0)
    window.close(window.due + 30 * window.slot_ns, 2.0)
    assert window.ring.seen == 31 and window.due == 32 * window.slot_ns


def test_an_endless_pause_costs_no_more_than_the_window() -> None:
    window = MomentWindow("", SECOND)
    window.close(0, 1.0)
    window.close(10**15, nan)
    assert window.ring.seen == 100 and window.due > 10**15


def test_ema_weighs_by_the_time_between_updates() -> None:
    ema = Ema("", 10 * SECOND)
    mean, last = 100.0, 0
    ema.feed(0, mean)
    for at, x in ((SECOND, 110.0), (4 * SECOND, 90.0), (4 * SECOND, 95.0), (12 * SECOND, 105.0)):
        weight = math.exp(-(at - last) / (10 * SECOND))
        mean, last = mean * weight + x * (1 - weight), at
        ema.feed(at, x)
        assert math.isnan(ema.value) or at >= 10 * SECOND
    assert ema.value == pytest.approx(mean)


def test_ema_skips_what_is_missing_and_is_missing_meanwhile() -> None:
    ema = Ema("", SECOND)
    ema.feed(0, 5.0)
    ema.feed(2 * SECOND, 5.0)
    assert ema.value == 5.0
    ema.feed(3 * SECOND, nan)
    assert math.isnan(ema.value)
    ema.feed(4 * SECOND, 5.0)
    assert ema.value == 5.0


def test_ret_looks_one_window_back() -> None:
    window = PastWindow("", SECOND)
    window.close(0, nan)
    for i in range(101):
        window.close(window.due, 100.0 + i)
    assert window.past == 100.0
    window.close(window.due, 999.0)
    assert window.past == 101.0


def test_vol_is_the_deviation_of_log_returns_for_the_whole_window() -> None:
    window = ReturnWindow("", SECOND)
    values = [100.0 * math.exp(0.001 * math.sin(i)) for i in range(140)]
    window.close(0, nan)
    for value in values:
        window.close(window.due, value)
    returns = [math.log(b / a) for a, b in zip(values[-101:-1], values[-100:], strict=True)]
    assert window.vol == pytest.approx(statistics.pstdev(returns) * 10.0)


def test_windows_of_bars_count_what_is_pushed() -> None:
    window, ema = MomentWindow("", 0, bars=3), Ema("", 0, bars=3)
    for value in (1.0, 2.0):
        window.push(value)
        ema.push(value)
    assert math.isnan(window.mean) and math.isnan(ema.value)
    window.push(6.0)
    ema.push(6.0)
    keep = math.exp(-1 / 3)
    mean = 1.0 * keep + 2.0 * (1 - keep)
    assert window.mean == 3.0 and ema.value == pytest.approx(mean * keep + 6.0 * (1 - keep))


MAKERS = [
    lambda: MomentWindow("", SECOND),
    lambda: ExtremeWindow("", SECOND, highest=True),
    lambda: PastWindow("", SECOND),
    lambda: ReturnWindow("", SECOND),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("gap_slots", [0, 3])
def test_a_window_continues_from_its_state(make, gap_slots: int) -> None:  # type: ignore[no-untyped-def]
    """Under another clock, the slots of the gap count as missing."""
    values = [100.0 + math.sin(i) for i in range(150)]
    whole, saved = make(), make()
    whole.close(0, nan)
    saved.close(0, nan)
    for value in values:
        whole.close(whole.due, value)
        saved.close(saved.due, value)
    now = saved.due - saved.slot_ns + 3
    state = saved.state(now)
    gap = gap_slots * saved.slot_ns
    back, other_clock = make(), 10**15
    assert back.restore(state, other_clock + gap, gap)
    for _ in range(gap_slots):
        whole.close(whole.due, nan)
    for value in (101.0, 99.0):
        whole.close(whole.due, value)
        back.close(back.due, value)
    for name in ("mean", "deviation", "value", "past", "vol"):
        if hasattr(whole, name):
            wanted = getattr(whole, name)
            assert getattr(back, name) == pytest.approx(wanted, nan_ok=True), name
    assert back.ring.known == whole.ring.known


def test_a_state_too_old_or_damaged_is_not_taken() -> None:
    window = MomentWindow("", SECOND)
    now = close_all(window, [1.0] * 100)
    state = window.state(now)
    assert state is not None
    assert not MomentWindow("", SECOND).restore(state, now, SECOND // 5)
    for damage in ({"samples": "x"}, {"samples": [1, "2"]}, {"since": -1}, {"since": None}):
        assert not MomentWindow("", SECOND).restore({**state, **damage}, now, 0)
    ema = Ema("", SECOND)
    ema.feed(0, 1.0)
    kept = ema.state(SECOND)
    assert kept is not None and Ema("", SECOND).restore(kept, 5, SECOND // 20)
    assert not Ema("", SECOND).restore(kept, 5, SECOND // 5)
    assert not Ema("", SECOND).restore({**kept, "mean": nan}, 5, 0)
    pair = PairWindow("", SECOND)
    pair.close(0, nan, nan)
    for i in range(120):
        pair.close(pair.due, float(i), 2.0 * i)
    both = pair.state(pair.due)
    assert both is not None
    again = PairWindow("", SECOND)
    assert again.restore(both, 10**12, 0) and again.beta == pytest.approx(0.5)
    assert not PairWindow("", SECOND).restore({**both, "pairs": [[1]]}, 10**12, 0)
