"""Market streams in Binance's form, for spot and for USD-M futures.

Source: the exchange's documents of 2026 as noted in the protocol reference. Names are
`<symbol>@<channel>`; `Names` tells which socket serves which channel.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from runner.sim.bars import Bar
from runner.sim.catalogue import Instrument
from runner.sim.feed import Deliver, Feed, Plain, Stream, Tape, steps
from runner.sim.matching import Book, Side
from runner.sim.rules import PublicTrade
from runner.sim.venue import FUNDING_RATE_PPM, Venue
from runner.sim.wire import Session, Wire

MINUTES = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240,
    "6h": 360, "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip
_NAME = re.compile(r"^([a-z0-9]+)@([a-zA-Z]+)(\d*)(?:_(\w+))?(?:@(\d+)(ms|s))?$")
_MAX_STREAMS = 1024


def encode(value: Any) -> str:
    """Encode a message."""
    return msgspec.json.encode(value).decode()


def levels(instrument: Instrument, rows: list[tuple[int, int]]) -> list[list[str]]:
    """Write levels as pairs of texts."""
    return [[instrument.price(tick), instrument.qty(lots)] for tick, lots in rows]


def volume_text(instrument: Instrument, volume: float) -> str:
    """Write a volume of the background market."""
    return f"{volume:.{instrument.qty_decimals}f}"


class Diff:
    """A stream of differences of the book with U, u and, on futures, pu."""

    def __init__(self, instrument: Instrument, book: Book, futures: bool) -> None:
        self._instrument = instrument
        self._book = book
        self._futures = futures
        self._changes = book.watch()
        self._previous = self._changes.first - 1

    def poll(self, now_ms: int) -> list[str]:
        """Return the one event since the last, nothing when nothing changed."""
        book, changes = self._book, self._changes
        if book.u < changes.first:
            return []
        event: dict[str, Any] = {"e": "depthUpdate", "E": now_ms}
        if self._futures:
            event["T"] = book.ts_ms
        event |= {"s": self._instrument.symbol, "U": changes.first, "u": book.u}
        if self._futures:
            event["pu"] = self._previous
        bids = sorted(changes.bids, reverse=True)
        event["b"] = levels(self._instrument, [(t, book.lots(Side.BUY, t)) for t in bids])
        asks = sorted(changes.asks)
        event["a"] = levels(self._instrument, [(t, book.lots(Side.SELL, t)) for t in asks])
        self._previous = book.u
        changes.clear(book.u + 1)
        return [encode(event)]

    def first(self, now_ms: int) -> list[str]:
        """A new subscriber gets the next event."""
        return []

    def close(self) -> None:
        """Stop watching the book."""
        self._book.watchers.remove(self._changes)


class BinanceStreams:
    """The sockets with market streams: subscriptions and the streams themselves.

    `category(channel)` names the kind of socket that carries a channel; asked for on another, a
    stream is acknowledged and stays silent (USD-M since 2026-04-23).
    """

    def __init__(
        self,
        venue: Venue,
        wire: Callable[[], Wire],
        futures: bool,
        category: Callable[[str], str],
        inbound_per_s: int,
    ) -> None:
        self._venue = venue
        self._wire = wire
        self._futures = futures
        self._category = category
        self._inbound = inbound_per_s
        deliver: Deliver = self._deliver
        self.feed = Feed(self._make, deliver)

    # -- sockets

    def opened(self, session: Session) -> None:
        """Subscribe what the URL names."""
        parts = session.path.split("/")
        session.combined = parts[-1] == "stream" or "streams" in session.query
        names = session.query.get("streams", "").split("/")
        if "ws" in parts and parts.index("ws") + 1 < len(parts):
            names = parts[parts.index("ws") + 1 :]
        self._subscribe(session, [name for name in names if name])

    def _subscribe(self, session: Session, names: list[str]) -> None:
        now = self._venue.now_ms()
        for name in names:
            found = _NAME.match(name)
            if found and self._category(found[2]) == session.kind:
                self.feed.subscribe(session, name, now)
            session.topics.add(name)

    def message(self, session: Session, text: str) -> None:
        """Answer SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY."""
        now = self._venue.now_ms()
        session.arrivals = [t for t in session.arrivals if t > now - 1000]
        session.arrivals.append(now)
        if len(session.arrivals) > self._inbound:
            session.close(1008, "Too many requests")
            return
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            session.send(encode({"code": 3, "msg": "Invalid JSON: expected value"}))
            return
        if not isinstance(request, dict) or "method" not in request:
            session.send(encode({"code": 2, "msg": "Invalid request: missing field `method`"}))
            return
        session.send(encode(self._reply(session, request)))

    def _reply(self, session: Session, request: dict[str, Any]) -> dict[str, Any]:
        number = request.get("id")
        params = request.get("params") or []
        names = isinstance(params, list) and all(isinstance(name, str) for name in params)
        match request["method"]:
            case "SUBSCRIBE" | "UNSUBSCRIBE" if not names:
                return {"code": 1, "msg": "Invalid value type: expected Array", "id": number}
            case "SUBSCRIBE":
                if len(session.topics | set(params)) > _MAX_STREAMS:
                    return {"code": 2, "msg": "Invalid request: too many streams", "id": number}
                self._subscribe(session, params)
            case "UNSUBSCRIBE":
                for name in params:
                    self.feed.unsubscribe(session, name)
            case "LIST_SUBSCRIPTIONS":
                return {"result": sorted(session.topics), "id": number}
            case "SET_PROPERTY":
                if not isinstance(params, list) or params[:1] != ["combined"]:
                    return {"code": 0, "msg": "Unknown property", "id": number}
                session.combined = params[1:] == [True]
            case "GET_PROPERTY":
                return {"result": session.combined, "id": number}
            case other:
                text = f"Invalid request: unknown variant `{other}`"
                return {"code": 2, "msg": text, "id": number}
        return {"result": None, "id": number}

    def _deliver(self, session: Session, stream: Stream, text: str) -> None:
        if session.combined:
            text = f'{{"stream":"{stream.name}","data":{text}}}'
        self._wire().push(session, stream.name, text, stream.diff)

    # -- streams

    def _make(self, name: str) -> Stream | None:
        found = _NAME.match(name)
        if found is None or found[1].upper() not in self._venue.instruments:
            return None
        symbol, channel, number, interval, rate, unit = found.groups()
        symbol = symbol.upper()
        every = int(rate) * (1000 if unit == "s" else 1) if rate else 0
        match channel:
            case "bookTicker":
                source = Plain(lambda now: self._top(symbol, now))
                return Stream(name, symbol, 1, source, instant=True)
            case "depth" if not number:
                self._venue.refresh(symbol)
                diff = Diff(
                    self._venue.instruments[symbol], self._venue.books[symbol], self._futures
                )
                period = every or (250 if self._futures else 1000)
                return Stream(name, symbol, steps(period), diff, diff=True)
            case "depth" if number in ("5", "10", "20"):
                depth = int(number)
                partial = Plain(lambda now: self._partial(symbol, depth, now))
                return Stream(name, symbol, steps(every or 250), partial)
            case "aggTrade" | "trade":
                tape = Tape(lambda trades, now: self._trades(symbol, channel, trades, now))
                return Stream(name, symbol, steps(100), tape, trades=True)
            case "kline" if interval in MINUTES:
                bar = Plain(lambda now: self._kline(symbol, interval, now))
                return Stream(name, symbol, steps(250), bar)
            case "markPrice" if self._futures:
                mark = Plain(lambda now: self._mark(symbol, now))
                return Stream(name, symbol, steps(every or 3000), mark)
        return None

    def _top(self, symbol: str, now: int) -> str | None:
        instrument, book = self._venue.instruments[symbol], self._venue.books[symbol]
        bid, ask = book.best(Side.BUY), book.best(Side.SELL)
        if bid is None or ask is None:
            return None
        head = '"e":"bookTicker",' if self._futures else ""
        times = f',"T":{book.ts_ms},"E":{now}' if self._futures else ""
        return (
            f'{{{head}"u":{book.u},"s":"{symbol}",'
            f'"b":"{instrument.price(bid)}","B":"{instrument.qty(book.lots(Side.BUY, bid))}",'
            f'"a":"{instrument.price(ask)}","A":"{instrument.qty(book.lots(Side.SELL, ask))}"'
            f"{times}}}"
        )

    def _partial(self, symbol: str, depth: int, now: int) -> str:
        instrument, book = self._venue.instruments[symbol], self._venue.books[symbol]
        bids = levels(instrument, book.top(Side.BUY, depth))
        asks = levels(instrument, book.top(Side.SELL, depth))
        if not self._futures:
            return encode({"lastUpdateId": book.u, "bids": bids, "asks": asks})
        return encode(
            {"e": "depthUpdate", "E": now, "T": book.ts_ms, "s": symbol, "U": book.u,
             "u": book.u, "pu": book.u - 1, "b": bids, "a": asks}
        )  # fmt: skip

    def _trades(self, symbol: str, channel: str, trades: list[PublicTrade], now: int) -> list[str]:
        instrument = self._venue.instruments[symbol]
        out = []
        for trade in trades:
            event: dict[str, Any] = {"e": channel, "E": now, "s": symbol}
            number = trade.trade_id
            if channel == "trade":
                event["t"] = number
            else:
                event |= {"a": number, "f": number, "l": number}
            qty = instrument.qty(trade.lots)
            event |= {"p": instrument.price(trade.tick), "q": qty}
            if self._futures:
                event["nq"] = qty
            event |= {"T": trade.ts_ms, "m": trade.taker is Side.SELL}
            if not self._futures:
                event["M"] = True
            out.append(encode(event))
        return out

    def _kline(self, symbol: str, interval: str, now: int) -> str:
        instrument = self._venue.instruments[symbol]
        minutes = MINUTES[interval]
        bar = self._venue.bars(symbol, minutes, 1)[-1]
        row = kline_row(instrument, bar, minutes)
        start, end = row[0], row[6]
        body = {
            "t": start, "T": end, "s": symbol, "i": interval, "f": 1, "L": bar.trades,
            "o": row[1], "c": row[4], "h": row[2], "l": row[3], "v": row[5], "n": bar.trades,
            "x": now >= end, "q": row[7], "V": row[9], "Q": row[10], "B": "0",
        }  # fmt: skip
        return encode({"e": "kline", "E": now, "s": symbol, "k": body})

    def _mark(self, symbol: str, now: int) -> str:
        mark = self._venue.instruments[symbol].price(self._venue.mark(symbol))
        return encode(
            {"e": "markPriceUpdate", "E": now, "s": symbol, "p": mark, "ap": mark, "i": mark,
             "P": mark, "r": funding_rate(), "T": self._venue.next_funding_ms()}
        )  # fmt: skip


def funding_rate() -> str:
    """Return the funding rate as text."""
    return f"{FUNDING_RATE_PPM / 1_000_000:.8f}"


def kline_row(instrument: Instrument, bar: Bar, minutes: int) -> list[Any]:
    """Write a bar as a row of GET klines."""
    start = bar.start_s * 1000

    def price(value: float) -> str:
        return instrument.price(instrument.nearest_tick(value))

    volume = bar.volume
    return [
        start, price(bar.open), price(bar.high), price(bar.low), price(bar.close),
        volume_text(instrument, volume), start + minutes * 60_000 - 1, f"{volume * bar.close:.5f}",
        bar.trades, volume_text(instrument, volume / 2), f"{volume * bar.close / 2:.5f}", "0",
    ]  # fmt: skip
