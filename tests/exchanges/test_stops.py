"""Stops and targets on the wire: Binance's algo service with two names, Bybit's trigger price."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from runner.base.errors import ExchangeError
from runner.engine.commands import Intent, OrderType, Purpose, Tif, Trigger
from runner.engine.events import Ack, CancelReply, Done, End, External, Fill
from runner.exchanges.api import HttpRequest, OrderCodec, Outcome
from runner.market.instruments import Side
from tests.exchanges.orders import CID, NOW, codec, intent, journaled
from tests.exchanges.test_private_frames import decoded, order_update

OTHER = "web_A1b2C3"
T, WALL = 5, 1_700_000_000_000_000_000


def stop(side: Side = Side.SELL, trigger: Trigger = Trigger.MARK, **changes: Any) -> Intent:
    order = intent(side=side, type=OrderType.STOP, tif=Tif.GTC, reduce_only=True)
    fields = {"purpose": Purpose.PROTECT, "trigger_text": "49500", "trigger_ticks": 495000}
    return msgspec.structs.replace(order, trigger=trigger, **(fields | changes))


def target(side: Side = Side.SELL, trigger: Trigger = Trigger.MARK, **changes: Any) -> Intent:
    return stop(side, trigger, **({"type": OrderType.TARGET} | changes))


def algo_update(status: str, **part: Any) -> dict[str, Any]:
    """ALGO_UPDATE with the fields of the documents."""
    algo = {
        "caid": CID, "aid": 2148719, "at": "CONDITIONAL", "o": "STOP_MARKET", "s": "BTCUSDT",
        "S": "SELL", "ps": "BOTH", "f": "GTC", "q": "0.002", "X": status, "ai": "", "tp": "49500",
        "p": "0", "V": "EXPIRE_MAKER", "wt": "MARK_PRICE", "pm": "NONE", "cp": False, "pP": False,
        "R": True, "tt": 0, "gtd": 0, "rm": "",
    }  # fmt: skip
    return {"e": "ALGO_UPDATE", "T": 1750515742303, "E": 1750515742303, "o": algo | part}


def actual(**part: Any) -> dict[str, Any]:
    """An event of the ordinary order that the stop became."""
    base = {"c": OTHER, "S": "SELL", "o": "MARKET", "R": True, "i": 777}
    return order_update(**(base | part))


TRADE = {"x": "TRADE", "X": "FILLED", "l": "0.002", "z": "0.002", "L": "49499", "t": 31,
         "n": "0.05", "N": "USDT"}  # fmt: skip


def query_of(request: object) -> dict[str, str]:
    assert isinstance(request, HttpRequest)
    return {k: v[0] for k, v in parse_qs(urlsplit(request.url).query).items()}


@pytest.mark.parametrize("entry", ["rest", "websocket"])
def test_binance_s_stop_goes_to_the_algo_service(entry: str) -> None:
    request = codec("binance_usdm", entry).place(journaled(stop()), NOW, "1")
    assert isinstance(request, HttpRequest) and request.method == "POST" and request.counts_order
    assert urlsplit(request.url).path == "/fapi/v1/algoOrder"
    sent = query_of(request)
    del sent["signature"]
    assert sent == {
        "algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET",
        "quantity": "0.002", "triggerPrice": "49500", "workingType": "MARK_PRICE",
        "reduceOnly": "true", "clientAlgoId": CID, "recvWindow": "5000", "timestamp": str(NOW),
    }  # fmt: skip
    last = query_of(codec("binance_usdm").place(journaled(stop(trigger=Trigger.LAST)), NOW, "1"))
    assert last["workingType"] == "CONTRACT_PRICE"


@pytest.mark.parametrize(("side", "direction"), [(Side.BUY, 1), (Side.SELL, 2)])
def test_bybit_s_stop_is_an_order_with_a_trigger(side: Side, direction: int) -> None:
    request = codec("bybit_linear").place(journaled(stop(side, Trigger.LAST)), NOW, "1")
    assert isinstance(request, HttpRequest)
    assert json.loads(request.body) == {
        "category": "linear", "symbol": "BTCUSDT", "side": side.value.capitalize(),
        "orderType": "Market", "qty": "0.002", "orderLinkId": CID, "reduceOnly": True,
        "triggerPrice": "49500", "triggerDirection": direction, "triggerBy": "LastPrice",
    }  # fmt: skip


@pytest.mark.parametrize("entry", ["rest", "websocket"])
def test_binance_s_target_is_the_same_by_another_type(entry: str) -> None:
    sent = codec("binance_usdm", entry).place(journaled(target()), NOW, "1")
    fields, other = (
        query_of(sent),
        query_of(codec("binance_usdm").place(journaled(stop()), NOW, "1")),
    )
    assert fields["type"] == "TAKE_PROFIT_MARKET"
    for query in (fields, other):
        del query["type"], query["signature"]
    assert fields == other


@pytest.mark.parametrize(("side", "direction"), [(Side.BUY, 2), (Side.SELL, 1)])
def test_bybit_s_target_waits_for_the_other_direction(side: Side, direction: int) -> None:
    request = codec("bybit_linear").place(journaled(target(side)), NOW, "1")
    assert isinstance(request, HttpRequest)
    body = json.loads(request.body)
    assert (body["triggerDirection"], body["reduceOnly"]) == (direction, True)
    assert (body["orderType"], body["triggerBy"]) == ("Market", "MarkPrice")


@pytest.mark.parametrize("make", [stop, target])
@pytest.mark.parametrize("type", ["binance_usdm", "bybit_linear"])
def test_one_without_a_price_is_never_sent(type: str, make: Callable[..., Intent]) -> None:
    with pytest.raises(ExchangeError, match=f"a {make.__name__} without a trigger price"):
        codec(type).place(journaled(make(trigger_text="")), NOW, "1")


def test_binance_s_stop_is_cancelled_and_asked_about_by_its_own_id() -> None:
    of = codec("binance_usdm", "websocket")
    cancel = of.cancel("BTCUSDT", CID, NOW, "1", protective=True)
    assert isinstance(cancel, HttpRequest) and cancel.method == "DELETE"
    assert query_of(cancel)["clientAlgoId"] == CID
    first, second = of.query("BTCUSDT", CID, NOW, protective=True)
    assert urlsplit(first.url).path == "/fapi/v1/algoOrder"
    assert query_of(second)["origClientOrderId"] == CID
    paths = {urlsplit(r.url).path for r in of.open_orders(NOW)}
    assert paths == {"/fapi/v1/openOrders", "/fapi/v1/openAlgoOrders"}


def reply(of: OrderCodec, operation: str, body: dict[str, Any]) -> tuple[Outcome, list[Any]]:
    data = json.dumps(body).encode()
    outcome, events = of.reply(CID, operation, 200, {}, data, T, WALL)
    return outcome, list(events)


def test_answers_to_placing_and_cancelling_a_stop() -> None:
    of = codec("binance_usdm")
    placed = {"algoId": 2146760, "clientAlgoId": CID, "symbol": "BTCUSDT", "algoStatus": "NEW"}
    outcome, events = reply(of, "place", placed)
    assert outcome is Outcome.ACCEPTED
    assert [(type(e), e.exchange_id) for e in events] == [(Ack, "algo2146760")]
    done = {"algoId": 2146760, "clientAlgoId": CID, "code": "200", "msg": "success"}
    outcome, events = reply(of, "cancel", done)
    assert outcome is Outcome.ACCEPTED and isinstance(events[0], CancelReply) and events[0].ok
    other = {"algoId": 1, "clientAlgoId": "another", "symbol": "BTCUSDT", "algoStatus": "NEW"}
    assert reply(of, "place", other)[0] is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "end"),
    [("CANCELED", End.CANCELED), ("EXPIRED", End.EXPIRED), ("REJECTED", End.REJECTED)],
)
def test_a_stop_that_ends_without_firing_is_told(status: str, end: End) -> None:
    of = codec("binance_usdm")
    (ack,) = decoded(of, algo_update("NEW")).events
    assert isinstance(ack, Ack) and ack.cid == CID
    (done,) = decoded(of, algo_update(status, rm="Margin")).events
    assert isinstance(done, Done) and (done.end, done.filled_lots) == (end, 0)
    assert done.code == ("Margin" if end is End.REJECTED else "")


def test_fills_of_a_fired_stop_go_by_its_own_id_also_when_they_come_first() -> None:
    of = codec("binance_usdm")
    decoded(of, algo_update("NEW"))
    assert decoded(of, algo_update("TRIGGERING")).events == []
    assert decoded(of, actual()).events == [], "it may be ours: kept back"
    assert decoded(of, actual(**TRADE)).events == []
    out = decoded(of, algo_update("TRIGGERED", ai="777"))
    assert [type(e) for e in out.events] == [Ack, Fill, Done]
    assert {e.cid for e in out.events if isinstance(e, Ack | Fill | Done)} == {CID}
    # and those that come later need no waiting
    late = decoded(of, actual(**(TRADE | {"t": 32})))
    assert [type(e) for e in late.events] == [Fill, Done]
    assert decoded(of, algo_update("FINISHED", ai="777")).events == []


def test_a_foreign_order_is_told_as_such_once_nobody_claimed_it() -> None:
    of = codec("binance_usdm")
    decoded(of, algo_update("NEW"))
    assert decoded(of, actual(**TRADE)).events == []
    frame = json.dumps({"e": "MARGIN_CALL"}).encode()
    out = decoded(of, b'{"e":"MARGIN_CALL"}')
    assert out.events == []
    of.decode("private", frame, T + 3_000_000_000, WALL, 1, False, out)
    assert [type(e) for e in out.events] == [External]


def test_without_a_stop_on_the_symbol_nothing_is_kept_back() -> None:
    of = codec("binance_usdm")
    assert [type(e) for e in decoded(of, actual(**TRADE)).events] == [External]
    decoded(of, algo_update("NEW"))
    decoded(of, algo_update("CANCELED"))
    assert [type(e) for e in decoded(of, actual(**TRADE)).events] == [External]
    decoded(of, algo_update("NEW"))
    other = actual(**(TRADE | {"R": False}))
    assert [type(e) for e in decoded(of, other).events] == [External], "a stop only reduces"


def row(status: str, **changes: Any) -> bytes:
    algo = {
        "algoId": 2146760, "clientAlgoId": CID, "algoType": "CONDITIONAL", "symbol": "BTCUSDT",
        "orderType": "STOP_MARKET", "side": "SELL", "quantity": "0.002", "algoStatus": status,
        "actualOrderId": "", "triggerPrice": "49500", "reduceOnly": True, "updateTime": 1,
    }  # fmt: skip
    return json.dumps(algo | changes).encode()


def test_a_query_follows_a_fired_stop_to_its_order() -> None:
    of = codec("binance_usdm")
    outcome, view = of.parse_query(CID, 200, row("NEW"))
    assert outcome is Outcome.ACCEPTED and view is not None and view.status == "open"
    assert of.parse_query(CID, 200, row("FINISHED", actualOrderId="777")) == (
        Outcome.REJECTED,
        None,
    )
    second = of.query("BTCUSDT", CID, NOW, protective=True)[1]
    assert query_of(second)["orderId"] == "777"
    order = {"symbol": "BTCUSDT", "orderId": 777, "clientOrderId": OTHER, "status": "FILLED",
             "side": "SELL", "origQty": "0.002", "executedQty": "0.002", "price": "0",
             "avgPrice": "49499"}  # fmt: skip
    outcome, view = of.parse_query(CID, 200, json.dumps(order).encode())
    assert outcome is Outcome.ACCEPTED and view is not None
    assert (view.cid, view.status, view.filled_lots) == (CID, "filled", 2)
    trades = [{"symbol": "BTCUSDT", "id": 31, "orderId": 777, "price": "49499", "qty": "0.002"}]
    (fill,) = of.parse_fills(json.dumps(trades).encode())
    assert fill.cid == CID


def test_a_list_of_open_stops_and_a_status_nobody_knows() -> None:
    of = codec("binance_usdm")
    (view,) = of.parse_open_orders(b"[" + row("NEW") + b"]")
    assert (view.cid, view.status, view.reduce_only) == (CID, "open", True)
    assert of.parse_query(CID, 200, row("STRANGE")) == (Outcome.UNKNOWN, None)
    gone = b'{"code":-2013,"msg":"Order does not exist."}'
    assert of.parse_query(CID, 400, gone) == (Outcome.REJECTED, None)
