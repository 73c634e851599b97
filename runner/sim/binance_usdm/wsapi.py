"""The WebSocket API of Binance USD-M: orders and account over a socket.

A request is signed over its parameters sorted by name, `name=value` joined by `&`, the values as
they are, without the signature. Replies carry the state of the rate limits unless asked not to.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.sim.binance_errors import BAD_SIGNATURE, ApiError
from runner.sim.binance_public import Params
from runner.sim.binance_rest import Budget, Key, Security, check_window, sign
from runner.sim.binance_streams import encode
from runner.sim.wire import Reply, Session, Wire, json_reply

CONNECT_WEIGHT = 5


@dataclass(slots=True, frozen=True)
class Method:
    """A handler with its weight, security and orders counted."""

    run: Callable[[Params], Any]
    weight: int = 1
    security: Security = Security.SIGNED
    orders: int = 0


class WsApi:
    """Answer the requests of the trade sockets."""

    def __init__(
        self,
        methods: dict[str, Method],
        key: Key,
        budget: Budget,
        now_ms: Callable[[], int],
        wire: Callable[[], Wire],
        note: Callable[[str, Params, str], None],
    ) -> None:
        self._methods = methods
        self._key = key
        self._budget = budget
        self._now = now_ms
        self._wire = wire
        self._note = note

    def opened(self, session: Session) -> None:
        """A handshake costs weight."""
        self._budget.weight.add(self._now(), CONNECT_WEIGHT)

    def message(self, session: Session, text: str) -> None:
        """Answer one request."""
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            error = {"code": -1135, "msg": "Invalid JSON Request"}
            session.send(encode({"id": None, "status": 400, "error": error}))
            return
        method = request["method"]
        params = request.get("params")
        params = params if isinstance(params, dict) else {}
        show = params.get("returnRateLimits", True) is not False and (
            session.query.get("returnRateLimits", "true") != "false"
        )

        def wrap(reply: Reply) -> str:
            return self._wrap(request.get("id"), reply, show)

        def run() -> Reply:
            return self._run(method, params)

        label = f"trade {method}"

        def note(outcome: str) -> None:
            self._note(label, {key: _text(value) for key, value in params.items()}, outcome)

        self._wire().answer(session, label, run, wrap, note)

    def _run(self, name: str, raw: dict[str, Any]) -> Reply:
        now = self._now()
        params = {key: _text(value) for key, value in raw.items()}
        try:
            method = self._methods.get(name)
            if method is None:
                raise ApiError(-1130, "Unknown method: " + name[:40])
            self._budget.spend(now, method.weight, method.orders)
            if method.security is not Security.NONE:
                self._admit(params, now, method.security is Security.SIGNED)
            value = method.run(params)
            self._budget.count_orders(now, method.orders)
            reply = json_reply(value)
            outcome = "accepted"
        except ApiError as error:
            reply = error.reply()
            outcome = str(error.code)
        self._note(f"trade {name}", params, outcome)
        return reply

    def _admit(self, params: Params, now: int, signed: bool) -> None:
        key, given = params.get("apiKey", ""), params.get("signature", "")
        if not key:
            raise ApiError(-2014, "API-key format invalid.", 401)
        if not hmac.compare_digest(key.encode(), self._key.key.encode()):
            raise ApiError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if not signed:
            return
        check_window(params, now)
        payload = "&".join(f"{k}={v}" for k, v in sorted(params.items()) if k != "signature")
        if not hmac.compare_digest(sign(self._key.secret, payload), given.lower()):
            raise ApiError(*BAD_SIGNATURE)

    def _wrap(self, number: Any, reply: Reply, show: bool) -> str:
        name = "result" if reply.status == 200 else "error"
        out = {"id": number, "status": reply.status, name: msgspec.Raw(reply.body)}
        if show:
            out["rateLimits"] = self._rate_limits()
        return encode(out)

    def _rate_limits(self) -> list[dict[str, Any]]:
        now = self._now()
        weight = self._budget.weight
        out: list[dict[str, Any]] = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
             "limit": weight.limit, "count": weight.used(now)}
        ]  # fmt: skip
        for short, _, window in self._budget.orders:
            seconds = short.endswith("S")
            out.append(
                {"rateLimitType": "ORDERS", "interval": "SECOND" if seconds else "MINUTE",
                 "intervalNum": int(short[:-1]), "limit": window.limit,
                 "count": window.used(now)}
            )  # fmt: skip
        return out


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
