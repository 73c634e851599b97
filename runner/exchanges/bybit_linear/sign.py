"""Requests of Bybit with their signatures: REST headers, logins, frames of the trade socket.

REST signs time + key + window + (query | body) into headers; the trade socket is logged in once and
its requests carry time and window but no signature (bybit.md, sections 2 and 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from runner.base.errors import ExchangeError
from runner.base.secret import Secret
from runner.engine.commands import Intent, OrderType, Tif, Trigger
from runner.exchanges.api import HttpRequest, SocketRequest
from runner.exchanges.hmac_key import HmacKey
from runner.market.instruments import Side

TIFS: Final[Mapping[Tif, str]] = {
    Tif.GTC: "GTC",
    Tif.IOC: "IOC",
    Tif.FOK: "FOK",
    Tif.POST_ONLY: "PostOnly",
}
WINDOW_MS: Final = 5_000
_LOGIN_MS: Final = 10_000


class Signer:
    """Makes the signed requests of one key."""

    __slots__ = ("_key", "_rest", "_sign")

    def __init__(self, key: Secret, secret: Secret, rest: str) -> None:
        self._key = key.reveal()
        self._rest = rest
        self._sign = HmacKey(secret)

    def login(self, socket: str, now_ms: int) -> bytes:
        """Return the frame that logs a private or trade socket in."""
        expires = now_ms + _LOGIN_MS
        signature = self._sign.sign(f"GET/realtime{expires}".encode())
        name = "reqId" if socket == "trade" else "req_id"
        frame = f'{{"{name}":"login","op":"auth","args":["{self._key}",{expires},"{signature}"]}}'
        return frame.encode()

    def get(self, path: str, query: str, now_ms: int) -> HttpRequest:
        """Return a signed GET."""
        url = f"{self._rest}{path}" + (f"?{query}" if query else "")
        headers = self._headers(query, now_ms, WINDOW_MS)
        return HttpRequest("GET", url, headers, label=f"GET {path}")

    def post(
        self,
        path: str,
        body: str,
        now_ms: int,
        window_ms: int = WINDOW_MS,
        counts_order: bool = False,
    ) -> HttpRequest:
        """Return a signed POST of a JSON text."""
        headers = self._headers(body, now_ms, window_ms)
        url = f"{self._rest}{path}"
        return HttpRequest("POST", url, headers, body.encode(), f"POST {path}", 1, counts_order)

    def _headers(self, text: str, now_ms: int, window_ms: int) -> dict[str, str]:
        signed = f"{now_ms}{self._key}{window_ms}{text}"
        return {
            "Content-Type": "application/json",
            "X-BAPI-API-KEY": self._key,
            "X-BAPI-TIMESTAMP": str(now_ms),
            "X-BAPI-RECV-WINDOW": str(window_ms),
            "X-BAPI-SIGN": self._sign.sign(signed.encode()),
        }


def order_text(intent: Intent) -> str:
    """Return the JSON text of an order, for REST and for the socket alike."""
    side = "Buy" if intent.side is Side.BUY else "Sell"
    reduce = ',"reduceOnly":true' if intent.reduce_only else ""
    if intent.type is not OrderType.LIMIT:
        trigger = _trigger(intent) if intent.type is not OrderType.MARKET else ""
        return (
            f'{{"category":"linear","symbol":"{intent.symbol}","side":"{side}",'
            f'"orderType":"Market","qty":"{intent.qty_text}","orderLinkId":"{intent.cid}"'
            f"{reduce}{trigger}}}"
        )
    if not intent.price_text:
        raise ExchangeError(f"{intent.cid}: a limit order without a price")
    return (
        f'{{"category":"linear","symbol":"{intent.symbol}","side":"{side}","orderType":"Limit",'
        f'"qty":"{intent.qty_text}","price":"{intent.price_text}",'
        f'"timeInForce":"{TIFS[intent.tif]}","orderLinkId":"{intent.cid}"{reduce}}}'
    )


def amend_text(intent: Intent) -> str:
    """Return the JSON text of a change: whole quantity and price."""
    return (
        f'{{"category":"linear","symbol":"{intent.symbol}","orderLinkId":"{intent.cid}",'
        f'"qty":"{intent.qty_text}","price":"{intent.price_text}"}}'
    )


def _trigger(intent: Intent) -> str:
    """Return what makes an order conditional; direction 1 waits for a rise, 2 for a fall."""
    if not intent.trigger_text:
        raise ExchangeError(f"{intent.cid}: a {intent.type} without a trigger price")
    direction = 1 if intent.rising else 2
    by = "MarkPrice" if intent.trigger is Trigger.MARK else "LastPrice"
    return (
        f',"triggerPrice":"{intent.trigger_text}","triggerDirection":{direction},"triggerBy":"{by}"'
    )


def socket_request(
    op: str, body: str, now_ms: int, window_ms: int, request_id: str, counts_order: bool
) -> SocketRequest:
    """Return a request for the trade socket around a JSON text."""
    frame = (
        f'{{"reqId":"{request_id}","header":{{"X-BAPI-TIMESTAMP":"{now_ms}",'
        f'"X-BAPI-RECV-WINDOW":"{window_ms}"}},"op":"{op}","args":[{body}]}}'
    )
    return SocketRequest(request_id, frame.encode(), op, counts_order)
