"""The one table of functions, stream fields and cells: signature, unit, range, window, words.

The checker takes units and arity from here, the intervals the ranges, the program the window
states, `explain` and the docs the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from runner.lang import types
from runner.lang.calendar import WEEKDAYS
from runner.lang.ranges import ALL, NOT_NEGATIVE, POSITIVE, UNIT, Interval, magnitude
from runner.lang.unit_rules import (
    RangeRule,
    UnitRule,
    alike,
    always,
    carry_unit,
    clamped,
    default_unit,
    either,
    first_unit,
    gap_range,
    greatest,
    keep,
    least,
    like_loss,
    log_unit,
    odds_unit,
    plain,
    product_unit,
    return_range,
    risk_unit,
    root_unit,
    same_unit,
    slope_unit,
    speed_unit,
)


class Take(StrEnum):
    """What a parameter of a function takes."""

    VALUE = "value"
    ANY = "any"
    """a number, a bool or a text"""
    STREAM = "stream"
    SIDE = "side"
    FUNDED = "funded"
    """a market with a stream of funding, by its name"""
    CONDITION = "condition"
    TIME = "time"
    """a time of day, written out"""
    WINDOW = "window"
    """a duration or a count of bars"""
    SPAN = "span"
    """a window that can only be a duration"""
    BARS = "bars"
    """a window that can only be a count of bars"""


WINDOWS = frozenset({Take.WINDOW, Take.SPAN, Take.BARS})


class State(StrEnum):
    """The window state a function reads (`market/windows.py`); those alike share one."""

    MOMENTS = "moments"
    LOW = "low"
    HIGH = "high"
    PAST = "past"
    RETURNS = "returns"
    PAIR = "pair"
    EMA = "ema"
    MEDIAN = "median"
    COUNT = "count"
    RSI = "rsi"
    HELD = "held"
    CROSSING = "crossing"
    CHANGE = "change"


EDGES = frozenset({State.CROSSING, State.CHANGE})
"""states of what is true at an instant only; told just before a decision"""
WATCHERS = frozenset({State.HELD}) | EDGES
"""states that are told when something changed, also by time or in a cell (`market/edges.py`)"""


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
    inputs: tuple[int, ...] | None = None
    """which arguments the window remembers; None: all"""

    def take(self, index: int) -> Take:
        """Return what argument `index` takes."""
        return self.takes[min(index, len(self.takes) - 1)]


V, W = Take.VALUE, Take.WINDOW

FUNCTIONS: Mapping[str, Function] = {
    f.name: f
    for f in (
        Function("abs", "abs(x)", (V,), first_unit, lambda r: magnitude(r[0]),
                 "x without its sign"),
        Function("min", "min(x, y, ...)", (V, V), same_unit("min"), least,
                 "the least; missing when any is missing", variadic=True),
        Function("max", "max(x, y, ...)", (V, V), same_unit("max"), greatest,
                 "the greatest; missing when any is missing", variadic=True),
        Function("clamp", "clamp(x, lo, hi)", (V, V, V), same_unit("clamp"), clamped,
                 "x, but not under lo nor over hi; missing when lo > hi"),
        Function("sign", "sign(x)", (V,), always(types.NUMBER), lambda r: UNIT, "-1, 0 or 1"),
        Function("sqrt", "sqrt(x)", (V,), root_unit, lambda r: NOT_NEGATIVE,
                 "the square root; of a negative number it is missing"),
        Function("log", "log(x)", (V,), log_unit, plain,
                 "the natural logarithm; missing unless x > 0"),
        Function("round_to", "round_to(x, step)", (V, V), same_unit("round_to"), plain,
                 "the nearest multiple of step (a half goes up); missing unless step > 0"),
        Function("gap", "gap(a, b)", (V, V), alike("gap", types.RATIO), gap_range,
                 "a/b - 1: how far a is above b, as a ratio"),
        Function("ret", "ret(x, 1m)", (V, W), always(types.RATIO), return_range,
                 "x / x(a window ago) - 1", State.PAST),
        Function("ema", "ema(x, 20s)", (V, W), first_unit, keep,
                 "exponential mean: an update dt old weighs exp(-dt/w)", State.EMA),
        Function("sma", "sma(x, 20s)", (V, W), first_unit, keep,
                 "mean over the window's slots", State.MOMENTS),
        Function("stdev", "stdev(x, 20s)", (V, W), first_unit, lambda r: NOT_NEGATIVE,
                 "standard deviation over the window's slots (divides by n)", State.MOMENTS),
        Function("zscore", "zscore(x, 5m)", (V, W), always(types.NUMBER), plain,
                 "(x - sma) / stdev of the window", State.MOMENTS),
        Function("min_over", "min_over(x, 1h)", (V, W), first_unit, keep,
                 "the least value at the window's slot ends", State.LOW),
        Function("max_over", "max_over(x, 1h)", (V, W), first_unit, keep,
                 "the greatest value at the window's slot ends", State.HIGH),
        Function("vol", "vol(x, 1h)", (V, W), always(types.RATIO), lambda r: NOT_NEGATIVE,
                 "standard deviation of log returns, for the length of the window",
                 State.RETURNS),
        Function("beta", "beta(y, x, 4h)", (V, V, W), slope_unit, plain,
                 "slope of y on x over the window's slots", State.PAIR),
        Function("corr", "corr(x, y, 4h)", (V, V, W), always(types.NUMBER), lambda r: UNIT,
                 "correlation of x and y over the window's slots", State.PAIR),
        Function("median", "median(x, 1h)", (V, W), first_unit, keep,
                 "the middle of the values at the window's slot ends", State.MEDIAN),
        Function("delta", "delta(x, 1m)", (V, W), first_unit, plain,
                 "x - x(a window ago)", State.PAST),
        Function("rate", "rate(x, 1m)", (V, Take.SPAN), speed_unit, plain,
                 "delta(x, w) per second of the window", State.PAST),
        Function("count", "count(market.trades, 1m)", (Take.STREAM, Take.SPAN),
                 always(types.NUMBER), lambda r: NOT_NEGATIVE,
                 "how many updates the stream had in the window (of trades: how many trades); "
                 "missing while the stream is not live", State.COUNT),
        Function("rsi", "rsi(x, 14bars)", (V, Take.BARS), always(types.NUMBER),
                 lambda r: Interval(0.0, 100.0),
                 "Wilder's relative strength index over closed bars, 0 to 100; missing while "
                 "nothing moved", State.RSI),
        Function("held", "held(condition, 3s)", (Take.CONDITION, Take.SPAN), always(types.BOOL),
                 plain, "true when the condition has been definitely true for that long, by a "
                 "timer; what was missing begins anew", State.HELD),
        Function("changed", "changed(x)", (Take.ANY,), always(types.BOOL), plain,
                 "true at the instant at which x becomes another value; missing when it was not "
                 "known before", State.CHANGE),
        Function("crosses_above", "crosses_above(a, b)", (V, V),
                 alike("crosses_above", types.BOOL), plain,
                 "true at the instant at which a, at or under b before, is above it; missing when "
                 "a side was not known before", State.CROSSING),
        Function("crosses_below", "crosses_below(a, b)", (V, V),
                 alike("crosses_below", types.BOOL), plain,
                 "true at the instant at which a, at or above b before, is under it; missing when "
                 "a side was not known before", State.CROSSING),
        Function("between_utc", 'between_utc("08:00", "16:00")', (Take.TIME, Take.TIME),
                 always(types.BOOL), plain,
                 "true from the first time of day to just before the second, UTC, over midnight "
                 "too; turns by a timer"),
        Function("weekday", "weekday()", (), always(types.one_of(WEEKDAYS)), plain,
                 "the day of the week in UTC: mon tue wed thu fri sat sun; turns by a timer"),
        Function("risk_size", "risk_size(loss, entry, stop)", (V, V, V), risk_unit, like_loss,
                 "the amount that loses `loss` between the two prices; missing when they are one"),
        Function("vol_target", "vol_target(loss, price, 1h)", (V, V, W), product_unit, like_loss,
                 "the amount for which the price's typical move over the window, one standard "
                 "deviation (`vol`), is worth `loss`", State.RETURNS, inputs=(1,)),
        Function("kelly", "kelly(p, odds)", (V, V), odds_unit, lambda r: Interval(0.0, 1.0),
                 "share to stake when a win of `odds` times the stake has probability p: "
                 "p - (1 - p)/odds, 0 when that is negative; missing unless 0 <= p <= 1 and "
                 "odds > 0"),
        Function("carry_cost", "carry_cost(market, sell, 8h)",
                 (Take.FUNDED, Take.SIDE, V), carry_unit, plain,
                 "the funding that a position of this side pays (+) or receives (-) at all "
                 "payments from now to then, as a ratio of its notional, at the present rate"),
        Function("fill_price", "fill_price(market.book, buy, 500 USDT)",
                 (Take.STREAM, Take.SIDE, V), first_unit, lambda r: POSITIVE,
                 "average price of taking that much from the book (buy walks the asks), "
                 "unrounded; missing when the known levels do not suffice"),
        Function("age", "age(market.book)", (Take.STREAM,), always(types.DURATION),
                 lambda r: NOT_NEGATIVE, "how long ago a frame last proved the stream"),
        Function("known", "known(x)", (Take.ANY,), always(types.BOOL), plain,
                 "true unless x is missing"),
        Function("default", "default(x, y)", (Take.ANY, Take.ANY), default_unit, either,
                 "x, or y while x is missing"),
    )
}  # fmt: skip


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
    "funding": {
        "interval": FieldSpec(Measure.SECONDS, POSITIVE,
                              "time between two payments (8h, 4h, 1h), once it is known"),
        "next_in": FieldSpec(Measure.SECONDS, NOT_NEGATIVE, "time to the next payment"),
        "rate": FieldSpec(Measure.RATIO, ALL, "the next funding rate; positive: longs pay"),
        "yearly": FieldSpec(Measure.RATIO, ALL, "rate x 365d / interval"),
    },
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
        "liq_gap": FieldSpec(Measure.RATIO, ALL, "distance of the mid to the liquidation price",
                             method=True),
        "account_qty": FieldSpec(Measure.BASE, ALL,
                                 "amount that the account holds there as the exchange tells, "
                                 "whoever made it; also `account.X.position.SYMBOL`"),
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
