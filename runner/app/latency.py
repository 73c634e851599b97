"""Stage latencies of a run, kept as small histograms.

Buckets are logarithmic: 16 to each power of two, so that a percentile is within 3 % of the true
one, at any size, in constant memory. Recording costs a bit length, a shift and an addition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STAGES: Final = ("decode", "state", "rule", "gate", "journal", "sign", "send", "ack")
_FINE: Final = 4  # bits of a bucket inside a power of two
_LINEAR: Final = 1 << (_FINE + 1)


class Histogram:
    """Counts of non-negative integers, mostly nanoseconds."""

    __slots__ = ("_counts", "most", "n", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.n = 0
        self.total = 0
        self.most = 0

    def record(self, value: int, times: int = 1) -> None:
        """Count a value; a negative one (clocks apart) counts as 0."""
        value = max(0, value)
        bucket = value
        if value >= _LINEAR:
            shift = value.bit_length() - _FINE - 1
            bucket = (shift << (_FINE + 1)) + (value >> shift)
        self._counts[bucket] = self._counts.get(bucket, 0) + times
        self.n += times
        self.total += value * times
        self.most = max(self.most, value)

    def percentile(self, share: float) -> int:
        """Return the value below which `share` (0..1) of all lie; 0 when nothing was recorded."""
        rank, seen = share * self.n, 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank and seen:
                return min(_middle(bucket), self.most)
        return 0

    def figures_us(self) -> dict[str, float]:
        """Return {n, p50, p95, p99} of nanoseconds, in us."""
        shares = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
        return {"n": self.n} | {name: self.percentile(share) / 1000 for name, share in shares}


def _middle(bucket: int) -> int:
    shift, value = bucket >> (_FINE + 1), bucket & (_LINEAR - 1)
    if shift == 0:
        return value
    return (value << shift) + (1 << shift) // 2


class StageClock:
    """The histograms of all stages; pass `record` to the host as `stages`."""

    __slots__ = ("by_stage",)

    def __init__(self) -> None:
        self.by_stage: dict[str, Histogram] = {stage: Histogram() for stage in STAGES}

    def record(self, stage: str, ns: int) -> None:
        """Count the duration of a stage in ns; KeyError for a stage that is none."""
        self.by_stage[stage].record(ns)

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        """Return {stage: {n, p50, p95, p99}} in us, for the stages that were seen."""
        return {
            stage: histogram.figures_us()
            for stage, histogram in self.by_stage.items()
            if histogram.n
        }
