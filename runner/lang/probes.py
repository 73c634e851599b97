"""Probes: a condition taken apart, so that `why` can say which part of it was not true.

A probe is one conjunct of a `when` or `until` with two generated functions of its own, and the
numbers that it compares. Nothing here runs when a tick comes: probes are asked when an outcome has
changed, or a few times a second by the engine's look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from runner.base.units import format_age
from runner.lang import tree, treewalk
from runner.lang.api import Lack, LackKind, Test, Value
from runner.lang.codegen import Generator
from runner.lang.display import show
from runner.lang.emit import Ref
from runner.lang.tree import Call, Compare, Expr, In
from runner.lang.treewalk import Env
from runner.lang.windowing import AnyWindow, Params, window_spec

_MIRRORED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
Envs = Callable[[int], Env]


@dataclass(frozen=True, slots=True)
class Link:
    """One ordering of two numbers, as it must be for the conjunct to be true.

    `left` and `right` are places in the probe's values. `op` is the one that must hold: the mirror
    of the written one behind a `not`.
    """

    source: str
    op: str
    left: int
    right: int
    sides: tuple[Expr, Expr]

    def missed_by(self, values: Sequence[Value]) -> float | None:
        """Return how far the two are from satisfying it; None when they do or one is missing."""
        left, right = values[self.left], values[self.right]
        if left is None or right is None:
            return None
        assert not isinstance(left, str) and not isinstance(right, str)
        distance = left - right if self.op[0] == "<" else right - left
        if distance > 0 or (distance == 0 and len(self.op) == 1):
            return distance if isfinite(distance) else None
        return None

    def shown(self, distance: float) -> str:
        """Write a distance with its unit."""
        first, second = self.sides
        return show(distance, (second if isinstance(first, tree.Number) else first).type)

    def figures(self, values: Sequence[Value]) -> str:
        """Write both sides: `27bps < 19.72bps`."""
        left = show(values[self.left], self.sides[0].type)
        return f"{left} {self.op} {show(values[self.right], self.sides[1].type)}"


@dataclass(frozen=True, slots=True)
class Probe:
    """One conjunct of a condition."""

    source: str
    true: Test
    false: Test
    values: Callable[[int], list[Value]]
    """what it compares, in the order of the text; None is missing"""
    links: tuple[Link, ...]
    """the orderings in it; behind `or` each of them would do"""
    chain: bool
    """it is one comparison, and each of its links must hold"""
    hides: bool
    """it says itself what a missing value counts for"""
    _operands: tuple[Expr, ...]
    _shapes: tuple[tuple[str, ...], ...]
    _reads: _Reads

    def verdict(self, now: int) -> bool | None:
        """Return whether it is definitely true or definitely false; None when it is missing."""
        return True if self.true(now) else False if self.false(now) else None

    def figures(self, values: Sequence[Value]) -> str:
        """Write the values as the conjunct compares them: `27bps < 31.3bps < 80bps`."""
        shown = [show(v, o.type) for v, o in zip(values, self._operands, strict=True)]
        parts, at = [], 0
        for ops in self._shapes:
            words = [shown[at]]
            for op, value in zip(ops, shown[at + 1 :], strict=False):
                words += [op, value]
            parts.append(" ".join(words))
            at += len(ops) + 1
        return ", ".join(parts)

    def lacks(self, now: int) -> list[Lack]:
        """Name what keeps it from being known."""
        return self._reads.lacks(now)


class _Reads:
    """Streams, windows and cells of some expressions, and what of them is not there."""

    def __init__(self, exprs: Sequence[Expr], sources: Sources, env: Envs) -> None:
        self._streams = [(key, sources.streams[key]) for key in tree.streams_of(*exprs)]
        named = named_windows(exprs, sources.params, env(0).this)
        self._windows = [(sources.windows[id], name) for id, name in named.items()]
        cells = [cell for expr in exprs for cell in tree.find(expr, tree.Cell)]
        self._cells = list({cell.source: cell for cell in cells}.values())
        fields = [field for expr in exprs for field in tree.find(expr, tree.Field)]
        said = {field.source: field for field in fields if field.kind == "source"}
        self._said = list(said.values())
        self._env = env

    def lacks(self, now: int) -> list[Lack]:
        """Return what is not live, not warm or not known, each once."""
        silent = {key for key, stream in self._streams if str(stream.state) != "live"}
        found = [
            Lack(LackKind.STREAM, key, str(stream.state), _since(stream, now))
            for key, stream in self._streams
            if key in silent
        ]
        found += [
            Lack(LackKind.WINDOW, name, "warming", f"{min(99, int(window.progress * 100))}%")
            for window, name in self._windows
            if not window.full
        ]
        env = self._env(now)
        found += [
            Lack(LackKind.CELL, cell.source, "unknown", "")
            for cell in self._cells
            if treewalk.evaluate(cell, env) is None
        ]
        found += [
            Lack(LackKind.CELL, field.source, "not said", "")
            for field in self._said
            if field.key not in silent and treewalk.evaluate(field, env) is None
        ]
        return found


@dataclass(frozen=True, slots=True)
class Sources:
    """What probes are bound to."""

    params: Params
    streams: Mapping[str, Any]
    windows: Mapping[str, AnyWindow]
    """by id"""
    objects: Mapping[Ref, Any]


def reads(exprs: Sequence[Expr], sources: Sources, env: Envs) -> Callable[[int], list[Lack]]:
    """Return the function that names what is lacking of all these expressions."""
    return _Reads(exprs, sources, env).lacks


def probes(
    condition: Expr, rule: str, entered: Sequence[Expr], sources: Sources, env: Envs
) -> tuple[Probe, ...]:
    """Compile a condition's conjuncts one by one, over the program's own streams and windows."""
    parts = conjuncts(condition)
    generator = Generator(sources.params)
    found = [_comparisons(part, False) for part in parts]
    for i, part in enumerate(parts):
        generator.condition(f"part_{i}", part, rule, entered)
        generator.values(f"values_{i}", _operands(found[i]), rule, entered)
    functions = generator.code().bind(sources.objects)
    return tuple(
        Probe(
            one_line(part.source),
            functions[f"part_{i}_true"],
            functions[f"part_{i}_false"],
            functions[f"values_{i}"],
            _links(found[i]),
            isinstance(tree.unwrap(part), Compare),
            any(call.function in ("default", "known") for call in tree.find(part, Call)),
            _operands(found[i]),
            tuple(_shape(node) for node, _ in found[i]),
            _Reads([part], sources, env),
        )
        for i, part in enumerate(parts)
    )


def conjuncts(expr: Expr) -> list[Expr]:
    """Take a condition apart at its `and`s, signals written out where they are made of such."""
    inner = tree.unwrap(expr)
    if isinstance(inner, tree.And):
        return [part for item in inner.items for part in conjuncts(item)]
    return [expr]


def _comparisons(expr: Expr, negated: bool) -> list[tuple[Compare | In, bool]]:
    """Return the comparisons that a condition is made of, and whether a `not` is before them."""
    match expr:
        case tree.Named():
            return _comparisons(expr.expr, negated)
        case tree.Not():
            return _comparisons(expr.operand, not negated)
        case tree.And() | tree.Or():
            return [each for item in expr.items for each in _comparisons(item, negated)]
        case Compare() | In():
            return [(expr, negated)]
        case _:
            return []


def _operands(found: Sequence[tuple[Compare | In, bool]]) -> tuple[Expr, ...]:
    nodes = (node for node, _ in found)
    return tuple(e for n in nodes for e in (n.operands if isinstance(n, Compare) else (n.operand,)))


def _shape(node: Compare | In) -> tuple[str, ...]:
    return node.ops if isinstance(node, Compare) else ()


def _links(found: Sequence[tuple[Compare | In, bool]]) -> tuple[Link, ...]:
    links, at = [], 0
    for node, negated in found:
        if isinstance(node, In):
            at += 1
            continue
        for i, op in enumerate(node.ops):
            left, right = node.operands[i], node.operands[i + 1]
            if op in _MIRRORED and left.type.numeric:
                source = f"{one_line(left.source)} {op} {one_line(right.source)}"
                if negated:
                    source, op = f"not {source}", _MIRRORED[op]
                links.append(Link(source, op, at + i, at + i + 1, (left, right)))
        at += len(node.operands)
    return tuple(links)


def named_windows(exprs: Sequence[Expr], params: Params, rule: str = "") -> dict[str, str]:
    """Return the windows that expressions read, each called by the nearest signal around it."""
    found: dict[str, str] = {}

    def visit(node: Expr, name: str) -> None:
        if isinstance(node, tree.Named):
            name = node.name
        if isinstance(node, Call) and node.window is not None:
            found.setdefault(window_spec(node, params, rule).id, name or one_line(node.source))
        for child in tree.children(node):
            visit(child, name)

    for expr in exprs:
        visit(expr, "")
    return found


def one_line(text: str) -> str:
    """Write an expression of several lines on one."""
    return " ".join(text.split())


def _since(stream: Any, now: int) -> str:
    """Say for how long a stream is stale, and of a source what its host says of it."""
    since = ""
    if str(stream.state) == "stale":
        since = format_age(stream.age(now))
    silenced = stream.down if isinstance(stream.down, str) else ""
    return f"{since} ({silenced})".lstrip() if silenced else since
