"""Warm-up: windows filled from what was before the start, so that nobody waits for them.

Theory of operation. The windows' own feeding code runs over stand-in streams in the past's time,
so that warm-up and live share every line. A book's mid is taken from the closes of 1-minute bars; a
close stands for it for 90 s, where a bar is absent the mid is missing then. Bars and funding are
steps: a value holds until the next one, and an `ema` is told just before and just after each. Every
window begins its slots as long ago as it needs, and no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

from runner.lang import tree
from runner.lang.codegen import Generator
from runner.lang.functions import State
from runner.lang.tree import Call
from runner.lang.windowing import (
    AnyWindow,
    Params,
    WindowSpec,
    needs_every_event,
    reads_only_mids,
    window_spec,
)
from runner.market.windows import NEVER, next_due

SHORTEST_NS = 300_000_000_000
"""a window under 5 min would see too few closes, and fills by itself soon enough"""
CLOSE_LASTS_NS = 90_000_000_000
_FUNDING_FIELDS = frozenset({"rate", "interval", "yearly"})

PastBar = tuple[int, float, float, float, float, float]
"""(ns of the close, open, high, low, close, volume)"""
PastRate = tuple[int, float, int]
"""(ns from which it holds, rate, interval in ns)"""


@dataclass(frozen=True, slots=True)
class Past:
    """What was before the start, in monotonic ns, old to new.

    `closes` by market: (ns of a one-minute bar's close, close). `bars` and `funding` by stream key.
    """

    closes: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    bars: Mapping[str, Sequence[PastBar]] = field(default_factory=dict)
    funding: Mapping[str, Sequence[PastRate]] = field(default_factory=dict)

    def has(self, node: tree.Field) -> bool:
        """Return whether a field's past is known."""
        if node.kind == "book":
            return node.field == "mid" and bool(self.closes.get(node.market))
        if node.kind == "bars":
            return bool(self.bars.get(node.key))
        return node.field in _FUNDING_FIELDS and bool(self.funding.get(node.key))


class _Book:
    """A book that knows one price, for a while."""

    __slots__ = ("ask", "at", "bid")

    def __init__(self) -> None:
        self.bid = self.ask = nan
        self.at = 0

    def put(self, at: int, price: float) -> None:
        self.bid = self.ask = price
        self.at = at


class _Bars:
    """A stream of closed bars."""

    __slots__ = ("close", "closed", "high", "low", "open", "volume")

    def __init__(self) -> None:
        self.open = self.high = self.low = self.close = self.volume = nan
        self.closed = 0

    def put(self, at: int, *values: float) -> None:
        self.open, self.high, self.low, self.close, self.volume = values
        self.closed += 1


class _Funding:
    """A stream of funding rates."""

    __slots__ = ("interval", "rate")

    def __init__(self) -> None:
        self.rate, self.interval = nan, 0

    def put(self, at: int, rate: float, interval: int) -> None:
        self.rate, self.interval = rate, interval


_STAND_INS: Mapping[str, Callable[[], Any]] = {"book": _Book, "bars": _Bars, "funding": _Funding}


def warm_up(
    specs: Sequence[WindowSpec],
    params: Params,
    windows: Mapping[str, AnyWindow],
    past: Past,
    now: int,
) -> list[str]:
    """Fill windows that are not full and whose inputs' past is known; return their ids."""
    chosen = [s for s in specs if not windows[s.id].full and _known(s, past, params)]
    if not chosen:
        return []
    inner = {s.id for c in chosen for s in _inside(c, params)}
    wanted = [s for s in specs if s.id in inner or s in chosen]
    # Windows inside a chosen one may run live already: they are played on copies.
    copies: dict[str, AnyWindow] = {s.id: s.make() for s in wanted}
    _Play(wanted, params, copies, past, now).run()
    filled = []
    for spec in chosen:
        copy = copies[spec.id]
        if copy.progress > 0:
            copy.warmed = True
            windows[spec.id].become(copy)
            filled.append(spec.id)
    return filled


def history_ns(specs: Sequence[WindowSpec], params: Params) -> int:
    """Return how far back one-minute bars help to fill the windows over mids; 0: none would."""
    spans = [
        spec.ns + sum(inner.ns for inner in _inside(spec, params))
        for spec in specs
        if spec.ns >= SHORTEST_NS and reads_only_mids(spec)
    ]
    return max(spans, default=0)


def _known(spec: WindowSpec, past: Past, params: Params) -> bool:
    """Return whether the past of all that a window reads is known."""
    if needs_every_event(spec) or spec.watcher or (spec.ns and spec.ns < SHORTEST_NS):
        return False
    inside = _inside(spec, params)
    if spec.bars and (spec.stream not in past.bars or any(not s.bars for s in inside)):
        return False
    if any(s.bars and s.stream not in past.bars for s in inside):
        return False
    fields = [node for arg in spec.args for node in tree.find(arg, tree.Field)]
    return bool(fields) and all(past.has(node) for node in fields)


def _inside(spec: WindowSpec, params: Params) -> list[WindowSpec]:
    """Return the windows inside a window."""
    calls = [call for arg in spec.args for call in tree.find(arg, Call)]
    return [window_spec(call, params, spec.this) for call in calls if call.window is not None]


class _Play:
    """The past, played through some windows."""

    def __init__(
        self,
        specs: Sequence[WindowSpec],
        params: Params,
        windows: Mapping[str, AnyWindow],
        past: Past,
        now: int,
    ) -> None:
        self.now = now
        keys = tree.streams_of(*(arg for spec in specs for arg in spec.args))
        keys = tuple(sorted({*keys, *(spec.stream for spec in specs if spec.stream)}))
        self.streams = {key: _STAND_INS[key.split(".")[1]]() for key in keys}
        self.books = [s for s in self.streams.values() if isinstance(s, _Book)]
        self.times = _by_time(past, keys, now)
        slotted = [spec for spec in specs if spec.slotted]
        self.clocks = [windows[spec.id] for spec in slotted]
        self.begins = self._begins(slotted, params)
        self.feed, self.close = self._compile(specs, params, windows)

    def _compile(
        self, specs: Sequence[WindowSpec], params: Params, windows: Mapping[str, AnyWindow]
    ) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
        generator = Generator(params)
        names = {}
        for spec in specs:
            names[spec.id] = generator.adopt(spec)
        fed = [names[s.id] for s in specs if s.state is State.EMA or s.bars]
        generator.feed("feed", fed)
        generator.slots("slots", [names[s.id] for s in specs if s.slotted])
        objects: dict[tuple[str, str], Any] = {("stream", k): s for k, s in self.streams.items()}
        objects |= {("window", spec.id): windows[spec.id] for spec in specs}
        functions = generator.code().bind(objects)
        return functions["feed"], functions["slots"]

    def _begins(self, specs: Sequence[WindowSpec], params: Params) -> list[int]:
        """Return when each window begins its slots: as long ago as it needs and can know."""
        first: dict[str, int] = {}
        for at, puts in self.times:
            for key, _ in puts:
                first.setdefault(key, at)
        found = []
        for spec, clock in zip(specs, self.clocks, strict=True):
            clock.due = NEVER
            span = spec.ns + sum(inner.ns for inner in _inside(spec, params))
            read = [first.get(key, self.now) for key in tree.streams_of(*spec.args)]
            found.append(max([self.now - span - 2 * clock.slot_ns, *read]))
        return found

    def run(self) -> None:
        """Play up to `now`."""
        steps = any(not isinstance(stream, _Book) for stream in self.streams.values())
        for at, puts in self.times:
            self._advance(at - 1)
            if any(not isinstance(self.streams[key], _Book) for key, _ in puts):
                self.feed(at - 1)
            for key, values in puts:
                self.streams[key].put(at, *values)
            self.feed(at)
        self._advance(self.now)
        if steps:
            self.feed(self.now)

    def _advance(self, to: int) -> None:
        """Close the slots that end by `to`, and begin the windows whose time has come."""
        for clock, begin in zip(self.clocks, self.begins, strict=True):
            if begin <= to:
                clock.start(begin)
        while (due := next_due(self.clocks)) <= to:
            for book in self.books:
                if due - book.at > CLOSE_LASTS_NS:
                    book.bid = book.ask = nan
            self.close(due)


Puts = list[tuple[str, tuple[Any, ...]]]


def _by_time(past: Past, keys: Sequence[str], now: int) -> list[tuple[int, Puts]]:
    """Return what the streams are worth from when on, in the order of time."""
    found: dict[int, Puts] = {}
    for key in keys:
        rows: Sequence[tuple[Any, ...]] = past.bars.get(key) or past.funding.get(key) or ()
        if key.endswith(".book"):
            rows = [row for row in past.closes.get(key.split(".")[0], ()) if row[1] > 0]
        for at, *values in rows:
            if at <= now:
                found.setdefault(at, []).append((key, tuple(values)))
    return sorted(found.items(), key=lambda item: item[0])
