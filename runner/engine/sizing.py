"""How much and at what price: from a size in money or base to lots and ticks (trading.md, 2).

Without weights every leg gets the least of the legs' quantities, rounded down to the least common
multiple of their lots in base units, so that both sides are equal to the last digit. With weights
a leg's notional is size x weight; the first is rounded down and the others are sized from what is
left of it. Prices round never worse than written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from runner.engine.codes import Refusal, Why
from runner.engine.commands import OrderType, Tif
from runner.engine.desk import Listed
from runner.lang.api import RuleProgram
from runner.market.instruments import Instrument, Side
from runner.spec.rule_plan import LegPlan, OrderPlan

ROUNDING = 1e-9
_MARKET: Final = OrderType.MARKET
TYPES: Final[Mapping[str, OrderType]] = {each.value: each for each in OrderType}
TIFS: Final[Mapping[str, Tif]] = {each.value: each for each in Tif}


class Draft(msgspec.Struct, gc=False):
    """One leg before it becomes an intent; nobody changes it. `ticks` 0 on a market order."""

    leg: int
    market: str
    side: Side
    type: OrderType
    tif: Tif
    lots: int
    ticks: int
    price: float
    """the price it is judged by: the limit, else the far touch; a stop's own"""
    trigger: int = 0
    """a stop's price in ticks"""


def limit_price(order: OrderPlan, touch: float, side: Side) -> float:
    """Return the limit `collar` past the opposite touch; NaN without a touch."""
    return touch * (1 + side.sign * (order.collar or 0.0))


def leg_price(leg: LegPlan, written: float | None, listed: Listed) -> tuple[float, int]:
    """Return (price, ticks) of an entry leg; NaN when the book or the expression is missing."""
    if leg.order.type == _MARKET:
        return listed.touch(leg.side), 0
    price = limit_price(leg.order, listed.touch(leg.side), leg.side) if written is None else written
    if not math.isfinite(price) or price <= 0:
        return math.nan, 0
    ticks = listed.instrument.ticks_for(price, leg.side)
    return ticks * listed.instrument.tick_f, ticks


