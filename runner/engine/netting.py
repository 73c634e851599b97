"""Netting: two trades that an accident has turned against each other, settled by no order.

Theory of operation. Trades of opposite sides exclude each other on a market. Where both sides are
there all the same, an order that closed one position has eaten another's: its own ledger is turned
round, and the exchange has nothing left that either could close. When the trade leaves, what it
holds and what the other holds are booked against each other at the live mid, once the exchange's
position is what the ledgers say and nothing of the other is in flight. Then the other follows as
after any change from outside (`setbacks`). What a rule of the verb `order` bought is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.engine.positions import position_now
from runner.engine.setbacks import book_out, moved_outside

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.engine.ledger import Ledger
    from runner.engine.rule import RuleRun
    from runner.engine.trade import Trade


def net_out(desk: Desk, run: RuleRun, trade: Trade) -> bool:
    """Settle what a trade holds against others' opposite position; whether anything was."""
    found = False
    for leg in trade.legs:
        own, price = leg.ledger, leg.listed.mid()
        agrees = position_now(desk, leg.market) == desk.ledgers.expected(leg.market)
        if run.plan.net or price != price or not leg.listed.perpetual or not agrees:
            continue
        for other in _opposite(desk, own):
            lots = min(abs(own.lots), abs(other.lots)) * (1 if own.lots > 0 else -1)
            book_out(desk, own, -lots, price, "netted")
            book_out(desk, other, lots, price, "netted")
            text = f"netted {leg.market} against {own.rule}"
            moved_outside(desk, desk.rules.runs[other.rule], text)
            found = True
            if not own.lots:
                break
    if found:
        desk.limits.evaluate()
    return found


def _opposite(desk: Desk, own: Ledger) -> list[Ledger]:
    """Return the ledgers against which one can be settled: one of the two is turned round."""
    return [
        ledger
        for ledger in desk.ledgers.by_market.get(own.market, ())
        if ledger.lots * own.lots < 0
        and (_turned(desk, own) or _turned(desk, ledger))
        and desk.plan.rules[ledger.rule].trade is not None
        and not desk.plan.rules[ledger.rule].net
        and not desk.rules.groups.unsettled(desk.rules.runs[ledger.rule])
    ]


def _turned(desk: Desk, ledger: Ledger) -> bool:
    """Whether a ledger holds the other side of what its rule trades."""
    legs = desk.plan.rules[ledger.rule].legs
    return any(x.market == ledger.market and x.side.sign * ledger.lots < 0 for x in legs)
