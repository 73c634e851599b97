"""The door of Bybit's REST: routes, headers, windows, signatures, quotas, the envelope.

Signed text: timestamp + key + recvWindow + the raw query (GET) or the exact body (POST). Business
errors come as HTTP 200 with a retCode.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from runner.sim.binance_rest import Key
from runner.sim.bybit.errors import RetError, bad_parameter
from runner.sim.bybit.market import Params
from runner.sim.faults import Fault
from runner.sim.limits import Rolling
from runner.sim.wire import Call, Reply, json_reply

IP_PER_5S = 600
IP_PAUSE_MS = 600_000


@dataclass(slots=True)
class Answer:
    """What a handler returns: the result and, for batches, the codes of its items."""

    result: Any
    info: Any = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Route:
    """A handler, whether it is signed, and the quota it counts on (`items`: per order)."""

    run: Callable[[Params], Answer | Any]
    signed: bool = False
    quota: str = ""
    items: bool = False


def hmac_hex(secret: str, text: str) -> str:
    """Return the HMAC-SHA256 in lower-case hexadecimal digits."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class BybitRest:
    """Answer requests by a table of routes; `quotas` are shared with the trade socket."""

    def __init__(
        self,
        routes: dict[tuple[str, str], Route],
        key: Key,
        quotas: dict[str, Rolling],
        now_ms: Callable[[], int],
        note: Callable[[str, Params, str], None],
        limit_factor: int = 1,
    ) -> None:
        self._note = note
        self._routes = routes
        self._key = key
        self._quotas = quotas
        self._now = now_ms
        self._ip = Rolling(IP_PER_5S * limit_factor, 5000)
        self._shut_until = 0

    def answer(self, call: Call) -> Reply:
        """Answer one request."""
        now = self._now()
        if now < self._shut_until or not self._ip.take(now):
            self._shut_until = max(self._shut_until, now + IP_PAUSE_MS)
            return Reply(403, b"access too frequent")
        headers: dict[str, str] = {}
        params: Params = {}
        outcome = "accepted"
        try:
            route = self._routes.get((call.method, call.path))
            if route is None:
                return Reply(404, b"404 page not found")
            params = params_of(call)
            if route.signed:
                self._admit(call, now)
            headers = self._spend(route, params, now)
            answer = route.run(params)
            if not isinstance(answer, Answer):
                answer = Answer(answer)
            reply = json_reply(envelope(0, "OK", answer, now), headers=headers)
        except RetError as error:
            body = envelope(error.code, error.msg, Answer({}), now)
            reply = json_reply(body, error.status, headers or error.headers)
            outcome = str(error.code)
        self._note(call.label, params, outcome)
        return reply

    def _spend(self, route: Route, params: Params, now: int) -> dict[str, str]:
        if not route.quota:
            return {}
        items = params.get("request") if route.items else None
        many = len(items) if isinstance(items, list) else 1
        return spend(self._quotas[route.quota], now, max(1, many))

    def _admit(self, call: Call, now: int) -> None:
        head = call.headers
        key, given = head.get("X-BAPI-API-KEY", ""), head.get("X-BAPI-SIGN", "")
        stamp = head.get("X-BAPI-TIMESTAMP", "")
        window = head.get("X-BAPI-RECV-WINDOW", "")
        if not stamp.isdecimal():
            raise bad_parameter("X-BAPI-TIMESTAMP is required")
        check_window(int(stamp), window or "5000", now)
        if not hmac.compare_digest(key.encode(), self._key.key.encode()):
            raise RetError(10003, "API key is invalid.")
        payload = call.query if call.method == "GET" else call.body.decode("utf-8", "replace")
        text = stamp + key + window + payload
        if not hmac.compare_digest(hmac_hex(self._key.secret, text), given):
            raise RetError(10004, "error sign! please check your signature generation algorithm.")

    def fault_reply(self, fault: Fault) -> Reply:
        """Build the answer of a fault."""
        args, now = fault.spec.args, self._now()
        match fault.spec.name:
            case "429":
                headers = {"X-Bapi-Limit": "10", "X-Bapi-Limit-Status": "0"}
                retry = now + int(1000 * fault.number("retry_after", 1))
                headers["X-Bapi-Limit-Reset-Timestamp"] = str(retry)
                return json_reply(
                    envelope(10006, "Too many visits!", Answer({}), now), headers=headers
                )
            case "418":
                return Reply(403, b"access too frequent")
            case "reject":
                code = int(args.get("code", 110007))
                text = str(args.get("msg", "rejected"))
                return json_reply(envelope(code, text, Answer({}), now))
            case _:
                status = int(args.get("status", 503))
                if "code" in args:
                    text = str(args.get("msg", "server error"))
                    return json_reply(envelope(int(args["code"]), text, Answer({}), now), 200)
                return Reply(status, b"Service Unavailable")


def check_window(stamp: int, window: str, now: int) -> None:
    """Refuse a request outside its window: 10002."""
    if not window.isdecimal():
        raise bad_parameter("recv_window is invalid")
    if not now - int(window) <= stamp < now + 1000:
        raise RetError(
            10002,
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{stamp}],server_timestamp[{now}],recv_window[{window}]",
        )


def spend(quota: Rolling, now: int, many: int) -> dict[str, str]:
    """Count on a quota and return its headers; 10006 when it is used up."""
    taken = quota.take(now, many)
    headers = {
        "X-Bapi-Limit": str(quota.limit),
        "X-Bapi-Limit-Status": str(max(0, quota.left(now))),
        "X-Bapi-Limit-Reset-Timestamp": str(now if taken else quota.resets_ms(now)),
    }
    if not taken:
        text = "Too many visits. Exceeded the API Rate Limit."
        raise RetError(10006, text, headers=headers)
    return headers


def params_of(call: Call) -> Mapping[str, Any]:
    """Read the parameters of a request: 10001 when it cannot be read."""
    if call.method == "GET":
        return dict(parse_qsl(call.query, keep_blank_values=True))
    try:
        params = msgspec.json.decode(call.body or b"{}")
    except msgspec.DecodeError:
        raise bad_parameter("body is not JSON") from None
    if not isinstance(params, dict):
        raise bad_parameter("body is not an object")
    return params


def envelope(code: int, msg: str, answer: Answer, now: int) -> dict[str, Any]:
    """Wrap a result."""
    return {"retCode": code, "retMsg": msg, "result": answer.result,
            "retExtInfo": answer.info, "time": now}  # fmt: skip
