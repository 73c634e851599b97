"""Bybit's public topics: orderbook, publicTrade, tickers, kline.

A book topic begins with a snapshot for each subscriber and goes on with differences of its own
window of levels; `u` rises by one per message. orderbook.1 sends snapshots only. An unchanged
top is sent again after three seconds, with the same `u`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from runner.sim.bybit.market import INTERVALS, bar_texts, side_text, ticker
from runner.sim.feed import Plain, Stream, Tape, steps
from runner.sim.matching import Side
from runner.sim.rules import PublicTrade
from runner.sim.venue import Venue

_TOPIC = re.compile(r"^(orderbook|publicTrade|tickers|kline)\.(?:([0-9A-Z]+)\.)?([A-Z0-9]+)$")
_DEPTHS = {"1": 10, "50": 20, "200": 100}  # milliseconds between messages
_REPEAT_MS = 3000

Sides = tuple[dict[int, int], dict[int, int]]


def encode(value: Any) -> str:
    """Encode a message."""
    return msgspec.json.encode(value).decode()


class Window:
    """The best levels of one book, as one topic shows them."""

    def __init__(self, venue: Venue, symbol: str, depth: int) -> None:
        self._venue = venue
        self._instrument = venue.instruments[symbol]
        self._book = venue.books[symbol]
        self._depth = depth
        self._topic = f"orderbook.{depth}.{symbol}"
        self._u = self._book.u
        self._seen_u = -1
        self._shown: Sides = ({}, {})
        self._sent_ms = 0
        self._take()

    def _take(self) -> tuple[Sides, Sides]:
        """Look at the book; returns what was shown before and what is shown now."""
        book, before = self._book, self._shown
        self._seen_u = book.u
        self._shown = (
            dict(book.top(Side.BUY, self._depth)),
            dict(book.top(Side.SELL, self._depth)),
        )
        return before, self._shown

    def first(self, now_ms: int) -> list[str]:
        """Return the snapshot a new subscriber begins with."""
        return [self._message("snapshot", now_ms, self._shown)]

    def poll(self, now_ms: int) -> list[str]:
        """Return the difference since the last message, or the repeated top."""
        if self._book.u != self._seen_u:
            before, after = self._take()
            if before != after:
                self._u += 1
                self._sent_ms = now_ms
                if self._depth == 1:
                    return [self._message("snapshot", now_ms, after)]
                return [self._message("delta", now_ms, _difference(before, after))]
        if self._depth == 1 and now_ms - self._sent_ms >= _REPEAT_MS:
            self._sent_ms = now_ms
            return [self._message("snapshot", now_ms, self._shown)]
        return []

    def _message(self, kind: str, now_ms: int, sides: Sides) -> str:
        bids, asks = sides
        data = {
            "s": self._instrument.symbol,
            "b": self._rows(sorted(bids.items(), reverse=True)),
            "a": self._rows(sorted(asks.items())),
            "u": self._u,
            "seq": self._book.u,
        }
        return encode(
            {"topic": self._topic, "type": kind, "ts": now_ms, "data": data,
             "cts": self._book.ts_ms}
        )  # fmt: skip

    def _rows(self, rows: list[tuple[int, int]]) -> list[list[str]]:
        """Write levels; one that is gone has the size "0"."""
        instrument = self._instrument
        return [[instrument.price(t), instrument.qty(n) if n else "0"] for t, n in rows]

    def close(self) -> None:
        """Nothing is held."""


def _difference(before: Sides, after: Sides) -> Sides:
    """Return what changed: new and changed levels, 0 for those gone."""
    out: list[dict[int, int]] = []
    for old, new in zip(before, after, strict=True):
        changed = {tick: lots for tick, lots in new.items() if old.get(tick) != lots}
        changed |= {tick: 0 for tick in old if tick not in new}
        out.append(changed)
    return out[0], out[1]


class Ticker:
    """The tickers topic: a snapshot, then the fields that changed."""

    def __init__(self, venue: Venue, symbol: str) -> None:
        self._venue = venue
        self._instrument = venue.instruments[symbol]
        self._state = ticker(venue, self._instrument)
        self._cs = venue.books[symbol].u

    def _message(self, kind: str, now_ms: int, data: dict[str, str]) -> str:
        self._cs += 1
        topic = f"tickers.{self._instrument.symbol}"
        return encode({"topic": topic, "type": kind, "data": data, "cs": self._cs, "ts": now_ms})

    def first(self, now_ms: int) -> list[str]:
        """Return the whole state."""
        return [self._message("snapshot", now_ms, self._state)]

    def poll(self, now_ms: int) -> list[str]:
        """Return the fields that changed."""
        before, self._state = self._state, ticker(self._venue, self._instrument)
        changed = {k: v for k, v in self._state.items() if before[k] != v}
        if not changed:
            return []
        return [self._message("delta", now_ms, {"symbol": self._instrument.symbol, **changed})]

    def close(self) -> None:
        """Nothing is held."""


class PublicTopics:
    """Make streams by topic name."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def make(self, name: str) -> Stream | None:
        """Return the stream of a topic, None when there is no such topic."""
        found = _TOPIC.match(name)
        if found is None or found[3] not in self._venue.instruments:
            return None
        kind, argument, symbol = found.groups()
        if kind == "orderbook" and argument in _DEPTHS:
            every = steps(_DEPTHS[argument])
            window = Window(self._venue, symbol, int(argument))
            top = argument == "1"
            return Stream(name, symbol, every, window, instant=top, diff=not top)
        if kind == "publicTrade" and argument is None:
            tape = Tape(lambda trades, now: self._trades(symbol, trades, now))
            return Stream(name, symbol, 1, tape, trades=True)
        if kind == "tickers" and argument is None:
            return Stream(name, symbol, steps(100), Ticker(self._venue, symbol))
        if kind == "kline" and argument in INTERVALS:
            bar = Plain(lambda now: self._bar(symbol, argument, now))
            return Stream(name, symbol, steps(1000), bar)
        return None

    def _trades(self, symbol: str, trades: list[PublicTrade], now: int) -> list[str]:
        instrument = self._venue.instruments[symbol]
        rows = [
            {"T": t.ts_ms, "s": symbol, "S": side_text(t.taker), "v": instrument.qty(t.lots),
             "p": instrument.price(t.tick), "L": "PlusTick" if t.taker > 0 else "MinusTick",
             "i": f"t-{t.trade_id}", "BT": False, "RPI": False, "seq": t.trade_id}
            for t in trades
        ]  # fmt: skip
        topic = f"publicTrade.{symbol}"
        return [encode({"topic": topic, "type": "snapshot", "ts": now, "data": rows})]

    def _bar(self, symbol: str, interval: str, now: int) -> str:
        instrument = self._venue.instruments[symbol]
        minutes = INTERVALS[interval]
        bar = self._venue.bars(symbol, minutes, 1)[-1]
        start = bar.start_s * 1000
        end = start + minutes * 60_000 - 1
        texts = bar_texts(instrument, bar)
        names = ("open", "high", "low", "close", "volume", "turnover")
        data = {"start": start, "end": end, "interval": interval,
                **dict(zip(names, texts, strict=True)),
                "confirm": now >= end, "timestamp": now}  # fmt: skip
        topic = f"kline.{interval}.{symbol}"
        return encode({"topic": topic, "data": [data], "ts": now, "type": "snapshot"})
