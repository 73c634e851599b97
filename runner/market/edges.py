"""What `held crosses_above crosses_below changed` remember: since when, and what it was before.

Theory of operation. `Held` is told the condition after every event that may move it. It becomes
true when the condition has been definitely true for the whole span, by a timer (`due`); a missing
condition starts the clock again. Before the span is over it is definitely false only if the
condition was seen false before: what was missing may have held.

`Crossing` and `Change` are told their values once an event is complete, just before a decision.
They compare with the time before and are true at that instant only, `now` being its name. Without
a known value before (at the start, after a gap) an edge is missing at the instant at which the
value comes back. Nothing here is saved: what happened while nobody looked is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import Any

from runner.market.windows import NEVER, Window


class Edge(Window):
    """Base: never warming, never saved."""

    __slots__ = ()

    def __init__(self, name: str, span_ns: int = 0, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars)
        self.due = NEVER

    @property
    def full(self) -> bool:
        return True

    @property
    def progress(self) -> float:
        return 1.0

    def state(self, now: int) -> dict[str, Any] | None:
        return None

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> bool:
        return False


class Held(Edge):
    """`held(condition, 3s)`: since when the condition is definitely true."""

    __slots__ = ("at", "sure")

    def __init__(self, name: str, span_ns: int = 0, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars)
        self.at = NEVER
        """when it has been true for the span; NEVER while it is not true"""
        self.sure = False
        """before `at` it has not held, for it was seen false"""

    def feed(self, now: int, true: bool, false: bool) -> None:
        """Take the condition's two truths at `now`."""
        if true:
            if self.at == NEVER:
                self.at = now + self.span_ns
            self.due = self.at if now < self.at else NEVER
        else:
            self.at = self.due = NEVER
            self.sure = false


class Crossing(Edge):
    """`crosses_above(a, b)` and `crosses_below(a, b)`: when they last did."""

    __slots__ = ("above", "before", "below", "blind")

    def __init__(self, name: str, span_ns: int = 0, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars)
        self.above = self.below = self.blind = -1
        """when a crossed, and when the values came back after being missing"""
        self.before = nan
        """sign of a - b; NaN while not known"""

    def feed(self, now: int, a: float, b: float) -> None:
        """Take both sides at `now`."""
        if not (-inf < a < inf and -inf < b < inf):
            self.before = nan
            return
        side = 1.0 if a > b else -1.0 if a < b else 0.0
        if self.before != self.before:
            self.blind = now
        elif side > 0.0 >= self.before:
            self.above = now
        elif side < 0.0 <= self.before:
            self.below = now
        self.before = side


class Change(Edge):
    """`changed(x)`: when a number, a condition or a text last became another."""

    __slots__ = ("at", "before", "blind")

    def __init__(self, name: str, span_ns: int = 0, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars)
        self.at = self.blind = -1
        self.before: float | bool | str | None = None

    def feed(self, now: int, x: float | bool | str | None) -> None:
        """Take the value at `now`, None or a number that is not finite while missing."""
        if x is None or (isinstance(x, float) and not -inf < x < inf):
            self.before = None
            return
        if self.before is None:
            self.blind = now
        elif x != self.before:
            self.at = now
        self.before = x
