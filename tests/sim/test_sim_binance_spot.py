"""The dialect binance_spot, public side: the documented way to a book works."""

from __future__ import annotations

import json

from runner.sim.wire import Call
from tests.sim.sim_client import Quiet, Wired, hear, wired


def test_the_documented_sync_of_snapshot_and_stream_has_no_gap() -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket("binance_spot", "public", "/ws/ethusdt@depth@100ms")
        buffered = [await hear(socket)]
        call = Call("GET", "/api/v3/depth", "symbol=ETHUSDT&limit=5000", {}, b"")
        _, snapshot, _ = await w.send("binance_spot", call)
        last = snapshot["lastUpdateId"]
        sides = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
        assert last >= buffered[0]["U"] - 1
        applied = 0
        while applied < 8:
            event = buffered.pop() if buffered else await hear(socket)
            if event["u"] <= last:
                continue
            assert event["U"] <= last + 1 <= event["u"]
            assert "pu" not in event and "T" not in event
            last, applied = event["u"], applied + 1
            for name, side in sides.items():
                for price, qty in event[name]:
                    side[price] = qty
                    if float(qty) == 0:
                        del side[price]
            assert max(map(float, sides["b"])) < min(map(float, sides["a"]))
        await socket.close()

    wired(test)


def test_the_top_carries_no_time_and_partial_books_no_symbol() -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket("binance_spot", "public", "/ws")
        await socket.send(
            json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1})
        )
        assert await hear(socket) == {"result": None, "id": 1}
        assert set(await hear(socket)) == {"u", "s", "b", "B", "a", "A"}
        await socket.close()
        socket = await w.socket("binance_spot", "public", "/ws/btcusdt@depth5@100ms")
        book = await hear(socket)
        assert set(book) == {"lastUpdateId", "bids", "asks"} and len(book["bids"]) == 5
        await socket.close()

    wired(test)


def test_there_are_no_orders() -> None:
    quiet = Quiet()
    reply = quiet.sim.exchanges["binance_spot"].rest(Call("POST", "/api/v3/order", "", {}, b""))
    assert reply.status == 404


def test_the_catalogue_has_the_three_symbols_with_their_filters() -> None:
    quiet = Quiet()
    call = Call("GET", "/api/v3/exchangeInfo", "", {}, b"")
    symbols = json.loads(quiet.sim.exchanges["binance_spot"].rest(call).body)["symbols"]
    assert [symbol["symbol"] for symbol in symbols] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    filters = {f["filterType"]: f for f in symbols[0]["filters"]}
    assert float(filters["PRICE_FILTER"]["tickSize"]) == 0.01
    assert float(filters["LOT_SIZE"]["stepSize"]) == 0.00001
