"""What was before the start: saved windows, past bars and funding, fetched to warm windows with.

What cannot be had is told, and the windows fill live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

from runner.app.assembly import Parts
from runner.app.links import Link
from runner.base.clock import NS_PER_S, Clock
from runner.base.errors import ExchangeError
from runner.engine.events import Bar, Funding, History
from runner.spec.market_plan import StreamKind, StreamPlan
from runner.spec.markets import MOST_BARS
from runner.store.past import SavedState

MINUTE_NS = 60 * NS_PER_S
_DAY_NS = 1440 * MINUTE_NS
_MS = 1_000_000

Warn = Callable[[str], None]
T = TypeVar("T")


async def read_history(
    links: Mapping[str, Link],
    parts: Parts,
    clock: Clock,
    saved: SavedState | None,
    warn: Warn,
) -> History | None:
    """Fetch what fills windows; None when nothing does.

    Closes of minutes for windows over mids, bars and funding of the streams with `warmup`. Of every
    stream of funding that the file names at least the last payments, for they tell the interval.
    """
    reader = _Reader(links, parts, clock, warn)
    closes, bars, funding = await asyncio.gather(
        _all(reader.closes(parts.engine.desk.program.history_ns)),
        _all(reader.bars()),
        _all(reader.funding()),
    )
    if not (closes or bars or funding or saved is not None):
        return None
    return History(
        closes=closes,
        bars=bars,
        funding=funding,
        state=msgspec.json.decode(saved.value) if saved is not None else {},
        gap=clock.wall() - saved.wall if saved is not None else 0,
        t=clock.mono(),
        wall=clock.wall(),
    )


async def _all(work: Mapping[str, Awaitable[list[T]]]) -> dict[str, list[T]]:
    """Wait for all; leave out what came to nothing."""
    found = await asyncio.gather(*work.values())
    return {name: rows for name, rows in zip(work, found, strict=True) if rows}


class _Reader:
    """The questions of one start."""

    def __init__(self, links: Mapping[str, Link], parts: Parts, clock: Clock, warn: Warn) -> None:
        self._links = links
        self._markets = parts.plan.markets
        self._clock = clock
        self._warn = warn

    def closes(self, needed_ns: int) -> dict[str, Awaitable[list[tuple[int, float]]]]:
        """Ask for the one-minute closes of all markets; nothing when no window needs them."""
        if not needed_ns:
            return {}
        count = min(MOST_BARS, needed_ns // MINUTE_NS + 2)
        return {name: self._closes(name, count) for name in self._markets}

    def bars(self) -> dict[str, Awaitable[list[tuple[int, float, float, float, float, float]]]]:
        """Ask for the bars of the streams with `warmup`."""
        streams = self._streams(StreamKind.BARS)
        return {s.key: self._rows(s.market, s) for s in streams if s.warmup and s.every_ns}

    def funding(self) -> dict[str, Awaitable[list[tuple[int, float]]]]:
        """Ask for the payments of the streams that the file names."""
        streams = self._streams(StreamKind.FUNDING)
        return {s.market: self._payments(s) for s in streams if not s.implied}

    def _streams(self, kind: StreamKind) -> list[StreamPlan]:
        return [m.streams[kind] for m in self._markets.values() if kind in m.streams]

    def _link(self, market: str) -> Link:
        return self._links[self._markets[market].exchange]

    async def _past(self, market: str, every_ns: int, count: int) -> list[Bar]:
        link = self._link(market)
        try:
            body = await link.rest.fetch(link.codec.bars(market, every_ns, count))
            events = link.codec.parse_bars(market, every_ns, body)
        except ExchangeError as error:
            self._warn(f"{link.plan.name}: no bars of {market} to warm windows with: {error}")
            return []
        return [event for event in events if isinstance(event, Bar) and event.closed]

    async def _closes(self, market: str, count: int) -> list[tuple[int, float]]:
        bars = await self._past(market, MINUTE_NS, count)
        to_mono = self._clock.mono() - self._clock.wall()
        return [(bar.open_at + bar.every + to_mono, bar.close) for bar in bars]

    async def _rows(
        self, market: str, stream: StreamPlan
    ) -> list[tuple[int, float, float, float, float, float]]:
        bars = await self._past(market, stream.every_ns or 0, min(MOST_BARS, stream.warmup))
        return [(b.open_at, b.open, b.high, b.low, b.close, b.volume) for b in bars]

    async def _payments(self, stream: StreamPlan) -> list[tuple[int, float]]:
        """Return what was paid in the warm-up and a day before it, and what is paid next."""
        market = stream.market
        link, wall = self._link(market), self._clock.wall()
        since = wall - (stream.warmup_ns or 0) - _DAY_NS
        asked = link.codec.payments(market, since // _MS)
        running = link.codec.mark(market)
        if asked is None or running is None:
            return []
        try:
            paid = link.codec.parse_payments(market, await link.rest.fetch(asked))
            body = await link.rest.fetch(running)
            events = link.codec.parse_mark(market, body, self._clock.mono(), wall)
        except ExchangeError as error:
            self._warn(f"{link.plan.name}: no past funding of {market}: {error}")
            return []
        rows = [(at, rate) for at, rate in paid if at >= since]
        if stream.warmup_ns and (not rows or rows[0][0] > wall - stream.warmup_ns):
            self._warn(f"{link.plan.name}: past funding of {market} does not reach back that far")
        coming = [(e.next_at, e.rate) for e in events if isinstance(e, Funding)]
        return rows + [row for row in coming if not rows or row[0] > rows[-1][0]]
