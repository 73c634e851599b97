"""An order book: levels, and the rule that says whether a difference continues it.

Theory of operation. A book is out of step until a snapshot arrives; differences that come before
are kept. The snapshot is applied, those it covers are dropped, the rest must continue it:

    difference has `prev` (Binance USD-M)   the first: first <= snapshot.last <= last, or prev is
                                            the snapshot's last; later ones: prev == last
    difference has none (Binance spot,      first <= last + 1
    Bybit, whose u rises by one)

What ends at or before the book's `last` is a repetition and is ignored. Anything else is a GAP:
the book is emptied, the difference is kept as the first of a new wait, and a snapshot must be
asked for. A snapshot on the socket always replaces the book (Bybit sends one after a restart, with
a lower id). One fetched by REST (`conn` 0) that is older than a book in step is ignored; one that
is older than the kept differences is TOO_OLD and must be fetched again.

Levels are floats: they serve signals and paper fills, never the price of an order. Each side is a
dict plus a sorted list whose best price is the last element, so that changes near the touch move
little memory; asks are kept negated.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from enum import Enum
from math import inf, nan
from typing import Final

from runner.market.events import Depth, Level

KEPT: Final = 2_000
"""differences kept while waiting for a snapshot; more means that it does not come"""


class Step(Enum):
    """What became of a frame."""

    APPLIED = "applied"
    IGNORED = "ignored"
    KEPT = "kept"
    GAP = "gap"
    TOO_OLD = "too old"


class Book:
    """Levels of one market. `last` is the update id of the last frame applied."""

    __slots__ = ("_kept", "_untouched", "ask_keys", "asks", "bid_keys", "bids", "in_step", "last")

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.bid_keys: list[float] = []
        """prices ascending: the best bid is the last"""
        self.ask_keys: list[float] = []
        """negated prices ascending: the best ask is minus the last"""
        self.last = 0
        self.in_step = False
        self._untouched = False
        """no difference has followed the snapshot yet"""
        self._kept: list[Depth] = []

    def apply(self, event: Depth) -> Step:
        """Apply a snapshot or a difference, keep it, or refuse it."""
        if event.snapshot:
            return self._replace(event)
        if not self.in_step:
            self._keep(event)
            return Step.KEPT
        last = self.last
        if event.last <= last and not self._spans(event):
            return Step.IGNORED
        if not self._continues(event):
            self.clear()
            self._keep(event)
            return Step.GAP
        self._change(event)
        return Step.APPLIED

    def clear(self) -> None:
        """Forget everything; a snapshot is needed."""
        for side in (self.bids, self.asks):
            side.clear()
        for keys in (self.bid_keys, self.ask_keys, self._kept):
            keys.clear()
        self.last = 0
        self.in_step = False

    def best(self) -> tuple[float, float, float, float]:
        """Return bid, ask and their quantities; NaN where a side is empty."""
        bid = self.bid_keys[-1] if self.bid_keys else nan
        ask = -self.ask_keys[-1] if self.ask_keys else nan
        return bid, ask, self.bids.get(bid, nan), self.asks.get(ask, nan)

    def levels(self, buy: bool) -> Iterator[Level]:
        """Yield (price, quantity) of the side a taker would take, best first."""
        if buy:
            for key in reversed(self.ask_keys):
                yield -key, self.asks[-key]
        else:
            for key in reversed(self.bid_keys):
                yield key, self.bids[key]

    def _spans(self, event: Depth) -> bool:
        """Whether this is the first difference after a snapshot that ends exactly with it."""
        return self._untouched and event.prev >= 0 and event.last == self.last

    def _continues(self, event: Depth) -> bool:
        if event.prev < 0:
            return event.first <= self.last + 1
        if event.prev == self.last:
            return True
        return self._untouched and event.first <= self.last <= event.last

    def _keep(self, event: Depth) -> None:
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept.append(event)

    def _replace(self, event: Depth) -> Step:
        rest = event.conn == 0
        if rest and self.in_step and event.last < self.last:
            return Step.IGNORED
        # What a socket sent before its own snapshot belongs to the time before it.
        kept = self._kept[:] if rest else []
        self._load(event)
        for place, late in enumerate(kept):
            if late.last <= self.last and not self._spans(late):
                continue
            if not self._continues(late):
                self.clear()
                self._kept = kept[place:]
                return Step.TOO_OLD
            self._change(late)
        return Step.APPLIED

    def _load(self, event: Depth) -> None:
        self.clear()
        self.bids.update((price, qty) for price, qty in event.bids if qty > 0.0)
        self.asks.update((price, qty) for price, qty in event.asks if qty > 0.0)
        self.bid_keys.extend(sorted(self.bids))
        self.ask_keys.extend(sorted(-price for price in self.asks))
        self.last = event.last
        self.in_step = self._untouched = True

    def _change(self, event: Depth) -> None:
        bids, keys = self.bids, self.bid_keys
        for price, qty in event.bids:
            if qty > 0.0:
                if price not in bids:
                    insort(keys, price)
                bids[price] = qty
            elif bids.pop(price, None) is not None:
                del keys[bisect_left(keys, price)]
        asks, keys = self.asks, self.ask_keys
        for price, qty in event.asks:
            if qty > 0.0:
                if price not in asks:
                    insort(keys, -price)
                asks[price] = qty
            elif asks.pop(price, None) is not None:
                del keys[bisect_left(keys, -price)]
        self.last = event.last
        self._untouched = False


def take(levels: Iterator[Level], base: float, notional: float) -> tuple[float, float]:
    """Walk `levels` for an amount of base or a notional (give one, NaN or inf for the other).

    Return (base filled, notional paid): less than asked for when the known levels do not suffice.
    """
    left_base = base if base == base else inf
    left_notional = notional if notional == notional else inf
    filled = paid = 0.0
    for price, qty in levels:
        part = min(qty, left_base - filled, (left_notional - paid) / price)
        filled += part
        paid += part * price
        if part < qty:
            break
    return filled, paid
