"""Beside ccxt.pro (`runner bench ccxt`): the same rule as a program on a widely used library.

Other process, frames, pace and clock are those of `loopback`; ours and the program take turns on
one loop. The program is what a user of the library writes: await the next best bid and ask,
compare, await `create_order_ws`. It keeps no journal, knows no limits and could not restart. Its
rate limiter, which is on by default and then delays most of these orders by ten milliseconds, is
off here. Needs the extra `conformance`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import uvloop

from runner.app.bench.client import NAME, ours
from runner.app.bench.loopback import FRAMES, RATE, STRATEGY
from runner.app.bench.rounds import Control, in_turns, own_core, peer
from runner.app.bench.setup import CREDENTIALS, Figures
from runner.app.memory import settled
from runner.base.clock import NS_PER_S, SystemClock
from runner.base.errors import UsageError

ROUNDS: Final = 4
_CCXT: Final = "ccxt"
_CONNECTED_S: Final = 0.5
_SYMBOL: Final = "BTC/USDT:USDT"
_LISTED: Final = {
    "symbol": "BTCUSDT", "pair": "BTCUSDT", "contractType": "PERPETUAL", "status": "TRADING",
    "baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT", "underlyingType": "COIN",
    "pricePrecision": 2, "quantityPrecision": 3, "orderTypes": ["LIMIT", "MARKET"],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "1", "maxPrice": "1000000", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
    ],
}  # fmt: skip
"""what the exchange would tell of its market: the other process speaks no REST"""


def run(rounds: int = ROUNDS, frames: int = FRAMES) -> dict[str, Any]:
    """Measure both; return percentiles (us) and the ratio of their medians, ccxt's over ours.

    UsageError without ccxt.
    """
    if find_spec(_CCXT) is None:
        raise UsageError("bench ccxt measures beside ccxt: pip install '.[conformance]'")
    with own_core(), settled(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(_measure(rounds, frames))
    figures = {
        name: Figures.of([ns for each in found for ns in each.latencies])
        for name, found in results.items()
    }
    mine, theirs = figures[NAME], figures[_CCXT]
    return {
        "frames_per_s": RATE,
        "version": import_module(_CCXT).__version__,
        "ours_us": asdict(mine),
        "ccxt_us": asdict(theirs),
        "ccxt_over_ours": round(theirs.p50 / mine.p50, 2) if mine.n else 0.0,
    }


async def _measure(rounds: int, frames: int) -> dict[str, list[Any]]:
    async with peer() as root, ours(root, STRATEGY, SystemClock()), _program(root):
        control = await Control.open(root)
        try:
            return await in_turns(control, (NAME, _CCXT), rounds, frames, NS_PER_S // RATE)
        finally:
            control.close()


@asynccontextmanager
async def _program(root: str) -> AsyncIterator[None]:
    exchange = import_module("ccxt.pro").binanceusdm(
        {
            "apiKey": CREDENTIALS.key.reveal(),
            "secret": CREDENTIALS.secret.reveal(),
            "enableRateLimit": False,
        }
    )
    exchange.set_markets([exchange.parse_market(_LISTED)])
    sockets = exchange.urls["api"]["ws"]
    sockets["linear"] = f"{root}/{_CCXT}/public"
    sockets["ws-api"]["linear"] = f"{root}/{_CCXT}/trade"
    trading = asyncio.create_task(_trade(exchange))
    try:
        await asyncio.sleep(_CONNECTED_S)
        yield
    finally:
        trading.cancel()
        await asyncio.gather(trading, return_exceptions=True)
        await exchange.close()


async def _trade(exchange: Any) -> None:
    while True:
        top = (await exchange.watch_bids_asks([_SYMBOL]))[_SYMBOL]
        bid, ask = top["bidVolume"], top["askVolume"]
        if (bid - ask) / (bid + ask) > 0.5:
            price = top["ask"] * 1.0001
            terms = {"timeInForce": "IOC"}
            await exchange.create_order_ws(_SYMBOL, "limit", "buy", 0.002, price, terms)