@lru_cache(maxsize=256)
def common_lot(lots: tuple[Decimal, ...]) -> tuple[float, tuple[int, ...]]:
    """Return the least common multiple of lots in base units, and how many of each it is."""
    scale = max(0, *(-int(lot.normalize().as_tuple().exponent) for lot in lots))
    whole = [int(lot.scaleb(scale)) for lot in lots]
    step = math.lcm(*whole)
    return float(Decimal(step).scaleb(-scale)), tuple(step // each for each in whole)


def entry_drafts(
    legs: Sequence[LegPlan], program: RuleProgram, markets: dict[str, Listed], now: int
) -> list[Draft] | Refusal:
    """Size and price all legs of an entry, or say what is missing or too small."""
    size = _size(program, now)
    if isinstance(size, Refusal):
        return size
    prices: list[tuple[float, int]] = []
    for leg, written in zip(legs, program.prices, strict=True):
        value = None if written is None else written(now)
        price, ticks = leg_price(leg, value, markets[leg.market])
        if price != price:
            missing = f"{leg.market}.price" if written is not None else f"{leg.market}.book"
            return Refusal(Why.MISSING_PRICE, f"missing {missing}")
        if not 0.0 < price < math.inf or ticks < 0:
            return Refusal(Why.TICK, f"price {price:.6g} of {leg.market} is no price")
        prices.append((price, ticks))
    lots = _quantities(size, legs, program, markets, [p for p, _ in prices], now)
    if isinstance(lots, Refusal):
        return lots
    drafts = [
        Draft(i, leg.market, leg.side, TYPES[leg.order.type], TIFS[leg.order.tif], n, at, price)
        for i, (leg, n, (price, at)) in enumerate(zip(legs, lots, prices, strict=True))
    ]
    for draft in drafts:
        small = misfit(markets[draft.market], draft.lots, draft.price, False)
        if small is not None:
            return small
    return drafts


def too_small(draft: Draft, listed: Listed, *, reduce_only: bool) -> Refusal | None:
    """Check a draft against the exchange's minimum and maximum at its own price."""
    return misfit(listed, draft.lots, draft.price, reduce_only)


def misfit(listed: Listed, lots: int, price: float, reduce_only: bool) -> Refusal | None:
    """Check a quantity against the exchange's minimum and maximum at a price."""
    instrument = listed.instrument
    if lots <= 0:
        return Refusal(Why.SIZE_ZERO, f"size rounds to nothing ({listed.name})")
    if listed.max_lots and lots > listed.max_lots:
        text = f"size {instrument.qty_text(lots)} > {instrument.max_qty} ({listed.name})"
        return Refusal(Why.MAX_QTY, text)
    if reduce_only and instrument.reduce_only_exempt_from_min:
        return None
    if lots < listed.min_lots:
        text = f"size {instrument.qty_text(lots)} < {instrument.min_qty} {instrument.base}"
        return Refusal(Why.MIN_QTY, f"{text} ({listed.name})")
    notional = price * lots * instrument.lot_base_f
    if notional < listed.min_notional * (1 - ROUNDING):
        quote = instrument.quote
        text = f"size {notional:.6g} {quote} < {instrument.min_notional} {quote} ({listed.name})"
        return Refusal(Why.MIN_NOTIONAL, text)
    return None


def _size(program: RuleProgram, now: int) -> tuple[float, str] | Refusal:
    size = program.size
    assert size is not None, "only verbs with a size are sized"
    value = size.value(now)
    if not math.isfinite(value):
        return Refusal(Why.MISSING_SIZE, "missing size")
    if size.max is not None:
        top = size.max(now)
        if not math.isfinite(top):
            return Refusal(Why.MISSING_SIZE, "missing size max")
        value = min(value, top)
    if size.min is not None:
        least = size.min(now)
        if not math.isfinite(least):
            return Refusal(Why.MISSING_SIZE, "missing size min")
        if value < least:
            return Refusal(Why.SIZE_MIN, f"size {value:.6g} {size.unit} < {least:.6g} {size.unit}")
    if value <= 0:
        return Refusal(Why.SIZE_ZERO, f"size {value:.6g} {size.unit} is not above 0")
    return value, size.unit


def _quantities(
    size: tuple[float, str],
    legs: Sequence[LegPlan],
    program: RuleProgram,
    markets: dict[str, Listed],
    prices: Sequence[float],
    now: int,
) -> list[int] | Refusal:
    """Return the lots of each leg."""
    value, unit = size
    instruments = [markets[leg.market].instrument for leg in legs]
    if program.weights.count(None) == len(program.weights):
        if len(instruments) == 1:
            base = value if unit == instruments[0].base else value / prices[0]
            return [int(base / instruments[0].lot_base_f + ROUNDING)]
        base = min(
            value if unit == i.base else value / price
            for i, price in zip(instruments, prices, strict=True)
        )
        step, lots_each = common_lot(tuple(i.lot_base for i in instruments))
        steps = int(base / step + ROUNDING)
        return [steps * each for each in lots_each]
    weights: list[float] = []
    for leg, weight in zip(legs, program.weights, strict=True):
        w = 1.0 if weight is None else weight(now)
        if not math.isfinite(w) or w <= 0:
            return Refusal(Why.MISSING_WEIGHT, f"missing weight of {leg.market}")
        weights.append(w)
    return _weighted(value, unit, weights, instruments, prices)


def _weighted(
    value: float,
    unit: str,
    weights: Sequence[float],
    instruments: Sequence[Instrument],
    prices: Sequence[float],
) -> list[int]:
    lots: list[int] = []
    left = 1.0  # what rounding left of the first leg
    for i, (weight, instrument, price) in enumerate(zip(weights, instruments, prices, strict=True)):
        base = value * weight if unit == instrument.base else value * weight / price
        n = instrument.lots_for_base(base * left)
        if i == 0 and base > 0:
            left = n * instrument.lot_base_f / base
        lots.append(n)
    return lots
