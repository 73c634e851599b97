"""Binance's public side: one codec, two dialects.

Theory of operation. A book is followed by two streams: `bookTicker`, the touch in real time, and
`depth@100ms`, the differences, which also prove the book while its touch rests (a quiet evening's
touch alone looks stale, see trading.md 1). Both carry update ids of the same count, so the market
state knows which of them is newer. The snapshot comes by REST.

Frames arrive on combined streams. The stream's name stands at a fixed place of the frame, so one
dict look-up finds the market and the typed decoder, and the frame is parsed once. A frame that
begins otherwise takes the slow path, which gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec

from runner.base.errors import ExchangeError
from runner.engine.events import (
    Bar,
    Depth,
    Event,
    Funding,
    InstrumentFacts,
    Mark,
    Top,
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
from runner.exchanges.binance_common import wire
from runner.exchanges.endpoints import hosts_of
from runner.exchanges.wire import FOREIGN, MS, number, parse

INTERVALS: Final[Mapping[int, str]] = {
    60_000 * MS * minutes: name
    for minutes, name in (
        (1, "1m"), (3, "3m"), (5, "5m"), (15, "15m"), (30, "30m"), (60, "1h"), (120, "2h"),
        (240, "4h"), (360, "6h"), (480, "8h"), (720, "12h"), (1440, "1d"), (10080, "1w"),
    )
}  # fmt: skip
"""Bar lengths that Binance has, by ns."""
KEEPALIVE: Final = Keepalive(every_ns=15_000_000_000, silence_ns=45_000_000_000)
"""Our own ping frames: the server's come every 20 s (spot) or 3 min, too rarely to notice a half
open connection by."""
_PER_SOCKET: Final = 200
_HEAD: Final = b'{"stream":"'
_SKIP: Final = len(_HEAD)

Route = Callable[[bytes, int, int, int, bool, Decoded], None]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between spot and futures on the public side."""

    type: str
    root: str
    trades: str
    """the trade stream asked for"""
    split: bool
    """book data and other data have sockets of their own"""
    futures: bool
    snapshot_limit: int
    snapshot_weight: int
    info_weight: int
    info_by_symbol: bool


