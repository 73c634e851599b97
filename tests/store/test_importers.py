"""Imports of real captures, counted against the answer key; and of lines that are none."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from runner.base.errors import FileError, WorldError
from runner.store.importers import Imported, import_cryptofeed, import_hftbacktest, venue_of
from runner.store.lines import AnyLine, Close, Http, In, Open, Out
from runner.store.recording import Recording

DATA = Path(__file__).parents[2] / "../shared/data"
HFT = {
    "hftbacktest/binance_usdm_btcusdt_20230404.gz": ("binance_usdm", "BTCUSDT"),
    "hftbacktest/binance_usdm_btcusdt_20240718.gz": ("binance_usdm", "BTCUSDT"),
    "hftbacktest/binance_spot_btcusdt_20240808.gz": ("binance_spot", "BTCUSDT"),
    "hftbacktest/binance_coinm_btcusd_perp_20240808.gz": ("binance_coinm", "BTCUSD_PERP"),
}
CRYPTOFEED = {
    "cryptofeed_v3/binance_spot_20211012.jsonl.zst": ["binance_spot"],
    "cryptofeed_v3/binance_usdm_20210722.jsonl.zst": ["binance_usdm"],
    "cryptofeed_v3/bybit_v5_linear_spot_BTC_DOGE_20260809.jsonl.zst": [
        "bybit_linear",
        "bybit_spot",
    ],
    "cryptofeed_v3/okx_v5_20220513.jsonl.zst": ["okx"],
    "cryptofeed_v3/bitget_v1_spot_mix_20220407.jsonl.zst": ["bitget"],
    "cryptofeed_v1/binance_spot_BTC_ETH_DOT_20210404.txt.gz": ["binance_spot"],
    "cryptofeed_v1/binance_usdm_5sym_20210405.txt.gz": ["binance_usdm"],
    "cryptofeed_v1/okx_v5_bookstbt_20210722.txt.gz": ["okx"],
}


def expected(name: str) -> dict[str, Any]:
    if not (DATA / "EXPECTED.json").is_file():
        pytest.skip("the captured market data (../shared/data) is not on this machine")
    key: dict[str, Any] = json.loads((DATA / "EXPECTED.json").read_text())[name]
    return key


def read(imported: Imported) -> list[AnyLine]:
    recording = Recording(imported.target)
    lines = list(recording)
    assert recording.state.ended and not recording.state.broken
    return lines


class Envelope(msgspec.Struct):
    stream: str


@pytest.mark.parametrize("name", HFT)
def test_hftbacktest_captures_come_over_line_by_line(tmp_path: Path, name: str) -> None:
    key, (type, symbol) = expected(name), HFT[name]
    done = import_hftbacktest(DATA / name, type, symbol, tmp_path / "r")
    lines = read(done)
    frames = [line for line in lines if isinstance(line, In)]
    answers = [line for line in lines if isinstance(line, Http)]
    channels = Counter(msgspec.json.decode(line.d, type=Envelope).stream for line in frames)
    if answers:
        channels["REST depth snapshot"] = len(answers)
        assert json.loads(answers[0].d)["lastUpdateId"] == key["rest_snapshot_lastUpdateId"]
        assert f"/depth?symbol={symbol}&limit=1000" in answers[0].req
    assert channels == key["channels"]
    assert len(frames) + len(answers) == key["lines"] == done.frames + done.answers
    unit = 1 if key["recv_first"] > 10**18 else 1000
    assert (done.first_wall, done.last_wall) == (
        key["recv_first"] * unit,
        key["recv_last"] * unit,
    )
    assert frames[0].w == key["recv_first"] * unit or answers[0].w == key["recv_first"] * unit
    assert all(a.t <= b.t for a, b in pairwise(lines))
    with gzip.open(DATA / name, "rt") as source:
        for line, text in zip((x for x in lines if isinstance(x, In | Http)), source, strict=True):
            assert text.rstrip("\n").split(" ", 1)[1] == line.d


@pytest.mark.parametrize("name", CRYPTOFEED)
def test_cryptofeed_collections_come_over_in_the_order_of_time(tmp_path: Path, name: str) -> None:
    key = expected(name)
    done = import_cryptofeed(DATA / name, tmp_path / "r")
    lines = read(done)
    kinds = key["kinds"]
    assert done.frames == kinds["recv"] == sum(isinstance(line, In) for line in lines)
    assert done.answers == kinds.get("http", 0) == sum(isinstance(x, Http) for x in lines)
    assert done.sent == kinds.get("send", 0) == sum(isinstance(x, Out) for x in lines)
    assert done.skipped == kinds.get("header", 0) + kinds.get("config", 0)
    sockets = [line for line in lines if isinstance(line, Open) and line.socket != "rest"]
    assert len(sockets) == kinds["connect"]
    assert sorted({line.type for line in sockets}) == CRYPTOFEED[name]
    assert all("?" not in line.url for line in lines if isinstance(line, Open))
    stamps = [line.w for line in lines if isinstance(line, In)]
    assert stamps == sorted(stamps)
    # The key's first and last are those of the file, which groups by connection.
    for told in key["recv"]:
        assert min(abs(stamp - told * 1e9) for stamp in stamps) < 1000
    known = {line.c for line in lines if isinstance(line, Open)}
    assert {line.c for line in lines if isinstance(line, In | Out | Http)} <= known


@pytest.mark.parametrize(
    ("url", "type"),
    [
        ("wss://fstream.binance.com/stream?streams=x", "binance_usdm"),
        ("https://api.binance.com/api/v3/depth", "binance_spot"),
        ("wss://stream.bybit.com/v5/public/linear", "bybit_linear"),
        ("https://api.bybit.com/v5/market/orderbook?category=spot", "bybit_spot"),
        ("wss://stream.bybit.com/realtime_public", "bybit_realtime_public"),
        ("wss://ws.okx.com:8443/ws/v5/public", "okx"),
        ("wss://notbinance.com/x", "notbinance.com"),
    ],
)
def test_the_adapter_is_known_by_the_host(url: str, type: str) -> None:
    assert venue_of(url) == type


def test_binary_frames_and_reconnects_of_cryptofeed_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "x.jsonl.zst"
    rows = [
        {"t": "header", "format": 2},
        {"t": "connect", "conn": "a", "ts": 1.0, "addr": "wss://ws.okx.com/ws"},
        {"t": "recv", "conn": "a", "ts": 1.1, "data": "AAH/", "b64": True},
        {"t": "connect", "conn": "a", "ts": 2.0, "addr": "wss://ws.okx.com/ws"},
        {"t": "recv", "conn": "a", "ts": 2.1, "data": "x"},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    source.write_bytes(zstandard.ZstdCompressor().compress(text.encode()))
    lines = read(import_cryptofeed(source, tmp_path / "r"))
    frames = [line for line in lines if isinstance(line, In)]
    assert [(line.c, line.payload) for line in frames] == [(1, b"\x00\x01\xff"), (2, b"x")]
    assert [line.c for line in lines if isinstance(line, Close)] == [1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"1700000000 {}\n", "x.txt:1: no receive time"),
        ("x.txt", b"1723161255088169167 {}\nrubbish\n", "x.txt:2: no receive time"),
        ("x.txt", b"1723161255088169167 {}\n", "no line is a frame"),
        ("x.txt", b"", "holds no line"),
        ("x.gz", b"not gzip", "cannot read"),
        ("x.gz", gzip.compress(b"1723161255088169167 {}\n" * 2000)[:-12], "cannot read"),
        ("x.txt", b"1723161255088169167 \xff\xfe\n", "cannot read"),
        ("missing.gz", None, "cannot read"),
    ],
)
def test_what_is_no_capture_is_named_with_its_line(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    source = tmp_path / name
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(FileError, match=message):
        import_hftbacktest(source, "binance_usdm", "BTCUSDT", tmp_path / "r")
    other = source.rename(tmp_path / f"c-{name}") if content is not None else source
    with pytest.raises(FileError):
        import_cryptofeed(other, tmp_path / "r2")


def test_an_unknown_type_and_a_used_target_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.write_bytes(b'1723161255088169 {"stream":"btcusdt@x","data":{}}\n')
    with pytest.raises(FileError, match="known are binance_coinm"):
        import_hftbacktest(source, "kraken", "X", tmp_path / "r")
    import_hftbacktest(source, "binance_spot", "BTCUSDT", tmp_path / "r")
    with pytest.raises(WorldError, match="already"):
        import_hftbacktest(source, "binance_spot", "BTCUSDT", tmp_path / "r")


SPOT = '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","U":1,"u":2,"b":[],"a":[]}}'
USDM = SPOT.replace('"b":', '"pu":0,"b":')
COINM = USDM.replace('"U"', '"ps":"BTCUSD","U"')


@pytest.mark.parametrize(
    ("frame", "type", "symbol", "message"),
    [
        (SPOT, "binance_usdm", "BTCUSDT", "is of binance_spot, not of binance_usdm"),
        (USDM, "binance_spot", "BTCUSDT", "is of binance_usdm, not of binance_spot"),
        (COINM, "binance_usdm", "BTCUSDT", "is of binance_coinm, not of binance_usdm"),
        (SPOT, "binance_spot", "ETHUSDT", "holds BTCUSDT, not ETHUSDT"),
        (SPOT, "binance_spot", "BTC", "holds BTCUSDT, not BTC"),
    ],
)
def test_a_capture_is_not_taken_for_another_market(
    tmp_path: Path, frame: str, type: str, symbol: str, message: str
) -> None:
    source = tmp_path / "x"
    source.write_text(f"1723161255088169167 {frame}\n")
    with pytest.raises(FileError, match=message):
        import_hftbacktest(source, type, symbol, tmp_path / "r")
    assert not (tmp_path / "r").exists(), "the next try finds the place free"


def test_a_symbol_may_be_typed_in_small_letters(tmp_path: Path) -> None:
    source = tmp_path / "x"
    snapshot = '{"lastUpdateId":1,"bids":[],"asks":[]}'
    source.write_text(f"1723161255088169167 {SPOT}\n1723161255088169168 {snapshot}\n")
    lines = read(import_hftbacktest(source, "binance_spot", "btcusdt", tmp_path / "r"))
    (answer,) = (line for line in lines if isinstance(line, Http))
    assert "symbol=BTCUSDT&" in answer.req, "a replay looks for the exchange's own name"
