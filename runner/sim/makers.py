"""Quote and trade for the background market on one book.

The background rests a quantity at the touch and on a grid of absolute prices behind it, so that a
small move of the price changes few levels; what a taker took is refilled at the next step. When
the price moves through a user's resting order the background takes that order, and now and then
it takes a little at the touch, which is where public trades come from.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from runner.sim.catalogue import Instrument
from runner.sim.matching import Book, Judge, Settle, Side

LEVELS = 210
"""Background levels a side: the deepest public stream shows 200."""

_REQUOTED = 2  # levels a side and step that change their quantity
_TRADE_CHANCE = 0.12  # per step of 50 ms

Sweep = Callable[[Side, int, int], None]


class Quoter:
    """The background liquidity of one book; call `step` with the price of the moment."""

    __slots__ = ("_anchors", "_book", "_instrument", "_rng", "_spread", "_touch")

    def __init__(self, instrument: Instrument, book: Book, rng: Random) -> None:
        self._instrument = instrument
        self._book = book
        self._rng = rng
        self._touch: dict[Side, int] = {}
        self._anchors: dict[Side, frozenset[int]] = {}
        self._spread = 1

    def _size(self, factor: float = 1.0) -> int:
        """Draw the quantity of a level, in lots."""
        base = self._instrument.depth * factor * self._rng.uniform(0.4, 1.8)
        return max(self._instrument.min_lots, int(base / float(self._instrument.lot)))

    def step(self, price: float, sweep: Sweep) -> None:
        """Move the quotes to `price`; `sweep(side, limit, lots)` takes users' orders in the way."""
        if self._rng.random() < 0.1:
            self._spread = self._rng.randint(1, 3)
        mid = self._instrument.nearest_tick(price)
        bid = mid - (self._spread + 1) // 2
        self._side(Side.BUY, bid, bid + self._spread, sweep)
        self._side(Side.SELL, bid + self._spread, bid, sweep)

    def _side(self, side: Side, touch: int, opposite: int, sweep: Sweep) -> None:
        """Withdraw what is no longer quoted on both sides, clear the way, quote anew."""
        book = self._book
        other = side.other
        if book.crosses(side, touch):
            for tick in book.background_ticks(other):
                if (touch - tick) * side >= 0:
                    book.quote(other, tick, 0)
            if book.crosses(side, touch):
                sweep(side, touch, 1 << 62)
        wanted = self._grid(side, touch)
        if wanted is not self._anchors.get(side):
            for tick in book.background_ticks(side):
                if tick not in wanted and tick != touch:
                    book.quote(side, tick, 0)
            self._anchors[side] = wanted
        elif (last := self._touch.get(side)) is not None and last != touch and last not in wanted:
            book.quote(side, last, 0)
        for tick in wanted:
            if book.lots(side, tick) == 0:
                book.quote(side, tick, self._size())
        self._touch[side] = touch
        book.quote(side, touch, self._size(2.0))
        for _ in range(_REQUOTED):
            distance = self._rng.randint(1, 40) * self._instrument.grid
            tick = self._snap(side, touch) - side * distance
            if tick in wanted:
                book.quote(side, tick, self._size())

    def _snap(self, side: Side, touch: int) -> int:
        """Return the grid price at the touch or just behind it."""
        grid = self._instrument.grid
        below = touch - touch % grid
        return below if side is Side.BUY or below == touch else below + grid

    def _grid(self, side: Side, touch: int) -> frozenset[int]:
        """Return the grid prices of a side; the same object while they are the same."""
        first = self._snap(side, touch)
        have = self._anchors.get(side)
        if have and (max(have) if side is Side.BUY else min(have)) == first:
            return have
        grid = self._instrument.grid
        return frozenset(first - side * grid * k for k in range(LEVELS))

    def trade(self, judge: Judge, settle: Callable[[Side], Settle]) -> None:
        """Now and then take a little at the touch, as the public does."""
        if self._rng.random() > _TRADE_CHANCE:
            return
        side = Side.BUY if self._rng.random() < 0.5 else Side.SELL
        best = self._book.best(side.other)
        if best is None:
            return
        lots = max(self._instrument.min_lots, self._size(self._rng.random() ** 2 * 0.2))
        self._book.match(side, best, lots, judge, settle(side))
