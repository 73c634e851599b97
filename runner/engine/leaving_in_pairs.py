"""The other legs of a close that rests: they follow each fill of the first, at once.

Theory of operation. The first leg rests (`leaving_at_rest`); whatever another holds beyond the
share that is left of the first is closed in the same pass as the fill is heard of: at the far touch
plus collar, which grows with each try that was not filled, up to `worst` (then `then`). Until all
of it has gone, or is on its way and known, nothing more of the first rests, and the close does not
begin to take either: that would part the legs further (R-76). What does not follow within
`repair_within` is told. Legs that something else has parted are taken all, as by any close.

Under the operator's halt nothing rests, and what has not followed yet still follows: a gap is
closed, positions are kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from runner.engine.commands import Purpose, Topic
from runner.engine.limits import Mode
from runner.engine.order import Order, OrderState
from runner.engine.trade import EPSILON, Leaving, Leg, Trade

if TYPE_CHECKING:
    from runner.engine.closing import Closing, Offer
    from runner.engine.desk import Desk
    from runner.engine.rule import RuleRun

LEAD: Final = 0
"""the leg that rests"""


class Partners:
    """The legs that follow, of all rules."""

    def __init__(self, desk: Desk, closing: Closing) -> None:
        self.desk = desk
        self.closing = closing

    def follow(self, run: RuleRun, trade: Trade, leaving: Leaving, orders: list[Order]) -> bool:
        """Send what the others lack; whether a further fill of the first could be followed."""
        if len(trade.legs) == 1:
            return True
        lacking = self._lacking(trade, orders)
        if not lacking:
            if not any(o.immediate for o in orders):
                _even(leaving)
            return all(self._could(leg) for leg in _others(trade)) and not _doubtful(orders)
        self._tell_late(run, trade, leaving, lacking)
        if self.desk.now < max(leaving.follow_at, trade.refused_until):
            return False
        return self._send(run, trade, leaving, lacking)

    def even(self, leaving: Leaving, orders: list[Order]) -> bool:
        """Whether all has followed, and nothing is on its way."""
        return leaving.apart_since < 0 and not any(o.immediate for o in orders)

    def parted(self, trade: Trade, leaving: Leaving, orders: list[Order]) -> bool:
        """Whether something else than the exit has parted the legs."""
        return self.even(leaving, orders) and not trade.within_gap()

    def _tell_late(
        self, run: RuleRun, trade: Trade, leaving: Leaving, lacking: list[tuple[Leg, int]]
    ) -> None:
        since = leaving.apart_since
        if since < 0 or leaving.stuck_told or self.desk.now - since < trade.repair_within:
            return
        leaving.stuck_told = True
        what = ", ".join(
            f"{leg.base(lots):.8g} {leg.listed.instrument.base} of {leg.market}"
            for leg, lots in lacking
        )
        why = f": {leaving.refusal}" if leaving.refusal else ""
        text = f"{run.plan.name}: {what} did not follow its exit; going on{why}"
        self.desk.tell("page", text, Topic.UNHEDGED)

    def missed(self, trade: Trade, leaving: Leaving, order: Order) -> None:
        """An order that follows has ended: what it did not fill is tried again after a moment."""
        if order.state is OrderState.FILLED:
            _even(leaving)
        elif order.terminal:
            leaving.tries += 1
            self._wait(trade, leaving)

    def _wait(self, trade: Trade, leaving: Leaving) -> None:
        """Something does not follow: the clock of `repair_within` runs."""
        leaving.follow_at = self.desk.now + self.closing.retry(trade)
        if leaving.apart_since < 0:
            leaving.apart_since = self.desk.now

    def _lacking(self, trade: Trade, orders: list[Order]) -> list[tuple[Leg, int]]:
        """Return the legs that hold more than their share of what is left, and how many lots."""
        share, found = trade.legs[LEAD].share, []
        for leg in _others(trade):
            flying = sum(o.open_lots for o in orders if o.intent.leg == leg.index)
            target = math.ceil(max(share, 0.0) * leg.planned - EPSILON)
            lots = min(leg.filled - target - flying, self.closing.closable(leg) - flying)
            if lots > 0 and not self.closing.residual(self.closing.offer_of(leg, lots)):
                found.append((leg, lots))
        return found

    def _send(
        self, run: RuleRun, trade: Trade, leaving: Leaving, lacking: list[tuple[Leg, int]]
    ) -> bool:
        from runner.engine.closing import Can  # the two know each other

        offers: list[Offer] = []
        for leg, lots in lacking:
            mid = leg.listed.mid()
            if mid == mid:
                leaving.mids.setdefault(leg.market, mid)
            offer = self.closing.offer_of(leg, lots)
            venue = self.desk.venue_of(leg.market)
            if venue.takes_orders:
                self.closing.price(trade, offer)
            else:
                offer.why = f"{venue.name} is {venue.state}"
            offers.append(offer)
        kept = self.desk.limits.mode is Mode.KEPT
        purpose = Purpose.REPAIR if kept else Purpose.CLOSE
        going = [offer for offer in offers if offer.can is Can.GO]
        leaving.refusal = "; ".join(o.why for o in offers if o.why)
        if going and self.closing.send(run, trade, purpose, going):
            return len(going) == len(offers)
        self._wait(trade, leaving)
        return False

    def _could(self, leg: Leg) -> bool:
        """Whether a leg could be closed at this moment."""
        touch = leg.listed.touch(leg.side.opposite)
        return touch == touch and self.desk.venue_of(leg.market).takes_orders


def _even(leaving: Leaving) -> None:
    """All that was to follow has: the next time is a fresh one."""
    leaving.apart_since, leaving.tries, leaving.follow_at = -1, 0, 0
    leaving.mids.clear()


def _others(trade: Trade) -> list[Leg]:
    return [leg for leg in trade.legs if leg.index != LEAD]


def _doubtful(orders: list[Order]) -> bool:
    return any(order.uncertain for order in orders)
