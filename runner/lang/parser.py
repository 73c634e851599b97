"""The parser: tokens to a syntax tree, by precedence (Pratt). Every node has its own columns.

Grammar: design of the language, section 3. Binding powers from loose to tight:
if/else 1, or 2, and 3, not 4, comparisons and `in` 5 (a chain), + - 6, * / 7, unary minus 8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runner.lang.lexer import Fault, Kind, Token, tokens

MAX_DEPTH = 60
COMPARISONS = frozenset(("<", "<=", ">", ">=", "==", "!="))


@dataclass(frozen=True, slots=True)
class Syntax:
    """A node's characters `start..end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NumberSyntax(Syntax):
    value: float
    unit: str
    unit_start: int


@dataclass(frozen=True, slots=True)
class StringSyntax(Syntax):
    value: str


@dataclass(frozen=True, slots=True)
class BoolSyntax(Syntax):
    value: bool


@dataclass(frozen=True, slots=True)
class NameSyntax(Syntax):
    """A dotted name; `parts` with the start of each."""

    parts: tuple[tuple[str, int], ...]

    @property
    def text(self) -> str:
        return ".".join(part for part, _ in self.parts)


@dataclass(frozen=True, slots=True)
class CallSyntax(Syntax):
    name: str
    name_end: int
    args: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class UnarySyntax(Syntax):
    """`op` is `-` or `not`."""

    op: str
    operand: Syntax


@dataclass(frozen=True, slots=True)
class BinarySyntax(Syntax):
    """`op` is one of + - * /."""

    op: str
    left: Syntax
    right: Syntax


@dataclass(frozen=True, slots=True)
class ManySyntax(Syntax):
    """`and` or `or` over two or more."""

    op: str
    items: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class CompareSyntax(Syntax):
    ops: tuple[str, ...]
    operands: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class InSyntax(Syntax):
    operand: Syntax
    items: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class IfSyntax(Syntax):
    value: Syntax
    condition: Syntax
    other: Syntax


def parse(text: str) -> Syntax:
    """Parse a whole expression; raises Fault (E0301, E0302, E0303) and nothing else."""
    return _Parser(text).whole()


