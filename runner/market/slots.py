"""Rings of slots: the samples of a window, their sums, extremes and counts, O(1) an addition.

A slot holds the value at its end, NaN when it was missing. Sums are kept relative to a reference
value, so that a price of 60 000 that moves by 1 keeps its digits, and are recomputed every
`RECOMPUTE` additions, so that rounding does not pile up.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable
from math import nan

RECOMPUTE = 512
MISSING_SHARE = 0.1
"""a window is missing while more than this share of its slots is (language.md, section 3)"""


def _total(values: Iterable[float]) -> float:
    """Add up exactly; NaN where even that leaves the range of floats."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return nan


class Ring:
    """The last `size` samples; before `size` were added it is not full."""

    __slots__ = ("at", "known", "seen", "size", "values")

    def __init__(self, size: int) -> None:
        self.size = size
        self.values = array("d", [nan]) * size
        self.at = 0
        self.seen = 0
        self.known = 0
        """samples in the ring that are not missing"""

    def push(self, value: float) -> float:
        """Add a sample; return the one that leaves (NaN when there was none)."""
        at = self.at
        old = self.values[at]
        self.values[at] = value
        self.at = at + 1 if at + 1 < self.size else 0
        if self.seen < self.size:
            self.seen += 1
        if old == old:
            self.known -= 1
        if value == value:
            self.known += 1
        return old

    def ready(self) -> bool:
        """Whether the whole window has passed and at most 10 % of its slots are missing."""
        return self.seen == self.size and self.size - self.known <= self.size * MISSING_SHARE

    @property
    def oldest(self) -> float:
        """The sample that leaves next; NaN until the ring is full."""
        return self.values[self.at] if self.seen == self.size else nan

    def samples(self) -> list[float]:
        """Return the samples from old to new, missing ones as NaN."""
        if self.seen < self.size:
            return list(self.values[: self.seen])
        return list(self.values[self.at :]) + list(self.values[: self.at])


class Moments:
    """Mean and standard deviation (divides by n) of a ring."""

    __slots__ = ("additions", "reference", "ring", "squares", "sum")

    def __init__(self, size: int) -> None:
        self.ring = Ring(size)
        self.reference = nan
        self.sum = 0.0
        self.squares = 0.0
        self.additions = 0

    def push(self, value: float) -> None:
        """Add a sample, NaN when missing."""
        old = self.ring.push(value)
        if self.reference != self.reference:
            self.reference = value
        if value == value:
            d = value - self.reference
            self.sum += d
            self.squares += d * d
        if old == old:
            d = old - self.reference
            self.sum -= d
            self.squares -= d * d
        self.additions += 1
        if self.additions >= RECOMPUTE:
            self.recompute()

    def recompute(self) -> None:
        """Take a new reference and add up from the samples."""
        known = [v for v in self.ring.samples() if v == v]
        self.additions = 0
        self.reference = known[0] if known else nan
        self.sum = _total(v - self.reference for v in known)
        self.squares = _total((v - self.reference) * (v - self.reference) for v in known)

    def mean(self) -> float:
        """Return the mean of the known samples; NaN without any."""
        n = self.ring.known
        return self.reference + self.sum / n if n else nan

    def deviation(self) -> float:
        """Return the standard deviation of the known samples; NaN without any.

        What is left of a difference of equal sums is rounding, not a deviation: it counts as 0.
        """
        n = self.ring.known
        if not n:
            return nan
        mean = self.sum / n
        variance = self.squares / n - mean * mean
        if not variance < math.inf:
            return nan  # the squares of absurd values are beyond floats
        return math.sqrt(variance) if variance > 1e-14 * self.squares / n else 0.0


