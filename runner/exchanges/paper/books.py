"""What the paper exchange sees of a market, and what it has itself taken from it.

The books belong to the market state; paper only reads them, and only while they are valid
(R-48). Recorded and live books do not know that we traded: `Consumption` remembers, level by
level, what our own orders took, so that the same quantity is never taken twice (R-43).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from runner.market.instruments import Instrument, Side
from runner.market.streams import BookStream


class BookView(Protocol):
    """A book as paper reads it."""

    def valid(self, now: int) -> bool:
        """Tell whether the book may be traded on at `now` (monotonic ns)."""
        ...

    def levels(self, side: Side) -> Iterable[tuple[float, float]]:
        """Return (price, quantity) of the orders resting on `side`, best first."""
        ...

    def shown(self, side: Side, price: float) -> float | None:
        """Return the quantity at a price: 0 where there is none, None beyond the known depth."""
        ...


@dataclass(slots=True, frozen=True)
class Take:
    """A quantity taken at one price, in lots and ticks."""

    ticks: int
    lots: int


def ladder(view: BookView, side: Side, instrument: Instrument) -> Iterator[tuple[int, int]]:
    """Yield the resting side as (ticks, whole lots), best first."""
    tick, lot = instrument.tick_f, instrument.lot_f
    for price, qty in view.levels(side):
        yield round(price / tick), int(qty / lot + 1e-9)


class Consumption:
    """Our own takings per level of one market.

    A taking lasts while the level shows at least as much; when the level shows less, others have
    gone from it, and no more than what it shows can still be ours. A level beyond the known
    depth keeps its entry.
    """

    __slots__ = ("_instrument", "_used")

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._used: dict[Side, dict[int, tuple[int, float]]] = {Side.BUY: {}, Side.SELL: {}}

    def __bool__(self) -> bool:
        return bool(self._used[Side.BUY] or self._used[Side.SELL])

    def clear(self) -> None:
        """Forget everything."""
        for used in self._used.values():
            used.clear()

    def left(self, side: Side, ticks: int, shown: int) -> int:
        """Return the lots of a level resting on `side` that we have not taken yet."""
        entry = self._used[side].get(ticks)
        return shown if entry is None else max(0, shown - entry[0])

    def take(self, side: Side, takes: Iterable[Take]) -> None:
        """Remember takings from the levels resting on `side`."""
        used = self._used[side]
        for take in takes:
            before = used[take.ticks][0] if take.ticks in used else 0
            price = float(self._instrument.price(take.ticks))
            used[take.ticks] = (before + take.lots, price)

    def refresh(self, view: BookView) -> None:
        """Shrink entries to what their levels still show; call it after every book change."""
        lot = self._instrument.lot_f
        for side, used in self._used.items():
            for ticks, (taken, price) in list(used.items()):
                qty = view.shown(side, price)
                if qty is None:
                    continue
                lots = int(qty / lot + 1e-9)
                if not lots:
                    del used[ticks]
                elif lots < taken:
                    used[ticks] = (lots, price)


def walk(
    view: BookView,
    instrument: Instrument,
    taker: Side,
    lots: int,
    limit: int | None,
    own: Consumption | None = None,
) -> list[Take]:
    """Take up to `lots` from the other side, no further than `limit` ticks (None: no bound).

    Returns the takings, best price first; less than `lots` in sum when the known depth or the
    limit ends first. Changes nothing: pass the result to `own.take`.
    """
    takes: list[Take] = []
    resting = taker.opposite
    for ticks, shown in ladder(view, resting, instrument):
        if lots <= 0 or (limit is not None and (ticks - limit) * taker.sign > 0):
            break
        part = min(lots, shown if own is None else own.left(resting, ticks, shown))
        if part > 0:
            takes.append(Take(ticks, part))
            lots -= part
    return takes


def touch(view: BookView, side: Side, instrument: Instrument) -> int | None:
    """Return the best resting price of `side` in ticks, None when the side is empty."""
    for ticks, _ in ladder(view, side, instrument):
        return ticks
    return None


class StreamBook:
    """The book of a market stream; invalid whenever the stream is not live, or too old."""

    __slots__ = ("_stream",)

    def __init__(self, stream: BookStream) -> None:
        self._stream = stream

    def valid(self, now: int) -> bool:
        stream = self._stream
        # `bid` is NaN unless live; the age again, because staleness is noticed by a timer.
        return stream.bid < stream.ask and stream.age(now) <= stream.max_age

    def levels(self, side: Side) -> Iterator[tuple[float, float]]:
        stream, asks = self._stream, side is Side.SELL
        best, qty = (stream.ask, stream.ask_qty) if asks else (stream.bid, stream.bid_qty)
        if best != best:
            return
        yield best, qty
        for price, level in stream.book.levels(asks):
            if (price > best) if asks else (price < best):
                yield price, level

    def shown(self, side: Side, price: float) -> float | None:
        stream, asks = self._stream, side is Side.SELL
        best, qty = (stream.ask, stream.ask_qty) if asks else (stream.bid, stream.bid_qty)
        if price == best:
            return qty
        if (price < best) if asks else (price > best):
            return 0.0
        book = stream.book
        level = (book.asks if asks else book.bids).get(price)
        if level is not None:
            return level
        keys = book.ask_keys if asks else book.bid_keys
        # The keys of asks are negated: the first key is the level farthest from the touch.
        known = bool(keys) and (price <= -keys[0] if asks else price >= keys[0])
        return 0.0 if known else None
