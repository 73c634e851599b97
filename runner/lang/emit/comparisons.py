"""Comparisons: chains open to finite numbers only, equality of any type."""

from __future__ import annotations

from collections.abc import Sequence

from runner.lang import tree
from runner.lang.emit.touch import Touch
from runner.lang.tree import Compare, Expr
from runner.lang.types import Sort
from runner.lang.windowing import is_bool

_REVERSED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Comparisons(Touch):
    """The part that writes comparisons."""

    def compare(self, expr: Compare, wanted: bool) -> str:
        if not all(operand.type.numeric for operand in expr.operands):
            return self.pairs(expr, wanted)
        ops = set(expr.ops)
        if not wanted:
            # Both pairs of a chain read its middle: keep it for the second.
            self.uses.update(self.key(tree.unwrap(o)) for o in expr.operands[1:-1])
        if wanted and (ops <= {"<", "<="} or ops <= {">", ">="}):
            quick = self.quick(expr)
            if not quick:
                return self.chain(expr.ops, expr.operands)
            with self.fork():
                return f"({quick} and {self.chain(expr.ops, expr.operands)})"
        if not wanted and len(expr.ops) == 1 and expr.ops[0] not in ("==", "!="):
            return self.chain((_REVERSED[expr.ops[0]],), expr.operands)
        return self.pairs(expr, wanted)

    def pairs(self, expr: Compare, wanted: bool) -> str:
        """Write a chain as single comparisons: all true, or any false."""
        rows = list(zip(expr.ops, expr.operands[:-1], expr.operands[1:], strict=True))
        if len(rows) > 1 and rows[0][0] in _FLIPPED:  # the shared operand first: it surely runs
            op, left, right = rows[0]
            rows[0] = (_FLIPPED[op], right, left)
        parts = [self.pair(*rows[0], wanted)]
        before = dict(self.locals.kept)
        parts += [self.pair(*row, wanted) for row in rows[1:]]
        self.locals.kept = before
        return "(" + (" and " if wanted else " or ").join(parts) + ")"

    def pair(self, op: str, left: Expr, right: Expr, wanted: bool) -> str:
        if op in ("==", "!="):
            return self.equal(left, right, wanted is (op == "=="))
        return self.chain((op if wanted else _REVERSED[op],), (left, right))

    def chain(self, ops: Sequence[str], operands: Sequence[Expr]) -> str:
        """Write a rising or falling chain, open to finite numbers only.

        The first operand runs; the others run only if what stands before them holds.
        """
        rising = ops[0] in ("<", "<=")
        low, high, sign = ("N", "I", "<") if rising else ("I", "N", ">")
        code = self.num(operands[0])
        if self.constant(operands[0]) is None:
            code = f"{low} {sign} {code}"
        with self.fork():
            for op, operand in zip(ops, operands[1:], strict=True):
                code += f" {op} {self.num(operand)}"
        if self.constant(operands[-1]) is None:
            code += f" {sign} {high}"
        return f"({code})"

    def equal(self, left: Expr, right: Expr, wanted: bool) -> str:
        """Write whether two values of one type are definitely equal, or definitely not."""
        if is_bool(left):
            sides = []
            with self.fork():
                for value in (True, False):
                    other = value if wanted else not value
                    sides.append(f"({self.truth(left, value)} and {self.truth(right, other)})")
                    self.locals.kept = {}
            return f"({sides[0]} or {sides[1]})"
        if left.type.sort is Sort.TEXT:
            a, b = self.text(left), self.text(right)
            op = "==" if wanted else "!="
            return f"({a} is not None and {b} is not None and {a} {op} {b})"
        constant = self.constant(left) is not None, self.constant(right) is not None
        a = self.num(left, keep=not constant[0])
        first = self.locals.kept.get(self.key(tree.unwrap(left)), a)
        with self.fork():
            b = self.num(right, keep=not constant[1])
            second = self.locals.kept.get(self.key(tree.unwrap(right)), b)
        op = "==" if wanted else "!="
        return f"(N < {a} < I and N < {b} < I and {first} {op} {second})"
