"""Conditional orders of the simulator: armed, fired, refused, apart from cancel-all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.sim.sim_client import Quiet


@pytest.fixture
def quiet() -> Quiet:
    return Quiet()


def hold(quiet: Quiet) -> None:
    """Buy 0.01 BTC on both exchanges."""
    quiet.pass_ms(100)
    quiet.binance(
        "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010"
    )
    quiet.bybit(
        "POST", "/v5/order/create", category="linear", symbol="BTCUSDT", side="Buy",
        orderType="Market", qty="0.01", orderLinkId="entry",
    )  # fmt: skip


def mark(quiet: Quiet, exchange: str) -> Decimal:
    venue = quiet.usdm if exchange == "binance" else quiet.bybit_venue
    venue.refresh("BTCUSDT")
    instrument = venue.instruments["BTCUSDT"]
    return Decimal(instrument.price(venue.mark("BTCUSDT")))


def lots(venue: Any) -> int:
    return int(venue.account.positions["BTCUSDT"].lots)


def algo(quiet: Quiet, price: Decimal, **changes: Any) -> Any:
    fields = {
        "algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET",
        "quantity": "0.010", "triggerPrice": str(price), "workingType": "MARK_PRICE",
        "reduceOnly": "true", "clientAlgoId": "stop-1",
    }  # fmt: skip
    return quiet.binance("POST", "/fapi/v1/algoOrder", **(fields | changes))


def conditional(quiet: Quiet, price: Decimal, **changes: Any) -> Any:
    fields = {
        "category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market",
        "qty": "0.01", "orderLinkId": "stop-1", "reduceOnly": True, "triggerPrice": str(price),
        "triggerDirection": 2, "triggerBy": "MarkPrice",
    }  # fmt: skip
    return quiet.bybit("POST", "/v5/order/create", **(fields | changes))


def test_binance_s_stop_waits_fires_and_names_its_order(quiet: Quiet) -> None:
    hold(quiet)
    placed = algo(quiet, mark(quiet, "binance") - Decimal("0.3"))
    assert placed["algoStatus"] == "NEW" and placed["actualOrderId"] == ""
    assert [a["clientAlgoId"] for a in quiet.binance("GET", "/fapi/v1/openAlgoOrders")] == [
        "stop-1"
    ]
    assert quiet.binance("GET", "/fapi/v1/openOrders", symbol="BTCUSDT") == []
    quiet.binance("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    quiet.pass_ms(120_000)
    shown = quiet.binance("GET", "/fapi/v1/algoOrder", clientAlgoId="stop-1")
    assert shown["algoStatus"] == "FINISHED" and lots(quiet.usdm) == 0
    order = quiet.binance("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=shown["actualOrderId"])
    assert order["status"] == "FILLED" and order["clientOrderId"] != "stop-1"
    gone = quiet.binance("DELETE", "/fapi/v1/algoOrder", clientAlgoId="stop-1")
    assert gone["code"] == -2011


def test_bybit_s_stop_waits_fires_and_keeps_its_ids(quiet: Quiet) -> None:
    hold(quiet)
    placed = conditional(quiet, mark(quiet, "bybit") - Decimal("0.3"))
    assert placed["retCode"] == 0
    query = {"category": "linear", "symbol": "BTCUSDT"}
    (row,) = quiet.bybit("GET", "/v5/order/realtime", **query)["result"]["list"]
    assert (row["orderStatus"], row["orderLinkId"]) == ("Untriggered", "stop-1")
    all_plain = quiet.bybit("POST", "/v5/order/cancel-all", orderFilter="Order", **query)
    assert all_plain["result"]["list"] == []
    quiet.pass_ms(120_000)
    assert lots(quiet.bybit_venue) == 0
    query["orderLinkId"] = "stop-1"
    (row,) = quiet.bybit("GET", "/v5/order/history", **query)["result"]["list"]
    assert row["orderStatus"] == "Filled" and row["orderId"] == placed["result"]["orderId"]


def test_what_would_fire_at_once_and_what_is_asked_twice_is_refused(quiet: Quiet) -> None:
    hold(quiet)
    high, low = mark(quiet, "binance") + 50, mark(quiet, "binance") - 2000
    assert algo(quiet, high)["code"] == -2021
    assert algo(quiet, high, type="TAKE_PROFIT_MARKET")["algoStatus"] == "NEW"
    assert algo(quiet, low)["code"] == -4116
    assert algo(quiet, low, clientAlgoId="b", type="TRAILING_STOP_MARKET")["code"] == -1116
    assert algo(quiet, low, clientAlgoId="b", algoType="VP")["code"] == -1130
    assert conditional(quiet, mark(quiet, "bybit") + 50)["retCode"] == 110093
    rising = {"side": "Buy", "triggerDirection": 1}
    assert conditional(quiet, mark(quiet, "bybit") - 50, **rising)["retCode"] == 110092
    assert conditional(quiet, mark(quiet, "bybit") - 2000)["retCode"] == 0
    assert conditional(quiet, mark(quiet, "bybit") - 2000)["retCode"] == 110072


def test_a_symbol_of_bybit_has_room_for_ten(quiet: Quiet) -> None:
    low = mark(quiet, "bybit") - 2000
    for i in range(10):
        assert conditional(quiet, low, orderLinkId=f"a{i}")["retCode"] == 0
        quiet.pass_ms(200)
    assert conditional(quiet, low, orderLinkId="b")["retCode"] == 110009


@pytest.mark.parametrize("exchange", ["binance", "bybit"])
def test_a_target_waits_for_the_rise_and_then_closes(quiet: Quiet, exchange: str) -> None:
    hold(quiet)
    if exchange == "binance":
        target = algo(quiet, mark(quiet, exchange) + Decimal("0.3"), type="TAKE_PROFIT_MARKET")
        assert target["orderType"] == "TAKE_PROFIT_MARKET" and target["algoStatus"] == "NEW"
        late = algo(quiet, mark(quiet, exchange) - 1, type="TAKE_PROFIT_MARKET", clientAlgoId="b")
        assert late["code"] == -2021
    else:
        rise = {"triggerDirection": 1}
        assert conditional(quiet, mark(quiet, exchange) + Decimal("0.3"), **rise)["retCode"] == 0
        late = conditional(quiet, mark(quiet, exchange) - 1, orderLinkId="b", **rise)
        assert late["retCode"] == 110092
    quiet.pass_ms(120_000)
    assert lots(quiet.usdm if exchange == "binance" else quiet.bybit_venue) == 0


def test_a_stop_that_is_cancelled_never_fires(quiet: Quiet) -> None:
    hold(quiet)
    algo(quiet, mark(quiet, "binance") - Decimal("0.3"))
    conditional(quiet, mark(quiet, "bybit") - Decimal("0.3"))
    assert quiet.binance("DELETE", "/fapi/v1/algoOrder", clientAlgoId="stop-1")["code"] == "200"
    query = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "stop-1"}
    assert quiet.bybit("POST", "/v5/order/cancel", **query)["retCode"] == 0
    quiet.pass_ms(120_000)
    assert (lots(quiet.usdm), lots(quiet.bybit_venue)) == (10, 10)
    (row,) = quiet.bybit("GET", "/v5/order/history", **query)["result"]["list"]
    assert row["orderStatus"] == "Deactivated"


def test_a_reduce_only_stop_without_a_position_reduces_nothing(quiet: Quiet) -> None:
    quiet.pass_ms(100)
    algo(quiet, mark(quiet, "binance") - Decimal("0.3"))
    conditional(quiet, mark(quiet, "bybit") - Decimal("0.3"))
    quiet.pass_ms(120_000)
    assert (lots(quiet.usdm), lots(quiet.bybit_venue)) == (0, 0)
    shown = quiet.binance("GET", "/fapi/v1/algoOrder", clientAlgoId="stop-1")
    assert shown["algoStatus"] == "REJECTED"
