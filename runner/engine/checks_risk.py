"""Checks 10 to 12, 17 and 18 of the gate: positions at their worst, money, loss, rate budgets.

Worst case (R-03): per market and side, everything not proven terminal counts as filled.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from runner.engine.codes import Refusal, Why
from runner.engine.commands import Purpose
from runner.market.instruments import Kind, Side

if TYPE_CHECKING:
    from runner.engine.commands import Intent
    from runner.engine.desk import Desk
    from runner.engine.gate import Cap, Check, Gate, Proposal
    from runner.engine.order import Order

# Bound once: looking a member up on its class costs more than comparing with it.
_SPOT: Final = Kind.SPOT
_BUY: Final = Side.BUY
_CLOSE: Final = Purpose.CLOSE
TOLERANCE: Final = 1e-9
ENTRY_SHARE: Final = 0.8
"""of a rate budget; the rest is kept for cancels, queries and reductions (R-11)"""


def worst_lots(desk: Desk, market: str) -> tuple[int, int]:
    """Return (highest, lowest) position in lots when everything unsettled fills on one side."""
    lots = desk.ledgers.lots(market)
    high = low = lots
    for order in desk.orders.working(market):
        if order.intent.side is Side.BUY:
            high += order.open_lots
        else:
            low -= order.open_lots
    return high, low


def max_position(gate: Gate, p: Proposal) -> Refusal | None:
    """10: per market at its worst, then per base asset at the planned end."""
    desk = gate.desk
    added: dict[tuple[str, Side], int] = {}
    for i, intent in enumerate(p.intents):
        if p.reduces[i]:
            continue
        key = (intent.market, intent.side)
        added[key] = added.get(key, 0) + p.added(i)
        limit = gate.max_position.get(intent.market)
        if limit is None:
            continue
        high, low = worst_lots(desk, intent.market)
        lots = high if intent.side is _BUY else -low
        lots += added[key]
        base = lots * desk.instruments[intent.market].lot_base_f
        value = base * _in_unit(desk, intent, limit, p.prices[i])
        if not value <= limit.most:  # a NaN is over every limit
            text = (
                f"max_position.{intent.market}: {value:.8g} {limit.unit}"
                f" / {limit.value} {limit.unit}"
            )
            return Refusal(Why.MAX_POSITION, text)
    return max_net_position(gate, p) if p.adds_risk else None


def max_net_position(gate: Gate, p: Proposal) -> Refusal | None:
    """10, per base asset: groups at their planned end, all other orders at their worst."""
    if not gate.max_net:
        return None
    desk = gate.desk
    for asset in dict.fromkeys(desk.instruments[i.market].base for i in p.intents):
        limit = gate.max_net.get(asset)
        if limit is None:
            continue
        net, up, down = _net(desk, asset)
        if p.purpose is Purpose.ENTRY and not _counted(p):
            more_net, more_up, more_down = _proposed(desk, p, asset)
            net, up, down = net + more_net, up + more_up, down + more_down
        worst = max(abs(net + up), abs(net - down))
        if not worst <= limit.most + TOLERANCE:
            text = f"max_net_position.{asset}: {worst:.8g} {asset} / {limit.value} {asset}"
            return Refusal(Why.MAX_NET_POSITION, text)
    return None


def max_exposure(gate: Gate, p: Proposal) -> Refusal | None:
    """11: the sum of absolute worst positions, overall, per exchange, per asset."""
    if not gate.max_exposure or not p.adds_risk:
        return None
    desk = gate.desk
    totals: defaultdict[str, float] = defaultdict(float)
    for name, listed in desk.markets.items():
        if not listed.plan.traded:
            continue
        high, low = worst_lots(desk, name)
        for i, intent in enumerate(p.intents):
            if intent.market == name and not p.reduces[i]:
                if intent.side is Side.BUY:
                    high += p.added(i)
                else:
                    low -= p.added(i)
        lots = max(abs(high), abs(low))
        if not lots:
            continue
        value = lots * listed.instrument.lot_base_f * listed.last_mid()
        for where in ("all", listed.plan.exchange, listed.instrument.base):
            totals[where] += value
    for where, limit in gate.max_exposure.items():
        if not totals[where] <= limit.most:
            text = (
                f"max_exposure.{where}: {totals[where]:.8g} {limit.unit}"
                f" / {limit.value} {limit.unit}"
            )
            return Refusal(Why.MAX_EXPOSURE, text)
    return None


def balance(gate: Gate, p: Proposal) -> Refusal | None:
    """12: margin or money for all legs, what is in flight counted as spent (R-33)."""
    desk = gate.desk
    needed: defaultdict[tuple[str, str], float] = defaultdict(float)
    for order in desk.orders.open.values():
        intent = order.intent
        if intent.purpose is _CLOSE or order.terminal:
            continue
        asset, amount = may_need(desk, order)
        needed[intent.exchange, asset] += amount
    for i, intent in enumerate(p.intents):
        spot = desk.instruments[intent.market].kind is _SPOT
        if p.reduces[i] and not spot:
            continue
        if p.amends is not None and not p.added(i):
            continue
        asset, amount = need(desk, intent, p.prices[i])
        amount *= p.part(i)
        needed[intent.exchange, asset] += amount
        free = desk.venues[intent.exchange].available(asset)
        if free is None:
            return Refusal(
                Why.BALANCE_UNKNOWN, f"{intent.exchange} never told a balance of {asset}"
            )
        total = needed[intent.exchange, asset]
        if not total <= free * (1 + TOLERANCE):
            text = (
                f"balance {intent.exchange}: {total:.8g} {asset} needed / {free:.8g} {asset} free"
            )
            return Refusal(Why.BALANCE, text)
    return None


def need(desk: Desk, intent: Intent, price: float) -> tuple[str, float]:
    """Return (asset, amount) that an order may take: margin and fee, or the whole sum on spot."""
    instrument = desk.instruments[intent.market]
    base = intent.lots * instrument.lot_base_f
    if instrument.kind is _SPOT:
        if intent.side is Side.SELL:
            return instrument.base, base
        return instrument.quote, base * price * (1 + instrument.fees.taker)
    leverage = max(desk.plan.exchanges[intent.exchange].leverage, 1)
    return instrument.quote, base * price * (1 / leverage + instrument.fees.taker)


def may_need(desk: Desk, order: Order) -> tuple[str, float]:
    """Return (asset, amount) that an unsettled order may still take."""
    intent = order.intent
    ticks = max(order.prices)
    limit = float(desk.instruments[intent.market].price(ticks)) if ticks else 0.0
    asset, amount = need(desk, intent, limit or desk.markets[intent.market].last_mid())
    return asset, amount * order.open_lots / intent.lots


def loss(gate: Gate, p: Proposal) -> Refusal | None:
    """17: the day's loss, and whether it is known (R-38)."""
    if not p.adds_risk:
        return None
    limits = gate.desk.limits
    if limits.uncertain:
        return Refusal(Why.LOSS_UNCERTAIN, f"the day's loss is uncertain: {limits.uncertain}")
    plan = gate.risk.max_daily_loss
    if plan is not None and not limits.day_loss < float(plan.amount.value):
        unit = plan.amount.unit
        text = f"max_daily_loss: {limits.day_loss:.8g} {unit} / {plan.amount.value} {unit}"
        return Refusal(Why.DAILY_LOSS, text)
    most = gate.risk.max_drawdown
    if most is not None and gate.desk.trips.drawdown >= float(most.amount.value):
        unit = most.amount.unit
        text = f"max_drawdown: {gate.desk.trips.drawdown:.8g} {unit} / {most.amount.value} {unit}"
        return Refusal(Why.DRAWDOWN, text)
    return None