class BinanceMarket:
    """Market data of one Binance market. See `runner.exchanges.api.MarketCodec`."""

    def __init__(
        self,
        dialect: Dialect,
        network: str,
        bindings: Sequence[MarketBinding],
        urls: Mapping[str, str],
    ) -> None:
        self.type = dialect.type
        self.network = network
        self._dialect = dialect
        self._urls = urls
        self.hosts = hosts_of(urls)
        self._symbols = {binding.market: binding.symbol for binding in bindings}
        self._markets = {binding.symbol: binding.market for binding in bindings}
        self._routes: dict[bytes, Route] = {}
        for binding in bindings:
            self._route(binding)
        self._other = msgspec.json.Decoder(wire.Other)

    # -- sockets

    def sockets(self, wants: Sequence[Want]) -> list[SocketSpec]:
        """Return the sockets that carry `wants`; every stream is named in the URL."""
        book: dict[str, str] = {}
        rest: dict[str, str] = {}
        for want in wants:
            group = book if want.kind == "book" or not self._dialect.split else rest
            group.update((name, want.market) for name in self._streams(want))
        specs = self._specs("public", SocketKind.PUBLIC, book)
        return specs + self._specs("market", SocketKind.MARKET, rest)

    def _streams(self, want: Want) -> list[str]:
        symbol = want.symbol.lower()
        if want.kind == "book":
            return [f"{symbol}@bookTicker", f"{symbol}@depth@100ms"]
        if want.kind == "trades":
            return [f"{symbol}@{self._dialect.trades}"]
        if want.kind in ("mark", "funding") and self._dialect.futures:
            return [f"{symbol}@markPrice@1s"]
        interval = INTERVALS.get(want.every_ns or 0)
        if want.kind == "bars" and interval is not None:
            return [f"{symbol}@kline_{interval}"]
        raise ExchangeError(f"{self.type} has no stream for {want.kind} of {want.market}")

    def _specs(self, name: str, kind: SocketKind, streams: Mapping[str, str]) -> list[SocketSpec]:
        names = list(streams)
        specs = []
        for number_, start in enumerate(range(0, len(names), _PER_SOCKET)):
            part = names[start : start + _PER_SOCKET]
            specs.append(
                SocketSpec(
                    id=name if not number_ else f"{name}-{number_ + 1}",
                    url=f"{self._urls[name]}/stream?streams={'/'.join(part)}",
                    kind=kind,
                    keepalive=KEEPALIVE,
                    markets=tuple(dict.fromkeys(streams[each] for each in part)),
                )
            )
        return specs

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
        except FOREIGN:
            out.unrecognised += 1

    def _rare(self, data: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded) -> None:
        other = self._other.decode(data)
        route = self._routes.get(other.stream.encode())
        if route is not None:
            route(data, t, wall, conn, more, out)
        elif other.stream == "!serverShutdown" or other.e == "serverShutdown":
            out.notices.append("closing")
        elif other.code or other.msg:
            out.notices.append(f"refused {other.code} {other.msg}")
        elif other.id is not None and bytes(other.result):
            out.notices.append("subscribed")
        else:
            out.unrecognised += 1

    def _route(self, binding: MarketBinding) -> None:
        market, symbol = binding.market, binding.symbol.lower()
        add = self._routes
        top = _top_route(market)
        add[f"{symbol}@bookTicker".encode()] = top
        depth = _depth_route(market)
        for speed in ("", "@100ms", "@250ms", "@500ms", "@0ms", "@1000ms"):
            add[f"{symbol}@depth{speed}".encode()] = depth
        add[f"{symbol}@trade".encode()] = _trade_route(market, single=True)
        add[f"{symbol}@aggTrade".encode()] = _trade_route(market, single=False)
        if self._dialect.futures:
            mark = _mark_route(market)
            for speed in ("", "@1s"):
                add[f"{symbol}@markPrice{speed}".encode()] = mark
        for every, name in INTERVALS.items():
            add[f"{symbol}@kline_{name}".encode()] = _kline_route(market, every)

    # -- requests

    def _get(self, path: str, query: str, weight: int) -> HttpRequest:
        path = f"{self._dialect.root}{path}"
        url = f"{self._urls['rest']}{path}" + (f"?{query}" if query else "")
        return HttpRequest("GET", url, label=f"GET {path}", weight=weight)

    def snapshot(self, market: str) -> HttpRequest | None:
        """Return the request for a book snapshot."""
        limit = self._dialect.snapshot_limit
        query = f"symbol={self._symbols[market]}&limit={limit}"
        return self._get("/depth", query, self._dialect.snapshot_weight)

    def resubscribe(self, market: str) -> tuple[bytes, ...]:
        """Return nothing: the snapshot comes by REST."""
        return ()

    def parse_snapshot(self, market: str, body: bytes, t: int, wall: int) -> Event:
        """Return the snapshot as a Depth event."""
        book = parse(body, wire.DepthSnapshot, f"{self.type} depth")
        return Depth(
            market=market, snapshot=True, bids=book.bids, asks=book.asks, first=book.lastUpdateId,
            last=book.lastUpdateId, ts=book.E * MS, t=t, wall=wall,
        )  # fmt: skip

    def instruments(self, symbols: Sequence[str]) -> list[HttpRequest]:
        """Return the requests for what the exchange lists."""
        query = ""
        if self._dialect.info_by_symbol:
            query = "symbols=" + quote("[" + ",".join(f'"{each}"' for each in symbols) + "]")
        return [self._get("/exchangeInfo", query, self._dialect.info_weight)]

    def parse_instruments(self, bodies: Sequence[bytes]) -> list[InstrumentFacts]:
        """Return the facts of the bound markets; ExchangeError on nonsense."""
        facts = []
        for body in bodies:
            info = parse(body, wire.ExchangeInfo, f"{self.type} exchangeInfo")
            for symbol in info.symbols:
                market = self._markets.get(symbol.symbol)
                if market is not None:
                    facts.append(_facts(market, symbol))
        return facts

    def time(self) -> HttpRequest:
        """Return the request for the exchange's clock."""
        return self._get("/time", "", 1)

    def parse_time(self, body: bytes) -> int:
        """Return the exchange's wall clock in ns."""
        return parse(body, wire.ServerTime, f"{self.type} time").serverTime * MS

    def bars(self, market: str, every_ns: int, count: int) -> HttpRequest:
        """Return the request for the last `count` closed bars (one more: the last is running)."""
        name = INTERVALS.get(every_ns)
        if name is None:
            raise ExchangeError(f"{self.type} has no bars of {every_ns} ns")
        most = 1500 if self._dialect.futures else 1000
        limit = min(count + 1, most)
        query = f"symbol={self._symbols[market]}&interval={name}&limit={limit}"
        return self._get("/klines", query, 2 if not self._dialect.futures else _kline_weight(limit))

    def parse_bars(self, market: str, every_ns: int, body: bytes) -> list[Event]:
        """Return closed bars, oldest first; the last row still runs and is left out."""
        rows = parse(body, list[list[Any]], f"{self.type} klines")
        bars: list[Event] = []
        for row in rows[:-1]:
            try:
                opened, values = int(row[0]), [number(str(value)) for value in row[1:6]]
            except (IndexError, TypeError, ValueError):
                raise ExchangeError(f"{self.type} klines: {row!r:.80} is not a bar") from None
            if len(values) < 5:
                raise ExchangeError(f"{self.type} klines: {row!r:.80} is not a bar")
            bars.append(
                Bar(market=market, every=every_ns, open_at=opened * MS, open=values[0],
                    high=values[1], low=values[2], close=values[3], volume=values[4],
                    closed=True, warmup=True)
            )  # fmt: skip
        return bars

    def payments(self, market: str, since_ms: int) -> HttpRequest | None:
        """Return the request for the funding paid since then; None on spot."""
        if not self._dialect.futures:
            return None
        query = f"symbol={self._symbols[market]}&startTime={since_ms}&limit=1000"
        return self._get("/fundingRate", query, 1)

    def parse_payments(self, market: str, body: bytes) -> list[tuple[int, float]]:
        """Return (wall ns, rate) of each payment, oldest first."""
        rows = parse(body, list[wire.Paid], f"{self.type} fundingRate")
        return sorted((row.fundingTime * MS, row.fundingRate) for row in rows)

    def mark(self, market: str) -> HttpRequest | None:
        """Return the request for mark price and funding; None on spot."""
        if not self._dialect.futures:
            return None
        return self._get("/premiumIndex", f"symbol={self._symbols[market]}", 1)

    def parse_mark(self, market: str, body: bytes, t: int, wall: int) -> list[Event]:
        """Return mark price and funding rate as events."""
        index = parse(body, wire.PremiumIndex, f"{self.type} premiumIndex")
        ts = index.time * MS
        events: list[Event] = [Mark(market=market, price=index.markPrice, ts=ts, t=t, wall=wall)]
        if index.lastFundingRate:
            events.append(
                Funding(market=market, rate=number(index.lastFundingRate), ts=ts, t=t, wall=wall,
                        next_at=index.nextFundingTime * MS)
            )  # fmt: skip
        return events


