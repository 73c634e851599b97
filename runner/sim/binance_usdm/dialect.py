"""Binance USD-M futures: the table of routes and the sockets, joined to one venue."""

from __future__ import annotations

import contextlib

from runner.sim.binance_errors import ApiError
from runner.sim.binance_public import BinancePublic, Params
from runner.sim.binance_rest import BinanceRest, Budget, Key, Route, Security, params_of
from runner.sim.binance_streams import BinanceStreams
from runner.sim.binance_usdm import market
from runner.sim.binance_usdm.account import UsdmAccount
from runner.sim.binance_usdm.algo import Algos
from runner.sim.binance_usdm.orders import UsdmOrders, batch_items
from runner.sim.binance_usdm.user import UserData
from runner.sim.binance_usdm.wsapi import Method, WsApi
from runner.sim.faults import Fault, Faults
from runner.sim.limits import Window
from runner.sim.rules import Rules
from runner.sim.venue import Venue
from runner.sim.wire import Call, Reply, Session, Wire

RULES = Rules(maker_ppm=200, taker_ppm=500, cid_unique=False, post_only_refuses=True)
_PUBLIC = frozenset({"bookTicker", "depth"})


def _depth_weight(params: Params) -> int:
    limit = int(params.get("limit") or 500) if (params.get("limit") or "5").isdecimal() else 500
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
        venue.on_touch.append(lambda symbol: self.feed.instant(symbol, venue.now_ms()))
        venue.on_trade.append(lambda symbol, trade: self.feed.traded(symbol, trade))
        self.streams = BinanceStreams(venue, lambda: self.wire, True, _category, 10)
        self.feed = self.streams.feed
        factor = venue.terms.limit_factor
        budget = Budget(
            Window(market.WEIGHT_PER_MINUTE * factor, 60_000),
            (
                ("10S", "TEN_SECONDS", Window(market.ORDERS_PER_10S * factor, 10_000)),
                ("1M", "ONE_MINUTE", Window(market.ORDERS_PER_MINUTE * factor, 60_000)),
            ),
        )
        self._orders = UsdmOrders(venue)
        self.user = UserData(venue, lambda: self.wire, f"lk{key.key}")
        self._algos = Algos(venue, self.user.algo)
        self._account = UsdmAccount(venue, faults, self.user.configured)
        routes = self._routes() | self._order_routes() | self._account_routes()
        self._rest = BinanceRest(routes, key, budget, venue.now_ms, self._note)
        self._api = WsApi(self._methods(), key, budget, venue.now_ms, lambda: self.wire, self._note)
        venue.listeners.append(self.user)
        faults.on_add.append(self._strike)

    def _strike(self, fault: Fault) -> None:
        """Expire the listen key when the fault says so."""
        if fault.spec.name == "listen_key_expired" and self.user.key:
            self.user.expire()

    def noted(self, call: Call, outcome: str) -> None:
        """Write a request that a fault kept from being processed into the ledger."""
        with contextlib.suppress(ApiError):
            self._note(call.label, params_of(call), outcome)

    def _note(self, label: str, params: Params, outcome: str) -> None:
        """Write a request that reached an order route into the ledger."""
        if "rder" not in label:
            return
        items = [params]
        if "batchOrders" in params:
            try:
                items = batch_items(params, 100)
            except ApiError:
                return
        for item in items:
            names = ("newClientOrderId", "origClientOrderId", "clientAlgoId")
            cid = next((item[name] for name in names if item.get(name)), "")
            if cid:
                self.venue.note(cid, label, outcome)

    def _order_routes(self) -> dict[tuple[str, str], Route]:
        orders, algos, signed = self._orders, self._algos, Security.SIGNED
        place = Route(orders.place, 0, signed, orders=1)
        batch = "/fapi/v1/batchOrders"
        return {
            ("POST", "/fapi/v1/order"): place,
            ("POST", "/fapi/v1/algoOrder"): Route(algos.place, 0, signed, orders=1),
            ("DELETE", "/fapi/v1/algoOrder"): Route(algos.cancel, 1, signed),
            ("GET", "/fapi/v1/algoOrder"): Route(algos.query, 1, signed),
            ("GET", "/fapi/v1/openAlgoOrders"): Route(
                algos.open, lambda p: 1 if p.get("symbol") else 40, signed
            ),
            ("DELETE", "/fapi/v1/algoOpenOrders"): Route(algos.cancel_all, 1, signed),
            ("POST", "/fapi/v1/order/test"): Route(lambda p: {}, 0, signed),
            ("PUT", "/fapi/v1/order"): Route(orders.modify, 0, signed, orders=1),
            ("DELETE", "/fapi/v1/order"): Route(orders.cancel, 1, signed),
            ("GET", "/fapi/v1/order"): Route(orders.query, 1, signed),
            ("GET", "/fapi/v1/openOrder"): Route(orders.open_order, 1, signed),
            ("GET", "/fapi/v1/openOrders"): Route(
                orders.open_orders, lambda p: 1 if p.get("symbol") else 40, signed
            ),
            ("DELETE", "/fapi/v1/allOpenOrders"): Route(orders.cancel_all, 1, signed),
            ("POST", batch): Route(orders.batch_place, 5, signed, orders=1),
            ("PUT", batch): Route(orders.batch_modify, 5, signed, orders=1),
            ("DELETE", batch): Route(orders.batch_cancel, 5, signed),
            ("GET", "/fapi/v1/allOrders"): Route(orders.all_orders, 5, signed),
            ("GET", "/fapi/v1/userTrades"): Route(orders.user_trades, 5, signed),
            ("POST", "/fapi/v1/countdownCancelAll"): Route(orders.countdown, 10, signed),
        }

    def _account_routes(self) -> dict[tuple[str, str], Route]:
        account, user = self._account, self.user
        signed, keyed = Security.SIGNED, Security.KEY
        routes = {
            ("GET", "/fapi/v3/account"): Route(account.account, 5, signed),
            ("GET", "/fapi/v2/account"): Route(lambda p: account.account(p, 2), 5, signed),
            ("GET", "/fapi/v3/positionRisk"): Route(account.position_risk, 5, signed),
            ("GET", "/fapi/v2/positionRisk"): Route(
                lambda p: account.position_risk(p, 2), 5, signed
            ),
            ("GET", "/fapi/v1/symbolConfig"): Route(account.symbol_config, 5, signed),
            ("POST", "/fapi/v1/leverage"): Route(account.leverage, 1, signed),
            ("POST", "/fapi/v1/marginType"): Route(account.margin_type, 1, signed),
            ("GET", "/fapi/v1/positionSide/dual"): Route(account.dual, 30, signed),
            ("POST", "/fapi/v1/positionSide/dual"): Route(account.set_dual, 1, signed),
            ("GET", "/fapi/v1/multiAssetsMargin"): Route(account.multi_assets, 30, signed),
            ("GET", "/fapi/v1/commissionRate"): Route(account.commission, 20, signed),
            ("GET", "/fapi/v1/leverageBracket"): Route(account.brackets, 1, signed),
            ("GET", "/sapi/v1/account/apiRestrictions"): Route(account.restrictions, 1, signed),
            ("POST", "/fapi/v1/listenKey"): Route(user.start, 1, keyed),
            ("PUT", "/fapi/v1/listenKey"): Route(user.keep, 1, keyed),
            ("DELETE", "/fapi/v1/listenKey"): Route(user.stop, 1, keyed),
        }
        for version in ("v2", "v3"):
            routes[("GET", f"/fapi/{version}/balance")] = Route(account.balance, 5, signed)
        return routes

    def _methods(self) -> dict[str, Method]:
        venue, orders, account, user = self.venue, self._orders, self._account, self.user
        public = BinancePublic(venue, futures=True)
        none, keyed = Security.NONE, Security.KEY
        return {
            "ping": Method(public.ping, 1, none),
            "time": Method(public.time, 1, none),
            "depth": Method(public.depth, 10, none),
            "ticker.book": Method(public.book_ticker, 2, none),
            "order.place": Method(orders.place, 0, orders=1),
            "order.modify": Method(orders.modify, 0, orders=1),
            "order.cancel": Method(orders.cancel),
            "order.status": Method(orders.query),
            "algoOrder.place": Method(self._algos.place, 0, orders=1),
            "algoOrder.cancel": Method(self._algos.cancel),
            "account.status": Method(lambda p: account.account(p, 2), 5),
            "v2/account.status": Method(account.account, 5),
            "account.position": Method(lambda p: account.position_risk(p, 2), 5),
            "v2/account.position": Method(account.position_risk, 5),
            "account.balance": Method(account.balance, 5),
            "v2/account.balance": Method(account.balance, 5),
            "userDataStream.start": Method(user.start, 5, keyed),
            "userDataStream.ping": Method(user.keep, 1, keyed),
            "userDataStream.stop": Method(user.stop, 1, keyed),
        }

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
        if session.kind == "trade":
            self._api.opened(session)
        elif session.kind == "private":
            self.user.opened(session)
        else:
            self.streams.opened(session)

    def message(self, session: Session, text: str) -> None:
        """Take a text frame."""
        if session.kind == "trade":
            self._api.message(session, text)
        else:
            self.streams.message(session, text)

    def closed(self, session: Session) -> None:
        """Forget a socket."""
        self.feed.drop(session)
        self.user.closed(session)

    def fault_reply(self, fault: Fault) -> Reply:
        """Build the answer of a fault."""
        return self._rest.fault_reply(fault)

    def step(self, step: int, now_ms: int) -> None:
        """Publish what is due; let keys and countdowns run out."""
        self.user.tick(now_ms)
        self._orders.tick(now_ms)
        self._algos.tick()
        self.feed.step(step, now_ms)
