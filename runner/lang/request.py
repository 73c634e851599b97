"""What a program is compiled from: the checked expressions of a strategy, by what they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.lang.tree import Expr


@dataclass(frozen=True, slots=True)
class RuleExprs:
    """The trees of one rule; `weights` and `prices` have one entry per leg.

    `quotes` are price and quantity of a quote's bid, then of its ask; empty for other verbs.
    """

    when: Expr
    until: Expr | None
    entered: tuple[Expr, ...]
    size: Expr | None
    size_unit: str
    size_min: Expr | None
    size_max: Expr | None
    weights: tuple[Expr | None, ...]
    prices: tuple[Expr | None, ...]
    stop: Expr | None = None
    target: Expr | None = None
    quotes: tuple[Expr | None, ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramRequest:
    """What to compile. Params are in base units: ratios as they are, durations in seconds."""

    signals: Mapping[str, Expr]
    rules: Mapping[str, RuleExprs]
    params: Mapping[str, float | str | bool]
    conditions: Mapping[str, Expr] = field(default_factory=dict)
    """conditions that belong to no rule, by a name of the caller's"""


def conditions(request: ProgramRequest) -> dict[tuple[str, str], tuple[Expr, Sequence[Expr]]]:
    """Return `when` and `until` of all rules by (rule, part), with what `entered` keeps."""
    found: dict[tuple[str, str], tuple[Expr, Sequence[Expr]]] = {}
    for name, exprs in request.rules.items():
        found[name, "when"] = (exprs.when, ())
        if exprs.until is not None:
            found[name, "until"] = (exprs.until, exprs.entered)
    return found


def entering(exprs: RuleExprs) -> list[Expr]:
    """Return the trees that must be known to enter."""
    found = [exprs.when, exprs.size, exprs.size_min, exprs.size_max]
    found += [exprs.stop, exprs.target]
    found += [*exprs.entered, *exprs.weights, *exprs.prices, *exprs.quotes]
    return [expr for expr in found if expr is not None]


def all_exprs(request: ProgramRequest) -> list[Expr]:
    """Return every tree of a request."""
    found = [*request.signals.values(), *request.conditions.values()]
    for exprs in request.rules.values():
        found += entering(exprs)
        found += [expr for expr in (exprs.until, exprs.stop) if expr is not None]
    return found