class Products:
    """Slope and correlation of two rings that know and miss together."""

    __slots__ = ("additions", "rx", "ry", "sx", "sxx", "sxy", "sy", "syy", "x", "y")

    def __init__(self, size: int) -> None:
        self.x = Ring(size)
        self.y = Ring(size)
        self.rx = self.ry = nan
        self.sx = self.sy = self.sxx = self.syy = self.sxy = 0.0
        self.additions = 0

    def push(self, x: float, y: float) -> None:
        """Add a pair; both are missing when one is."""
        if x != x or y != y:
            x = y = nan
        old_x, old_y = self.x.push(x), self.y.push(y)
        if self.rx != self.rx:
            self.rx, self.ry = x, y
        if x == x:
            self._add(x - self.rx, y - self.ry, 1.0)
        if old_x == old_x:
            self._add(old_x - self.rx, old_y - self.ry, -1.0)
        self.additions += 1
        if self.additions >= RECOMPUTE:
            self.recompute()

    def _add(self, dx: float, dy: float, sign: float) -> None:
        self.sx += sign * dx
        self.sy += sign * dy
        self.sxx += sign * dx * dx
        self.syy += sign * dy * dy
        self.sxy += sign * dx * dy

    def recompute(self) -> None:
        """Take new references and add up from the samples."""
        pairs = [(x, y) for x, y in self.pairs() if x == x]
        self.additions = 0
        self.rx, self.ry = pairs[0] if pairs else (nan, nan)
        ds = [(x - self.rx, y - self.ry) for x, y in pairs]
        self.sx = _total(dx for dx, _ in ds)
        self.sy = _total(dy for _, dy in ds)
        self.sxx = _total(dx * dx for dx, _ in ds)
        self.syy = _total(dy * dy for _, dy in ds)
        self.sxy = _total(dx * dy for dx, dy in ds)

    def pairs(self) -> Iterable[tuple[float, float]]:
        """Return the pairs from old to new."""
        return zip(self.x.samples(), self.y.samples(), strict=True)

    def _central(self) -> tuple[float, float, float]:
        """Return the variances of x and y and their covariance; rounding counts as 0."""
        n = self.x.known
        vx = self.sxx / n - self.sx / n * (self.sx / n)
        vy = self.syy / n - self.sy / n * (self.sy / n)
        cxy = self.sxy / n - self.sx / n * self.sy / n
        if vx <= 1e-14 * self.sxx / n:
            vx = 0.0
        if vy <= 1e-14 * self.syy / n:
            vy = 0.0
        return vx, vy, cxy

    def slope_of_y(self) -> float:
        """Return the slope of y on x; NaN when x did not move."""
        if not self.x.known:
            return nan
        vx, _, cxy = self._central()
        return cxy / vx if vx > 0.0 else nan

    def correlation(self) -> float:
        """Return the correlation, -1 to 1; NaN when one of both did not move."""
        if not self.x.known:
            return nan
        vx, vy, cxy = self._central()
        scale = math.sqrt(vx) * math.sqrt(vy)
        if not (0.0 < scale < math.inf and math.isfinite(cxy)):
            return nan
        return max(-1.0, min(1.0, cxy / scale))


class Extreme:
    """The least (or with `sign` -1 the greatest) of a ring, by a monotonic queue."""

    __slots__ = ("count", "queue", "ring", "sign")

    def __init__(self, size: int, sign: float) -> None:
        self.ring = Ring(size)
        self.sign = sign
        self.count = 0
        self.queue: deque[tuple[int, float]] = deque()
        """(number of the sample, value x sign), values rising"""

    def push(self, value: float) -> None:
        """Add a sample, NaN when missing."""
        self.ring.push(value)
        self.count += 1
        queue = self.queue
        if queue and queue[0][0] <= self.count - self.ring.size:
            queue.popleft()
        if value == value:
            signed = value * self.sign
            while queue and queue[-1][1] >= signed:
                queue.pop()
            queue.append((self.count, signed))

    def value(self) -> float:
        """Return the extreme of the known samples; NaN without any."""
        return self.queue[0][1] * self.sign if self.queue else nan
