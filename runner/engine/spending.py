"""What purchases on spot have cost within a time (`max_spend`; trading.md, section 5).

An order counts from its approval on, at its limit and with its fee, until it is settled; what was
filled counts at what it really cost until `per` is over. By the wall clock, because the time goes
on while no process runs. Each rule's part is in its journal row, beside the orders whose fills it
counts, so that the two can never disagree after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from runner.engine.checks_risk import may_need
from runner.engine.commands import Intent, Purpose
from runner.engine.events import Fill
from runner.market.instruments import Kind, Side
from runner.spec.risk_plan import Spend

if TYPE_CHECKING:
    from runner.engine.desk import Desk

GRAINS: Final = 128
"""purchases within this part of `per` are kept as one, of its last moment"""

Bought = list[float]
"""[first wall ns, last wall ns, cost in quote]"""


class Spending:
    """What each rule has bought, as far back as the limit looks."""

    def __init__(self, plan: Spend | None) -> None:
        self._per = plan.per_ns if plan is not None else 0
        self._by: dict[str, list[Bought]] = {}

    def book(self, desk: Desk, intent: Intent, fill: Fill) -> None:
        """Count a fill of a purchase."""
        if not self._per or not is_purchase(desk, intent):
            return
        instrument = desk.instruments[intent.market]
        cost = fill.lots * instrument.lot_base_f * fill.price
        if fill.fee is None:
            cost *= 1 + (instrument.fees.maker if fill.maker else instrument.fees.taker)
        elif fill.fee_asset in ("", instrument.quote):
            cost += fill.fee
        rows = self._by.setdefault(intent.rule, [])
        while rows and desk.wall - rows[0][1] >= self._per:
            del rows[0]
        if rows and desk.wall - rows[-1][0] < self._per // GRAINS:
            rows[-1][1:] = [desk.wall, rows[-1][2] + cost]
        else:
            rows.append([desk.wall, desk.wall, cost])

    def total(self, wall: int) -> float:
        """Return what all rules have spent within the time that ends now."""
        return sum(
            row[2] for rows in self._by.values() for row in rows if wall - row[1] < self._per
        )

    def saved(self, rule: str) -> list[Bought]:
        """Return a rule's part for its journal row."""
        return self._by.get(rule, [])

    def restore(self, rule: str, rows: Iterable[Bought]) -> None:
        """Take back a rule's part; a file without the limit forgets it."""
        if self._per and rows:
            self._by[rule] = [list(row) for row in rows]


def is_purchase(desk: Desk, intent: Intent) -> bool:
    """Whether an order is a purchase of the verb `order` on spot."""
    return (
        intent.side is Side.BUY
        and intent.purpose is Purpose.ENTRY
        and desk.plan.rules[intent.rule].order is not None
        and desk.instruments[intent.market].kind is Kind.SPOT
    )


def under_way(desk: Desk) -> float:
    """Return what unsettled purchases may still cost."""
    return sum(
        may_need(desk, order)[1]
        for order in desk.orders.open.values()
        if order.open_lots and is_purchase(desk, order.intent)
    )
