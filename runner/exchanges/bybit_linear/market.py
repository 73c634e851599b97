"""Bybit's public side: market data of linear perpetuals, and of spot by another category.

Theory of operation. One socket carries every topic. `orderbook.N` sends a snapshot and then
differences whose update id rises by one; id 1 means that the service restarted and is a snapshot
in all but name. Which N follows from the depth asked for: 1 (10 ms, only snapshots, repeated every
3 s), 50 (20 ms), 200 (100 ms), 1000 (200 ms). `tickers` is merged here, because a difference names
only what has changed; each of its frames proves mark price and funding rate alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from runner.base.errors import ExchangeError
from runner.engine.events import (
    Bar,
    Depth,
    Event,
    Funding,
    InstrumentFacts,
    Mark,
    Trade,
)
from runner.exchanges.api import (
    Decoded,
    HttpRequest,
    Keepalive,
    MarketBinding,
    SocketKind,
    SocketSpec,
    Want,
)
from runner.exchanges.bybit_linear import wire
from runner.exchanges.endpoints import hosts_of, resolve
from runner.exchanges.wire import FOREIGN, MS, T, number, parse

ENDPOINTS: Final[Mapping[str, Mapping[str, str]]] = {
    "live": {
        "rest": "https://api.bybit.com",
        "public": "wss://stream.bybit.com/v5/public/linear",
        "private": "wss://stream.bybit.com/v5/private",
        "trade": "wss://stream.bybit.com/v5/trade",
    },
    "testnet": {
        "rest": "https://api-testnet.bybit.com",
        "public": "wss://stream-testnet.bybit.com/v5/public/linear",
        "private": "wss://stream-testnet.bybit.com/v5/private",
        "trade": "wss://stream-testnet.bybit.com/v5/trade",
    },
    "demo": {  # no order entry by WebSocket there
        "rest": "https://api-demo.bybit.com",
        "public": "wss://stream.bybit.com/v5/public/linear",
        "private": "wss://stream-demo.bybit.com/v5/private",
    },
}
DEPTHS: Final = (1, 50, 200, 1000)
INTERVALS: Final[Mapping[int, str]] = {
    60_000 * MS * minutes: str(minutes) if minutes < 1440 else {1440: "D", 10080: "W"}[minutes]
    for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720, 1440, 10080)
}
"""Bar lengths that Bybit has, by ns."""
PING: Final = Keepalive(
    every_ns=20_000_000_000, frame=b'{"req_id":"ping","op":"ping"}', silence_ns=50_000_000_000
)
JSON: Final = {"Content-Type": "application/json"}
_HEAD: Final = b'{"topic":"'
_SKIP: Final = len(_HEAD)
_SPOT_ARGS: Final = 10

Route = Callable[[bytes, int, int, int, bool, Decoded], None]


class BybitMarket:
    """Market data of one category. See `runner.exchanges.api.MarketCodec`."""

    def __init__(
        self,
        network: str,
        bindings: Sequence[MarketBinding],
        urls: Mapping[str, str],
        category: str = "linear",
    ) -> None:
        self.type = f"bybit_{category}"
        self.network = network
        self._category = category
        self._urls = urls
        self.hosts = hosts_of(urls)
        self._symbols = {binding.market: binding.symbol for binding in bindings}
        self._markets = {binding.symbol: binding.market for binding in bindings}
        self._topics: dict[str, str] = {}
        """book topic of each market, for resubscribing"""
        self._routes: dict[bytes, Route] = {}
        for binding in bindings:
            self._route(binding)
        self._other = msgspec.json.Decoder(wire.Other)

    # -- sockets

    def sockets(self, wants: Sequence[Want]) -> list[SocketSpec]:
        """Return the one socket that carries `wants`, with its subscriptions."""
        topics: dict[str, str] = {}
        for want in wants:
            topics[self._topic(want)] = want.market
        if not topics:
            return []
        names = list(topics)
        size = _SPOT_ARGS if self._category == "spot" else 100
        hello = [_subscribe("subscribe", names[i : i + size]) for i in range(0, len(names), size)]
        return [
            SocketSpec(
                id="public",
                url=self._urls["public"],
                kind=SocketKind.PUBLIC,
                hello=tuple(hello),
                keepalive=PING,
                markets=tuple(dict.fromkeys(topics.values())),
            )
        ]

    def _topic(self, want: Want) -> str:
        if want.kind == "book":
            depth = next((each for each in DEPTHS if each >= (want.depth or 50)), DEPTHS[-1])
            self._topics[want.market] = topic = f"orderbook.{depth}.{want.symbol}"
            return topic
        if want.kind == "trades":
            return f"publicTrade.{want.symbol}"
        if want.kind in ("mark", "funding") and self._category == "linear":
            return f"tickers.{want.symbol}"
        interval = INTERVALS.get(want.every_ns or 0)
        if want.kind == "bars" and interval is not None:
            return f"kline.{interval}.{want.symbol}"
        raise ExchangeError(f"{self.type} has no stream for {want.kind} of {want.market}")

    def resubscribe(self, market: str) -> tuple[bytes, ...]:
        """Return the frames that make the socket send the book's snapshot again."""
        topic = self._topics.get(market)
        if topic is None:
            return ()
        return _subscribe("unsubscribe", [topic]), _subscribe("subscribe", [topic])

    # -- frames

    def decode(
        self,
        socket: str,
        frame: bytes | memoryview,
        t: int,
        wall: int,
        conn: int,
        more: bool,
        out: Decoded,
    ) -> None:
        """Decode one frame into `out`. Never raises on foreign input."""
        data = frame if type(frame) is bytes else bytes(frame)
        try:
            if data.startswith(_HEAD):
                route = self._routes.get(data[_SKIP : data.index(b'"', _SKIP)])
                if route is not None:
                    route(data, t, wall, conn, more, out)
                    return
            self._rare(data, t, wall, conn, more, out)
        except (*FOREIGN, ExchangeError):
            out.unrecognised += 1

    def _rare(self, data: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded) -> None:
        other = self._other.decode(data)
        route = self._routes.get(other.topic.encode())
        if route is not None:
            route(data, t, wall, conn, more, out)
        elif other.op == "subscribe":
            out.notices.append("subscribed" if other.success else f"refused {other.ret_msg}")
        elif other.op == "unsubscribe" or other.op in ("ping", "pong"):
            if other.success is False:
                out.notices.append(f"refused {other.ret_msg}")
        else:
            out.unrecognised += 1

    def _route(self, binding: MarketBinding) -> None:
        market, symbol = binding.market, binding.symbol
        add = self._routes
        book = _book_route(market)
        for depth in (1, 50, 200, 500, 1000):
            add[f"orderbook.{depth}.{symbol}".encode()] = book
        add[f"publicTrade.{symbol}".encode()] = _trades_route(market)
        if self._category == "linear":
            add[f"tickers.{symbol}".encode()] = Tickers(market)
        for every, interval in INTERVALS.items():
            add[f"kline.{interval}.{symbol}".encode()] = _kline_route(market, every)

    # -- requests

    def _get(self, path: str, query: str = "") -> HttpRequest:
        url = f"{self._urls['rest']}{path}" + (f"?{query}" if query else "")
        return HttpRequest("GET", url, headers=JSON, label=f"GET {path}")

    def _query(self, market: str, rest: str = "") -> str:
        return f"category={self._category}&symbol={self._symbols[market]}{rest}"

    def _result(self, body: bytes, type: type[T], what: str) -> T:
        """Return the result of an answer; ExchangeError with its code when it is a refusal."""
        failed = parse(body, wire.Failed, f"{self.type} {what}")
        if failed.retCode:
            raise ExchangeError(f"{self.type} {what}: {failed.retCode} {failed.retMsg}")
        return parse(body, wire.Envelope[type], f"{self.type} {what}").result  # type: ignore[valid-type]

    def snapshot(self, market: str) -> HttpRequest | None:
        """Return None: the socket sends the snapshot."""
        return None

    def parse_snapshot(self, market: str, body: bytes, t: int, wall: int) -> Event:
        """Refuse: update ids of REST and of a socket's topic do not continue each other."""
        raise ExchangeError(f"{self.type} sends snapshots of {market} on the socket only")

    def instruments(self, symbols: Sequence[str]) -> list[HttpRequest]:
        """Return one request for each symbol."""
        return [
            self._get("/v5/market/instruments-info", f"category={self._category}&symbol={symbol}")
            for symbol in symbols
        ]

    def parse_instruments(self, bodies: Sequence[bytes]) -> list[InstrumentFacts]:
        """Return the facts of the bound markets; ExchangeError on nonsense."""
        return [
            _facts(self._markets[row.symbol], row)
            for body in bodies
            for row in self._result(body, wire.Listing[wire.Instrument], "instruments-info").rows
            if row.symbol in self._markets
        ]

    def time(self) -> HttpRequest:
        """Return the request for the exchange's clock."""
        return self._get("/v5/market/time")

    def parse_time(self, body: bytes) -> int:
        """Return the exchange's wall clock in ns."""
        text = self._result(body, wire.ServerTime, "time").timeNano
        if not text.isdigit() or len(text) > 19:
            raise ExchangeError(f"{self.type} time: {text[:40]!r} is no time")
        return int(text)

    def bars(self, market: str, every_ns: int, count: int) -> HttpRequest:
        """Return the request for the last `count` closed bars (one more: the newest is running)."""
        interval = INTERVALS.get(every_ns)
        if interval is None:
            raise ExchangeError(f"{self.type} has no bars of {every_ns} ns")
        rest = f"&interval={interval}&limit={min(count + 1, 1000)}"
        return self._get("/v5/market/kline", self._query(market, rest))

    def parse_bars(self, market: str, every_ns: int, body: bytes) -> list[Event]:
        """Return closed bars, oldest first; the newest row still runs and is left out."""
        rows = self._result(body, wire.Klines, "kline").rows
        bars: list[Event] = []
        for start, opened, high, low, close, volume, _ in reversed(rows[1:]):
            if not start.isdigit():
                raise ExchangeError(f"{self.type} kline: {start[:40]!r} is no time")
            bars.append(
                Bar(market=market, every=every_ns, open_at=int(start) * MS, open=number(opened),
                    high=number(high), low=number(low), close=number(close),
                    volume=number(volume), closed=True, warmup=True)
            )  # fmt: skip
        return bars

    def payments(self, market: str, since_ms: int) -> HttpRequest | None:
        """Return the request for the last 200 payments (no start without an end); None on spot."""
        if self._category != "linear":
            return None
        return self._get("/v5/market/funding/history", self._query(market, "&limit=200"))

    def parse_payments(self, market: str, body: bytes) -> list[tuple[int, float]]:
        """Return (wall ns, rate) of each payment, oldest first."""
        rows = self._result(body, wire.Listing[wire.Paid], "funding/history").rows
        if not all(row.fundingRateTimestamp.isdigit() for row in rows):
            raise ExchangeError(f"{self.type} funding/history: a payment without a time")
        return sorted((int(r.fundingRateTimestamp) * MS, number(r.fundingRate)) for r in rows)

    def mark(self, market: str) -> HttpRequest | None:
        """Return the request for mark price and funding; None on spot."""
        if self._category != "linear":
            return None
        return self._get("/v5/market/tickers", self._query(market))

    def parse_mark(self, market: str, body: bytes, t: int, wall: int) -> list[Event]:
        """Return mark price and funding rate as events."""
        rows = self._result(body, wire.Listing[wire.Ticker], "tickers").rows
        if not rows or not rows[0].markPrice:
            raise ExchangeError(f"{self.type} tickers: no mark price of {market}")
        row = rows[0]
        events: list[Event] = [Mark(market=market, price=number(row.markPrice), t=t, wall=wall)]
        if row.fundingRate and row.nextFundingTime.isdigit():
            events.append(
                Funding(market=market, rate=number(row.fundingRate), t=t, wall=wall,
                        next_at=int(row.nextFundingTime) * MS)
            )  # fmt: skip
        return events


