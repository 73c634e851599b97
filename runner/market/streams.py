"""The streams of a market as strategies see them: a few floats, NaN whenever they are not live.

Theory of operation. A stream's state follows from facts, in this order:

    DOWN      its connection is gone
    GAP       differences of the book were missed and no snapshot has come yet
    WAITING   nothing has come yet, the book has no snapshot, or the connection still warms
    CROSSED   bid >= ask
    STALE     age > max_age, age = (now - receipt) + lag
    LIVE      none of these

`settle` derives it and shows the values or hides them behind NaN ("missing is NaN": comparisons
become false and no rule fires). A live stream's hot path only stores; `MarketState` calls `settle`
when a fact changed or a deadline passed.

A book has two sources, its levels and, where the exchange has one, a faster top of book. They share
the exchange's update ids: the one with the greater id gives the touch, the levels behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from math import nan
from typing import Final

from runner.market.book import Book, take
from runner.market.events import Level
from runner.market.freshness import FAR, Link

NEVER: Final = -FAR
ENOUGH: Final = 1.0 - 1e-9
_MINUTE: Final = 60_000_000_000
_LONGEST_INTERVAL: Final = 1440 * _MINUTE
"""share of an amount that counts as all of it, for the rounding of float sums"""


class StreamState(StrEnum):
    """Whether a stream's values may be used, and why not."""

    WAITING = "waiting"
    LIVE = "live"
    STALE = "stale"
    CROSSED = "crossed"
    GAP = "gap"
    DOWN = "down"


class Stream:
    """What all streams have in common.

    `max_age` and `lag` in ns, `t` monotonic ns of the last frame that proved it, `ts` the
    exchange's time of it in ns (0: not told), `seq` the count of frames applied.
    """

    __slots__ = (
        "down", "exchange", "key", "lag", "link", "market", "max_age", "seq", "state", "t", "ts",
    )  # fmt: skip

    def __init__(self, key: str, market: str, exchange: str, max_age: int) -> None:
        self.key = key
        self.market = market
        self.exchange = exchange
        self.max_age = max_age
        self.t = NEVER
        self.lag = 0
        self.ts = 0
        self.seq = 0
        self.state = StreamState.WAITING
        self.down = False
        self.link = Link(-1, exchange, 0, 0)  # none: warm, and without lag

    def age(self, now: int) -> int:
        """Return the age of the values in ns at `now`; huge before the first frame."""
        return now - self.t + self.lag

    def deadline(self) -> int:
        """Return when the values go stale unless another frame comes."""
        return self.t + self.max_age - self.lag + 1

    def settle(self, now: int) -> bool:
        """Derive the state at `now`, show or hide the values; return whether it changed."""
        before = self.state
        self.state = state = self._judge(now)
        if state is StreamState.LIVE:
            self._show()
        elif before is StreamState.LIVE:
            self._hide()
        return state is not before

    def drop(self) -> None:
        """Its connection is gone."""
        self.down = True
        self.t = NEVER

    def _judge(self, now: int) -> StreamState:
        if self.down:
            return StreamState.DOWN
        if self.t == NEVER or not self._complete() or now < self.link.warm_at():
            return StreamState.WAITING
        return StreamState.STALE if self.age(now) > self.max_age else StreamState.LIVE

    def _complete(self) -> bool:
        """Whether all that the values need has come."""
        return True

    def _show(self) -> None:
        raise NotImplementedError

    def _hide(self) -> None:
        raise NotImplementedError


class BookStream(Stream):
    """`M.book`: the touch as floats, the levels behind it."""

    __slots__ = (
        "ask", "ask_qty", "asked_at", "bid", "bid_qty", "book", "crossed", "deep", "gap",
        "last_ask", "last_ask_qty", "last_bid", "last_bid_qty", "u", "whole",
    )  # fmt: skip

    def __init__(
        self, key: str, market: str, exchange: str, max_age: int, deep: bool = False
    ) -> None:
        super().__init__(key, market, exchange, max_age)
        self.bid = self.ask = self.bid_qty = self.ask_qty = nan
        self.last_bid = self.last_ask = self.last_bid_qty = self.last_ask_qty = nan
        self.book = Book()
        self.deep = deep
        """levels are expected: not live before a snapshot"""
        self.gap = False
        self.crossed = False
        self.whole = False
        """both sides of the touch are known"""
        self.u = 0
        """update id of what the touch was taken from"""
        self.asked_at = NEVER
        """when a snapshot was last asked for"""

    def touch(self, bid: float, ask: float, bid_qty: float, ask_qty: float) -> None:
        """Take a new touch; `settle` shows it if it may. NaN: that side is empty."""
        self.crossed = bid >= ask
        self.whole = 0.0 < bid < ask
        if self.whole:
            self.last_bid, self.last_ask = bid, ask
            self.last_bid_qty, self.last_ask_qty = bid_qty, ask_qty

    def drop(self) -> None:
        super().drop()
        self.book.clear()
        self.gap = self.crossed = self.whole = False
        self.u = 0
        self.asked_at = NEVER

    def lose(self) -> None:
        """Differences were missed: invalid until a snapshot comes."""
        self.gap = True
        self.crossed = self.whole = False
        self.u = 0

    def walk(self, buy: bool, base: float) -> tuple[float, float]:
        """Return (base filled, average price) of taking `base`; (0.0, NaN) when not live."""
        filled, paid = take(self._levels(buy), base, nan)
        return filled, (paid / filled if filled > 0.0 else nan)

    def fill_price(self, buy: bool, base: float, notional: float) -> float:
        """Return the unrounded average price of taking `base` or `notional` (NaN for the other).

        NaN when the stream is not live or the known levels do not suffice.
        """
        touch, qty = (self.ask, self.ask_qty) if buy else (self.bid, self.bid_qty)
        if 0.0 < base <= qty or 0.0 < notional <= qty * touch:
            return touch
        filled, paid = take(self._levels(buy), base, notional)
        wanted, got = (base, filled) if base == base else (notional, paid)
        if not 0.0 < wanted * ENOUGH <= got:
            return nan
        return paid / filled

    def _levels(self, buy: bool) -> Iterator[Level]:
        """Yield the touch, then the levels behind it; levels before it have been taken away."""
        touch, qty = (self.ask, self.ask_qty) if buy else (self.bid, self.bid_qty)
        if touch != touch:
            return
        yield touch, qty
        for price, level in self.book.levels(buy):
            if (price > touch) if buy else (price < touch):
                yield price, level

    def _judge(self, now: int) -> StreamState:
        state = super()._judge(now)
        if state is StreamState.DOWN:
            return state
        if self.gap:
            return StreamState.GAP
        if self.crossed and state is not StreamState.WAITING:
            return StreamState.CROSSED
        return state

    def _complete(self) -> bool:
        if self.deep and not self.book.in_step:
            return False
        return self.whole or self.crossed

    def _show(self) -> None:
        self.bid, self.ask = self.last_bid, self.last_ask
        self.bid_qty, self.ask_qty = self.last_bid_qty, self.last_ask_qty

    def _hide(self) -> None:
        self.bid = self.ask = self.bid_qty = self.ask_qty = nan


