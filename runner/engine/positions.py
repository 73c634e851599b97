"""What an exchange says that we hold, and whether it covers an exit.

Its word and our fills travel on different roads: a word that is not a good while younger than our
last fill on the market says nothing, and the ledgers stand in for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.engine.accounts import GRACE
from runner.engine.codes import Why
from runner.engine.commands import Purpose
from runner.engine.ledger import EPSILON
from runner.engine.sizing import misfit

if TYPE_CHECKING:
    from runner.engine.codes import Refusal
    from runner.engine.desk import Desk
    from runner.engine.trade import Leg
    from runner.market.instruments import Side


def told(desk: Desk, market: str) -> int | None:
    """Return the exchange's position in lots, None while its word is older than our last fill."""
    held = desk.venue_of(market).position(desk.markets[market].instrument.symbol)
    filled = desk.rules.last_fill.get(market)
    if held is None or (filled is not None and held.at < filled + GRACE):
        return None
    return held.lots


def base_free(desk: Desk, market: str) -> int | None:
    """Return the lots of a spot market's base that are free; None while that word is too old."""
    venue, filled = desk.venue_of(market), desk.rules.last_fill.get(market)
    instrument = desk.markets[market].instrument
    free = venue.available(instrument.base)
    if free is None or (filled is not None and venue.told_at < filled + GRACE):
        return None
    return int(free / instrument.lot_base_f + EPSILON)


def position_now(desk: Desk, market: str) -> int:
    """Return the position at the exchange in lots: its own word, else what it should be."""
    held = told(desk, market)
    return held if held is not None else desk.ledgers.expected(market)


def covered(desk: Desk, leg: Leg, lots: int) -> bool:
    """Whether the exchange's position covers a reduction of a leg by `lots`."""
    if not leg.listed.perpetual:
        return False
    direction = 1 if leg.ledger.lots > 0 else -1
    return position_now(desk, leg.market) * direction >= lots


def exit_misfit(desk: Desk, leg: Leg, lots: int, price: float) -> Refusal | None:
    """Return why the exchange would not take a reduction of a leg by `lots` in one order."""
    return misfit(leg.listed, lots, price, covered(desk, leg, lots))


def too_little(desk: Desk, leg: Leg, lots: int) -> bool:
    """Whether `lots` of a leg are less than the exchange trades; too many go in several orders."""
    no = exit_misfit(desk, leg, lots, leg.listed.last_mid())
    return no is not None and no.code is not Why.MAX_QTY


def room_for_exit(desk: Desk, market: str, side: Side, *, waits: bool = False) -> int:
    """Return by how many lots an order of `side` may still reduce, exits in flight counted.

    `waits`: a stop or target, which stands beside them.
    """
    if waits:
        return -position_now(desk, market) * side.sign
    flying = sum(
        order.open_lots
        for order in desk.orders.working(market, side)
        if order.intent.purpose is not Purpose.ENTRY
    )
    return -position_now(desk, market) * side.sign - flying


def shared(desk: Desk, leg: Leg) -> bool:
    """Whether others hold a leg's side of its market, or are about to.

    Reduce-only binds their sum then, not each of them.
    """
    market, own, sign = leg.market, leg.ledger, 1 if leg.ledger.lots > 0 else -1
    if desk.ledgers.external.get(market, 0) * sign > 0:
        return True
    if any(x.lots * sign > 0 for x in desk.ledgers.by_market.get(market, ()) if x is not own):
        return True
    return any(
        order.intent.purpose is Purpose.ENTRY and order.intent.rule != own.rule
        for order in desk.orders.working(market, leg.side)
    )
