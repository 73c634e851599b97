"""Hosts are pinned to their network (R-73); sockets carry what was wanted."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from runner.base.errors import ExchangeError, FileError
from runner.exchanges.api import Outcome, SocketKind, Want
from runner.exchanges.binance_common.errors import SPOT, USDM
from runner.exchanges.bybit_linear.errors import ERRORS
from runner.exchanges.errors import ErrorTable
from runner.exchanges.registry import ORDER_TYPES, TYPES, market_codec, order_codec
from tests.exchanges.captures import binding
from tests.exchanges.orders import KEY, SECRET, codec, credentials, intent, journaled
from tests.patience import PATIENCE_S

SIM = {
    "rest": "http://127.0.0.1:1", "public": "ws://127.0.0.1:2/public",
    "market": "ws://127.0.0.1:2/market", "private": "ws://127.0.0.1:2/private",
    "trade": "ws://127.0.0.1:2/trade", "key": "k", "secret": "s",
}  # fmt: skip
MINUTE = 60_000_000_000


def market(type: str, network: str = "live", endpoints: dict[str, str] | None = None) -> object:
    return market_codec(type, network, [binding(type, "m", "BTCUSDT")], endpoints)


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("network", ["live", "testnet", "demo"])
def test_a_fixed_network_takes_no_hosts_from_outside(type: str, network: str) -> None:
    market(type, network)
    with pytest.raises(FileError, match="belongs to network custom"):
        market(type, network, SIM)


@pytest.mark.parametrize("type", TYPES)
def test_no_host_of_a_test_network_is_a_live_one(type: str) -> None:
    """Bybit's demo account reads live public data: its orders go elsewhere."""
    module = __import__(f"{TYPES[type]}.market", fromlist=["ENDPOINTS"])
    live = {url.split("/")[2] for url in module.ENDPOINTS["live"].values()}
    for network in ("testnet", "demo"):
        for name, url in module.ENDPOINTS[network].items():
            if (type, network, name) != ("bybit_linear", "demo", "public"):
                assert url.split("/")[2] not in live, (network, name)
            assert url.startswith(("https://", "wss://"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rest": "http://example.com"}, "loopback only"),
        ({"public": "ws://10.0.0.1/x"}, "loopback only"),
        ({"rest": "ws://127.0.0.1:1"}, "http"),
        ({"public": "https://127.0.0.1"}, "ws"),
        ({"rest": "https://user:pass@127.0.0.1"}, "login"),
        ({"rest": "127.0.0.1:5"}, "http"),
        ({"rest": "http://127.evil.com"}, "loopback only"),
    ],
)
def test_custom_endpoints_are_checked(change: dict[str, str], says: str) -> None:
    with pytest.raises(FileError, match=says):
        market("binance_usdm", "custom", SIM | change)


def test_missing_endpoints_types_and_networks_are_named() -> None:
    with pytest.raises(FileError, match="needs `endpoints`"):
        market("bybit_linear", "custom")
    with pytest.raises(FileError, match="lacks public"):
        market("bybit_linear", "custom", {"rest": "http://localhost:1"})
    with pytest.raises(FileError, match="no network 'moon'"):
        market("bybit_linear", "moon")
    with pytest.raises(FileError, match="binance_usdm"):
        market("nyse")
    with pytest.raises(FileError, match="market data only"):
        order_codec("binance_spot", "live", [], credentials())


def test_binance_splits_its_sockets_and_bybit_does_not() -> None:
    wants = [
        Want("m", "BTCUSDT", kind, every_ns=MINUTE if kind == "bars" else None)
        for kind in ("book", "trades", "mark", "funding", "bars")
    ]
    usdm = market_codec("binance_usdm", "sim", [binding("binance_usdm", "m", "BTCUSDT")], SIM)
    public, other = usdm.sockets(wants)
    assert public.url == (
        "ws://127.0.0.1:2/public/stream?streams=btcusdt@bookTicker/btcusdt@depth@100ms"
    )
    assert other.url == (
        "ws://127.0.0.1:2/market/stream?streams="
        "btcusdt@aggTrade/btcusdt@markPrice@1s/btcusdt@kline_1m"
    )
    assert (public.kind, other.kind) == (SocketKind.PUBLIC, SocketKind.MARKET)
    assert public.markets == other.markets == ("m",)
    bybit = market_codec("bybit_linear", "sim", [binding("bybit_linear", "m", "BTCUSDT")], SIM)
    (socket,) = bybit.sockets(wants)
    assert json.loads(socket.hello[0])["args"] == [
        "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT", "kline.1.BTCUSDT",
    ]  # fmt: skip
    off, on = (json.loads(frame) for frame in bybit.resubscribe("m"))
    assert (off["op"], on["op"]) == ("unsubscribe", "subscribe")
    assert off["args"] == on["args"] == ["orderbook.50.BTCUSDT"]


