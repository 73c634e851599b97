"""No request, however wrong, makes the simulator raise: it answers with an error."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from runner.base.rng import seeded
from runner.sim.wire import Call
from tests.sim.sim_client import Quiet, binance_call, bybit_call

NASTY = ["", "0", "-1", "1e9", "NaN", "Infinity", "9" * 40, "٣", "²", "true", "null", "[]", "{}",
         "[1]", "[null]", '["a"]', "BTCUSDT", "BUY", "Buy", "LIMIT", "Limit", "GTC", "linear",
         "0.002", "59000.1", "a", "x" * 300, "\0", "é", "%zz", "1m", "1", "5",
         "UNIFIED"]  # fmt: skip
NAMES = ["symbol", "side", "type", "timeInForce", "quantity", "price", "newClientOrderId",
         "reduceOnly", "orderId", "origClientOrderId", "batchOrders", "orderIdList", "limit",
         "fromId", "startTime", "endTime", "leverage", "marginType", "countdownTime", "interval",
         "recvWindow", "dualSidePosition", "selfTradePreventionMode", "newOrderRespType",
         "category", "qty", "orderType", "orderLinkId", "positionIdx", "request", "cursor",
         "settleCoin", "openOnly", "accountType", "buyLeverage", "sellLeverage", "mode", "smpType",
         "setMarginMode", "start", "end", "coin", "baseCoin"]  # fmt: skip
JSON_NASTY: list[Any] = [*NASTY, None, 0, -1, 1.5, True, [], {}, [None], [{}], [[]], {"a": 1}]


def _params(rng: Random, values: list[Any], good: dict[str, Any]) -> dict[str, Any]:
    """Mix right parameters with wrong ones."""
    chosen = {name: value for name, value in good.items() if rng.random() < 0.7}
    for name in rng.sample(NAMES, rng.randint(0, 4)):
        chosen[name] = rng.choice(values)
    return chosen


@pytest.mark.parametrize("part", range(4))
def test_binance_answers_whatever_is_asked(part: int) -> None:
    quiet, rng = Quiet(), seeded("sim-hostile", "binance", part)
    exchange = quiet.sim.exchanges["binance_usdm"]
    good = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
            "quantity": "0.002", "price": "59000.1", "interval": "1m"}  # fmt: skip
    routes = sorted(exchange._rest._routes)  # type: ignore[attr-defined]
    for number in range(600):
        method, path = routes[number % len(routes)]
        call = binance_call(quiet.sim, method, path, **_params(rng, NASTY, good))
        reply = exchange.rest(call)
        json.loads(reply.body)
        assert reply.status < 500
        quiet.clock.advance(2_000_000_000)


@pytest.mark.parametrize("part", range(4))
def test_bybit_answers_whatever_is_asked(part: int) -> None:
    quiet, rng = Quiet(), seeded("sim-hostile", "bybit", part)
    exchange = quiet.sim.exchanges["bybit_linear"]
    good = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit",
            "qty": "0.002", "price": "59000.1", "interval": "1", "accountType": "UNIFIED",
            "request": [{"symbol": "BTCUSDT", "orderId": "x"}]}  # fmt: skip
    routes = sorted(exchange._rest._routes)  # type: ignore[attr-defined]
    for number in range(600):
        method, path = routes[number % len(routes)]
        values = NASTY if method == "GET" else JSON_NASTY
        call = bybit_call(quiet.sim, method, path, **_params(rng, values, good))
        reply = exchange.rest(call)
        assert "retCode" in json.loads(reply.body) and reply.status == 200
        quiet.clock.advance(1_000_000_000)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"signature=", b"a=%ff&b"])
def test_a_body_that_cannot_be_read_is_an_error(body: bytes) -> None:
    quiet = Quiet()
    for name, path in (("binance_usdm", "/fapi/v1/order"), ("bybit_linear", "/v5/order/create")):
        for signed in (True, False):
            make = binance_call if name == "binance_usdm" else bybit_call
            call = make(quiet.sim, "POST", path)
            headers = call.headers if signed else {}
            reply = quiet.sim.exchanges[name].rest(Call("POST", path, call.query, headers, body))
            answer = json.loads(reply.body)
            assert answer.get("code", answer.get("retCode")) != 0
