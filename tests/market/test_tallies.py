"""Median, count and RSI against a plain recomputation, and over a restart."""

from __future__ import annotations

import json
import math
import statistics
from itertools import pairwise
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.market.tallies import CountWindow, MedianWindow, RsiWindow

SECOND = 1_000_000_000
SAMPLES = st.lists(st.one_of(st.just(nan), st.floats(59_990, 60_010)), min_size=1, max_size=60)


@settings(max_examples=60)
@given(values=SAMPLES, bars=st.integers(1, 12))
def test_the_median_equals_a_recomputation(values: list[float], bars: int) -> None:
    window = MedianWindow("", 0, bars)
    for value in values:
        window.push(value)
    last = [v for v in values[-bars:] if v == v]
    if len(values) >= bars and bars - len(last) <= 0.1 * bars:
        assert window.value == pytest.approx(statistics.median(last), rel=1e-15)
    else:
        assert math.isnan(window.value)


def rsi(values: list[float], n: int) -> float:
    """Wilder's definition, from the first value on."""
    changes = [b - a for a, b in pairwise(values)]
    gain = sum(max(c, 0.0) for c in changes[:n]) / n
    loss = sum(max(-c, 0.0) for c in changes[:n]) / n
    for change in changes[n:]:
        gain = (gain * (n - 1) + max(change, 0.0)) / n
        loss = (loss * (n - 1) + max(-change, 0.0)) / n
    return 100.0 - 100.0 / (1.0 + gain / loss)


def test_the_index_is_wilders() -> None:
    values = [100.0 + 3 * math.sin(i) + 0.1 * i for i in range(60)]
    window = RsiWindow("", 0, 14)
    for i, value in enumerate(values):
        window.push(value)
        assert window.full == (i >= 14)
        if i >= 14:
            assert window.value == pytest.approx(rsi(values[: i + 1], 14), rel=1e-12)
        else:
            assert math.isnan(window.value)


def test_the_index_of_what_does_not_move_is_missing_and_a_missing_bar_is_left_out() -> None:
    flat, falling = RsiWindow("", 0, 2), RsiWindow("", 0, 2)
    for price in (5.0, 5.0, 5.0):
        flat.push(price)
    assert flat.full and math.isnan(flat.value)
    for price in (5.0, 4.0, nan, 3.0):
        falling.push(price)
    assert falling.value == 0.0
    falling.push(nan)
    assert math.isnan(falling.value)


def test_a_count_is_that_of_the_window_and_misses_what_it_did_not_see() -> None:
    window, counter = CountWindow("", SECOND), 7.0
    window.close(0, counter)
    for slot in range(1, 101):
        counter += 2
        window.close(slot * 10_000_000, counter)
        assert window.full == (slot == 100)
    assert window.value == 200
    for slot in range(101, 107):
        window.close(slot * 10_000_000, nan)  # the stream is down for 60 ms
    assert window.value == 200 - 12
    window.close(1_070_000_000, counter + 50)
    assert window.value == 200 - 14, "what came while nobody looked is not counted"


def test_a_count_survives_a_restart_though_the_counter_begins_again() -> None:
    window, again = CountWindow("", SECOND), CountWindow("", SECOND)
    for slot in range(110):
        window.close(slot * 10_000_000, 3.0 * slot)
    assert window.value == 300
    saved = json.loads(json.dumps(window.state(1_090_000_000)))
    assert again.restore(saved, 5 * SECOND, 50_000_000)
    again.close(5 * SECOND + 10_000_000, 1.0)
    assert again.value == pytest.approx(300 - 3 * 6)
    assert not CountWindow("", SECOND).restore(saved, 0, SECOND)
    assert not CountWindow("", SECOND).restore({**saved, "samples": ["x"]}, 0, 0)
