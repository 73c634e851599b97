"""Messages of tardis-node's tests, with the answer its mapper gives: ours says the same."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

from runner.engine.events import Bar, Depth, Event, Funding, Mark, Top, Trade
from runner.exchanges.api import Decoded
from runner.exchanges.registry import market_codec
from tests.exchanges.captures import DATA, binding, fixture, gz_objects

TESTS = {"map binance messages": "binance_spot", "map binance delivery messages": "binance_usdm"}
SYMBOLS = ["BNBBTC", "BTCUSDT", "BTCUSDC", "GNTBTC", "BTCUSD_200925", "BNBUSD_PERP", "ETCUSDT"]


def nanoseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000) * 1_000_000


def levels(rows: list[dict[str, float]]) -> list[tuple[float, float]]:
    return [(row["price"], row["amount"]) for row in rows]


def agrees(event: Event, expected: dict[str, Any], raw: dict[str, Any]) -> bool:
    if isinstance(event, Trade):
        got = (event.id, event.price, event.qty, event.taker)
        return got == tuple(expected[name] for name in ("id", "price", "amount", "side"))
    if isinstance(event, Top):
        got4 = (event.bid, event.bid_qty, event.ask, event.ask_qty)
        names = ("bidPrice", "bidAmount", "askPrice", "askAmount")
        return got4 == tuple(expected[name] for name in names)
    if isinstance(event, Depth):
        assert event.ts == raw["data"]["E"] * 1_000_000
        return (event.bids, event.asks) == (levels(expected["bids"]), levels(expected["asks"]))
    assert isinstance(event, Mark)
    return (event.price, event.ts) == (expected["markPrice"], nanoseconds(expected["timestamp"]))


def test_binance_messages_mean_what_another_mapper_says() -> None:
    codecs = {
        type: market_codec(type, "live", [binding(type, s, s) for s in SYMBOLS])
        for type in TESTS.values()
    }
    seen: Counter[str] = Counter()
    for row in gz_objects(DATA / "tardis_node" / "messages_with_expected_open.jsonl.gz"):
        type = TESTS.get(row["test"])
        if type is None:
            continue
        out = Decoded()
        codecs[type].decode("public", json.dumps(row["message"]).encode(), 1, 2, 3, False, out)
        expected = row["expected_normalized"]
        channel = row["message"].get("stream", "ack@ack").split("@")[1]
        if channel == "trade" and not expected:
            assert out.events == [] and row["message"]["data"]["X"] == "ADL"
        for event in out.events:
            # a book mapper withholds differences it has no snapshot for: that is our Book's work
            if expected:
                (answer,) = expected
                assert agrees(event, answer, row["message"]), row["message"]
                seen[event.__class__.__name__] += 1
        if not out.events and channel == "ack":
            assert out.notices == ["subscribed"]
    assert seen == {"Trade": 3, "Top": 2, "Depth": 4, "Mark": 1}


def decoded(type: str, frame: bytes, stream: str = "") -> Decoded:
    codec = market_codec(type, "live", [binding(type, "m", "BTCUSDT")])
    out = Decoded()
    if stream:
        frame = b'{"stream":"%s","data":%s}' % (stream.encode(), frame)
    codec.decode("public", frame, 1, 2, 3, True, out)
    return out


def test_binance_fixtures_of_mark_price_and_klines() -> None:
    mark = fixture("futures/market_data_json/mark_price_stream.json")
    assert decoded("binance_usdm", mark, "btcusdt@markPrice@1s").events == [
        Mark(market="m", price=11794.15, ts=1562305380000 * 10**6, t=1, wall=2, conn=3, more=True),
        Funding(market="m", rate=0.00038167, next_at=1562306400000 * 10**6,
                ts=1562305380000 * 10**6, t=1, wall=2, conn=3, more=True),
    ]  # fmt: skip
    for name, closed in (("open", False), ("closed", True)):
        frame = fixture(f"market_data_json/kline_stream_{name}.json")
        (bar,) = decoded("binance_usdm", frame, "btcusdt@kline_1m").events
        assert isinstance(bar, Bar) and bar.closed is closed
        assert (bar.open, bar.high, bar.close, bar.volume) == (0.001, 0.0025, 0.002, 1000.0)
        assert (bar.every, bar.open_at) == (60 * 10**9, 1638747660000 * 10**6)


def test_bybit_fixtures_of_books_tickers_and_instruments() -> None:
    (book,) = decoded("bybit_linear", fixture("bybit/test_data/ws_orderbook_delta.json")).events
    raw = json.loads(fixture("bybit/test_data/ws_orderbook_delta.json"))
    assert isinstance(book, Depth) and not book.snapshot
    assert book.first == book.last == raw["data"]["u"] and book.ts == raw["ts"] * 10**6
    raw = json.loads(fixture("bybit/test_data/ws_ticker_linear.json"))
    mark, funding = decoded("bybit_linear", json.dumps(raw | {"type": "snapshot"}).encode()).events
    assert isinstance(mark, Mark) and mark.price == float(raw["data"]["markPrice"])
    assert isinstance(funding, Funding) and funding.rate == float(raw["data"]["fundingRate"])
    codec = market_codec("bybit_linear", "live", [binding("bybit_linear", "m", "BTCUSDT")])
    body = fixture("bybit/test_data/http_get_instruments_linear.json")
    row = json.loads(body)["result"]["list"][0]
    (facts,) = codec.parse_instruments([body])
    lot = row["lotSizeFilter"]
    assert (facts.tick, facts.lot) == (row["priceFilter"]["tickSize"], lot["qtyStep"])
    assert (facts.min_qty, facts.min_notional) == (lot["minOrderQty"], lot["minNotionalValue"])
    bars = codec.parse_bars("m", 60 * 10**9, fixture("bybit/test_data/http_get_klines_linear.json"))
    rows = json.loads(fixture("bybit/test_data/http_get_klines_linear.json"))["result"]["list"]
    assert len(bars) == len(rows) - 1


def test_a_bybit_difference_with_id_one_is_a_snapshot_after_a_restart() -> None:
    raw = json.loads(fixture("bybit/test_data/ws_orderbook_delta.json"))
    raw["data"]["u"] = 1
    (book,) = decoded("bybit_linear", json.dumps(raw).encode()).events
    assert isinstance(book, Depth) and book.snapshot


def test_a_ticker_difference_changes_only_what_it_names() -> None:
    codec = market_codec("bybit_linear", "live", [binding("bybit_linear", "m", "BTCUSDT")])

    def feed(type: str, conn: int, **data: str) -> list[Event]:
        out = Decoded()
        push = {"topic": "tickers.BTCUSDT", "type": type, "ts": 5, "data": data}
        codec.decode("public", json.dumps(push).encode(), 1, 2, conn, False, out)
        return out.events

    assert feed("delta", 1, markPrice="9") == []  # nothing to add it to yet
    first = feed("snapshot", 1, markPrice="10", fundingRate="0.1", nextFundingTime="7")
    assert [type(event) for event in first] == [Mark, Funding]
    mark, funding = feed("delta", 1, markPrice="11")
    assert isinstance(mark, Mark) and isinstance(funding, Funding)
    assert (mark.price, funding.rate, funding.next_at) == (11.0, 0.1, 7_000_000)
    assert feed("delta", 2, markPrice="12") == []  # a new connection begins with a snapshot
