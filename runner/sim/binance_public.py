"""Market data over REST that Binance spot and USD-M serve alike: book, bars, top, trades."""

from __future__ import annotations

from typing import Any

from runner.sim.binance_errors import BAD_SYMBOL, ApiError, illegal, missing
from runner.sim.binance_streams import MINUTES, kline_row, levels
from runner.sim.catalogue import Instrument
from runner.sim.matching import Side
from runner.sim.past import kept
from runner.sim.venue import Venue

Params = dict[str, str]


def instrument_of(venue: Venue, params: Params) -> Instrument:
    """Return the instrument a request names; -1102 or -1121."""
    symbol = params.get("symbol")
    if not symbol:
        raise missing("symbol")
    instrument = venue.instruments.get(symbol)
    if instrument is None:
        raise ApiError(*BAD_SYMBOL)
    return instrument


def whole(params: Params, name: str, default: int, most: int) -> int:
    """Return an integer parameter, bounded above."""
    text = params.get(name)
    if text is None or text == "":
        return default
    if not text.isdecimal():
        raise ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is "
                              "'^[0-9]{1,20}$'.")  # fmt: skip
    return min(int(text), most)


class BinancePublic:
    """The public handlers over one venue."""

    def __init__(self, venue: Venue, futures: bool) -> None:
        self.venue = venue
        self._futures = futures

    def ping(self, params: Params) -> Any:
        """GET ping."""
        return {}

    def time(self, params: Params) -> Any:
        """GET time."""
        return {"serverTime": self.venue.now_ms()}

    def depth(self, params: Params) -> Any:
        """GET depth: the snapshot that goes with the stream of differences."""
        instrument = instrument_of(self.venue, params)
        limit = whole(params, "limit", 500 if self._futures else 100, 5000)
        if self._futures and limit not in (5, 10, 20, 50, 100, 500, 1000):
            raise ApiError(-4021, f"{limit} is not valid depth limit.")
        book = self.venue.books[instrument.symbol]
        out: dict[str, Any] = {"lastUpdateId": book.u}
        if self._futures:
            out |= {"E": self.venue.now_ms(), "T": book.ts_ms}
        out["bids"] = levels(instrument, book.top(Side.BUY, limit))
        out["asks"] = levels(instrument, book.top(Side.SELL, limit))
        return out

    def klines(self, params: Params) -> Any:
        """GET klines, oldest first, the last one still open."""
        instrument = instrument_of(self.venue, params)
        interval = params.get("interval")
        if not interval:
            raise missing("interval")
        if interval not in MINUTES:
            raise ApiError(-1120, "Invalid interval.")
        limit = whole(params, "limit", 500, 1500 if self._futures else 1000)
        minutes = MINUTES[interval]
        bars = self.venue.bars(instrument.symbol, minutes, kept(minutes))
        start = whole(params, "startTime", 0, 1 << 60)
        end = whole(params, "endTime", 1 << 60, 1 << 60)
        bars = [bar for bar in bars if start <= bar.start_s * 1000 <= end]
        chosen = bars[:limit] if start else bars[-limit:]
        return [kline_row(instrument, bar, minutes) for bar in chosen]

    def book_ticker(self, params: Params) -> Any:
        """GET ticker/bookTicker, of one symbol or of all."""
        if "symbol" in params:
            return self._top(instrument_of(self.venue, params))
        return [self._top(instrument) for instrument in self.venue.instruments.values()]

    def _top(self, instrument: Instrument) -> dict[str, Any]:
        self.venue.refresh(instrument.symbol)
        book = self.venue.books[instrument.symbol]
        (bid, bid_lots), (ask, ask_lots) = book.top(Side.BUY, 1)[0], book.top(Side.SELL, 1)[0]
        out: dict[str, Any] = {
            "symbol": instrument.symbol,
            "bidPrice": instrument.price(bid),
            "bidQty": instrument.qty(bid_lots),
            "askPrice": instrument.price(ask),
            "askQty": instrument.qty(ask_lots),
        }
        if self._futures:
            out |= {"time": book.ts_ms, "lastUpdateId": book.u}
        return out

    def trades(self, params: Params) -> Any:
        """GET trades: the latest public trades, oldest first."""
        instrument = instrument_of(self.venue, params)
        limit = whole(params, "limit", 500, 1000)
        return [
            {"id": t.trade_id, "price": instrument.price(t.tick), "qty": instrument.qty(t.lots),
             "quoteQty": f"{t.tick * t.lots * instrument.value / 1e8:.2f}", "time": t.ts_ms,
             "isBuyerMaker": t.taker is Side.SELL}
            for t in list(self.venue.trades[instrument.symbol])[-limit:]
        ]  # fmt: skip

    def price(self, params: Params) -> Any:
        """GET ticker/price."""
        instrument = instrument_of(self.venue, params)
        mark = self.venue.mark(instrument.symbol)
        return {"symbol": instrument.symbol, "price": instrument.price(mark),
                "time": self.venue.now_ms()}  # fmt: skip


def side_of(params: Params) -> Side:
    """Return the side a request names; -1102 or -1117."""
    text = params.get("side")
    if not text:
        raise missing("side")
    if text not in ("BUY", "SELL"):
        raise ApiError(-1117, "Invalid side.")
    return Side[text]


__all__ = ["BinancePublic", "Params", "illegal", "instrument_of", "side_of", "whole"]
