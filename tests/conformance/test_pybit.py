"""pybit, with another endpoint, against the simulator; it has no URL option for its sockets."""

from __future__ import annotations

import queue
import time
from typing import Any

import pytest

from runner.sim.launch import Running

pybit = pytest.importorskip(
    "pybit.unified_trading", reason="the extra `conformance` is not installed"
)
from pybit import _websocket_trading  # noqa: E402
from pybit.exceptions import FailedRequestError, InvalidRequestError  # noqa: E402

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

LINEAR = {"category": "linear", "symbol": "BTCUSDT"}
_MADE = iter(range(1, 10_000))


def connect(sim: Running, **changes: Any) -> Any:
    """Return pybit's REST client."""
    ends = sim.endpoints["bybit_linear"]
    options = {"api_key": ends["key"], "api_secret": ends["secret"], "max_retries": 1}
    session = pybit.HTTP(**(options | changes))
    session.endpoint = ends["rest"]
    return session


@pytest.fixture(scope="module")
def client(sim: Running) -> Any:
    """pybit's REST client."""
    return connect(sim)


def cid() -> str:
    """Return a client id never used before."""
    return f"pybit-{next(_MADE)}"


def resting_price(client: Any) -> str:
    """A price at which a buy rests."""
    bid = float(client.get_orderbook(**LINEAR)["result"]["b"][0][0])
    return f"{bid * 0.99:.1f}"


def place(client: Any, **changes: Any) -> Any:
    """Place a limit buy that rests, but for `changes`."""
    params = {"side": "Buy", "orderType": "Limit", "qty": "0.002", "orderLinkId": cid()}
    params |= LINEAR | changes
    if params["orderType"] == "Limit" and "price" not in params:
        params["price"] = resting_price(client)
    return client.place_order(**params)["result"]


def position(client: Any) -> Any:
    """Return the position of the symbol."""
    return client.get_positions(**LINEAR)["result"]["list"][0]


def test_it_reads_the_time(client: Any) -> None:
    seconds = int(client.get_server_time()["result"]["timeSecond"])
    assert abs(seconds - time.time()) < 2


def test_it_reads_the_instruments(client: Any) -> None:
    rows = client.get_instruments_info(category="linear")["result"]["list"]
    assert {"BTCUSDT", "ETHUSDT", "SOLUSDT"} == {row["symbol"] for row in rows}


def test_it_reads_a_book(client: Any) -> None:
    book = client.get_orderbook(**LINEAR, limit=200)["result"]
    assert len(book["b"]) == len(book["a"]) == 200
    assert float(book["b"][0][0]) < float(book["a"][0][0])


def test_it_reads_the_balance(client: Any) -> None:
    wallet = client.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]
    assert float(wallet["coin"][0]["walletBalance"]) == pytest.approx(10_000, rel=0.01)


def test_it_places_queries_and_cancels_a_limit_order(client: Any) -> None:
    made = place(client)
    named = LINEAR | {"orderLinkId": made["orderLinkId"]}
    (found,) = client.get_open_orders(**named)["result"]["list"]
    assert (found["orderId"], found["orderStatus"]) == (made["orderId"], "New")
    client.cancel_order(**named)
    assert client.get_open_orders(**LINEAR)["result"]["list"] == []
    (past,) = client.get_order_history(**named)["result"]["list"]
    assert past["orderStatus"] == "Cancelled"
    with pytest.raises(InvalidRequestError, match="110001"):
        client.cancel_order(**named)


def test_a_market_order_makes_a_position_and_its_opposite_closes_it(client: Any) -> None:
    made = place(client, orderType="Market", qty="0.003")
    assert (position(client)["side"], position(client)["size"]) == ("Buy", "0.003")
    rows = client.get_executions(**LINEAR, orderId=made["orderId"])["result"]["list"]
    assert sum(float(row["execQty"]) for row in rows) == pytest.approx(0.003)
    assert {row["feeRate"] for row in rows} == {"0.00055"}
    place(client, orderType="Market", qty="0.005", side="Sell", reduceOnly=True)
    assert (position(client)["side"], position(client)["size"]) == ("", "0")


