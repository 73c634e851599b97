"""Texts: literals bound as constants, never part of the source."""

from __future__ import annotations

from runner.lang import tree
from runner.lang.emit.writing import Writing
from runner.lang.tree import Call, Expr


class Texts(Writing):
    """The part that writes texts."""

    def text(self, expr: Expr) -> str:
        """Write a text, None when missing."""
        expr = tree.unwrap(expr)
        match expr:
            case tree.String():
                return self.owner.name(("text", expr.value))
            case tree.Field():
                return self.field(expr)
            case tree.Param():
                return self.owner.name(("text", str(self.owner.params[expr.name])))
            case tree.IfElse():
                with self.fork():
                    yes = self.true(expr.condition)
                    with self.fork():
                        then = self.text(expr.value)
                    no = self.false(expr.condition)
                    other = self.text(expr.other)
                return f"({then} if {yes} else {other} if {no} else None)"
            case Call(function="weekday"):
                return f"weekday({self.owner.name(('clock', ''))}.wall)"
            case Call(function="default"):
                x = self.text(expr.args[0])
                return f"({x} if {x} is not None else {self.text(expr.args[1])})"
        raise TypeError(f"{type(expr).__name__} is not a text")
