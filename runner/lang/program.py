"""A strategy's expressions, compiled and bound to streams, cells and windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.lang.api import ProgramApi
from runner.lang.cells import AccountCell, PnlCell, PositionCell, RuleCell
from runner.lang.tree import Expr


@dataclass(frozen=True, slots=True)
class RuleExprs:
    """The trees of one rule; `weights` and `prices` have one entry per leg."""

    when: Expr
    until: Expr | None
    entered: tuple[Expr, ...]
    size: Expr
    size_unit: str
    size_min: Expr | None
    size_max: Expr | None
    weights: tuple[Expr | None, ...]
    prices: tuple[Expr | None, ...]


@dataclass(frozen=True, slots=True)
class ProgramRequest:
    """What to compile. Params are in base units: ratios as they are, durations in seconds."""

    signals: Mapping[str, Expr]
    rules: Mapping[str, RuleExprs]
    params: Mapping[str, float | str | bool]


def compile_program(
    request: ProgramRequest,
    streams: Mapping[str, Any],
    accounts: Mapping[str, AccountCell],
    positions: Mapping[str, PositionCell],
    rules: Mapping[str, RuleCell],
    pnl: PnlCell,
) -> ProgramApi:
    """Compile a strategy and bind it to its streams and cells; `streams` by key (`bin.book`)."""
    raise NotImplementedError
