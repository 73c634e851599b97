"""Bybit v5 linear: the table of routes and the sockets, joined to one venue."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from runner.sim.binance_rest import Key
from runner.sim.bybit import market
from runner.sim.bybit.account import BybitAccount
from runner.sim.bybit.errors import RetError
from runner.sim.bybit.orders import BybitOrders
from runner.sim.bybit.private import Door, PrivateTopics, TradeSocket
from runner.sim.bybit.rest import BybitRest, Route, params_of
from runner.sim.bybit.streams import PublicTopics, encode
from runner.sim.faults import Fault, Faults
from runner.sim.feed import Feed, Stream
from runner.sim.limits import Rolling
from runner.sim.rules import Rules
from runner.sim.venue import Venue
from runner.sim.wire import Call, Reply, Session, Wire

RULES = Rules(maker_ppm=200, taker_ppm=550, cid_unique=True, post_only_refuses=False, max_open=500)
_QUOTAS = {"realtime": 50, "history": 50, "execution": 50, "position": 50, "wallet": 50,
           "account-info": 50}  # fmt: skip
"""Requests a second and endpoint; 10 where nothing else is said."""

_MAX_ARGS = 21_000
_KINDS = {"/v5/public/linear": "public", "/v5/private": "private", "/v5/trade": "trade"}


class BybitLinear:
    """The dialect `bybit_linear`."""

    name = "bybit_linear"
    ping_s: float | None = None
    pong_s: float | None = None

    def __init__(self, venue: Venue, key: Key, faults: Faults) -> None:
        self.venue = venue
        self.key = key
        self.wire = Wire(self, faults)
        venue.on_touch.append(lambda symbol: self.feed.instant(symbol, venue.now_ms()))
        venue.on_trade.append(lambda symbol, trade: self.feed.traded(symbol, trade))
        self.feed = Feed(PublicTopics(venue).make, self._deliver)
        self.quotas: dict[str, Rolling] = {}
        self._orders = BybitOrders(venue, key.key)
        self._account = BybitAccount(venue, faults)
        door = Door(key, venue.now_ms)
        self._private = PrivateTopics(venue, door, lambda: self.wire)
        venue.listeners.append(self._private)
        orders = self._order_routes()
        routes = self._routes() | self._account_routes()
        routes |= {("POST", f"/v5/order/{name}"): route for name, route in orders.items()}
        factor = venue.terms.limit_factor
        for route in routes.values():
            if route.quota:
                self.quotas.setdefault(route.quota, Rolling(_QUOTAS.get(route.quota, 10) * factor))
        self._rest = BybitRest(routes, key, self.quotas, venue.now_ms, self._note, factor)
        self._trade = TradeSocket(
            {f"order.{name}": route for name, route in orders.items()},
            self.quotas, door, venue.now_ms, lambda: self.wire, self._note,
        )  # fmt: skip

    def _order_routes(self) -> dict[str, Route]:
        orders = self._orders
        return {
            "create": Route(orders.create, True, "create"),
            "amend": Route(orders.amend, True, "amend"),
            "cancel": Route(orders.cancel, True, "cancel"),
            "cancel-all": Route(orders.cancel_all, True, "cancel-all"),
            "create-batch": Route(orders.create_batch, True, "create-batch", items=True),
            "amend-batch": Route(orders.amend_batch, True, "amend-batch", items=True),
            "cancel-batch": Route(orders.cancel_batch, True, "cancel-batch", items=True),
        }

    def _account_routes(self) -> dict[tuple[str, str], Route]:
        orders, account = self._orders, self._account
        return {
            ("GET", "/v5/order/realtime"): Route(orders.realtime, True, "realtime"),
            ("GET", "/v5/order/history"): Route(orders.history, True, "history"),
            ("GET", "/v5/execution/list"): Route(orders.executions, True, "execution"),
            ("GET", "/v5/position/list"): Route(account.positions, True, "position"),
            ("GET", "/v5/account/wallet-balance"): Route(account.wallet, True, "wallet"),
            ("GET", "/v5/account/fee-rate"): Route(account.fee_rate, True, "fee-rate"),
            ("GET", "/v5/account/info"): Route(account.info, True, "account-info"),
            ("GET", "/v5/user/query-api"): Route(account.query_api, True, "query-api"),
            ("GET", "/v5/asset/coin/query-info"): Route(account.coins, True, "coin-info"),
            ("POST", "/v5/position/set-leverage"): Route(
                account.set_leverage, True, "set-leverage"
            ),
            ("POST", "/v5/position/switch-mode"): Route(account.switch_mode, True, "switch-mode"),
            ("POST", "/v5/account/set-margin-mode"): Route(
                account.set_margin_mode, True, "set-margin-mode"
            ),
        }

    def noted(self, call: Call, outcome: str) -> None:
        """Write a request that a fault kept from being processed into the ledger."""
        with contextlib.suppress(RetError):
            self._note(call.label, params_of(call), outcome)

    def _note(self, label: str, params: Any, outcome: str) -> None:
        """Write a request that reached an order route into the ledger."""
        if "order" not in label or not isinstance(params, Mapping):
            return
        items = params.get("request")
        for item in items if isinstance(items, list) else [params]:
            if isinstance(item, dict) and item.get("orderLinkId"):
                self.venue.note(str(item["orderLinkId"]), label, outcome)
        self._private.flush()

    def _routes(self) -> dict[tuple[str, str], Route]:
        venue = self.venue
        handlers = {
            "/v5/market/time": self._time,
            "/v5/market/instruments-info": lambda p: market.instruments_info(venue, p),
            "/v5/market/orderbook": lambda p: market.orderbook(venue, p),
            "/v5/market/kline": lambda p: market.kline(venue, p),
            "/v5/market/tickers": lambda p: market.tickers(venue, p),
            "/v5/market/recent-trade": lambda p: market.recent_trade(venue, p),
            "/v5/market/funding/history": lambda p: market.funding_history(venue, p),
        }
        return {("GET", path): Route(run) for path, run in handlers.items()}

    def _time(self, params: market.Params) -> Any:
        now = self.venue.now_ms()
        return {"timeSecond": str(now // 1000), "timeNano": f"{now}000000"}

    def endpoints(self, rest: str, sockets: str) -> dict[str, str]:
        """Name the URLs and keys for who connects."""
        return {
            "rest": rest,
            "public": f"{sockets}/v5/public/linear",
            "private": f"{sockets}/v5/private",
            "trade": f"{sockets}/v5/trade",
            "key": self.key.key,
            "secret": self.key.secret,
        }

    def kind_of(self, path: str) -> str | None:
        """Return the kind of socket at a path."""
        return _KINDS.get(path)

    def rest(self, call: Call) -> Reply:
        """Answer a REST request."""
        reply = self._rest.answer(call)
        self._private.flush()
        return reply

    def opened(self, session: Session) -> None:
        """Take a new socket."""

    def message(self, session: Session, text: str) -> None:
        """Take a text frame."""
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            request = None
        if not isinstance(request, dict):
            session.send(encode({"success": False, "ret_msg": "error:invalid json",
                                 "conn_id": session.conn_id, "op": ""}))  # fmt: skip
            return
        match session.kind:
            case "private":
                self._private.message(session, request)
            case "trade":
                self._trade.message(session, request)
            case _:
                self._public(session, request)

    def _public(self, session: Session, request: dict[str, Any]) -> None:
        operation = request.get("op")
        ack = {"success": True, "ret_msg": "", "conn_id": session.conn_id,
               "req_id": str(request.get("req_id", "")), "op": operation}  # fmt: skip
        args = request.get("args") or []
        if operation == "ping":
            session.send(encode(ack | {"ret_msg": "pong"}))
        elif not isinstance(args, list) or not all(isinstance(name, str) for name in args):
            session.send(encode(ack | {"success": False, "ret_msg": "error:invalid args"}))
        elif operation == "subscribe":
            self._subscribe(session, args, ack)
        elif operation == "unsubscribe":
            for name in args:
                self.feed.unsubscribe(session, name)
            session.send(encode(ack))
        else:
            session.send(encode(ack | {"success": False, "ret_msg": "error:unknown op"}))

    def _subscribe(self, session: Session, args: list[str], ack: dict[str, Any]) -> None:
        topics = PublicTopics(self.venue)
        for name in args:
            if name not in self.feed.streams and topics.make(name) is None:
                text = f"error:handler not found,topic:{name}"
                session.send(encode(ack | {"success": False, "ret_msg": text}))
                return
        if sum(map(len, [*session.topics, *args])) > _MAX_ARGS:
            session.send(encode(ack | {"success": False, "ret_msg": "error:args too long"}))
            return
        session.send(encode(ack))
        for name in args:
            self.feed.subscribe(session, name, self.venue.now_ms())

    def _deliver(self, session: Session, stream: Stream, text: str) -> None:
        self.wire.push(session, stream.name, text, stream.diff)

    def closed(self, session: Session) -> None:
        """Forget a socket."""
        self.feed.drop(session)
        self._private.closed(session)

    def fault_reply(self, fault: Fault) -> Reply:
        """Build the answer of a fault."""
        return self._rest.fault_reply(fault)

    def step(self, step: int, now_ms: int) -> None:
        """Publish what is due."""
        self.venue.fire_due()
        self._private.flush()
        self.feed.step(step, now_ms)
