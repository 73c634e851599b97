"""What a compiled strategy offers the engine (built by `lang/program.py`).

All functions take the engine's monotonic time in nanoseconds. They read the stream objects of
`market/`, the cells of `lang/cells.py` and their own windows, and nothing else; they never raise:
what cannot be computed is missing (NaN, or neither true nor false). What is only read is a
property here, so that frozen classes fulfil it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from runner.lang.warming import Past

Test = Callable[[int], bool]
Number = Callable[[int], float]
Value = float | str | bool | None
"""None is missing"""


class LackKind(StrEnum):
    """What a value can lack."""

    STREAM = "stream"
    WINDOW = "window"
    CELL = "cell"


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that keeps a value from being known: `byb.book` `stale` `412ms`."""

    kind: LackKind
    subject: str
    state: str
    figure: str

    @property
    def text(self) -> str:
        """Write it: `byb.book stale 412ms`, `basis warming 40%`."""
        return f"{self.subject} {self.state} {self.figure}".rstrip()


class LinkApi(Protocol):
    """One ordering of two numbers that a conjunct needs."""

    @property
    def source(self) -> str: ...

    def missed_by(self, values: Sequence[Value]) -> float | None:
        """Return how far the two are from it; None when it holds or one of them is missing."""
        ...

    def shown(self, distance: float) -> str:
        """Write a distance with its unit."""
        ...

    def figures(self, values: Sequence[Value]) -> str:
        """Write both sides: `27bps < 19.72bps`."""
        ...


class ProbeApi(Protocol):
    """One conjunct of a condition, asked apart (`lang/probes.py`); never by a tick."""

    @property
    def source(self) -> str: ...

    @property
    def links(self) -> Sequence[LinkApi]: ...

    @property
    def chain(self) -> bool:
        """it is one comparison: each of its links must hold"""
        ...

    @property
    def hides(self) -> bool:
        """it says itself what a missing value counts for (`default`, `known`)"""
        ...

    def verdict(self, now: int) -> bool | None:
        """Return whether it is definitely true or definitely false; None when it is missing."""
        ...

    @property
    def values(self) -> Callable[[int], list[Value]]:
        """what it compares, at an instant"""
        ...

    def figures(self, values: Sequence[Value]) -> str:
        """Write the values as it compares them: `27bps < 31.3bps < 80bps`."""
        ...

    def lacks(self, now: int) -> list[Lack]:
        """Name what keeps it from being known."""
        ...


class Condition(Protocol):
    """A three-valued condition: `true` and `false` are both False when it is missing."""

    @property
    def true(self) -> Test: ...

    @property
    def false(self) -> Test: ...


class SizeProgram(Protocol):
    """How big: `value` in `unit` (a currency: the quote is a notional, the base an amount)."""

    @property
    def value(self) -> Number: ...

    @property
    def unit(self) -> str: ...

    @property
    def min(self) -> Number | None: ...

    @property
    def max(self) -> Number | None: ...


class RuleProgram(Protocol):
    """The generated functions of one rule."""

    @property
    def when(self) -> Condition: ...

    @property
    def until(self) -> Condition | None: ...

    @property
    def size(self) -> SizeProgram | None:
        """None where the verb has no `size`"""
        ...

    @property
    def weights(self) -> tuple[Number | None, ...]:
        """one per leg, None where the file has no `weight`"""
        ...

    @property
    def prices(self) -> tuple[Number | None, ...]:
        """one per leg, None where the file has no `price`"""
        ...

    @property
    def quotes(self) -> tuple[Number | None, ...]:
        """price and quantity of a quote's bid, then of its ask; empty for other verbs"""
        ...

    @property
    def stop(self) -> Number | None:
        """the price of a stop that rests at the exchange; None where the file has none"""
        ...

    @property
    def target(self) -> Number | None:
        """the price of a target that rests at the exchange; None where the file has none"""
        ...

    @property
    def enter(self) -> Callable[[int], list[float]]:
        """evaluates every `entered(x)` of the rule, at approval; assign to the rule's cell"""
        ...

    @property
    def when_streams(self) -> tuple[str, ...]:
        """keys (`bin.book`) of all streams that `when`, sizes and prices read, signals included"""
        ...

    @property
    def until_streams(self) -> tuple[str, ...]: ...


class ProgramApi(Protocol):
    """A strategy's generated code, bound to streams and cells."""

    @property
    def rules(self) -> Mapping[str, RuleProgram]: ...

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """conditions that belong to no rule (breakers), by the name they were compiled under"""
        ...

    @property
    def on_stream(self) -> Mapping[str, Test | Callable[[int], None]]:
        """per stream key: feeds the windows that read it; absent where none does"""
        ...

    due: int
    """monotonic ns of the next window slot end; a large number when there is none"""

    history_ns: int
    """how far back one-minute bars would help to fill the windows over mids; 0: no such window"""

    @property
    def on_edge(self) -> Mapping[str, Callable[[int], None]]:
        """per stream key: tells the edges that read it; to be called before a decision, not on
        frames with newer ones behind them; absent where none does"""
        ...

    def on_timer(self, now: int) -> bool:
        """Close all window slots whose end has come, look at what moves by time.

        Returns whether a condition may have turned by that, so that the rules must be looked at.
        """
        ...

    def look(self, now: int) -> None:
        """Tell `held` and the edges that something changed which no stream tells."""
        ...

    def warm(self, rule: str) -> bool:
        """Whether every window the rule reads is full."""
        ...

    def missing(self, rule: str, now: int) -> list[str]:
        """Name what keeps `when` from being known: `byb.book stale 412ms`, `basis warming 40%`."""
        ...

    def lacks(self, rule: str, now: int) -> list[Lack]:
        """Name what is not there of all that an entry needs: `when`, size, weights, prices."""
        ...

    def probes(self, rule: str, part: str) -> Sequence[ProbeApi]:
        """Return the conjuncts of `when` or `until`; compiled when first asked for."""
        ...

    def explain(self, rule: str, part: str, now: int) -> list[tuple[str, str]]:
        """Return (source text, value) of each sub-expression of `when` or `until`."""
        ...

    def worth(self, rule: str, part: str, now: int) -> Callable[[], list[tuple[str, str]]]:
        """Read the same values now; they are put into words by the call of what it returns."""
        ...

    def words(self, parts: Sequence[Any], rule: str, now: int) -> str:
        """Put the values of a rule's text between its words."""
        ...

    def signal(self, name: str, now: int) -> float | str | bool | None:
        """Return a signal's value; None when missing."""
        ...

    def state(self, now: int) -> dict[str, Any]:
        """Return the windows' state as plain JSON values; ages in it are relative to `now`."""
        ...

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> list[str]:
        """Take back a saved state when the gap allows it; return the windows restored."""
        ...

    def warm_up(self, past: Past, now: int) -> list[str]:
        """Fill windows that are not full from what was before the start; return their ids."""
        ...
