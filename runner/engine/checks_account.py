"""What accounts and the whole strategy can bear: leverage, free margin, open trades, spending.

Parts of the gate's checks 11, 12, 13 and 16. Working and unknown orders count at full size, as
everywhere in the gate; an equity that is not known refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from runner.base.units import format_ratio
from runner.engine import checks_order, checks_risk
from runner.engine.checks_risk import may_need, need, worst_lots
from runner.engine.codes import Refusal, Why
from runner.engine.commands import Purpose
from runner.engine.rule import HOLDING
from runner.engine.spending import is_purchase, under_way
from runner.market.instruments import Side

if TYPE_CHECKING:
    from runner.engine.gate import Check, Gate, Proposal
    from runner.spec.risk_plan import RiskPlan

TOLERANCE: Final = 1e-9


def max_leverage(gate: Gate, p: Proposal) -> Refusal | None:
    """11: the worst exposure of an exchange's perpetuals over its equity."""
    limits = gate.risk.max_leverage
    if not limits or not p.adds_risk:
        return None
    for exchange in _margined(gate, p):
        limit = limits.get(exchange)
        if limit is None:
            continue
        equity = gate.desk.venues[exchange].cell.equity
        if not equity > 0:
            return Refusal(Why.EQUITY_UNKNOWN, f"max_leverage: the equity of {exchange} is unknown")
        leverage = _exposure(gate, p, exchange) / equity
        if not leverage <= limit * (1 + TOLERANCE):
            text = f"max_leverage.{exchange}: {leverage:.4g} / {limit:g}"
            return Refusal(Why.MAX_LEVERAGE, text)
    return None


def min_free_margin(gate: Gate, p: Proposal) -> Refusal | None:
    """12: what is left free of an exchange's equity when all that may be needed is taken."""
    limit = gate.risk.min_free_margin
    if limit is None or not p.adds_risk:
        return None
    for exchange in _margined(gate, p):
        venue = gate.desk.venues[exchange]
        equity = venue.cell.equity
        if not equity > 0:
            text = f"min_free_margin: the equity of {exchange} is unknown"
            return Refusal(Why.EQUITY_UNKNOWN, text)
        for asset, needed in _needed(gate, p, exchange).items():
            free = venue.available(asset)
            if free is None:
                return Refusal(Why.BALANCE_UNKNOWN, f"{exchange} never told a balance of {asset}")
            share = (free - needed) / equity
            if not share >= limit * (1 - TOLERANCE):
                text = (
                    f"min_free_margin ({exchange}): {format_ratio(share)} / {format_ratio(limit)}"
                )
                return Refusal(Why.MIN_FREE_MARGIN, text)
    return None


def max_open_trades(gate: Gate, p: Proposal) -> Refusal | None:
    """13: trades that are entering, held or leaving, this one among them."""
    limit = gate.risk.max_open_trades
    if limit is None or p.purpose is not Purpose.ENTRY or p.rule.trade is None:
        return None
    count = 1 + sum(
        run.plan.trade is not None and run.state in HOLDING and run.plan.name != p.rule.name
        for run in gate.desk.rules.runs.values()
    )
    if count > limit:
        return Refusal(Why.MAX_OPEN_TRADES, f"max_open_trades: {count} / {limit}")
    return None


def max_spend(gate: Gate, p: Proposal) -> Refusal | None:
    """16: what purchases on spot have cost and may cost."""
    plan, desk = gate.risk.max_spend, gate.desk
    if plan is None:
        return None
    wanted = sum(
        need(desk, intent, p.prices[i])[1] * p.part(i)
        for i, intent in enumerate(p.intents)
        if is_purchase(desk, intent)
    )
    if wanted == 0:
        return None
    total = desk.spending.total(desk.wall) + under_way(desk) + wanted
    if not total <= float(plan.amount.value) * (1 + TOLERANCE):
        unit = plan.amount.unit
        return Refusal(Why.MAX_SPEND, f"max_spend: {total:.8g} {unit} / {plan.amount.value} {unit}")
    return None


def _margined(gate: Gate, p: Proposal) -> Iterator[str]:
    """Yield the exchanges on which a proposal adds to perpetual positions."""
    seen: dict[str, None] = {}
    for intent, reduces in zip(p.intents, p.reduces, strict=True):
        if not reduces and gate.desk.markets[intent.market].perpetual:
            seen[intent.exchange] = None
    yield from seen


def _exposure(gate: Gate, p: Proposal, exchange: str) -> float:
    """Return the sum of an exchange's perpetual positions at their worst, others' included."""
    desk, total = gate.desk, 0.0
    for name, listed in desk.markets.items():
        if listed.plan.exchange != exchange or not listed.perpetual:
            continue
        high, low = worst_lots(desk, name)
        for i, (intent, reduces) in enumerate(zip(p.intents, p.reduces, strict=True)):
            if intent.market == name and not reduces:
                high += p.added(i) if intent.side is Side.BUY else 0
                low -= p.added(i) if intent.side is Side.SELL else 0
        others = desk.ledgers.external.get(name, 0)
        lots = max(abs(high + others), abs(low + others))
        if lots:
            total += lots * listed.instrument.lot_base_f * listed.last_mid()
    return total


def _needed(gate: Gate, p: Proposal, exchange: str) -> dict[str, float]:
    """Return the margin that a proposal and what is in flight may take, by asset."""
    desk = gate.desk
    needed: dict[str, float] = {}
    for order in desk.orders.open.values():
        intent = order.intent
        if intent.exchange == exchange and intent.purpose is not Purpose.CLOSE:
            asset, amount = may_need(desk, order)
            needed[asset] = needed.get(asset, 0.0) + amount
    for i, intent in enumerate(p.intents):
        if intent.exchange == exchange and not p.reduces[i]:
            asset, amount = need(desk, intent, p.prices[i])
            needed[asset] = needed.get(asset, 0.0) + amount * p.part(i)
    return needed


def beside(risk: RiskPlan) -> dict[Check, tuple[Check, ...]]:
    """Return the checks of the limits that are written, by the check that each follows."""
    found: dict[Check, tuple[Check, ...]] = {}
    if risk.max_leverage:
        found[checks_risk.max_exposure] = (max_leverage,)
    if risk.min_free_margin is not None:
        found[checks_risk.balance] = (min_free_margin,)
    if risk.max_open_trades is not None:
        found[checks_order.max_open_orders] = (max_open_trades,)
    if risk.max_spend is not None:
        found[checks_order.order_rate] = (max_spend,)
    return found
