"""What all parts of the checker share: reporting, and sub-expressions of a wanted sort."""

from __future__ import annotations

from runner.lang import tree, types
from runner.lang.diagnostics import Diagnostic, Findings, Text
from runner.lang.functions import FIELDS
from runner.lang.lexer import Fault
from runner.lang.parser import Syntax
from runner.lang.resolve import Unresolved
from runner.lang.scope import Scope
from runner.lang.tree import Expr
from runner.lang.types import Sort, Type
from runner.lang.unit_rules import Operand

Base = tuple[Type, Text, int, int, int, int]
"""the fields that all nodes have"""


class Checking:
    """One expression on its way from syntax to a typed tree.

    `faults` counts its mistakes; after one the tree goes on with a type that fits everything.
    """

    def __init__(self, text: Text, scope: Scope, findings: Findings, path: str) -> None:
        self.text = text
        self.scope = scope
        self.findings = findings
        self.path = path
        self.faults = 0

    # -- reporting ----------------------------------------------------------------------------

    def report(self, fault: Fault) -> None:
        self.faults += 1
        notes = fault.notes if isinstance(fault, Unresolved) else ()
        self.findings.add(
            Diagnostic(
                fault.code,
                fault.message,
                self.text.at(fault.start, fault.end),
                fault.label,
                self.path,
                notes=notes,
                help=(fault.help,) if fault.help else (),
            )
        )

    def fault(self, code: str, message: str, at: Syntax | Expr, label: str = "",
              help_: str = "") -> None:  # fmt: skip
        self.report(Fault(code, message, at.start, at.end, label, help_))

    def source(self, at: Syntax | Expr) -> str:
        return self.text.text[at.start : at.end]

    def base(self, at: Syntax, type_: Type, *below: Expr) -> Base:
        size = 1 + sum(child.size for child in below)
        depth = 1 + max((child.depth for child in below), default=0)
        return type_, self.text, at.start, at.end, min(size, 10**9), depth

    def written(self, *below: Expr) -> tuple[Expr, ...]:
        """Return the nodes as often as generated code holds them: conditions and texts twice.

        `size` counts these, so that its bound is one on the code (2^n for n conditions in a row
        of `if` inside each other, otherwise).
        """
        return tuple(node for node in below for _ in range(1 if node.type.numeric else 2))

    def broken(self, at: Syntax, *below: Expr) -> tree.Broken:
        return tree.Broken(*self.base(at, types.UNKNOWN, *below), "")

    def not_a_value(self, expr: Expr) -> None:
        label = "a stream" if expr.type.sort is Sort.STREAM else "a side"
        help_ = f"one of its fields: `{self.source(expr)}.{{}}`"
        if isinstance(expr, tree.StreamArg):
            source = self.scope.sources.get(expr.key)
            fields = ", ".join(sorted(source.fields if source else FIELDS.get(expr.kind, ())))
            help_ = f"take a field: {fields}"
        else:
            help_ = "`buy` and `sell` are arguments of `fill_price`"
        self.fault("E0305", f"`{self.source(expr)}` is not a value", expr, label, help_)

    def visit(self, syntax: Syntax) -> Expr:
        """Check one node and all below it."""
        raise NotImplementedError

    def value(self, syntax: Syntax) -> Expr:
        """Check a node that must be a number, a bool or a text."""
        expr = self.visit(syntax)
        if expr.type.sort in (Sort.STREAM, Sort.SIDE):
            self.not_a_value(expr)
            return self.broken(syntax)
        return expr

    def numeric(self, syntax: Syntax, where: str) -> Expr:
        """Check a node that must be a number."""
        expr = self.value(syntax)
        if not expr.type.numeric:
            self.fault("E0306", f"{where} a number, found {expr.type}", syntax)
            return self.broken(syntax)
        return expr

    def condition(self, syntax: Syntax, where: str) -> Expr:
        """Check a node that must be true or false."""
        expr = self.value(syntax)
        if expr.type.sort is Sort.BOOL or expr.type.unknown:
            return expr
        self.fault("E0310", f"{where} a condition, found {expr.type}", syntax,
                   help_="compare it with something: `x > 0`")  # fmt: skip
        return self.broken(syntax)


def literal(expr: Expr) -> float | None:
    """Return the value of a bare number, None for anything else."""
    return expr.value if isinstance(expr, tree.Number) and not expr.unit else None


def operand_of(expr: Expr) -> Operand:
    return Operand(expr.type, literal(expr))


def joined(left: Expr, right: Expr) -> Type:
    """Return the type of two that fit, where one may be a literal 0 or 1."""
    if types.same(left.type, right.type):
        return types.join(left.type, right.type)
    return right.type if literal(left) is not None else left.type
