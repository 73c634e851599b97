"""The one table of functions, stream fields and cells: signature, unit, range, window, words.

The checker takes units and arity from here, the intervals the ranges, the program the window
states, `explain` and the docs the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from runner.lang import types
from runner.lang.ranges import ALL, NOT_NEGATIVE, POSITIVE, UNIT, Interval, magnitude
from runner.lang.types import Type


class Take(StrEnum):
    """What a parameter of a function takes."""

    VALUE = "value"
    ANY = "any"
    """a number, a bool or a text"""
    STREAM = "stream"
    SIDE = "side"
    WINDOW = "window"


class State(StrEnum):
    """The window state a function reads (`market/windows.py`); those alike share one."""

    MOMENTS = "moments"
    LOW = "low"
    HIGH = "high"
    PAST = "past"
    RETURNS = "returns"
    PAIR = "pair"
    EMA = "ema"


class Mismatch(Exception):
    """The units of the arguments do not fit; the message says why."""


@dataclass(frozen=True, slots=True)
class Operand:
    """The type of an argument and, where it is a bare literal, its value."""

    type: Type
    literal: float | None = None


UnitRule = Callable[[Sequence[Operand]], Type]
RangeRule = Callable[[Sequence[Interval]], Interval]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language. Rules see the arguments without the window."""

    name: str
    signature: str
    takes: tuple[Take, ...]
    unit: UnitRule
    range: RangeRule
    doc: str
    state: State | None = None
    variadic: bool = False
    """the last parameter may repeat"""

    def take(self, index: int) -> Take:
        """Return what argument `index` takes."""
        return self.takes[min(index, len(self.takes) - 1)]


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


def _same(name: str) -> UnitRule:
    return lambda operands: common(name, operands)


def _alike(name: str, result: Type) -> UnitRule:
    def rule(operands: Sequence[Operand]) -> Type:
        common(name, operands)
        return result

    return rule


def _always(result: Type) -> UnitRule:
    return lambda operands: result


def _first(operands: Sequence[Operand]) -> Type:
    return operands[0].type


def _sqrt(operands: Sequence[Operand]) -> Type:
    found = types.root(operands[0].type)
    if found is None:
        raise Mismatch(f"`sqrt` of {operands[0].type} has no unit")
    return found


def _log(operands: Sequence[Operand]) -> Type:
    if operands[0].type.dims:
        raise Mismatch(f"`log` needs a number or a ratio, found {operands[0].type}")
    return operands[0].type


def _slope(operands: Sequence[Operand]) -> Type:
    slope = types.divide(operands[0].type, operands[1].type)
    return types.NUMBER if not slope.dims and not slope.unknown else slope


def _default(operands: Sequence[Operand]) -> Type:
    if not fits(operands[0], operands[1]):
        raise Mismatch(
            f"`default` needs values of one type, found {operands[0].type} and {operands[1].type}"
        )
    return types.join(operands[0].type, operands[1].type)


def _least(ranges: Sequence[Interval]) -> Interval:
    return Interval(min(r.low for r in ranges), min(r.high for r in ranges))


def _greatest(ranges: Sequence[Interval]) -> Interval:
    return Interval(max(r.low for r in ranges), max(r.high for r in ranges))


def _clamped(ranges: Sequence[Interval]) -> Interval:
    x, low, high = ranges
    return Interval(min(max(x.low, low.low), high.high), max(min(x.high, high.high), low.low))


def _gap(ranges: Sequence[Interval]) -> Interval:
    if ranges[0].low >= 0 and ranges[1].low >= 0:
        return Interval(-1.0, math.inf, low_open=ranges[0].low_open)
    return ALL


def _ret(ranges: Sequence[Interval]) -> Interval:
    return _gap((ranges[0], ranges[0]))


def _keep(ranges: Sequence[Interval]) -> Interval:
    return ranges[0]


def _plain(ranges: Sequence[Interval]) -> Interval:
    return ALL


def _either(ranges: Sequence[Interval]) -> Interval:
    return ranges[0] | ranges[1]


V, W = Take.VALUE, Take.WINDOW