def rate_budget(gate: Gate, p: Proposal) -> Refusal | None:
    """18: the exchange's own limits; entries leave a fifth to cancels and reductions."""
    now = gate.desk.now
    counts: dict[str, int] = {}
    for intent in p.intents:
        counts[intent.exchange] = counts.get(intent.exchange, 0) + 1
    for exchange, count in counts.items():
        budgets = gate.desk.venues[exchange].budgets
        amends = {name for name in budgets if name.endswith("_amend")}
        for name, budget in budgets.items():
            if now >= budget.resets_at:
                continue
            if amends and (name in amends) is not (p.amends is not None):
                continue  # changes of orders have a budget of their own there
            share = ENTRY_SHARE if p.adds_risk else 1.0
            if budget.used + count > budget.limit * share:
                text = f"{exchange} {budget.name}: {budget.used + count} / {budget.limit * share:g}"
                return Refusal(Why.RATE_BUDGET, text)
    return None


def _in_unit(desk: Desk, intent: Intent, limit: Cap, price: float) -> float:
    """Return what one unit of base is in the limit's unit."""
    return 1.0 if limit.unit == desk.instruments[intent.market].base else price


def _counted(p: Proposal) -> bool:
    """Whether an order's group counts at its planned end already.

    A leg that rests before the others is judged alone: what rests may fill at any time.
    """
    return (p.continues or p.rehearsed) and p.rule.quote is None


def _proposed(desk: Desk, p: Proposal, asset: str) -> tuple[float, float, float]:
    """Return what an entry adds: a group by its planned end, a quote by either side at worst."""
    net = up = down = 0.0
    for i, intent in enumerate(p.intents):
        instrument = desk.instruments[intent.market]
        if instrument.base != asset:
            continue
        base = p.added(i) * instrument.lot_base_f
        if p.rule.quote is None:
            net += base * intent.side.sign
        elif intent.side is Side.BUY:
            up += base
        else:
            down += base
    return net, up, down


def _net(desk: Desk, asset: str) -> tuple[float, float, float]:
    """Return (net base, worst buys, worst sells) of an asset before the proposal."""
    net = up = down = 0.0
    flying: set[str] = set()
    for name, instrument in desk.instruments.items():
        if instrument.base == asset:
            net += desk.ledgers.lots(name) * instrument.lot_base_f
    for trade in desk.rules.in_flight():
        for leg in trade.legs:
            if leg.listed.instrument.base == asset:
                rest = leg.planned - leg.filled
                net += rest * leg.side.sign * leg.listed.instrument.lot_base_f
        flying.add(trade.rule.name)
    for order in desk.orders.open.values():
        intent = order.intent
        instrument = desk.instruments[intent.market]
        if instrument.base != asset or intent.rule in flying or intent.purpose is Purpose.CLOSE:
            continue
        base = order.open_lots * instrument.lot_base_f
        if intent.side is Side.BUY:
            up += base
        else:
            down += base
    return net, up, down


POSITION: Final[tuple[Check, ...]] = (max_position, max_exposure, balance)
BUDGETS: Final[tuple[Check, ...]] = (loss, rate_budget)
