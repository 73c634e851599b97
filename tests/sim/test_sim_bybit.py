"""The dialect bybit_linear: exact codes, books from differences, private topics, quotas."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from runner.sim.wire import Call
from tests.sim.sim_client import Quiet, Wired, bybit_call, hear, linear, mac, resting, wired

CREATE = "/v5/order/create"
LINEAR = {"category": "linear", "symbol": "BTCUSDT"}


@pytest.fixture(scope="module")
def shared() -> Quiet:
    """A simulation for requests that are refused and so leave nothing behind."""
    return Quiet()


TAKE = {"orderType": "Market", "price": None}


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        (10001, {"category": None}),
        (10001, {"category": "spot"}),
        (10001, {"symbol": None}),
        (10001, {"symbol": "NOSUCH"}),
        (10001, {"side": "BUY"}),
        (10001, {"orderType": "LIMIT"}),
        (10001, {"qty": None}),
        (10001, {"qty": 0.002}),
        (10001, {"qty": "0.0021"}),
        (10001, {"qty": "2000"}),
        (10001, {"qty": "-1"}),
        (10001, {"price": None}),
        (10001, {"price": "59000.15"}),
        (10001, {"timeInForce": "GTX"}),
        (10001, {"orderLinkId": "with space"}),
        (10001, {"orderLinkId": "x" * 37}),
        (10001, {"positionIdx": 1}),
        (10001, {"reduceOnly": "true"}),
        (110003, {"price": "70000"}),
        (110094, {"price": "4000"}),
        (110007, {"qty": "20"}),
        (110017, {"reduceOnly": True}),
    ],
)
def test_an_order_is_refused_with_the_exchange_s_code(
    shared: Quiet, code: int, changes: dict[str, Any]
) -> None:
    quiet = shared
    quiet.clock.advance(200_000_000)  # ten orders a second, refused ones too
    if code == 110094:
        changes = {"symbol": "ETHUSDT", "qty": "0.01", "price": "400"}
    params = linear(quiet.bybit_venue, "a", **changes)
    assert quiet.bybit("POST", CREATE, **params)["retCode"] == code
    assert quiet.bybit_venue.orders == {}


def _with(call: Call, **headers: str) -> Call:
    return Call(call.method, call.path, call.query, {**call.headers, **headers}, call.body)


@pytest.mark.parametrize(
    ("code", "spoil"),
    [
        (10004, lambda c: _with(c, **{"X-BAPI-SIGN": "0" * 64})),
        (10003, lambda c: _with(c, **{"X-BAPI-API-KEY": "x"})),
        (10004, lambda c: _with(c, **{"X-BAPI-RECV-WINDOW": "6000"})),
        (10004, lambda c: Call(c.method, c.path, c.query + "&a=1", c.headers, b"")),
        (10002, lambda c: _with(c, **{"X-BAPI-TIMESTAMP": "1"})),
        (10001, lambda c: _with(c, **{"X-BAPI-TIMESTAMP": ""})),
    ],
)
def test_what_is_not_signed_over_the_very_bytes_is_refused(
    shared: Quiet, code: int, spoil: Any
) -> None:
    quiet = shared
    call = spoil(bybit_call(quiet.sim, "GET", "/v5/position/list", **LINEAR))
    body = json.loads(quiet.sim.exchanges["bybit_linear"].rest(call).body)
    assert body["retCode"] == code


def test_the_eleventh_order_of_a_second_is_10006_and_the_headers_say_when() -> None:
    quiet = Quiet()
    price = resting(quiet.bybit_venue)
    codes, headers = [], {}
    for number in range(11):
        params = linear(quiet.bybit_venue, f"n{number}", price=price)
        reply = quiet.sim.exchanges["bybit_linear"].rest(
            bybit_call(quiet.sim, "POST", CREATE, **params)
        )
        codes.append(json.loads(reply.body)["retCode"])
        headers = reply.headers
    assert codes == [0] * 10 + [10006]
    assert headers["X-Bapi-Limit-Status"] == "0"
    assert int(headers["X-Bapi-Limit-Reset-Timestamp"]) == quiet.sim.now_ms() + 1000
    quiet.pass_ms(1000)
    params = linear(quiet.bybit_venue, "later", price=price)
    assert quiet.bybit("POST", CREATE, **params)["retCode"] == 0


def test_600_requests_in_five_seconds_shut_the_address_out() -> None:
    quiet = Quiet()
    call = Call("GET", "/v5/market/time", "", {}, b"")
    statuses = [quiet.sim.exchanges["bybit_linear"].rest(call).status for _ in range(601)]
    assert statuses == [200] * 600 + [403]
    quiet.clock.advance(6 * 1_000_000_000)
    assert quiet.sim.exchanges["bybit_linear"].rest(call).status == 403


def test_a_client_id_is_used_once_for_ever() -> None:
    quiet = Quiet()
    params = linear(quiet.bybit_venue, "same")
    assert quiet.bybit("POST", CREATE, **params)["retCode"] == 0
    assert quiet.bybit("POST", CREATE, **params)["retCode"] == 110072
    quiet.bybit("POST", "/v5/order/cancel", **LINEAR, orderLinkId="same")
    assert quiet.bybit("POST", CREATE, **params)["retCode"] == 110072


def test_post_only_that_would_take_is_accepted_and_then_cancelled() -> None:
    quiet = Quiet()
    high = resting(quiet.bybit_venue, percent=-0.5)
    params = linear(quiet.bybit_venue, "a", timeInForce="PostOnly", price=high)
    assert quiet.bybit("POST", CREATE, **params)["retCode"] == 0
    rows = quiet.bybit("GET", "/v5/order/history", category="linear", orderLinkId="a")
    (row,) = rows["result"]["list"]
    assert (row["orderStatus"], row["rejectReason"]) == (
        "Cancelled", "EC_PostOnlyWillTakeLiquidity",
    )  # fmt: skip


def test_pages_join_to_the_whole() -> None:
    quiet = Quiet()
    for number in range(9):
        quiet.bybit("POST", CREATE, **linear(quiet.bybit_venue, f"n{number}"))
    names, cursor = [], ""
    for _ in range(3):
        page = quiet.bybit("GET", "/v5/order/realtime", **LINEAR, limit=4, cursor=cursor)["result"]
        names += [row["orderLinkId"] for row in page["list"]]
        cursor = page["nextPageCursor"]
    assert cursor == "" and names == [f"n{k}" for k in range(8, -1, -1)]


def test_settings_that_are_so_already_answer_with_their_codes() -> None:
    quiet = Quiet()
    sides = {"buyLeverage": "20", "sellLeverage": "20"}
    path = "/v5/position/set-leverage"
    assert quiet.bybit("POST", path, **LINEAR, **sides)["retCode"] == 110043
    other = {"buyLeverage": "2", "sellLeverage": "2"}
    assert quiet.bybit("POST", path, **LINEAR, **other)["retCode"] == 0
    assert quiet.bybit("POST", "/v5/position/switch-mode", **LINEAR, mode=0)["retCode"] == 110025


def _apply(sides: dict[str, dict[str, str]], data: dict[str, Any]) -> None:
    for name, side in sides.items():
        for price, size in data[name]:
            side[price] = size
            if size == "0":
                del side[price]


@pytest.mark.parametrize("depth", [50, 200])
def test_differences_rebuild_the_window_and_count_by_one(depth: int) -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket("bybit_linear", "public")
        topic = f"orderbook.{depth}.BTCUSDT"
        await socket.send(json.dumps({"op": "subscribe", "args": [topic], "req_id": "r"}))
        ack = await hear(socket)
        assert (ack["success"], ack["req_id"]) == (True, "r")
        first = await hear(socket)
        assert first["type"] == "snapshot"
        sides = {"b": dict(first["data"]["b"]), "a": dict(first["data"]["a"])}
        last = first["data"]["u"]
        w.sim.market.move("bybit_linear", "BTCUSDT", 20, 0.5)
        for _ in range(12):
            message = await hear(socket)
            assert (message["type"], message["data"]["u"]) == ("delta", last + 1)
            last += 1
            _apply(sides, message["data"])
            assert len(sides["b"]) == len(sides["a"]) == depth
            assert max(map(float, sides["b"])) < min(map(float, sides["a"]))
        await socket.close()

    wired(test)


def test_an_unknown_topic_fails_and_ping_is_answered() -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket("bybit_linear", "public")
        await socket.send(json.dumps({"op": "subscribe", "args": ["orderbook.7.BTCUSDT"]}))
        assert (await hear(socket))["success"] is False
        await socket.send(json.dumps({"op": "ping", "req_id": "p"}))
        pong = await hear(socket)
        assert (pong["ret_msg"], pong["req_id"], pong["op"]) == ("pong", "p", "ping")
        await socket.close()

    wired(test)


async def _login(w: Wired, kind: str, secret: str | None = None) -> tuple[Any, Any]:
    key = w.sim.exchanges["bybit_linear"].key  # type: ignore[attr-defined]
    socket = await w.socket("bybit_linear", kind)
    expires = w.sim.now_ms() + 5000
    sign = mac(secret or key.secret, f"GET/realtime{expires}")
    await socket.send(json.dumps({"op": "auth", "reqId": "a", "args": [key.key, expires, sign]}))
    return socket, await hear(socket)


def _request(w: Wired, operation: str, number: str, args: dict[str, Any], late: int = 0) -> str:
    header = {"X-BAPI-TIMESTAMP": str(w.sim.now_ms() - late), "X-BAPI-RECV-WINDOW": "5000"}
    return json.dumps({"reqId": number, "header": header, "op": operation, "args": [args]})


def test_orders_over_the_trade_socket_are_told_on_the_private_one() -> None:
    async def test(w: Wired) -> None:
        venue = w.sim.exchanges["bybit_linear"].venue
        private, ack = await _login(w, "private")
        assert ack["success"] is True
        topics = ["order", "execution", "position", "wallet"]
        await private.send(json.dumps({"op": "subscribe", "args": topics}))
        await hear(private)
        trade, ack = await _login(w, "trade")
        assert ack["retCode"] == 0
        await trade.send(_request(w, "order.create", "r1", linear(venue, "a", **TAKE)))
        reply = await hear(trade)
        assert (reply["reqId"], reply["retCode"], reply["data"]["orderLinkId"]) == ("r1", 0, "a")
        assert reply["header"]["X-Bapi-Limit-Status"] == "9"
        heard = {m["topic"]: m["data"] for m in [await hear(private) for _ in topics]}
        assert (heard["order"][0]["orderStatus"], heard["order"][0]["cumExecQty"]) == (
            "Filled", "0.002",
        )  # fmt: skip
        assert sum(float(row["execQty"]) for row in heard["execution"]) == pytest.approx(0.002)
        assert (heard["position"][0]["side"], heard["position"][0]["size"]) == ("Buy", "0.002")
        await trade.send(_request(w, "order.create", "r1", linear(venue, "b")))
        assert (await hear(trade))["retCode"] == 20006
        await trade.send(_request(w, "order.create", "r2", linear(venue, "b"), late=9000))
        assert (await hear(trade))["retCode"] == 10002
        await trade.send(_request(w, "order.fly", "r3", {}))
        assert (await hear(trade))["retCode"] == 10404
        await trade.close()
        await private.close()

    wired(test)


def test_the_private_and_trade_sockets_know_a_wrong_signature() -> None:
    async def test(w: Wired) -> None:
        for kind, right in (("private", ("success", False)), ("trade", ("retCode", 10004))):
            socket, ack = await _login(w, kind, "wrong")
            assert ack[right[0]] == right[1]
            await socket.close()
        socket = await w.socket("bybit_linear", "trade")
        venue = w.sim.exchanges["bybit_linear"].venue
        await socket.send(_request(w, "order.create", "r", linear(venue, "a")))
        assert (await hear(socket))["retCode"] == 10005
        assert venue.orders == {}
        await socket.close()

    wired(test)


def test_a_fill_of_a_resting_order_is_told_when_the_price_comes() -> None:
    async def test(w: Wired) -> None:
        venue = w.sim.exchanges["bybit_linear"].venue
        private, _ = await _login(w, "private")
        await private.send(json.dumps({"op": "subscribe", "args": ["execution"]}))
        await hear(private)
        near = resting(venue, percent=0.1)
        await w.bybit("POST", CREATE, **linear(venue, "a", price=near))
        w.sim.market.move("bybit_linear", "BTCUSDT", -30, 2)
        (row,) = (await hear(private))["data"]
        assert (row["isMaker"], row["execPrice"], row["feeRate"]) == (True, near, "0.0002")
        await asyncio.sleep(0)
        await private.close()

    wired(test)
