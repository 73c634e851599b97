"""Warm-up: windows over mids filled from the closes of 1-minute bars.

The windows' own feeding code runs over stand-in books whose bid and ask are the close, in the
bars' time, so that warm-up and live share every line. A close stands for the mid for 90 s; where
a bar is absent the mid is missing then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from runner.lang import tree
from runner.lang.codegen import Generator
from runner.lang.functions import State
from runner.lang.tree import Call
from runner.lang.windowing import AnyWindow, Params, WindowSpec, reads_only_mids, window_spec
from runner.market.windows import next_due

SHORTEST_NS = 300_000_000_000
"""a window under 5 min would see too few closes, and fills by itself soon enough"""
CLOSE_LASTS_NS = 90_000_000_000


class _Close:
    """A book that knows one price."""

    __slots__ = ("ask", "at", "bid")

    def __init__(self) -> None:
        self.bid = self.ask = nan
        self.at = 0

    def put(self, price: float, at: int) -> None:
        self.bid = self.ask = price
        self.at = at


def warm_up(
    specs: Sequence[WindowSpec],
    params: Params,
    windows: Mapping[str, AnyWindow],
    bars: Mapping[str, list[tuple[int, float]]],
    now: int,
) -> list[str]:
    """Fill empty windows whose markets all have bars; return the ids of those filled."""
    chosen = [s for s in specs if _warmable(s, windows[s.id], bars)]
    if not chosen:
        return []
    inner = {s.id for c in chosen for s in _inside(c, params)}
    wanted = [s for s in specs if s.id in inner or s in chosen]
    # Windows inside a chosen one may run live already: they are played on copies.
    copies: dict[str, AnyWindow] = {s.id: s.make() for s in wanted}
    _play(wanted, params, copies, bars, now)
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


def _warmable(spec: WindowSpec, window: AnyWindow, bars: Mapping[str, Any]) -> bool:
    markets = {key.split(".")[0] for key in tree.streams_of(*spec.args)}
    return (
        spec.ns >= SHORTEST_NS
        and not window.full
        and reads_only_mids(spec)
        and all(bars.get(market) for market in markets)
    )


def _inside(spec: WindowSpec, params: Params) -> list[WindowSpec]:
    """Return the windows inside a window."""
    calls = [call for arg in spec.args for call in tree.find(arg, Call)]
    return [window_spec(call, params) for call in calls if call.window is not None]


def _play(
    specs: Sequence[WindowSpec],
    params: Params,
    windows: Mapping[str, AnyWindow],
    bars: Mapping[str, list[tuple[int, float]]],
    now: int,
) -> None:
    """Run the feeding code over the bars' times up to `now`."""
    generator = Generator(params)
    names = {}
    for spec in specs:
        names[spec.id] = generator.adopt(spec)
    fed = [names[s.id] for s in specs if s.state is State.EMA]
    slotted = [s for s in specs if s.state is not State.EMA]
    generator.feed("feed", fed)
    generator.slots("slots", [names[s.id] for s in slotted])
    keys = tree.streams_of(*(arg for spec in specs for arg in spec.args))
    books = {key: _Close() for key in keys}
    objects: dict[tuple[str, str], Any] = {("stream", key): b for key, b in books.items()}
    objects |= {("window", spec.id): windows[spec.id] for spec in specs}
    functions = generator.code().bind(objects)
    feed, close = functions["feed"], functions["slots"]
    clocks = [windows[s.id] for s in slotted]

    def advance(to: int) -> None:
        while (due := next_due(clocks)) <= to:
            for book in books.values():
                if due - book.at > CLOSE_LASTS_NS:
                    book.bid = book.ask = nan
            close(due)

    for at, prices in _by_time(bars, books, now):
        for clock in clocks:
            clock.start(at)
        advance(at - 1)
        for key, price in prices:
            books[key].put(price, at)
        feed(at)
    advance(now)


def _by_time(
    bars: Mapping[str, list[tuple[int, float]]], keys: Mapping[str, Any], now: int
) -> list[tuple[int, list[tuple[str, float]]]]:
    """Return the closes of all books in the order of time, those of one instant together."""
    found: dict[int, list[tuple[str, float]]] = {}
    for key in keys:
        for at, price in bars.get(key.split(".")[0], ()):
            if at <= now and price > 0:
                found.setdefault(at, []).append((key, price))
    return sorted(found.items())
