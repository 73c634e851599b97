"""The dialect binance_usdm: exact codes, streams that agree, user data, limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.sim.wire import Call
from tests.sim.sim_client import (
    MARKET,
    Quiet,
    Wired,
    binance_call,
    hear,
    mac,
    order,
    resting,
    wired,
)

PATH = "/fapi/v1/order"


@pytest.fixture(scope="module")
def shared() -> Quiet:
    """A simulation for requests that are refused and so leave nothing behind."""
    return Quiet()


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        (-1102, {"symbol": None}),
        (-1121, {"symbol": "NOSUCH"}),
        (-1102, {"side": None}),
        (-1117, {"side": "LONG"}),
        (-1102, {"type": None}),
        (-1116, {"type": "ICEBERG"}),
        (-4120, {"type": "STOP_MARKET"}),
        (-1102, {"timeInForce": None}),
        (-1115, {"timeInForce": "DAY"}),
        (-1102, {"quantity": None}),
        (-1102, {"price": None}),
        (-1100, {"quantity": "1e-3"}),
        (-1111, {"quantity": "0.0021"}),
        (-4003, {"quantity": "0"}),
        (-4005, {"quantity": "1001"}),
        (-1111, {"price": "59000.123"}),
        (-4014, {"price": "59000.15"}),
        (-4013, {"price": "0"}),
        (-4016, {"price": "70000"}),
        (-4024, {"side": "SELL", "price": "50000"}),
        (-4164, {"quantity": "0.001"}),
        (-4015, {"newClientOrderId": "x" * 37}),
        (-1100, {"newClientOrderId": "a b"}),
        (-4061, {"positionSide": "LONG"}),
        (-1130, {"reduceOnly": "maybe"}),
        (-2022, {"reduceOnly": "true"}),
        (-2019, {"quantity": "20"}),
        (-5022, {"timeInForce": "GTX", "price": "61000"}),
        (-5021, {"timeInForce": "FOK"}),
        (-1106, {"type": "MARKET"}),
    ],
)
def test_an_order_is_refused_with_the_exchange_s_code(
    shared: Quiet, code: int, changes: dict[str, Any]
) -> None:
    quiet = shared
    params = order(quiet.usdm, "a", **changes)
    assert quiet.binance("POST", PATH, **params)["code"] == code
    assert quiet.usdm.orders == {}


def test_a_price_or_quantity_off_the_step_but_within_the_decimals_has_its_own_code() -> None:
    quiet = Quiet()
    sol = {"symbol": "SOLUSDT", "quantity": "1", "price": "140.0050"}
    assert quiet.binance("POST", PATH, **order(quiet.usdm, "a", **sol))["code"] == -4014


@pytest.mark.parametrize(
    ("code", "status", "spoil"),
    [
        (-1022, 400, lambda call: Call("GET", call.path, call.query[:-1] + "0", call.headers, b"")),
        (-1022, 400, lambda call: Call("GET", call.path, "a=1&" + call.query, call.headers, b"")),
        (-1102, 400, lambda call: Call("GET", call.path, call.query + "&a=1", call.headers, b"")),
        (-2014, 401, lambda call: Call("GET", call.path, call.query, {}, b"")),
        (-2015, 401, lambda call: Call("GET", call.path, call.query, {"X-MBX-APIKEY": "x"}, b"")),
        (-1101, 400, lambda call: Call("GET", call.path, "symbol=A&" + call.query, call.headers,
                                       b"")),
        (-5000, 404, lambda call: Call("GET", "/fapi/v1/nothing", call.query, call.headers, b"")),
    ],
)  # fmt: skip
def test_what_is_not_signed_over_the_very_bytes_is_refused(
    shared: Quiet, code: int, status: int, spoil: Any
) -> None:
    quiet = shared
    call = spoil(binance_call(quiet.sim, "GET", "/fapi/v1/openOrders", symbol="BTCUSDT"))
    if code == -1022 and call.query.endswith("00"):
        call = Call("GET", call.path, call.query[:-1] + "1", call.headers, b"")
    reply = quiet.sim.exchanges["binance_usdm"].rest(call)
    assert (json.loads(reply.body)["code"], reply.status) == (code, status)


@pytest.mark.parametrize(
    ("ahead", "window", "code"),
    [(1000, "5000", -1021), (999, "5000", 0), (-5000, "5000", 0), (-5001, "5000", -1021),
     (-1, "60001", -1131), (-100, "50", -1021)],
)  # fmt: skip
def test_the_window_has_the_exchange_s_edges(
    shared: Quiet, ahead: int, window: str, code: int
) -> None:
    quiet = shared
    key = quiet.sim.exchanges["binance_usdm"].key  # type: ignore[attr-defined]
    query = f"recvWindow={window}&timestamp={quiet.sim.now_ms() + ahead}"
    query += "&signature=" + mac(key.secret, query)
    call = Call("GET", "/fapi/v3/balance", query, {"X-MBX-APIKEY": key.key}, b"")
    body = json.loads(quiet.sim.exchanges["binance_usdm"].rest(call).body)
    assert (body["code"] if isinstance(body, dict) else 0) == code


def test_unknown_orders_have_a_code_for_each_operation() -> None:
    quiet = Quiet()
    named = {"symbol": "BTCUSDT", "origClientOrderId": "never"}
    assert quiet.binance("GET", PATH, **named)["code"] == -2013
    assert quiet.binance("DELETE", PATH, **named)["code"] == -2011
    assert quiet.binance("GET", PATH, symbol="BTCUSDT")["code"] == -1102
    change = {"side": "BUY", "quantity": "0.002", "price": resting(quiet.usdm)}
    assert quiet.binance("PUT", PATH, **named, **change)["code"] == -2013


def test_the_order_window_refuses_the_301st_order_of_ten_seconds() -> None:
    quiet = Quiet()
    price = resting(quiet.usdm)
    for number in range(300):
        params = order(quiet.usdm, f"n{number}", price=price)
        assert "orderId" in quiet.binance("POST", PATH, **params)
        quiet.binance("DELETE", PATH, symbol="BTCUSDT", origClientOrderId=f"n{number}")
    call = binance_call(quiet.sim, "POST", PATH, **order(quiet.usdm, "over", price=price))
    reply = quiet.sim.exchanges["binance_usdm"].rest(call)
    assert (reply.status, json.loads(reply.body)["code"]) == (429, -1015)
    assert reply.headers["X-MBX-ORDER-COUNT-10S"] == "300"
    assert 1 <= int(reply.headers["Retry-After"]) <= 10
    quiet.pass_ms(10_000)
    assert "orderId" in quiet.binance("POST", PATH, **order(quiet.usdm, "later", price=price))


def test_weight_over_the_limit_is_429_and_who_goes_on_is_banned_longer_each_time() -> None:
    quiet = Quiet()
    exchange = quiet.sim.exchanges["binance_usdm"]
    depth = Call("GET", "/fapi/v1/depth", "symbol=BTCUSDT&limit=1000", {}, b"")

    def until(status: int) -> Any:
        for _ in range(300):
            reply = exchange.rest(depth)
            if reply.status == status:
                return reply
        raise AssertionError(f"never {status}")

    assert until(429).headers["X-MBX-USED-WEIGHT-1M"] == "2400"
    first = int(until(418).headers["Retry-After"])
    quiet.clock.advance((first + 61) * 1_000_000_000)
    assert exchange.rest(depth).status == 200
    second = int(until(418).headers["Retry-After"])
    assert (first, second) == (120, 240)


def test_a_market_order_acknowledged_only_shows_no_fill_and_result_does() -> None:
    quiet = Quiet()
    ack = quiet.binance("POST", PATH, **order(quiet.usdm, "a", **MARKET))
    assert (ack["status"], ack["executedQty"]) == ("NEW", "0.000")
    done = order(quiet.usdm, "b", **MARKET, newOrderRespType="RESULT")
    result = quiet.binance("POST", PATH, **done)
    assert (result["status"], result["executedQty"]) == ("FILLED", "0.002")
    assert float(result["avgPrice"]) == pytest.approx(quiet.price("binance_usdm"), rel=1e-3)


def test_a_batch_answers_for_each_item_by_its_place() -> None:
    quiet = Quiet()
    good, bad = order(quiet.usdm, "a"), order(quiet.usdm, "b", quantity="0.001")
    text = json.dumps([good, bad, order(quiet.usdm, "a")])
    out = quiet.binance("POST", "/fapi/v1/batchOrders", batchOrders=text)
    assert (out[0]["clientOrderId"], out[1]["code"], out[2]["code"]) == ("a", -4164, -4116)
    names = json.dumps(["a", "b"])
    ended = quiet.binance("DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT",
                          origClientOrderIdList=names)  # fmt: skip
    assert (ended[0]["status"], ended[1]["code"]) == ("CANCELED", -2011)


def test_the_dead_man_cancels_a_symbol_that_nobody_keeps() -> None:
    quiet = Quiet()
    quiet.binance("POST", PATH, **order(quiet.usdm, "a"))
    path = "/fapi/v1/countdownCancelAll"
    quiet.binance("POST", path, symbol="BTCUSDT", countdownTime=500)
    quiet.pass_ms(400)
    quiet.binance("POST", path, symbol="BTCUSDT", countdownTime=500)
    quiet.pass_ms(400)
    assert len(quiet.usdm.open) == 1
    quiet.pass_ms(150)
    assert len(quiet.usdm.open) == 0


def test_settings_that_are_so_already_answer_with_their_codes() -> None:
    quiet = Quiet()
    ask = quiet.binance
    assert ask("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="CROSSED")["code"] == (
        -4046
    )
    assert ask("POST", "/fapi/v1/positionSide/dual", dualSidePosition="false")["code"] == -4059
    assert ask("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=126)["code"] == -4028
    assert ask("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=2)["leverage"] == 2
    assert ask("GET", "/fapi/v1/commissionRate", symbol="BTCUSDT")["takerCommissionRate"] == (
        "0.000500"
    )


def test_snapshot_differences_and_top_tell_the_same_book() -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket(
            "binance_usdm", "public", "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"
        )
        first = await hear(socket)
        while first["stream"] != "btcusdt@depth@100ms":
            first = await hear(socket)
        events = [first["data"]]
        _, snap, _ = await w.binance("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
        sides = {"b": dict(snap["bids"]), "a": dict(snap["asks"])}
        last, tops = None, 0
        while tops < 4:
            message = events.pop() if events else (await hear(socket))
            data = message.get("data", message)
            if data["e"] == "bookTicker":
                if last == data["u"]:
                    best = max(sides["b"], key=float), min(sides["a"], key=float)
                    assert best == (data["b"], data["a"])
                    assert (sides["b"][best[0]], sides["a"][best[1]]) == (data["B"], data["A"])
                    tops += 1
                continue
            if data["u"] < snap["lastUpdateId"]:
                continue
            if last is None:
                assert (
                    data["U"] <= snap["lastUpdateId"] <= data["u"]
                    or data["pu"] == (snap["lastUpdateId"])
                )
            else:
                assert data["pu"] == last
            last = data["u"]
            for name, side in sides.items():
                for price, qty in data[name]:
                    side[price] = qty
                    if float(qty) == 0:
                        del side[price]
            assert max(map(float, sides["b"])) < min(map(float, sides["a"]))
        await socket.close()

    wired(test)


def test_a_snapshot_asked_for_at_once_falls_into_the_first_event() -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket("binance_usdm", "public", "/ws")
        names = ["ethusdt@depth@500ms"]
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
        await hear(socket)
        _, snapshot, _ = await w.binance("GET", "/fapi/v1/depth", symbol="ETHUSDT", limit=5)
        first = await hear(socket)
        assert first["U"] <= snapshot["lastUpdateId"] <= first["u"]
        assert first["pu"] == first["U"] - 1
        await socket.close()

    wired(test)


def test_a_stream_on_the_wrong_socket_is_acknowledged_and_silent() -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket("binance_usdm", "market", "/ws")
        names = ["btcusdt@bookTicker", "btcusdt@markPrice@1s"]
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 3}))
        assert await hear(socket) == {"result": None, "id": 3}
        assert (await hear(socket))["e"] == "markPriceUpdate"
        await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 4}))
        assert await hear(socket) == {"result": sorted(names), "id": 4}
        await socket.close()

    wired(test)


def test_more_than_ten_messages_a_second_cost_the_connection() -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket("binance_usdm", "public", "/ws")
        for number in range(12):
            await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        await socket.wait_closed()
        assert socket.close_code == 1008

    wired(test)


async def _listen(w: Wired) -> Any:
    _, value, _ = await w.binance("POST", "/fapi/v1/listenKey")
    return await w.socket("binance_usdm", "private", f"/ws?listenKey={value['listenKey']}")


def test_the_private_socket_tells_orders_fills_and_the_account() -> None:
    async def test(w: Wired) -> None:
        socket = await _listen(w)
        venue = w.sim.exchanges["binance_usdm"].venue
        await w.binance("POST", PATH, **order(venue, "m", **MARKET))
        events = [await hear(socket) for _ in range(4)]
        assert [e["e"] for e in events] == [
            "ORDER_TRADE_UPDATE", "TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE",
        ]  # fmt: skip
        new, lite, trade, account = events
        assert (new["o"]["x"], new["o"]["X"]) == ("NEW", "NEW")
        assert (trade["o"]["x"], trade["o"]["X"], trade["o"]["z"]) == ("TRADE", "FILLED", "0.002")
        assert lite["t"] == trade["o"]["t"]
        paid = float(trade["o"]["L"]) * 0.002 * 0.0005
        assert float(trade["o"]["n"]) == pytest.approx(paid)
        assert account["a"]["P"][0]["pa"] == "0.002"
        assert float(account["a"]["B"][0]["wb"]) == pytest.approx(10_000 - paid)
        await socket.close()

    wired(test)


def test_an_unknown_listen_key_is_not_served() -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket("binance_usdm", "private", "/ws?listenKey=nonsense")
        await socket.wait_closed()
        assert socket.close_code == 1008

    wired(test)


def test_a_listen_key_lives_an_hour_unless_kept() -> None:
    quiet = Quiet()
    first = quiet.binance("POST", "/fapi/v1/listenKey")["listenKey"]
    assert quiet.binance("POST", "/fapi/v1/listenKey")["listenKey"] == first
    quiet.clock.advance(59 * 60 * 1_000_000_000)
    assert quiet.binance("PUT", "/fapi/v1/listenKey") == {"listenKey": first}
    quiet.clock.advance(61 * 60 * 1_000_000_000)
    assert quiet.binance("PUT", "/fapi/v1/listenKey")["code"] == -1125
    assert quiet.binance("POST", "/fapi/v1/listenKey")["listenKey"] != first


def _api(w: Wired, method: str, **params: Any) -> str:
    key = w.sim.exchanges["binance_usdm"].key  # type: ignore[attr-defined]
    signed = params | {"apiKey": key.key, "timestamp": w.sim.now_ms()}
    text = "&".join(f"{k}={v}" for k, v in sorted(signed.items()))
    signed["signature"] = mac(key.secret, text)
    return json.dumps({"id": f"i-{method}", "method": method, "params": signed})


def test_the_websocket_api_places_queries_cancels_and_counts() -> None:
    async def test(w: Wired) -> None:
        venue = w.sim.exchanges["binance_usdm"].venue
        socket = await w.socket("binance_usdm", "trade")
        await socket.send(_api(w, "order.place", **order(venue, "a")))
        made = await hear(socket)
        assert (made["id"], made["status"], made["result"]["clientOrderId"]) == (
            "i-order.place", 200, "a",
        )  # fmt: skip
        limits = {limit["interval"]: limit for limit in made["rateLimits"][1:]}
        assert set(limits) == {"SECOND", "MINUTE"}
        at = made["result"]["updateTime"]
        for interval, seconds in (("SECOND", 10), ("MINUTE", 60)):  # a window may end just now
            same = at // (seconds * 1000) == w.sim.now_ms() // (seconds * 1000)
            assert limits[interval]["count"] in ((1,) if same else (0, 1))
        named = {"symbol": "BTCUSDT", "origClientOrderId": "a"}
        await socket.send(_api(w, "order.status", **named))
        assert (await hear(socket))["result"]["status"] == "NEW"
        await socket.send(_api(w, "order.cancel", **named))
        assert (await hear(socket))["result"]["status"] == "CANCELED"
        await socket.send(_api(w, "order.cancel", **named, returnRateLimits="false"))
        again = await hear(socket)
        assert (again["status"], again["error"]["code"]) == (400, -2011)
        spoiled = _api(w, "order.cancel", **named).replace('"a"', '"b"')
        await socket.send(spoiled)
        assert (await hear(socket))["error"]["code"] == -1022
        await socket.close()

    wired(test)