def market_codec(
    network: str, bindings: Sequence[MarketBinding], endpoints: Mapping[str, str] | None = None
) -> BybitMarket:
    """Return the codec; FileError for a network or endpoint that is not allowed."""
    return BybitMarket(network, bindings, resolve("bybit_linear", ENDPOINTS, network, endpoints))


def _subscribe(op: str, topics: Sequence[str]) -> bytes:
    return msgspec.json.encode({"req_id": op, "op": op, "args": topics})


def _facts(market: str, row: wire.Instrument) -> InstrumentFacts:
    lot = row.lotSizeFilter
    return InstrumentFacts(
        market=market,
        tick=row.priceFilter.tickSize,
        lot=lot.qtyStep or lot.basePrecision,
        min_qty=lot.minOrderQty,
        max_qty=lot.maxOrderQty,
        min_notional=lot.minNotionalValue or lot.minOrderAmt or "0",
        status="trading" if row.status == "Trading" else row.status.lower(),
    )


def _book_route(market: str) -> Route:
    decode = msgspec.json.Decoder(wire.BookFrame, strict=False).decode

    def route(frame: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded) -> None:
        push = decode(frame)
        data = push.data
        whole = push.type == "snapshot" or data.u == 1
        out.events.append(
            Depth(market=market, snapshot=whole, bids=data.b, asks=data.a, first=data.u,
                  last=data.u, ts=push.ts * MS, t=t, wall=wall, conn=conn, more=more)
        )  # fmt: skip

    return route


