"""Expectations against what happened: the first that does not hold, and in which words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from runner.app.trial.reasons import reasons
from runner.app.trial.record import Recorder, Sent
from runner.app.trial.stage import Check, Stage
from runner.base.units import format_duration
from runner.lang.display import show
from runner.spec.trial_plan import Bound, Expected, OrderWanted, Value

NEAR: Final = 1e-9
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": lambda a, b: a < b and not near(a, b),
    ">": lambda a, b: a > b and not near(a, b),
    "<=": lambda a, b: a < b or near(a, b),
    ">=": lambda a, b: a > b or near(a, b),
    "==": lambda a, b: near(a, b),
    "!=": lambda a, b: not near(a, b),
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What did not hold: at `t`, by line `line` of the file."""

    t: int
    line: int
    expected: str
    got: str
    orders: tuple[Sent, ...] = ()
    """what was sent since the last expectation, where orders were expected"""
    rules: tuple[str, ...] = ()
    """rules of which the reader will ask why"""


def near(a: float, b: float) -> bool:
    """Whether two values differ by rounding alone."""
    return math.isclose(a, b, rel_tol=NEAR, abs_tol=1e-12)


def holds(value: Value | None, bound: Bound) -> bool:
    """Whether a value (None: missing) is within a bound."""
    if bound.op == "missing":
        return value is None
    if value is None:
        return False
    if isinstance(value, str) or isinstance(bound.value, str | bool):
        return (value == bound.value) == (bound.op == "==")
    return _COMPARE[bound.op](float(value), float(bound.value))


class Checked(Check):
    """One expectation; `mismatch` is set when it does not hold."""

    def __init__(
        self, expected: Expected, stage: Stage, recorder: Recorder, seen: SeenOrders
    ) -> None:
        self.t = expected.t
        self.expected = expected
        self.stage = stage
        self.recorder = recorder
        self.seen = seen
        self.mismatch: Mismatch | None = None

    def look(self) -> bool:
        """Compare all that it names; the first difference counts."""
        self.mismatch = next(self._differences(), None)
        return self.mismatch is None

    def _differences(self) -> Iterator[Mismatch]:
        wanted = self.expected
        if wanted.orders is not None:
            sent = self.seen.orders(self.recorder)
            yield from self._orders("order", wanted.orders, sent)
        if wanted.changes is not None:
            yield from self._orders("change", wanted.changes, self.seen.changes(self.recorder))
        for rule, states in wanted.rules.items():
            state = self.stage.engine.desk.rules.runs[rule].state.value
            if state not in states:
                yield self._no(f"{rule} {' or '.join(states)}", state, rule)
        for market, bounds in wanted.positions.items():
            yield from self._position(market, bounds)
        for name, bounds in wanted.signals.items():
            yield from self._signal(name, bounds)
        for rule, texts in wanted.why.items():
            found = reasons(self.stage, self.recorder, rule)
            for text in texts:
                if not any(text.casefold() in reason.casefold() for reason in found):
                    got = "; ".join(found) or "no reason not to act"
                    yield self._no(f'{rule} because of "{text}"', got)
        if wanted.run and wanted.run != self.recorder.mode:
            yield self._no(f"the run {wanted.run}", self.recorder.mode)

    def _no(self, expected: str, got: str, *rules: str) -> Mismatch:
        return Mismatch(self.t, self.expected.line, expected, got, rules=rules)

    def _orders(
        self, what: str, wanted: Sequence[OrderWanted], sent: Sequence[Sent]
    ) -> Iterator[Mismatch]:
        if matches(wanted, sent, self._exact):
            return
        expected = f"no {what}s" if not wanted else _count(len(wanted), what)
        got = "none" if not sent else str(len(sent))
        if len(sent) == len(wanted):
            expected, got = "; ".join(w.text for w in wanted), f"other {what}s"
        rules = tuple(dict.fromkeys(w.words["rule"] for w in wanted if "rule" in w.words))
        rules = rules or tuple(self.stage.plan.rules)
        line = self.expected.line
        yield Mismatch(self.t, line, expected, got, tuple(sent), rules if not sent else ())

    def _exact(self, wanted: OrderWanted, sent: Sent) -> bool:
        intent = sent.intent
        instrument = self.stage.plan.markets[intent.market].instrument
        qty = instrument.base_qty(intent.lots)
        price = instrument.price(intent.ticks) if intent.price_text else None
        trigger = instrument.price(intent.trigger_ticks) if intent.trigger_text else None
        return (
            all(str(getattr(intent, name)) == word for name, word in wanted.words.items())
            and wanted.qty in (None, qty)
            and (wanted.price is None or price == wanted.price)
            and (wanted.trigger is None or trigger == wanted.trigger)
            and wanted.reduce_only in (None, intent.reduce_only)
        )

    def _position(self, market: str, bounds: Sequence[Bound]) -> Iterator[Mismatch]:
        ours, theirs = self.stage.held(market)
        base = self.stage.plan.markets[market].instrument.base
        for bound in bounds:
            for held, who in ((ours, "by the ledger"), (theirs, "by the exchange")):
                if not holds(held, bound):
                    yield self._no(f"{market} {bound.text}", f"{held:.10g} {base} {who}")

    def _signal(self, name: str, bounds: Sequence[Bound]) -> Iterator[Mismatch]:
        engine = self.stage.engine
        value = engine.desk.program.signal(name, engine.desk.now)
        for bound in bounds:
            if not holds(value, bound):
                shown = show(value, self.stage.plan.signals[name].type)
                yield self._no(f"{name} {bound.text}", shown)


class SeenOrders:
    """Which orders and changes an earlier expectation has seen already."""

    def __init__(self) -> None:
        self._orders = self._changes = 0

    def orders(self, recorder: Recorder) -> list[Sent]:
        """Return the orders sent since the last call."""
        found = recorder.sent[self._orders :]
        self._orders = len(recorder.sent)
        return found

    def changes(self, recorder: Recorder) -> list[Sent]:
        """Return the changes sent since the last call."""
        found = recorder.changed[self._changes :]
        self._changes = len(recorder.changed)
        return found


def matches(
    wanted: Sequence[OrderWanted],
    sent: Sequence[Sent],
    exact: Callable[[OrderWanted, Sent], bool],
) -> bool:
    """Whether all orders are those expected: passes in their order, the legs of one in any."""
    if len(wanted) != len(sent):
        return False
    left = list(sent)
    for each in wanted:
        group = left[0].group
        found = next((s for s in left if s.group == group and exact(each, s)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def time_text(t: int) -> str:
    """Write a time of a test: 1801s, 250ms."""
    if t >= 1_000_000_000:
        return f"{plain_seconds(t)}s"
    return format_duration(t)


def plain_seconds(t: int) -> str:
    """Write ns as seconds without trailing zeros."""
    return (
        f"{Decimal(t) / 1_000_000_000:f}".rstrip("0").rstrip(".")
        if t % 1_000_000_000
        else str(t // 1_000_000_000)
    )


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
