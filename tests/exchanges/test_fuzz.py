"""No foreign bytes make a decoder raise: truncated, garbled and generated frames."""

from __future__ import annotations

import json
import math
from itertools import islice
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.base.errors import ExchangeError
from runner.base.rng import seeded
from runner.engine.events import Depth, Funding, Mark, Top, Trade
from runner.exchanges.api import Decoded
from runner.exchanges.registry import market_codec
from runner.market.state import MarketState, StreamWant
from tests.exchanges.captures import binding, cryptofeed_lines, hft_lines
from tests.exchanges.orders import codec
from tests.exchanges.test_private_frames import bybit_execution, order_update

USDM = market_codec("binance_usdm", "live", [binding("binance_usdm", "m", "BTCUSDT")])
BYBIT = market_codec("bybit_linear", "live", [binding("bybit_linear", "m", "BTCUSDT")])
USDM_ORDERS = codec("binance_usdm", "websocket")
BYBIT_ORDERS = codec("bybit_linear", "websocket")
CODECS = (USDM, BYBIT, USDM_ORDERS, BYBIT_ORDERS)
HOSTILE = [
    b"", b"{", b"[]", b"null", b"0", b'""', b"\xff\xfe", b"{}", b"[" * 100_000, b'{"stream":"',
    b'{"stream":"btcusdt@bookTicker"', b'{"topic":"', b'{"topic":"orderbook.50.BTCUSDT"}',
    b'{"e":"ORDER_TRADE_UPDATE"}', b'{"e":"ORDER_TRADE_UPDATE","o":{"c":5}}', b'{"id":[1]}',
    b'{"stream":"btcusdt@bookTicker","data":{"u":1,"b":"nan","B":"1","a":"2","A":"1"}}',
    b'{"stream":"btcusdt@bookTicker","data":{"u":1,"b":"inf","B":"1","a":"2","A":"1"}}',
    b'{"stream":"btcusdt@bookTicker","data":{"u":1,"b":"-1","B":"1","a":"2","A":"1"}}',
    b'{"stream":"btcusdt@bookTicker","data":{"u":1e40,"b":"1","B":"1","a":"2","A":"1"}}',
    b'{"topic":"order","data":[{"symbol":"BTCUSDT"}]}', b'{"topic":"execution","data":{}}',
    b'{"op":"order.create","reqId":1}', b'{"op":"auth","success":"maybe"}',
    '{"stream":"\u00e9"}'.encode(), b'{"retCode":"x"}',
]  # fmt: skip


def feed(data: bytes) -> None:
    for each in CODECS:
        out = Decoded()
        each.decode("public", data, 1, 2, 3, False, out)
        each.decode("trade", memoryview(data), 1, 2, 3, False, out)
        for event in out.events:
            if isinstance(event, Top):
                values = (event.bid, event.ask, event.bid_qty, event.ask_qty)
                assert all(math.isfinite(value) and value >= 0 for value in values)
            elif isinstance(event, Trade | Mark):
                assert math.isfinite(event.price)
            elif isinstance(event, Funding):
                assert math.isfinite(event.rate)
            elif isinstance(event, Depth):
                levels = event.bids + event.asks
                assert all(math.isfinite(p) and math.isfinite(q) for p, q in levels)


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_frames_are_refused_in_peace(data: bytes) -> None:
    feed(data)


def frames() -> list[bytes]:
    """Real frames of both exchanges and private ones of the documented shape."""
    found = [frame for _, frame in islice(hft_lines("binance_usdm_btcusdt_20240808.gz"), 300)]
    lines = cryptofeed_lines("bybit_v5_linear_spot_BTC_DOGE_20260809.jsonl.zst")
    found += [line["data"].encode() for line in islice(lines, 60) if line["t"] == "recv"]
    found += [json.dumps(order_update(x="TRADE", l="0.001", n="0.1", L="5")).encode()] * 20
    return [frame for frame in found if len(frame) < 4_000] + [
        json.dumps(bybit_execution()).encode()
    ] * 20


