"""Invariants over a whole test: states that must not be, or must not last.

Theory of operation. An observer sees each event before the engine does. What stands then is what
the event before it left, and it has stood since that event: so a state of the engine is noticed one
event late, with the right time. Positions are those of the exchange, execution by execution at its
own time, whether or not we were told of it. `for 400ms` is over when a state still stands 400 ms
after it began.
"""

from __future__ import annotations

from collections.abc import Callable

from runner.app.trial.stage import Stage
from runner.app.trial.verdict import Mismatch, holds, time_text
from runner.engine.commands import Command
from runner.engine.events import Event
from runner.spec.trial_plan import Never, Value


class Invariants:
    """An observer that watches all of a test's `never`."""

    def __init__(self, stage: Stage) -> None:
        self._truth = _Truth(stage)
        self._watches = [_Watch(n, _reading(n, stage, self._truth)) for n in stage.trial.never]
        held = ("net_position", "position")
        self._states = [w for w in self._watches if w.never.kind not in held]
        self._held = [w for w in self._watches if w.never.kind in held]
        self._last = 0
        self.broken: Mismatch | None = None
        """the first that was, by time"""

    def event(self, event: Event) -> None:
        """Look at what the last event left."""
        if self._watches:
            self._look(event.t)

    def command(self, command: Command, t: int) -> None:
        """States are read, not commands."""

    def end(self, t: int) -> None:
        """Look at what stands when the test is over."""
        self._look(t)

    def _look(self, now: int) -> None:
        for watch in self._states:
            watch.look(self._last)
        if self._held and self._truth.news:
            for t in self._truth.executions():
                self._judge(t, early=True)
                self._truth.take()
                for watch in self._held:
                    watch.look(t)
        self._judge(now)
        self._last = now

    def _judge(self, now: int, early: bool = False) -> None:
        for watch in self._held if early else self._watches:
            t = watch.broken(now)
            if t is not None and (self.broken is None or t < self.broken.t):
                never = watch.never
                what = never.kind if never.kind == "net_position" else f"{never.kind} {never.name}"
                since = time_text(t - never.for_ns)
                got = f"{watch.worst} since {since}"
                self.broken = Mismatch(t, never.line, f"never {what} {never.text}", got)


class _Truth:
    """Positions by the exchanges' own executions, taken one after the other."""

    def __init__(self, stage: Stage) -> None:
        self._venues = [x.venue for x in stage.desk.exchanges.values()]
        self._counts = [0] * len(self._venues)
        self._start = stage.trial.starts_ns
        self._lot = {m: p.instrument.lot_base_f for m, p in stage.plan.markets.items()}
        self._next: list[tuple[int, str, int]] = []
        self.lots = dict.fromkeys(stage.plan.markets, 0)

    @property
    def news(self) -> bool:
        """Whether something was executed since the last look."""
        pairs = zip(self._venues, self._counts, strict=True)
        return any(len(venue.fills) != count for venue, count in pairs)

    def executions(self) -> list[int]:
        """Return the times of what was executed since; `take` books them one by one."""
        found = []
        for i, venue in enumerate(self._venues):
            for fill in venue.fills[self._counts[i] :]:
                intent = venue.orders[fill.cid].intent
                found.append((fill.ts - self._start, intent.market, fill.lots * intent.side.sign))
            self._counts[i] = len(venue.fills)
        self._next = sorted(found, key=lambda each: each[0])
        return [t for t, _, _ in self._next]

    def take(self) -> None:
        """Book the next execution."""
        _, market, lots = self._next.pop(0)
        self.lots[market] += lots

    def held(self, market: str) -> float:
        """Return what is held of a market, in its base."""
        return self.lots[market] * self._lot[market]


class _Watch:
    """One invariant."""

    def __init__(self, never: Never, read: Callable[[], Value | None]) -> None:
        self.never = never
        self.worst = ""
        self._read = read
        self._since = -1

    def look(self, since: int) -> None:
        """Read what has stood since `since`."""
        value = self._read()
        if not holds(value, self.never.bound):
            self._since = -1
        elif self._since < 0:
            self._since = since
            self.worst = f"{value:.10g}" if isinstance(value, float) else str(value)

    def broken(self, now: int) -> int | None:
        """Return since when it is broken at `now`, None when it is not."""
        if self._since < 0 or now - self._since < self.never.for_ns:
            return None
        return self._since + self.never.for_ns


def _reading(never: Never, stage: Stage, truth: _Truth) -> Callable[[], Value | None]:
    desk, name = stage.engine.desk, never.name
    if never.kind == "rule":
        return lambda: desk.rules.runs[name].state.value
    if never.kind == "signal":
        return lambda: desk.program.signal(name, desk.now)
    if never.kind == "position":
        return lambda: truth.held(name)
    markets = [m for m, p in stage.plan.markets.items() if p.instrument.base == name]
    return lambda: abs(sum(truth.held(m) for m in markets))
