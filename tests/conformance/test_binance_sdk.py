"""The official Binance USD-M SDK, with another base path, against the simulator."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from runner.sim.launch import Running

sdk = pytest.importorskip(
    "binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures",
    reason="the extra `conformance` is not installed",
)
from binance_common.configuration import (  # noqa: E402
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import BadRequestError, UnauthorizedError  # noqa: E402

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

SYMBOL = "BTCUSDT"
_MADE = iter(range(1, 10_000))


def connect(sim: Running, **changes: Any) -> Any:
    """Return the SDK's REST client."""
    ends = sim.endpoints["binance_usdm"]
    options = {"api_key": ends["key"], "api_secret": ends["secret"], "base_path": ends["rest"]}
    config = ConfigurationRestAPI(**(options | {"retries": 0} | changes))
    return sdk.DerivativesTradingUsdsFutures(config_rest_api=config).rest_api


@pytest.fixture(scope="module")
def client(sim: Running) -> Any:
    """The SDK's REST client."""
    return connect(sim)


def cid() -> str:
    """Return a client id never used before."""
    return f"sdk-{next(_MADE)}"


def resting_price(client: Any) -> float:
    """A price at which a buy rests."""
    bid = float(client.order_book(SYMBOL, 5).data().bids[0][0])
    return round(bid * 0.99, 1)


def place(client: Any, **changes: Any) -> Any:
    """Place a limit buy that rests, but for `changes`."""
    params = {
        "symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "time_in_force": "GTC",
        "quantity": 0.002, "new_client_order_id": cid(), "new_order_resp_type": "RESULT",
    }  # fmt: skip
    params |= changes
    if params["type"] == "LIMIT" and "price" not in params:
        params["price"] = resting_price(client)
    return client.new_order(**params).data()


def test_it_reads_the_time(client: Any) -> None:
    assert abs(client.check_server_time().data().server_time - time.time() * 1000) < 2000


def test_it_reads_the_instruments(client: Any) -> None:
    info = client.exchange_information().data()
    assert {"BTCUSDT", "ETHUSDT", "SOLUSDT"} == {symbol.symbol for symbol in info.symbols}


def test_it_reads_a_book(client: Any) -> None:
    book = client.order_book(SYMBOL, 100).data()
    assert len(book.bids) == len(book.asks) == 100


def test_it_reads_the_balance_and_the_account(client: Any) -> None:
    (usdt,) = client.futures_account_balance_v3().data()
    assert float(usdt.balance) == pytest.approx(10_000, rel=0.01)
    account = client.account_information_v3().data()
    assert account.total_wallet_balance == usdt.balance


def test_it_places_queries_and_cancels_a_limit_order(client: Any) -> None:
    made = place(client)
    assert made.status == "NEW"
    found = client.query_order(SYMBOL, orig_client_order_id=made.client_order_id).data()
    assert (found.order_id, found.status) == (made.order_id, "NEW")
    open_ids = [o.order_id for o in client.current_all_open_orders(SYMBOL).data()]
    assert made.order_id in open_ids
    ended = client.cancel_order(SYMBOL, orig_client_order_id=made.client_order_id).data()
    assert ended.status == "CANCELED"
    assert client.current_all_open_orders(SYMBOL).data() == []


def test_a_market_order_makes_a_position_and_its_opposite_closes_it(client: Any) -> None:
    made = place(client, type="MARKET", time_in_force=None)
    assert (made.status, made.executed_qty) == ("FILLED", "0.002")
    (position,) = client.position_information_v3(SYMBOL).data()
    assert position.position_amt == "0.002"
    place(client, type="MARKET", time_in_force=None, side="SELL", reduce_only="true")
    assert client.position_information_v3(SYMBOL).data() == []


def test_ack_of_a_market_order_knows_of_no_fill(client: Any) -> None:
    made = place(client, type="MARKET", time_in_force=None, new_order_resp_type="ACK")
    assert (made.status, made.executed_qty) == ("NEW", "0.000")
    place(client, type="MARKET", time_in_force=None, side="SELL", reduce_only="true")


def test_a_wrong_signature_is_refused(sim: Running) -> None:
    with pytest.raises(BadRequestError, match="Signature"):
        connect(sim, api_secret="wrong").futures_account_balance_v3()


