"""Histograms are small and their percentiles close."""

from __future__ import annotations

import random

import pytest

from runner.app.latency import Histogram, StageClock


@pytest.mark.parametrize("scale", [10, 1_000, 1_000_000, 10**12])
def test_percentiles_are_within_three_per_cent(scale: int) -> None:
    rng = random.Random(1)
    values = sorted(int(rng.lognormvariate(0, 1) * scale) for _ in range(20_000))
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    for share in (0.5, 0.95, 0.99):
        exact = values[int(share * len(values))]
        assert abs(histogram.percentile(share) - exact) <= max(1, 0.035 * exact)
    assert histogram.n == len(values) and histogram.total == sum(values)
    assert len(histogram._counts) < 600


def test_small_values_are_exact_and_negative_ones_are_zero() -> None:
    histogram = Histogram()
    for value in (-5, 3, 3, 7):
        histogram.record(value)
    assert [histogram.percentile(p) for p in (0.01, 0.5, 1.0)] == [0, 3, 7]


def test_an_empty_histogram_says_zero() -> None:
    assert Histogram().percentile(0.99) == 0


def test_a_stage_that_is_none_is_refused() -> None:
    clock = StageClock()
    clock.record("sign", 5_000)
    assert list(clock.figures()) == ["sign"]
    assert clock.figures()["sign"]["n"] == 1
    assert abs(clock.figures()["sign"]["p99"] - 5.0) < 0.15
    with pytest.raises(KeyError):
        clock.record("sing", 1)
