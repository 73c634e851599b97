"""The reference evaluator: walks the tree with three truths, slowly and plainly.

None is missing, for numbers, texts and bools alike. It is the yardstick of the generated code
(a property test compares them over all functions) and tells traces and `why` what every
sub-expression was worth. It shares the windows' state with the generated code, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

from runner.lang import instants, results, tree
from runner.lang.calendar import weekday
from runner.lang.functions import CELLS
from runner.lang.results import arithmetic, finite
from runner.lang.tree import Call, Expr
from runner.lang.types import Sort
from runner.lang.windowing import AnyWindow, Params
from runner.market.edges import Change, Crossing, Held

Value = float | str | bool | None


@dataclass(frozen=True, slots=True)
class Env:
    """Where values come from, at one instant and, for `this`, for one rule."""

    now: int
    params: Params
    streams: Mapping[str, Any]
    cells: Mapping[tuple[str, str], Any]
    """by (space, owner); `pnl` has the owner `''`"""
    windows: Callable[[Call], AnyWindow]
    this: str = ""
    entered: tuple[str, ...] = ()
    """keys of the rule's `entered(x)`, in the order of the cell's values"""


def evaluate(expr: Expr, env: Env) -> Value:
    """Return the value of an expression, None when missing."""
    match expr:
        case tree.Number() | tree.String() | tree.Bool():
            return expr.value
        case tree.Param():
            bound = env.params[expr.name]
            return float(bound) if expr.type.numeric else bound
        case tree.Field():
            return _field(env.streams[expr.key], expr, env)
        case tree.Cell():
            return _cell(expr, env)
        case tree.StreamArg():
            stream = env.streams[expr.key]
            return float(stream.seq) if str(stream.state) == "live" else None
        case tree.Named():
            return evaluate(expr.expr, env)
        case tree.Entered():
            values = env.cells["rule", env.this].entered
            index = env.entered.index(tree.key(expr.expr))
            return finite(values[index]) if index < len(values) else None
        case tree.Negate():
            operand = _number(expr.operand, env)
            return None if operand is None else -operand
        case tree.Arithmetic():
            return arithmetic(expr.op, _number(expr.left, env), _number(expr.right, env))
        case tree.IfElse():
            yes = _truth(expr.condition, env)
            if yes is None:
                return None
            return evaluate(expr.value if yes else expr.other, env)
        case Call():
            return _call(expr, env)
        case _:
            return _condition(expr, env)


def _condition(expr: Expr, env: Env) -> bool | None:
    match expr:
        case tree.Not():
            return _not(_truth(expr.operand, env))
        case tree.And():
            return _all([_truth(item, env) for item in expr.items])
        case tree.Or():
            return _not(_all([_not(_truth(item, env)) for item in expr.items]))
        case tree.Compare():
            values = [evaluate(operand, env) for operand in expr.operands]
            pairs = zip(expr.ops, values[:-1], values[1:], strict=True)
            return _all([_compare(op, a, b) for op, a, b in pairs])
        case tree.In():
            value = evaluate(expr.operand, env)
            hits = [_compare("==", value, evaluate(item, env)) for item in expr.items]
            return _not(_all([_not(hit) for hit in hits]))
        case _:
            raise TypeError(f"{type(expr).__name__} has no value")


def _all(values: Sequence[bool | None]) -> bool | None:
    """Kleene's `and`."""
    if any(value is False for value in values):
        return False
    return None if any(value is None for value in values) else True


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _truth(expr: Expr, env: Env) -> bool | None:
    value = evaluate(expr, env)
    assert value is None or isinstance(value, bool)
    return value


def _number(expr: Expr, env: Env) -> float | None:
    value = evaluate(expr, env)
    assert value is None or (isinstance(value, float | int) and not isinstance(value, bool))
    return value


def _compare(op: str, left: Value, right: Value) -> bool | None:
    if left is None or right is None:
        return None
    if op == "==":
        return left == right
    if op == "!=":
        return left != right
    assert isinstance(left, float | int) and isinstance(right, float | int)
    if op == "<":
        return left < right
    if op == "<=":
        return left <= right
    return left > right if op == ">" else left >= right


