"""The checker: the text of an expression and what names exist in, a typed tree out.

One mistake gives one diagnostic: where one was found the tree goes on with an unknown type that
fits everything, and the rest of the text is still checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from runner.base.units import DURATIONS, RATIOS
from runner.lang import parser, resolve, tree, types
from runner.lang.diagnostics import Diagnostic, Findings, Text
from runner.lang.functions import (
    CELLS,
    FIELDS,
    FUNCTIONS,
    LATER,
    SHORT,
    Function,
    Mismatch,
    Operand,
    Take,
    fits,
)  # fmt: skip
from runner.lang.lexer import Fault
from runner.lang.parser import Syntax
from runner.lang.resolve import Unresolved, nearest
from runner.lang.scope import Scope
from runner.lang.tree import Expr, Window
from runner.lang.types import Sort, Type

MAX_SIZE = 5000
MAX_DEPTH = 60
MIN_WINDOW_NS = 10_000_000

Base = tuple[Type, Text, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Want:
    """What a place of the file takes: one of `types` (none = any value), called `what`."""

    types: tuple[Type, ...]
    what: str = "a value"


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


class _Checker:
    """One expression on its way from syntax to a typed tree."""

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

    def broken(self, at: Syntax, *below: Expr) -> tree.Broken:
        return tree.Broken(*self.base(at, types.UNKNOWN, *below), "")

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
                self.fault("E0316", f"{want.what} is needed here, found {found}", expr, names)

    def not_a_value(self, expr: Expr) -> None:
        label = "a stream" if expr.type.sort is Sort.STREAM else "a side"
        help_ = f"one of its fields: `{self.source(expr)}.{{}}`"
        if isinstance(expr, tree.StreamArg):
            fields = ", ".join(sorted(FIELDS[expr.kind]))
            help_ = f"take a field: {fields}"
        else:
            help_ = "`buy` and `sell` are arguments of `fill_price`"
        self.fault("E0305", f"`{self.source(expr)}` is not a value", expr, label, help_)

    # -- visiting -----------------------------------------------------------------------------

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
            raise resolve.later(f"source `{first}`", syntax.parts[0])
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
            label = nearest(first, [*scope.markets, "params", "sizing", *CELLS])
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

    # -- operators ----------------------------------------------------------------------------

    def unary(self, syntax: parser.UnarySyntax) -> Expr:
        if syntax.op == "not":
            operand = self.condition(syntax.operand, "`not` needs")
            return tree.Not(*self.base(syntax, types.BOOL, operand), operand)
        operand = self.numeric(syntax.operand, "`-` needs")
        if isinstance(operand, tree.Number):
            return tree.Number(*self.base(syntax, operand.type), -operand.value, operand.unit)
        return tree.Negate(*self.base(syntax, operand.type, operand), operand)

    def binary(self, syntax: parser.BinarySyntax) -> Expr:
        left = self.numeric(syntax.left, f"`{syntax.op}` needs")
        right = self.numeric(syntax.right, f"`{syntax.op}` needs")
        if syntax.op in ("+", "-"):
            type_ = self.sum_type(syntax, left, right)
        elif syntax.op == "*":
            type_ = types.multiply(left.type, right.type)
        else:
            type_ = types.divide(left.type, right.type)
            if _literal(right) == 0:
                self.fault("E0307", "division by zero", syntax.right)
                type_ = types.UNKNOWN
        return tree.Arithmetic(*self.base(syntax, type_, left, right), syntax.op, left, right)

    def sum_type(self, syntax: parser.BinarySyntax, left: Expr, right: Expr) -> Type:
        a, b = _operand(left), _operand(right)
        if fits(a, b):
            if _literal(left) is not None and not types.same(a.type, b.type):
                return right.type
            if _literal(right) is not None and not types.same(a.type, b.type):
                return left.type
            return types.join(left.type, right.type)
        if self.ratio_against_number(left, right):
            return types.UNKNOWN
        help_ = ""
        if left.type.dims and right.type.is_ratio:
            help_ = (
                f"to move a price by a ratio, multiply: `{self.source(left)} * (1 {syntax.op} ...)`"
            )
        if syntax.op == "-":
            message = f"cannot subtract {right.type} from {left.type}"
        else:
            message = f"cannot add {right.type} to {left.type}"
        self.fault("E0306", message, syntax, help_=help_ or _convert(left.type, right.type))
        return types.UNKNOWN

    def ratio_against_number(self, left: Expr, right: Expr) -> bool:
        """Report E0309 where a ratio meets a bare literal; return whether it did."""
        for literal, other in ((left, right), (right, left)):
            value = _literal(literal)
            if value is not None and other.type.is_ratio:
                text = self.source(literal)
                self.fault("E0309", "a ratio compared with a plain number", literal,
                           f"{text} means {value * 100:.6g}%",
                           f"write `{text}bps` or `{text}%`")  # fmt: skip
                return True
        return False

    def many(self, syntax: parser.ManySyntax) -> Expr:
        items = tuple(self.condition(item, f"`{syntax.op}` needs") for item in syntax.items)
        base = self.base(syntax, types.BOOL, *items)
        return tree.And(*base, items) if syntax.op == "and" else tree.Or(*base, items)

    def compare(self, syntax: parser.CompareSyntax) -> Expr:
        operands = tuple(self.value(operand) for operand in syntax.operands)
        for index, op in enumerate(syntax.ops):
            left, right = operands[index], operands[index + 1]
            whole = len(syntax.ops) == 1
            start = syntax.start if whole else syntax.operands[index].start
            end = syntax.end if whole else syntax.operands[index + 1].end
            self.comparable(op, left, right, Syntax(start, end))
        return tree.Compare(*self.base(syntax, types.BOOL, *operands), syntax.ops, operands)

    def comparable(self, op: str, left: Expr, right: Expr, at: Syntax) -> None:
        """Report a pair that cannot be compared."""
        a, b = left.type, right.type
        if a.unknown or b.unknown:
            return
        if a.sort is Sort.NUMERIC and b.sort is Sort.NUMERIC:
            if fits(_operand(left), _operand(right)) or self.ratio_against_number(left, right):
                return
        elif a.sort is b.sort and op in ("==", "!="):
            self.choice(left, right)
            return
        elif a.sort is b.sort:
            self.fault("E0306", f"`{op}` compares numbers, found {a.sort}", at)
            return
        help_ = _convert(a, b)
        if (a.dims and b.is_ratio) or (b.dims and a.is_ratio):
            help_ = "to compare two markets as a ratio use `gap(a, b)`, which is a/b - 1"
        self.fault("E0306", f"cannot compare {a} with {b}", at, help_=help_)

    def choice(self, left: Expr, right: Expr) -> None:
        """Report a text that a one-of can never be."""
        for one, other in ((left, right), (right, left)):
            if one.type.choices and isinstance(other, tree.String):
                if other.value not in one.type.choices:
                    self.fault("E0308", f'"{other.value}" is not one of its values', other,
                               nearest(other.value, one.type.choices),
                               f"one of: {', '.join(one.type.choices)}")  # fmt: skip
                return

    def membership(self, syntax: parser.InSyntax) -> Expr:
        operand = self.value(syntax.operand)
        items = tuple(self.value(item) for item in syntax.items)
        for item in items:
            self.comparable("==", operand, item, Syntax(item.start, item.end))
        return tree.In(*self.base(syntax, types.BOOL, operand, *items), operand, items)

    def if_else(self, syntax: parser.IfSyntax) -> Expr:
        value = self.value(syntax.value)
        condition = self.condition(syntax.condition, "`if` needs")
        other = self.value(syntax.other)
        type_ = types.UNKNOWN
        if fits(_operand(value), _operand(other)):
            type_ = _joined(value, other)
        else:
            self.fault("E0306", f"both sides of `if` need one type, found {value.type} and "
                       f"{other.type}", syntax)  # fmt: skip
        return tree.IfElse(*self.base(syntax, type_, value, condition, other),
                           value, condition, other)  # fmt: skip

    # -- functions ----------------------------------------------------------------------------

    def call(self, syntax: parser.CallSyntax) -> Expr:
        name = syntax.name
        place = (name, syntax.start)
        if name == "entered":
            return self.entered(syntax)
        if name in LATER:
            self.report(resolve.later(f"`{name}`", place))
            return self.broken(syntax)
        function = FUNCTIONS.get(name)
        if function is None:
            self.report(Unresolved("E0311", f"no function is named `{name}`", place,
                                   nearest(name, [*FUNCTIONS, *LATER, "entered"])))  # fmt: skip
            return self.broken(syntax)
        if not self.arity(function, syntax):
            return self.broken(syntax)
        return self.applied(function, syntax)

    def arity(self, function: Function, syntax: parser.CallSyntax) -> bool:
        found, wanted = len(syntax.args), len(function.takes)
        if found == wanted or (function.variadic and found > wanted):
            return True
        at_least = "at least " if function.variadic else ""
        plural = "" if wanted == 1 else "s"
        self.fault("E0312", f"`{function.name}` takes {at_least}{wanted} argument{plural}, "
                   f"found {found}", syntax,
                   help_=f"{function.signature}: {function.doc}")  # fmt: skip
        return False

    def applied(self, function: Function, syntax: parser.CallSyntax) -> Expr:
        before = self.faults
        args: list[Expr] = []
        window: Window | None = None
        for index, arg in enumerate(syntax.args):
            take = function.take(index)
            if take is Take.WINDOW:
                window = self.window(function, arg, args)
            else:
                args.append(self.argument(function, take, arg))
        type_ = self.result(function, syntax, args) if self.faults == before else types.UNKNOWN
        if self.faults > before:
            return self.broken(syntax, *args)
        return tree.Call(*self.base(syntax, type_, *args), function.name, tuple(args), window)

    def argument(self, function: Function, take: Take, syntax: Syntax) -> Expr:
        name = function.name
        if take is Take.VALUE:
            return self.numeric(syntax, f"`{name}` needs")
        if take is Take.ANY:
            return self.value(syntax)
        expr = self.visit(syntax)
        wanted = Sort.STREAM if take is Take.STREAM else Sort.SIDE
        if expr.type.sort is not wanted and not expr.type.unknown:
            what = "a stream such as `bin.book`" if take is Take.STREAM else "`buy` or `sell`"
            self.fault("E0316", f"`{name}` needs {what}, found {expr.type}", syntax)
        elif name == "fill_price" and isinstance(expr, tree.StreamArg) and expr.kind != "book":
            self.fault("E0316", f"`fill_price` needs a book, found `{expr.key}`", syntax)
        return expr

    def result(self, function: Function, syntax: Syntax, args: Sequence[Expr]) -> Type:
        if any(arg.type.unknown for arg in args) and function.name != "known":
            kept = [arg for arg in args if not arg.type.unknown]
            try:
                return function.unit([_operand(a) for a in kept or args])
            except (Mismatch, IndexError):
                return types.UNKNOWN
        if function.name == "fill_price":
            return self.fill_price(args)
        try:
            return function.unit([_operand(arg) for arg in args])
        except Mismatch as mismatch:
            self.fault("E0306", str(mismatch), syntax)
            return types.UNKNOWN

    def fill_price(self, args: Sequence[Expr]) -> Type:
        """The size is an amount of the base or a notional in the quote of the market."""
        stream, _, size = args
        assert isinstance(stream, tree.StreamArg)
        market = self.scope.markets[stream.market]
        fitting = (self.scope.amount(market.base), self.scope.amount(market.quote))
        if not any(types.same(size.type, t) for t in fitting):
            self.fault("E0306", f"the size to take is an amount of {market.base} or of "
                       f"{market.quote}, found {size.type}", size)  # fmt: skip
        return self.scope.price(market.quote, market.base)

    def entered(self, syntax: parser.CallSyntax) -> Expr:
        this = self.scope.this
        if this is None or not this.holding:
            self.report(Unresolved("E0304", "`entered` is known only while a trade is held",
                                   ("entered", syntax.start), "allowed in `until`"))  # fmt: skip
            return self.broken(syntax)
        if len(syntax.args) != 1:
            self.fault("E0312", f"`entered` takes 1 argument, found {len(syntax.args)}", syntax,
                       help_="entered(x): x as it was when the trade was approved")  # fmt: skip
            return self.broken(syntax)
        expr = self.numeric(syntax.args[0], "`entered` needs")
        return tree.Entered(*self.base(syntax, expr.type, expr), expr)

    def window(self, function: Function, syntax: Syntax, args: Sequence[Expr]) -> Window | None:
        """Check a window: a duration, a count of bars, or a param of one of these."""
        before = self.faults
        expr = self.value(syntax)
        if self.faults > before or expr.type.unknown:
            return None
        name = function.name
        if expr.type.dims not in (types.DURATION.dims, types.COUNT.dims):
            text = self.source(syntax)
            bare = isinstance(expr, tree.Number) and not expr.unit
            self.fault("E0313", f"`{name}` needs a window, found {expr.type}", syntax,
                       help_=f"write `{text}s` or `{text}bars`" if bare
                       else "a duration `20s`, a count `20bars`, or a param of one")  # fmt: skip
            return None
        stream = self.bars_of(syntax, args) if expr.type.dims == types.COUNT.dims else ""
        if stream is None:
            return None
        if isinstance(expr, tree.Param):
            value = self.scope.params[expr.name].default
            if self.long_enough(name, syntax, expr.type, float(value or 0)):
                return Window(param=expr.name, stream=stream)
            return None
        if not isinstance(expr, tree.Number):
            self.fault("E0314", f"the window of `{name}` must be constant", syntax,
                       help_="its state is sized before the run: `20s` or a param")  # fmt: skip
            return None
        if not self.long_enough(name, syntax, expr.type, expr.value):
            return None
        if expr.type.dims == types.COUNT.dims:
            return Window(bars=int(expr.value), stream=stream)
        return Window(ns=round(expr.value * 1e9))

    def long_enough(self, name: str, syntax: Syntax, type_: Type, value: float) -> bool:
        if type_.dims == types.COUNT.dims:
            if value >= 1 and value == int(value) and value <= 100_000:
                return True
            self.fault("E0313", f"`{name}` needs a whole number of bars, 1 to 100000", syntax)
            return False
        if MIN_WINDOW_NS <= value * 1e9 <= 400 * 86_400e9:
            return True
        self.fault("E0313", f"the window of `{name}` must be from 10ms to 400d", syntax)
        return False

    def bars_of(self, syntax: Syntax, args: Sequence[Expr]) -> str | None:
        """Return the bars stream that a count of bars counts: the only one there is to mean."""
        read = tree.streams_of(*args)
        markets = {key.split(".")[0] for key in read}
        having = [m for m in sorted(markets) if "bars" in self.scope.markets[m].streams]
        named = [key for key in read if key.endswith(".bars")]
        found = named or [f"{m}.bars" for m in having]
        if len(found) == 1:
            return found[0]
        if any(tree.is_broken(arg) for arg in args):
            return None
        why = "no market here has bars" if not found else "it reads bars of several markets"
        self.fault("E0313", f"a window of bars needs one stream of bars: {why}", syntax,
                   help_="streams: {bars: {every: 1m}}, or a duration as window")  # fmt: skip
        return None


def _literal(expr: Expr) -> float | None:
    """Return the value of a bare number, None for anything else."""
    return expr.value if isinstance(expr, tree.Number) and not expr.unit else None


def _operand(expr: Expr) -> Operand:
    return Operand(expr.type, _literal(expr))


def _joined(left: Expr, right: Expr) -> Type:
    """Return the type of two that fit, where one may be a literal 0 or 1."""
    if types.same(left.type, right.type):
        return types.join(left.type, right.type)
    return right.type if _literal(left) is not None else left.type


def _suits(expr: Expr, wanted: Type) -> bool:
    if wanted.sort is Sort.TEXT and expr.type.sort is Sort.TEXT:
        return True
    return (
        fits(_operand(expr), Operand(wanted)) if wanted.numeric else types.same(expr.type, wanted)
    )


def _convert(left: Type, right: Type) -> str:
    """Say how a number becomes a ratio where just that is the matter."""
    if not left.dims and not right.dims and left.numeric and right.numeric:
        return "a number becomes a ratio by `* 100%`, a ratio a number by `/ 100%`"
    return ""
