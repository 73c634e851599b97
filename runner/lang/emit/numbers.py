"""Numbers: fields, cells, arithmetic, and what can be folded before the run."""

from __future__ import annotations

from math import isfinite, nan

from runner.lang import tree
from runner.lang.emit.writing import Writing
from runner.lang.functions import CELLS
from runner.lang.ranges import Interval
from runner.lang.spans import span
from runner.lang.tree import Call, Expr


class Numbers(Writing):
    """The part that writes numbers."""

    def num(self, expr: Expr, keep: bool = False) -> str:
        """Write a number; `keep` puts it in a local whatever the count."""
        expr = tree.unwrap(expr)
        constant = self.constant(expr)
        if constant is not None:
            return repr(constant) if isfinite(constant) else "nan"
        key = self.key(expr)
        if key in self.locals.kept:
            return self.locals.kept[key]
        code = self._num(expr)
        if keep or self.uses[key] > 1:
            name = self.locals.new()
            self.locals.kept[key] = name
            return f"({name} := {code})"
        return code

    def constant(self, expr: Expr) -> float | None:
        """Return the value of a number that cannot change, folded; None for the others."""
        expr = tree.unwrap(expr)
        if isinstance(expr, tree.Number):
            return expr.value
        if isinstance(expr, tree.Param):
            return float(self.owner.params[expr.name])
        if isinstance(expr, tree.Negate):
            inner = self.constant(expr.operand)
            return None if inner is None else -inner
        if isinstance(expr, tree.Arithmetic):
            left, right = self.constant(expr.left), self.constant(expr.right)
            if left is not None and right is not None:
                return _fold(expr.op, left, right)
        return None

    def _num(self, expr: Expr) -> str:
        match expr:
            case tree.Field():
                return self.field(expr)
            case tree.Cell():
                return self.cell(expr)
            case tree.Entered():
                return self.frozen(expr)
            case tree.Negate():
                return f"(-{self.num(expr.operand)})"
            case tree.Arithmetic(op="/"):
                return self.quotient(expr.left, expr.right, "")
            case tree.Arithmetic():
                return f"({self.num(expr.left)} {expr.op} {self.num(expr.right)})"
            case tree.IfElse():
                return self.choice(expr)
            case Call():
                return self.call(expr)
            case tree.StreamArg():
                return self.counter(expr)
        raise TypeError(f"{type(expr).__name__} is not a number")

    def quotient(self, left: Expr, right: Expr, then: str) -> str:
        """Write `left / right` and what follows; missing when the divisor is 0 or not finite."""
        divisor = self.constant(right)
        if divisor is not None:
            if divisor == 0.0 or not isfinite(divisor):
                return "nan"
            return f"({self.num(left)} / {divisor!r}{then})"
        below = self.num(right, keep=True)
        name = self.locals.kept[self.key(tree.unwrap(right))]
        above = self.later(left)
        guard = self.not_zero(below, name, span(right, self.owner.ranges))
        return f"({above} / {name}{then} if {guard} else nan)"

    def not_zero(self, code: str, name: str, interval: Interval) -> str:
        if interval.low >= 0.0:
            return f"0.0 < {code} < I"
        if interval.high <= 0.0:
            return f"N < {code} < 0.0"
        return f"N < {code} < I and {name} != 0.0"

    def choice(self, expr: tree.IfElse) -> str:
        true = self.true(expr.condition)
        value = self.later(expr.value)
        with self.fork():
            false = self.false(expr.condition)
            other = self.num(expr.other)
        return f"({value} if {true} else {other} if {false} else nan)"

    def field(self, expr: tree.Field) -> str:
        if expr.kind == "source":
            return f"{self.owner.name(('field', f'{expr.key}.{expr.field}'))}.value"
        s = self.owner.name(("stream", expr.key))
        if expr.kind == "funding" and expr.field != "rate":
            return self.funding(expr, s)
        if expr.kind != "book" or expr.field in ("bid", "ask", "bid_qty", "ask_qty"):
            return f"{s}.{expr.field}"
        if expr.field == "mid":
            return f"(({s}.bid + {s}.ask) * 0.5)"
        v = self.locals.new()
        if expr.field == "spread":
            return f"(({s}.ask - {s}.bid) / {v} if 0.0 < ({v} := ({s}.bid + {s}.ask) * 0.5) < I else nan)"  # noqa: E501
        total = f"0.0 < ({v} := {s}.bid_qty + {s}.ask_qty) < I"
        if expr.field == "imbalance":
            return f"(({s}.bid_qty - {s}.ask_qty) / {v} if {total} else nan)"
        return f"(({s}.bid * {s}.ask_qty + {s}.ask * {s}.bid_qty) / {v} if {total} else nan)"

    def funding(self, expr: tree.Field, s: str) -> str:
        if expr.field == "next_in":
            return f"next_in({s}.rate, {s}.next_at, {self.owner.name(('clock', ''))}.wall)"
        return f"{expr.field}({s}.rate, {s}.interval)"

    def counter(self, expr: tree.StreamArg) -> str:
        """Write how many updates a stream had, missing while it is not live."""
        s = self.owner.name(("stream", expr.key))
        live = self.owner.name(("text", "live"))
        return f"({s}.seq if {s}.state == {live} else nan)"

    def cell(self, expr: tree.Cell) -> str:
        owner = self.this if expr.space is tree.Space.THIS else expr.owner
        space = "rule" if expr.space is tree.Space.THIS else str(expr.space)
        name = self.owner.name((space, owner))
        call = "(now)" if CELLS[expr.space][expr.field].method else ""
        return f"{name}.{expr.field}{call}"

    def frozen(self, expr: tree.Entered) -> str:
        index = self.entered.index(tree.key(expr.expr))
        cell = self.owner.name(("rule", self.this))
        return f"({cell}.entered[{index}] if len({cell}.entered) > {index} else nan)"


def _fold(op: str, left: float, right: float) -> float:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    return left / right if right else nan
