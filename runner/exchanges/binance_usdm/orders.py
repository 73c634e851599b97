"""Orders on Binance USD-M: requests made and signed, answers and user stream read.

Theory of operation. Place, amend and cancel go over the WebSocket API (`order_entry: websocket`) or
by REST; the rest is REST. HMAC keys sign each request, so no socket is logged in (see `sign`).

A place asks for RESULT: an answer that says how an IOC order ended saves the wait for the user
stream. Fills come from the stream alone, which has their trade ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from runner.base.errors import ExchangeError, FileError
from runner.engine.commands import OrderType
from runner.engine.events import Account, Event, External, Fill, OrderView
from runner.engine.proof import Journaled
from runner.exchanges.api import (
    BudgetRule,
    Credentials,
    Decoded,
    HttpRequest,
    Keepalive,
    MarketBinding,
    Outcome,
    Request,
    SocketKind,
    SocketSpec,
)
from runner.exchanges.binance_usdm import algo, answers, wire
from runner.exchanges.binance_usdm.market import ENDPOINTS
from runner.exchanges.binance_usdm.settings import Settings
from runner.exchanges.binance_usdm.sign import Signer
from runner.exchanges.binance_usdm.user import UserStream, forced_by
from runner.exchanges.endpoints import resolve
from runner.exchanges.pending import Names, Pending
from runner.exchanges.wire import FOREIGN, MS, lots, parse

BUDGETS: Final = (
    BudgetRule("orders_10s", 300, 10_000_000_000),
    BudgetRule("orders_1m", 1200, 60_000_000_000),
    BudgetRule("weight_1m", 2400, 60_000_000_000),
)
KEEPALIVE: Final = Keepalive(every_ns=15_000_000_000, silence_ns=45_000_000_000)
_LEFT_OUT: Final = frozenset(("TRADE_LITE", "STRATEGY_UPDATE", "GRID_UPDATE"))
_SYMBOL: Final = re.compile(r"[A-Z0-9_]{2,32}")
_PAGE: Final = 1000


class BinanceUsdmOrders(Settings):
    """See `runner.exchanges.api.OrderCodec`."""

    budgets = BUDGETS

    def __init__(
        self,
        network: str,
        bindings: Sequence[MarketBinding],
        credentials: Credentials,
        urls: Mapping[str, str],
        order_entry: str,
        exchange: str,
        prefix: str,
    ) -> None:
        for binding in bindings:
            if not _SYMBOL.fullmatch(binding.symbol):
                raise FileError(f"binance_usdm: {binding.symbol!r} cannot be a symbol")
        signer = Signer(credentials.key, credentials.secret, urls["rest"])
        super().__init__(network, urls, signer)
        self._exchange = exchange
        self._by_symbol = {binding.symbol: binding for binding in bindings}
        self._socket_entry = order_entry == "websocket" and "trade" in urls
        self._algos = algo.Algos(self._by_symbol, prefix)
        self._stream = UserStream(exchange, self._by_symbol, prefix, self._algos)
        self._pending = Pending()
        self._names = Names()
        self._peek = msgspec.json.Decoder(wire.Peek, strict=False)
        self._reply = msgspec.json.Decoder(wire.Reply, strict=False)

    # -- sockets

    def private_sockets(self, listen_key: str | None) -> list[SocketSpec]:
        """Return the user stream (with a listen key) and the trade socket."""
        markets = tuple(binding.market for binding in self._by_symbol.values())
        specs = []
        if listen_key is not None:
            url = f"{self._urls['private']}/ws?listenKey={listen_key}"
            specs.append(SocketSpec("private", url, SocketKind.PRIVATE, (), KEEPALIVE, markets))
        if self._socket_entry:
            url = self._urls["trade"]
            specs.append(SocketSpec("trade", url, SocketKind.TRADE, (), KEEPALIVE, markets))
        return specs

    def listen_key(self, renew: str | None = None) -> HttpRequest | None:
        """Return the request for a listen key, or for keeping one (valid 60 min)."""
        return self._signer.http("PUT" if renew else "POST", "/fapi/v1/listenKey", "")

    def parse_listen_key(self, body: bytes) -> str:
        """Return the listen key."""
        return parse(body, wire.ListenKey, "binance_usdm listenKey").listenKey

    def login(self, socket: str, now_ms: int) -> tuple[bytes, ...]:
        """Return nothing: HMAC keys sign each request."""
        return ()

    def after_login(self, socket: str) -> tuple[bytes, ...]:
        """Return nothing: the URL names what is wanted."""
        return ()

    # -- orders

    def place(self, order: Journaled, now_ms: int, request_id: str) -> Request:
        """Return the signed request that places an order."""
        intent = order.intent
        if intent.type is OrderType.STOP or intent.type is OrderType.TARGET:
            return algo.place_http(self._signer, intent, now_ms)
        if self._socket_entry:
            self._pending.add(request_id, "place", intent.cid)
            return self._signer.place_frame(intent, now_ms, request_id)
        return self._signer.place_http(intent, now_ms)

    def amend(self, order: Journaled, now_ms: int, request_id: str) -> Request:
        """Return the signed request that changes a resting order's price and whole quantity."""
        intent = order.intent
        if not self._socket_entry:
            return self._signer.amend_http(intent, now_ms)
        self._pending.add(request_id, "amend", intent.cid)
        return self._signer.amend_frame(intent, now_ms, request_id)

    def cancel(
        self, symbol: str, cid: str, now_ms: int, request_id: str, protective: bool = False
    ) -> Request:
        """Return the signed request that cancels an order by its client id."""
        if protective:
            return self._signer.signed("DELETE", algo.PATH, f"clientAlgoId={cid}", now_ms)
        if not self._socket_entry:
            query = f"symbol={symbol}&origClientOrderId={cid}"
            return self._signer.signed("DELETE", "/fapi/v1/order", query, now_ms)
        self._pending.add(request_id, "cancel", cid)
        return self._signer.cancel_frame(symbol, cid, now_ms, request_id)

    def cancel_all(self, symbol: str, now_ms: int, request_id: str) -> Request:
        """Return the request that cancels all plain orders of a symbol (algo orders stay)."""
        return self._signer.signed("DELETE", "/fapi/v1/allOpenOrders", f"symbol={symbol}", now_ms)

    def query(
        self, symbol: str, cid: str, now_ms: int, protective: bool = False
    ) -> list[HttpRequest]:
        """Return the request that shows an order, open or closed; of a stop two.

        The second asks about the ordinary order that a stop became, which the first one names.
        """
        if protective:
            actual = self._algos.actual(cid)
            name = f"orderId={actual}" if actual else f"origClientOrderId={cid}"
            return [
                self._signer.signed("GET", algo.PATH, f"clientAlgoId={cid}", now_ms),
                self._signer.signed("GET", "/fapi/v1/order", f"symbol={symbol}&{name}", now_ms),
            ]
        query = f"symbol={symbol}&origClientOrderId={cid}"
        return [self._signer.signed("GET", "/fapi/v1/order", query, now_ms)]

    def parse_query(self, cid: str, status: int, body: bytes) -> tuple[Outcome, OrderView | None]:
        """Return (ACCEPTED, view), (REJECTED, None) for "does not exist", else (UNKNOWN, None)."""
        if status != 200:
            gone = answers.failure_of(status, body).code == -2013
            return (Outcome.REJECTED if gone else Outcome.UNKNOWN), None
        if algo.is_algo(body):
            return self._read_stop(cid, body)
        order = answers.read_order(body)
        if order is None or cid not in (order.clientOrderId, self._algos.cid(str(order.orderId))):
            return Outcome.UNKNOWN, None
        try:
            return Outcome.ACCEPTED, self._view(order)
        except ExchangeError:
            return Outcome.UNKNOWN, None

    def _read_stop(self, cid: str, body: bytes) -> tuple[Outcome, OrderView | None]:
        """Read the answer to a query of a stop; REJECTED sends on to its ordinary order."""
        stop = algo.read_algo(body)
        if stop is None or stop.clientAlgoId != cid:
            return Outcome.UNKNOWN, None
        try:
            view = self._algos.view(stop)
        except ExchangeError:
            return Outcome.UNKNOWN, None
        return (Outcome.REJECTED if view is None else Outcome.ACCEPTED), view

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
        if status == 200:
            if operation == "cancel_all":
                failure = answers.failure_of(status, body)
                return (Outcome.UNKNOWN if failure.code else Outcome.ACCEPTED), []
            order = answers.read_order(body)
            if order is not None:
                return Outcome.ACCEPTED, self._success(operation, cid, order, t, wall)
            stop = algo.read_algo(body)
            if stop is not None and operation == "cancel":
                return Outcome.ACCEPTED, self._algos.cancelled(cid, t, wall)
            if stop is not None and stop.clientAlgoId == cid:
                return Outcome.ACCEPTED, self._algos.placed(stop, t, wall)
        return self._refused(operation, cid, status, answers.failure_of(status, body), t, wall)

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
        """Decode one frame of the user stream or the trade socket. Never raises."""
        data = frame if type(frame) is bytes else bytes(frame)
        try:
            peek = self._peek.decode(data)
            if peek.e:
                self._event(peek.e, data, t, wall, out)
            elif peek.status:
                self._answer(data, t, wall, out)
            else:
                out.unrecognised += 1
        except (*FOREIGN, ExchangeError):
            out.unrecognised += 1

    def _event(self, name: str, data: bytes, t: int, wall: int, out: Decoded) -> None:
        if name == "ORDER_TRADE_UPDATE":
            self._names.learn(*self._stream.order(data, t, wall, out))
        elif name == "ALGO_UPDATE":
            out.events.extend(self._algos.update(data, t, wall))
        elif name == "ACCOUNT_UPDATE":
            out.events.extend(self._stream.account(data, t, wall))
        elif name == "ACCOUNT_CONFIG_UPDATE":
            out.events.extend(self._stream.config(data, t, wall))
        elif name == "listenKeyExpired":
            out.notices.append("listen_key_expired")
        elif name == "MARGIN_CALL":
            out.notices.append("margin_call")
        elif name == "serverShutdown":
            out.notices.append("closing")
        elif name not in _LEFT_OUT:
            out.unrecognised += 1
        for held in self._algos.released(t):
            self._stream.order(held, t, wall, out, held=True)

    def _answer(self, data: bytes, t: int, wall: int, out: Decoded) -> None:
        reply = self._reply.decode(data)
        out.budgets.extend(answers.rate_limits(reply.rateLimits))
        if reply.id is None:
            text = reply.error.msg if reply.error else ""
            out.notices.append(f"refused {reply.status} {text}".rstrip())
            return
        operation, cid = self._pending.take(str(reply.id))
        order = answers.read_order(bytes(reply.result))
        if reply.status == 200 and order is not None:
            verdict = Outcome.ACCEPTED
            events = self._success(operation, cid, order, t, wall)
        else:
            failure = reply.error or wire.Failure()
            verdict, events = self._refused(operation, cid, reply.status, failure, t, wall)
        out.replies.append((str(reply.id), verdict, events))

    def _success(
        self, operation: str, cid: str, order: wire.Order, t: int, wall: int
    ) -> list[Event]:
        cid = cid or order.clientOrderId
        self._names.learn(str(order.orderId), cid)
        binding = self._by_symbol.get(order.symbol)
        return answers.success(operation, cid, order, binding, t, wall)

    def _refused(
        self, operation: str, cid: str, status: int, failure: wire.Failure, t: int, wall: int
    ) -> tuple[Outcome, list[Event]]:
        outcome = Outcome.UNKNOWN if status == 200 else answers.verdict(status, failure)
        return outcome, answers.refusal(operation, cid, outcome, status, failure, t, wall)

    # -- reading the account

    def open_orders(self, now_ms: int) -> list[HttpRequest]:
        """Return requests for each bound symbol (all at once weighs 40): orders, then stops."""
        plain = self._of_each("/fapi/v1/openOrders", self._by_symbol, now_ms, 1)
        return plain + self._of_each("/fapi/v1/openAlgoOrders", self._by_symbol, now_ms, 1)

    def more_open_orders(self, body: bytes, now_ms: int) -> HttpRequest | None:
        """Return None: an answer holds all of them."""

    def parse_open_orders(self, body: bytes) -> list[OrderView]:
        """Return open orders or stops, ours and others'; ExchangeError on nonsense."""
        if algo.is_algo(body):
            stops = parse(body, list[wire.Algo], "binance_usdm openAlgoOrders")
            return [view for view in map(self._algos.view, stops) if view is not None]
        orders = parse(body, list[wire.Order], "binance_usdm openOrders")
        return [self._view(order) for order in orders]

    def recent_orders(
        self, symbol: str, since_ms: int, now_ms: int, until_ms: int = 0
    ) -> HttpRequest | None:
        """Return the request for all orders since a time: userTrades needs their client ids."""
        until = f"&endTime={until_ms}" if until_ms else ""
        query = f"symbol={symbol}&startTime={since_ms}{until}&limit={_PAGE}"
        return self._signer.signed("GET", "/fapi/v1/allOrders", query, now_ms, weight=5)

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> HttpRequest:
        """Return the request for own trades since a time (0: the last ones; at most 7 days)."""
        since = f"&startTime={since_ms}&limit={_PAGE}" if since_ms else ""
        return self._signer.signed(
            "GET", "/fapi/v1/userTrades", f"symbol={symbol}{since}", now_ms, weight=5
        )

    def more_fills(
        self, symbol: str, since_ms: int, body: bytes, now_ms: int
    ) -> HttpRequest | None:
        """Return the request for the trades from the last one on (oldest first, 1,000 a page)."""
        rows = parse(body, list[wire.UserTrade], "binance_usdm userTrades")
        if not since_ms or len(rows) < _PAGE:
            return None
        last = rows[-1].time
        return self.fills(symbol, last if last > rows[0].time else last + 1, now_ms)

    def parse_fills(self, body: bytes) -> list[Fill]:
        """Return fills; `cid` is "" where the order's client id was never learnt (see `learn`)."""
        fills = []
        for row in parse(body, list[wire.UserTrade], "binance_usdm userTrades"):
            binding = self._by_symbol.get(row.symbol)
            if binding is not None:
                fills.append(
                    Fill(cid=self._cid(str(row.orderId)), trade_id=str(row.id),
                         lots=lots(binding.instrument, row.qty), price=row.price,
                         fee=row.commission, fee_asset=row.commissionAsset, maker=row.maker,
                         ts=row.time * MS, source="history")
                )  # fmt: skip
        return fills

    def parse_forced(self, body: bytes) -> list[External]:
        """Return liquidations, ADL and settlements among the trades (funding is none)."""
        forced = []
        for row in parse(body, list[wire.UserTrade], "binance_usdm userTrades"):
            what, binding = forced_by(self._cid(str(row.orderId))), self._by_symbol.get(row.symbol)
            if what is not None and binding is not None:
                size = lots(binding.instrument, row.qty)
                forced.append(
                    External(exchange=self._exchange, what=what, market=binding.market,
                             lots=size if row.side == "BUY" else -size, price=row.price,
                             amount=-row.commission, asset=row.commissionAsset, id=str(row.id),
                             ts=row.time * MS)
                )  # fmt: skip
        return forced

    def account(self, now_ms: int) -> list[HttpRequest]:
        """Return the requests for balances, and for the position of each bound symbol."""
        risks = [
            self._signer.signed(
                "GET", "/fapi/v3/positionRisk", f"symbol={symbol}", now_ms, weight=5
            )
            for symbol in self._by_symbol
        ]
        return [self._signer.signed("GET", "/fapi/v3/account", "", now_ms, weight=5), *risks]

    def parse_account(self, bodies: Sequence[bytes], t: int, wall: int) -> Account:
        """Return the whole account; ExchangeError on nonsense."""
        return answers.account(bodies, self._exchange, self._stream, t, wall)

    def dead_man(self, symbol: str, ms: int, now_ms: int) -> HttpRequest | None:
        """Return the request that starts a symbol's countdown anew, or ends it (0)."""
        query = f"symbol={symbol}&countdownTime={ms}"
        path = "/fapi/v1/countdownCancelAll"
        return self._signer.signed("POST", path, query, now_ms, weight=10)

    def learn(self, exchange_id: str, cid: str) -> None:
        """Tell which client id an order id belongs to."""
        self._names.learn(exchange_id, cid)

    def budgets_from(self, headers: Mapping[str, str]) -> list[tuple[str, int, int, int]]:
        """Read the used budgets from an answer's headers."""
        return answers.budgets(headers)

    def _of_each(
        self, path: str, symbols: Iterable[str], now_ms: int, weight: int
    ) -> list[HttpRequest]:
        """Ask the same of each symbol."""
        return [
            self._signer.signed("GET", path, f"symbol={symbol}", now_ms, weight=weight)
            for symbol in symbols
        ]

    def _cid(self, order_id: str) -> str:
        """Return the client id of an order; that of the stop it comes from, if it does."""
        return self._algos.cid(order_id) or self._names.cid(order_id)

    def _view(self, order: wire.Order) -> OrderView:
        self._names.learn(str(order.orderId), order.clientOrderId)
        view = answers.view(order, self._by_symbol.get(order.symbol))
        stop = self._algos.cid(str(order.orderId))
        return msgspec.structs.replace(view, cid=stop) if stop else view


def order_codec(
    network: str,
    bindings: Sequence[MarketBinding],
    credentials: Credentials,
    endpoints: Mapping[str, str] | None,
    order_entry: str,
    exchange: str,
    prefix: str,
) -> BinanceUsdmOrders:
    """Return the codec; FileError for a network or endpoint that is not allowed."""
    urls = resolve("binance_usdm", ENDPOINTS, network, endpoints)
    if "private" not in urls:
        raise FileError("binance_usdm: `endpoints` lacks private")
    return BinanceUsdmOrders(network, bindings, credentials, urls, order_entry, exchange, prefix)
