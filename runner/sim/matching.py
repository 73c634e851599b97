"""Match orders by price, then by time, in integers of ticks and lots.

Theory of operation. A `Book` holds two sides of `Level`s; a level is a queue of `Resting` orders,
first come first served. Liquidity of the background market rests in the same queues (its `owner`
is None), so a user's order waits behind what was there before it, and takes what is there for real.
Every change of a level's total raises the update id `u` by one and is noted in each `Changes`
that watches the book: that is all a depth stream needs, and it makes snapshot, stream and top of
book agree by construction.

Before a trade with a user's resting order the venue is asked (`Judge`) how much may trade: it
shortens reduce-only orders and prevents self-trades.
"""

from __future__ import annotations

import enum
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


class Side(enum.IntEnum):
    """The side of an order; the value is the sign of the position it makes."""

    BUY = 1
    SELL = -1

    @property
    def other(self) -> Side:
        """Return the opposite side."""
        return Side.SELL if self is Side.BUY else Side.BUY


@dataclass(slots=True, eq=False)
class Resting:
    """A quantity waiting in a queue; `owner` is the user's order, None for the background."""

    lots: int
    owner: object | None = None


@dataclass(slots=True, eq=False)
class Level:
    """One price: who waits, in order, and how much that is together."""

    queue: deque[Resting] = field(default_factory=deque)
    total: int = 0


@dataclass(slots=True, frozen=True)
class Trade:
    """One match. `maker` is None when the background was resting."""

    tick: int
    lots: int
    maker: object | None


@dataclass(slots=True, frozen=True)
class Verdict:
    """How much of a user's resting order may trade, and whether the taker must stop."""

    lots: int
    stop: bool = False


Judge = Callable[[object, int], Verdict]
Settle = Callable[[Trade], None]


@dataclass(slots=True, eq=False)
class Changes:
    """The ticks changed since a stream's last event."""

    first: int
    bids: set[int] = field(default_factory=set)
    asks: set[int] = field(default_factory=set)

    def of(self, side: Side) -> set[int]:
        """Return the changed ticks of one side."""
        return self.bids if side is Side.BUY else self.asks

    def clear(self, first: int) -> None:
        """Begin the next event at update id `first`."""
        self.first = first
        self.bids.clear()
        self.asks.clear()


