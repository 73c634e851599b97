"""Explaining a condition: what each of its parts is worth now, for traces.

Each condition gets one generated function that returns all values at once, made when the program
is: traces are written while a market moves. The reference evaluator says the same (a test compares
them) and costs five times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from runner.lang import treewalk
from runner.lang.codegen import Generator
from runner.lang.display import show
from runner.lang.emit import Ref
from runner.lang.tree import Expr
from runner.lang.types import Type
from runner.lang.windowing import Params

Told = Callable[[], list[tuple[str, str]]]
"""puts the values of one instant into words: (source text, value) of each part, outer first"""
Rows = Callable[[int], Told]
"""reads all values of a condition at an instant"""


def explainers(
    conditions: Mapping[tuple[str, str], tuple[Expr, Sequence[Expr]]],
    params: Params,
    objects: Mapping[Ref, Any],
) -> dict[tuple[str, str], Rows]:
    """Compile the explanation of each condition, given by (rule, part) with its `entered`."""
    generator = Generator(params)
    parts = {key: treewalk.parts(expr) for key, (expr, _) in conditions.items()}
    for i, (key, (_, entered)) in enumerate(conditions.items()):
        generator.values(f"values_{i}", parts[key], key[0], entered)
    functions = generator.code().bind(objects)
    return {key: _rows(parts[key], functions[f"values_{i}"]) for i, key in enumerate(conditions)}


def _rows(parts: Sequence[Expr], values: Callable[[int], list[treewalk.Value]]) -> Rows:
    named = [(part.source, part.type) for part in parts]

    def rows(now: int) -> Told:
        return partial(_words, named, values(now))

    return rows


def _words(
    named: Sequence[tuple[str, Type]], values: Sequence[treewalk.Value]
) -> list[tuple[str, str]]:
    told = zip(named, values, strict=True)
    return [(source, show(value, type_)) for (source, type_), value in told]
