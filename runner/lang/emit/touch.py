"""The touch instead of the walk: a cheap test before a comparison that walks a book."""

from __future__ import annotations

from runner.lang import tree
from runner.lang.emit.writing import Writing
from runner.lang.spans import span
from runner.lang.tree import Call, Compare, Expr

_UP, _DOWN = 1.000000000001, 0.999999999999
"""slack for the rounding of an average over a book's levels"""


class Touch(Writing):
    """The part that bounds a walk by its touch."""

    def quick(self, expr: Compare) -> str:
        """Write a cheap condition that holds whenever the chain holds; empty when there is none.

        Selling into a book never gives more than its bid, buying never costs less than its ask.
        """
        if not _walks(expr):
            return ""
        found = []
        with self.fork():
            for op, left, right in zip(
                expr.ops, expr.operands[:-1], expr.operands[1:], strict=True
            ):
                small, large = (left, right) if op[0] == "<" else (right, left)
                if not (_walks(small) or _walks(large)):
                    continue
                low, high = self.bound(small, up=False), self.bound(large, up=True)
                if low and high:
                    found.append(f"{low} <{op[1:]} {high}")
                self.locals.kept = {}
        return " and ".join(found)

    def bound(self, expr: Expr, up: bool) -> str:
        """Write what a number cannot be above (`up`) or below; empty when that is not cheap."""
        expr = tree.unwrap(expr)
        if not _walks(expr):
            return self.plain(expr)
        match expr:
            case tree.Arithmetic(op="+" | "-" as op):
                a = self.bound(expr.left, up)
                b = self.bound(expr.right, up if op == "+" else not up)
                return f"({a} {op} {b})" if a and b else ""
            case Call(function="gap"):
                if any(span(arg, self.owner.ranges).low < 0.0 for arg in expr.args):
                    return ""
                b = self.bound(expr.args[1], not up)
                with self.fork():
                    a = self.bound(expr.args[0], up)
                v = self.locals.new()
                return f"({a} / {v} - 1.0 if 0.0 < ({v} := {b}) < I else nan)" if a and b else ""
            case Call(function="fill_price"):
                stream, side, _ = expr.args
                assert isinstance(stream, tree.StreamArg) and isinstance(side, tree.SideArg)
                if side.buy is up:
                    return ""
                s = self.owner.name(("stream", stream.key))
                return f"{s}.ask * {_DOWN!r}" if side.buy else f"{s}.bid * {_UP!r}"
        return ""


def _walks(expr: Expr) -> bool:
    return any(node.function == "fill_price" for node in tree.find(expr, Call))
