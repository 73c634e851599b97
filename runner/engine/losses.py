"""The stop by loss of a trade: watched here, on every book of its legs (trading.md, section 3).

What closing now would leave (`this.exit_pnl`) at or under minus the loss closes the trade by its
`close`, all legs together; while an entry still works, once its legs match and nothing is in doubt.
A missing value fires nothing. When it has been missing for 30 s, a leg without a live book is
valued by its mark, if that is at most 10 s old; without one it stays missing and the trade is held,
as by a missing `until`.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final

from runner.engine.cost import closed_at
from runner.engine.limits import closing_price
from runner.engine.timers import SECOND

if TYPE_CHECKING:
    from runner.engine.cost import TradeCell
    from runner.engine.desk import Listed
    from runner.engine.trade import Trade

BY_MARK_AFTER: Final = 30 * SECOND
MARK_FRESH: Final = 10 * SECOND
LOOK: Final = 1 * SECOND


class LossStop:
    """The stop of one rule's trades."""

    __slots__ = ("_cell", "_missing_since", "limit")

    def __init__(self, cell: TradeCell, limit: float) -> None:
        self._cell = cell
        self.limit = limit
        """the loss in quote at which a trade is closed"""
        self._missing_since = -1

    def begin(self) -> None:
        """A trade begins to be watched."""
        self._missing_since = -1

    def hit(self, now: int) -> bool:
        """Whether closing now would lose that much."""
        return self.result(now) <= -self.limit

    def result(self, now: int) -> float:
        """Return what closing now would leave, by marks when books have been away for long."""
        value = self._cell.exit_pnl(now)
        if value == value:
            self._missing_since = -1
            return value
        trade = self._cell.run.trade if self._cell.run is not None else None
        if trade is None:
            return nan
        if self._missing_since < 0:
            self._missing_since = now
        if now - self._missing_since < BY_MARK_AFTER:
            return nan
        return _by_marks(trade, now)


def _by_marks(trade: Trade, now: int) -> float:
    total = -trade.baseline
    for leg in trade.legs:
        total += leg.ledger.settled_pnl
        if leg.ledger.lots:
            price = closing_price(leg.listed, leg.ledger.lots)
            total += closed_at(
                price if price == price else _mark(leg.listed, now), leg.listed, leg.ledger
            )
    return total


def _mark(listed: Listed, now: int) -> float:
    mark = listed.mark
    if mark is None or mark.age(now) > MARK_FRESH:
        return nan
    return float(mark.price)
