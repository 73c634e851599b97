"""Requests of Binance USD-M with their signatures: over REST, and on the WebSocket API.

The signature covers the parameters: in REST the query as it is sent, on the socket all parameters
sorted by name (binance-usdm.md, section 2). On the socket every order begins with
`apiKey=K&newClientOrderId=` once sorted, so the hash has taken that already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from runner.base.errors import ExchangeError
from runner.base.secret import Secret
from runner.engine.commands import Intent, OrderType, Tif
from runner.exchanges.api import HttpRequest, SocketRequest
from runner.exchanges.hmac_key import HmacKey
from runner.exchanges.wire import MS
from runner.market.instruments import Side

TIFS: Final[Mapping[Tif, str]] = {
    Tif.GTC: "GTC",
    Tif.IOC: "IOC",
    Tif.FOK: "FOK",
    Tif.POST_ONLY: "GTX",
}
WINDOW_MS: Final = 5_000


class Signer:
    """Makes the signed requests of one key."""

    __slots__ = ("_headers", "_key", "_rest", "_sign", "_sign_place")

    def __init__(self, key: Secret, secret: Secret, rest: str) -> None:
        self._key = key.reveal()
        self._rest = rest
        self._sign = HmacKey(secret)
        self._sign_place = self._sign.after(f"apiKey={self._key}&newClientOrderId=".encode())
        self._headers = {"X-MBX-APIKEY": self._key}

    def place_frame(self, intent: Intent, now_ms: int, request_id: str) -> SocketRequest:
        """Return order.place for the trade socket."""
        cid, qty, symbol, key = intent.cid, intent.qty_text, intent.symbol, self._key
        side = "BUY" if intent.side is Side.BUY else "SELL"
        window = intent.window_ns // MS
        if intent.type is OrderType.LIMIT:
            price, tif = intent.price_text, TIFS[intent.tif]
            if not price:
                raise ExchangeError(f"{cid}: a limit order without a price")
            signed = (
                f"{cid}&newOrderRespType=RESULT&price={price}&quantity={qty}&recvWindow={window}"
                f"{'&reduceOnly=true' if intent.reduce_only else ''}&side={side}&symbol={symbol}"
                f"&timeInForce={tif}&timestamp={now_ms}&type=LIMIT"
            )
            part = f'"type":"LIMIT","timeInForce":"{tif}","price":"{price}"'
        else:
            signed = (
                f"{cid}&newOrderRespType=RESULT&quantity={qty}&recvWindow={window}"
                f"{'&reduceOnly=true' if intent.reduce_only else ''}&side={side}&symbol={symbol}"
                f"&timestamp={now_ms}&type=MARKET"
            )
            part = '"type":"MARKET"'
        signature = self._sign_place.sign(signed.encode())
        reduce = ',"reduceOnly":"true"' if intent.reduce_only else ""
        frame = (
            f'{{"id":"{request_id}","method":"order.place","params":{{"apiKey":"{key}",'
            f'"newClientOrderId":"{cid}","newOrderRespType":"RESULT","symbol":"{symbol}",'
            f'"side":"{side}",{part},"quantity":"{qty}"{reduce},"recvWindow":{window},'
            f'"timestamp":{now_ms},"signature":"{signature}"}}}}'
        )
        return SocketRequest(request_id, frame.encode(), "order.place", True)

    def amend_frame(self, intent: Intent, now_ms: int, request_id: str) -> SocketRequest:
        """Return order.modify for the trade socket."""
        cid, window, side = intent.cid, intent.window_ns // MS, intent.side.upper()
        signed = (
            f"apiKey={self._key}&origClientOrderId={cid}&price={intent.price_text}"
            f"&quantity={intent.qty_text}&recvWindow={window}&side={side}&symbol={intent.symbol}"
            f"&timestamp={now_ms}"
        )
        frame = (
            f'{{"id":"{request_id}","method":"order.modify","params":{{"apiKey":"{self._key}",'
            f'"origClientOrderId":"{cid}","symbol":"{intent.symbol}","side":"{side}",'
            f'"price":"{intent.price_text}","quantity":"{intent.qty_text}","recvWindow":{window},'
            f'"timestamp":{now_ms},"signature":"{self._sign.sign(signed.encode())}"}}}}'
        )
        return SocketRequest(request_id, frame.encode(), "order.modify", True, True)

    def amend_http(self, intent: Intent, now_ms: int) -> HttpRequest:
        """Return PUT order; it takes price and quantity, both always."""
        query = (
            f"symbol={intent.symbol}&side={intent.side.upper()}&origClientOrderId={intent.cid}"
            f"&quantity={intent.qty_text}&price={intent.price_text}"
        )
        request = self._ordered("PUT", intent, query, now_ms)
        return replace(request, amends=True)

    def cancel_frame(self, symbol: str, cid: str, now_ms: int, request_id: str) -> SocketRequest:
        """Return order.cancel for the trade socket."""
        signed = (
            f"apiKey={self._key}&origClientOrderId={cid}&recvWindow={WINDOW_MS}&symbol={symbol}"
            f"&timestamp={now_ms}"
        )
        frame = (
            f'{{"id":"{request_id}","method":"order.cancel","params":{{"apiKey":"{self._key}",'
            f'"origClientOrderId":"{cid}","symbol":"{symbol}","recvWindow":{WINDOW_MS},'
            f'"timestamp":{now_ms},"signature":"{self._sign.sign(signed.encode())}"}}}}'
        )
        return SocketRequest(request_id, frame.encode(), "order.cancel")

    def place_http(self, intent: Intent, now_ms: int) -> HttpRequest:
        """Return POST order."""
        query = (
            f"symbol={intent.symbol}&side={intent.side.upper()}&type={intent.type.upper()}"
            f"{_limit_part(intent)}{'&reduceOnly=true' if intent.reduce_only else ''}"
            f"&quantity={intent.qty_text}&newClientOrderId={intent.cid}&newOrderRespType=RESULT"
        )
        return self._ordered("POST", intent, query, now_ms)

    def _ordered(self, method: str, intent: Intent, query: str, now_ms: int) -> HttpRequest:
        """Sign what places or changes an order: no weight, but it counts as an order."""
        return self.signed(
            method,
            "/fapi/v1/order",
            query,
            now_ms,
            window_ms=intent.window_ns // MS,
            weight=0,
            counts_order=True,
        )

    def signed(
        self,
        method: str,
        path: str,
        query: str,
        now_ms: int,
        *,
        window_ms: int = WINDOW_MS,
        weight: int = 1,
        counts_order: bool = False,
        base: str = "",
    ) -> HttpRequest:
        """Return a request whose signature is its last parameter."""
        query = f"{query}&" if query else ""
        query = f"{query}recvWindow={window_ms}&timestamp={now_ms}"
        query = f"{query}&signature={self._sign.sign(query.encode())}"
        return self.http(method, path, query, weight, counts_order, base)

    def http(
        self,
        method: str,
        path: str,
        query: str,
        weight: int = 1,
        counts_order: bool = False,
        base: str = "",
    ) -> HttpRequest:
        """Return a request that needs the key but no signature."""
        url = f"{base or self._rest}{path}" + (f"?{query}" if query else "")
        label = f"{method} {path}"
        return HttpRequest(method, url, self._headers, b"", label, weight, counts_order)


def _limit_part(intent: Intent) -> str:
    if intent.type is not OrderType.LIMIT:
        return ""
    if not intent.price_text:
        raise ExchangeError(f"{intent.cid}: a limit order without a price")
    return f"&timeInForce={TIFS[intent.tif]}&price={intent.price_text}"
