"""Changing a resting order in place: the gate judges the change as it judges an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import msgspec

from runner.engine.codes import Refusal
from runner.engine.commands import Amend
from runner.engine.gate import Proposal

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.engine.order import Order
    from runner.spec.rule_plan import RulePlan


@dataclass(slots=True)
class Change:
    """What an order is to become: whole quantity in lots, limit in ticks."""

    rule: RulePlan
    order: Order
    lots: int
    ticks: int
    streams: Sequence[str] = ()
    mid: float = nan
    """of reductions: the mid at the decision"""
    worst: float = 0.0
    commanded: bool = False


def can_amend(desk: Desk, order: Order) -> bool:
    """Whether the order's exchange changes orders in place."""
    return desk.plan.exchanges[order.intent.exchange].amends


def amend(desk: Desk, change: Change) -> Refusal | None:
    """Let the gate judge a change; when it approves, count it, journal it and send it."""
    order, rule = change.order, change.rule
    instrument = desk.instruments[order.intent.market]
    streams = desk.rules.streams
    intent = msgspec.structs.replace(
        order.intent,
        revision=order.revision + 1,
        lots=change.lots,
        ticks=change.ticks,
        qty_text=instrument.qty_text(change.lots),
        price_text=instrument.price_text(change.ticks),
        t=desk.now,
        wall=desk.wall,
        refs=tuple((key, streams[key].seq, streams[key].age(desk.now)) for key in change.streams),
    )
    verdict = desk.gate.judge(
        Proposal(
            rule=rule,
            purpose=intent.purpose,
            intents=[intent],
            prices=[change.ticks * instrument.tick_f],
            parents=[change.lots],
            streams=change.streams,
            mids=[change.mid],
            worst=change.worst,
            commanded=change.commanded,
            continues=True,
            amends=order,
        )
    )
    if isinstance(verdict, Refusal):
        return verdict
    (approved,) = verdict
    desk.orders.amend(order, approved.intent)
    desk.rules.touch(rule.name)
    desk.rules.flush()
    desk.emit(Amend(order=approved))
    return None
