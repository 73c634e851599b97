"""Our requests carry what the exchanges' own clients send: parameters and headers, as sets.

Left out on both sides: timestamps, signatures, receive windows, the sign type that is optional,
and newOrderRespType (we ask for the result). Declared differences stand in `DIFFERENCES`.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from runner.engine.commands import OrderType, Tif
from runner.exchanges.api import HttpRequest, Request, SocketRequest
from runner.exchanges.registry import market_codec
from runner.market.instruments import Side
from tests.exchanges.captures import SHARED, binding, need
from tests.exchanges.orders import KEY, NOW, codec, intent, journaled

OWN = {"binance_usdm": "binance-sdk", "bybit_linear": "pybit"}
IGNORED = {
    "timestamp", "signature", "recvwindow", "neworderresptype", "x-bapi-timestamp", "x-bapi-sign",
    "x-bapi-recv-window", "x-bapi-sign-type", "referer",
}  # fmt: skip
DIFFERENCES: dict[tuple[str, str], set[tuple[str, str]]] = {
    # a dry-run has no key, and the clock needs none
    ("binance_usdm", "time"): {("x-mbx-apikey", KEY)},
    # conditional orders protect positions and must survive
    ("bybit_linear", "cancel_all"): {("orderfilter", "Order")},
}

Pairs = set[tuple[str, str]]


def flat(pairs: dict[str, Any] | list[tuple[str, str]]) -> Pairs:
    items = pairs.items() if isinstance(pairs, dict) else pairs
    return {
        (name.lower(), value if isinstance(value, str) else json.dumps(value))
        for name, value in items
        if name.lower() not in IGNORED
    }


def parameters(query: str, body: str) -> Pairs:
    pairs = flat(parse_qsl(query))
    if body.startswith("{"):
        return pairs | flat(json.loads(body))
    return pairs | flat(parse_qsl(body))


def rows(type: str) -> dict[str, list[dict[str, Any]]]:
    """Requests of the exchange's own client by operation."""
    lines = need(SHARED / "exchanges" / "sdk-requests.jsonl").read_text().splitlines()
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        row = json.loads(line)
        if row["venue"] == type and row["library"].startswith(OWN[type]):
            found.setdefault(row["op"], []).append(row)
    return found


def ours(type: str) -> dict[str, Request | None]:
    """The operations that we send and that the own client was captured with."""
    rest = codec(type)
    market = market_codec(type, "live", [binding(type, "m", "BTCUSDT")])
    account = rest.account(NOW)
    requests: dict[str, Request | None] = {
        "place_limit": rest.place(journaled(intent(cid="run-0001")), NOW, "1"),
        "place_limit_postonly": rest.place(
            journaled(intent(cid="run-0002", tif=Tif.POST_ONLY)), NOW, "2"
        ),
        "place_market": rest.place(
            journaled(
                intent(cid="run-0003", side=Side.SELL, type=OrderType.MARKET, reduce_only=True)
            ),
            NOW,
            "3",
        ),
        "cancel_by_client_id": rest.cancel("BTCUSDT", "run-0001", NOW, "4"),
        "query_by_client_id": rest.query("BTCUSDT", "run-0001", NOW)[0],
        "cancel_all": rest.cancel_all("BTCUSDT", NOW, "5"),
        "account": account[0],
        "positions": account[1],
        "set_leverage": rest.set_leverage("BTCUSDT", 5, NOW),
        "set_margin_mode": rest.set_margin_mode("BTCUSDT", "isolated", NOW),
        "set_position_mode": rest.set_position_mode("one_way", NOW),
        "time": market.time(),
    }
    if type == "binance_usdm":
        requests["open_orders"] = rest.open_orders(NOW)[0]
        requests["listen_key"] = rest.listen_key()
    else:
        requests["history_by_client_id"] = rest.query("BTCUSDT", "run-0001", NOW)[1]
        requests["executions"] = rest.fills("BTCUSDT", 0, NOW)
    return requests


OPERATIONS = [(type, operation) for type in OWN for operation in ours(type)]


@pytest.mark.parametrize(("type", "operation"), OPERATIONS)
def test_a_request_equals_that_of_the_exchanges_own_client(type: str, operation: str) -> None:
    captured = rows(type)[operation]
    request = ours(type)[operation]
    assert isinstance(request, HttpRequest)
    url = urlsplit(request.url)
    mine = parameters(url.query, request.body.decode()) | flat(dict(request.headers))
    theirs = [
        parameters(row["query"], row["body"]) | flat(row["headers"])
        for row in captured
        if (row["method"], row["path"]) == (request.method, url.path)
    ]
    assert theirs, f"{request.method} {url.path} is not what the own client calls"
    declared = DIFFERENCES.get((type, operation), set())
    assert any((mine ^ other) == declared for other in theirs), sorted(mine ^ theirs[0])


@pytest.mark.parametrize("type", OWN)
def test_every_captured_operation_is_ours_or_declared_as_not_sent(type: str) -> None:
    not_sent = {"batch_place", "batch_cancel", "balance"}
    assert set(rows(type)) - set(ours(type)) <= not_sent


def pro(type: str, operation: str) -> dict[str, Any]:
    """A frame of ccxt.pro: the exchanges' own clients were captured over REST only."""
    for line in need(SHARED / "exchanges" / "sdk-requests.jsonl").read_text().splitlines():
        row = json.loads(line)
        key = (row["venue"], row["op"], row["method"])
        if key == (type, operation, "WS-SEND"):
            frame: dict[str, Any] = json.loads(row["body"])
            if frame.get("method", frame.get("op")) in ("order.place", "order.create"):
                return frame
    raise AssertionError(f"no frame of {operation}")


def test_a_binance_socket_order_has_the_parameters_of_the_captured_one() -> None:
    frame = pro("binance_usdm", "create_order_ws")
    request = codec("binance_usdm", "websocket").place(journaled(intent(cid="run0001")), NOW, "1")
    assert isinstance(request, SocketRequest)
    mine = json.loads(request.frame)
    assert mine["method"] == frame["method"]
    # ccxt repeats the client id under its own name, and asks not to be told the rate limits
    theirs = flat(frame["params"]) - {("clientorderid", "run0001"), ("returnratelimits", "false")}
    assert flat(mine["params"]) == theirs
    assert isinstance(mine["params"]["timestamp"], int)
    assert isinstance(mine["params"]["recvWindow"], int)


def test_a_bybit_socket_order_has_the_form_of_the_captured_one() -> None:
    frame = pro("bybit_linear", "create_order_ws")
    request = codec("bybit_linear", "websocket").place(journaled(intent(cid="run0001")), NOW, "1")
    assert isinstance(request, SocketRequest)
    mine = json.loads(request.frame)
    assert set(mine) == set(frame) and set(mine["header"]) == set(frame["header"])
    # GTC is Bybit's default, which ccxt leaves out
    assert flat(mine["args"][0]) - {("timeinforce", "GTC")} == flat(frame["args"][0])


def test_a_spot_snapshot_and_the_instruments_are_asked_for_by_symbol() -> None:
    market = market_codec("binance_spot", "live", [binding("binance_spot", "m", "BTCUSDT")])
    request = market.snapshot("m")
    assert request is not None
    assert request.url == "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000"
    (info,) = market.instruments(["BTCUSDT", "ETHUSDT"])
    assert parse_qsl(urlsplit(info.url).query) == [("symbols", '["BTCUSDT","ETHUSDT"]')]
