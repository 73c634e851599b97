"""Binance spot, public side: market data over REST and streams, no keys, no orders."""

from __future__ import annotations

from typing import Any

from runner.sim.binance_public import BinancePublic, Params, instrument_of
from runner.sim.binance_rest import BinanceRest, Budget, Route
from runner.sim.binance_streams import BinanceStreams
from runner.sim.catalogue import MONEY, Instrument
from runner.sim.faults import Fault, Faults
from runner.sim.limits import Window
from runner.sim.rules import Rules
from runner.sim.venue import Venue
from runner.sim.wire import Call, Reply, Session, Wire

RULES = Rules(maker_ppm=1000, taker_ppm=1000, cid_unique=False, post_only_refuses=True)
_WEIGHT = 6000


def _depth_weight(params: Params) -> int:
    text = params.get("limit") or "100"
    limit = int(text) if text.isdecimal() else 100
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250


class BinanceSpot:
    """The dialect `binance_spot`."""

    name = "binance_spot"
    ping_s: float | None = 20.0
    pong_s: float | None = 60.0

    def __init__(self, venue: Venue, faults: Faults) -> None:
        self.venue = venue
        self.wire = Wire(self, faults)
        venue.on_touch.append(lambda symbol: self.feed.instant(symbol, venue.now_ms()))
        venue.on_trade.append(lambda symbol, trade: self.feed.traded(symbol, trade))
        self.streams = BinanceStreams(venue, lambda: self.wire, False, lambda channel: "public", 5)
        self.feed = self.streams.feed
        budget = Budget(Window(_WEIGHT * venue.terms.limit_factor, 60_000))
        self._rest = BinanceRest(self._routes(), None, budget, venue.now_ms)

    def _routes(self) -> dict[tuple[str, str], Route]:
        public = BinancePublic(self.venue, futures=False)
        return {
            ("GET", "/api/v3/ping"): Route(public.ping),
            ("GET", "/api/v3/time"): Route(public.time),
            ("GET", "/api/v3/exchangeInfo"): Route(self._exchange_info, 20),
            ("GET", "/api/v3/depth"): Route(public.depth, _depth_weight),
            ("GET", "/api/v3/klines"): Route(public.klines, 2),
            ("GET", "/api/v3/trades"): Route(public.trades, 25),
            ("GET", "/api/v3/ticker/bookTicker"): Route(public.book_ticker, 2),
        }

    def _exchange_info(self, params: Params) -> Any:
        """GET exchangeInfo."""
        chosen = list(self.venue.instruments.values())
        if "symbol" in params:
            chosen = [instrument_of(self.venue, params)]
        elif "symbols" in params:
            names = params["symbols"].strip("[]").replace('"', "").split(",")
            chosen = [instrument_of(self.venue, {"symbol": name}) for name in names]
        return {
            "timezone": "UTC",
            "serverTime": self.venue.now_ms(),
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
                 "limit": _WEIGHT},
                {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10,
                 "limit": 100},
            ],
            "exchangeFilters": [],
            "symbols": [_symbol(instrument) for instrument in chosen],
        }  # fmt: skip

    def endpoints(self, rest: str, sockets: str) -> dict[str, str]:
        """Name the URLs for who connects."""
        return {"rest": rest, "public": sockets}

    def kind_of(self, path: str) -> str | None:
        """Return the kind of socket at a path."""
        parts = path.split("/")
        return "public" if len(parts) > 1 and parts[1] in ("ws", "stream") else None

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

    def noted(self, call: Call, outcome: str) -> None:
        """There are no orders to note."""

    def fault_reply(self, fault: Fault) -> Reply:
        """Build the answer of a fault."""
        return self._rest.fault_reply(fault)

    def step(self, step: int, now_ms: int) -> None:
        """Publish what is due."""
        self.feed.step(step, now_ms)


def _symbol(instrument: Instrument) -> dict[str, Any]:
    step, least = instrument.qty(1), instrument.qty(instrument.min_lots)
    return {
        "symbol": instrument.symbol,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": instrument.price(1),
             "maxPrice": "1000000.00000000", "tickSize": instrument.price(1)},
            {"filterType": "LOT_SIZE", "minQty": least, "stepSize": step,
             "maxQty": instrument.qty(instrument.max_lots)},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "stepSize": "0.00000000",
             "maxQty": instrument.qty(instrument.max_market_lots)},
            {"filterType": "NOTIONAL", "minNotional": f"{instrument.min_notional / MONEY:.8f}",
             "applyMinToMarket": True, "maxNotional": "9000000.00000000",
             "applyMaxToMarket": False, "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }  # fmt: skip
