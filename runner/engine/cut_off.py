"""An exchange that takes no orders of ours: what rests there, and the legs that it holds.

Theory of operation. Whatever keeps it from us (a refused key, an outage), the run is REDUCING and
all entries are cancelled, those on other exchanges with success. There nothing may come of it:

    what rests may fill on       a person is told at once what that is and what ends it; the
                                 dead-man switch is left to run out, where there is one
    a fill of it is heard of     its legs elsewhere follow, as if nothing were wrong: they cannot be
                                 trimmed there, and complete is the only way to be even
    it lasts                     a person is told: of an outage at once where something is open or
                                 rests there, of a lost stream or a slow return after `LASTS`
    it comes back                everything of which the end is wanted is asked about, and cancelled
                                 again where it still stands (`worldflow`)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from runner.engine.commands import Topic
from runner.engine.events import Readiness
from runner.engine.timers import SECOND

if TYPE_CHECKING:
    from runner.engine.accounts import Venue
    from runner.engine.desk import Desk
    from runner.engine.order import Order
    from runner.engine.trade import Leg, Trade

LASTS: Final = 60 * SECOND
_GONE: Final = frozenset({Readiness.DOWN, Readiness.MAINTENANCE})
NAMED: Final = 3
"""orders that are told one by one"""


def cut_off(desk: Desk, trade: Trade, behind: Sequence[Leg]) -> bool:
    """Whether what is ahead of these legs is where no orders are taken: it cannot be trimmed."""
    known = {leg.index for leg in behind}
    ahead = [leg for leg in trade.legs if leg.index not in known]
    return bool(ahead) and not any(desk.venue_of(leg.market).takes_orders for leg in ahead)


def tell(desk: Desk, venue: Venue) -> None:
    """An exchange that was ready is not: tell what must be known at once, look again later."""
    if venue.state is Readiness.FROZEN:
        text = f"{venue.name} is frozen: {venue.reason}"
        desk.tell("page", text + _resting(desk, venue), Topic.AUTH)
        venue.outage_told = venue.ready_at
    elif venue.state in _GONE and venue.outage_told != venue.ready_at and _concerned(desk, venue):
        _tell(desk, venue, f"{venue.state}: {venue.reason}")
    else:
        due = max(venue.ready_at + LASTS, desk.now)
        desk.timers.at(due, _lasts, (desk, venue, venue.ready_at))


def _lasts(subject: tuple[Desk, Venue, int]) -> None:
    desk, venue, since = subject
    gone = venue.state is not Readiness.READY and venue.ready_at == since
    if gone and venue.outage_told != since and _concerned(desk, venue):
        _tell(desk, venue, f"{venue.state} for {LASTS // SECOND}s: {venue.reason}")


def _tell(desk: Desk, venue: Venue, what: str) -> None:
    venue.outage_told = venue.ready_at
    text = f"{venue.name} is {what}".rstrip(": ")
    desk.tell("page", text + _resting(desk, venue), Topic.MARKET)


def _concerned(desk: Desk, venue: Venue) -> bool:
    """Whether something is held, or an order of ours may be, at an exchange."""
    if any(True for _ in desk.orders.unsettled(venue.name)):
        return True
    markets = (ledger.market for ledger in desk.ledgers if ledger.lots)
    return any(desk.venue_of(market) is venue for market in markets)


def _resting(desk: Desk, venue: Venue) -> str:
    """Say what rests there all the same, and what ends it."""
    resting = [
        order
        for order in desk.orders.open.values()
        if order.intent.exchange == venue.name and not order.immediate and not order.terminal
    ]
    if not resting:
        return ""
    named = ", ".join(_named(desk, order) for order in resting[:NAMED])
    more = f" and {len(resting) - NAMED} more" if len(resting) > NAMED else ""
    return f"; our cancels may not reach it: {named}{more} may still fill{_end(desk, venue)}"


def _named(desk: Desk, order: Order) -> str:
    instrument = desk.instruments[order.intent.market]
    base = f"{order.open_lots * instrument.lot_base_f:.8g} {instrument.base}"
    price = instrument.price_text(order.ticks)
    return f"{order.intent.side} {base} of {order.intent.market} at {price}"


def _end(desk: Desk, venue: Venue) -> str:
    dead_man = desk.plan.exchanges[venue.name].dead_man_ns
    if dead_man is None:
        return " until cancelled there by hand"
    return f" until the dead-man switch runs out, within {dead_man // SECOND}s"
