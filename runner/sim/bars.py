"""Bars of the synthetic market: how they are made, and merged to longer ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random


@dataclass(slots=True)
class Bar:
    """One minute, or longer, of one symbol at the latent price."""

    start_s: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int

    def add(self, price: float) -> None:
        """Take one more price into the bar."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price


def make_bars(
    steps: list[float], points: int, log_end: float, first_s: int, seconds: int, rng: Random
) -> list[Bar]:
    """Build bars of so many seconds and `points` moves each; the last one closes at `log_end`."""
    log = log_end - sum(steps)
    bars: list[Bar] = []
    for i in range(len(steps) // points):
        price = math.exp(log)
        volume = rng.lognormvariate(3.5, 0.5) * (seconds / 60)
        bar = Bar(first_s + seconds * i, price, price, price, price, volume, rng.randint(200, 2000))
        for move in steps[i * points : (i + 1) * points]:
            log += move
            bar.add(math.exp(log))
        bars.append(bar)
    return bars


def merge_bars(bars: list[Bar], minutes: int) -> list[Bar]:
    """Merge shorter bars to bars of `minutes`, aligned to the epoch."""
    if minutes == 1:
        return bars
    merged: list[Bar] = []
    for bar in bars:
        start = bar.start_s - bar.start_s % (60 * minutes)
        if not merged or merged[-1].start_s != start:
            merged.append(
                Bar(start, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades)
            )
            continue
        last = merged[-1]
        last.high, last.low = max(last.high, bar.high), min(last.low, bar.low)
        last.close = bar.close
        last.volume += bar.volume
        last.trades += bar.trades
    return merged
