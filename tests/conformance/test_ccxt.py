"""ccxt, unmodified but for its base URLs, does all it is for against the simulator."""

from __future__ import annotations

import time
from typing import Any

import pytest

from runner.sim.launch import Running

ccxt = pytest.importorskip("ccxt", reason="the extra `conformance` is not installed")

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

SYMBOL = "BTC/USDT:USDT"


def connect(sim: Running, name: str, **changes: Any) -> Any:
    """Return a ccxt client whose URLs point to the simulator."""
    kind = {"binanceusdm": "binance_usdm", "bybit": "bybit_linear"}[name]
    ends = sim.endpoints[kind]
    options = {"apiKey": ends["key"], "secret": ends["secret"], "enableRateLimit": False}
    client = getattr(ccxt, name)(options | changes)
    client.options["fetchCurrencies"] = False  # asks spot's wallet, which is not simulated
    if name == "bybit":
        client.urls["api"] = dict.fromkeys(client.urls["api"], ends["rest"])
        client.options["fetchMarkets"] = {"types": ["linear"]}
    else:
        client.urls["api"] = {
            key: url.replace("https://fapi.binance.com", ends["rest"])
            for key, url in client.urls["api"].items()
            if isinstance(url, str)
        }
    return client


@pytest.fixture(scope="module", params=["binanceusdm", "bybit"])
def client(request: pytest.FixtureRequest, sim: Running) -> Any:
    """A client of each exchange with its markets loaded."""
    client = connect(sim, request.param)
    client.load_markets()
    return client


_MADE = iter(range(1, 10_000))


def cid() -> dict[str, str]:
    """Return a parameter with a client id never used before."""
    return {"clientOrderId": f"ccxt-{next(_MADE)}"}


def resting_price(client: Any) -> float:
    """A price at which a buy rests."""
    bid = client.fetch_order_book(SYMBOL, 5)["bids"][0][0]
    return float(client.price_to_precision(SYMBOL, bid * 0.99))


def test_it_reads_the_time(client: Any) -> None:
    assert abs(client.fetch_time() - time.time() * 1000) < 2000


def test_it_reads_the_instruments(client: Any) -> None:
    market = client.market(SYMBOL)
    assert market["linear"] and market["swap"] and market["precision"]["price"] == 0.1
    assert {"BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"} <= set(client.markets)


def test_it_reads_a_book(client: Any) -> None:
    book = client.fetch_order_book(SYMBOL, 50)
    assert len(book["bids"]) == len(book["asks"]) == 50
    assert book["bids"][0][0] < book["asks"][0][0]


def test_it_reads_bars_that_end_near_the_present_price(client: Any) -> None:
    bars = client.fetch_ohlcv(SYMBOL, "1m", limit=1000)
    assert len(bars) == 1000
    assert bars[-1][4] == pytest.approx(resting_price(client) / 0.99, rel=0.001)


def test_it_reads_the_balance(client: Any) -> None:
    assert client.fetch_balance()["USDT"]["total"] == pytest.approx(10_000, rel=0.02)


def test_it_places_queries_and_cancels_a_limit_order(client: Any) -> None:
    made = client.create_order(SYMBOL, "limit", "buy", 0.002, resting_price(client), cid())
    found = client.fetch_open_order(made["id"], SYMBOL)
    assert (found["status"], found["amount"], found["filled"]) == ("open", 0.002, 0)
    assert made["id"] in [order["id"] for order in client.fetch_open_orders(SYMBOL)]
    client.cancel_order(made["id"], SYMBOL)
    assert made["id"] not in [order["id"] for order in client.fetch_open_orders(SYMBOL)]
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(made["id"], SYMBOL)


def test_a_market_order_makes_a_position_and_its_opposite_closes_it(client: Any) -> None:
    client.create_order(SYMBOL, "market", "buy", 0.003, None, cid())
    (position,) = [p for p in client.fetch_positions([SYMBOL]) if p["contracts"]]
    assert (position["side"], position["contracts"]) == ("long", 0.003)
    trades = client.fetch_my_trades(SYMBOL)
    rate = {"binanceusdm": 0.0005, "bybit": 0.00055}[client.id]
    assert trades[-1]["fee"]["cost"] == pytest.approx(trades[-1]["cost"] * rate, rel=1e-3)
    client.create_order(SYMBOL, "market", "sell", 0.003, None, {"reduceOnly": True, **cid()})
    assert not [p for p in client.fetch_positions([SYMBOL]) if p["contracts"]]


