"""What an order link must not do any more: after a ban, after refusals for the rate, on an old
picture, and a change a second time."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from runner.base.clock import NS_PER_S
from runner.base.errors import Down
from runner.engine.commands import Purpose
from runner.engine.events import Host, Readiness, Reconciled, Reject
from runner.exchanges.api import BudgetRule
from runner.net.http import HttpResponse
from tests.app.linklab import BINANCE, BYBIT, PICTURE, Lab, order, send
from tests.exchanges.orders import intent, journaled

BOTH = pytest.mark.parametrize("type", [BINANCE, BYBIT])
MANY = (BudgetRule("orders_10s", 300, 10 * NS_PER_S), BudgetRule("order_create", 300, NS_PER_S))


@BOTH
@pytest.mark.parametrize("entry", ["websocket", "rest"])
def test_a_code_that_refuses_for_the_rate_holds_entries_back(type: str, entry: str) -> None:
    code = -1015 if type == BINANCE else 10006

    async def run() -> None:
        lab = Lab(type, entry, MANY)
        body = f'{{"code":{code},"msg":"no"}}' if type == BINANCE else f'{{"retCode":{code}}}'
        status = 400 if type == BINANCE else 200
        for path in ("POST /fapi/v1/order", "POST /v5/order/create"):
            lab.http.says[path] = HttpResponse(status, {}, body.encode())
        async with lab.running():
            cid = send(lab, order())
            if entry == "websocket":
                error = f'"status":400,"error":{body}'
                said = f'"reqId":"{cid}","retCode":{code},"retMsg":"no","op":"order.create"'
                answer = f'{{"id":"{cid}",{error}}}' if type == BINANCE else f"{{{said}}}"
                lab.trade.push(answer.encode())
            await lab.until(lambda: bool(lab.all(Reject)))
            assert lab.all(Reject)[0].outcome == "rate_limited"
            assert "no room" in lab.link.admit([order()])
            lab.clock.advance(2 * NS_PER_S)
            assert lab.link.admit([order()]) == ""

    asyncio.run(run())


@BOTH
def test_a_ban_is_told_to_the_engine_and_ends_with_the_second_picture_after_it(type: str) -> None:
    async def run() -> None:
        lab = Lab(type)
        async with lab.running():
            works = lab.http.says[PICTURE[type]]
            lab.http.says[PICTURE[type]] = HttpResponse(418, {"Retry-After": "60"}, b"")
            lab.link.reconcile()
            await lab.until(lambda: bool(lab.all(Host)))
            assert [(h.fault, h.ok) for h in lab.all(Host)] == [("ban:x", False)]
            lab.http.says[PICTURE[type]] = works
            lab.clock.advance(61 * NS_PER_S)
            await lab.until(lambda: len(lab.all(Host)) == 2)
            assert lab.all(Host)[1].ok and len(lab.all(Reconciled)) == 2

    asyncio.run(run())


@BOTH
def test_on_a_picture_older_than_a_minute_nothing_new_is_begun(type: str) -> None:
    async def run() -> None:
        lab = Lab(type)
        async with lab.running():
            works = lab.http.says[PICTURE[type]]
            lab.http.says[PICTURE[type]] = Down("502")
            lab.clock.advance(50 * NS_PER_S)
            lab.link.reconcile()
            await lab.until(lambda: bool(lab.notices))
            assert lab.link.readiness is Readiness.READY, "one that failed is no reason yet"
            lab.clock.advance(11 * NS_PER_S)
            await lab.until(lambda: lab.link.readiness is Readiness.RECONCILING)
            assert "reconciling" in lab.link.admit([order()])
            assert lab.link.admit([order(Purpose.CLOSE)]) == ""
            lab.http.says[PICTURE[type]] = works
            await lab.until(lambda: lab.link.readiness is Readiness.READY)

    asyncio.run(run())


@BOTH
def test_entries_do_not_take_the_slow_way_when_the_fast_one_is_down(type: str) -> None:
    async def run() -> None:
        lab = Lab(type)
        async with lab.running():
            lab.may_connect.clear()
            lab.trade.drop()
            sender = lab.link._sender
            assert sender.admit([order()]) == "the trade socket is down"
            assert sender.admit([order(Purpose.CLOSE)]) == ""

    asyncio.run(run())


@BOTH
def test_a_change_never_leaves_twice(type: str) -> None:
    async def run() -> None:
        lab = Lab(type)
        async with lab.running():
            change = msgspec.structs.replace(intent(), revision=1)
            lab.link.amend(journaled(change))
            with pytest.raises(RuntimeError, match="sent again"):
                lab.link.amend(journaled(change))
            lab.link.amend(journaled(msgspec.structs.replace(change, revision=2)))

    asyncio.run(run())