def mutate(frame: bytes, random: Random) -> bytes:
    data = bytearray(frame)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(data))
        choice = random.randrange(5)
        if choice == 0:
            del data[at:]
        elif choice == 1:
            data[at] = random.randrange(256)
        elif choice == 2:
            del data[at : at + random.randint(1, 9)]
        elif choice == 3:
            data[at:at] = random.choice([b'"', b"{", b"null", b"-", b"1e999", b"NaN", b"\\u0000"])
        else:
            digit = next((i for i in range(at, len(data)) if 48 <= data[i] <= 57), at)
            data[digit : digit + 1] = random.choice([b"99999999999999999999", b"-5", b'"x"', b""])
        if not data:
            return b""
    return bytes(data)


@pytest.mark.parametrize(
    "rounds", [4, pytest.param(400, marks=pytest.mark.campaign)], ids=["few", "many"]
)
def test_mutated_frames_never_raise(rounds: int) -> None:
    random = seeded("frames", rounds)
    for frame in frames():
        for _ in range(rounds):
            feed(mutate(frame, random))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from("e o s c x X data topic stream result id u b a B A E T status op".split()),
        inner, max_size=6),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_generated_json_never_raises(value: object) -> None:
    feed(json.dumps(value).encode())


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_rest_answers_of_any_bytes_raise_the_declared_error_only(body: bytes) -> None:
    parsers = [
        lambda: USDM.parse_snapshot("m", body, 0, 0), lambda: USDM.parse_instruments([body]),
        lambda: USDM.parse_time(body), lambda: USDM.parse_bars("m", 60_000_000_000, body),
        lambda: USDM.parse_mark("m", body, 0, 0), lambda: BYBIT.parse_instruments([body]),
        lambda: BYBIT.parse_time(body), lambda: BYBIT.parse_bars("m", 60_000_000_000, body),
        lambda: BYBIT.parse_mark("m", body, 0, 0), lambda: USDM.parse_payments("m", body),
        lambda: BYBIT.parse_payments("m", body),
        *(
            parser
            for each in (USDM_ORDERS, BYBIT_ORDERS)
            for parser in (
                lambda each=each: each.parse_open_orders(body),
                lambda each=each: each.parse_fills(body),
                lambda each=each: each.parse_forced(body),
                lambda each=each: each.parse_account([body, body], 0, 0),
                lambda each=each: each.parse_fees(body),
                lambda each=each: each.parse_setup([body, body]),
                lambda each=each: each.parse_key_facts(body),
                lambda each=each: each.parse_set(400, body),
                lambda each=each: each.parse_query("c", 200, body),
                lambda each=each: each.reply("c", "place", 200, {}, body, 0, 0),
            )
        ),
    ]  # fmt: skip
    for parser in parsers:
        try:
            parser()
        except ExchangeError:
            continue


def test_a_garbled_stretch_of_a_capture_leaves_the_book_right_or_missing() -> None:
    """Lost and garbled frames end in a gap, never in a wrong touch that looks live."""
    random = seeded("garbled")
    state = MarketState([StreamWant("m.book", "m", "x", "book", 10**9)])
    stream = state.streams["m.book"]
    depths = 0
    for at, frame in islice(hft_lines("binance_usdm_btcusdt_20240808.gz"), 20_000):
        out = Decoded()
        if b'"stream"' not in frame[:12]:
            out.events.append(USDM.parse_snapshot("m", frame, at, at))
        elif b"@depth" in frame[:40]:
            depths += 1
            data = frame[: random.randrange(len(frame))] if depths == 1_000 else frame
            USDM.decode("public", data, at, at, 1, False, out)
            assert out.unrecognised == (depths == 1_000)
        for event in out.events:
            state.apply(event)
    assert depths > 1_000 and stream.state == "gap"
    assert ("m", "gap") in state.resyncs
