"""Binance USD-M futures: the table of routes and the sockets, joined to one venue."""

from __future__ import annotations

from runner.sim.binance_public import BinancePublic, Params
from runner.sim.binance_rest import BinanceRest, Budget, Key, Route, Security
from runner.sim.binance_streams import BinanceStreams
from runner.sim.binance_usdm import market
from runner.sim.faults import Fault, Faults
from runner.sim.limits import Window
from runner.sim.venue import Rules, Venue
from runner.sim.wire import Call, Reply, Session, Wire

RULES = Rules(maker_ppm=200, taker_ppm=500, cid_unique=False, post_only_refuses=True)
_PUBLIC = frozenset({"bookTicker", "depth"})


def _depth_weight(params: Params) -> int:
    limit = int(params.get("limit") or 500) if (params.get("limit") or "5").isdigit() else 500
    return 2 if limit <= 50 else 5 if limit <= 100 else 10 if limit <= 500 else 20


def _category(channel: str) -> str:
    return "public" if channel in _PUBLIC else "market"


class BinanceUsdm:
    """The dialect `binance_usdm`."""

    name = "binance_usdm"
    ping_s: float | None = 180.0
    pong_s: float | None = 600.0

    def __init__(self, venue: Venue, key: Key, faults: Faults) -> None:
        self.venue = venue
        self.key = key
        self.wire = Wire(self, faults)
        venue.on_trade.append(lambda symbol, trade: self.feed.traded(symbol, trade))
        self.streams = BinanceStreams(venue, lambda: self.wire, True, _category, 10)
        self.feed = self.streams.feed
        budget = Budget(
            Window(market.WEIGHT_PER_MINUTE, 60_000),
            (
                ("10S", "TEN_SECONDS", Window(market.ORDERS_PER_10S, 10_000)),
                ("1M", "ONE_MINUTE", Window(market.ORDERS_PER_MINUTE, 60_000)),
            ),
        )
        self._rest = BinanceRest(self._routes(), key, budget, venue.now_ms)

    def _routes(self) -> dict[tuple[str, str], Route]:
        venue = self.venue
        public = BinancePublic(venue, futures=True)
        return {
            ("GET", "/fapi/v1/ping"): Route(public.ping),
            ("GET", "/fapi/v1/time"): Route(public.time),
            ("GET", "/fapi/v1/exchangeInfo"): Route(lambda p: market.exchange_info(venue, p)),
            ("GET", "/fapi/v1/depth"): Route(public.depth, _depth_weight),
            ("GET", "/fapi/v1/klines"): Route(public.klines, 5),
            ("GET", "/fapi/v1/trades"): Route(public.trades, 5),
            ("GET", "/fapi/v1/ticker/bookTicker"): Route(public.book_ticker, 2),
            ("GET", "/fapi/v1/ticker/price"): Route(public.price),
            ("GET", "/fapi/v2/ticker/price"): Route(public.price),
            ("GET", "/fapi/v1/premiumIndex"): Route(lambda p: market.premium_index(venue, p)),
            ("GET", "/fapi/v1/fundingInfo"): Route(lambda p: market.funding_info(venue, p)),
            ("GET", "/fapi/v1/fundingRate"): Route(lambda p: market.funding_rates(venue, p)),
        }

    def endpoints(self, rest: str, sockets: str) -> dict[str, str]:
        """Name the URLs and keys for who connects."""
        return {
            "rest": rest,
            "public": f"{sockets}/public",
            "market": f"{sockets}/market",
            "private": f"{sockets}/private",
            "trade": f"{sockets}/ws-fapi/v1",
            "key": self.key.key,
            "secret": self.key.secret,
        }

    def kind_of(self, path: str) -> str | None:
        """Return the kind of socket at a path; the undivided roots are gone."""
        if path == "/ws-fapi/v1":
            return "trade"
        parts = path.split("/")
        if len(parts) > 2 and parts[1] in ("public", "market", "private"):
            return parts[1] if parts[2] in ("ws", "stream") else None
        return None

    def rest(self, call: Call) -> Reply:
        """Answer a REST request."""
        return self._rest.answer(call)

    def opened(self, session: Session) -> None:
        """Take a new socket."""
        self.streams.opened(session)

    def message(self, session: Session, text: str) -> None:
        """Take a text frame."""
        self.streams.message(session, text)

    def closed(self, session: Session) -> None:
        """Forget a socket."""
        self.feed.drop(session)

    def fault_reply(self, fault: Fault) -> Reply:
        """Build the answer of a fault."""
        return self._rest.fault_reply(fault)

    def step(self, step: int, now_ms: int) -> None:
        """Publish what is due."""
        self.feed.step(step, now_ms)


__all__ = ["RULES", "BinanceUsdm", "Security"]