def _trades_route(market: str) -> Route:
    decode = msgspec.json.Decoder(wire.TradesFrame, strict=False).decode

    def route(frame: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded) -> None:
        push = decode(frame)
        ts = push.ts * MS
        for each in push.data:
            out.events.append(
                Trade(market=market, price=each.p, qty=each.v, taker=each.S.lower(), id=each.i,
                      ts=ts, t=t, wall=wall, conn=conn, more=more)
            )  # fmt: skip

    return route


def _kline_route(market: str, every: int) -> Route:
    decode = msgspec.json.Decoder(wire.KlineFrame, strict=False).decode

    def route(frame: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded) -> None:
        push = decode(frame)
        ts = push.ts * MS
        for bar in push.data:
            out.events.append(
                Bar(market=market, every=every, open_at=bar.start * MS, open=bar.open,
                    high=bar.high, low=bar.low, close=bar.close, volume=bar.volume,
                    closed=bar.confirm, ts=ts, t=t, wall=wall, conn=conn, more=more)
            )  # fmt: skip

    return route


class Tickers:
    """Mark price and funding of one market, merged from a snapshot and its differences."""

    __slots__ = ("_conn", "_decode", "_interval", "_mark", "_market", "_next", "_rate")

    def __init__(self, market: str) -> None:
        self._market = market
        self._conn = -1
        """the connection whose snapshot the values stand on"""
        self._mark: float | None = None
        self._rate: float | None = None
        self._next = self._interval = 0
        self._decode = msgspec.json.Decoder(wire.TickerFrame, strict=False).decode

    def __call__(
        self, frame: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded
    ) -> None:
        push = self._decode(frame)
        if push.type == "snapshot":
            self._conn, self._mark, self._rate, self._next, self._interval = conn, None, None, 0, 0
        elif conn != self._conn:
            return  # a difference to something this connection has not shown
        self._merge(push.data)
        ts = push.ts * MS
        if self._mark is not None:
            out.events.append(
                Mark(market=self._market, price=self._mark, ts=ts, t=t, wall=wall, conn=conn,
                     more=more)
            )  # fmt: skip
        if self._rate is not None:
            out.events.append(
                Funding(market=self._market, rate=self._rate, next_at=self._next,
                        interval=self._interval, ts=ts, t=t, wall=wall, conn=conn, more=more)
            )  # fmt: skip

    def _merge(self, data: wire.TickerData) -> None:
        if data.markPrice:
            self._mark = number(data.markPrice)
        if data.fundingRate:
            self._rate = number(data.fundingRate)
        if data.nextFundingTime and data.nextFundingTime.isdigit():
            self._next = int(data.nextFundingTime) * MS
        if data.fundingIntervalHour and data.fundingIntervalHour.isdigit():
            self._interval = int(data.fundingIntervalHour) * 3_600_000 * MS
