"""Frames and answers of Binance's public side (binance-spot.md 4 and 5, binance-usdm.md 4 and 5).

Field names are the wire's. Combined streams wrap each event as {"stream": name, "data": event}.
"""

from __future__ import annotations

import msgspec

from runner.exchanges.wire import Id, Millis, Num, Pairs


class BookTicker(msgspec.Struct):
    """Best bid and ask; spot's has no time."""

    u: Id
    b: Num
    B: Num
    a: Num
    A: Num
    E: Millis = 0


class DepthUpdate(msgspec.Struct):
    """A difference of the book; `pu` on futures only."""

    E: Millis
    U: Id
    u: Id
    b: Pairs
    a: Pairs
    pu: Id = -1


class TradeUpdate(msgspec.Struct):
    """aggTrade (its id is `a`) and trade (`t`); `m`: the buyer was the maker.

    `X` on futures' trade: MARKET, or ADL and INSURANCE_FUND, which are no trades of the market.
    """

    E: Millis
    p: Num
    q: Num
    m: bool
    a: Id = 0
    t: Id = 0
    X: str = "MARKET"


class MarkUpdate(msgspec.Struct):
    """Mark price; `r` is the funding rate ("" on dated contracts), `T` the next funding."""

    E: Millis
    p: Num
    r: str = ""
    T: Millis = 0


class Candle(msgspec.Struct):
    """The bar inside a kline event; `x`: closed."""

    t: Millis
    o: Num
    h: Num
    l: Num  # noqa: E741
    c: Num
    v: Num
    x: bool


class KlineUpdate(msgspec.Struct):
    """A kline event."""

    E: Millis
    k: Candle


class BookTickerFrame(msgspec.Struct):
    data: BookTicker


class DepthFrame(msgspec.Struct):
    data: DepthUpdate


class TradeFrame(msgspec.Struct):
    data: TradeUpdate


class MarkFrame(msgspec.Struct):
    data: MarkUpdate


class KlineFrame(msgspec.Struct):
    data: KlineUpdate


class Other(msgspec.Struct):
    """Whatever is not an event of a known stream: acks, errors, announcements."""

    stream: str = ""
    e: str = ""
    id: int | str | None = None
    code: int = 0
    msg: str = ""
    result: msgspec.Raw = msgspec.Raw(b"")


class DepthSnapshot(msgspec.Struct):
    """GET depth; spot's has no time."""

    lastUpdateId: Id
    bids: Pairs
    asks: Pairs
    E: Millis = 0


class ServerTime(msgspec.Struct):
    """GET time."""

    serverTime: Millis


class Filter(msgspec.Struct):
    """One filter of a symbol; only the fields of its type are there."""

    filterType: str
    tickSize: str = ""
    stepSize: str = ""
    minQty: str = ""
    maxQty: str = ""
    notional: str = ""
    minNotional: str = ""


class Symbol(msgspec.Struct):
    """One symbol of exchangeInfo."""

    symbol: str
    status: str
    filters: list[Filter]


class ExchangeInfo(msgspec.Struct):
    """GET exchangeInfo."""

    symbols: list[Symbol]


class Paid(msgspec.Struct):
    """A row of GET fundingRate."""

    fundingTime: Millis
    fundingRate: Num


class PremiumIndex(msgspec.Struct):
    """GET premiumIndex of one symbol."""

    markPrice: Num
    time: Millis
    lastFundingRate: str = ""
    nextFundingTime: Millis = 0
