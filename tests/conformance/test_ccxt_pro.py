"""ccxt.pro, unmodified but for its base URLs, hears books and its own orders."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runner.sim.launch import Running

pytest.importorskip("ccxt", reason="the extra `conformance` is not installed")
import ccxt.pro as pro

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

SYMBOL = "BTC/USDT:USDT"
_LIVE = {
    "https://fapi.binance.com": "rest",
    "wss://fstream.binance.com": "root",  # ccxt puts /public, /market, /private between
    "wss://ws-fapi.binance.com/ws-fapi/v1": "trade",
    "wss://stream.bybit.com/v5/public/linear": "public",
    "wss://stream.bybit.com/v5/private": "private",
    "wss://stream.bybit.com/v5/trade": "trade",
}


def redirect(urls: Any, ends: dict[str, str]) -> Any:
    """Put the simulator's URLs in place of the live ones, at any depth."""
    if isinstance(urls, dict):
        return {key: redirect(value, ends) for key, value in urls.items()}
    if not isinstance(urls, str):
        return urls
    text = urls.replace("{hostname}", "bybit.com")
    for live, name in _LIVE.items():
        if name in ends and text.startswith(live):
            return ends[name] + text[len(live) :]
    return ends["rest"] if text.startswith("https://api.bybit.com") else urls


def connect(sim: Running, name: str) -> Any:
    """Return a ccxt.pro client whose URLs point to the simulator."""
    ends = sim.endpoints[{"binanceusdm": "binance_usdm", "bybit": "bybit_linear"}[name]]
    ends = ends | {"root": ends["public"].removesuffix("/public")}
    client = getattr(pro, name)({"apiKey": ends["key"], "secret": ends["secret"]})
    client.urls["api"] = redirect(client.urls["api"], ends)
    client.options["fetchCurrencies"] = False
    if name == "bybit":
        client.options["fetchMarkets"] = {"types": ["linear"]}
    return client


@pytest.mark.parametrize("name", ["binanceusdm", "bybit"])
def test_it_joins_snapshot_and_differences_to_a_book(sim: Running, name: str) -> None:
    async def main() -> None:
        client = connect(sim, name)
        try:
            for _ in range(15):
                book = await asyncio.wait_for(client.watch_order_book(SYMBOL, 50), 10)
                assert book["bids"][0][0] < book["asks"][0][0]
        finally:
            await client.close()

    asyncio.run(main())


@pytest.mark.parametrize("name", ["binanceusdm", "bybit"])
def test_it_hears_of_the_orders_it_places_over_a_socket(sim: Running, name: str) -> None:
    async def main() -> Any:
        client = connect(sim, name)
        try:
            await client.load_markets()
            watch = asyncio.ensure_future(client.watch_orders(SYMBOL))
            await asyncio.sleep(0.5)
            made = await client.create_order_ws(SYMBOL, "limit", "buy", 0.002, 58_000.0)
            heard = await asyncio.wait_for(watch, 5)
            first = heard[-1]["id"], heard[-1]["status"]  # ccxt changes its cache in place
            await client.cancel_order_ws(made["id"], SYMBOL)
            return made["id"], first
        finally:
            await client.close()

    made, first = asyncio.run(main())
    assert first == (made, "open")
