"""Checks 7 to 9 and 13 to 16 of the gate: is this order itself sane, alone and among ours?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.base.units import format_duration, format_ratio
from runner.engine.codes import Refusal, Why
from runner.engine.commands import OrderType, Purpose
from runner.engine.gate import DEFAULT_OPEN_ORDERS
from runner.engine.sizing import misfit
from runner.market.instruments import Side

if TYPE_CHECKING:
    from collections import deque

    from runner.engine.gate import Check, Gate, Proposal
    from runner.spec.parts import Rate
    from runner.spec.rule_plan import RulePlan

# Bound once: looking a member up on its class costs more than comparing with it.
_LIMIT: Final = OrderType.LIMIT
_ENTRY: Final = Purpose.ENTRY
_PROTECT: Final = Purpose.PROTECT
TOLERANCE: Final = 1e-9


def exchange_rules(gate: Gate, p: Proposal) -> Refusal | None:
    """7: on the grid, and between the exchange's minimum and maximum."""
    for i, intent in enumerate(p.intents):
        if intent.type is _LIMIT and intent.ticks <= 0:
            return Refusal(Why.TICK, f"a limit of {intent.ticks} ticks ({intent.market})")
        listed = gate.desk.markets[intent.market]
        small = misfit(listed, intent.lots, p.prices[i], intent.reduce_only)
        if small is not None:
            return small
    return None


def collar(gate: Gate, p: Proposal) -> Refusal | None:
    """8: not too far past the mid, now and over the last seconds (R-07)."""
    for i, reduces in enumerate(p.reduces):
        refusal = (_within_worst if reduces else _within_collar)(gate, p, i)
        if refusal is not None:
            return refusal
    return None


def max_order(gate: Gate, p: Proposal) -> Refusal | None:
    """9: the largest single order."""
    for i, intent in enumerate(p.intents):
        if p.reduces[i]:
            continue
        limit = gate.max_order.get(intent.market, gate.max_order_all)
        if limit is None:
            continue
        instrument = gate.desk.instruments[intent.market]
        base = p.live(i) * instrument.lot_base_f
        value = base if limit.unit == instrument.base else base * p.prices[i]
        if not value <= limit.most:
            unit = limit.unit
            text = f"max_order ({intent.market}): {value:.8g} {unit} / {limit.value} {unit}"
            return Refusal(Why.MAX_ORDER, text)
    return None


def max_open_orders(gate: Gate, p: Proposal) -> Refusal | None:
    """13: unsettled orders per market."""
    if p.amends is not None:
        return None
    added: dict[str, int] = {}
    for intent, reduces in zip(p.intents, p.reduces, strict=True):
        if reduces:
            continue
        market = intent.market
        added[market] = added.get(market, 0) + 1
        limit = gate.risk.max_open_orders.get(market, DEFAULT_OPEN_ORDERS)
        count = len(gate.desk.orders.working(market)) + added[market]
        if count > limit:
            return Refusal(Why.MAX_OPEN_ORDERS, f"max_open_orders.{market}: {count} / {limit}")
    return None


def self_cross(gate: Gate, p: Proposal) -> Refusal | None:
    """14: never against an own order that may rest; a stop or target waits, and must stand."""
    if p.purpose is _PROTECT:
        return None
    for i, intent in enumerate(p.intents):
        for order in gate.desk.orders.working(intent.market, intent.side.opposite):
            other = order.intent
            if intent.ticks and all(order.prices):
                if intent.side is Side.BUY and intent.ticks < min(order.prices):
                    continue
                if intent.side is Side.SELL and intent.ticks > max(order.prices):
                    continue
            text = (
                f"{intent.side} {intent.market} at {p.prices[i]:.10g} meets own order {other.cid}"
            )
            return Refusal(Why.SELF_CROSS, text)
    return None


def same_order(gate: Gate, p: Proposal) -> Refusal | None:
    """15: the same order again within moments is a mistake."""
    if p.amends is not None:
        return None
    window = gate.risk.same_order_within_ns
    now = gate.desk.now
    for intent, reduces in zip(p.intents, p.reduces, strict=True):
        if reduces:
            continue
        before = gate.recent.get((intent.market, intent.side, intent.lots, intent.ticks))
        if before is not None and now - before < window:
            text = f"same order {(now - before) // 1000}us before / {format_duration(window)}"
            return Refusal(Why.SAME_ORDER, text)
    return None


def order_rate(gate: Gate, p: Proposal) -> Refusal | None:
    """16: entries of the run and firings of the rule in their windows (R-13)."""
    if p.purpose is not _ENTRY:
        return None
    now = gate.desk.now
    rate = gate.risk.max_orders
    if rate is not None:
        count = _count(gate.entries, now, rate) + len(p.intents)
        if count > rate.count:
            text = f"max_orders: {count} / {rate.count} per {format_duration(rate.per_ns)}"
            return Refusal(Why.MAX_ORDERS, text)
    return None if p.continues else firing(gate, p.rule)


def firing(gate: Gate, rule: RulePlan) -> Refusal | None:
    """Whether a rule may fire once more (R-13)."""
    rate = rule.max_firings
    fired = _count(gate.firings[rule.name], gate.desk.now, rate) + 1
    if fired > rate.count:
        text = f"max_firings: {fired} / {rate.count} per {format_duration(rate.per_ns)}"
        return Refusal(Why.MAX_FIRINGS, text)
    return None


def _within_collar(gate: Gate, p: Proposal, i: int) -> Refusal | None:
    intent, price = p.intents[i], p.prices[i]
    mid = gate.desk.markets[intent.market].mid()
    if mid != mid or price != price:
        return Refusal(Why.NO_REFERENCE, f"no live price of {intent.market} to judge by")
    limit = gate.risk.price_collar
    past = (price / mid - 1) * intent.side.sign
    if not past <= limit * (1 + TOLERANCE):
        text = f"price_collar ({intent.market}): {format_ratio(past)} / {format_ratio(limit)}"
        return Refusal(Why.COLLAR, text)
    anchor = gate.anchors.get(intent.market, (mid, mid))[0]
    walked = abs(mid / anchor - 1) if anchor == anchor else 0.0
    if walked > limit * (1 + TOLERANCE):
        text = f"{intent.market} moved {format_ratio(walked)} in 10s / {format_ratio(limit)}"
        return Refusal(Why.PRICE_WALK, text)
    return None


def _within_worst(gate: Gate, p: Proposal, i: int) -> Refusal | None:
    intent = p.intents[i]
    if not intent.ticks:
        return None
    mid = p.mids[i]
    if mid != mid:
        return Refusal(Why.NO_REFERENCE, f"no price of {intent.market} to judge by")
    tick = gate.desk.instruments[intent.market].tick_f
    past = (p.prices[i] - mid) * intent.side.sign
    if not past <= p.worst * mid + tick:
        text = f"worst ({intent.market}): {format_ratio(past / mid)} / {format_ratio(p.worst)}"
        return Refusal(Why.COLLAR, text)
    return None


def _count(times: deque[int], now: int, rate: Rate) -> int:
    while times and now - times[0] >= rate.per_ns:
        times.popleft()
    return len(times)


BEFORE_POSITION: Final[tuple[Check, ...]] = (exchange_rules, collar, max_order)
PATTERNS: Final[tuple[Check, ...]] = (max_open_orders, self_cross, same_order, order_rate)
