"""How many stops and targets may still stand on a symbol: an exchange takes only so many.

One that is refused for their number would leave a trade without it, so an entry that would need
more than there is room for is not sent. An open trade counts with all that it was entered with,
standing or not yet, or lost; what has not ended yet counts with it. Entries leave a place free, in
which one that is too large is replaced before it is cancelled. What others have there counts as the
last picture of the account showed it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from runner.engine.codes import Refusal, Why
from runner.spec.market_plan import CONDITIONAL_ORDERS, SPARE_CONDITIONAL

if TYPE_CHECKING:
    from runner.engine.desk import Desk


def no_room(desk: Desk, market: str, more: int) -> Refusal | None:
    """Return why an entry cannot have `more` stops and targets on a market; None when it can."""
    most = _most(desk, market)
    if most is None or not more:
        return None
    there, limit = taken(desk, market), most - SPARE_CONDITIONAL
    if there + more <= limit:
        return None
    symbol = desk.markets[market].instrument.symbol
    return Refusal(Why.STOP_ROOM, f"stops and targets of {symbol}: {there + more} / {limit}")


def full(desk: Desk, market: str) -> bool:
    """Whether not one more may be placed beside what stands, or has to."""
    most = _most(desk, market)
    return most is not None and taken(desk, market) >= most


def taken(desk: Desk, market: str) -> int:
    """Return the places that are taken on a market, by others too, or owed to an open trade."""
    places = Counter(
        o.intent.rule for o in desk.orders.guards.values() if o.intent.market == market
    )
    for name, run in desk.rules.runs.items():
        trade = run.trade
        if trade is not None and trade.guards and trade.legs[0].market == market:
            places[name] = max(places[name], len(trade.guards))
    symbol = desk.markets[market].instrument.symbol
    return places.total() + desk.venue_of(market).others_wait.get(symbol, 0)


def _most(desk: Desk, market: str) -> int | None:
    exchange = desk.plan.exchanges[desk.markets[market].plan.exchange]
    return CONDITIONAL_ORDERS.get(exchange.type)