class TradesStream(Stream):
    """`M.trades`: price and quantity of the last public trade."""

    __slots__ = ("last", "new", "qty")

    def __init__(self, key: str, market: str, exchange: str, max_age: int) -> None:
        super().__init__(key, market, exchange, max_age)
        self.last = self.qty = nan
        self.new = (nan, nan)

    def _show(self) -> None:
        self.last, self.qty = self.new

    def _hide(self) -> None:
        self.last = self.qty = nan


class MarkStream(Stream):
    """`M.mark`: the mark price."""

    __slots__ = ("new", "price")

    def __init__(self, key: str, market: str, exchange: str, max_age: int) -> None:
        super().__init__(key, market, exchange, max_age)
        self.price = self.new = nan

    def _show(self) -> None:
        self.price = self.new

    def _hide(self) -> None:
        self.price = nan


def whole_minutes(ns: int) -> int:
    """Round a time between payments of funding, whose stamps are some ms off."""
    return (ns + _MINUTE // 2) // _MINUTE * _MINUTE


class FundingStream(Stream):
    """`M.funding`: rate of the running interval; `next_at` wall ns, `interval` ns (0 unknown).

    Where the exchange does not tell the interval (Binance), it is the time from the last payment
    to the next: the last is known from history, or when one has passed.
    """

    __slots__ = ("interval", "last_paid", "new", "next_at", "rate")

    def __init__(self, key: str, market: str, exchange: str, max_age: int) -> None:
        super().__init__(key, market, exchange, max_age)
        self.rate = self.new = nan
        self.next_at = self.interval = 0
        self.last_paid = 0
        """wall ns of the last payment, 0 unknown"""

    def schedule(self, next_at: int, interval: int, wall: int) -> None:
        """Take the time of the next payment at `wall`; `interval` 0: the exchange does not say."""
        if next_at != self.next_at:
            if 0 < self.next_at <= wall and next_at > self.next_at:
                self.last_paid = self.next_at
            self.next_at = next_at
            self._measure()
        if interval:
            self.interval = interval

    def paid(self, at: int) -> None:
        """Learn when funding was last paid."""
        if at > self.last_paid:
            self.last_paid = at
            if not self.interval:
                self._measure()

    def _measure(self) -> None:
        between = self.next_at - self.last_paid
        if self.last_paid and 0 < between <= _LONGEST_INTERVAL:
            self.interval = whole_minutes(between)

    def _show(self) -> None:
        self.rate = self.new

    def _hide(self) -> None:
        self.rate = nan


class BarsStream(Stream):
    """`M.bars_1m`: the last closed bar; `closed` counts closed bars, so windows know of new ones.

    Frames of the running bar prove the stream and change nothing else.
    """

    __slots__ = ("close", "closed", "every", "high", "low", "new", "open", "open_at", "volume")

    def __init__(self, key: str, market: str, exchange: str, max_age: int, every: int) -> None:
        super().__init__(key, market, exchange, max_age)
        self.every = every
        self.open = self.high = self.low = self.close = self.volume = nan
        self.new = (nan, nan, nan, nan, nan)
        self.closed = 0
        self.open_at = -1
        """wall ns at which the last closed bar opened"""

    def _complete(self) -> bool:
        return self.closed > 0

    def _show(self) -> None:
        self.open, self.high, self.low, self.close, self.volume = self.new

    def _hide(self) -> None:
        self.open = self.high = self.low = self.close = self.volume = nan


AnyStream = BookStream | TradesStream | MarkStream | FundingStream | BarsStream