FUNCTIONS: Mapping[str, Function] = {
    f.name: f
    for f in (
        Function("abs", "abs(x)", (V,), _first, lambda r: magnitude(r[0]), "x without its sign"),
        Function("min", "min(x, y, ...)", (V, V), _same("min"), _least,
                 "the least; missing when any is missing", variadic=True),
        Function("max", "max(x, y, ...)", (V, V), _same("max"), _greatest,
                 "the greatest; missing when any is missing", variadic=True),
        Function("clamp", "clamp(x, lo, hi)", (V, V, V), _same("clamp"), _clamped,
                 "x, but not under lo nor over hi; missing when lo > hi"),
        Function("sign", "sign(x)", (V,), _always(types.NUMBER), lambda r: UNIT, "-1, 0 or 1"),
        Function("sqrt", "sqrt(x)", (V,), _sqrt, lambda r: NOT_NEGATIVE,
                 "the square root; of a negative number it is missing"),
        Function("log", "log(x)", (V,), _log, _plain,
                 "the natural logarithm; missing unless x > 0"),
        Function("round_to", "round_to(x, step)", (V, V), _same("round_to"), _plain,
                 "the nearest multiple of step (a half goes up); missing unless step > 0"),
        Function("gap", "gap(a, b)", (V, V), _alike("gap", types.RATIO), _gap,
                 "a/b - 1: how far a is above b, as a ratio"),
        Function("ret", "ret(x, 1m)", (V, W), _always(types.RATIO), _ret,
                 "x / x(a window ago) - 1", State.PAST),
        Function("ema", "ema(x, 20s)", (V, W), _first, _keep,
                 "exponential mean: an update dt old weighs exp(-dt/w)", State.EMA),
        Function("sma", "sma(x, 20s)", (V, W), _first, _keep,
                 "mean over the window's slots", State.MOMENTS),
        Function("stdev", "stdev(x, 20s)", (V, W), _first, lambda r: NOT_NEGATIVE,
                 "standard deviation over the window's slots (divides by n)", State.MOMENTS),
        Function("zscore", "zscore(x, 5m)", (V, W), _always(types.NUMBER), _plain,
                 "(x - sma) / stdev of the window", State.MOMENTS),
        Function("min_over", "min_over(x, 1h)", (V, W), _first, _keep,
                 "the least value at the window's slot ends", State.LOW),
        Function("max_over", "max_over(x, 1h)", (V, W), _first, _keep,
                 "the greatest value at the window's slot ends", State.HIGH),
        Function("vol", "vol(x, 1h)", (V, W), _always(types.RATIO), lambda r: NOT_NEGATIVE,
                 "standard deviation of log returns, for the length of the window",
                 State.RETURNS),
        Function("beta", "beta(y, x, 4h)", (V, V, W), _slope, _plain,
                 "slope of y on x over the window's slots", State.PAIR),
        Function("corr", "corr(x, y, 4h)", (V, V, W), _always(types.NUMBER), lambda r: UNIT,
                 "correlation of x and y over the window's slots", State.PAIR),
        Function("fill_price", "fill_price(market.book, buy, 500 USDT)",
                 (Take.STREAM, Take.SIDE, V), _first, lambda r: POSITIVE,
                 "average price of taking that much from the book (buy walks the asks), "
                 "unrounded; missing when the known levels do not suffice"),
        Function("age", "age(market.book)", (Take.STREAM,), _always(types.DURATION),
                 lambda r: NOT_NEGATIVE, "how long ago a frame last proved the stream"),
        Function("known", "known(x)", (Take.ANY,), _always(types.BOOL), _plain,
                 "true unless x is missing"),
        Function("default", "default(x, y)", (Take.ANY, Take.ANY), _default, _either,
                 "x, or y while x is missing"),
    )
}  # fmt: skip

LATER: Mapping[str, str] = {
    "median": "median(x, 1h)", "delta": "delta(x, 1m)", "rate": "rate(x, 1m)",
    "count": "count(stream, 1m)", "rsi": "rsi(x, 14bars)", "held": "held(condition, 3s)",
    "changed": "changed(x)", "crosses_above": "crosses_above(a, b)",
    "crosses_below": "crosses_below(a, b)", "between_utc": 'between_utc("08:00", "16:00")',
    "weekday": "weekday()", "risk_size": "risk_size(loss, entry, stop)",
    "vol_target": "vol_target(loss, price, w)", "kelly": "kelly(p, odds)",
    "carry_cost": "carry_cost(market, side, 8h)",
}  # fmt: skip
"""functions of the language that this version does not have yet (E0207)"""