def _kline_weight(limit: int) -> int:
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def _facts(market: str, symbol: wire.Symbol) -> InstrumentFacts:
    """Read the filters that bind our orders (limit orders: LOT_SIZE, not MARKET_LOT_SIZE)."""
    by_type = {each.filterType: each for each in symbol.filters}
    try:
        price, lot = by_type["PRICE_FILTER"], by_type["LOT_SIZE"]
    except KeyError as missing:
        raise ExchangeError(f"{symbol.symbol} is listed without {missing}") from None
    least = by_type.get("MIN_NOTIONAL") or by_type.get("NOTIONAL")
    return InstrumentFacts(
        market=market,
        tick=price.tickSize,
        lot=lot.stepSize,
        min_qty=lot.minQty,
        max_qty=lot.maxQty or "0",
        min_notional=(least.notional or least.minNotional) if least else "0",
        status="trading" if symbol.status == "TRADING" else symbol.status.lower(),
    )


def _top_route(market: str) -> Route:
    decode = msgspec.json.Decoder(wire.BookTickerFrame, strict=False).decode

    def route(frame: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded) -> None:
        data = decode(frame).data
        out.events.append(
            Top(market=market, bid=data.b, ask=data.a, bid_qty=data.B, ask_qty=data.A, u=data.u,
                ts=data.E * MS, t=t, wall=wall, conn=conn, more=more)
        )  # fmt: skip

    return route


def _depth_route(market: str) -> Route:
    decode = msgspec.json.Decoder(wire.DepthFrame, strict=False).decode

    def route(frame: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded) -> None:
        data = decode(frame).data
        out.events.append(
            Depth(market=market, snapshot=False, bids=data.b, asks=data.a, first=data.U,
                  last=data.u, prev=data.pu, ts=data.E * MS, t=t, wall=wall, conn=conn, more=more)
        )  # fmt: skip

    return route


def _trade_route(market: str, single: bool) -> Route:
    """`a` is an aggregate's id, but the seller's order in spot's single trades."""
    decode = msgspec.json.Decoder(wire.TradeFrame, strict=False).decode

    def route(frame: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded) -> None:
        data = decode(frame).data
        if data.X != "MARKET":
            return
        out.events.append(
            Trade(market=market, price=data.p, qty=data.q, taker="sell" if data.m else "buy",
                  id=str(data.t if single else data.a), ts=data.E * MS, t=t, wall=wall, conn=conn,
                  more=more)
        )  # fmt: skip

    return route


def _mark_route(market: str) -> Route:
    decode = msgspec.json.Decoder(wire.MarkFrame, strict=False).decode

    def route(frame: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded) -> None:
        data = decode(frame).data
        ts = data.E * MS
        rate = number(data.r) if data.r else None
        out.events.append(
            Mark(market=market, price=data.p, ts=ts, t=t, wall=wall, conn=conn, more=more)
        )
        if rate is not None:
            out.events.append(
                Funding(market=market, rate=rate, next_at=data.T * MS, ts=ts, t=t, wall=wall,
                        conn=conn, more=more)
            )  # fmt: skip

    return route


def _kline_route(market: str, every: int) -> Route:
    decode = msgspec.json.Decoder(wire.KlineFrame, strict=False).decode

    def route(frame: bytes, t: int, wall: int, conn: int, more: bool, out: Decoded) -> None:
        data = decode(frame).data
        bar = data.k
        out.events.append(
            Bar(market=market, every=every, open_at=bar.t * MS, open=bar.o, high=bar.h, low=bar.l,
                close=bar.c, volume=bar.v, closed=bar.x, ts=data.E * MS, t=t, wall=wall,
                conn=conn, more=more)
        )  # fmt: skip

    return route
