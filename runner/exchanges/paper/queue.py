"""Where our resting orders stand in the queue of their price (R-44).

Theory of operation. An order that comes to rest stands behind all that its price shows then; what
shows nothing of itself yet (beyond the known depth) is placed when it is first seen. After that

    a trade at the price        takes from the front: what is ahead of us, then our own orders
    the level shows less        what trades do not explain was cancelled; of it a part stood ahead
    the level shows more        came behind us

How much of a cancelled quantity stood ahead nobody tells. PROB takes ahead^n / (ahead^n + behind^n)
of it, n the exponent; PESSIMISTIC takes nothing, only trades move us on; THROUGH knows no queue at
all: only trades beyond the price fill. Book and trades come on different roads: a decrease that a
trade explains moments later is taken back first. Our own orders of a price share one queue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from runner.base.clock import NS_PER_MS
from runner.exchanges.paper.books import BookView
from runner.exchanges.paper.orders import PaperOrder
from runner.market.instruments import Instrument, Side

EXPLAINED_WITHIN: Final = 150 * NS_PER_MS
"""trades may come in batches of 100 ms (Binance), the top of the book at once"""
FORGOTTEN_AFTER: Final = 1_000 * NS_PER_MS


class QueueKind(StrEnum):
    """How a queue moves on (see the module)."""

    PROB = "prob"
    PESSIMISTIC = "pessimistic"
    THROUGH = "through"


@dataclass(frozen=True, slots=True)
class QueueModel:
    """A kind and, for PROB, its exponent."""

    kind: QueueKind = QueueKind.PROB
    exponent: float = 1.0

    def text(self) -> str:
        """Name the model as the report shows it."""
        if self.kind is QueueKind.PROB:
            return f"queue prob n={self.exponent:g}"
        return f"queue {self.kind}"

    def share_ahead(self, ahead: float, behind: float) -> float:
        """Return what share of a cancelled quantity stood ahead."""
        if self.kind is not QueueKind.PROB or ahead <= 0:
            return 0.0
        if behind <= 0:
            return 1.0
        front: float = ahead**self.exponent
        back: float = behind**self.exponent
        return front / (front + back)


PROB: Final = QueueModel()


@dataclass(slots=True)
class Place:
    """One order's place. Quantities in lots, those of others."""

    order: PaperOrder
    ahead: float | None
    """None: its price was never seen"""
    removed: float = 0.0
    """of `ahead`, taken by the last decrease that no trade explained (yet)"""


@dataclass(slots=True)
class Level:
    """One price on one side where we stand."""

    shown: float | None
    places: list[Place] = field(default_factory=list)
    """oldest first"""
    traded: float = 0.0
    """lots traded here a moment ago that the book has not shown gone yet"""
    traded_at: int = 0
    unexplained: float = 0.0
    unexplained_at: int = 0


class Queues:
    """All places of one market."""

    __slots__ = ("_instrument", "_levels", "_model")

    def __init__(self, instrument: Instrument, model: QueueModel = PROB) -> None:
        self._instrument = instrument
        self._model = model
        self._levels: dict[tuple[Side, int], Level] = {}

    def join(self, order: PaperOrder, view: BookView) -> None:
        """Place an order behind all that its price shows now."""
        key = order.intent.side, order.ticks
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = Level(self._shown(view, key))
        level.places.append(Place(order, level.shown))

    def leave(self, order: PaperOrder) -> None:
        """Take an order out of its queue."""
        for key, level in list(self._levels.items()):
            level.places = [place for place in level.places if place.order is not order]
            if not level.places:
                del self._levels[key]

    def ahead(self, order: PaperOrder) -> float | None:
        """Return the lots ahead of an order; None when not known."""
        for level in self._levels.values():
            for place in level.places:
                if place.order is order:
                    return place.ahead
        return None

    def book_changed(self, view: BookView, now: int) -> None:
        """Move on by what the levels show now."""
        for key, level in self._levels.items():
            shown = self._shown(view, key)
            if shown is None:
                continue
            before, level.shown = level.shown, shown
            if before is not None:
                self._less(level, before - shown, before, now)
            for place in level.places:
                place.ahead = shown if place.ahead is None else min(place.ahead, shown)

    def traded(self, side: Side, ticks: int, lots: int, now: int) -> list[tuple[PaperOrder, int]]:
        """Let a trade at a price of `side` take from the front; return what it fills of ours."""
        level = self._levels.get((side, ticks))
        if level is None or self._model.kind is QueueKind.THROUGH:
            return []
        self._explain(level, float(lots), now)
        left, others = float(lots), 0.0
        fills: list[tuple[PaperOrder, int]] = []
        for place in level.places:
            if place.ahead is None:
                break  # nobody knows how much stands there
            ahead = place.ahead - others
            if left <= ahead:
                others += left
                left = 0.0
                break
            left -= ahead
            others = place.ahead
            part = min(int(left + 1e-9), place.order.left)
            if part:
                fills.append((place.order, part))
                left -= part
        for place in level.places:
            if place.ahead is not None:
                place.ahead = max(0.0, place.ahead - others)
        level.traded += lots
        level.traded_at = now
        return fills

    def _less(self, level: Level, gone: float, before: float, now: int) -> None:
        """A level shows `gone` less than before: trades explain some of it, cancels the rest."""
        if now - level.traded_at > FORGOTTEN_AFTER:
            level.traded = 0.0
        if gone <= 0:
            return
        explained = min(gone, level.traded)
        level.traded -= explained
        cancelled = gone - explained
        if cancelled <= 0:
            return
        level.unexplained, level.unexplained_at = cancelled, now
        for place in level.places:
            if place.ahead is not None:
                behind = max(0.0, before - explained - place.ahead)
                share = self._model.share_ahead(place.ahead, behind)
                place.removed = min(place.ahead, cancelled * share)
                place.ahead -= place.removed

    def _explain(self, level: Level, lots: float, now: int) -> None:
        """A trade explains a decrease that the book showed a moment before it: take that back."""
        if now - level.unexplained_at > EXPLAINED_WITHIN or level.unexplained <= 0:
            return
        part = min(lots, level.unexplained)
        share = part / level.unexplained
        level.unexplained -= part
        for place in level.places:
            if place.ahead is not None:
                place.ahead += place.removed * share
                place.removed -= place.removed * share
        level.traded -= part

    def _shown(self, view: BookView, key: tuple[Side, int]) -> float | None:
        side, ticks = key
        qty = view.shown(side, float(self._instrument.price(ticks)))
        return None if qty is None else qty / self._instrument.lot_f