@pytest.mark.parametrize(
    ("depth", "topic"), [(1, 1), (5, 50), (50, 50), (51, 200), (201, 1000), (5000, 1000)]
)
def test_bybits_book_is_as_deep_as_wanted(depth: int, topic: int) -> None:
    bybit = market_codec("bybit_linear", "live", [binding("bybit_linear", "m", "BTCUSDT")])
    (socket,) = bybit.sockets([Want("m", "BTCUSDT", "book", depth)])
    assert json.loads(socket.hello[0])["args"] == [f"orderbook.{topic}.BTCUSDT"]


def test_streams_that_do_not_exist_are_refused() -> None:
    spot = market_codec("binance_spot", "live", [binding("binance_spot", "m", "BTCUSDT")])
    for want in (Want("m", "BTCUSDT", "mark"), Want("m", "BTCUSDT", "bars", every_ns=7)):
        with pytest.raises(ExchangeError, match="no stream"):
            spot.sockets([want])


def test_a_dry_run_imports_no_signer() -> None:
    program = (
        "import sys; from runner.exchanges.registry import market_codec\n"
        "for t in ('binance_usdm', 'binance_spot', 'bybit_linear'): market_codec(t, 'live', [])\n"
        "bad = [m for m in sys.modules if m.endswith(('hmac_key', '.orders', '.sign'))"
        " and m.startswith('runner.exchanges')]\n"
        "assert not bad, bad"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root, timeout=PATIENCE_S)


@pytest.mark.parametrize("type", sorted(ORDER_TYPES))
@pytest.mark.parametrize("order_entry", ["websocket", "rest"])
def test_labels_carry_neither_key_nor_signature(type: str, order_entry: str) -> None:
    trading = codec(type, order_entry)
    request = trading.place(journaled(intent()), 1, "r")
    assert KEY not in request.label and "?" not in request.label
    assert SECRET not in repr(trading.__dict__)


def test_limit_orders_without_a_price_are_refused_here() -> None:
    for type in ORDER_TYPES:
        for order_entry in ("websocket", "rest"):
            with pytest.raises(ExchangeError, match="without a price"):
                codec(type, order_entry).place(journaled(intent(price="")), 1, "r")


def test_bybits_demo_has_no_order_socket_so_orders_go_by_http() -> None:
    trading = codec("bybit_linear", "websocket", network="demo")
    assert [spec.id for spec in trading.private_sockets(None)] == ["private"]
    assert trading.place(journaled(intent()), 1, "r").label == "POST /v5/order/create"


@pytest.mark.parametrize("table", [SPOT, USDM, ERRORS], ids=["spot", "usdm", "bybit"])
def test_every_code_has_a_cause_and_an_action(table: object) -> None:
    codes = table.codes()  # type: ignore[attr-defined]
    assert len(codes) > 20
    for code in codes:
        entry = table.find(code)  # type: ignore[attr-defined]
        assert entry.cause and entry.action and entry.outcome != "accepted"


@pytest.mark.parametrize(
    ("table", "codes"),
    [
        (SPOT, "-1000 -1001 -1006 -1007 -2013"),
        (USDM, "-1000 -1001 -1006 -1007 -2013 -4116"),
        (ERRORS, "10000 10014 10016 10019 20006 110001 110072 110079 170007 170141 170143 170146"
                 " 170147 170213"),
    ],
    ids=["spot", "usdm", "bybit"],
)  # fmt: skip
def test_these_codes_and_no_others_leave_a_place_in_doubt(table: ErrorTable, codes: str) -> None:
    """One more here costs some questions; one less is an order that is sent twice, or forgotten."""
    doubtful = {c for c in table.codes() if table.outcome(c) is Outcome.UNKNOWN}
    assert doubtful == set(codes.split())
    assert table.outcome("-31337") is Outcome.UNKNOWN


def test_structs_of_the_wire_hold_no_enums_for_statuses() -> None:
    """An enum field refuses the whole frame on a new value."""
    root = Path(__file__).resolve().parents[2] / "runner" / "exchanges"
    for path in root.rglob("wire.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AnnAssign):
                assert "Enum" not in ast.unparse(node) and "Literal" not in ast.unparse(node)


@pytest.mark.parametrize("type", ["binance_usdm", "binance_spot", "bybit_linear"])
@pytest.mark.parametrize("network", ["live", "testnet"])
def test_a_codec_names_the_only_hosts_it_speaks_to(type: str, network: str) -> None:
    """R-73: what the sessions are pinned to; a testnet host is never among the live ones."""
    hosts = market_codec(type, network, ()).hosts
    other = market_codec(type, "live" if network == "testnet" else "testnet", ()).hosts
    assert hosts and not hosts & other
