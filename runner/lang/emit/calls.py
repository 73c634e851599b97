"""Calls that give a number: plain functions, the walk through a book, results of windows."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from runner.lang import tree
from runner.lang.emit.numbers import Numbers
from runner.lang.tree import Call, Expr
from runner.lang.windowing import window_spec


class Calls(Numbers):
    """The part that writes calls."""

    def call(self, expr: Call) -> str:
        if expr.window is not None:
            return self.windowed(expr, self.owner.window(expr, self.this))
        args = expr.args
        match expr.function:
            case "gap":
                return self.quotient(args[0], args[1], " - 1.0")
            case "abs":
                return f"abs({self.num(args[0])})"
            case "min":
                return f"least({self.listed(args)})"
            case "max":
                return f"greatest({self.listed(args)})"
            case "carry_cost":
                return self.carry_cost(*args)
            case "risk_size":
                return self.risk_size(*args)
            case "clamp" | "sign" | "round_to" | "kelly":
                return f"{expr.function}({self.listed(args)})"
            case "sqrt":
                return self.guarded("sqrt({})", args[0], "0.0 <= {} < I")
            case "log":
                return self.guarded("log({})", args[0], "0.0 < {} < I")
            case "fill_price":
                return self.fill_price(expr)
            case "age":
                stream = args[0]
                assert isinstance(stream, tree.StreamArg)
                s = self.owner.name(("stream", stream.key))
                return f"({s}.age(now) * 1e-09 if {s}.seq else nan)"
            case "default":
                return self.default(args[0], args[1])
        raise TypeError(f"{expr.function} is not a number")

    def listed(self, args: Sequence[Expr]) -> str:
        return ", ".join(self.num(arg) for arg in args)

    def guarded(self, form: str, arg: Expr, guard: str) -> str:
        """Write `form` of an argument where `guard` holds of it, else missing."""
        code = self.num(arg, keep=self.constant(arg) is None)
        name = self.locals.kept.get(self.key(tree.unwrap(arg)), code)
        return f"({form.format(name)} if {guard.format(code)} else nan)"

    def default(self, x: Expr, y: Expr) -> str:
        code = self.num(x, keep=self.constant(x) is None)
        name = self.locals.kept.get(self.key(tree.unwrap(x)), code)
        other = self.later(y)
        return f"({name} if N < {code} < I else {other})"

    def fill_price(self, expr: Call) -> str:
        stream, side, size = expr.args
        assert isinstance(stream, tree.StreamArg) and isinstance(side, tree.SideArg)
        s = self.owner.name(("stream", stream.key))
        notional = self.is_notional(expr)
        constant = self.constant(size)
        if constant is not None:
            if not 0.0 < constant < inf:
                return "nan"
            both = ("nan", repr(constant)) if notional else (repr(constant), "nan")
            return f"{s}.fill_price({side.buy}, {both[0]}, {both[1]})"
        code = self.num(size, keep=True)
        name = self.locals.kept[self.key(tree.unwrap(size))]
        both = ("nan", name) if notional else (name, "nan")
        return f"({s}.fill_price({side.buy}, {both[0]}, {both[1]}) if 0.0 < {code} < I else nan)"

    def carry_cost(self, stream: Expr, side: Expr, horizon: Expr) -> str:
        assert isinstance(stream, tree.StreamArg) and isinstance(side, tree.SideArg)
        s, clock = self.owner.name(("stream", stream.key)), self.owner.name(("clock", ""))
        funding = f"{s}.rate, {s}.next_at, {s}.interval, {clock}.wall"
        return f"carry_cost({funding}, {not side.buy}, {self.num(horizon)})"

    def risk_size(self, loss: Expr, entry: Expr, stop: Expr) -> str:
        v = self.locals.new()
        distance = f"({v} := abs({self.num(entry)} - {self.num(stop)}))"
        return f"({self.later(loss)} / {v} if 0.0 < {distance} < I else nan)"

    def is_notional(self, expr: Call) -> bool:
        """The size is in the quote: the numerator of the price."""
        powers = dict(expr.type.dims)
        return powers.get(expr.args[2].type.currency or "", 0) > 0

    def windowed(self, expr: Call, w: str) -> str:
        """Write the result of a window; missing while its input is (the input of an `ema` over
        time was looked at when it was fed)."""
        x = expr.args[0]
        match expr.function:
            case "ema" if not expr.window or not expr.window.stream:
                return f"{w}.value"
            case "zscore":
                v, code = self.locals.new(), self.later(x)
                return f"(({code} - {w}.mean) / {v} if 0.0 < ({v} := {w}.deviation) < I else nan)"
            case "ret":
                v, code = self.locals.new(), self.later(x)
                return f"({code} / {v} - 1.0 if N < ({v} := {w}.past) < I and {v} != 0.0 else nan)"
            case "delta":
                return f"({self.num(x)} - {w}.past)"
            case "rate":
                seconds = window_spec(expr, self.owner.params, self.this).ns * 1e-9
                return f"(({self.num(x)} - {w}.past) / {seconds!r})"
            case "vol_target":
                v, price = self.locals.new(), self.num(expr.args[1])
                move = f"({v} := {price} * {w}.vol)"
                return f"({self.later(x)} / {v} if 0.0 < {move} < I else nan)"
        result = {
            "ema": "value", "sma": "mean", "stdev": "deviation", "min_over": "value",
            "max_over": "value", "vol": "vol", "beta": "beta", "corr": "corr",
            "median": "value", "count": "value", "rsi": "value",
        }[expr.function]  # fmt: skip
        inputs = [arg for arg in expr.args if self.constant(arg) is None]
        guards = [f"N < {self.num(arg)} < I" for arg in inputs[:1]]
        guards += [f"N < {self.later(arg)} < I" for arg in inputs[1:]]
        return f"({w}.{result} if {' and '.join(guards)} else nan)" if guards else f"{w}.{result}"