def _field(stream: Any, expr: tree.Field, env: Env) -> Value:
    if expr.kind == "source":
        value: Value = stream.cells[expr.field].value
        return value if isinstance(value, str | bool) or value is None else finite(value)
    if expr.kind == "funding":
        wall = env.cells["clock", ""].wall
        return results.funding(expr.field, stream.rate, stream.next_at, stream.interval, wall)
    if expr.kind != "book":
        return finite(getattr(stream, expr.field))
    bid, ask = finite(stream.bid), finite(stream.ask)
    bid_qty, ask_qty = finite(stream.bid_qty), finite(stream.ask_qty)
    match expr.field:
        case "bid":
            return bid
        case "ask":
            return ask
        case "bid_qty":
            return bid_qty
        case "ask_qty":
            return ask_qty
        case "mid":
            return arithmetic("*", arithmetic("+", bid, ask), 0.5)
        case "spread":
            mid = arithmetic("*", arithmetic("+", bid, ask), 0.5)
            positive = mid if mid is not None and mid > 0 else None
            return arithmetic("/", arithmetic("-", ask, bid), positive)
    total = arithmetic("+", bid_qty, ask_qty)
    total = total if total is not None and total > 0 else None
    if expr.field == "imbalance":
        return arithmetic("/", arithmetic("-", bid_qty, ask_qty), total)
    leaning = arithmetic("+", arithmetic("*", bid, ask_qty), arithmetic("*", ask, bid_qty))
    return arithmetic("/", leaning, total)


def _cell(expr: tree.Cell, env: Env) -> Value:
    this = expr.space is tree.Space.THIS
    cell = env.cells[("rule", env.this) if this else (str(expr.space), expr.owner)]
    value = getattr(cell, expr.field)
    if CELLS[expr.space][expr.field].method:
        value = value(env.now)
    return value if isinstance(value, bool) else finite(value)


def _call(expr: Call, env: Env) -> Value:
    if expr.window is not None:
        return _windowed(expr, env)
    name, args = expr.function, expr.args
    if name == "known":
        return evaluate(args[0], env) is not None
    if name == "default":
        value = evaluate(args[0], env)
        return evaluate(args[1], env) if value is None else value
    if name == "fill_price":
        return _fill_price(expr, env)
    if name == "carry_cost":
        return _carry_cost(expr, env)
    if name == "age":
        assert isinstance(args[0], tree.StreamArg)
        stream = env.streams[args[0].key]
        return finite(stream.age(env.now) * 1e-9) if stream.seq else None
    if name == "weekday":
        return weekday(env.cells["clock", ""].wall)
    if name == "between_utc":
        start, end = (evaluate(arg, env) for arg in args)
        return instants.of_the_day(env.cells["clock", ""].wall, str(start), str(end))
    numbers = [_number(arg, env) for arg in args]
    known = [number for number in numbers if number is not None]
    return results.plain(name, known) if len(known) == len(numbers) else None


def _carry_cost(expr: Call, env: Env) -> float | None:
    stream, side, horizon = expr.args
    assert isinstance(stream, tree.StreamArg) and isinstance(side, tree.SideArg)
    funding, wall = env.streams[stream.key], env.cells["clock", ""].wall
    seconds = _number(horizon, env)
    wait = results.funding("next_in", funding.rate, funding.next_at, funding.interval, wall)
    if seconds is None or wait is None or seconds < 0:
        return None
    payments = results.payments(wait, seconds, funding.interval)
    if not payments:
        return payments
    return finite(payments * float(funding.rate) * (1.0 if side.buy else -1.0))


def _fill_price(expr: Call, env: Env) -> float | None:
    stream, side, size = expr.args
    assert isinstance(stream, tree.StreamArg) and isinstance(side, tree.SideArg)
    much = _number(size, env)
    if much is None or much <= 0:
        return None
    powers = dict(expr.type.dims)
    notional = powers.get(size.type.currency or "", 0) > 0
    base, quote = (nan, much) if notional else (much, nan)
    found: float = env.streams[stream.key].fill_price(side.buy, base, quote)
    return finite(found)


def _windowed(expr: Call, env: Env) -> Value:
    window = env.windows(expr)
    inputs = [evaluate(arg, env) for arg in expr.args]
    if isinstance(window, Held | Crossing | Change):
        return instants.told(expr.function, window, inputs, env.now)
    if any(value is None for value in inputs):
        return None
    numbers = [float(value) for value in inputs if isinstance(value, float | int)]
    return results.windowed(expr.function, window, numbers)


def parts(expr: Expr) -> list[Expr]:
    """Return the expression and all in it that a reader would ask about, outer first.

    Literals are left out; a signal is one line, followed by what it is made of.
    """
    found: dict[str, Expr] = {}

    def visit(node: Expr) -> None:
        if isinstance(node, tree.Number | tree.String | tree.Bool):
            return
        if node.type.sort in (Sort.STREAM, Sort.SIDE):
            return
        found.setdefault(node.source, node)
        for child in tree.children(node):
            visit(child)

    visit(expr)
    return list(found.values())
