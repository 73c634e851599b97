"""Rules of units and of ranges: what comes out of a function, given what goes in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.lang import types
from runner.lang.ranges import ALL, NOT_NEGATIVE, Interval
from runner.lang.types import Type


class Mismatch(Exception):
    """Return the units of the arguments do not fit; the message says why."""


@dataclass(frozen=True, slots=True)
class Operand:
    """Return the type of an argument and, where it is a bare literal, its value."""

    type: Type
    literal: float | None = None


UnitRule = Callable[[Sequence[Operand]], Type]
RangeRule = Callable[[Sequence[Interval]], Interval]


def fits(left: Operand, right: Operand) -> bool:
    """Return whether two values may meet: one unit, or a literal 0 (any) or 1 (ratios)."""
    if types.same(left.type, right.type):
        return True
    for literal, other in ((left, right), (right, left)):
        if literal.literal == 0 and other.type.numeric:
            return True
        if literal.literal in (1, -1) and other.type.is_ratio:
            return True
    return False


def common(name: str, operands: Sequence[Operand]) -> Type:
    """Return the one unit of all operands; raises Mismatch."""
    measure = next((o for o in operands if o.literal is None), operands[0])
    for operand in operands:
        if not fits(measure, operand):
            raise Mismatch(
                f"`{name}` needs values of one unit, found {measure.type} and {operand.type}"
            )
    return measure.type


def same_unit(name: str) -> UnitRule:
    """Return the one unit of all."""
    return lambda operands: common(name, operands)


def alike(name: str, result: Type) -> UnitRule:
    """Give a fixed type, from values of one unit."""

    def rule(operands: Sequence[Operand]) -> Type:
        common(name, operands)
        return result

    return rule


def always(result: Type) -> UnitRule:
    """Give a fixed type."""
    return lambda operands: result


def first_unit(operands: Sequence[Operand]) -> Type:
    """Return the unit of the first."""
    return operands[0].type


def root_unit(operands: Sequence[Operand]) -> Type:
    """Return the unit of a square root."""
    found = types.root(operands[0].type)
    if found is None:
        raise Mismatch(f"`sqrt` of {operands[0].type} has no unit")
    return found


def log_unit(operands: Sequence[Operand]) -> Type:
    """Return the unit of a logarithm."""
    if operands[0].type.dims:
        raise Mismatch(f"`log` needs a number or a ratio, found {operands[0].type}")
    return operands[0].type


def slope_unit(operands: Sequence[Operand]) -> Type:
    """Return the unit of the first over that of the second."""
    slope = types.divide(operands[0].type, operands[1].type)
    return types.NUMBER if not slope.dims and not slope.unknown else slope


def default_unit(operands: Sequence[Operand]) -> Type:
    """Return the type of a value or of what stands in for it."""
    if not fits(operands[0], operands[1]):
        raise Mismatch(
            f"`default` needs values of one type, found {operands[0].type} and {operands[1].type}"
        )
    return types.join(operands[0].type, operands[1].type)


def least(ranges: Sequence[Interval]) -> Interval:
    """Return the range of the least."""
    return Interval(min(r.low for r in ranges), min(r.high for r in ranges))


def greatest(ranges: Sequence[Interval]) -> Interval:
    """Return the range of the greatest."""
    return Interval(max(r.low for r in ranges), max(r.high for r in ranges))


def clamped(ranges: Sequence[Interval]) -> Interval:
    """Return the range of a clamped value."""
    x, low, high = ranges
    return Interval(min(max(x.low, low.low), high.high), max(min(x.high, high.high), low.low))


def gap_range(ranges: Sequence[Interval]) -> Interval:
    """Return the range of a/b - 1."""
    if ranges[0].low >= 0 and ranges[1].low >= 0:
        return Interval(-1.0, math.inf, low_open=ranges[0].low_open)
    return ALL


def return_range(ranges: Sequence[Interval]) -> Interval:
    """Return the range of x/x(earlier) - 1."""
    return gap_range((ranges[0], ranges[0]))


def keep(ranges: Sequence[Interval]) -> Interval:
    """Return the range of the first."""
    return ranges[0]


def plain(ranges: Sequence[Interval]) -> Interval:
    """Return the range of any number."""
    return ALL


def either(ranges: Sequence[Interval]) -> Interval:
    """Return what both may be."""
    return ranges[0] | ranges[1]


def product_unit(operands: Sequence[Operand]) -> Type:
    """Return the unit of `loss / price`: an amount, when the loss is in the price's quote."""
    loss, price = operands[0].type, operands[1].type
    if not price.is_price:
        raise Mismatch(f"a price is needed, found {price}")
    found = types.divide(loss, price)
    if found.currency is None and not found.unknown:
        raise Mismatch(f"the loss must be in the quote of the price, found {loss} and {price}")
    return found


def risk_unit(operands: Sequence[Operand]) -> Type:
    """Give an amount from a loss and two prices of one unit."""
    common("risk_size", operands[1:])
    return product_unit(operands)


def speed_unit(operands: Sequence[Operand]) -> Type:
    """Return the unit of a change per second."""
    return types.divide(operands[0].type, types.DURATION)


def odds_unit(operands: Sequence[Operand]) -> Type:
    """Give a share from a probability and odds without dimension."""
    for operand in operands:
        if operand.type.dims:
            raise Mismatch(f"`kelly` needs numbers, found {operand.type}")
    return types.NUMBER


def carry_unit(operands: Sequence[Operand]) -> Type:
    """Give a ratio, over a duration."""
    if operands[-1].type.dims != types.DURATION.dims:
        raise Mismatch(f"`carry_cost` needs a duration such as `8h`, found {operands[-1].type}")
    return types.RATIO


def like_loss(ranges: Sequence[Interval]) -> Interval:
    """Return the range of a loss over a distance: never negative where the loss is not."""
    return NOT_NEGATIVE if ranges[0].low >= 0 else ALL
