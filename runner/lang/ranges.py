"""Intervals of real numbers and the arithmetic on them, always on the wide side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers between `low` and `high`; an open end is not itself in."""

    low: float = -inf
    high: float = inf
    low_open: bool = False
    high_open: bool = False

    @property
    def empty(self) -> bool:
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    @property
    def point(self) -> float | None:
        """The only number in it, if there is just one."""
        return self.low if self.low == self.high and not self.empty else None

    @property
    def bounded(self) -> bool:
        """Whether it says anything."""
        return self.low > -inf or self.high < inf

    def __and__(self, other: Interval) -> Interval:
        low, low_open = max((self.low, self.low_open), (other.low, other.low_open))
        high, high_closed = min((self.high, not self.high_open), (other.high, not other.high_open))
        return Interval(low, high, low_open, not high_closed)

    def __or__(self, other: Interval) -> Interval:
        low, low_open = min((self.low, self.low_open), (other.low, other.low_open))
        high, high_closed = max((self.high, not self.high_open), (other.high, not other.high_open))
        return Interval(low, high, low_open, not high_closed)

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low, self.high_open, self.low_open)

    def __add__(self, other: Interval) -> Interval:
        return Interval(
            self.low + other.low,
            self.high + other.high,
            self.low_open or other.low_open,
            self.high_open or other.high_open,
        )

    def __sub__(self, other: Interval) -> Interval:
        return self + -other

    def __mul__(self, other: Interval) -> Interval:
        ends = [_times(a, b) for a in (self.low, self.high) for b in (other.low, other.high)]
        factor = other.point if other.point is not None else self.point
        if factor:
            wide = self if other.point is not None else other
            flags = (wide.low_open, wide.high_open)
            return Interval(min(ends), max(ends), *(flags if factor > 0 else flags[::-1]))
        return Interval(min(ends), max(ends))

    def __truediv__(self, other: Interval) -> Interval:
        if other.low < 0 < other.high or other.point == 0:
            return Interval()
        low = -inf if other.high == 0 else 1 / other.high
        high = inf if other.low == 0 else 1 / other.low
        return self * Interval(low, high, other.high_open, other.low_open)

    def contains(self, other: Interval) -> bool:
        """Whether every number of `other` is in it."""
        return (self & other) == other

    def map(self, function: Callable[[float], float]) -> Interval:
        """Apply a rising function to both ends; where it is not defined the end is unknown."""
        return Interval(
            _safe(function, self.low, -inf),
            _safe(function, self.high, inf),
            self.low_open,
            self.high_open,
        )


ALL = Interval()
POSITIVE = Interval(0.0, inf, low_open=True)
NOT_NEGATIVE = Interval(0.0, inf)
UNIT = Interval(-1.0, 1.0)


def point(value: float) -> Interval:
    """Return the interval of one number."""
    return Interval(value, value)


def magnitude(interval: Interval) -> Interval:
    """Return the range of |x|."""
    if interval.low >= 0:
        return interval
    if interval.high <= 0:
        return -interval
    return Interval(0.0, max(-interval.low, interval.high))


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _safe(function: Callable[[float], float], at: float, otherwise: float) -> float:
    if math.isinf(at):
        return otherwise if (at < 0) == (otherwise < 0) else at
    try:
        return function(at)
    except (ValueError, OverflowError):
        return otherwise
