"""Conditions of time: held, edges, the time of the day."""

from __future__ import annotations

from collections.abc import Sequence

from runner.lang import tree
from runner.lang.calendar import time_of_day
from runner.lang.emit.writing import Writing
from runner.lang.functions import State
from runner.lang.tree import Call, Expr
from runner.lang.types import Sort
from runner.lang.windowing import is_bool


class Instants(Writing):
    """The part that writes conditions of time, and what their windows are told."""

    def instant(self, expr: Call, wanted: bool) -> str:
        """Write when a call of this part is definitely true, or definitely false."""
        match expr.function:
            case "held":
                return self.held(expr, wanted)
            case "changed":
                return self.edge(expr, "at", "before is not None", wanted)
            case "crosses_above":
                return self.edge(expr, "above", "before == {w}.before", wanted)
            case "crosses_below":
                return self.edge(expr, "below", "before == {w}.before", wanted)
            case "between_utc":
                start, end = (_ns(arg) for arg in expr.args)
                clock = self.owner.name(("clock", ""))
                return f"{'within' if wanted else 'outside'}({clock}.wall, {start}, {end})"
        raise TypeError(f"{expr.function} is not a condition")

    def held(self, expr: Call, wanted: bool) -> str:
        w = self.owner.window(expr, self.this)
        with self.fork():
            true = self.true(expr.args[0])
        if wanted:
            return f"(now >= {w}.at and {true})"
        with self.fork():
            false = self.false(expr.args[0])
        return f"({false} or (now < {w}.at and {w}.sure and {true}))"

    def edge(self, expr: Call, when: str, seen: str, wanted: bool) -> str:
        """An edge stands for the instant it was seen at; its values must be known now too."""
        w = self.owner.window(expr, self.this)
        with self.fork():
            parts = [self.is_known(arg) for arg in expr.args]
        known = " and ".join(parts)
        if wanted:
            return f"(now == {w}.{when} and {known})"
        return f"(now != {w}.{when} and now != {w}.blind and {w}.{seen.format(w=w)} and {known})"

    def is_known(self, expr: Expr) -> str:
        """Write whether a value is known, without locals that others may use."""
        with self.fork():
            if is_bool(expr):
                yes = self.true(expr)
                with self.fork():
                    return f"({yes} or {self.false(expr)})"
            if expr.type.sort is Sort.TEXT:
                return f"({self.text(expr)} is not None)"
            return f"(N < {self.num(expr)} < I)"

    def told(self, expr: Expr) -> str:
        """Write a value of any type as a window takes it: None for a missing truth or text."""
        if is_bool(expr):
            yes = self.true(expr)
            with self.fork():
                return f"True if {yes} else False if {self.false(expr)} else None"
        if expr.type.sort is Sort.TEXT:
            return self.text(expr)
        return self.num(expr)

    def telling(self, window: str, state: State, args: Sequence[Expr]) -> str:
        """Write the statement that tells a watcher (`market/edges.py`) its inputs."""
        if state is State.HELD:
            true = self.true(args[0])
            false = self.false(args[0])
            return f"    {window}.feed(now, {true}, {false})"
        return f"    {window}.feed(now, {', '.join(self.told(arg) for arg in args)})"


def _ns(expr: Expr) -> int:
    assert isinstance(expr, tree.String)
    found = time_of_day(expr.value)
    assert found is not None
    return found
