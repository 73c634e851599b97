"""What the rates of an exchange allow (R-11): refused as a group, waited for, and told."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from runner.app.live_orders import LiveOrders
from runner.app.pacing import Pace
from runner.base.clock import NS_PER_S, VirtualClock
from runner.engine.commands import Purpose
from runner.engine.events import Budget, CancelReply, Event, Reject
from runner.exchanges.api import BudgetRule, HttpRequest, SocketRequest
from runner.net.budget import Priority
from runner.net.http import HttpResponse
from runner.net.mock import json_response
from tests.app.linklab import BINANCE, BYBIT, Lab, cancel, order, send

TEN = BudgetRule("order_create", 10, NS_PER_S, rolling=True)
CANCELS = BudgetRule("order_cancel", 2, NS_PER_S, rolling=True)
WEIGHT = BudgetRule("weight_1m", 2400, 60 * NS_PER_S)
PLACE = SocketRequest("", b"", counts_order=True)
READ = HttpRequest("GET", "https://x", weight=20)


def pace(*rules: BudgetRule) -> tuple[Pace, VirtualClock, list[Event]]:
    clock, events = VirtualClock(), list[Event]()
    return Pace("x", clock, rules, tell=events.append), clock, events


def test_the_engine_hears_of_every_order_of_a_small_limit() -> None:
    at, _, events = pace(TEN)
    for _ in range(3):
        at.take(at.cost(PLACE), Priority.ENTRY)
        at.tell_changes()
        at.tell_changes()
    assert [event.used for event in events if isinstance(event, Budget)] == [1, 2, 3]


def test_a_large_limit_is_told_in_steps_and_exactly_near_its_end() -> None:
    at, _, events = pace(WEIGHT)
    for _ in range(120):
        at.take(at.cost(READ), Priority.CANCEL)
        at.tell_changes()
    used = [event.used for event in events if isinstance(event, Budget)]
    assert used[:2] == [160, 300]
    assert used[-31:] == list(range(1800, 2401, 20))


def test_a_use_that_has_ended_is_told_too() -> None:
    at, clock, events = pace(TEN)
    at.take(at.cost(PLACE), Priority.ENTRY)
    at.tell_changes()
    clock.advance(2 * NS_PER_S)
    at.tell_changes()
    assert [event.used for event in events if isinstance(event, Budget)] == [1, 0]


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "7"}, 7),
        (429, {}, 5),
        (418, {"Retry-After": "90"}, 90),
        (403, {}, 600),
    ],
)
def test_an_answer_that_refuses_for_the_rate_closes_the_door(
    status: int, headers: dict[str, str], seconds: int
) -> None:
    at, clock, events = pace(TEN, WEIGHT)
    at.heard({}, HttpResponse(status, headers, b""))
    at.tell_changes()
    assert all(e.used >= e.limit for e in events if isinstance(e, Budget)) and len(events) == 2
    assert at.take(at.cost(PLACE), Priority.ENTRY, by_socket=True) == seconds * NS_PER_S
    assert at.take(at.cost(READ), Priority.READ) > 0
    by_http = at.take(at.cost(READ), Priority.CANCEL)
    assert (by_http == 0) is (status == 429)
    assert at.take(at.cost(PLACE), Priority.CANCEL, by_socket=True) == 0
    reduces = at.take(at.cost(PLACE), Priority.REDUCE, by_socket=True)
    assert (reduces == 0) is (status != 429)
    clock.advance(seconds * NS_PER_S)
    assert at.take(at.cost(PLACE), Priority.ENTRY, by_socket=True) == 0


def test_codes_that_refuse_for_the_rate_make_longer_and_longer_pauses() -> None:
    at, clock, _ = pace(TEN)
    waits = []
    for _ in range(8):
        at.limited()
        waits.append(at.take(at.cost(PLACE), Priority.ENTRY) // NS_PER_S)
        clock.advance(waits[-1] * NS_PER_S)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    clock.advance(61 * NS_PER_S)
    at.limited()
    assert at.take(at.cost(PLACE), Priority.ENTRY) == NS_PER_S


def test_a_counter_without_a_name_is_that_of_the_order_just_answered() -> None:
    at = Pace("x", VirtualClock(), (TEN, CANCELS), headers=lambda headers: [("endpoint", 9, 10, 0)])
    at.heard(at.cost(READ), HttpResponse(200, {}, b""))
    assert at.take(at.cost(PLACE), Priority.ENTRY) == 0
    at.heard(at.cost(PLACE), HttpResponse(200, {}, b""))
    assert at.take(at.cost(PLACE), Priority.ENTRY) > 0


def test_of_a_group_on_two_exchanges_none_leaves_when_one_has_no_room() -> None:
    async def run() -> None:
        first, second = Lab(BINANCE), Lab(BYBIT, rules=(TEN,))
        async with first.running(), second.running():
            orders = LiveOrders({"x": first.link, "y": second.link})
            for _ in range(8):
                send(second, order())
            left = len(second.trade.sent)
            pair = [order(), order()]
            pair[1].intent = msgspec.structs.replace(pair[1].intent, exchange="y")
            orders.send(pair, 0, 0)
            told = [*first.all(Reject), *second.all(Reject)]
            assert [(e.cid, e.code) for e in told] == [(o.intent.cid, "not_sent") for o in pair]
            assert len(second.trade.sent) == left and not first.trade.sent

    asyncio.run(run())


def test_reductions_have_room_where_entries_have_none() -> None:
    async def run() -> None:
        lab = Lab(BYBIT, rules=(TEN,))
        async with lab.running():
            for _ in range(9):
                send(lab, order())
            assert len(lab.all(Reject)) == 1
            assert [e.used for e in lab.all(Budget)] == list(range(1, 9))
            send(lab, order(Purpose.CLOSE))
            assert len(lab.all(Reject)) == 1

    asyncio.run(run())


def test_a_cancel_waits_for_its_turn_and_leaves_once() -> None:
    async def run() -> None:
        lab = Lab(BYBIT, rules=(BudgetRule("order_cancel", 2, NS_PER_S // 25, rolling=True),))
        async with lab.running():
            for cid in ("a", "b", "c", "c"):
                lab.link.cancel(cancel(cid))
            assert len(lab.frames(b"order.cancel")) == 2
            lab.clock.advance(NS_PER_S)
            await lab.until(lambda: len(lab.frames(b"order.cancel")) == 3)
            await lab.settle()
            assert len(lab.frames(b'"c"')) == 1
            assert not lab.all(CancelReply)

    asyncio.run(run())


def test_reads_wait_for_their_turn_and_are_signed_after_it() -> None:
    async def run() -> None:
        rule = BudgetRule("http_5s", 10, NS_PER_S // 25, rolling=True)
        lab = Lab(BYBIT, rules=(rule,))
        async with lab.running():
            lab.pace.learn([("http_5s", 10, 10, 0)])
            before = lab.clock.wall() // 1_000_000
            lab.link.reconcile()
            await lab.settle()
            count = len(lab.http.requests)
            lab.clock.advance(NS_PER_S)
            await lab.until(lambda: len(lab.http.requests) > count)
            stamp = int(lab.http.requests[count].headers["X-BAPI-TIMESTAMP"])
            assert stamp == before + 1000

    asyncio.run(run())


def test_a_429_to_a_reading_is_waited_out_and_entries_are_refused_meanwhile() -> None:
    async def run() -> None:
        lab = Lab(BINANCE, rules=(WEIGHT,))
        async with lab.running():
            works = lab.http.says["GET /fapi/v1/openOrders"]
            busy = json_response('{"code":-1003,"msg":"x"}', 429, Retry_After="9")
            lab.http.says["GET /fapi/v1/openOrders"] = busy
            lab.link.reconcile()
            await lab.until(lambda: lab.pace.limited_answers == 1)
            lab.http.says["GET /fapi/v1/openOrders"] = works
            send(lab, order())
            assert [e.code for e in lab.all(Reject)] == ["not_sent"]
            lab.link.cancel(cancel("c"))
            assert len(lab.frames(b"order.cancel")) == 1
            assert lab.pace.limited_answers == 1

    asyncio.run(run())