class Book:
    """The order book of one symbol."""

    __slots__ = ("_levels", "_recent", "_ticks", "ts_ms", "u", "watchers")

    def __init__(self, u: int = 0) -> None:
        self._levels: dict[Side, dict[int, Level]] = {Side.BUY: {}, Side.SELL: {}}
        self._ticks: dict[Side, list[int]] = {Side.BUY: [], Side.SELL: []}
        self.u = u
        self.ts_ms = 0
        self._recent = Changes(u + 1)
        self.watchers: list[Changes] = [self._recent]

    # -- reading

    def best(self, side: Side) -> int | None:
        """Return the best tick of a side, None when the side is empty."""
        ticks = self._ticks[side]
        if not ticks:
            return None
        return ticks[-1] if side is Side.BUY else ticks[0]

    def lots(self, side: Side, tick: int) -> int:
        """Return the total at a tick, 0 when there is no level."""
        level = self._levels[side].get(tick)
        return level.total if level else 0

    def top(self, side: Side, n: int) -> list[tuple[int, int]]:
        """Return the best `n` levels as (tick, lots), best first."""
        ticks = self._ticks[side]
        best = reversed(ticks[-n:]) if side is Side.BUY else ticks[:n]
        levels = self._levels[side]
        return [(tick, levels[tick].total) for tick in best]

    def fillable(self, side: Side, limit: int) -> int:
        """Return how many lots a taker of `side` could take up to `limit`."""
        book = self._levels[side.other]
        return sum(level.total for tick, level in book.items() if (limit - tick) * side >= 0)

    def crosses(self, side: Side, tick: int) -> bool:
        """Tell whether an order of `side` at `tick` would trade at once."""
        best = self.best(side.other)
        return best is not None and (tick - best) * side >= 0

    # -- changing

    def begin(self) -> None:
        """Begin a step of the market: `watch` starts with its changes."""
        self._recent.clear(self.u + 1)

    def watch(self) -> Changes:
        """Return a new record of the changes since the present step began.

        A depth stream runs whether anybody listens or not: the first event that a new subscriber
        gets began before the subscription, so a snapshot asked for at once falls into it.
        """
        recent = self._recent
        changes = Changes(recent.first, set(recent.bids), set(recent.asks))
        self.watchers.append(changes)
        return changes

    def _changed(self, side: Side, tick: int) -> None:
        self.u += 1
        for watcher in self.watchers:
            watcher.of(side).add(tick)

    def _level(self, side: Side, tick: int) -> Level:
        level = self._levels[side].get(tick)
        if level is None:
            level = self._levels[side][tick] = Level()
            insort(self._ticks[side], tick)
        return level

    def _drop_if_empty(self, side: Side, tick: int) -> None:
        if self._levels[side][tick].total == 0:
            del self._levels[side][tick]
            ticks = self._ticks[side]
            del ticks[bisect_left(ticks, tick)]

    def rest(self, side: Side, tick: int, lots: int, owner: object | None) -> Resting:
        """Put an order at the end of its queue."""
        level = self._level(side, tick)
        resting = Resting(lots, owner)
        level.queue.append(resting)
        level.total += lots
        self._changed(side, tick)
        return resting

    def shrink(self, side: Side, tick: int, resting: Resting, lots: int) -> None:
        """Take `lots` off an order in place: it keeps its turn; at zero it leaves."""
        level = self._levels[side][tick]
        resting.lots -= lots
        level.total -= lots
        if resting.lots == 0:
            level.queue.remove(resting)
        self._changed(side, tick)
        self._drop_if_empty(side, tick)

    def quote(self, side: Side, tick: int, lots: int) -> None:
        """Make the background's quantity at a tick equal to `lots`."""
        level = self._level(side, tick)
        have = sum(resting.lots for resting in level.queue if resting.owner is None)
        if have == lots:
            self._drop_if_empty(side, tick)
            return
        if lots > have:
            last = level.queue[-1] if level.queue else None
            if last is not None and last.owner is None:
                last.lots += lots - have
            else:
                level.queue.append(Resting(lots - have))
        else:
            self._withdraw(level, have - lots)
        level.total += lots - have
        self._changed(side, tick)
        self._drop_if_empty(side, tick)

    @staticmethod
    def _withdraw(level: Level, lots: int) -> None:
        """Take background quantity away, the latest first: the front keeps its turn."""
        for resting in reversed([r for r in level.queue if r.owner is None]):
            part = min(lots, resting.lots)
            resting.lots -= part
            lots -= part
            if resting.lots == 0:
                level.queue.remove(resting)
            if lots == 0:
                return

    def background_ticks(self, side: Side) -> list[int]:
        """Return the ticks of a side, ascending (a copy)."""
        return list(self._ticks[side])

    def match(self, side: Side, limit: int, lots: int, judge: Judge, settle: Settle) -> bool:
        """Trade up to `lots` against the other side, no further than `limit`.

        Each trade is given to `settle` before the next is judged. Returns whether the judge
        stopped the taker.
        """
        other = side.other
        while lots > 0:
            tick = self.best(other)
            if tick is None or (limit - tick) * side < 0:
                break
            first = self._levels[other][tick].queue[0]
            part = min(lots, first.lots)
            if first.owner is not None:
                verdict = judge(first.owner, part)
                if verdict.stop:
                    return True
                if verdict.lots == 0:  # the judge cancelled the resting order itself
                    continue
                part = verdict.lots
            self.shrink(other, tick, first, part)
            lots -= part
            settle(Trade(tick, part, first.owner))
        return False
