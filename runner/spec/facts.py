"""Checks against what exchanges list (E05), with the instrument catalogue as the facts.

Nothing is said about a market whose exchange did not resolve, and nothing that would need a price
about an instrument whose price is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from math import lcm

from runner.base.units import plain
from runner.lang.diagnostics import Mark
from runner.lang.nodes import Mapping, Sequence
from runner.lang.tree import is_broken
from runner.market.instruments import Instrument
from runner.spec import catalogue, economics
from runner.spec.context import Context, exact, fold, section
from runner.spec.exchanges import ExchangeDraft
from runner.spec.markets import MarketDraft
from runner.spec.parts import Quantity
from runner.spec.rule_draft import LegDraft, RuleDraft


@dataclass(frozen=True, slots=True)
class _Size:
    """A constant size: a notional (`unit` the quote) or an amount (`unit` the base)."""

    value: Decimal
    unit: str

    def __str__(self) -> str:
        return f"{plain(self.value)} {self.unit}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a size stands; `exempt`: no smallest order binds it, but one lot."""

    what: str
    mark: Mark
    path: str
    exempt: bool = False


def check(rules: dict[str, RuleDraft], exchanges: dict[str, ExchangeDraft], ctx: Context) -> None:
    """Run every check against the catalogue."""
    for rule in rules.values():
        size = _constant_size(rule, ctx)
        if size is not None:
            for leg in rule.legs:
                _smallest(rule, leg, size, ctx)
        _clips(rule, ctx)
        _gap(rule, ctx)
    for rule in rules.values():
        broken = any(is_broken(expr) for expr in rule.exprs)
        if rule.verb == "trade" and not broken and not ctx.has_error(rule.path):
            economics.check(rule, ctx)


def _constant_size(rule: RuleDraft, ctx: Context) -> _Size | None:
    """Return the size where it is constant, cut at a constant `max`."""
    size = rule.size
    if size is None or size.expr is None or size.expr.type.currency is None:
        return None
    value = fold(size.expr, ctx.values)
    if value is None or value < 0:
        return None
    top = fold(size.max, ctx.values) if size.max is not None else None
    return _Size(exact(min(value, top) if top is not None else value), size.expr.type.currency)


def _smallest(rule: RuleDraft, leg: LegDraft, size: _Size, ctx: Context) -> None:
    """Check a leg's part of a rule's size."""
    sized = _weighed(leg, size, ctx)
    if leg.market is None or sized is None or rule.size is None:
        return
    place = _Place("size", rule.size.mark, f"{rule.path}.{rule.verb}.size")
    if leg.market.certain and leg.market.instrument is not None:
        _enough(leg.market, sized, _step(rule, leg), place, ctx)


def _enough(market: MarketDraft, sized: _Size, step: Decimal, place: _Place, ctx: Context) -> None:
    """E0501: this much is below what the exchange takes; E0503: it is so after rounding."""
    at = market.instrument
    assert at is not None
    facts = () if place.exempt else (_facts(at),)
    notional, amount = _both(sized, at)
    if not place.exempt and _below(notional, amount, at):
        message = f"{place.what} is below the smallest order of `{market.name}`"
        cause = f"E0501 {market.name} {sized}"
        ctx.add("E0501", message, place.mark, str(sized), place.path, notes=facts, cause=cause)
        return
    if amount is None or at.price_hint <= 0:
        return
    rounded = (amount / step).to_integral_value(ROUND_FLOOR) * step
    if rounded <= 0 or (not place.exempt and _below(rounded * at.price_hint, rounded, at)):
        message = (
            f"{place.what} leaves too little of `{market.name}` after rounding down to the lot"
        )
        amount_text = plain(amount.quantize(Decimal("1e-8")))
        label = f"{sized} is {amount_text} {at.base}, {plain(rounded)} in steps of {plain(step)}"
        cause = f"E0503 {market.name} {sized}"
        ctx.add("E0503", message, place.mark, label, place.path, notes=facts, cause=cause)


def _clips(rule: RuleDraft, ctx: Context) -> None:
    """Check how much rests at a time, of entries and of a close: each clip is an order."""
    orders = _orders(rule)
    if len(orders) == len(rule.legs):
        for leg, (at, path) in zip(rule.legs, orders, strict=True):
            _clip(leg, leg.order.clip, at, path, False, ctx)
    rest = rule.close.rest if rule.close is not None else None
    if rest is not None and rule.legs and rule.verb_node is not None:
        at, path = section(rule.verb_node, "close"), f"{rule.path}.{rule.verb}.close"
        _clip(rule.legs[0], rest.clip, at, path, True, ctx)


