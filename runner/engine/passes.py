"""A pass: orders that are judged together, journaled in one commit and sent in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from runner.engine.codes import Refusal
from runner.engine.commands import Intent, OrderType, Purpose, Send, Trigger
from runner.engine.desk import Desk
from runner.engine.gate import Proposal
from runner.engine.sizing import Draft
from runner.engine.timers import SECOND
from runner.market.instruments import Kind
from runner.spec.rule_plan import RulePlan

ENTRY_WINDOW = 1 * SECOND
"""receive window of entries: "never arrived" is known soon (trading.md, section 2)"""


class Pass(msgspec.Struct, gc=False):
    """What is wanted, before the gate."""

    rule: RulePlan
    purpose: Purpose
    drafts: Sequence[Draft]
    parents: Sequence[int]
    attempt: int
    streams: Sequence[str] = ()
    mids: Sequence[float] = ()
    worst: float = 0.0
    cover: Sequence[bool] = ()
    """per draft: the exchange's position covers it, so it can be reduce-only"""
    commanded: bool = False
    continues: bool = False
    """a further order of a trade that was approved before"""
    rehearsed: bool = False
    """its group was judged by its planned end (`rehearse`)"""
    evens: bool = False
    """it completes what cannot be trimmed: the other exchange takes no orders"""
    trigger: Trigger = Trigger.MARK
    """which price sets a stop or a target off"""


def rehearse(desk: Desk, wanted: Pass) -> Refusal | None:
    """Ask the gate whether positions and money would bear a pass that is not sent as a whole."""
    return desk.gate.rehearse(_proposal(desk, wanted))


def drill(desk: Desk, wanted: Pass) -> None:
    """Walk the way of a pass through the gate, for the walk's sake: nothing is approved."""
    desk.gate.refusal(_proposal(desk, wanted))


def send(
    desk: Desk, wanted: Pass, approved_now: Callable[[], None] | None = None
) -> Refusal | None:
    """Let the gate judge a pass; when it approves, count it, journal it and send it.

    `approved_now` runs between the approval and the journal rows, so that these hold its effect.
    """
    verdict = desk.gate.judge(_proposal(desk, wanted))
    if isinstance(verdict, Refusal):
        return verdict
    desk.ordinal += 1
    for approved in verdict:
        desk.orders.add(approved.intent)
    if approved_now is not None:
        approved_now()
    desk.rules.touch(wanted.rule.name)
    desk.rules.flush()
    desk.emit(Send(group=desk.ordinal, orders=verdict))
    desk.rules.counted = True
    return None


def _proposal(desk: Desk, wanted: Pass) -> Proposal:
    return Proposal(
        rule=wanted.rule,
        purpose=wanted.purpose,
        intents=[_intent(desk, wanted, i) for i in range(len(wanted.drafts))],
        prices=[d.price for d in wanted.drafts],
        parents=wanted.parents,
        streams=wanted.streams,
        mids=wanted.mids,
        worst=wanted.worst,
        commanded=wanted.commanded,
        continues=wanted.continues,
        rehearsed=wanted.rehearsed,
        evens=wanted.evens,
    )


def _intent(desk: Desk, wanted: Pass, i: int) -> Intent:
    draft = wanted.drafts[i]
    listed = desk.markets[draft.market]
    instrument = listed.instrument
    entry = wanted.purpose is Purpose.ENTRY
    exchange = desk.plan.exchanges[listed.plan.exchange]
    priced = draft.type is OrderType.LIMIT
    waits = draft.type is OrderType.STOP or draft.type is OrderType.TARGET
    if entry:
        reduce_only = wanted.rule.order is not None and wanted.rule.order.reduce_only
    else:
        reduce_only = bool(wanted.cover) and wanted.cover[i]
    return Intent(
        cid=desk.cid(exchange.name, draft.leg, wanted.attempt),
        rule=wanted.rule.name,
        group=desk.ordinal + 1,
        leg=draft.leg,
        attempt=wanted.attempt,
        purpose=wanted.purpose,
        exchange=exchange.name,
        market=draft.market,
        symbol=instrument.symbol,
        side=draft.side,
        type=draft.type,
        tif=draft.tif,
        lots=draft.lots,
        ticks=draft.ticks,
        qty_text=instrument.qty_text(draft.lots),
        price_text=instrument.price_text(draft.ticks) if priced else "",
        reduce_only=reduce_only and instrument.kind is Kind.PERPETUAL,
        window_ns=ENTRY_WINDOW if entry else exchange.recv_window_ns,
        t=desk.now,
        wall=desk.wall,
        refs=_refs(desk, wanted.streams),
        trigger_ticks=draft.trigger,
        trigger_text=instrument.price_text(draft.trigger) if waits else "",
        trigger=wanted.trigger,
    )


def _refs(desk: Desk, keys: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    streams, now = desk.rules.streams, desk.now
    return tuple([(key, (s := streams[key]).seq, s.age(now)) for key in keys])
