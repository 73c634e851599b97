"""The layout of a program: which generated function is called what, before anything is bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.lang import tree
from runner.lang.api import Number, Test
from runner.lang.codegen import Code, Generator
from runner.lang.request import ProgramRequest, RuleExprs, all_exprs, entering
from runner.lang.tree import Call, Expr
from runner.lang.types import Sort
from runner.lang.watching import arming, times_of, told_of_frames, told_of_instants
from runner.lang.windowing import WindowSpec, is_bool, window_spec


@dataclass(frozen=True, slots=True)
class Condition:
    """The two functions of a condition; both are False when it is missing."""

    true: Test
    false: Test


@dataclass(frozen=True, slots=True)
class Size:
    """How big, in `unit`."""

    value: Number
    unit: str
    min: Number | None
    max: Number | None


@dataclass(frozen=True, slots=True)
class Rule:
    """The generated functions of one rule."""

    when: Condition
    until: Condition | None
    size: Size | None
    weights: tuple[Number | None, ...]
    prices: tuple[Number | None, ...]
    enter: Callable[[int], list[float]]
    when_streams: tuple[str, ...]
    until_streams: tuple[str, ...]
    stop: Number | None = None
    target: Number | None = None
    quotes: tuple[Number | None, ...] = ()


Functions = Mapping[str, Callable[..., Any]]


class Layout:
    """Which function is called what, before anything is bound."""

    def __init__(self, request: ProgramRequest, streams: tuple[str, ...]) -> None:
        self.request = request
        self.params = request.params
        generator = Generator(request.params)
        self.number = {name: i for i, name in enumerate(request.signals)}
        for name, expr in request.signals.items():
            _add_signal(generator, f"signal_{self.number[name]}", expr)
        self.rule_number = {name: i for i, name in enumerate(request.rules)}
        for name, exprs in request.rules.items():
            _add_rule(generator, f"rule_{self.rule_number[name]}", name, exprs)
        for i, expr in enumerate(request.conditions.values()):
            generator.condition(f"condition_{i}", expr)
        names = {spec.id: name for name, spec in generator.windows.items()}
        self.specs = list(generator.windows.values())
        self.feeds = _add_feeds(generator, "feed", told_of_frames(self.specs, streams), names)
        self.edges = _add_feeds(generator, "edge", told_of_instants(self.specs, streams), names)
        generator.feed("look", [names[s.id] for s in self.specs if s.watcher])
        generator.slots("slots", [names[s.id] for s in self.specs if s.slotted])
        self.code: Code = generator.code()
        self.arming = arming(self.specs, streams)
        self.times = times_of(all_exprs(request))
        self.watches = bool(self.times) or any(spec.watcher for spec in self.specs)

    def spec(self, call: Call, rule: str = "") -> WindowSpec:
        """Return the window a call reads in a rule."""
        return window_spec(call, self.params, rule)

    def windows_of_rule(self, name: str) -> list[WindowSpec]:
        """Return all windows that `when`, the size and the prices of a rule cannot do without."""
        exprs = self.request.rules[name]
        found: dict[str, WindowSpec] = {}
        for expr in entering(exprs):
            for call in tree.needed(expr):
                if isinstance(call, Call) and call.window is not None:
                    spec = self.spec(call, name)
                    found[spec.id] = spec
        return list(found.values())

    def rule(self, name: str, found: Functions) -> Rule:
        """Return the functions of one rule."""
        exprs = self.request.rules[name]
        prefix = f"rule_{self.rule_number[name]}"

        def condition(part: str) -> Condition:
            return Condition(found[f"{prefix}_{part}_true"], found[f"{prefix}_{part}_false"])

        def legs(part: str, values: Sequence[Expr | None]) -> tuple[Number | None, ...]:
            return tuple(
                None if value is None else found[f"{prefix}_{part}_{i}"]
                for i, value in enumerate(values)
            )

        return Rule(
            condition("when"),
            condition("until") if exprs.until is not None else None,
            Size(
                found[f"{prefix}_size"],
                exprs.size_unit,
                found.get(f"{prefix}_size_min"),
                found.get(f"{prefix}_size_max"),
            )
            if exprs.size is not None
            else None,
            legs("weight", exprs.weights),
            legs("price", exprs.prices),
            found[f"{prefix}_enter"],
            tree.streams_of(*entering(exprs)),
            tree.streams_of(exprs.until),
            found.get(f"{prefix}_stop"),
            found.get(f"{prefix}_target"),
            legs("quote", exprs.quotes),
        )


def _add_signal(generator: Generator, name: str, expr: Expr) -> None:
    if is_bool(expr):
        generator.condition(name, expr)
    elif expr.type.sort is Sort.TEXT:
        generator.text(name, expr)
    else:
        generator.number(name, expr)


def _add_rule(generator: Generator, prefix: str, rule: str, exprs: RuleExprs) -> None:
    generator.entered[rule] = [tree.key(expr) for expr in exprs.entered]
    generator.condition(f"{prefix}_when", exprs.when, rule)
    if exprs.until is not None:
        generator.condition(f"{prefix}_until", exprs.until, rule, exprs.entered)
    if exprs.size is not None:
        generator.number(f"{prefix}_size", exprs.size, rule)
    if exprs.size_min is not None:
        generator.number(f"{prefix}_size_min", exprs.size_min, rule)
    if exprs.size_max is not None:
        generator.number(f"{prefix}_size_max", exprs.size_max, rule)
    parts = (("weight", exprs.weights), ("price", exprs.prices), ("quote", exprs.quotes))
    for part, values in parts:
        for i, value in enumerate(values):
            if value is not None:
                generator.number(f"{prefix}_{part}_{i}", value, rule)
    if exprs.stop is not None:
        generator.number(f"{prefix}_stop", exprs.stop, rule)
    if exprs.target is not None:
        generator.number(f"{prefix}_target", exprs.target, rule)
    generator.numbers(f"{prefix}_enter", exprs.entered, rule)


def _add_feeds(
    generator: Generator,
    prefix: str,
    feeds: Mapping[str, Sequence[WindowSpec]],
    names: Mapping[str, str],
) -> dict[str, str]:
    """Add one feeding function per stream that a window must hear of at once."""
    functions = {}
    for index, (key, specs) in enumerate(feeds.items()):
        functions[key] = f"{prefix}_{index}"
        generator.feed(functions[key], [names[spec.id] for spec in specs])
    return functions
