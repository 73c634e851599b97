"""What the simulator's sockets do as connections: pings, limits, paths."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus

from runner.base.clock import SystemClock
from runner.sim.simulation import Simulation
from tests.patience import PATIENCE_S
from tests.sim.sim_client import Wired, hear, wired

_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_the_server_pings_and_leaves_a_client_that_does_not_answer() -> None:
    async def main() -> None:
        sim = Simulation(SystemClock(), exchanges=["binance_usdm"])
        exchange = sim.exchanges["binance_usdm"]
        exchange.ping_s, exchange.pong_s = 0.05, 0.1
        await sim.open()
        try:
            url = urlsplit(sim.urls["binance_usdm"]["public"])
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            writer.write(_UPGRADE.format(path="/public/ws").encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in head
            heard = b""
            async with asyncio.timeout(PATIENCE_S):
                while b"\x88" not in heard:  # a close
                    heard += await reader.read(100)
            assert heard[:1] == b"\x89"  # a ping came first
            writer.close()
            await writer.wait_closed()
        finally:
            await sim.close()

    asyncio.run(main())


def test_the_ping_periods_are_the_documented_ones() -> None:
    sim = Simulation(SystemClock())
    periods = {name: (e.ping_s, e.pong_s) for name, e in sim.exchanges.items()}
    assert periods == {
        "binance_usdm": (180.0, 600.0),
        "binance_spot": (20.0, 60.0),
        "bybit_linear": (None, None),
    }


def test_a_connection_carries_at_most_1024_streams() -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket("binance_usdm", "public", "/ws")
        names = [f"x{number}@bookTicker" for number in range(1025)]
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
        reply = await hear(socket)
        assert (reply["code"], reply["id"]) == (2, 1)
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": names[1:], "id": 2}))
        assert await hear(socket) == {"result": None, "id": 2}
        await socket.close()

    wired(test)


@pytest.mark.parametrize("path", ["/ws/btcusdt@bookTicker", "/stream", "/public", "/nowhere"])
def test_the_undivided_roots_of_usdm_are_gone(path: str) -> None:
    async def test(w: Wired) -> None:
        w.urls["binance_usdm"]["root"] = w.urls["binance_usdm"]["public"].removesuffix("/public")
        with pytest.raises(InvalidStatus, match="404"):
            await w.socket("binance_usdm", "root", path)

    wired(test)


def test_what_is_not_a_request_is_answered_with_an_error_everywhere() -> None:
    async def test(w: Wired) -> None:
        for exchange, kind, suffix in (
            ("binance_usdm", "public", "/ws"),
            ("binance_usdm", "trade", ""),
            ("binance_spot", "public", "/ws"),
            ("bybit_linear", "public", ""),
            ("bybit_linear", "private", ""),
            ("bybit_linear", "trade", ""),
        ):
            socket = await w.socket(exchange, kind, suffix)
            spoiled = [f'{{"method": "{m}", "op": "{o}", "params": {p}, "args": {p}}}'
                       for m, o in (("SUBSCRIBE", "subscribe"), ("SET_PROPERTY", "unsubscribe"),
                                    ("order.place", "order.create"), ("x", "auth"))
                       for p in ("3", '"abc"', "[3]", "{}", "[]", "[null]")]  # fmt: skip
            if suffix:  # more than five or ten messages a second would cost the connection
                spoiled = spoiled[:2]
            for text in ("{", "[]", '{"method": 3, "op": []}', *spoiled):
                await socket.send(text)
                assert isinstance(await hear(socket), dict)
            await socket.close()

    wired(test)
