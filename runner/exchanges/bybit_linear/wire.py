"""Frames and answers of Bybit v5's public side (bybit.md, sections 4 and 5).

Field names are the wire's. An answer is {"retCode", "retMsg", "result", "time"}, with HTTP 200 for
business errors; a push is {"topic", "type", "ts", "data"}.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from runner.exchanges.wire import Id, Millis, Num, Pairs

T = TypeVar("T")


class Envelope(msgspec.Struct, Generic[T]):
    """An answer of REST. `result` may be {} or "" when `retCode` is not 0: see `Failed`."""

    retCode: int
    result: T
    retMsg: str = ""
    time: Millis = 0


class Failed(msgspec.Struct):
    """An answer of which only the code counts."""

    retCode: int
    retMsg: str = ""
    time: Millis = 0


class Listing(msgspec.Struct, Generic[T]):
    """The usual shape of a result."""

    rows: list[T] = msgspec.field(name="list")
    nextPageCursor: str | None = ""


class BookData(msgspec.Struct):
    """Levels; a delta's quantity 0 removes one."""

    b: Pairs
    a: Pairs
    u: Id


class BookFrame(msgspec.Struct):
    """orderbook.N.SYMBOL; `ts` is the push time."""

    type: str
    ts: Millis
    data: BookData


class TradeData(msgspec.Struct):
    """One public trade; `S` is the taker's side."""

    p: Num
    v: Num
    S: str
    i: str


class TradesFrame(msgspec.Struct):
    """publicTrade.SYMBOL."""

    ts: Millis
    data: list[TradeData]


class TickerData(msgspec.Struct):
    """Part of tickers.SYMBOL on linear; a delta leaves out what did not change."""

    markPrice: str | None = None
    fundingRate: str | None = None
    nextFundingTime: str | None = None
    fundingIntervalHour: str | None = None


class TickerFrame(msgspec.Struct):
    """tickers.SYMBOL."""

    type: str
    ts: Millis
    data: TickerData


class KlineData(msgspec.Struct):
    """A bar; `confirm`: closed."""

    start: Millis
    open: Num
    high: Num
    low: Num
    close: Num
    volume: Num
    confirm: bool


class KlineFrame(msgspec.Struct):
    """kline.INTERVAL.SYMBOL."""

    ts: Millis
    data: list[KlineData]


class Other(msgspec.Struct):
    """Whatever is not a push of a known topic: acks, pongs, errors."""

    topic: str = ""
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""


class ServerTime(msgspec.Struct):
    """Result of GET /v5/market/time."""

    timeNano: str


class PriceFilter(msgspec.Struct):
    tickSize: str


class LotFilter(msgspec.Struct):
    """`qtyStep` and `minNotionalValue` on linear, `basePrecision` and `minOrderAmt` on spot."""

    minOrderQty: str
    maxOrderQty: str = "0"
    qtyStep: str = ""
    basePrecision: str = ""
    minNotionalValue: str = ""
    minOrderAmt: str = ""


class Instrument(msgspec.Struct):
    """One row of instruments-info."""

    symbol: str
    status: str
    priceFilter: PriceFilter
    lotSizeFilter: LotFilter


class Ticker(msgspec.Struct):
    """One row of GET tickers."""

    symbol: str
    markPrice: str = ""
    fundingRate: str = ""
    nextFundingTime: str = ""


class Paid(msgspec.Struct):
    """A row of GET funding/history."""

    fundingRate: str
    fundingRateTimestamp: str


class Klines(msgspec.Struct):
    """Result of GET kline: [start, open, high, low, close, volume, turnover], newest first."""

    rows: list[tuple[str, str, str, str, str, str, str]] = msgspec.field(name="list")