def test_a_batch_answers_for_each_of_its_orders(client: Any) -> None:
    price = resting_price(client)
    good = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.002",
            "price": price, "orderLinkId": cid()}  # fmt: skip
    bad = good | {"qty": "0.0001", "orderLinkId": cid()}
    reply = client.place_batch_order(category="linear", request=[good, bad])
    assert [item["code"] for item in reply["retExtInfo"]["list"]] == [0, 10001]
    number = reply["result"]["list"][0]["orderId"]
    named = {"symbol": "BTCUSDT", "orderId": number}
    ended = client.cancel_batch_order(category="linear", request=[named, named])
    assert [item["code"] for item in ended["retExtInfo"]["list"]] == [0, 110001]


def test_a_wrong_signature_is_refused(sim: Running) -> None:
    with pytest.raises(InvalidRequestError, match="10004"):
        connect(sim, api_secret="wrong").get_wallet_balance(accountType="UNIFIED")


def test_an_unknown_key_is_refused(sim: Running) -> None:
    with pytest.raises(InvalidRequestError, match="10003"):
        connect(sim, api_key="wrong").get_wallet_balance(accountType="UNIFIED")


def test_an_old_timestamp_is_refused(sim: Running) -> None:
    client = connect(sim, max_retries=2, retry_delay=0)
    sim.clock(60_000)
    try:
        with pytest.raises(FailedRequestError):  # pybit widens its window and tries again
            place(client, price="59000")
    finally:
        sim.clock(0)


def test_an_order_under_the_minimum_is_refused(client: Any) -> None:
    with pytest.raises(InvalidRequestError, match="10001"):
        place(client, qty="0.0001")
    with pytest.raises(InvalidRequestError, match="110094"):
        place(client, symbol="ETHUSDT", qty="0.01", price="400.00")


def test_a_duplicate_client_id_is_refused_even_after_the_first_has_closed(client: Any) -> None:
    same = place(client)["orderLinkId"]
    with pytest.raises(InvalidRequestError, match="110072"):
        place(client, orderLinkId=same)
    client.cancel_order(**LINEAR, orderLinkId=same)
    with pytest.raises(InvalidRequestError, match="110072"):
        place(client, orderLinkId=same)


def test_its_sockets_carry_books_orders_and_executions(
    sim: Running, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = sim.endpoints["bybit_linear"]
    monkeypatch.setattr(pybit, "PUBLIC_WSS", ends["public"])
    monkeypatch.setattr(pybit, "PRIVATE_WSS", ends["private"])
    monkeypatch.setattr(_websocket_trading, "TRADE_WSS", ends["trade"])
    keys = {"api_key": ends["key"], "api_secret": ends["secret"]}
    books: queue.Queue[Any] = queue.Queue()
    orders: queue.Queue[Any] = queue.Queue()
    fills: queue.Queue[Any] = queue.Queue()
    replies: queue.Queue[Any] = queue.Queue()
    # pybit notes what an answer belongs to after it has sent the question: an answer that takes no
    # time ends its thread, and then it waits for ever
    far = sim.fault("delay_message", exchange="bybit_linear", ms=200)
    public = pybit.WebSocket(channel_type="linear", testnet=False)
    private = pybit.WebSocket(channel_type="private", testnet=False, **keys)
    trade = pybit.WebSocketTrading(testnet=False, recv_window=5000, **keys)
    try:
        public.orderbook_stream(50, "BTCUSDT", books.put)
        private.order_stream(orders.put)
        private.execution_stream(fills.put)
        time.sleep(0.5)
        link = cid()
        trade.place_order(
            replies.put, side="Buy", orderType="Market", qty="0.002", orderLinkId=link, **LINEAR
        )
        assert replies.get(timeout=5)["data"]["orderLinkId"] == link
        (order,) = [o for o in orders.get(timeout=5)["data"] if o["orderLinkId"] == link]
        assert (order["orderStatus"], order["cumExecQty"]) == ("Filled", "0.002")
        assert fills.get(timeout=5)["data"][0]["orderLinkId"] == link
        for _ in range(20):  # pybit joins snapshot and differences itself
            data = books.get(timeout=5)["data"]
            assert float(data["b"][0][0]) < float(data["a"][0][0])
    finally:
        sim.clear(far)
        for socket in (public, private, trade):
            socket.exit()
    place(client, orderType="Market", side="Sell", reduceOnly=True)
