"""A test of a strategy file after all checks: what happens, how fills go, what must hold.

Times are ns since the test's first instant. Nothing here runs; `app/trial` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from runner.spec.series import Group

Value = float | str | bool
Levels = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """One field's values, one each `every` of the test; `stream` is `bin.book`."""

    stream: str
    field: str
    values: Group


@dataclass(frozen=True, slots=True)
class TickPlan:
    """One update at a time: of a stream (`key` is `bin.book`) or of a source.

    `state` is `stale`, `down` or `up` where that is what happens; `bids` and `asks` are whole
    levels; a message of a source was sent `old_ns` before it came.
    """

    t: int
    key: str
    line: int
    values: Mapping[str, Value | None] = field(default_factory=dict)
    state: str = ""
    bids: Levels = ()
    asks: Levels = ()
    source: bool = False
    old_ns: int = 0


@dataclass(frozen=True, slots=True)
class FillPlan:
    """What becomes of an order at the paper exchange (see its `Behaviour`)."""

    after_ns: int | None = None
    ratio: float | None = None
    reject: str = ""
    lose_reply: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """`> 0.002 BTC`: an operator and a value in base units; `text` as written."""

    op: str
    value: Value
    text: str


@dataclass(frozen=True, slots=True)
class OrderWanted:
    """One order as expected: None or "" where anything will do."""

    text: str
    words: Mapping[str, str]
    """market, side, rule, purpose, type, tif: those that must match"""
    qty: Decimal | None = None
    price: Decimal | None = None
    trigger: Decimal | None = None
    reduce_only: bool | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What must hold at `t`. `line` is where it stands; a field that is None is not looked at."""

    t: int
    line: int
    orders: tuple[OrderWanted, ...] | None = None
    changes: tuple[OrderWanted, ...] | None = None
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    positions: Mapping[str, tuple[Bound, ...]] = field(default_factory=dict)
    signals: Mapping[str, tuple[Bound, ...]] = field(default_factory=dict)
    why: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    run: str = ""


@dataclass(frozen=True, slots=True)
class Never:
    """A state that must not last `for_ns` (0: must not be). `kind` says what `name` is of."""

    kind: str
    """net_position, position, signal, rule"""
    name: str
    bound: Bound
    for_ns: int
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """One test of the file."""

    name: str
    line: int
    sets: Mapping[str, str]
    starts_ns: int
    """wall time of its first instant, ns since the epoch"""
    balance: Decimal
    every_ns: int
    series: tuple[SeriesPlan, ...]
    ticks: tuple[TickPlan, ...]
    history: tuple[SeriesPlan, ...]
    """before the start: `M.book` `mid` by the minute, `M.bars` `close`, `M.funding` `rate`"""
    fills: Mapping[str, FillPlan | tuple[FillPlan, ...]]
    expect: tuple[Expected, ...]
    never: tuple[Never, ...]

    @property
    def until_ns(self) -> int:
        """When it is over: at its last expectation, or the last thing that happens."""
        ends = [each.t for each in self.expect]
        ends += [each.t for each in self.ticks]
        ends += [(each.values.count - 1) * self.every_ns for each in self.series]
        return max(ends, default=0)
