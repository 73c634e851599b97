"""Writing one generated function: expressions to Python, numbers, texts and the two truths.

See `lang/codegen.py` for the theory. Everything here returns source made of fixed pieces and of
numbered names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, isfinite, nan
from typing import Protocol

from runner.lang import tree
from runner.lang.functions import CELLS
from runner.lang.ranges import Interval
from runner.lang.spans import Ranges, span
from runner.lang.tree import Call, Compare, Expr
from runner.lang.types import Sort
from runner.lang.windowing import Params, is_bool

Ref = tuple[str, str]
"""what a generated name stands for: stream, account, position, rule, pnl, window or text, and its
key"""

_WALK = 60
_METHODS = {"exit_pnl": _WALK, "exit_return": _WALK, "pnl": 20, "notional": 10}
_REVERSED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_UP, _DOWN = 1.000000000001, 0.999999999999
"""slack for the rounding of an average over a book's levels"""


class Owner(Protocol):
    """What a function needs of the whole: values of params, names of objects and windows."""

    params: Params
    ranges: Ranges

    def name(self, ref: Ref) -> str:
        """Return the generated name of an object."""
        ...

    def window(self, call: Call) -> str:
        """Return the name of the window a call reads."""
        ...


@dataclass(slots=True)
class Locals:
    """Which sub-expressions are certain to stand in a local, at this point of the function."""

    kept: dict[str, str] = field(default_factory=dict)
    made: int = 0

    def new(self) -> str:
        self.made += 1
        return f"v{self.made}"


