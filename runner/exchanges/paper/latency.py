"""How long orders, cancels and their answers travel on paper (R-42).

`entry` is the time from sending until the order meets a book, on the time axis of our own market
data: the way of the order plus the way of the data that shows us the book it met. `response` is
the way back of the answer. Every draw depends on the run's seed and on the order alone, so that
two runs of one seed agree, and a haircut can repeat a decision with the same luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from runner.base.clock import NS_PER_MS
from runner.base.rng import seeded
from runner.base.units import format_duration


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of delays: quantiles as (probability, ns), joined in log space.

    The first quantile must be of probability 0, the last of 1. A single one is a constant.
    """

    quantiles: tuple[tuple[float, int], ...]

    def __post_init__(self) -> None:
        points = self.quantiles
        if not points or any(ns < 0 for _, ns in points):
            raise ValueError("a latency needs quantiles of 0 ns or more")
        if len(points) == 1:
            return
        if points[0][0] != 0.0 or points[-1][0] != 1.0 or points[0][1] == 0:
            raise ValueError("quantiles go from probability 0 (above 0 ns) to probability 1")
        for (p, a), (q, b) in pairwise(points):
            if p >= q or a > b:
                raise ValueError("quantiles must rise")

    @classmethod
    def constant(cls, ns: int) -> Latency:
        """Return a latency that is always `ns`."""
        return cls(((1.0, ns),))

    @classmethod
    def of(cls, p50: int, p99: int) -> Latency:
        """Return a latency with this median and 99th percentile, in ns, and modest ends."""
        return cls(((0.0, max(1, p50 * 2 // 5)), (0.5, p50), (0.99, p99), (1.0, p99 * 3)))

    def at(self, u: float) -> int:
        """Return the delay in ns at probability `u` (0..1)."""
        points = self.quantiles
        if len(points) == 1:
            return points[0][1]
        for (p, a), (q, b) in pairwise(points):
            if u <= q:
                return round(a * math.exp(math.log(b / a) * (u - p) / (q - p)))
        return points[-1][1]

    def text(self) -> str:
        """Describe the distribution for the report."""
        if len(self.quantiles) == 1:
            return f"always {format_duration(self.quantiles[0][1])}"
        shown = (f"p{p * 100:g} {format_duration(ns)}" for p, ns in self.quantiles[1:-1])
        return ", ".join(shown) or "quantiles"


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """The delays of one exchange, times `factor` (the haircut of three uses it)."""

    entry: Latency
    response: Latency
    factor: int = 1

    def draw_entry(self, seed: str, key: Sequence[str | int]) -> int:
        """Draw the delay of an order or a cancel until it meets the book, in ns."""
        return self.factor * self.entry.at(seeded(seed, "entry", *key).random())

    def draw_response(self, seed: str, key: Sequence[str | int]) -> int:
        """Draw the delay of the answer, in ns."""
        return self.factor * self.response.at(seeded(seed, "response", *key).random())

    def slower(self, factor: int) -> LatencyModel:
        """Return the same model with all delays times `factor`."""
        return LatencyModel(self.entry, self.response, self.factor * factor)

    def text(self) -> str:
        """Describe the model for the report."""
        times = f", times {self.factor}" if self.factor != 1 else ""
        return f"entry {self.entry.text()}; response {self.response.text()}{times}"


REALISTIC = LatencyModel(
    entry=Latency.of(5 * NS_PER_MS, 30 * NS_PER_MS),
    response=Latency.of(5 * NS_PER_MS, 30 * NS_PER_MS),
)
"""The default: a server in the exchange's region, not beside it."""

INSTANT = LatencyModel(Latency.constant(0), Latency.constant(0))
"""No delay at all: for tests of everything else."""
