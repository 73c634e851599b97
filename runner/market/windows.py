"""Windows: what `ema sma stdev zscore min_over max_over ret delta rate vol beta corr` remember.

Theory of operation. A duration window keeps `n` slots of w/n each (512, or 256 for returns and
pairs; a slot lasts at least 10 ms). The owner calls `close(now, x)` when `due` has come: the value
at the slot's end is x then, NaN when it is missing; slots passed over by a late call get the same
x, for no event lies between. A window of bars keeps `n` samples, one for each closed bar; the
owner calls `push`. A window's results are plain attributes, NaN while they are missing: until the
whole window has passed, and while more than 10 % of the slots are missing. `Ema` has no slots: it
is updated whenever a stream it reads changes, and is missing while its input is.

`now` is the engine's monotonic ns. State is JSON; ages in it are relative, so that it can be taken
back under another clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from math import inf, nan
from typing import Any

from runner.market.slots import MISSING_SHARE, Extreme, Moments, Products, Ring

NEVER = 2**62
SLOTS = 512
FEW_SLOTS = 256
SHORTEST_SLOT_NS = 10_000_000


class Window:
    """What all windows have: a name, the span in ns or in bars, and when the next slot ends."""

    __slots__ = (
        "bars", "counted", "due", "name", "size", "slot_ns", "span_ns", "started", "warmed",
    )  # fmt: skip

    def __init__(self, name: str, span_ns: int, bars: int, slots: int = SLOTS) -> None:
        self.name = name
        self.span_ns = span_ns
        self.bars = bars
        self.size = bars or max(1, min(slots, span_ns // SHORTEST_SLOT_NS))
        self.slot_ns = 0 if bars else span_ns // self.size
        self.started = NEVER
        self.due = NEVER if bars else 0
        self.counted = 0
        """closed bars of the stream that were taken (windows of bars)"""
        self.warmed = False
        """filled from bars, not from the live stream"""

    def become(self, other: Window) -> None:
        """Take over all of another window of the same class; `self` stays the object bound."""
        for cls in type(self).__mro__:
            for slot in getattr(cls, "__slots__", ()):
                setattr(self, slot, getattr(other, slot))

    def start(self, now: int) -> None:
        """Begin the first slot."""
        if not self.bars and self.started == NEVER:
            self.started = now
            self.due = now + self.slot_ns

    def passed(self, now: int) -> int:
        """Return how many slots have ended by `now`, and set the next end."""
        count = (now - self.due) // self.slot_ns + 1
        self.due += count * self.slot_ns
        return min(count, self.size + 1)

    @property
    def full(self) -> bool:
        """Whether its results are there (but for what has no result, as x/0)."""
        raise NotImplementedError

    @property
    def progress(self) -> float:
        """How far it is filled, 0 to 1."""
        raise NotImplementedError

    def state(self, now: int) -> dict[str, Any] | None:
        """Return the state as JSON values; None for what is warmed from bars instead."""
        raise NotImplementedError

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> bool:
        """Take a state back that was saved `gap_ns` ago; False when the gap is too long."""
        raise NotImplementedError


class SlotWindow(Window):
    """A window of one input over a ring; subclasses turn the ring into results."""

    __slots__ = ("ring",)

    ring: Ring

    def push(self, x: float) -> None:
        """Add one sample, NaN when missing, and compute the results."""
        raise NotImplementedError

    def close(self, now: int, x: float) -> None:
        """End all slots up to `now` with the value x."""
        if self.started == NEVER:
            self.start(now)
            return
        x = x if -inf < x < inf else nan
        for _ in range(self.passed(now)):
            self.push(x)

    @property
    def full(self) -> bool:
        return self.ring.ready()

    @property
    def progress(self) -> float:
        return self.ring.seen / self.size

    def state(self, now: int) -> dict[str, Any] | None:
        if self.bars or self.started == NEVER:
            return None
        return {
            "since": now - (self.due - self.slot_ns),
            "samples": [None if v != v else v for v in self.ring.samples()],
        }

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> bool:
        samples = samples_of(state.get("samples"))
        since = state.get("since")
        if self.bars or samples is None or not isinstance(since, int) or since < 0:
            return False
        if not 0 <= gap_ns <= self.span_ns * MISSING_SHARE:
            return False
        for value in samples[-self.size :]:
            self.push(value)
        self.started = now - len(samples) * self.slot_ns
        self.due = now - gap_ns - since + self.slot_ns
        if self.due <= now:
            self.close(now, nan)
        return True


def samples_of(saved: object) -> list[float] | None:
    """Return saved samples as floats; None when they are not a list of numbers and nulls."""
    if not isinstance(saved, list):
        return None
    if not all(v is None or (isinstance(v, float | int) and math.isfinite(v)) for v in saved):
        return None
    return [nan if v is None else float(v) for v in saved]


class MomentWindow(SlotWindow):
    """`sma stdev zscore`: mean and standard deviation of the slots."""

    __slots__ = ("deviation", "mean", "moments")

    def __init__(self, name: str, span_ns: int, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars)
        self.moments = Moments(self.size)
        self.ring = self.moments.ring
        self.mean = self.deviation = nan

    def push(self, x: float) -> None:
        self.moments.push(x)
        if self.ring.ready():
            self.mean = self.moments.mean()
            self.deviation = self.moments.deviation()
        else:
            self.mean = self.deviation = nan


class ExtremeWindow(SlotWindow):
    """`min_over max_over`."""

    __slots__ = ("extreme", "value")

    def __init__(self, name: str, span_ns: int, bars: int = 0, highest: bool = False) -> None:
        super().__init__(name, span_ns, bars)
        self.extreme = Extreme(self.size, -1.0 if highest else 1.0)
        self.ring = self.extreme.ring
        self.value = nan

    def push(self, x: float) -> None:
        self.extreme.push(x)
        self.value = self.extreme.value() if self.ring.ready() else nan


class PastWindow(SlotWindow):
    """`ret delta rate`: the value a window ago, missing when that slot was."""

    __slots__ = ("past",)

    def __init__(self, name: str, span_ns: int, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars)
        self.size += 1  # n slots between two ends
        self.ring = Ring(self.size)
        self.past = nan

    def push(self, x: float) -> None:
        self.ring.push(x)
        self.past = self.ring.oldest

    @property
    def full(self) -> bool:
        return self.past == self.past


class ReturnWindow(SlotWindow):
    """`vol`: standard deviation of log returns from slot to slot, scaled to the window."""

    __slots__ = ("last", "moments", "vol")

    def __init__(self, name: str, span_ns: int, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars, FEW_SLOTS)
        self.moments = Moments(self.size)
        self.ring = self.moments.ring
        self.last = nan
        """log of the value at the end of the last slot"""
        self.vol = nan

    def push(self, x: float) -> None:
        self.push_log(math.log(x) if x > 0.0 else nan)

    def push_log(self, level: float) -> None:
        """Add the log of a sample."""
        self.moments.push(level - self.last)
        self.last = level
        ready = self.ring.ready()
        self.vol = self.moments.deviation() * math.sqrt(self.size) if ready else nan

    def state(self, now: int) -> dict[str, Any] | None:
        state = super().state(now)
        if state is not None:
            state["last"] = None if self.last != self.last else self.last
        return state

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> bool:
        returns, last = samples_of(state.get("samples")), samples_of([state.get("last")])
        if returns is None or last is None:
            return False
        if not super().restore({**state, "samples": []}, now, gap_ns):
            return False
        lost = self.ring.seen
        self.moments = Moments(self.size)
        self.ring = self.moments.ring
        for value in [*returns, *[nan] * lost]:
            self.moments.push(value)
        self.last = nan if lost else last[0]
        self.vol = self.moments.deviation() * math.sqrt(self.size) if self.ring.ready() else nan
        return True


class PairWindow(Window):
    """`beta corr`: slope of the first on the second, and correlation."""

    __slots__ = ("beta", "corr", "products")

    def __init__(self, name: str, span_ns: int, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars, FEW_SLOTS)
        self.products = Products(self.size)
        self.beta = self.corr = nan

    def push(self, y: float, x: float) -> None:
        """Add one pair, in the order of `beta(y, x, w)`."""
        self.products.push(x, y)
        if self.products.x.ready():
            self.beta = self.products.slope_of_y()
            self.corr = self.products.correlation()
        else:
            self.beta = self.corr = nan

    def close(self, now: int, y: float, x: float) -> None:
        """End all slots up to `now` with this pair."""
        if self.started == NEVER:
            self.start(now)
            return
        known = -inf < y < inf and -inf < x < inf
        y, x = (y, x) if known else (nan, nan)
        for _ in range(self.passed(now)):
            self.push(y, x)

    @property
    def full(self) -> bool:
        return self.products.x.ready()

    @property
    def progress(self) -> float:
        return self.products.x.seen / self.size

    def state(self, now: int) -> dict[str, Any] | None:
        if self.bars or self.started == NEVER:
            return None
        pairs = [None if x != x else [y, x] for x, y in self.products.pairs()]
        return {"since": now - (self.due - self.slot_ns), "pairs": pairs}

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> bool:
        pairs, since = state.get("pairs"), state.get("since")
        if self.bars or not isinstance(pairs, list) or not isinstance(since, int) or since < 0:
            return False
        if not 0 <= gap_ns <= self.span_ns * MISSING_SHARE:
            return False
        read = [[nan, nan] if pair is None else samples_of(pair) for pair in pairs]
        if not all(pair is not None and len(pair) == 2 for pair in read):
            return False
        for pair in read[-self.size :]:
            assert pair is not None
            self.push(pair[0], pair[1])
        self.started = now - len(read) * self.slot_ns
        self.due = now - gap_ns - since + self.slot_ns
        if self.due <= now:
            self.close(now, nan, nan)
        return True


class Ema(Window):
    """`ema`: an update `dt` after the last one weighs 1 - exp(-dt/w) against what was.

    A missing input is skipped: the mean waits, and is missing as long as the input is.
    """

    __slots__ = ("first", "last", "mean", "scale", "value")

    def __init__(self, name: str, span_ns: int, bars: int = 0) -> None:
        super().__init__(name, span_ns, bars)
        self.due = NEVER
        self.scale = -1.0 / (bars or span_ns)
        self.mean = nan
        self.value = nan
        self.first = NEVER
        """when the first known value came"""
        self.last = 0

    def feed(self, now: int, x: float, exp: Callable[[float], float] = math.exp) -> None:
        """Take the input's value at `now`; at equal times the later one replaces nothing."""
        if -inf < x < inf:
            if self.first == NEVER:
                self.first = self.last = now
                self.mean = x
            else:
                kept = exp((now - self.last) * self.scale)
                self.mean = x + (self.mean - x) * kept
                self.last = now
            self.value = self.mean if now - self.first >= self.span_ns else nan
        else:
            self.value = nan

    def push(self, x: float) -> None:
        """Take the value at the end of a bar; bars are the clock."""
        if -inf < x < inf:
            self.last += 1
            if self.first == NEVER:
                self.first = self.last
                self.mean = x
            else:
                self.mean = x + (self.mean - x) * math.exp(self.scale)
            self.value = self.mean if self.last - self.first + 1 >= self.bars else nan
        else:
            self.value = nan

    @property
    def full(self) -> bool:
        if self.first == NEVER:
            return False
        return self.last - self.first >= (self.bars - 1 if self.bars else self.span_ns)

    @property
    def progress(self) -> float:
        if self.first == NEVER:
            return 0.0
        done = self.last - self.first + (1 if self.bars else 0)
        return min(1.0, done / (self.bars or self.span_ns))

    def state(self, now: int) -> dict[str, Any] | None:
        if self.bars or self.first == NEVER:
            return None
        return {"mean": self.mean, "first": now - self.first, "last": now - self.last}

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> bool:
        mean, first, last = state.get("mean"), state.get("first"), state.get("last")
        if self.bars or not isinstance(mean, float | int) or not math.isfinite(mean):
            return False
        if not isinstance(first, int) or not isinstance(last, int) or not 0 <= last <= first:
            return False
        if not 0 <= gap_ns <= self.span_ns * MISSING_SHARE:
            return False
        self.mean = float(mean)
        self.first = now - gap_ns - first
        self.last = now - gap_ns - last
        return True


AnyWindow = MomentWindow | ExtremeWindow | PastWindow | ReturnWindow | PairWindow | Ema


def next_due(windows: Sequence[Window]) -> int:
    """Return when the next slot of any ends."""
    return min((window.due for window in windows), default=NEVER)
