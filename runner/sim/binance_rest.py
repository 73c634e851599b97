"""The door of Binance's REST: routes, weights, keys, windows, signatures.

A signature covers the query string followed at once by the body, exactly as they came, without
the signature itself, which stands last. Spot and USD-M differ only in their tables.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from runner.sim.binance_errors import (
    BAD_SIGNATURE,
    TOO_EARLY,
    TOO_LATE,
    ApiError,
    missing,
)
from runner.sim.binance_public import Params
from runner.sim.faults import Fault
from runner.sim.limits import Ban, Window
from runner.sim.wire import Call, Reply, json_reply

MAX_RECV_WINDOW = 60_000


class Security(enum.Enum):
    """What a route asks of its caller."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


@dataclass(slots=True, frozen=True)
class Route:
    """A handler with its weight and security; `orders` count on the order windows."""

    run: Callable[[Params], Any]
    weight: int | Callable[[Params], int] = 1
    security: Security = Security.NONE
    orders: int = 0

    def cost(self, params: Params) -> int:
        """Return the weight of this request."""
        return self.weight if isinstance(self.weight, int) else self.weight(params)


@dataclass(slots=True)
class Budget:
    """The windows of one address and account."""

    weight: Window
    orders: tuple[tuple[str, str, Window], ...] = ()
    ban: Ban = field(default_factory=Ban)

    def spend(self, now: int, cost: int, orders: int) -> None:
        """Count a request or raise -1003, -1015."""
        if self.ban.banned(now):
            until = self.ban.until_ms
            text = f"Way too many requests; IP(127.0.0.1) banned until {until}."
            raise ApiError(-1003, text, 418, -(-(until - now) // 1000))
        if self.weight.full(now, cost):
            if self.ban.ignore(now):
                self.spend(now, cost, orders)
            text = (
                f"Too many requests; current limit of IP(127.0.0.1) is {self.weight.limit} "
                "requests per minute. Please use the websocket for live updates to avoid "
                "polling the API."
            )
            raise ApiError(-1003, text, 429, self.weight.retry_s(now))
        for _, words, window in self.orders:
            if orders and window.full(now, orders):
                text = f"Too many new orders; current limit is {window.limit} orders per {words}."
                raise ApiError(-1015, text, 429, window.retry_s(now))
        self.weight.add(now, cost)

    def count_orders(self, now: int, orders: int) -> None:
        """Count accepted orders."""
        for _, _, window in self.orders:
            window.add(now, orders)

    def headers(self, now: int, orders: bool) -> dict[str, str]:
        """Write the counters as headers."""
        out = {"X-MBX-USED-WEIGHT-1M": str(self.weight.used(now))}
        if orders:
            for name, _, window in self.orders:
                out[f"X-MBX-ORDER-COUNT-{name}"] = str(window.used(now))
        return out


@dataclass(slots=True, frozen=True)
class Key:
    """A key pair of the run."""

    key: str
    secret: str


class BinanceRest:
    """Answer requests by a table of routes."""

    def __init__(
        self,
        routes: dict[tuple[str, str], Route],
        key: Key | None,
        budget: Budget,
        now_ms: Callable[[], int],
        note: Callable[[str, Params, str], None] = lambda label, params, outcome: None,
    ) -> None:
        self._note = note
        self._routes = routes
        self._key = key
        self.budget = budget
        self._now = now_ms

    def answer(self, call: Call) -> Reply:
        """Answer one request."""
        now = self._now()
        orders = False
        params: Params = {}
        outcome = "accepted"
        try:
            route = self._routes.get((call.method, call.path))
            if route is None:
                raise ApiError(-5000, f"Path {call.path}, Method {call.method} is invalid", 404)
            orders = route.orders > 0
            params = params_of(call)
            self.budget.spend(now, route.cost(params), route.orders)
            self._admit(route, call, params, now)
            value = route.run(params)
            if orders:
                many = len(value) if isinstance(value, list) else route.orders
                self.budget.count_orders(now, many)
            reply = json_reply(value)
        except ApiError as error:
            reply = error.reply()
            outcome = str(error.code)
        self._note(call.label, params, outcome)
        reply.headers.update(self.budget.headers(now, orders))
        return reply

    def _admit(self, route: Route, call: Call, params: Params, now: int) -> None:
        if route.security is Security.NONE or self._key is None:
            return
        key = call.headers.get("X-MBX-APIKEY")
        if not key:
            raise ApiError(-2014, "API-key format invalid.", 401)
        if not hmac.compare_digest(key.encode(), self._key.key.encode()):
            raise ApiError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if route.security is Security.SIGNED:
            check_window(params, now)
            self._check_signature(call)

    def _check_signature(self, call: Call) -> None:
        assert self._key is not None
        body = call.body.decode("utf-8", "replace")
        in_body = "signature=" in body
        signed_part, given = _cut(body if in_body else call.query)
        payload = call.query + signed_part if in_body else signed_part + body
        if not given:
            raise missing("signature")
        if not hmac.compare_digest(sign(self._key.secret, payload), given.lower()):
            raise ApiError(*BAD_SIGNATURE)

    def fault_reply(self, fault: Fault) -> Reply:
        """Build the answer of a fault."""
        args = fault.spec.args
        retry = int(fault.number("retry_after", 1))
        match fault.spec.name:
            case "429":
                text = "Too many requests; please use the websocket for live updates."
                return ApiError(-1003, text, 429, retry).reply()
            case "418":
                now = self._now()
                self.budget.ban.until_ms = now + 1000 * retry
                text = f"Way too many requests; IP(127.0.0.1) banned until {now + 1000 * retry}."
                return ApiError(-1003, text, 418, retry).reply()
            case "reject":
                code = int(args.get("code", -2010))
                text = str(args.get("msg", "Order rejected."))
                return ApiError(code, text, int(args.get("status", 400))).reply()
            case _:
                text = "Unknown error, please check your request or try again later."
                value = {"code": int(args.get("code", -1000)), "msg": args.get("msg", text)}
                return json_reply(value, int(args.get("status", 503)))


def params_of(call: Call) -> Params:
    """Merge query and body, the query wins: -1101 when a name comes twice in the query."""
    body = parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True)
    query = parse_qsl(call.query, keep_blank_values=True)
    if len({name for name, _ in query}) < len(query):
        raise ApiError(-1101, "Duplicate values for a parameter detected.")
    return {**dict(body), **dict(query)}


def _cut(text: str) -> tuple[str, str]:
    """Split the signature off the end of a parameter string; empty when it is not last."""
    head, mark, given = text.rpartition("signature=")
    if not mark or "&" in given or (head and not head.endswith("&")):
        return text, ""
    return head[:-1], given


def sign(secret: str, payload: str) -> str:
    """Return the HMAC-SHA256 in lower-case hexadecimal digits."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def check_window(params: Params, now: int) -> None:
    """Refuse a request outside its window: -1102, -1131, -1021."""
    stamp, window = params.get("timestamp", ""), params.get("recvWindow", "5000")
    if not stamp.isdecimal():
        raise missing("timestamp")
    try:
        allowed = float(window)
    except ValueError:
        raise missing("recvWindow") from None
    if allowed > MAX_RECV_WINDOW:
        raise ApiError(-1131, "recvWindow must be less than 60000.")
    if int(stamp) >= now + 1000:
        raise ApiError(*TOO_EARLY)
    if now - int(stamp) > allowed:
        raise ApiError(*TOO_LATE)
