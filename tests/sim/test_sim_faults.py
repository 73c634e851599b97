"""Each fault does what it says, on the exchange and route it names, as often as it says."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from runner.sim.faults import NAMES, Faults, FaultSpec, UnknownFault
from runner.sim.wire import crossed
from tests.sim.sim_client import Wired, hear, linear, order, wired

USDM = "binance_usdm"
BYBIT = "bybit_linear"
PATH = "/fapi/v1/order"
CREATE = "/v5/order/create"


def test_an_unknown_fault_is_refused_by_name() -> None:
    with pytest.raises(UnknownFault, match="earthquake"):
        Faults().add(FaultSpec(name="earthquake"))
    with pytest.raises(UnknownFault, match="there are binance_usdm"):
        Faults(("binance_usdm",)).add(FaultSpec(name="stall", exchange="binance"))


def test_after_count_and_probability_decide_which_matches_are_hit() -> None:
    faults = Faults()
    key = faults.add(FaultSpec(name="drop", exchange=USDM, route="public *", after=2, count=3))
    hits = [faults.hit("drop", USDM, "public x") is not None for _ in range(8)]
    assert hits == [False, False, True, True, True, False, False, False]
    assert faults.hit("drop", BYBIT, "public x") is None
    assert faults.hit("drop", USDM, "private x") is None
    assert faults.remove(key) and not faults.remove(key)
    runs = []
    for _ in range(2):
        again = Faults()
        again.add(FaultSpec(name="drop", seed=4, args={"p": 0.3}))
        runs.append([again.hit("drop", USDM, "x") is not None for _ in range(1000)])
    assert runs[0] == runs[1] and 240 < sum(runs[0]) < 360


def _venue(w: Wired, exchange: str = USDM) -> Any:
    return w.sim.exchanges[exchange].venue


async def _lost(request: Any) -> None:
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await request


def test_disconnect_before_reading_leaves_no_order() -> None:
    async def test(w: Wired) -> None:
        w.fault("disconnect", "POST *order", exchange=USDM, count=1)
        await _lost(w.binance("POST", PATH, **order(_venue(w), "a")))
        assert _venue(w).orders == {}
        status, _, _ = await w.binance("POST", PATH, **order(_venue(w), "a"))
        assert status == 200
        came = [(r.route, r.outcome) for r in _venue(w).requests["a"]]
        assert came == [("POST " + PATH, "disconnect"), ("POST " + PATH, "accepted")]

    wired(test)


@pytest.mark.parametrize("exchange", [USDM, BYBIT])
def test_accepted_but_lost_leaves_the_order_and_no_answer(exchange: str) -> None:
    async def test(w: Wired) -> None:
        w.fault("accepted_but_lost", "POST *", exchange=exchange, count=1)
        venue = _venue(w, exchange)
        if exchange == USDM:
            await _lost(w.binance("POST", PATH, **order(venue, "a")))
        else:
            await _lost(w.bybit("POST", CREATE, **linear(venue, "a")))
        assert [o.cid for o in venue.open.values()] == ["a"]
        assert venue.requests["a"][0].outcome == "accepted"

    wired(test)


def test_accepted_but_lost_cuts_the_trade_socket() -> None:
    async def test(w: Wired) -> None:
        w.fault("accepted_but_lost", "trade ping", exchange=USDM)
        socket = await w.socket(USDM, "trade")
        await socket.send(json.dumps({"id": 1, "method": "ping"}))
        with pytest.raises(ConnectionClosed):
            await hear(socket)

    wired(test)


def test_disconnect_cuts_the_sockets_of_its_route_at_once_and_lets_them_come_again() -> None:
    async def test(w: Wired) -> None:
        hit = await w.socket(USDM, "public", "/ws/btcusdt@bookTicker")
        spared = await w.socket(BYBIT, "public")
        await hear(hit)
        w.fault("disconnect", "public", exchange=USDM, count=1)
        with pytest.raises(ConnectionClosed):
            while True:
                await hear(hit)
        again = await w.socket(USDM, "public", "/ws/btcusdt@bookTicker")
        await hear(again)
        await spared.send(json.dumps({"op": "ping"}))
        await hear(spared)
        await again.close()
        await spared.close()

    wired(test)


def test_stall_keeps_the_socket_open_and_silent_until_it_ends() -> None:
    async def test(w: Wired) -> None:
        socket = await w.socket(USDM, "public", "/ws/btcusdt@bookTicker")
        await hear(socket)
        w.fault("stall", "public", exchange=USDM, args={"for_s": 1.0})
        with pytest.raises(TimeoutError):
            for _ in range(10):
                await hear(socket, 0.25)
        assert socket.close_code is None
        await hear(socket)
        await socket.close()

    wired(test)


def test_a_fresh_connection_stalls_too_while_the_fault_is_on() -> None:
    async def test(w: Wired) -> None:
        key = w.fault("stall", "public", exchange=BYBIT)
        socket = await w.socket(BYBIT, "public")
        await socket.send(json.dumps({"op": "ping"}))
        with pytest.raises(TimeoutError):
            await hear(socket, 0.2)
        w.sim.faults.remove(key)
        await socket.send(json.dumps({"op": "ping"}))
        assert (await hear(socket))["ret_msg"] == "pong"
        await socket.close()

    wired(test)


@pytest.mark.parametrize("name", ["delay_request", "delay_response"])
def test_a_delay_is_waited_before_or_after_processing(name: str) -> None:
    async def test(w: Wired) -> None:
        w.fault(name, "POST *order", exchange=USDM, args={"ms": 300})
        loop, venue = asyncio.get_running_loop(), _venue(w)
        for cid in "abcdefgh":
            start, before = loop.time(), len(venue.orders)
            asked = asyncio.ensure_future(w.binance("POST", PATH, **order(venue, cid)))
            await asyncio.sleep(0.15)
            seen, late = len(venue.orders) - before, loop.time() - start
            status, _, _ = await asked
            assert status == 200 and loop.time() - start >= 0.3
            if late < 0.25:  # else this machine slept, and the look came too late to tell
                assert seen == (0 if name == "delay_request" else 1)
                return
        raise AssertionError("the machine slept each time")

    wired(test)


def test_a_delayed_request_may_arrive_outside_its_window() -> None:
    async def test(w: Wired) -> None:
        w.fault("delay_request", "POST *order", exchange=USDM, args={"ms": 150})
        _, body, _ = await w.binance("POST", PATH, **order(_venue(w), "a"), recvWindow=100)
        assert body["code"] == -1021

    wired(test)


async def _tops(w: Wired, count: int) -> list[dict[str, Any]]:
    socket = await w.socket(USDM, "public", "/ws/btcusdt@bookTicker")
    heard = [await hear(socket) for _ in range(count)]
    await socket.close()
    return heard


def test_duplicate_sends_a_push_twice() -> None:
    async def test(w: Wired) -> None:
        w.fault("duplicate", "public *bookTicker", exchange=USDM)
        heard = await _tops(w, 4)
        assert heard[0] == heard[1] != heard[2] == heard[3]

    wired(test)


def test_reorder_sends_a_push_after_the_next() -> None:
    async def test(w: Wired) -> None:
        w.fault("reorder", "public *", exchange=USDM, after=1, count=1)
        ids = [top["u"] for top in await _tops(w, 4)]
        assert ids[1] > ids[2] and ids[0] < ids[2] < ids[3]

    wired(test)


def test_late_sends_a_push_after_a_time() -> None:
    async def test(w: Wired) -> None:
        w.fault("late", "public *", exchange=USDM, count=1, args={"ms": 200})
        ids = [top["u"] for top in await _tops(w, 6)]
        assert ids[0] != min(ids) and min(ids) in ids[1:]

    wired(test)


def test_truncated_sends_half_of_a_push() -> None:
    async def test(w: Wired) -> None:
        w.fault("truncated", "public *", exchange=USDM, count=1)
        with pytest.raises(json.JSONDecodeError):
            await _tops(w, 1)

    wired(test)


@pytest.mark.parametrize("name", ["gap", "drop"])
def test_a_skipped_difference_shows_in_the_sequence_numbers(name: str) -> None:
    async def test(w: Wired) -> None:
        w.fault(name, "public *@depth@100ms", exchange=USDM, after=1, count=1)
        socket = await w.socket(USDM, "public", "/ws/btcusdt@depth@100ms")
        first, second, third = [await hear(socket) for _ in range(3)]
        assert second["pu"] > first["u"] and third["pu"] == second["u"]
        await socket.close()

    wired(test)


def test_gap_leaves_streams_that_are_not_differences_alone() -> None:
    async def test(w: Wired) -> None:
        w.fault("gap", "public *", exchange=USDM)
        assert len(await _tops(w, 2)) == 2

    wired(test)


def test_a_skipped_difference_of_bybit_jumps_in_u() -> None:
    async def test(w: Wired) -> None:
        w.fault("gap", "public orderbook.50.*", exchange=BYBIT, after=2, count=1)
        socket = await w.socket(BYBIT, "public")
        await socket.send(json.dumps({"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]}))
        await hear(socket)
        ids = [(await hear(socket))["data"]["u"] for _ in range(4)]
        assert [b - a for a, b in itertools.pairwise(ids)] == [1, 2, 1]
        await socket.close()

    wired(test)


def test_crossed_sends_a_bid_above_the_ask() -> None:
    async def test(w: Wired) -> None:
        w.fault("crossed", "public *", exchange=USDM, count=1)
        bad, good = await _tops(w, 2)
        assert float(bad["b"]) > float(bad["a"]) and float(good["b"]) < float(good["a"])

    wired(test)


def test_crossed_works_on_lists_of_levels_and_leaves_other_messages_alone() -> None:
    text = json.dumps({"topic": "t", "data": {"b": [["99", "1"]], "a": [["100", "2"]]}})
    data = json.loads(crossed(text))["data"]
    assert float(data["b"][0][0]) > float(data["a"][0][0])
    assert crossed('{"e":"aggTrade"}') == '{"e":"aggTrade"}'


def test_reject_answers_its_code_and_processes_nothing() -> None:
    async def test(w: Wired) -> None:
        w.fault("reject", "POST *order", exchange=USDM, args={"code": -2010, "msg": "no"})
        w.fault("reject", "POST *create", exchange=BYBIT, args={"code": 110007, "msg": "no"})
        status, body, _ = await w.binance("POST", PATH, **order(_venue(w), "a"))
        assert (status, body) == (400, {"code": -2010, "msg": "no"})
        _, body, _ = await w.bybit("POST", CREATE, **linear(_venue(w, BYBIT), "a"))
        assert body["retCode"] == 110007
        assert _venue(w).orders == {} == _venue(w, BYBIT).orders

    wired(test)


def test_429_and_418_say_when_to_come_again() -> None:
    async def test(w: Wired) -> None:
        w.fault("429", "POST *", count=1, exchange=USDM, args={"retry_after": 3})
        status, body, headers = await w.binance("POST", PATH, **order(_venue(w), "a"))
        assert (status, body["code"], headers["Retry-After"]) == (429, -1003, "3")
        w.fault("429", "POST *", count=1, exchange=BYBIT)
        _, body, headers = await w.bybit("POST", CREATE, **linear(_venue(w, BYBIT), "a"))
        assert (body["retCode"], headers["X-Bapi-Limit-Status"]) == (10006, "0")
        w.fault("418", "GET *", count=1, exchange=USDM, args={"retry_after": 60})
        status, _, headers = await w.binance("GET", "/fapi/v3/balance")
        assert (status, headers["Retry-After"]) == (418, "60")
        status, _, _ = await w.binance("GET", "/fapi/v3/balance")  # the ban is real
        assert status == 418
        w.fault("418", "GET *", count=1, exchange=BYBIT)
        status, _, _ = await w.bybit("GET", "/v5/account/info")
        assert status == 403

    wired(test)


@pytest.mark.parametrize("executed", [True, False])
def test_unavailable_is_processed_or_not_and_looks_the_same(executed: bool) -> None:
    async def test(w: Wired) -> None:
        args = {"status": 503, "executed": executed}
        w.fault("unavailable", "POST *", count=2, args=args)
        status, body, _ = await w.binance("POST", PATH, **order(_venue(w), "a"))
        assert status == 503 and "Unknown error" in body["msg"]
        status, _, _ = await w.bybit("POST", CREATE, **linear(_venue(w, BYBIT), "a"))
        assert status == 503
        for exchange in (USDM, BYBIT):
            assert len(_venue(w, exchange).orders) == int(executed)

    wired(test)


def test_an_expired_listen_key_is_told_and_hears_nothing_more() -> None:
    async def test(w: Wired) -> None:
        _, value, _ = await w.binance("POST", "/fapi/v1/listenKey")
        suffix = f"/ws?listenKey={value['listenKey']}"
        socket = await w.socket(USDM, "private", suffix)
        await asyncio.sleep(0.05)
        w.fault("listen_key_expired", exchange=USDM)
        assert (await hear(socket))["e"] == "listenKeyExpired"
        await w.binance("POST", PATH, **order(_venue(w), "a"))
        with pytest.raises(TimeoutError):
            await hear(socket, 0.2)
        status, body, _ = await w.binance("PUT", "/fapi/v1/listenKey")
        assert (status, body["code"]) == (400, -1125)
        await socket.close()

    wired(test)


def test_key_rights_change_what_the_exchange_says_of_the_key() -> None:
    async def test(w: Wired) -> None:
        path = "/sapi/v1/account/apiRestrictions"
        _, body, _ = await w.binance("GET", path)
        assert body["enableWithdrawals"] is False
        w.fault("key_rights", exchange=USDM, args={"enableWithdrawals": True})
        _, body, _ = await w.binance("GET", path)
        assert body["enableWithdrawals"] is True
        w.fault("key_rights", exchange=BYBIT, args={"ips": ["*"]})
        _, body, _ = await w.bybit("GET", "/v5/user/query-api")
        assert body["result"]["ips"] == ["*"]

    wired(test)


def test_a_fault_on_the_trade_socket_answers_in_the_socket_s_form() -> None:
    async def test(w: Wired) -> None:
        w.fault("reject", "trade order.*", args={"code": -2019, "msg": "no"}, exchange=USDM)
        socket = await w.socket(USDM, "trade")
        await socket.send(json.dumps({"id": 7, "method": "order.place", "params": {}}))
        reply = await hear(socket)
        assert (reply["id"], reply["status"], reply["error"]["code"]) == (7, 400, -2019)
        await socket.close()
        w.fault("unavailable", "trade order.*", exchange=BYBIT)
        socket = await w.socket(BYBIT, "trade")
        args = [{"orderLinkId": "z"}]
        await socket.send(json.dumps({"reqId": "q", "op": "order.create", "args": args}))
        reply = await hear(socket)
        assert (reply["reqId"], reply["retCode"], reply["op"]) == ("q", 10016, "order.create")
        assert [r.outcome for r in _venue(w, BYBIT).requests["z"]] == ["unavailable"]
        await socket.close()

    wired(test)


def test_a_message_over_a_socket_is_read_late_on_the_sockets_it_names() -> None:
    async def test(w: Wired) -> None:
        w.fault("delay_message", "private", exchange=BYBIT, args={"ms": 200})
        loop, waited = asyncio.get_running_loop(), {}
        for kind in ("public", "private"):
            socket = await w.socket(BYBIT, kind)
            start = loop.time()
            await socket.send(json.dumps({"op": "ping"}))
            await hear(socket)
            waited[kind] = loop.time() - start
            await socket.close()
        assert waited["private"] >= 0.2
        assert w.sim.faults.active["f1"].hits == 1

    wired(test)


def test_every_fault_has_a_test_of_its_own() -> None:
    from pathlib import Path

    text = Path(__file__).read_text()
    assert [name for name in NAMES if f'"{name}"' not in text] == []