def _orders(rule: RuleDraft) -> list[tuple[Mapping, str]]:
    """Return where the order of each leg stands, and its path."""
    node, path = rule.verb_node, f"{rule.path}.{rule.verb}"
    if node is None:
        return []
    legs = node.get("legs")
    if not isinstance(legs, Sequence):
        return [(node, path)]
    each = [leg for leg in legs.items if isinstance(leg, Mapping)]
    return [(section(leg, "order"), f"{path}.legs.{i}.order") for i, leg in enumerate(each)]


def _clip(
    leg: LegDraft, clip: Quantity | None, at: Mapping, path: str, reduces: bool, ctx: Context
) -> None:
    market, node = leg.market, at.get("clip")
    if clip is None or node is None or market is None or not market.certain:
        return
    instrument = market.instrument
    if instrument is not None:
        exempt = reduces and instrument.reduce_only_exempt_from_min
        place = _Place("`clip`", node.mark, f"{path}.clip", exempt)
        step = instrument.lot * instrument.contract_size
        _enough(market, _Size(clip.value, clip.unit), step, place, ctx)


def _weighed(leg: LegDraft, size: _Size, ctx: Context) -> _Size | None:
    if not leg.has_weight:
        return size
    weight = fold(leg.weight, ctx.values) if leg.weight is not None else None
    return None if weight is None else _Size(size.value * exact(abs(weight)), size.unit)


def _both(size: _Size, at: Instrument) -> tuple[Decimal | None, Decimal | None]:
    """Return (notional, amount); None where it would need a price that is not known."""
    if size.unit == at.base:
        return (size.value * at.price_hint if at.price_hint > 0 else None), size.value
    return size.value, (size.value / at.price_hint if at.price_hint > 0 else None)


def _below(notional: Decimal | None, amount: Decimal | None, at: Instrument) -> bool:
    few = amount is not None and amount < at.min_qty * at.contract_size
    return few or (notional is not None and notional < at.min_notional)


def _facts(at: Instrument, where: str = "there") -> str:
    step, least = at.lot * at.contract_size, at.min_qty * at.contract_size
    if at.min_notional > 0 and least * at.price_hint <= at.min_notional:
        smallest = f"{plain(at.min_notional)} {at.quote}"
    else:
        smallest = f"{plain(least)} {at.base}"
    rule = f"at least {smallest} an order, steps of {plain(step)} {at.base}"
    source = f"(catalogue of {catalogue.date()}; `--online` asks the exchange)"
    return f"{at.symbol} {where}: {rule} {source}"


def _step(rule: RuleDraft, leg: LegDraft) -> Decimal:
    """Return the step a leg's quantity has: common to all legs that share one quantity."""
    assert leg.market is not None and leg.market.instrument is not None
    own = leg.market.instrument.lot * leg.market.instrument.contract_size
    if leg.has_weight:
        return own
    lots = [
        m.instrument.lot * m.instrument.contract_size
        for m in rule.markets
        if m.instrument is not None and m.base == leg.market.base
    ]
    scale = Decimal(10) ** 12
    return Decimal(lcm(*(int(lot * scale) for lot in lots))) / scale


# --- repair --------------------------------------------------------------------------------------


def _gap(rule: RuleDraft, ctx: Context) -> None:
    """E0510: an unmatched quantity as small as `max_gap` could not be repaired by any order."""
    if rule.hedge is None or rule.verb_node is None:
        return
    gap = rule.hedge.max_gap
    least = [_repairable(m, gap.unit) for m in rule.markets if m.certain]
    known = [x for x in least if x is not None]
    if not known or len(known) < len(rule.markets):
        return
    smallest = min(known)
    if gap.value >= smallest:
        return
    at = section(rule.verb_node, "hedge").get("max_gap")
    mark = at.mark if at is not None else rule.verb_key
    ctx.add(
        "E0510",
        "`max_gap` is below what can be repaired",
        mark,
        f"the smallest order that can is {plain(smallest)} {gap.unit}",
        f"{rule.path}.trade.hedge.max_gap",
        notes=tuple(
            _facts(m.instrument, f"on {m.instrument.exchange_type}")
            for m in rule.markets
            if m.instrument is not None
        ),
    )


def _repairable(market: MarketDraft, unit: str) -> Decimal | None:
    """Return the smallest order of a market in `unit`; None when it needs an unknown price."""
    at = market.instrument
    if at is None:
        return None
    step = at.lot * at.contract_size
    amount = max(at.min_qty * at.contract_size, step)
    if at.price_hint > 0:
        least = (at.min_notional / at.price_hint / step).to_integral_value(ROUND_CEILING) * step
        amount = max(amount, least)
    if unit == at.base:
        return amount
    return amount * at.price_hint if at.price_hint > 0 else None