class Body:
    """One function being written."""

    def __init__(
        self, owner: Owner, this: str, entered: Sequence[str], exprs: Sequence[Expr]
    ) -> None:
        self.owner = owner
        self.this = this
        self.entered = entered
        self.locals = Locals()
        self.uses: Counter[str] = Counter()
        self.keys: dict[int, str] = {}
        for expr in exprs:
            self._count(expr)
            for call in tree.find(expr, Call):
                if call.window is not None:
                    owner.window(call)  # even where folding leaves nothing of it in the code

    def _count(self, expr: Expr) -> None:
        for node in tree.walk(expr):
            if not isinstance(node, tree.Named):
                self.uses[self.key(node)] += 1

    def key(self, expr: Expr) -> str:
        found = self.keys.get(id(expr))
        if found is None:
            found = self.keys[id(expr)] = tree.key(expr)
        return found

    @contextmanager
    def fork(self) -> Iterator[None]:
        """What is written inside may not run: locals made in it are not certain after it."""
        before = dict(self.locals.kept)
        yield
        self.locals.kept = before

    # -- numbers ------------------------------------------------------------------------------

    def num(self, expr: Expr, keep: bool = False) -> str:
        """Write a number; `keep` puts it in a local whatever the count."""
        expr = tree.unwrap(expr)
        constant = self.constant(expr)
        if constant is not None:
            return repr(constant) if isfinite(constant) else "nan"
        key = self.key(expr)
        if key in self.locals.kept:
            return self.locals.kept[key]
        code = self._num(expr)
        if keep or self.uses[key] > 1:
            name = self.locals.new()
            self.locals.kept[key] = name
            return f"({name} := {code})"
        return code

    def constant(self, expr: Expr) -> float | None:
        """Return the value of a number that cannot change, folded; None for the others."""
        expr = tree.unwrap(expr)
        if isinstance(expr, tree.Number):
            return expr.value
        if isinstance(expr, tree.Param):
            return float(self.owner.params[expr.name])
        if isinstance(expr, tree.Negate):
            inner = self.constant(expr.operand)
            return None if inner is None else -inner
        if isinstance(expr, tree.Arithmetic):
            left, right = self.constant(expr.left), self.constant(expr.right)
            if left is not None and right is not None:
                return _fold(expr.op, left, right)
        return None

    def _num(self, expr: Expr) -> str:
        match expr:
            case tree.Field():
                return self.field(expr)
            case tree.Cell():
                return self.cell(expr)
            case tree.Entered():
                return self.frozen(expr)
            case tree.Negate():
                return f"(-{self.num(expr.operand)})"
            case tree.Arithmetic(op="/"):
                return self.quotient(expr.left, expr.right, "")
            case tree.Arithmetic():
                return f"({self.num(expr.left)} {expr.op} {self.num(expr.right)})"
            case tree.IfElse():
                return self.choice(expr)
            case Call():
                return self.call(expr)
        raise TypeError(f"{type(expr).__name__} is not a number")

    def quotient(self, left: Expr, right: Expr, then: str) -> str:
        """Write `left / right` and what follows; missing when the divisor is 0 or not finite."""
        divisor = self.constant(right)
        if divisor is not None:
            if divisor == 0.0 or not isfinite(divisor):
                return "nan"
            return f"({self.num(left)} / {divisor!r}{then})"
        below = self.num(right, keep=True)
        name = self.locals.kept[self.key(tree.unwrap(right))]
        above = self.later(left)
        guard = self.not_zero(below, name, span(right, self.owner.ranges))
        return f"({above} / {name}{then} if {guard} else nan)"

    def not_zero(self, code: str, name: str, interval: Interval) -> str:
        if interval.low >= 0.0:
            return f"0.0 < {code} < I"
        if interval.high <= 0.0:
            return f"N < {code} < 0.0"
        return f"N < {code} < I and {name} != 0.0"

    def choice(self, expr: tree.IfElse) -> str:
        true = self.true(expr.condition)
        value = self.later(expr.value)
        with self.fork():
            false = self.false(expr.condition)
            other = self.num(expr.other)
        return f"({value} if {true} else {other} if {false} else nan)"

    def field(self, expr: tree.Field) -> str:
        s = self.owner.name(("stream", expr.key))
        if expr.kind != "book" or expr.field in ("bid", "ask", "bid_qty", "ask_qty"):
            return f"{s}.{expr.field}"
        if expr.field == "mid":
            return f"(({s}.bid + {s}.ask) * 0.5)"
        v = self.locals.new()
        if expr.field == "spread":
            return f"(({s}.ask - {s}.bid) / {v} if 0.0 < ({v} := ({s}.bid + {s}.ask) * 0.5) < I else nan)"  # noqa: E501
        total = f"0.0 < ({v} := {s}.bid_qty + {s}.ask_qty) < I"
        if expr.field == "imbalance":
            return f"(({s}.bid_qty - {s}.ask_qty) / {v} if {total} else nan)"
        return f"(({s}.bid * {s}.ask_qty + {s}.ask * {s}.bid_qty) / {v} if {total} else nan)"

    def cell(self, expr: tree.Cell) -> str:
        owner = self.this if expr.space is tree.Space.THIS else expr.owner
        space = "rule" if expr.space is tree.Space.THIS else str(expr.space)
        name = self.owner.name((space, owner))
        call = "(now)" if CELLS[expr.space][expr.field].method else ""
        return f"{name}.{expr.field}{call}"

    def frozen(self, expr: tree.Entered) -> str:
        index = self.entered.index(tree.key(expr.expr))
        cell = self.owner.name(("rule", self.this))
        return f"({cell}.entered[{index}] if len({cell}.entered) > {index} else nan)"

    # -- calls --------------------------------------------------------------------------------

    def call(self, expr: Call) -> str:
        if expr.window is not None:
            return self.windowed(expr, self.owner.window(expr))
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
            case "clamp" | "sign" | "round_to":
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
        result = {
            "ema": "value", "sma": "mean", "stdev": "deviation", "min_over": "value",
            "max_over": "value", "vol": "vol", "beta": "beta", "corr": "corr",
        }[expr.function]  # fmt: skip
        inputs = [arg for arg in expr.args if self.constant(arg) is None]
        guards = [f"N < {self.num(arg)} < I" for arg in inputs[:1]]
        guards += [f"N < {self.later(arg)} < I" for arg in inputs[1:]]
        return f"({w}.{result} if {' and '.join(guards)} else nan)" if guards else f"{w}.{result}"

    def later(self, expr: Expr) -> str:
        """Write a number that may not run, so that nobody may count on its locals."""
        with self.fork():
            return self.num(expr)

    # -- conditions ---------------------------------------------------------------------------

    def true(self, expr: Expr) -> str:
        """Write when a condition is definitely true."""
        return self.truth(expr, True)

    def false(self, expr: Expr) -> str:
        """Write when a condition is definitely false."""
        return self.truth(expr, False)

    def truth(self, expr: Expr, wanted: bool) -> str:
        expr = tree.unwrap(expr)
        match expr:
            case tree.Bool():
                return str(expr.value is wanted)
            case tree.Param():
                return str(bool(self.owner.params[expr.name]) is wanted)
            case tree.Cell():
                return self.cell(expr) if wanted else f"not {self.cell(expr)}"
            case tree.Not():
                return self.truth(expr.operand, not wanted)
            case tree.And():
                return self.row(expr.items, wanted, "and" if wanted else "or")
            case tree.Or():
                return self.row(expr.items, wanted, "or" if wanted else "and")
            case Compare():
                return self.compare(expr, wanted)
            case tree.In():
                pairs = [self.equal(expr.operand, item, wanted) for item in expr.items]
                return "(" + (" or " if wanted else " and ").join(pairs) + ")"
            case tree.IfElse():
                return self.choice_of_conditions(expr, wanted)
            case Call(function="known"):
                return self.known(expr.args[0], wanted)
            case Call(function="default"):
                return self.default_condition(expr.args[0], expr.args[1], wanted)
        raise TypeError(f"{type(expr).__name__} is not a condition")

    def row(self, items: Sequence[Expr], wanted: bool, op: str) -> str:
        """Write conditions joined by `op`, the cheap ones first; only the first surely runs."""
        first, *others = sorted(items, key=cost)
        parts = [self.truth(first, wanted)]
        # The second runs only if the first let it, the third only after the second, and so on.
        before = dict(self.locals.kept)
        parts += [self.truth(item, wanted) for item in others]
        self.locals.kept = before
        return "(" + f" {op} ".join(parts) + ")"

    def choice_of_conditions(self, expr: tree.IfElse, wanted: bool) -> str:
        yes = self.true(expr.condition)
        with self.fork():
            then = self.truth(expr.value, wanted)
        with self.fork():
            no = self.false(expr.condition)
            other = self.truth(expr.other, wanted)
        return f"(({then}) if {yes} else (({no}) and ({other})))"

    def known(self, expr: Expr, wanted: bool) -> str:
        found = self.finite(expr)
        return f"({found})" if wanted else f"(not ({found}))"

    def finite(self, expr: Expr) -> str:
        """Write whether a value of any type is known."""
        if is_bool(expr):
            yes = self.true(expr)
            with self.fork():
                return f"{yes} or {self.false(expr)}"
        if expr.type.sort is Sort.TEXT:
            return f"{self.text(expr)} is not None"
        return f"N < {self.num(expr)} < I"

    def default_condition(self, x: Expr, y: Expr, wanted: bool) -> str:
        here = self.truth(x, wanted)
        with self.fork():
            there = f"(not {self.truth(x, not wanted)}) and {self.truth(y, wanted)}"
        return f"({here} or ({there}))"

    # -- comparisons --------------------------------------------------------------------------

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

    def text(self, expr: Expr) -> str:
        """Write a text, None when missing."""
        expr = tree.unwrap(expr)
        match expr:
            case tree.String():
                return self.owner.name(("text", expr.value))
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
            case Call(function="default"):
                x = self.text(expr.args[0])
                return f"({x} if {x} is not None else {self.text(expr.args[1])})"
        raise TypeError(f"{type(expr).__name__} is not a text")

    # -- the touch instead of the walk --------------------------------------------------------

    def quick(self, expr: Compare) -> str:
        """Write a cheap condition that holds whenever the chain holds; empty when there is none.

        Selling into a book never gives more than its bid, buying never costs less than its ask.
        """
        if not _walks(expr):
            return ""
        found = []
        with self.fork():
            for op, left, right in zip(
                expr.ops, expr.operands[:-1], expr.operands[1:], strict=True
            ):
                small, large = (left, right) if op[0] == "<" else (right, left)
                if not (_walks(small) or _walks(large)):
                    continue
                low, high = self.bound(small, up=False), self.bound(large, up=True)
                if low and high:
                    found.append(f"{low} <{op[1:]} {high}")
                self.locals.kept = {}
        return " and ".join(found)

    def bound(self, expr: Expr, up: bool) -> str:
        """Write what a number cannot be above (`up`) or below; empty when that is not cheap."""
        expr = tree.unwrap(expr)
        if not _walks(expr):
            return self.plain(expr)
        match expr:
            case tree.Arithmetic(op="+" | "-" as op):
                a = self.bound(expr.left, up)
                b = self.bound(expr.right, up if op == "+" else not up)
                return f"({a} {op} {b})" if a and b else ""
            case Call(function="gap"):
                if any(span(arg, self.owner.ranges).low < 0.0 for arg in expr.args):
                    return ""
                b = self.bound(expr.args[1], not up)
                with self.fork():
                    a = self.bound(expr.args[0], up)
                v = self.locals.new()
                return f"({a} / {v} - 1.0 if 0.0 < ({v} := {b}) < I else nan)" if a and b else ""
            case Call(function="fill_price"):
                stream, side, _ = expr.args
                assert isinstance(stream, tree.StreamArg) and isinstance(side, tree.SideArg)
                if side.buy is up:
                    return ""
                s = self.owner.name(("stream", stream.key))
                return f"{s}.ask * {_DOWN!r}" if side.buy else f"{s}.bid * {_UP!r}"
        return ""

    def plain(self, expr: Expr) -> str:
        """Write a number without locals, for a place whose locals nobody may use."""
        uses, self.uses = self.uses, Counter()
        code = self.num(expr)
        self.uses = uses
        return code


def _fold(op: str, left: float, right: float) -> float:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    return left / right if right else nan


def _walks(expr: Expr) -> bool:
    return any(node.function == "fill_price" for node in tree.find(expr, Call))


def cost(expr: Expr) -> int:
    """Estimate the work of an expression; orders conjuncts, never changes what they mean."""
    total = 1
    for child in tree.children(expr):
        total += cost(child)
    if isinstance(expr, tree.Cell):
        total += _METHODS.get(expr.field, 0)
    if isinstance(expr, Call):
        total += _WALK if expr.function == "fill_price" else 3
    return total