class Measure(StrEnum):
    """The unit of a field, relative to the market, rule or account it belongs to."""

    PRICE = "price"
    BASE = "base"
    QUOTE = "quote"
    RATIO = "ratio"
    NUMBER = "number"
    SECONDS = "seconds"
    BOOL = "bool"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of a stream or a cell. `holding`: known only while a trade is held."""

    measure: Measure
    range: Interval
    doc: str
    method: bool = False
    holding: bool = False


def _price(doc: str) -> FieldSpec:
    return FieldSpec(Measure.PRICE, POSITIVE, doc)


def _base(doc: str) -> FieldSpec:
    return FieldSpec(Measure.BASE, NOT_NEGATIVE, doc)


FIELDS: Mapping[str, Mapping[str, FieldSpec]] = {
    "book": {
        "ask": _price("best ask"),
        "ask_qty": _base("amount at the best ask"),
        "bid": _price("best bid"),
        "bid_qty": _base("amount at the best bid"),
        "imbalance": FieldSpec(Measure.NUMBER, UNIT,
                               "(bid_qty - ask_qty) / (bid_qty + ask_qty)"),
        "micro": _price("mid leaning to the thinner side: quantities as weights, crossed over"),
        "mid": _price("(bid + ask) / 2"),
        "spread": FieldSpec(Measure.RATIO, NOT_NEGATIVE, "(ask - bid) / mid"),
    },
    "trades": {"last": _price("price of the last trade"), "qty": _base("amount of it")},
    "mark": {"price": _price("the exchange's mark price")},
    "funding": {"rate": FieldSpec(Measure.RATIO, ALL, "the next funding rate")},
    "bars": {
        "close": _price("close of the last closed bar"),
        "high": _price("high of it"),
        "low": _price("low of it"),
        "open": _price("open of it"),
        "volume": _base("volume of it"),
    },
}  # fmt: skip
SHORT = ("ask", "bid", "mid")
"""fields of the book that a market has under its own name: `bin.bid`"""
LATER_FIELDS: Mapping[str, tuple[str, ...]] = {"funding": ("interval", "next_in", "yearly")}

CELLS: Mapping[str, Mapping[str, FieldSpec]] = {
    "account": {
        "equity": FieldSpec(Measure.QUOTE, ALL, "equity of the account"),
        "margin_used": FieldSpec(Measure.RATIO, NOT_NEGATIVE,
                                 "maintenance margin / margin balance; 100% is liquidation"),
    },
    "position": {
        "qty": FieldSpec(Measure.BASE, ALL, "amount held by this strategy, short is negative"),
        "notional": FieldSpec(Measure.QUOTE, ALL, "its value at the closing price", method=True),
        "pnl": FieldSpec(Measure.QUOTE, ALL, "its unrealised profit", method=True),
        "entry": FieldSpec(Measure.PRICE, POSITIVE, "average price of entry"),
        "liq_gap": FieldSpec(Measure.RATIO, ALL, "distance to the liquidation price"),
        "open_orders": FieldSpec(Measure.NUMBER, NOT_NEGATIVE, "orders that rest"),
    },
    "rule": {
        "active": FieldSpec(Measure.BOOL, ALL, "whether it holds a trade"),
        "age": FieldSpec(Measure.SECONDS, NOT_NEGATIVE, "time since its entry", method=True),
        "pnl": FieldSpec(Measure.QUOTE, ALL, "its profit of the day, net", method=True),
    },
    "this": {
        "cost": FieldSpec(Measure.RATIO, ALL,
                          "fees of opening and closing all legs, of one leg's notional"),
        "age": FieldSpec(Measure.SECONDS, NOT_NEGATIVE, "time since the entry was approved",
                         method=True, holding=True),
        "qty": FieldSpec(Measure.BASE, NOT_NEGATIVE, "amount held on the first leg",
                         method=True, holding=True),
        "exit_pnl": FieldSpec(Measure.QUOTE, ALL, "what closing now would leave, net of all",
                              method=True, holding=True),
        "exit_return": FieldSpec(Measure.RATIO, ALL,
                                 "exit_pnl as a ratio of one leg's notional at the entry",
                                 method=True, holding=True),
    },
    "pnl": {"day": FieldSpec(Measure.QUOTE, ALL, "profit of the day", method=True)},
}  # fmt: skip
