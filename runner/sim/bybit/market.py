"""Bybit market data over REST: catalogue, book, bars, tickers, trades, funding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.sim.bars import Bar
from runner.sim.bybit.errors import RetError, bad_parameter
from runner.sim.catalogue import MONEY, Instrument
from runner.sim.matching import Side
from runner.sim.past import kept
from runner.sim.venue import FUNDING_EVERY_S, FUNDING_RATE_PPM, Venue

Params = Mapping[str, Any]
INTERVALS = {
    "1": 1, "3": 3, "5": 5, "15": 15, "30": 30, "60": 60, "120": 120, "240": 240, "360": 360,
    "720": 720, "D": 1440,
}  # fmt: skip
FUNDING_RATE = f"{FUNDING_RATE_PPM / 1_000_000:.4f}"


def need_linear(params: Params) -> None:
    """Refuse every category but linear: 10001."""
    category = params.get("category")
    if category is None:
        raise bad_parameter("category is required")
    if category != "linear":
        raise bad_parameter("category only supports linear here")


def instrument_of(venue: Venue, params: Params) -> Instrument:
    """Return the instrument a request names."""
    symbol = params.get("symbol")
    if not symbol:
        raise bad_parameter("symbol is required")
    instrument = venue.instruments.get(str(symbol))
    if instrument is None:
        raise RetError(10001, "params error: symbol invalid " + str(symbol)[:20])
    return instrument


def whole(params: Params, name: str, default: int, most: int) -> int:
    """Return an integer parameter, bounded above."""
    text = str(params.get(name, "") or default)
    if not text.isdecimal():
        raise bad_parameter(f"{name} must be a number")
    return min(int(text), most)


def chosen(venue: Venue, params: Params) -> list[Instrument]:
    """Return the instruments a list request means."""
    need_linear(params)
    if params.get("symbol"):
        return [instrument_of(venue, params)]
    return list(venue.instruments.values())


def instruments_info(venue: Venue, params: Params) -> Any:
    """GET instruments-info."""
    category = params.get("category")
    if category in ("spot", "inverse", "option"):  # traded there, not here
        return {"category": category, "list": [], "nextPageCursor": ""}
    rows = [_info(instrument) for instrument in chosen(venue, params)]
    return {"category": "linear", "list": rows, "nextPageCursor": ""}


def _info(instrument: Instrument) -> dict[str, Any]:
    tick = instrument.price(1)
    most = instrument.qty(instrument.max_lots)
    return {
        "symbol": instrument.symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": instrument.base,
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "launchTime": "1584230400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(instrument.price_decimals),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": f"{instrument.max_leverage}.00",
                           "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": instrument.price(19_999_980),
                        "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": most, "minOrderQty": instrument.qty(instrument.min_lots),
            "qtyStep": instrument.qty(1), "postOnlyMaxOrderQty": most,
            "maxMktOrderQty": instrument.qty(instrument.max_market_lots),
            "minNotionalValue": str(instrument.min_notional // MONEY),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "copyTrading": "both",
        "upperFundingRate": "0.005",
        "lowerFundingRate": "-0.005",
        "isPreListing": False,
        "preListingInfo": None,
    }  # fmt: skip


def levels(instrument: Instrument, rows: list[tuple[int, int]]) -> list[list[str]]:
    """Write levels as pairs of texts."""
    return [[instrument.price(tick), instrument.qty(lots)] for tick, lots in rows]


def orderbook(venue: Venue, params: Params) -> Any:
    """GET orderbook."""
    need_linear(params)
    instrument = instrument_of(venue, params)
    venue.refresh(instrument.symbol)
    book = venue.books[instrument.symbol]
    limit = whole(params, "limit", 25, 1000)
    return {
        "s": instrument.symbol,
        "b": levels(instrument, book.top(Side.BUY, limit)),
        "a": levels(instrument, book.top(Side.SELL, limit)),
        "ts": venue.now_ms(),
        "u": book.u,
        "seq": book.u,
        "cts": book.ts_ms,
    }


def bar_texts(instrument: Instrument, bar: Bar) -> tuple[str, str, str, str, str, str]:
    """Write open, high, low, close, volume, turnover."""

    def price(value: float) -> str:
        return instrument.price(instrument.nearest_tick(value))

    volume = f"{bar.volume:.{instrument.qty_decimals}f}"
    turnover = f"{bar.volume * bar.close:.4f}"
    return price(bar.open), price(bar.high), price(bar.low), price(bar.close), volume, turnover


def kline(venue: Venue, params: Params) -> Any:
    """GET kline: newest first, the first one still open."""
    need_linear(params)
    instrument = instrument_of(venue, params)
    minutes = INTERVALS.get(str(params.get("interval")))
    if minutes is None:
        raise bad_parameter("interval invalid")
    start = whole(params, "start", 0, 1 << 60)
    end = whole(params, "end", 1 << 60, 1 << 60)
    bars = venue.bars(instrument.symbol, minutes, kept(minutes))
    bars = [bar for bar in bars if start <= bar.start_s * 1000 <= end]
    rows = [
        [str(bar.start_s * 1000), *bar_texts(instrument, bar)]
        for bar in reversed(bars[-whole(params, "limit", 200, 1000) :])
    ]
    return {"category": "linear", "symbol": instrument.symbol, "list": rows}


def ticker(venue: Venue, instrument: Instrument) -> dict[str, str]:
    """Return the state of one symbol as REST and the tickers topic show it."""
    symbol = instrument.symbol
    venue.refresh(symbol)
    book = venue.books[symbol]
    (bid, bid_lots), (ask, ask_lots) = book.top(Side.BUY, 1)[0], book.top(Side.SELL, 1)[0]
    mark = instrument.price(venue.mark(symbol))
    trades = venue.trades[symbol]
    return {
        "symbol": symbol,
        "lastPrice": instrument.price(trades[-1].tick) if trades else mark,
        "markPrice": mark,
        "indexPrice": mark,
        "prevPrice24h": mark,
        "price24hPcnt": "0",
        "highPrice24h": mark,
        "lowPrice24h": mark,
        "prevPrice1h": mark,
        "openInterest": "50000",
        "openInterestValue": "3000000000",
        "turnover24h": "1000000000",
        "volume24h": "20000",
        "fundingRate": FUNDING_RATE,
        "nextFundingTime": str(venue.next_funding_ms()),
        "bid1Price": instrument.price(bid),
        "bid1Size": instrument.qty(bid_lots),
        "ask1Price": instrument.price(ask),
        "ask1Size": instrument.qty(ask_lots),
    }


def tickers(venue: Venue, params: Params) -> Any:
    """GET tickers."""
    rows = [ticker(venue, instrument) for instrument in chosen(venue, params)]
    return {"category": "linear", "list": rows}


def recent_trade(venue: Venue, params: Params) -> Any:
    """GET recent-trade: newest first."""
    need_linear(params)
    instrument = instrument_of(venue, params)
    trades = list(venue.trades[instrument.symbol])[-whole(params, "limit", 500, 1000) :]
    rows = [
        {"execId": f"t-{t.trade_id}", "symbol": instrument.symbol,
         "price": instrument.price(t.tick), "size": instrument.qty(t.lots),
         "side": side_text(t.taker), "time": str(t.ts_ms), "isBlockTrade": False,
         "isRPITrade": False, "seq": str(t.trade_id)}
        for t in reversed(trades)
    ]  # fmt: skip
    return {"category": "linear", "list": rows}


def funding_history(venue: Venue, params: Params) -> Any:
    """GET funding/history: newest first."""
    need_linear(params)
    symbol = instrument_of(venue, params).symbol
    last = venue.next_funding_ms()
    rows = [
        {"symbol": symbol, "fundingRate": FUNDING_RATE,
         "fundingRateTimestamp": str(last - k * FUNDING_EVERY_S * 1000)}
        for k in range(1, whole(params, "limit", 200, 200) + 1)
    ]  # fmt: skip
    return {"category": "linear", "list": rows}


def side_text(side: Side) -> str:
    """Write a side."""
    return "Buy" if side is Side.BUY else "Sell"
