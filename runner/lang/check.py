"""The checker: the text of an expression and what names exist in, a typed tree out.

One mistake gives one diagnostic: where one was found the tree goes on with an unknown type that
fits everything, and the rest of the text is still checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from runner.base.units import DURATIONS, RATIOS
from runner.lang import parser, resolve, tree, types
from runner.lang.calls import Calls
from runner.lang.checking import operand_of
from runner.lang.diagnostics import Findings, Text
from runner.lang.functions import CELLS, FUNCTIONS, SHORT
from runner.lang.lexer import Fault
from runner.lang.operators import Operators
from runner.lang.parser import Syntax
from runner.lang.ranges import ALL
from runner.lang.resolve import Unresolved, nearest
from runner.lang.scope import Scope
from runner.lang.tree import Expr
from runner.lang.types import Sort, Type
from runner.lang.unit_rules import Operand, fits

MAX_SIZE = 5000
MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Want:
    """What a place of the file takes: one of `types` (none = any value), called `what`."""

    types: tuple[Type, ...]
    what: str = "a value"
    help: str = ""
    """what to write where the type is another"""


ANY = Want((), "a value")
CONDITION = Want((types.BOOL,), "a condition")
NUMBER = Want((types.NUMBER,), "a number")
RATIO = Want((types.RATIO,), "a ratio")
DURATION = Want((types.DURATION,), "a duration")
TEXT = Want((types.TEXT,), "a text")


def check(text: Text, scope: Scope, want: Want, findings: Findings, path: str) -> Expr | None:
    """Parse and check an expression; None after a diagnostic was added.

    A tree that only *uses* a broken signal comes back (see `tree.is_broken`) without a second
    diagnostic.
    """
    checker = _Checker(text, scope, findings, path)
    try:
        syntax = parser.parse(text.text)
    except Fault as fault:
        checker.report(fault)
        return None
    expr = checker.visit(syntax)
    if checker.faults == 0:
        checker.place(expr, want)
    if checker.faults == 0 and (expr.size > MAX_SIZE or expr.depth > MAX_DEPTH):
        checker.report(Fault("E0302", "the expression is too large with its signals written out",
                             0, len(text.text)))  # fmt: skip
    return expr if checker.faults == 0 else None


class _Checker(Calls, Operators):
    """The whole: visits every node, resolves names."""

    def place(self, expr: Expr, want: Want) -> None:
        """Compare with what the place of the file takes."""
        found = expr.type
        if found.sort in (Sort.STREAM, Sort.SIDE):
            self.not_a_value(expr)
        elif want.types and not any(_suits(expr, wanted) for wanted in want.types):
            if want.types == (types.BOOL,):
                self.fault("E0310", f"{want.what} is needed here, found {found}", expr,
                           help_="compare it with something: `x > 0`")  # fmt: skip
            else:
                names = " or ".join(dict.fromkeys(str(t) for t in want.types))
                self.fault("E0316", f"{want.what} is needed here, found {found}", expr, names,
                           want.help)  # fmt: skip

    def visit(self, syntax: Syntax) -> Expr:
        """Check one node and all below it."""
        match syntax:
            case parser.NumberSyntax():
                return self.number(syntax)
            case parser.StringSyntax():
                return tree.String(*self.base(syntax, types.TEXT), syntax.value)
            case parser.BoolSyntax():
                return tree.Bool(*self.base(syntax, types.BOOL), syntax.value)
            case parser.NameSyntax():
                return self.name(syntax)
            case parser.CallSyntax():
                return self.call(syntax)
            case parser.UnarySyntax():
                return self.unary(syntax)
            case parser.BinarySyntax():
                return self.binary(syntax)
            case parser.ManySyntax():
                return self.many(syntax)
            case parser.CompareSyntax():
                return self.compare(syntax)
            case parser.InSyntax():
                return self.membership(syntax)
            case parser.IfSyntax():
                return self.if_else(syntax)
        raise TypeError(type(syntax).__name__)

    def number(self, syntax: parser.NumberSyntax) -> Expr:
        unit = syntax.unit
        value = syntax.value
        type_ = types.NUMBER
        if unit in DURATIONS:
            type_ = types.DURATION
            value = float(Decimal(repr(value)) * DURATIONS[unit] / 1_000_000_000)
        elif unit in RATIOS:
            type_ = types.RATIO
            value = float(Decimal(repr(value)) * Decimal(repr(RATIOS[unit])))
        elif unit == "bars":
            type_ = types.COUNT
        elif unit:
            known = self.scope.currencies
            if known is not None and unit not in known:
                self.report(
                    Unresolved(
                        "E0303",
                        f"`{unit}` is no currency of this file",
                        (unit, syntax.unit_start),
                        nearest(unit, known),
                        notes=(f"its currencies: {', '.join(sorted(known))}",),
                    )
                )
                return self.broken(syntax)
            type_ = self.scope.amount(unit)
        return tree.Number(*self.base(syntax, type_), value, unit)

    # -- names --------------------------------------------------------------------------------

    def name(self, syntax: parser.NameSyntax) -> Expr:
        try:
            return self.resolved(syntax)
        except Unresolved as fault:
            self.report(fault)
            return self.broken(syntax)

    def resolved(self, syntax: parser.NameSyntax) -> Expr:
        first = syntax.parts[0][0]
        scope = self.scope
        if first == "params":
            return self.param(syntax)
        if first == "account" and len(syntax.parts) > 2 and syntax.parts[2][0] == "position":
            owner, type_ = resolve.account_position(scope, syntax)
            base = self.base(syntax, type_)
            return tree.Cell(*base, tree.Space.POSITION, owner, "account_qty")
        if first in CELLS:
            owner, field, type_ = resolve.cell(scope, syntax)
            return tree.Cell(*self.base(syntax, type_), tree.Space(first), owner, field)
        if first == "sizing":
            name = resolve.part(syntax, 1, f"one of: {', '.join(scope.sizing)}")
            resolve.too_long(syntax, 2)
            if name[0] not in scope.sizing:
                raise Unresolved("E0304", f"no sizing is named `{name[0]}`", name,
                                 nearest(name[0], scope.sizing))  # fmt: skip
            return self.named(syntax, name[0], scope.sizing[name[0]], True)
        if first in ("buy", "sell"):
            resolve.too_long(syntax, 1)
            return tree.SideArg(*self.base(syntax, types.SIDE), first == "buy")
        if first in scope.markets:
            return self.market(syntax)
        if first in scope.signals:
            resolve.too_long(syntax, 1)
            return self.named(syntax, first, scope.signals[first], False)
        if first in scope.sources:
            return self.source_field(syntax)
        raise self.nowhere(syntax)

    def nowhere(self, syntax: parser.NameSyntax) -> Unresolved:
        """Say that a name does not exist, with what may be meant."""
        scope, (first, _) = self.scope, syntax.parts[0]
        if len(syntax.parts) == 1 and first in scope.params:
            label = f"did you mean `params.{first}`?"
        elif len(syntax.parts) == 1 and first in FUNCTIONS:
            label = f"a function: `{FUNCTIONS[first].signature}`"
        elif len(syntax.parts) == 1:
            label = nearest(first, [*scope.signals, *(f"params.{p}" for p in scope.params)])
        else:
            label = nearest(first, [*scope.markets, *scope.sources, "params", "sizing", *CELLS])
        known = sorted(scope.markets) if len(syntax.parts) > 1 else []
        return Unresolved("E0304", f"nothing is named `{first}`", syntax.parts[0], label,
                          notes=(f"markets: {', '.join(known)}",) if known else ())  # fmt: skip

    def param(self, syntax: parser.NameSyntax) -> Expr:
        name = resolve.part(syntax, 1, f"one of: {', '.join(self.scope.params)}")
        resolve.too_long(syntax, 2)
        param = self.scope.params.get(name[0])
        if param is None:
            raise Unresolved("E0304", f"no param is named `{name[0]}`", name,
                             nearest(name[0], self.scope.params))  # fmt: skip
        if param.default is None:
            return self.broken(syntax)
        return tree.Param(*self.base(syntax, param.type), param.name)

    def named(self, syntax: Syntax, name: str, expr: Expr | None, sizing: bool) -> Expr:
        if expr is None:
            return tree.Broken(*self.base(syntax, types.UNKNOWN), name)
        return tree.Named(*self.base(syntax, expr.type, expr), name, expr, sizing)

    def source_field(self, syntax: parser.NameSyntax) -> Expr:
        name = syntax.parts[0][0]
        source = self.scope.sources[name]
        if source is None:
            return tree.Broken(*self.base(syntax, types.UNKNOWN), name)
        if len(syntax.parts) == 1:
            return tree.StreamArg(*self.base(syntax, types.STREAM), name, "", "source")
        field = syntax.parts[1][0]
        resolve.too_long(syntax, 2)
        if field not in source.fields:
            raise resolve.lacks(name, syntax.parts[1], source.fields)
        bounds = source.ranges.get(field, ALL)
        return tree.Field(*self.base(syntax, source.fields[field]), name, "", "source", field,
                          bounds)  # fmt: skip

    def market(self, syntax: parser.NameSyntax) -> Expr:
        market = self.scope.markets[syntax.parts[0][0]]
        second = resolve.part(syntax, 1, "a market; take a field: `.bid`, `.ask`, `.mid`")
        if second[0] in SHORT and "book" in market.streams:
            kind, field = "book", second
            resolve.too_long(syntax, 2)
        else:
            kind = resolve.stream_kind(market, second)
            if len(syntax.parts) == 2:
                key = f"{market.name}.{kind}"
                return tree.StreamArg(*self.base(syntax, types.STREAM), key, market.name, kind)
            field = syntax.parts[2]
            resolve.too_long(syntax, 3)
        spec = resolve.stream_field(market, kind, field)
        type_ = resolve.measure(self.scope, spec.measure, market.base, market.quote)
        key = f"{market.name}.{kind}"
        return tree.Field(*self.base(syntax, type_), key, market.name, kind, field[0])


def _suits(expr: Expr, wanted: Type) -> bool:
    if wanted.sort is Sort.TEXT and expr.type.sort is Sort.TEXT:
        return True
    return (
        fits(operand_of(expr), Operand(wanted)) if wanted.numeric else types.same(expr.type, wanted)
    )
