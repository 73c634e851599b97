"""A moment of a recording as a test to paste: books as series, messages as ticks, and decisions.

The recording runs through the strategy as in a dry-run; around the time asked for, each stream is
sampled. A sample without a frame since the last is `_`, one at which the stream was not live is
`stale`. Windows were warm in the replay and are not in the test: they see its series alone. What
was decided stands in comments; what should happen is for a person to write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from runner.app.offline import MarketReplay
from runner.app.trial.heard import heard, standing, told
from runner.app.trial.record import Happening, Recorder
from runner.app.trial.verdict import time_text
from runner.base.clock import NS_PER_S
from runner.base.errors import UsageError
from runner.base.units import format_duration
from runner.engine.commands import Command
from runner.engine.events import Event, Signal
from runner.engine.sources import Sources
from runner.market.streams import AnyStream, StreamState
from runner.spec.market_plan import StreamKind
from runner.spec.plan import Plan
from runner.store.journal import Journal
from runner.store.lines import AnyLine

_RUN_ID: Final = "moment0001"
_NONE: Final = "_"
_STALE: Final = "stale"
_BALANCE: Final = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Window:
    """Which part is wanted, in ns. `at` counts from the first line, or is a wall time."""

    at: int
    wall: bool
    before: int
    after: int
    every: int


def moment(plan: Plan, lines: Callable[[], Iterable[AnyLine]], window: Window, name: str) -> str:
    """Return the YAML of one test; UsageError when the recording has nothing of that time."""
    sampler, recorder = _Sampler(plan, window), Recorder(plan)
    journal = Journal.in_memory()
    try:
        replay = MarketReplay(plan, _RUN_ID, journal, _BALANCE, [sampler, recorder])
        sampler.streams = replay.parts.market.streams
        sampler.sources = replay.parts.engine.sources
        replay.run(_until(lines(), sampler))
    finally:
        journal.close()
    columns = sampler.columns()
    if not any(any(c not in (_NONE, _STALE) for c in column) for column in columns.values()):
        raise UsageError(f"{name}: none of the strategy's streams was live around that time")
    return _text(sampler, recorder.timeline(), columns, window, name)


def _until(lines: Iterable[AnyLine], sampler: _Sampler) -> Iterator[AnyLine]:
    for line in lines:
        if sampler.over:
            return
        yield line


class _Sampler:
    """An observer that reads all streams at the instants of a window."""

    def __init__(self, plan: Plan, window: Window) -> None:
        self._window = window
        self._plan = plan
        self._kinds = {s.key: s.kind for s in plan.streams.values() if not s.implied}
        self._samples: dict[str, list[str]] = {}
        self._seen: dict[str, int] = {}
        self.streams: Mapping[str, AnyStream] = {}
        self.sources: Sources | None = None
        self.ticks: list[str] = []
        """what sources said, as a test writes it"""
        self.begin = 0
        """monotonic ns of the first sample"""
        self.wall = 0
        """wall ns of it"""
        self._next = -1
        self._end = 0

    @property
    def over(self) -> bool:
        """Whether all samples were taken."""
        return self._next > self._end

    def event(self, event: Event) -> None:
        """Take the samples of all instants before this event."""
        if self._next < 0:
            self._start(event)
        while self._next < event.t and not self.over:
            if self._next == self.begin and self.sources is not None:
                self.ticks += standing(self.sources, self._next)
            self._sample()
            self._next += self._window.every
        if isinstance(event, Signal) and self.begin <= event.t <= self._end:
            plan = self._plan.sources.get(event.source)
            if plan is not None and told(plan):
                self.ticks.append(heard(plan, event, event.t - self.begin))

    def command(self, command: Command, t: int) -> None:
        """Decisions are the recorder's."""

    def columns(self) -> dict[str, list[str]]:
        """Return the samples by field."""
        return self._samples

    def _start(self, event: Event) -> None:
        window = self._window
        at = event.t + (window.at - event.wall if window.wall else window.at)
        self.begin = self._next = max(event.t, at - window.before)
        self.wall = event.wall + self.begin - event.t
        self._end = at + window.after
        if at < event.t:
            raise UsageError("the recording begins later than that")

    def _sample(self) -> None:
        for key, kind in self._kinds.items():
            stream = self.streams[key]
            first = key not in self._seen
            live = stream.state is StreamState.LIVE
            new = first or stream.seq != self._seen[key]
            was_stale = self._seen.get(key) == -1
            for name, value in _fields(kind, stream):
                column = self._samples.setdefault(f"{key}.{name}", [])
                if live:
                    column.append(value if new else _NONE)
                else:
                    column.append(_NONE if first or was_stale else _STALE)
            self._seen[key] = stream.seq if live else -1


def _fields(kind: StreamKind, stream: AnyStream) -> list[tuple[str, str]]:
    """Return the fields of a stream as a series writes them."""
    names = {
        StreamKind.BOOK: ("bid", "ask", "bid_qty", "ask_qty"),
        StreamKind.TRADES: ("last", "qty"),
        StreamKind.MARK: ("price",),
        StreamKind.FUNDING: ("rate",),
        StreamKind.BARS: ("open", "high", "low", "close", "volume"),
    }[kind]
    unit = 100.0 if kind is StreamKind.FUNDING else 1.0
    sign = "%" if kind is StreamKind.FUNDING else ""
    return [(name, f"{getattr(stream, name) * unit:.10g}{sign}") for name in names]


def compact(values: Iterable[str]) -> str:
    """Write samples in the compact notation."""
    runs: list[tuple[str, int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1] + 1)
        else:
            runs.append((value, 1))
    return " ".join(value if count == 1 else f"{value}x{count}" for value, count in runs)


def _text(
    sampler: _Sampler,
    lines: Iterable[Happening],
    columns: Mapping[str, list[str]],
    window: Window,
    name: str,
) -> str:
    start = datetime.fromtimestamp(sampler.wall // NS_PER_S, tz=UTC)
    length = max(len(column) for column in columns.values()) * window.every
    out = [
        f"  at {start:%H.%M.%S} on {start:%Y-%m-%d}:     # of {name}",
        f'    starts: "{start:%Y-%m-%dT%H:%M:%SZ}"',
        f"    every: {format_duration(window.every)}",
        "    series:",
    ]
    out += [
        f"      {key}: {compact(column)}"
        for key, column in columns.items()
        if any(value not in (_NONE, _STALE) for value in column)
    ]
    out += ["    ticks:"] if sampler.ticks else []
    out += [f"      - {tick}" for tick in sampler.ticks]
    last = length - window.every
    decided = [x for x in lines if 0 <= x.t - sampler.begin <= last]
    out += [f"    # {time_text(x.t - sampler.begin):<9} {x.text}" for x in decided]
    out += ["    expect:                                 # write what should happen"]
    out += [f"      - {{t: {format_duration(length)}, orders: []}}"]
    return "\n".join(out) + "\n"
