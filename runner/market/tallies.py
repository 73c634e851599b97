"""Windows of ranks and counts: what `median count rsi` remember (see `market/windows.py`)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from math import inf, nan
from typing import Any

from runner.market.slots import Ring
from runner.market.windows import NEVER, SlotWindow, Window, samples_of


class MedianWindow(SlotWindow):
    """`median`: the known slots in order; an update is one search and one short move."""

    __slots__ = ("order", "value")

    def __init__(self, name: str, span_ns: int, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars)
        self.ring = Ring(self.size)
        self.order: list[float] = []
        self.value = nan

    def push(self, x: float) -> None:
        order = self.order
        old = self.ring.push(x)
        if old == old:
            del order[bisect_left(order, old)]
        if x == x:
            insort(order, x)
        self.value = self._middle() if self.ring.ready() else nan

    def _middle(self) -> float:
        order = self.order
        half = len(order) // 2
        if len(order) % 2:
            return order[half]
        return order[half - 1] * 0.5 + order[half] * 0.5


class CountWindow(SlotWindow):
    """`count`: how many updates a stream had, by slots of what its counter grew.

    The input is the counter while the stream is live. A slot before or behind which the stream was
    not live is missing.
    """

    __slots__ = ("last", "total")

    def __init__(self, name: str, span_ns: int, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars)
        self.ring = Ring(self.size)
        self.last = nan
        """the counter at the end of the last slot"""
        self.total = 0.0

    @property
    def value(self) -> float:
        """The count; NaN until the window has passed and while too much of it is missing."""
        return self.total if self.ring.ready() else nan

    def close(self, now: int, x: float) -> None:
        if self.started == NEVER:
            self.last = x if -inf < x < inf else nan
        super().close(now, x)

    def push(self, x: float) -> None:
        grown = x - self.last
        self.add(grown if grown >= 0.0 else nan)
        self.last = x

    def add(self, count: float) -> None:
        """Add the count of one slot, NaN when missing."""
        old = self.ring.push(count)
        if old == old:
            self.total -= old
        if count == count:
            self.total += count

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> bool:
        counts = samples_of(state.get("samples"))
        if counts is None or not super().restore({**state, "samples": []}, now, gap_ns):
            return False
        lost = self.ring.seen  # slots that ended in the gap
        self.ring = Ring(self.size)
        self.total = 0.0
        self.last = nan
        for count in [*counts, *[nan] * lost]:
            self.add(count)
        return True


class RsiWindow(Window):
    """`rsi`: Wilder's index over bars. The first n changes are averaged, later ones smoothed in.

    A missing bar is left out; the change after it spans it.
    """

    __slots__ = ("gain", "last", "loss", "seen", "value")

    def __init__(self, name: str, span_ns: int, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars)
        self.gain = self.loss = 0.0
        self.last = nan
        self.seen = 0
        """changes taken"""
        self.value = nan

    def push(self, x: float) -> None:
        """Take the value at the end of a bar, NaN when missing."""
        if not -inf < x < inf:
            self.value = nan
            return
        if self.last == self.last:
            self._change(x - self.last)
        self.last = x
        moved = self.gain + self.loss
        known = self.seen >= self.bars and 0.0 < moved < inf
        self.value = 100.0 * (self.gain / moved) if known else nan

    def _change(self, by: float) -> None:
        up, down = max(by, 0.0), max(-by, 0.0)
        self.seen += 1
        n = min(self.seen, self.bars)
        self.gain += (up - self.gain) / n
        self.loss += (down - self.loss) / n

    @property
    def full(self) -> bool:
        return self.seen >= self.bars

    @property
    def progress(self) -> float:
        return min(1.0, self.seen / self.bars)

    def state(self, now: int) -> dict[str, Any] | None:
        return None

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> bool:
        return False