def test_a_post_only_order_that_would_take_does_not(client: Any) -> None:
    ask = client.fetch_order_book(SYMBOL, 5)["asks"][0][0]
    price = float(client.price_to_precision(SYMBOL, ask * 1.001))
    params = {"postOnly": True, **cid()}
    if client.id == "binanceusdm":
        with pytest.raises(ccxt.InvalidOrder, match="-5022"):
            client.create_order(SYMBOL, "limit", "buy", 0.002, price, params)
        return
    made = client.create_order(SYMBOL, "limit", "buy", 0.002, price, params)
    assert client.fetch_closed_order(made["id"], SYMBOL)["status"] in ("canceled", "rejected")


def test_cancel_all_leaves_no_open_order(client: Any) -> None:
    for _ in range(3):
        client.create_order(SYMBOL, "limit", "buy", 0.002, resting_price(client), cid())
    client.cancel_all_orders(SYMBOL)
    assert client.fetch_open_orders(SYMBOL) == []


def test_it_sets_the_leverage(client: Any) -> None:
    client.set_leverage(7, SYMBOL)


def test_a_wrong_signature_is_refused(client: Any, sim: Running) -> None:
    wrong = connect(sim, client.id, secret="not the secret")
    with pytest.raises(ccxt.AuthenticationError):
        wrong.fetch_positions([SYMBOL])


def test_an_unknown_key_is_refused(client: Any, sim: Running) -> None:
    wrong = connect(sim, client.id, apiKey="not-the-key")
    with pytest.raises(ccxt.AuthenticationError):
        wrong.fetch_positions([SYMBOL])


def test_an_old_timestamp_is_refused(client: Any, sim: Running) -> None:
    late = connect(sim, client.id)
    late.nonce = lambda: int(time.time() * 1000) - 60_000
    with pytest.raises(ccxt.InvalidNonce):
        late.create_order(SYMBOL, "limit", "buy", 0.002, resting_price(client), cid())


def test_an_order_under_the_minimum_is_refused(client: Any) -> None:
    least = {"binanceusdm": (SYMBOL, 0.001, 59_000.0), "bybit": ("ETH/USDT:USDT", 0.01, 400.0)}
    symbol, qty, price = least[client.id]
    with pytest.raises(ccxt.BaseError, match=r"-4164|110094"):
        client.create_order(symbol, "limit", "buy", qty, price, cid())


def test_a_duplicate_client_id_is_refused(client: Any) -> None:
    same = cid()
    price = resting_price(client)
    made = client.create_order(SYMBOL, "limit", "buy", 0.002, price, same)
    with pytest.raises(ccxt.BaseError, match=r"-4116|110072"):
        client.create_order(SYMBOL, "limit", "buy", 0.002, price, same)
    client.cancel_order(made["id"], SYMBOL)
    if client.id == "binanceusdm":  # unique among open orders only
        again = client.create_order(SYMBOL, "limit", "buy", 0.002, price, same)
        client.cancel_order(again["id"], SYMBOL)
    else:  # always unique
        with pytest.raises(ccxt.BaseError, match="110072"):
            client.create_order(SYMBOL, "limit", "buy", 0.002, price, same)


def test_more_than_the_margin_is_refused(client: Any) -> None:
    with pytest.raises(ccxt.BaseError, match=r"-2019|110007"):  # classes go by the true host
        client.create_order(SYMBOL, "limit", "buy", 20, resting_price(client), cid())


@pytest.mark.parametrize(
    ("kind", "waits", "past"), [("stopLossPrice", 0.97, 1.03), ("takeProfitPrice", 1.03, 0.97)]
)
def test_a_stop_or_target_waits_apart_from_the_orders_and_goes_by_its_cancel(
    client: Any, kind: str, waits: float, past: float
) -> None:
    """ccxt finds Binance's in the algo service, Bybit's among the conditional orders."""
    bid = client.fetch_order_book(SYMBOL)["bids"][0][0]
    client.create_order(SYMBOL, "market", "buy", 0.002, None, cid())
    price = client.price_to_precision(SYMBOL, bid * waits)
    params = {kind: price, "reduceOnly": True} | cid()
    stop = client.create_order(SYMBOL, "market", "sell", 0.002, None, params)
    waiting = {"trigger": True}
    found = client.fetch_open_orders(SYMBOL, params=waiting)
    assert [float(each["triggerPrice"]) for each in found] == [float(price)]
    client.cancel_order(stop["id"], SYMBOL, waiting)
    assert client.fetch_open_orders(SYMBOL, params=waiting) == []
    reached = params | {kind: client.price_to_precision(SYMBOL, bid * past)} | cid()
    with pytest.raises(ccxt.ExchangeError, match=r"-2021|11009[23]"):
        client.create_order(SYMBOL, "market", "sell", 0.002, None, reached)
    client.create_order(SYMBOL, "market", "sell", 0.002, None, {"reduceOnly": True} | cid())