class _Parser:
    """One pass over the tokens with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0

    def peek(self) -> Token:
        return self.tokens[self.at]

    def advance(self) -> Token:
        token = self.tokens[self.at]
        if token.kind is not Kind.END:
            self.at += 1
        return token

    def sees(self, *texts: str) -> bool:
        """Whether the next token is one of these words or signs (never a string)."""
        token = self.peek()
        return token.kind in (Kind.SIGN, Kind.KEYWORD) and token.text in texts

    def expect(self, text: str, opened: Token) -> Token:
        if self.sees(text):
            return self.advance()
        if self.peek().kind is Kind.END:
            raise Fault("E0302", f"`{opened.text}` is not closed", opened.start, opened.end,
                        f"`{text}` is missing")  # fmt: skip
        raise self.unexpected(f"expected `{text}`")

    def unexpected(self, label: str) -> Fault:
        token = self.peek()
        if token.kind is Kind.END:
            return Fault("E0302", "the expression ends too early", max(token.start - 1, 0),
                         max(token.end, 1), label)  # fmt: skip
        return Fault("E0302", f"`{token.text}` does not fit here", token.start, token.end, label)

    def whole(self) -> Syntax:
        if self.peek().kind is Kind.END:
            raise Fault("E0302", "the expression is empty", 0, max(self.peek().end, 1))
        tree = self.expression()
        if self.peek().kind is not Kind.END:
            raise self.trailing()
        return tree

    def trailing(self) -> Fault:
        before, token = self.tokens[self.at - 1], self.peek()
        fault = self.unexpected("expected the end or an operator")
        if token.kind is Kind.SIGN and token.text in ("(", "."):
            fault.help = "functions stand before `(`, fields after a market: `bin.bid`"
        elif before.kind is Kind.NUMBER and token.kind is Kind.NAME:
            fault.help = "a unit touches its number (`20s`), a currency is in capitals (`500 USDT`)"
        elif before.kind is Kind.KEYWORD or token.kind is Kind.NAME:
            fault.help = "join conditions with `and` or `or`"
        return fault

    def nested(self, token: Token) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Fault("E0302", f"nested more than {MAX_DEPTH} levels deep", token.start,
                        token.end, help_="give its parts names under `signals:`")  # fmt: skip

    def expression(self) -> Syntax:
        """`or [if or else expr]`."""
        self.nested(self.peek())
        value = self.many("or")
        if self.sees("if"):
            self.advance()
            condition = self.many("or")
            if not self.sees("else"):
                raise self.unexpected("`x if condition else y` needs its `else`")
            self.advance()
            other = self.expression()
            value = IfSyntax(value.start, other.end, value, condition, other)
        self.depth -= 1
        return value

    def many(self, op: str) -> Syntax:
        """A row of `or`, or of the tighter `and`."""
        items = [self.many("and") if op == "or" else self.negation()]
        while self.sees(op):
            self.advance()
            items.append(self.many("and") if op == "or" else self.negation())
        if len(items) == 1:
            return items[0]
        return ManySyntax(items[0].start, items[-1].end, op, tuple(items))

    def negation(self) -> Syntax:
        if not self.sees("not"):
            return self.comparison()
        token = self.advance()
        self.nested(token)
        operand = self.negation()
        self.depth -= 1
        return UnarySyntax(token.start, operand.end, "not", operand)

    def comparison(self) -> Syntax:
        first = self.binary(6)
        if self.sees("in"):
            self.advance()
            return self.membership(first)
        ops: list[str] = []
        operands = [first]
        while self.peek().kind is Kind.SIGN and self.peek().text in COMPARISONS:
            ops.append(self.advance().text)
            operands.append(self.binary(6))
        if not ops:
            return first
        return CompareSyntax(first.start, operands[-1].end, tuple(ops), tuple(operands))

    def membership(self, operand: Syntax) -> Syntax:
        if not self.sees("["):
            raise self.unexpected('`in` needs a list: x in ["a", "b"]')
        opened = self.advance()
        items = [self.binary(6)]
        while self.sees(","):
            self.advance()
            items.append(self.binary(6))
        closed = self.expect("]", opened)
        return InSyntax(operand.start, closed.end, operand, tuple(items))

    def binary(self, power: int) -> Syntax:
        """A row of + - (power 6) over rows of * / (power 7)."""
        signs = ("+", "-") if power == 6 else ("*", "/")
        left = self.binary(7) if power == 6 else self.unary()
        levels = 0
        while self.sees(*signs):
            token = self.advance()
            self.nested(token)
            levels += 1
            right = self.binary(7) if power == 6 else self.unary()
            left = BinarySyntax(left.start, right.end, token.text, left, right)
        self.depth -= levels
        return left

    def unary(self) -> Syntax:
        if not self.sees("-"):
            return self.atom()
        token = self.advance()
        self.nested(token)
        operand = self.unary()
        self.depth -= 1
        return UnarySyntax(token.start, operand.end, "-", operand)

    def atom(self) -> Syntax:
        token = self.peek()
        if token.kind is Kind.NUMBER:
            self.advance()
            return NumberSyntax(token.start, token.end, _value(token), token.unit, token.unit_start)
        if token.kind is Kind.STRING:
            self.advance()
            return StringSyntax(token.start, token.end, token.text)
        if token.kind is Kind.NAME:
            return self.name()
        if self.sees("true", "false"):
            self.advance()
            return BoolSyntax(token.start, token.end, token.text == "true")
        if self.sees("("):
            opened = self.advance()
            inner = self.expression()
            closed = self.expect(")", opened)
            return replace(inner, start=opened.start, end=closed.end)
        raise self.unexpected("expected a value")

    def name(self) -> Syntax:
        first = self.advance()
        if self.sees("("):
            return self.call(first)
        parts = [(first.text, first.start)]
        end = first.end
        while self.sees("."):
            self.advance()
            if self.peek().kind not in (Kind.NAME, Kind.KEYWORD):
                raise self.unexpected("expected a name after the dot")
            part = self.advance()
            parts.append((part.text, part.start))
            end = part.end
        return NameSyntax(first.start, end, tuple(parts))

    def call(self, name: Token) -> Syntax:
        opened = self.advance()
        args: list[Syntax] = []
        if not self.sees(")"):
            args.append(self.expression())
            while self.sees(","):
                self.advance()
                args.append(self.expression())
        closed = self.expect(")", opened)
        return CallSyntax(name.start, closed.end, name.text, name.end, tuple(args))


def _value(token: Token) -> float:
    value = float(token.text.replace("_", ""))
    if value in (float("inf"), float("-inf")):
        raise Fault("E0302", f"`{token.text}` is too large a number", token.start, token.end)
    return value
