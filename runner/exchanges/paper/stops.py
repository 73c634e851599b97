"""Stops and targets that wait at the paper exchange for their trigger price.

One fires when the mark (or the last trade, as the order says) has reached its price, from the side
that its kind says; from then on it is a market order. Where no mark was ever told the market's
reference stands in for it, and without trades the touch that it would take: a sell fires by the
bid, a buy by the ask. One whose price was reached when it arrived is refused, as the exchanges do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from runner.engine.commands import Trigger
from runner.exchanges.paper.books import BookView, touch
from runner.exchanges.paper.orders import PaperOrder
from runner.market.instruments import Instrument, Side


@dataclass(slots=True)
class Stops:
    """The armed stops of one market, the oldest first, and the last price traded there."""

    instrument: Instrument
    view: BookView
    last: Decimal | None = None
    armed: dict[str, PaperOrder] = field(default_factory=dict)

    def reached(self, order: PaperOrder, mark: Decimal | None, now: int) -> bool:
        """Whether an order's trigger price is reached; not while there is no price."""
        price = self._price(order, mark, now)
        if price is None:
            return False
        trigger = self.instrument.price(order.intent.trigger_ticks)
        return price >= trigger if order.intent.rising else price <= trigger

    def take(self, mark: Decimal | None, now: int) -> list[PaperOrder]:
        """Return the stops that fire now; they are armed no more."""
        fired = [order for order in self.armed.values() if self.reached(order, mark, now)]
        for order in fired:
            del self.armed[order.cid]
        return fired

    def _price(self, order: PaperOrder, mark: Decimal | None, now: int) -> Decimal | None:
        if order.intent.trigger is Trigger.MARK:
            return mark
        if self.last is not None:
            return self.last
        if not self.view.valid(now):
            return None
        taken = Side.BUY if order.intent.side is Side.SELL else Side.SELL
        ticks = touch(self.view, taken, self.instrument)
        return None if ticks is None else self.instrument.price(ticks)
