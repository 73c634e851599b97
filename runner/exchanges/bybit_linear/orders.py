"""Orders on Bybit linear: requests made and signed, answers and private pushes read.

Theory of operation. The trade socket is logged in once; place, amend and cancel go over it
(`order_entry: websocket`, not on demo, which has none), the rest is REST (see `sign`).

An answer to a place means accepted, not more: how the order fared comes on the private socket.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

import msgspec

from runner.base.errors import ExchangeError, FileError
from runner.engine.events import Account, Event, External, Fill, OrderView
from runner.engine.proof import Journaled
from runner.exchanges.api import (
    BudgetRule,
    Credentials,
    Decoded,
    HttpRequest,
    MarketBinding,
    Outcome,
    Request,
    SocketKind,
    SocketSpec,
)
from runner.exchanges.bybit_linear import answers, private, wire
from runner.exchanges.bybit_linear.errors import NO_ORDER
from runner.exchanges.bybit_linear.market import ENDPOINTS, PING
from runner.exchanges.bybit_linear.settings import Settings
from runner.exchanges.bybit_linear.sign import (
    WINDOW_MS,
    Signer,
    amend_text,
    order_text,
    socket_request,
)
from runner.exchanges.endpoints import resolve
from runner.exchanges.pending import Pending
from runner.exchanges.wire import FOREIGN, MS, header_int, number

SECOND: Final = 1_000_000_000
BUDGETS: Final = (
    BudgetRule("order_create", 10, SECOND, rolling=True),
    BudgetRule("order_amend", 10, SECOND, rolling=True),
    BudgetRule("order_cancel", 10, SECOND, rolling=True),
    BudgetRule("http_5s", 600, 5 * SECOND, rolling=True),
)
_OPERATIONS: Final[Mapping[str, str]] = {
    "order.create": "order_create",
    "order.amend": "order_amend",
    "order.cancel": "order_cancel",
}
_NAMED: Final = {"order.create": "place", "order.amend": "amend", "order.cancel": "cancel"}
_SYMBOL: Final = re.compile(r"[A-Z0-9-]{2,32}")
_PAGE: Final = 100
_OPEN_PAGE: Final = 50
_TOPICS: Final = (
    b'{"req_id":"subscribe","op":"subscribe","args":["order","execution","position","wallet"]}'
)


class BybitLinearOrders(Settings):
    """See `runner.exchanges.api.OrderCodec`."""

    budgets = BUDGETS

    def __init__(
        self,
        bindings: Sequence[MarketBinding],
        credentials: Credentials,
        urls: Mapping[str, str],
        order_entry: str,
        exchange: str,
        prefix: str,
    ) -> None:
        for binding in bindings:
            if not _SYMBOL.fullmatch(binding.symbol):
                raise FileError(f"bybit_linear: {binding.symbol!r} cannot be a symbol")
        by_symbol = {binding.symbol: binding for binding in bindings}
        super().__init__(Signer(credentials.key, credentials.secret, urls["rest"]), by_symbol)
        self._urls = urls
        self._socket_entry = order_entry == "websocket" and "trade" in urls
        self._reader = answers.Reader(exchange, self._by_symbol, prefix)
        self._pending = Pending()
        self._peek = msgspec.json.Decoder(private.Peek, strict=False)
        self._reply = msgspec.json.Decoder(private.Reply, strict=False)
        self._orders = msgspec.json.Decoder(private.Push[private.Order], strict=False)
        self._executions = msgspec.json.Decoder(private.Push[private.Execution], strict=False)
        self._positions = msgspec.json.Decoder(private.Push[private.PositionRow], strict=False)
        self._wallets = msgspec.json.Decoder(private.Push[private.Wallet], strict=False)

    # -- sockets

    def private_sockets(self, listen_key: str | None) -> list[SocketSpec]:
        """Return the private socket and the trade socket; both need a login."""
        markets = tuple(binding.market for binding in self._by_symbol.values())
        specs = [
            SocketSpec(
                "private", self._urls["private"], SocketKind.PRIVATE, (), PING, markets, True
            )
        ]
        if self._socket_entry:
            url = self._urls["trade"]
            specs.append(SocketSpec("trade", url, SocketKind.TRADE, (), PING, markets, True))
        return specs

    def listen_key(self, renew: str | None = None) -> HttpRequest | None:
        """Return None: Bybit's private socket is logged in instead."""
        return None

    def parse_listen_key(self, body: bytes) -> str:
        """Refuse: there is none."""
        raise ExchangeError("bybit_linear has no listen keys")

    def login(self, socket: str, now_ms: int) -> tuple[bytes, ...]:
        """Return the frame that logs a private or trade socket in."""
        return (self._signer.login(socket, now_ms),)

    def after_login(self, socket: str) -> tuple[bytes, ...]:
        """Return the subscriptions of the private socket."""
        return () if socket == "trade" else (_TOPICS,)

    # -- orders

    def place(self, order: Journaled, now_ms: int, request_id: str) -> Request:
        """Return the request that places an order."""
        intent = order.intent
        body = order_text(intent)
        window = intent.window_ns // MS
        if not self._socket_entry:
            return self._signer.post("/v5/order/create", body, now_ms, window, counts_order=True)
        self._pending.add(request_id, "place", intent.cid)
        return socket_request("order.create", body, now_ms, window, request_id, True)

    def amend(self, order: Journaled, now_ms: int, request_id: str) -> Request:
        """Return the request that changes a resting order's price and whole quantity."""
        intent = order.intent
        body, window = amend_text(intent), intent.window_ns // MS
        if not self._socket_entry:
            request = self._signer.post("/v5/order/amend", body, now_ms, window)
            return replace(request, amends=True)
        self._pending.add(request_id, "amend", intent.cid)
        frame = socket_request("order.amend", body, now_ms, window, request_id, False)
        return replace(frame, amends=True)

    def cancel(
        self, symbol: str, cid: str, now_ms: int, request_id: str, protective: bool = False
    ) -> Request:
        """Return the request that cancels an order by its client id, a stop like any other."""
        body = f'{{"category":"linear","symbol":"{symbol}","orderLinkId":"{cid}"}}'
        if not self._socket_entry:
            return self._signer.post("/v5/order/cancel", body, now_ms)
        self._pending.add(request_id, "cancel", cid)
        return socket_request("order.cancel", body, now_ms, WINDOW_MS, request_id, False)

    def cancel_all(self, symbol: str, now_ms: int, request_id: str) -> Request:
        """Return the request that cancels all plain orders of a symbol.

        `orderFilter` keeps conditional orders, which protect positions (R-77).
        """
        body = f'{{"category":"linear","symbol":"{symbol}","orderFilter":"Order"}}'
        return self._signer.post("/v5/order/cancel-all", body, now_ms)

    def query(
        self, symbol: str, cid: str, now_ms: int, protective: bool = False
    ) -> list[HttpRequest]:
        """Return the requests to ask in turn: live and recent orders, then the history."""
        query = f"category=linear&orderLinkId={cid}&symbol={symbol}"
        return [
            self._signer.get("/v5/order/realtime", query, now_ms),
            self._signer.get("/v5/order/history", query, now_ms),
        ]

    def parse_query(self, cid: str, status: int, body: bytes) -> tuple[Outcome, OrderView | None]:
        """Return (ACCEPTED, view), (REJECTED, None) for "not listed here", else (UNKNOWN, None)."""
        failed = answers.failure_of(body)
        if status != 200 or failed is None:
            return Outcome.UNKNOWN, None
        if failed.retCode:
            gone = failed.retCode in NO_ORDER
            return (Outcome.REJECTED if gone else Outcome.UNKNOWN), None
        try:
            rows = answers.result(body, wire.Listing[private.Order], "order").rows
            for row in rows:
                if row.orderLinkId == cid:
                    return Outcome.ACCEPTED, self._reader.view(row)
        except ExchangeError:
            return Outcome.UNKNOWN, None
        return (Outcome.UNKNOWN if rows else Outcome.REJECTED), None

    def reply(
        self,
        cid: str,
        operation: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        t: int,
        wall: int,
    ) -> tuple[Outcome, list[Event]]:
        """Judge an HTTP answer to place, cancel or cancel_all."""
        failed = answers.failure_of(body)
        outcome = answers.verdict(status, failed.retCode if failed else None, operation)
        placed = private.Placed()
        if outcome is Outcome.ACCEPTED and operation != "cancel_all":
            try:
                placed = answers.result(body, private.Placed, operation)
            except ExchangeError:
                outcome = Outcome.UNKNOWN
        code = str(failed.retCode) if failed and failed.retCode else f"http {status}"
        text = failed.retMsg if failed else body[:200].decode("utf-8", "replace")
        return outcome, answers.events(operation, cid, outcome, code, text, placed, t, wall)

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
        """Decode one frame of the private or the trade socket. Never raises."""
        data = frame if type(frame) is bytes else bytes(frame)
        try:
            peek = self._peek.decode(data)
            if peek.topic:
                self._push(peek.topic, data, t, wall, out)
            elif peek.op in _OPERATIONS:
                self._answer(data, t, wall, out)
            else:
                self._control(peek, out)
        except (*FOREIGN, ExchangeError):
            out.unrecognised += 1

    def _push(self, topic: str, data: bytes, t: int, wall: int, out: Decoded) -> None:
        kind = topic.partition(".")[0]
        reader = self._reader
        if kind == "order":
            for order in self._orders.decode(data).data:
                out.events.extend(reader.order(order, t, wall))
                out.unrecognised += not answers.is_known(order)
        elif topic in ("execution", "execution.linear"):
            for execution in self._executions.decode(data).data:
                out.events.extend(reader.execution(execution, t, wall))
                out.unrecognised += not answers.is_known(execution)
        elif kind == "position":
            rows = self._positions.decode(data).data
            out.events.append(reader.account((), rows, False, t, wall))
        elif kind == "wallet":
            wallets = self._wallets.decode(data).data
            out.events.append(reader.account(wallets, (), False, t, wall))
        else:
            out.unrecognised += 1

    def _answer(self, data: bytes, t: int, wall: int, out: Decoded) -> None:
        reply = self._reply.decode(data)
        header = reply.header
        if header is not None and header.limit:
            used = header.limit - header.left
            out.budgets.append((_OPERATIONS[reply.op], used, header.limit, header.reset * MS))
        operation, cid = self._pending.take(reply.reqId)
        placed = answers.placed_in(bytes(reply.data))
        cid = cid or placed.orderLinkId
        operation = operation or _NAMED[reply.op]
        outcome = answers.verdict(200, reply.retCode, operation)
        code = str(reply.retCode)
        events = answers.events(operation, cid, outcome, code, reply.retMsg, placed, t, wall)
        out.replies.append((reply.reqId, outcome, events))

    def _control(self, peek: private.Peek, out: Decoded) -> None:
        failed = peek.success is False or peek.retCode != 0
        text = peek.ret_msg or peek.retMsg
        if peek.op == "auth":
            out.notices.append(f"login_failed {peek.retCode} {text}" if failed else "login_ok")
        elif peek.op == "subscribe":
            out.notices.append(f"refused {text}" if failed else "subscribed")
        elif failed:
            out.notices.append(f"refused {peek.retCode} {text}")
        elif peek.op not in ("ping", "pong"):
            out.unrecognised += 1

    # -- reading the account

    def open_orders(self, now_ms: int) -> list[HttpRequest]:
        """Return one request for each bound symbol."""
        return [self._open_of(symbol, now_ms) for symbol in self._by_symbol]

    def more_open_orders(self, body: bytes, now_ms: int) -> HttpRequest | None:
        """Return the request for what comes after a full page (50 at most)."""
        page = answers.result(body, wire.Listing[private.Order], "order/realtime")
        if len(page.rows) < _OPEN_PAGE or not page.nextPageCursor:
            return None
        return self._open_of(page.rows[-1].symbol, now_ms, page.nextPageCursor)

    def _open_of(self, symbol: str, now_ms: int, cursor: str = "") -> HttpRequest:
        query = f"category=linear&symbol={symbol}&limit={_OPEN_PAGE}"
        if cursor:
            query += f"&cursor={quote(cursor, safe='%')}"  # it comes encoded
        return self._signer.get("/v5/order/realtime", query, now_ms)

    def parse_open_orders(self, body: bytes) -> list[OrderView]:
        """Return open orders, ours and others'; ExchangeError on nonsense."""
        rows = answers.result(body, wire.Listing[private.Order], "order/realtime").rows
        views = [self._reader.view(row) for row in rows]
        return [view for view in views if view.status in ("open", "partial")]

    def recent_orders(
        self, symbol: str, since_ms: int, now_ms: int, until_ms: int = 0
    ) -> HttpRequest | None:
        """Return None: executions name the client id themselves."""
        return None

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> HttpRequest:
        """Return the request for own executions since a time (0: the last ones; 7 days)."""
        since = f"&startTime={since_ms}&limit={_PAGE}" if since_ms else ""
        return self._signer.get(
            "/v5/execution/list", f"category=linear&symbol={symbol}{since}", now_ms
        )

    def more_fills(
        self, symbol: str, since_ms: int, body: bytes, now_ms: int
    ) -> HttpRequest | None:
        """Return the request for what lies before the last row (newest first, 100 a page)."""
        rows = answers.result(body, wire.Listing[private.Execution], "execution/list").rows
        if not since_ms or len(rows) < _PAGE:
            return None
        until = rows[-1].execTime
        if until == rows[0].execTime:
            until -= 1
        query = f"category=linear&symbol={symbol}&startTime={since_ms}&endTime={until}"
        return self._signer.get("/v5/execution/list", f"{query}&limit={_PAGE}", now_ms)

    def parse_fills(self, body: bytes) -> list[Fill]:
        """Return the fills among the executions; funding and liquidations are none."""
        rows = answers.result(body, wire.Listing[private.Execution], "execution/list").rows
        return [
            self._reader.fill(row, self._by_symbol[row.symbol], "history", 0, 0)
            for row in rows
            if row.symbol in self._by_symbol and row.execType == "Trade"
        ]

    def parse_forced(self, body: bytes) -> list[External]:
        """Return liquidations, ADL, settlements and funding among the executions."""
        rows = answers.result(body, wire.Listing[private.Execution], "execution/list").rows
        return [
            event
            for row in rows
            if answers.is_forced(row)
            for event in self._reader.execution(row, 0, 0)
            if isinstance(event, External)
        ]

    def account(self, now_ms: int) -> list[HttpRequest]:
        """Return the requests for the wallet, and for the position of each bound symbol."""
        return [
            self._signer.get("/v5/account/wallet-balance", "accountType=UNIFIED", now_ms),
            *self._position_lists(self._by_symbol, now_ms),
        ]

    def parse_account(self, bodies: Sequence[bytes], t: int, wall: int) -> Account:
        """Return the whole account; ExchangeError on nonsense."""
        if not bodies:
            raise ExchangeError("bybit_linear account: no answer")
        wallets = answers.result(bodies[0], wire.Listing[private.Wallet], "wallet-balance").rows
        rows = [
            row
            for body in bodies[1:]
            for row in answers.result(body, wire.Listing[private.PositionRow], "position").rows
            if number(row.size)
        ]
        return self._reader.account(wallets, rows, True, t, wall)

    def dead_man(self, symbol: str, ms: int, now_ms: int) -> HttpRequest | None:
        """Return None: an ordinary account has no such switch (E0512)."""

    def learn(self, exchange_id: str, cid: str) -> None:
        """Do nothing: Bybit's executions name the client id."""

    def budgets_from(self, headers: Mapping[str, str]) -> list[tuple[str, int, int, int]]:
        """Read the counter of the answered endpoint; which one it was the caller knows."""
        limit = header_int(headers, "X-Bapi-Limit")
        left = header_int(headers, "X-Bapi-Limit-Status")
        reset = header_int(headers, "X-Bapi-Limit-Reset-Timestamp")
        if limit is None or left is None:
            return []
        return [("endpoint", limit - left, limit, (reset or 0) * MS)]


def order_codec(
    network: str,
    bindings: Sequence[MarketBinding],
    credentials: Credentials,
    endpoints: Mapping[str, str] | None,
    order_entry: str,
    exchange: str,
    prefix: str,
) -> BybitLinearOrders:
    """Return the codec; FileError for a network or endpoint that is not allowed."""
    urls = resolve("bybit_linear", ENDPOINTS, network, endpoints)
    if "private" not in urls:
        raise FileError("bybit_linear: `endpoints` lacks private")
    return BybitLinearOrders(bindings, credentials, urls, order_entry, exchange, prefix)
