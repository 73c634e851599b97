"""Market data of Binance USD-M futures (documents of 2026-06-28).

The undivided socket roots were retired on 2026-04-23: book data is served under /public, the rest
under /market, and a stream asked for on the wrong one gives no data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from runner.exchanges.api import MarketBinding
from runner.exchanges.binance_common.market import BinanceMarket, Dialect
from runner.exchanges.endpoints import resolve

ENDPOINTS: Final[Mapping[str, Mapping[str, str]]] = {
    "live": {
        "rest": "https://fapi.binance.com",
        "public": "wss://fstream.binance.com/public",
        "market": "wss://fstream.binance.com/market",
        "private": "wss://fstream.binance.com/private",
        "trade": "wss://ws-fapi.binance.com/ws-fapi/v1",
        "sapi": "https://api.binance.com",
    },
    "testnet": {
        "rest": "https://demo-fapi.binance.com",
        "public": "wss://fstream.binancefuture.com/public",
        "market": "wss://fstream.binancefuture.com/market",
        "private": "wss://fstream.binancefuture.com/private",
        "trade": "wss://testnet.binancefuture.com/ws-fapi/v1",
    },
    "demo": {
        "rest": "https://demo-fapi.binance.com",
        "public": "wss://demo-fstream.binance.com/public",
        "market": "wss://demo-fstream.binance.com/market",
        "private": "wss://demo-fstream.binance.com/private",
        "trade": "wss://testnet.binancefuture.com/ws-fapi/v1",
    },
}

DIALECT: Final = Dialect(
    type="binance_usdm",
    root="/fapi/v1",
    trades="aggTrade",
    split=True,
    futures=True,
    snapshot_limit=1000,
    snapshot_weight=20,
    info_weight=1,
    info_by_symbol=False,
)


def market_codec(
    network: str, bindings: Sequence[MarketBinding], endpoints: Mapping[str, str] | None = None
) -> BinanceMarket:
    """Return the codec; FileError for a network or endpoint that is not allowed."""
    urls = resolve(DIALECT.type, ENDPOINTS, network, endpoints)
    return BinanceMarket(DIALECT, network, bindings, urls)
