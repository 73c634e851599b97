"""Market data of Binance spot (documents of 2026-07-21)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from runner.exchanges.api import MarketBinding
from runner.exchanges.binance_common.market import BinanceMarket, Dialect
from runner.exchanges.endpoints import resolve

ENDPOINTS: Final[Mapping[str, Mapping[str, str]]] = {
    "live": {
        "rest": "https://api.binance.com",
        "public": "wss://stream.binance.com:9443",
        "market": "wss://stream.binance.com:9443",
    },
    "testnet": {
        "rest": "https://testnet.binance.vision",
        "public": "wss://stream.testnet.binance.vision",
        "market": "wss://stream.testnet.binance.vision",
    },
    "demo": {
        "rest": "https://demo-api.binance.com",
        "public": "wss://demo-stream.binance.com",
        "market": "wss://demo-stream.binance.com",
    },
}

DIALECT: Final = Dialect(
    type="binance_spot",
    root="/api/v3",
    trades="trade",
    split=False,
    futures=False,
    snapshot_limit=1000,
    snapshot_weight=50,
    info_weight=20,
    info_by_symbol=True,
)


def market_codec(
    network: str, bindings: Sequence[MarketBinding], endpoints: Mapping[str, str] | None = None
) -> BinanceMarket:
    """Return the codec; FileError for a network or endpoint that is not allowed."""
    urls = resolve(DIALECT.type, ENDPOINTS, network, endpoints)
    return BinanceMarket(DIALECT, network, bindings, urls)
