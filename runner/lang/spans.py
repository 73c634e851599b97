"""The range of values that an expression can have at all, from fields, functions and params."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from runner.lang import tree
from runner.lang.functions import CELLS, FIELDS, FUNCTIONS
from runner.lang.ranges import ALL, Interval, point
from runner.lang.tree import Expr

Ranges = Mapping[str, Interval]
"""of params, by name; a param that is absent may be anything"""


def span(expr: Expr, params: Ranges) -> Interval:
    """Return an interval that holds every value the number `expr` can have."""
    match expr:
        case tree.Number():
            return point(expr.value)
        case tree.Param():
            return params.get(expr.name, ALL)
        case tree.Field():
            return expr.range or FIELDS[expr.kind][expr.field].range
        case tree.Cell():
            return CELLS[expr.space][expr.field].range
        case tree.Named() | tree.Entered():
            return span(expr.expr, params)
        case tree.Negate():
            return -span(expr.operand, params)
        case tree.Arithmetic():
            return _arithmetic(expr.op, span(expr.left, params), span(expr.right, params))
        case tree.IfElse():
            return span(expr.value, params) | span(expr.other, params)
        case tree.Call():
            function = FUNCTIONS[expr.function]
            return function.range([span(arg, params) for arg in expr.args])
        case _:
            return ALL


def _arithmetic(op: str, left: Interval, right: Interval) -> Interval:
    match op:
        case "+":
            found = left + right
        case "-":
            found = left - right
        case "*":
            found = left * right
        case _:
            found = left / right
    # inf - inf at an end says nothing about that end
    low = found.low if found.low == found.low else -inf
    high = found.high if found.high == found.high else inf
    return Interval(low, high, found.low_open, found.high_open)