def test_an_unknown_key_is_refused(sim: Running) -> None:
    with pytest.raises(UnauthorizedError, match="API-key"):
        connect(sim, api_key="wrong").futures_account_balance_v3()


def test_an_old_timestamp_is_refused(client: Any, sim: Running) -> None:
    sim.clock(60_000)
    try:
        with pytest.raises(BadRequestError, match="recvWindow"):
            place(client)
    finally:
        sim.clock(0)


def test_an_order_under_the_minimum_is_refused(client: Any) -> None:
    with pytest.raises(BadRequestError, match="notional must be no smaller than 100"):
        place(client, quantity=0.001)


def test_a_duplicate_client_id_is_refused_while_the_first_is_open(client: Any) -> None:
    made = place(client)
    with pytest.raises(BadRequestError, match="duplicated"):
        place(client, new_client_order_id=made.client_order_id)
    client.cancel_order(SYMBOL, order_id=made.order_id)
    again = place(client, new_client_order_id=made.client_order_id)
    client.cancel_order(SYMBOL, order_id=again.order_id)


def test_it_places_and_cancels_over_the_websocket_api(sim: Running, client: Any) -> None:
    ends = sim.endpoints["binance_usdm"]
    price = resting_price(client)

    async def main() -> tuple[Any, Any]:
        config = ConfigurationWebSocketAPI(
            api_key=ends["key"], api_secret=ends["secret"], stream_url=ends["trade"]
        )
        api = sdk.DerivativesTradingUsdsFutures(config_ws_api=config).websocket_api
        connection = await api.create_connection()
        try:
            made = await connection.new_order(
                symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.002,
                price=price, new_client_order_id=cid(), new_order_resp_type="RESULT",
            )  # fmt: skip
            number = made.data().result.order_id
            ended = await connection.cancel_order(symbol=SYMBOL, order_id=number)
            return made.data().result, ended.data().result
        finally:
            await connection.close_connection(close_session=True)

    made, ended = asyncio.run(main())
    assert (made.status, ended.status) == ("NEW", "CANCELED")


def test_it_hears_books_on_the_public_socket(sim: Running) -> None:
    async def main() -> Any:
        config = ConfigurationWebSocketStreams(
            stream_url=sim.endpoints["binance_usdm"]["public"].removesuffix("/public")
        )
        api = sdk.DerivativesTradingUsdsFutures(config_ws_streams=config).websocket_streams
        connection = await api.create_connection()
        heard: asyncio.Queue[Any] = asyncio.Queue()
        try:
            stream = await connection.individual_symbol_book_ticker_streams(symbol="btcusdt")
            stream.on("message", heard.put_nowait)
            return await asyncio.wait_for(heard.get(), 5)
        finally:
            await connection.close_connection(close_session=True)

    top = asyncio.run(main())
    assert float(top.b) < float(top.a)


@pytest.mark.parametrize(("type", "of_bid"), [("STOP_MARKET", 0.98), ("TAKE_PROFIT_MARKET", 1.03)])
def test_a_conditional_order_is_placed_queried_listed_and_cancelled(
    client: Any, type: str, of_bid: float
) -> None:
    trigger = round(resting_price(client) * of_bid, 1)
    placed = client.new_algo_order(
        algo_type="CONDITIONAL", symbol=SYMBOL, side="SELL", type=type, quantity=0.002,
        trigger_price=trigger, working_type="MARK_PRICE", reduce_only="true",
        client_algo_id=cid(),
    ).data()  # fmt: skip
    assert placed.algo_status == "NEW"
    by_id = {"client_algo_id": placed.client_algo_id}
    assert client.query_algo_order(**by_id).data().algo_id == placed.algo_id
    listed = client.current_all_algo_open_orders(symbol=SYMBOL).data()
    assert [each.algo_id for each in listed] == [placed.algo_id]
    client.cancel_all_open_orders(SYMBOL)
    assert client.query_algo_order(**by_id).data().algo_status == "NEW", "a class of its own"
    client.cancel_algo_order(**by_id)
    assert client.query_algo_order(**by_id).data().algo_status == "CANCELED"
