"""The checker's part for operators: which values may meet, and what comes out."""

from __future__ import annotations

from runner.lang import parser, tree, types
from runner.lang.checking import Checking, joined, literal, operand_of
from runner.lang.parser import Syntax
from runner.lang.resolve import nearest
from runner.lang.tree import Expr
from runner.lang.types import Sort, Type
from runner.lang.unit_rules import fits


class Operators(Checking):
    """Arithmetic, comparisons, `and or not in if`."""

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
            if literal(right) == 0:
                self.fault("E0307", "division by zero", syntax.right)
                type_ = types.UNKNOWN
        return tree.Arithmetic(*self.base(syntax, type_, left, right), syntax.op, left, right)

    def sum_type(self, syntax: parser.BinarySyntax, left: Expr, right: Expr) -> Type:
        a, b = operand_of(left), operand_of(right)
        if fits(a, b):
            if literal(left) is not None and not types.same(a.type, b.type):
                return right.type
            if literal(right) is not None and not types.same(a.type, b.type):
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
        for bare, other in ((left, right), (right, left)):
            value = literal(bare)
            if value is not None and other.type.is_ratio:
                text = self.source(bare)
                self.fault("E0309", "a ratio compared with a plain number", bare,
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
        return tree.Compare(
            *self.base(syntax, types.BOOL, *self.written(*operands)), syntax.ops, operands
        )

    def comparable(self, op: str, left: Expr, right: Expr, at: Syntax) -> None:
        """Report a pair that cannot be compared."""
        a, b = left.type, right.type
        if a.unknown or b.unknown:
            return
        if a.sort is Sort.NUMERIC and b.sort is Sort.NUMERIC:
            if fits(operand_of(left), operand_of(right)) or self.ratio_against_number(left, right):
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
        return tree.In(
            *self.base(syntax, types.BOOL, *self.written(operand, *items)), operand, items
        )

    def if_else(self, syntax: parser.IfSyntax) -> Expr:
        value = self.value(syntax.value)
        condition = self.condition(syntax.condition, "`if` needs")
        other = self.value(syntax.other)
        type_ = types.UNKNOWN
        if fits(operand_of(value), operand_of(other)):
            type_ = joined(value, other)
        else:
            self.fault("E0306", f"both sides of `if` need one type, found {value.type} and "
                       f"{other.type}", syntax)  # fmt: skip
        return tree.IfElse(*self.base(syntax, type_, *self.written(value, condition, other)),
                           value, condition, other)  # fmt: skip


def _convert(left: Type, right: Type) -> str:
    """Say how a number becomes a ratio where just that is the matter."""
    if not left.dims and not right.dims and left.numeric and right.numeric:
        return "a number becomes a ratio by `* 100%`, a ratio a number by `/ 100%`"
    return ""
