"""The generator: from checked trees to Python functions over slotted stream objects.

Theory of operation. A number that is missing is NaN or infinite; a comparison demands that both
sides are finite, so nothing missing ever makes a condition true. A condition becomes two
expressions, one for *definitely true* and one for *definitely false*: `not` swaps them, `and` is
(all true, any false), and so on (Kleene). The source is made of fixed pieces of text and of names
that are numbered here; nothing a user wrote gets in, not even a text literal, which is bound as a
constant. `I` and `N` are plus and minus infinity.

A sub-expression that is used twice in one function is kept in a local (`:=`), where the first use
is certain to run before the second; `Body.fork` marks what may not run. Conjuncts are ordered
by cost. Before a comparison that walks a book stands the same comparison with the touch instead
of the walk, which is always better than the walk: most updates end there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log, sqrt
from types import CodeType
from typing import Any

from runner.lang import calendar, funding, missing, tree
from runner.lang.emit import Body, Ref
from runner.lang.ranges import point
from runner.lang.spans import Ranges
from runner.lang.tree import Call, Expr
from runner.lang.types import Sort
from runner.lang.windowing import Params, WindowSpec, is_bool, window_spec

_CONSTANTS = {"I": "1e999", "N": "-1e999", "nan": "(1e999-1e999)"}
"""what the short names of the source stand for: folded by the compiler, no look-up at run time"""
_SHORT = re.compile(r"\b(?:I|N|nan)\b")


@dataclass(slots=True)
class Code:
    """Source of one factory: its arguments are bound to `names`, it returns all functions."""

    names: dict[str, Ref]
    functions: list[str]
    windows: dict[str, WindowSpec]
    """by generated name, inner ones first"""
    source: str

    def bind(self, objects: Mapping[Ref, Any]) -> dict[str, Callable[..., Any]]:
        """Return the functions by name, over these objects."""
        scope: dict[str, Any] = {
            "exp": exp, "sqrt": sqrt, "log": log, "least": missing.least,
            "greatest": missing.greatest, "clamp": missing.clamp, "sign": missing.sign,
            "round_to": missing.round_to, "kelly": missing.kelly, "within": calendar.within,
            "next_in": funding.next_in, "interval": funding.interval, "yearly": funding.yearly,
            "carry_cost": funding.carry_cost, "outside": calendar.outside,
            "weekday": calendar.weekday, "abs": abs, "len": len, "__builtins__": {},
        }  # fmt: skip
        exec(_compiled(self.source), scope)
        refs = self.names.values()
        made = scope["build"](*(r[1] if r[0] == "text" else objects[r] for r in refs))
        return dict(zip(self.functions, made, strict=True))


@lru_cache(maxsize=64)
def _compiled(source: str) -> CodeType:
    """Compile a source once: tests of a strategy bind the same one over and over."""
    whole = _SHORT.sub(lambda word: _CONSTANTS[word.group()], source)
    return compile(whole, "<strategy>", "exec")


class Generator:
    """Collects functions, then yields one `Code`. Names are numbered in the order of first use."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.ranges: Ranges = {
            name: point(float(value))
            for name, value in params.items()
            if isinstance(value, float | int) and not isinstance(value, bool)
        }
        self.names: dict[Ref, str] = {}
        self.windows: dict[str, WindowSpec] = {}
        self.functions: dict[str, list[str]] = {}
        self.entered: dict[str, list[str]] = {}
        """per rule the keys of its `entered(x)`, which its windows may read too"""

    # -- functions ----------------------------------------------------------------------------

    def number(self, name: str, expr: Expr, this: str = "") -> None:
        """Add `name(now)`: the value, NaN when missing."""
        body = Body(self, this, (), [expr])
        self.functions[name] = [f"    return v if N < (v := {body.num(expr)}) < I else nan"]

    def text(self, name: str, expr: Expr, this: str = "") -> None:
        """Add `name(now)`: the text, None when missing."""
        self.functions[name] = [f"    return {Body(self, this, (), [expr]).text(expr)}"]

    def condition(
        self, name: str, expr: Expr, this: str = "", entered: Sequence[Expr] = ()
    ) -> None:
        """Add `name_true(now)` and `name_false(now)`."""
        keys = [tree.key(e) for e in entered]
        true = Body(self, this, keys, [expr])
        self.functions[f"{name}_true"] = [f"    return {true.true(expr)}"]
        false = Body(self, this, keys, [expr])
        self.functions[f"{name}_false"] = [f"    return {false.false(expr)}"]

    def numbers(self, name: str, exprs: Sequence[Expr], this: str = "") -> None:
        """Add `name(now)`: the values of all as a list."""
        body = Body(self, this, (), exprs)
        values = [f"(v if N < (v := {body.num(expr)}) < I else nan)" for expr in exprs]
        self.functions[name] = [f"    return [{', '.join(values)}]"]

    def values(self, name: str, exprs: Sequence[Expr], this: str, entered: Sequence[Expr]) -> None:
        """Add `name(now)`: numbers, texts and bools as a list, None what is missing."""
        body = Body(self, this, [tree.key(e) for e in entered], exprs)
        self.functions[name] = [f"    return [{', '.join(_value(body, e) for e in exprs)}]"]

    def feed(self, name: str, windows: Sequence[str]) -> None:
        """Add `name(now)`: gives the windows their inputs after something changed."""
        specs = [self.windows[w] for w in windows]
        bodies = self._bodies(specs)
        lines = []
        for window, spec in zip(windows, specs, strict=True):
            body = bodies[spec.this]
            if spec.watcher:
                lines.append(body.telling(window, spec.state, spec.args))
                continue
            if not spec.bars:
                lines += _ema(window, spec.ns, body.num(spec.args[0]))
                continue
            s = self.name(("stream", spec.stream))
            with body.fork():
                args = ", ".join(body.num(arg) for arg in spec.args)
            lines.append(f"    if {s}.closed != {window}.counted:")
            lines.append(f"        {window}.counted = {s}.closed")
            lines.append(f"        {window}.push({args})")
        self.functions[name] = lines or ["    return None"]

    def _bodies(self, specs: Sequence[WindowSpec]) -> dict[str, Body]:
        """Return one body per rule whose trade is read; the numbers of their locals are apart."""
        found: dict[str, Body] = {}
        for rule in dict.fromkeys(spec.this for spec in specs):
            args = [arg for spec in specs if spec.this == rule for arg in spec.args]
            found[rule] = body = Body(self, rule, self.entered.get(rule, ()), args)
            body.locals.made = 100_000 * (len(found) - 1)
        return found

    def slots(self, name: str, windows: Sequence[str]) -> None:
        """Add `name(now)`: closes the slots that have ended, inner windows first."""
        lines = []
        for window in windows:
            spec = self.windows[window]
            body = Body(self, spec.this, self.entered.get(spec.this, ()), spec.args)
            args = ", ".join(body.num(arg) for arg in spec.args)
            lines += [f"    if now >= {window}.due:", f"        {window}.close(now, {args})"]
        self.functions[name] = lines or ["    return None"]

    def code(self) -> Code:
        """Return the source of the factory."""
        lines = [f"def build({', '.join(self.names.values())}):"]
        for name, body in self.functions.items():
            lines.append(f"  def {name}(now):")
            lines += [f"  {line}" for line in body]
        lines.append(f"  return ({''.join(f'{name}, ' for name in self.functions)})")
        names = {name: ref for ref, name in self.names.items()}
        return Code(names, list(self.functions), dict(self.windows), "\n".join(lines) + "\n")

    # -- names --------------------------------------------------------------------------------

    def name(self, ref: Ref) -> str:
        """Return the generated name of an object."""
        if ref not in self.names:
            prefix = {"stream": "s", "window": "w", "text": "k"}.get(ref[0], "c")
            count = sum(1 for name in self.names.values() if name[0] == prefix)
            self.names[ref] = f"{prefix}{count}"
        return self.names[ref]

    def window(self, call: Call, this: str = "") -> str:
        """Return the name of the window a call reads, making it known with those inside it."""
        return self.adopt(window_spec(call, self.params, this))

    def adopt(self, spec: WindowSpec) -> str:
        """Return the name of a window."""
        known = ("window", spec.id) in self.names
        if not known:
            for arg in spec.args:
                for node in tree.find(arg, Call):
                    if node.window is not None:
                        self.window(node, spec.this)
        name = self.name(("window", spec.id))
        if not known:
            self.windows[name] = spec
        return name


def _value(body: Body, expr: Expr) -> str:
    if is_bool(expr) or expr.type.sort is Sort.TEXT:
        return f"({body.told(expr)})"
    return f"(v if N < (v := {body.num(expr)}) < I else None)"


def _ema(window: str, ns: int, x: str) -> list[str]:
    """Write `Ema.feed` out where the mean is running; the rest of its cases it does itself."""
    return [
        f"    if N < (x := {x}) < I and (m := {window}.mean) == m:",
        f"        {window}.mean = m = x + (m - x) * exp((now - {window}.last) * {-1.0 / ns!r})",
        f"        {window}.last = now",
        f"        {window}.value = m if now - {window}.first >= {ns} else nan",
        "    else:",
        f"        {window}.feed(now, x)",
    ]
