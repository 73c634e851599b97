"""Conditions: the two truths of and, or, not, if, known, default."""

from __future__ import annotations

from collections.abc import Sequence

from runner.lang import tree
from runner.lang.emit.writing import Writing
from runner.lang.tree import Call, Compare, Expr
from runner.lang.types import Sort
from runner.lang.windowing import is_bool

_WALK = 60
_METHODS = {"exit_pnl": _WALK, "exit_return": _WALK, "pnl": 20, "notional": 10, "liq_gap": 10}


class Conditions(Writing):
    """The part that writes conditions."""

    def truth(self, expr: Expr, wanted: bool) -> str:
        expr = tree.unwrap(expr)
        match expr:
            case tree.Bool():
                return str(expr.value is wanted)
            case tree.Param():
                return str(bool(self.owner.params[expr.name]) is wanted)
            case tree.Cell():
                return self.cell(expr) if wanted else f"not {self.cell(expr)}"
            case tree.Field():
                return f"{self.field(expr)} is {wanted}"
            case tree.Not():
                return self.truth(expr.operand, not wanted)
            case tree.And():
                return self.row(expr.items, wanted, "and" if wanted else "or")
            case tree.Or():
                return self.row(expr.items, wanted, "or" if wanted else "and")
            case Compare():
                return self.compare(expr, wanted)
            case tree.In():
                pairs = [self.equal(expr.operand, item, wanted) for item in expr.items]
                return "(" + (" or " if wanted else " and ").join(pairs) + ")"
            case tree.IfElse():
                return self.choice_of_conditions(expr, wanted)
            case Call(function="known"):
                return self.known(expr.args[0], wanted)
            case Call(function="default"):
                return self.default_condition(expr.args[0], expr.args[1], wanted)
            case Call():
                return self.instant(expr, wanted)
        raise TypeError(f"{type(expr).__name__} is not a condition")

    def row(self, items: Sequence[Expr], wanted: bool, op: str) -> str:
        """Write conditions joined by `op`, the cheap ones first; only the first surely runs."""
        first, *others = sorted(items, key=cost)
        parts = [self.truth(first, wanted)]
        # The second runs only if the first let it, the third only after the second, and so on.
        before = dict(self.locals.kept)
        parts += [self.truth(item, wanted) for item in others]
        self.locals.kept = before
        return "(" + f" {op} ".join(parts) + ")"

    def choice_of_conditions(self, expr: tree.IfElse, wanted: bool) -> str:
        yes = self.true(expr.condition)
        with self.fork():
            then = self.truth(expr.value, wanted)
        with self.fork():
            no = self.false(expr.condition)
            other = self.truth(expr.other, wanted)
        return f"(({then}) if {yes} else (({no}) and ({other})))"

    def known(self, expr: Expr, wanted: bool) -> str:
        found = self.finite(expr)
        return f"({found})" if wanted else f"(not ({found}))"

    def finite(self, expr: Expr) -> str:
        """Write whether a value of any type is known."""
        if is_bool(expr):
            yes = self.true(expr)
            with self.fork():
                return f"{yes} or {self.false(expr)}"
        if expr.type.sort is Sort.TEXT:
            return f"{self.text(expr)} is not None"
        return f"N < {self.num(expr)} < I"

    def default_condition(self, x: Expr, y: Expr, wanted: bool) -> str:
        here = self.truth(x, wanted)
        with self.fork():
            there = f"(not {self.truth(x, not wanted)}) and {self.truth(y, wanted)}"
        return f"({here} or ({there}))"


def cost(expr: Expr) -> int:
    """Estimate the work of an expression; orders conjuncts, never changes what they mean."""
    total = 1
    for child in tree.children(expr):
        total += cost(child)
    if isinstance(expr, tree.Cell):
        total += _METHODS.get(expr.field, 0)
    if isinstance(expr, Call):
        total += _WALK if expr.function == "fill_price" else 3
    return total
