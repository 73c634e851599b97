"""What every reader of a section needs: the findings, the names in scope, the params in force.

The readers of `spec` take a node and return a value in its final unit, or None after a diagnostic
(or when a diagnostic was given earlier: such nodes are `bad`). A place of the file that must be
constant is folded here, with the params in force.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from runner.lang import types
from runner.lang.check import Want, check
from runner.lang.diagnostics import Diagnostic, Findings, Mark, Related
from runner.lang.nodes import Mapping, Node, Scalar
from runner.lang.scope import RESERVED, Scope, ThisScope
from runner.lang.tree import Arithmetic, Call, Expr, Named, Negate, Number, Param, is_broken
from runner.lang.types import Type
from runner.spec.parts import Quantity, Rate

LONGEST_EXPRESSION = 4_000
"""characters"""


@dataclass(slots=True)
class Context:
    """One check of one file."""

    findings: Findings
    scope: Scope = field(default_factory=Scope)
    values: dict[str, float | str | bool] = field(default_factory=dict)
    """params in force, in base units"""
    _wrong: set[str] = field(default_factory=set)
    _counted: int = 0

    def add(
        self,
        code: str,
        message: str,
        mark: Mark,
        label: str = "",
        path: str = "",
        related: Iterable[Related] = (),
        notes: Iterable[str] = (),
        help: Iterable[str] = (),
        cause: str = "",
        severe: bool = False,
    ) -> None:
        """Report a finding."""
        found = Diagnostic(
            code, message, mark, label, path, tuple(related), tuple(notes), tuple(help), cause,
            severe=severe,
        )  # fmt: skip
        self.findings.add(found)

    def secret(self, node: Scalar, message: str, path: str) -> None:
        """Report a secret that stands in the file (E0205); no message shows it."""
        node.bad = True
        help = (f"{path.rsplit('.', 1)[-1]}: {{env: NAME}}",)
        label = "the file is shared; this is not shown again"
        self.findings.add(
            Diagnostic("E0205", message, node.mark, label, path, help=help, masked=(node.mark,))
        )

    def free_name(self, name: str, mark: Mark, path: str, **taken: Container[str]) -> None:
        """Report a name that is taken, by kind (`market=markets`), or a word of the language."""
        for kind, names in taken.items():
            if name in names:
                message = f"`{name}` is the name of a {kind} as well"
                break
        else:
            if name not in RESERVED:
                return
            message = f"`{name}` is a word of the language and cannot be a name"
        self.add("E0203", message, mark, "", f"{path}.{name}")

    def has_error(self, path: str) -> bool:
        """Return whether an error was reported at `path` or below it."""
        for found in self.findings.items[self._counted :]:
            if found.is_error:
                parts = found.path.split(".")
                self._wrong.update(".".join(parts[: i + 1]) for i in range(len(parts)))
        self._counted = len(self.findings.items)
        return path in self._wrong

    # --- expressions -----------------------------------------------------------------------------

    def expr(
        self, node: Node | None, want: Want, path: str, this: ThisScope | None = None
    ) -> Expr | None:
        """Check an expression; None when there is none or it is in error."""
        if not isinstance(node, Scalar) or node.bad:
            return None
        text = node.source
        if len(text.text) > LONGEST_EXPRESSION:
            message = f"an expression longer than {LONGEST_EXPRESSION} characters"
            self.add("E0302", message, node.mark, "", path, help=("name parts of it in `signals`",))
            return None
        return check(text, self.scope.at(this), want, self.findings, path)

    def constant(self, node: Node | None, want: Want, path: str) -> tuple[float, Type] | None:
        """Return the value of a place that must be constant, and its type."""
        expr = self.expr(node, want, path)
        if expr is None or is_broken(expr):
            return None
        value = fold(expr, self.values)
        if value is None:
            assert node is not None
            label = "changes while the strategy runs"
            help = ("write a value, or a parameter: `params.x`",)
            self.add(
                "E0316", f"{want.what} here must be constant", node.mark, label, path, help=help
            )
            return None
        return value, expr.type

    # --- constant places of a mapping ------------------------------------------------------------

    def duration(self, at: Mapping, key: str, path: str) -> int | None:
        """Return a duration in ns; None when absent or in error. Negative ones are E0203."""
        value = self._number(at, key, path, DURATION)
        return None if value is None else round(value * 1e9)

    def ratio(self, at: Mapping, key: str, path: str) -> float | None:
        """Return a ratio (15 bps is 0.0015); None when absent or in error."""
        return self._number(at, key, path, RATIO)

    def quantity(
        self, at: Mapping, key: str, path: str, currencies: Iterable[str], what: str
    ) -> Quantity | None:
        """Return an amount of one of `currencies`; None when absent or in error."""
        return self.amount(at.get(key), f"{path}.{key}", currencies, what)

    def amount(
        self, node: Node | None, path: str, currencies: Iterable[str], what: str
    ) -> Quantity | None:
        """Return the amount at a node: more than zero, of one of `currencies`."""
        wanted = tuple(types.amount(self.scope.currency(c)) for c in sorted(set(currencies)))
        found = self.constant(node, Want(wanted, what), path)
        if found is None or node is None:
            return None
        value, type_ = found
        if value <= 0:
            self.add("E0203", f"{what} must be more than zero", node.mark, "", path)
            return None
        unit = type_.currency or (wanted[0].currency if wanted else None) or ""
        return Quantity(exact(value), unit)

    def rate(self, at: Mapping, key: str, path: str) -> Rate | None:
        """Return `{count, per}`; None when absent or in error."""
        node = at.get(key)
        if not isinstance(node, Mapping) or node.bad:
            return None
        count = integer(node, "count")
        per = self.duration(node, "per", f"{path}.{key}")
        if count is None or per is None:
            return None
        return Rate(count, per)

    def _number(self, at: Mapping, key: str, path: str, want: Want) -> float | None:
        node = at.get(key)
        found = self.constant(node, want, f"{path}.{key}")
        if found is None or node is None:
            return None
        if found[0] < 0:
            self.add("E0203", f"`{key}` cannot be negative", node.mark, "", f"{path}.{key}")
            return None
        return found[0]


DURATION = Want((types.DURATION,), "a duration")
RATIO = Want((types.RATIO,), "a ratio")


def fold(expr: Expr, values: dict[str, float | str | bool]) -> float | None:
    """Return the value of an expression over literals and params; None when it is not constant."""
    match expr:
        case Number():
            return expr.value
        case Param():
            value = values.get(expr.name)
            return float(value) if isinstance(value, int | float) else None
        case Named():
            return fold(expr.expr, values)
        case Negate():
            inner = fold(expr.operand, values)
            return None if inner is None else -inner
        case Arithmetic():
            left, right = fold(expr.left, values), fold(expr.right, values)
            return None if left is None or right is None else _apply(expr.op, left, right)
        case Call(function="min" | "max" | "abs"):
            args = [fold(a, values) for a in expr.args]
            known = [a for a in args if a is not None]
            if not known or len(known) < len(args):
                return None
            return {"min": min, "max": max}.get(expr.function, lambda a: abs(a[0]))(known)
    return None


def _apply(op: str, left: float, right: float) -> float | None:
    if op == "/":
        result = left / right if right else math.nan
    else:
        result = {"+": left + right, "-": left - right, "*": left * right}[op]
    return result if math.isfinite(result) else None


def exact(value: float) -> Decimal:
    """Return the decimal a float was written as (12 significant digits)."""
    return Decimal(f"{value:.12g}")


def word(at: Mapping, key: str, default: str) -> str:
    """Return a word of the file; the default when absent or in error."""
    node = at.get(key)
    return node.text if isinstance(node, Scalar) and not node.bad else default


def text(at: Mapping, key: str) -> str | None:
    """Return a text; None when absent or in error."""
    node = at.get(key)
    return node.text if isinstance(node, Scalar) and not node.bad else None


def flag(at: Mapping, key: str) -> bool:
    """Return true or false; false when absent."""
    node = at.get(key)
    return isinstance(node, Scalar) and not node.bad and node.value is True


def integer(at: Mapping, key: str) -> int | None:
    """Return a whole number; None when absent or in error."""
    node = at.get(key)
    if isinstance(node, Scalar) and not node.bad and isinstance(node.value, int):
        return int(node.value)
    return None


def section(at: Mapping, key: str) -> Mapping:
    """Return a mapping of the file; an empty one when absent or in error."""
    node = at.get(key)
    if isinstance(node, Mapping) and not node.bad:
        return node
    return Mapping(at.key(key))
