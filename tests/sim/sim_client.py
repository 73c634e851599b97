"""Small hand-written clients for the simulator's tests, in process and over sockets."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp
from websockets.asyncio.client import ClientConnection, connect

from runner.base.clock import NS_PER_MS, SystemClock, VirtualClock
from runner.sim.faults import FaultSpec
from runner.sim.simulation import Simulation
from runner.sim.wire import Call
from tests.patience import PATIENCE_S

START_NS = 1_795_470_000_000 * NS_PER_MS


def mac(secret: str, text: str) -> str:
    """Return an HMAC-SHA256 in hexadecimal digits."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def binance_call(sim: Simulation, method: str, path: str, **params: Any) -> Call:
    """Build a signed Binance request, all in the query."""
    key = sim.exchanges["binance_usdm"].key  # type: ignore[attr-defined]
    query = urlencode(params | {"timestamp": sim.now_ms()})
    query += "&signature=" + mac(key.secret, query)
    return Call(method, path, query, {"X-MBX-APIKEY": key.key}, b"")


def bybit_call(sim: Simulation, method: str, path: str, **params: Any) -> Call:
    """Build a signed Bybit request."""
    key = sim.exchanges["bybit_linear"].key  # type: ignore[attr-defined]
    get = method == "GET"
    payload = urlencode(params) if get else json.dumps(params)
    stamp = str(sim.now_ms())
    headers = {"X-BAPI-API-KEY": key.key, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-RECV-WINDOW": "5000",
               "X-BAPI-SIGN": mac(key.secret, stamp + key.key + "5000" + payload)}  # fmt: skip
    return Call(method, path, payload if get else "", headers, b"" if get else payload.encode())


class Quiet:
    """A simulation in virtual time, without servers and without dislocations."""

    def __init__(self, dislocations: bool = False) -> None:
        self.clock = VirtualClock(wall=START_NS)
        self.sim = Simulation(self.clock, 3, dislocations=dislocations)
        self.usdm = self.sim.exchanges["binance_usdm"].venue
        self.bybit_venue = self.sim.exchanges["bybit_linear"].venue

    def pass_ms(self, ms: int) -> None:
        """Let time pass, a step every 50 ms."""
        for _ in range(ms // 50):
            self.clock.advance(50 * NS_PER_MS)
            self.sim.step()

    def price(self, exchange: str) -> float:
        """Return the price of BTCUSDT on an exchange."""
        return self.sim.market.latents["BTCUSDT"].price(exchange)

    def binance(self, method: str, path: str, **params: Any) -> Any:
        """Ask Binance; returns the decoded answer."""
        call = binance_call(self.sim, method, path, **params)
        return json.loads(self.sim.exchanges["binance_usdm"].rest(call).body)

    def bybit(self, method: str, path: str, **params: Any) -> Any:
        """Ask Bybit; returns the decoded answer."""
        call = bybit_call(self.sim, method, path, **params)
        return json.loads(self.sim.exchanges["bybit_linear"].rest(call).body)


class Wired:
    """A simulation on real sockets, and clients of it."""

    def __init__(self, sim: Simulation, http: aiohttp.ClientSession) -> None:
        self.sim = sim
        self.http = http
        self.urls = sim.urls

    def fault(self, name: str, route: str = "*", **more: Any) -> str:
        """Add a fault in process."""
        return self.sim.faults.add(FaultSpec(name=name, route=route, **more))

    async def send(self, exchange: str, call: Call) -> tuple[int, Any, Any]:
        """Send a request over the network; returns status, body, headers."""
        query = f"?{call.query}" if call.query else ""
        url = self.urls[exchange]["rest"] + call.path + query
        from yarl import URL

        async with self.http.request(
            call.method, URL(url, encoded=True), data=call.body or None, headers=call.headers
        ) as reply:
            text = await reply.text()
            try:
                return reply.status, json.loads(text), reply.headers
            except json.JSONDecodeError:
                return reply.status, text, reply.headers

    async def binance(self, method: str, path: str, **params: Any) -> tuple[int, Any, Any]:
        """Ask Binance over the network."""
        return await self.send("binance_usdm", binance_call(self.sim, method, path, **params))

    async def bybit(self, method: str, path: str, **params: Any) -> tuple[int, Any, Any]:
        """Ask Bybit over the network."""
        return await self.send("bybit_linear", bybit_call(self.sim, method, path, **params))

    async def socket(self, exchange: str, kind: str, suffix: str = "") -> ClientConnection:
        """Open a socket."""
        return await connect(self.urls[exchange][kind] + suffix, compression=None)


async def hear(socket: ClientConnection, seconds: float = PATIENCE_S) -> Any:
    """Return the next message, decoded."""
    return json.loads(await asyncio.wait_for(socket.recv(), seconds))


def wired(test: Callable[[Wired], Awaitable[None]]) -> None:
    """Run a test against a simulation on sockets."""

    async def main() -> None:
        sim = Simulation(SystemClock(), 3, dislocations=False)
        await sim.open()
        try:
            async with aiohttp.ClientSession() as http:
                await asyncio.wait_for(test(Wired(sim, http)), 2 * PATIENCE_S)
        finally:
            await sim.close()

    asyncio.run(main())


def resting(venue: Any, symbol: str = "BTCUSDT", percent: float = 1.0) -> str:
    """Return a price that much under the best bid, as text."""
    from runner.sim.matching import Side

    venue.refresh(symbol)
    tick = int(venue.books[symbol].best(Side.BUY) * (1 - percent / 100))
    return str(venue.instruments[symbol].price(tick))


def order(venue: Any, cid: str, **changes: Any) -> dict[str, Any]:
    """Return the parameters of a Binance limit buy that rests."""
    params = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
              "quantity": "0.002", "price": resting(venue), "newClientOrderId": cid}  # fmt: skip
    return {k: v for k, v in (params | changes).items() if v is not None}


MARKET = {"type": "MARKET", "timeInForce": None, "price": None}


def linear(venue: Any, cid: str, **changes: Any) -> dict[str, Any]:
    """Return the parameters of a Bybit limit buy that rests."""
    params = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit",
              "qty": "0.002", "price": resting(venue), "orderLinkId": cid}  # fmt: skip
    return {k: v for k, v in (params | changes).items() if v is not None}
