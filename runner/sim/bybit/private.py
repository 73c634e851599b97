"""Bybit's private and trade sockets: auth, topics, orders over a socket.

What one request causes is told together, after it: executions, positions, orders in their last
state, the wallet. An order that fills at once is therefore never seen as New, as on the exchange.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import msgspec

from runner.sim.binance_rest import Key
from runner.sim.bybit.account import position_row, wallet_row
from runner.sim.bybit.errors import RetError, bad_parameter
from runner.sim.bybit.orders import cid_text, exec_id, execution_row, order_row
from runner.sim.bybit.rest import Answer, Route, check_window, envelope, hmac_hex, spend
from runner.sim.bybit.streams import encode
from runner.sim.catalogue import money_text
from runner.sim.limits import Rolling
from runner.sim.orders import Fill, Happening, Order
from runner.sim.venue import Venue
from runner.sim.wire import Reply, Session, Wire, json_reply

TOPICS = frozenset({"order", "execution", "execution.fast", "position", "wallet", "greeks", "dcp"})
_REMEMBERED_IDS = 5000


class Door:
    """Check the auth message of private and trade sockets."""

    def __init__(self, key: Key, now_ms: Callable[[], int]) -> None:
        self._key = key
        self._now = now_ms

    def check(self, args: Any) -> None:
        """Refuse a wrong key, signature or expiry: 10001, 10003, 10004."""
        if not isinstance(args, list) or len(args) != 3:
            raise bad_parameter("auth takes key, expires and signature")
        key, expires, given = str(args[0]), str(args[1]), str(args[2])
        if not hmac.compare_digest(key.encode(), self._key.key.encode()):
            raise RetError(10003, "API key is invalid.")
        right = hmac_hex(self._key.secret, f"GET/realtime{expires}")
        if not hmac.compare_digest(right, given):
            raise RetError(10004, "error sign! please check your signature generation algorithm.")
        if not expires.isdecimal() or int(expires) <= self._now():
            raise RetError(10001, "Params Error: expires is in the past")


class PrivateTopics:
    """Collect what happens and tell it to the subscribers."""

    def __init__(self, venue: Venue, door: Door, wire: Callable[[], Wire]) -> None:
        self._venue = venue
        self._door = door
        self._wire = wire
        self._sessions: set[Session] = set()
        self._orders: dict[int, Order] = {}
        self._fills: list[Fill] = []
        self._paid: list[dict[str, Any]] = []
        self._symbols: set[str] = set()
        self._sent = 0

    def message(self, session: Session, request: dict[str, Any]) -> None:
        """Answer auth, subscribe, unsubscribe, ping."""
        operation, args = request.get("op"), request.get("args") or []
        ack: dict[str, Any] = {"success": True, "ret_msg": "", "op": operation,
                               "conn_id": session.conn_id}  # fmt: skip
        if "req_id" in request:
            ack["req_id"] = request["req_id"]
        match operation:
            case "auth":
                try:
                    self._door.check(args)
                    session.authed = True
                    self._sessions.add(session)
                except RetError as error:
                    ack |= {"success": False, "ret_msg": error.msg}
            case "ping":
                now = str(self._venue.now_ms())
                ack = {"req_id": request.get("req_id", ""), "op": "pong", "args": [now],
                       "conn_id": session.conn_id}  # fmt: skip
            case "subscribe" | "unsubscribe" if not _names(args):
                ack |= {"success": False, "ret_msg": "error:invalid args"}
            case "subscribe":
                ack |= self._subscribe(session, args)
            case "unsubscribe":
                session.topics -= set(args)
            case _:
                ack |= {"success": False, "ret_msg": "error:unknown op"}
        session.send(encode(ack))

    def _subscribe(self, session: Session, args: list[str]) -> dict[str, Any]:
        if not session.authed:
            return {"success": False, "ret_msg": "Request not authorized"}
        plain = {name.removesuffix(".linear") for name in args}
        if unknown := plain - TOPICS:
            return {"success": False, "ret_msg": f"error:handler not found,topic:{min(unknown)}"}
        session.topics |= set(args)
        return {}

    def closed(self, session: Session) -> None:
        """Forget a socket."""
        self._sessions.discard(session)

    def order(self, order: Order, happening: Happening, fill: Fill | None) -> None:
        """Keep an event of an order until `flush`."""
        self._orders[order.oid] = order
        if fill is not None:
            self._fills.append(fill)
        self._symbols.add(order.instrument.symbol)

    def account(self, reason: str, symbol: str, paid: int = 0) -> None:
        """Keep a change of wallet and position until `flush`, funding as an execution."""
        self._symbols.add(symbol)
        if paid:
            self._paid.append(self._funding(symbol, paid))

    def _funding(self, symbol: str, paid: int) -> dict[str, Any]:
        position, now = self._venue.account.positions[symbol], self._venue.now_ms()
        instrument, mark = position.instrument, self._venue.mark(symbol)
        return {
            "category": "linear", "symbol": symbol, "execId": f"funding-{symbol}-{now}",
            "orderId": "", "orderLinkId": "", "side": "Buy" if position.lots > 0 else "Sell",
            "execFee": money_text(paid), "feeCurrency": "", "execPrice": instrument.price(mark),
            "execQty": instrument.qty(abs(position.lots)), "execType": "Funding",
            "execTime": str(now), "isMaker": False, "closedSize": "0", "extraFees": "",
        }  # fmt: skip

    def flush(self) -> None:
        """Tell all that was kept."""
        if not self._symbols:
            return
        venue, rules = self._venue, self._venue.rules
        if self._fills:
            rows = [execution_row(f, rules.maker_ppm, rules.taker_ppm) for f in self._fills]
            self._tell("execution.fast", [_fast(fill) for fill in self._fills])
            self._tell("execution", rows)
        if self._paid:
            self._tell("execution", self._paid)
        positions = venue.account.positions
        moved = [position_row(venue, positions[symbol]) for symbol in sorted(self._symbols)]
        self._tell("position", moved)
        if self._orders:
            self._tell("order", [order_row(order) for order in self._orders.values()])
        self._tell("wallet", [wallet_row(venue)])
        self._orders, self._fills, self._symbols, self._paid = {}, [], set(), []

    def _tell(self, topic: str, rows: list[dict[str, Any]]) -> None:
        self._sent += 1
        now = self._venue.now_ms()
        for session in tuple(self._sessions):
            for name in (topic, f"{topic}.linear"):
                if name in session.topics:
                    text = encode({"topic": name, "id": f"{session.conn_id}-{self._sent}",
                                   "creationTime": now, "data": rows})  # fmt: skip
                    self._wire().push(session, name, text)


def _names(args: Any) -> bool:
    return isinstance(args, list) and all(isinstance(name, str) for name in args)


def _first(request: dict[str, Any]) -> Any:
    args = request.get("args")
    return args[0] if isinstance(args, list) and args else {}


def _fast(fill: Fill) -> dict[str, Any]:
    order, instrument = fill.order, fill.order.instrument
    return {
        "category": "linear", "symbol": instrument.symbol, "execId": exec_id(fill),
        "execPrice": instrument.price(fill.tick), "execQty": instrument.qty(fill.lots),
        "orderId": order.external_id, "isMaker": fill.maker, "orderLinkId": cid_text(order),
        "side": "Buy" if order.side > 0 else "Sell", "execTime": str(fill.ts_ms),
        "seq": fill.trade_id,
    }  # fmt: skip


def _count(params: dict[str, Any]) -> int:
    items = params.get("request")
    return len(items) if isinstance(items, list) else 1


class TradeSocket:
    """Answer orders that come over a socket; `routes` are those of REST, by operation."""

    def __init__(
        self,
        routes: dict[str, Route],
        quotas: dict[str, Rolling],
        door: Door,
        now_ms: Callable[[], int],
        wire: Callable[[], Wire],
        note: Callable[[str, Any, str], None],
    ) -> None:
        self._routes = routes
        self._quotas = quotas
        self._door = door
        self._now = now_ms
        self._wire = wire
        self._note = note
        self._seen: dict[str, None] = {}

    def message(self, session: Session, request: dict[str, Any]) -> None:
        """Answer auth, ping, order.*."""
        operation = str(request.get("op", ""))
        if operation == "auth":
            session.send(encode(self._auth(session, request)))
        elif operation == "ping":
            now = str(self._now())
            session.send(encode({"retCode": 0, "op": "pong", "data": [now],
                                 "connId": session.conn_id}))  # fmt: skip
        else:
            label = f"trade {operation}"
            self._wire().answer(
                session,
                label,
                lambda: self._run(session, operation, request),
                lambda reply: self._wrap(session, operation, request, reply),
                lambda outcome: self._note(label, _first(request), outcome),
            )

    def _auth(self, session: Session, request: dict[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {"retCode": 0, "retMsg": "OK", "op": "auth",
                               "connId": session.conn_id}  # fmt: skip
        if "reqId" in request:
            out["reqId"] = request["reqId"]
        try:
            if session.authed:
                raise RetError(20001, "Repeat auth")
            self._door.check(request.get("args"))
            session.authed = True
        except RetError as error:
            out |= {"retCode": error.code, "retMsg": error.msg}
        return out

    def _run(self, session: Session, operation: str, request: dict[str, Any]) -> Reply:
        now = self._now()
        headers: dict[str, str] = {}
        params: Any = {}
        try:
            route = self._routes.get(operation)
            if route is None:
                raise RetError(10404, "op type is not found")
            if not session.authed:
                raise RetError(10005, "Permission denied, please check your API key permissions.")
            self._fresh_id(str(request.get("reqId", "")))
            self._check_header(request, now)
            args = request.get("args")
            if not isinstance(args, list) or len(args) != 1 or not isinstance(args[0], dict):
                raise bad_parameter("args must hold one object")
            params = args[0]
            many = _count(params) if route.items else 1
            headers = spend(self._quotas[route.quota], now, max(1, many))
            answer = route.run(params)
            if not isinstance(answer, Answer):
                answer = Answer(answer)
            reply = json_reply(envelope(0, "OK", answer, now), headers=headers)
            outcome = "accepted"
        except RetError as error:
            body = envelope(error.code, error.msg, Answer({}), now)
            reply = json_reply(body, 200, headers or error.headers)
            outcome = str(error.code)
        self._note(f"trade {operation}", params, outcome)
        return reply

    def _fresh_id(self, number: str) -> None:
        if not number:
            return
        if len(number) > 36:
            raise bad_parameter("reqId is too long")
        if number in self._seen:
            raise RetError(20006, "reqId is duplicate")
        self._seen[number] = None
        if len(self._seen) > _REMEMBERED_IDS:
            del self._seen[next(iter(self._seen))]

    @staticmethod
    def _check_header(request: dict[str, Any], now: int) -> None:
        header = request.get("header")
        header = header if isinstance(header, dict) else {}
        stamp = str(header.get("X-BAPI-TIMESTAMP", ""))
        if not stamp.isdecimal():
            raise bad_parameter("X-BAPI-TIMESTAMP is required")
        check_window(int(stamp), str(header.get("X-BAPI-RECV-WINDOW", "5000")), now)

    def _wrap(self, session: Session, operation: str, request: dict[str, Any], reply: Reply) -> str:
        try:
            body = msgspec.json.decode(reply.body)
        except msgspec.DecodeError:  # the text of an HTTP error has no form on a socket
            body = {"retCode": 10016, "retMsg": "Internal server error"}
        return encode(
            {"reqId": request.get("reqId", ""), "retCode": body["retCode"],
             "retMsg": body["retMsg"], "op": operation, "data": body.get("result", {}),
             "retExtInfo": body.get("retExtInfo", {}),
             "header": {**reply.headers, "Traceid": session.conn_id,
                        "Timenow": str(self._now())},
             "connId": session.conn_id}
        )  # fmt: skip
