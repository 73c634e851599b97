"""The wiring of a strategy: from what is heard over signals and rules to orders, as a drawing.

Streams and sources feed signals and rules, signals feed signals and rules, rules send orders to
markets. Params, limits and cells (`this.*`, `account.*`) are not drawn: everything reads them.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from runner.base.errors import WorldError
from runner.engine.build import rule_exprs
from runner.lang import tree
from runner.lang.tree import Call, Expr
from runner.spec.plan import Plan
from runner.spec.rule_plan import DeedPlan, RulePlan
from runner.spec.source_plan import LlmPlan


class Kind(StrEnum):
    """What a node is."""

    STREAM = "stream"
    SOURCE = "source"
    SIGNAL = "signal"
    RULE = "rule"
    ORDER = "order"
    """what a rule does: orders on a market, or the commands of `do`"""


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """One box; sorted by its name."""

    name: str
    kind: Kind


Edge = tuple[Node, Node]
_MERMAID: Final = {
    Kind.STREAM: ("[(", ")]"),
    Kind.SOURCE: ("[/", "/]"),
    Kind.SIGNAL: ("([", "])"),
    Kind.RULE: ("{{", "}}"),
    Kind.ORDER: ("[[", "]]"),
}
_DOT: Final = {
    Kind.STREAM: "cylinder",
    Kind.SOURCE: "parallelogram",
    Kind.SIGNAL: "ellipse",
    Kind.RULE: "hexagon",
    Kind.ORDER: "box",
}


def edges(plan: Plan) -> list[Edge]:
    """Return who feeds whom, each once, sorted."""
    found = set(_told(plan))
    for name, expr in plan.signals.items():
        found |= {(node, Node(name, Kind.SIGNAL)) for node in _reads(plan, expr)}
    for name, rule in plan.rules.items():
        box = Node(name, Kind.RULE)
        found |= {(node, box) for expr in _exprs(rule) for node in _reads(plan, expr)}
        if rule.trigger is not None:
            found.add((Node(rule.trigger.source, Kind.SOURCE), box))
        found |= {(box, Node(f"order {leg.market}", Kind.ORDER)) for leg in rule.legs}
        found |= {(box, Node(_words(deed), Kind.ORDER)) for deed in rule.do}
    return sorted(found)


def mermaid(plan: Plan) -> str:
    """Draw it as a Mermaid flow chart, with a line end."""
    lines, numbers = ["flowchart LR"], dict[Node, str]()
    for one, other in edges(plan):
        for node in (one, other):
            if node not in numbers:
                numbers[node] = f"n{len(numbers)}"
                opened, closed = _MERMAID[node.kind]
                lines.append(f"  {numbers[node]}{opened}{node.name}{closed}")
        lines.append(f"  {numbers[one]} --> {numbers[other]}")
    return "\n".join(lines) + "\n"


def dot(plan: Plan) -> str:
    """Draw it in the language of Graphviz, with a line end."""
    found = edges(plan)
    lines = ["digraph strategy {", "  rankdir=LR;"]
    nodes = dict.fromkeys(node for edge in found for node in edge)
    lines += [f'  "{node.name}" [shape={_DOT[node.kind]}];' for node in nodes]
    lines += [f'  "{one.name}" -> "{other.name}";' for one, other in found]
    return "\n".join([*lines, "}"]) + "\n"


def svg(plan: Plan) -> str:
    """Draw it as a picture; WorldError where Graphviz is not installed, or fails."""
    program = shutil.which("dot")
    if program is None:
        raise WorldError(
            "the picture is drawn by Graphviz, which is not installed (its program is `dot`);"
            " `--format mermaid` and `--format dot` need nothing"
        )
    try:
        done = subprocess.run(
            [program, "-Tsvg"], input=dot(plan), capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorldError(f"{program} did not draw: {error}") from error
    if done.returncode:
        raise WorldError(f"{program} did not draw: {done.stderr.strip()}")
    return done.stdout


def _told(plan: Plan) -> Iterator[Edge]:
    """Yield what language models are told of."""
    for source in plan.sources.values():
        if isinstance(source.options, LlmPlan):
            for name in source.options.about:
                kind = Kind.SIGNAL if name in plan.signals else Kind.SOURCE
                yield Node(name, kind), Node(source.name, Kind.SOURCE)


def _exprs(rule: RulePlan) -> Iterator[Expr]:
    """Yield all trees of a rule."""
    exprs = rule_exprs(rule)
    several = (*exprs.entered, *exprs.weights, *exprs.prices, *exprs.quotes)
    sizes = (exprs.size, exprs.size_min, exprs.size_max)
    for expr in (exprs.when, exprs.until, *sizes, exprs.stop, exprs.target, *several):
        if isinstance(expr, tree.Node):
            yield expr


def _words(deed: DeedPlan) -> str:
    return f"{deed.what} {deed.rule or deed.market}".rstrip()


def _reads(plan: Plan, expr: Expr) -> Iterator[Node]:
    """Yield what an expression reads by itself: what is behind a signal's name is the signal's."""
    match expr:
        case tree.Named(sizing=False):
            yield Node(expr.name, Kind.SIGNAL)
            return
        case tree.Field() | tree.StreamArg():
            yield _stream(plan, expr.key)
        case Call() if expr.window is not None and expr.window.stream:
            yield _stream(plan, expr.window.stream)
    for child in tree.children(expr):
        yield from _reads(plan, child)


def _stream(plan: Plan, key: str) -> Node:
    return Node(key, Kind.SOURCE if key in plan.sources else Kind.STREAM)
