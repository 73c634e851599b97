"""The order side against an exchange that does what the test says (R-15 to R-25)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from runner.app.order_link import PICTURE_EVERY, POLL_EVERY
from runner.app.sending import ANSWER_WITHIN
from runner.base.clock import NS_PER_S
from runner.base.errors import Down, UnknownOutcome
from runner.engine.commands import Purpose
from runner.engine.events import (
    Ack,
    CancelReply,
    Feed,
    Found,
    Readiness,
    Ready,
    Reconciled,
    Reject,
    SocketState,
    Unknown,
)
from runner.net.mock import json_response
from tests.app.linklab import BINANCE, BYBIT, EMPTY, PICTURE, Lab, cancel, ok, order, query, send
from tests.patience import PATIENCE_S

BOTH = pytest.mark.parametrize("type", [BINANCE, BYBIT])
PLACE_HTTP = {BINANCE: "POST /fapi/v1/order", BYBIT: "POST /v5/order/create"}
CANCEL_HTTP = {BINANCE: "DELETE /fapi/v1/order", BYBIT: "POST /v5/order/cancel"}


def scenario(kind: str, play: Callable[[Lab], Awaitable[None]], entry: str = "websocket") -> Lab:
    """Play against a link that is ready, and return what became of it."""

    async def run() -> Lab:
        lab = Lab(kind, entry)
        async with lab.running():
            await play(lab)
        return lab

    return asyncio.run(run())


def accepted(type: str, cid: str) -> bytes:
    """Return the answer to a place on the trade socket."""
    if type == BYBIT:
        text = (
            f'{{"reqId":"{cid}","retCode":0,"retMsg":"OK","op":"order.create",'
            f'"data":{{"orderId":"e1","orderLinkId":"{cid}"}}}}'
        )
    else:
        text = (
            f'{{"id":"{cid}","status":200,"result":{{"orderId":1,"clientOrderId":"{cid}",'
            '"symbol":"BTCUSDT","status":"NEW","side":"BUY","origQty":"0.002",'
            '"executedQty":"0","price":"50000.5","avgPrice":"0","updateTime":1}}'
        )
    return text.encode()


def refused(type: str, cid: str, code: int) -> bytes:
    if type == BYBIT:
        return (
            f'{{"reqId":"{cid}","retCode":{code},"retMsg":"no","op":"order.create","data":{{}}}}'
        ).encode()
    return f'{{"id":"{cid}","status":400,"error":{{"code":{code},"msg":"no"}}}}'.encode()


# -- becoming ready


@BOTH
def test_it_is_ready_after_sockets_and_a_picture(type: str) -> None:
    async def run() -> Lab:
        lab = Lab(type)
        async with lab.running(ready=False):
            await lab.until(lambda: Readiness.READY in lab.states)
        return lab

    lab = asyncio.run(run())
    assert lab.states[:2] == [Readiness.RECONCILING, Readiness.READY]
    kinds = [event.__class__ for event in lab.events if isinstance(event, Ready | Reconciled)]
    assert kinds[:3] == [Ready, Reconciled, Ready]


def test_a_private_socket_that_was_not_granted_its_topics_is_not_ready() -> None:
    async def run() -> None:
        lab = Lab(BYBIT)
        del lab.grants["subscribe"]
        async with lab.running(ready=False):
            await lab.until(lambda: bool(lab.all(Feed)))
            await lab.settle()
            assert lab.states == []
            lab.private.later('{"success":true,"op":"subscribe"}')
            await lab.until(lambda: Readiness.READY in lab.states)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("step", "no"),
    [
        ("auth", '{"success":false,"retCode":10004,"ret_msg":"bad sign","op":"auth"}'),
        ("subscribe", '{"success":false,"ret_msg":"no such topic","op":"subscribe"}'),
    ],
)
def test_a_refused_login_or_subscription_freezes_until_one_is_granted(step: str, no: str) -> None:
    async def run() -> None:
        lab = Lab(BYBIT)
        yes = lab.grants[step]
        lab.grants[step] = no
        async with lab.running(ready=False):
            await lab.until(lambda: Readiness.FROZEN in lab.states)
            await lab.settle()
            assert lab.link.readiness is Readiness.FROZEN
            assert lab.private.connects == 1, "a refusal is not answered by knocking at once"
            assert lab.notices
            lab.grants[step] = yes
            lab.clock.advance(11_000_000_000)
            await lab.until(lambda: lab.link.readiness is Readiness.READY)

    asyncio.run(run())


def test_a_socket_without_an_answer_to_its_login_is_connected_anew() -> None:
    async def run() -> None:
        lab = Lab(BYBIT)
        yes = lab.grants.pop("auth")
        async with lab.running(ready=False):
            await lab.until(lambda: lab.private.up and lab.trade.up)
            lab.grants["auth"] = yes
            lab.clock.advance(5_000_000_001)
            await lab.until(lambda: lab.link.readiness is Readiness.READY)
            assert lab.private.connects == 2

    asyncio.run(run())


def test_every_connection_begins_with_a_fresh_listen_key() -> None:
    async def play(lab: Lab) -> None:
        lab.http.says["POST /fapi/v1/listenKey"] = '{"listenKey": "second"}'
        lab.private.push(b'{"e":"listenKeyExpired","E":1}')
        await lab.until(lambda: lab.private.connects == 2)
        assert [url.rpartition("=")[2] for url in lab.private.urls] == ["key", "second"]

    scenario(BINANCE, play)


def test_a_refused_listen_key_freezes_and_a_later_one_thaws() -> None:
    async def run() -> None:
        lab = Lab(BINANCE)
        lab.http.says["POST /fapi/v1/listenKey"] = json_response('{"code":-2015,"msg":"x"}', 401)
        async with lab.running(ready=False):
            await lab.until(lambda: lab.link.readiness is Readiness.FROZEN)
            lab.http.says["POST /fapi/v1/listenKey"] = '{"listenKey": "key"}'
            await lab.until(lambda: lab.link.readiness is Readiness.READY)

    asyncio.run(run())


def test_a_key_that_is_kept_lives_and_one_that_is_unknown_is_replaced() -> None:
    async def play(lab: Lab) -> None:
        lab.clock.advance(25 * 60_000_000_000)
        await lab.until(lambda: "PUT /fapi/v1/listenKey" in lab.http.asked)
        await lab.settle()
        assert lab.private.connects == 1
        lab.http.says["PUT /fapi/v1/listenKey"] = json_response('{"code":-1125,"msg":"x"}', 400)
        lab.clock.advance(25 * 60_000_000_000)
        await lab.until(lambda: lab.private.connects == 2)

    scenario(BINANCE, play)


# -- answers


@BOTH
def test_an_answer_says_what_became_of_the_order(type: str) -> None:
    async def play(lab: Lab) -> None:
        cid = send(lab, order())
        lab.trade.push(accepted(type, cid))
        assert [event.cid for event in lab.all(Ack)] == [cid]
        other = send(lab, order())
        lab.trade.push(refused(type, other, -2019 if type == BINANCE else 110007))
        assert [(e.cid, e.outcome) for e in lab.all(Reject)] == [(other, "rejected")]

    scenario(type, play)


@BOTH
def test_no_answer_is_unknown_and_a_late_one_is_still_an_answer(type: str) -> None:
    async def play(lab: Lab) -> None:
        cid = send(lab, order())
        lab.clock.advance(ANSWER_WITHIN + 1)
        await lab.until(lambda: bool(lab.all(Unknown)))
        assert [(e.cid, e.why) for e in lab.all(Unknown)] == [(cid, "timeout")]
        lab.trade.push(accepted(type, cid))
        lab.trade.push(accepted(type, cid))
        assert {e.cid for e in lab.all(Ack)} == {cid}
        assert len(lab.frames(cid.encode())) == 1

    scenario(type, play)


@BOTH
def test_what_was_in_flight_when_the_socket_went_is_unknown(type: str) -> None:
    async def play(lab: Lab) -> None:
        cid = send(lab, order())
        lab.trade.drop()
        assert [e.cid for e in lab.all(Unknown)] == [cid]
        await lab.until(lambda: lab.link.readiness is Readiness.READY and lab.trade.connects == 2)
        assert len(lab.frames(cid.encode())) == 1

    scenario(type, play)


@BOTH
def test_what_the_socket_did_not_take_was_surely_not_sent(type: str) -> None:
    async def play(lab: Lab) -> None:
        lab.trade.broken = True
        cid = send(lab, order())
        assert [(e.cid, e.code) for e in lab.all(Reject)] == [(cid, "not_sent")]
        lab.clock.advance(ANSWER_WITHIN + 1)
        await asyncio.sleep(0.06)
        assert not lab.all(Unknown)

    scenario(type, play)


@BOTH
@pytest.mark.parametrize(
    ("failure", "event", "code"),
    [(Down("no route"), Reject, "not_sent"), (UnknownOutcome("timeout"), Unknown, None)],
)
def test_by_http_not_sent_is_a_no_and_no_answer_is_in_doubt(
    type: str, failure: Down, event: type[Reject], code: str | None
) -> None:
    async def play(lab: Lab) -> None:
        lab.http.says[PLACE_HTTP[type]] = failure
        cid = send(lab, order())
        await lab.until(lambda: bool(lab.all(event)))
        (told,) = lab.all(event)
        assert told.cid == cid and getattr(told, "code", None) == code
        assert lab.http.asked.count(PLACE_HTTP[type]) == 1

    scenario(type, play, entry="rest")


@BOTH
def test_a_refused_time_stamp_is_a_no_and_has_the_clock_measured(type: str) -> None:
    async def play(lab: Lab) -> None:
        lab.sync._wanted.clear()
        cid = send(lab, order())
        lab.trade.push(refused(type, cid, -1021 if type == BINANCE else 10002))
        assert [e.outcome for e in lab.all(Reject)] == ["clock"]
        assert lab.sync._wanted.is_set()

    scenario(type, play)


@BOTH
def test_an_order_refused_for_the_key_freezes_at_once_and_a_picture_does_not_thaw(
    type: str,
) -> None:
    async def play(lab: Lab) -> None:
        for minutes in (1, 2, 4):
            cid = send(lab, order())
            lab.trade.push(refused(type, cid, -2015 if type == BINANCE else 10005))
            assert [e.cid for e in lab.all(Reject)] == [cid]
            assert lab.states == [Readiness.FROZEN], "before anything else happens"
            assert lab.link.admit([order()]) == "the exchange is frozen"
            lab.link.reconcile()
            await lab.until(lambda: bool(lab.all(Reconciled)))
            assert lab.link.readiness is Readiness.FROZEN, "the account can still be read"
            lab.clock.advance(minutes * 60 * NS_PER_S - 1)
            lab.link._hold.over(lab.clock.mono())
            assert lab.link.readiness is Readiness.FROZEN
            lab.clock.advance(1)
            await lab.until(lambda: lab.link.readiness is Readiness.READY)
            lab.events.clear()

    scenario(type, play)


@BOTH
@pytest.mark.parametrize("what", ["cancel", "amend"])
def test_a_cancel_or_a_change_refused_for_the_key_freezes_too(type: str, what: str) -> None:
    async def play(lab: Lab) -> None:
        code = -2015 if type == BINANCE else 10005
        if what == "cancel":
            lab.link.cancel(cancel("c"))
        else:
            lab.link.amend(order())
        for _ in range(2):
            await lab.settle()
            sent = json.loads(lab.trade.sent[-1])
            lab.trade.push(refused(type, sent.get("id") or sent["reqId"], code))
            assert lab.link.readiness is Readiness.FROZEN and lab.states == [Readiness.FROZEN]
            lab.link.cancel(cancel("c"))
        assert sum("was refused for the key" in text for text in lab.notices) == 1

    scenario(type, play)


@BOTH
def test_an_order_refused_for_another_reason_freezes_nothing(type: str) -> None:
    async def play(lab: Lab) -> None:
        cid = send(lab, order())
        lab.trade.push(refused(type, cid, -2019 if type == BINANCE else 110007))
        assert lab.all(Reject) and lab.states == []

    scenario(type, play)


def test_an_order_never_leaves_twice() -> None:
    async def play(lab: Lab) -> None:
        each = order()
        send(lab, each)
        with pytest.raises(RuntimeError, match="second time"):
            lab.link.send(each, 0, 0)
        assert len(lab.frames(each.intent.cid.encode())) == 1

    scenario(BINANCE, play)


# -- with the trade socket down


@BOTH
def test_without_the_trade_socket_reductions_and_cancels_go_by_rest(type: str) -> None:
    async def play(lab: Lab) -> None:
        lab.http.says[PLACE_HTTP[type]] = UnknownOutcome("not the point here")
        lab.http.says[CANCEL_HTTP[type]] = UnknownOutcome("not the point here")
        lab.may_connect.clear()
        lab.trade.drop()
        assert lab.link.readiness is Readiness.RECONCILING
        entry = send(lab, order(Purpose.ENTRY))
        assert [(e.cid, e.code) for e in lab.all(Reject)] == [(entry, "not_sent")]
        lab.link.cancel(cancel("c"))
        exit = send(lab, order(Purpose.CLOSE))
        await lab.until(lambda: bool(lab.all(Unknown)) and bool(lab.all(CancelReply)))
        assert [e.cid for e in lab.all(Unknown)] == [exit]
        assert [(e.cid, e.ok) for e in lab.all(CancelReply)] == [("c", False)]

    scenario(type, play)


@BOTH
def test_a_cancel_that_the_socket_does_not_take_goes_by_rest(type: str) -> None:
    async def play(lab: Lab) -> None:
        lab.http.says[CANCEL_HTTP[type]] = Down("that neither")
        lab.trade.broken = True
        lab.link.cancel(cancel("c"))
        await lab.until(lambda: bool(lab.all(CancelReply)))
        (told,) = lab.all(CancelReply)
        assert (told.cid, told.ok, told.code) == ("c", False, "not_sent")

    scenario(type, play)


# -- readiness after that


@BOTH
def test_without_any_socket_it_is_down_unless_rest_answers(type: str) -> None:
    async def play(lab: Lab) -> None:
        works = lab.http.says[PICTURE[type]]
        lab.http.says[PICTURE[type]] = Down("502")
        lab.may_connect.clear()
        lab.private.drop()
        lab.trade.drop()
        await lab.until(lambda: lab.link.readiness is Readiness.DOWN)
        lab.http.says[PICTURE[type]] = works
        await lab.until(lambda: lab.link.readiness is Readiness.RECONCILING)
        assert lab.link.picture_every() == POLL_EVERY
        lab.may_connect.set()
        await lab.until(lambda: lab.link.readiness is Readiness.READY)
        assert lab.link.picture_every() == PICTURE_EVERY

    scenario(type, play)


@BOTH
def test_a_picture_does_not_vouch_for_a_socket_that_came_after_it_was_begun(type: str) -> None:
    async def play(lab: Lab) -> None:
        flapped = asyncio.Event()

        async def flap(key: str) -> None:
            if key == PICTURE[type] and not flapped.is_set():
                flapped.set()
                lab.private.drop()
                await lab.until(lambda: lab.private.up)
                await lab.settle()

        lab.http.before = flap
        lab.link.reconcile()
        await asyncio.wait_for(flapped.wait(), PATIENCE_S)
        await lab.until(lambda: Readiness.READY in lab.states)
        seen = [e for e in lab.events if isinstance(e, Ready | Reconciled)]
        heard = [e.state if isinstance(e, Ready) else "picture" for e in seen]
        assert heard == [Readiness.RECONCILING, "picture", "picture", Readiness.READY]

    scenario(type, play)


@BOTH
def test_a_picture_asked_for_during_another_follows_it(type: str) -> None:
    async def play(lab: Lab) -> None:
        asked = asyncio.Event()

        async def again(key: str) -> None:
            if not asked.is_set():
                asked.set()
                lab.clock.advance(7)
                lab.link.reconcile()

        begun = lab.clock.mono()
        lab.http.before = again
        lab.link.reconcile()
        await lab.until(lambda: len(lab.all(Reconciled)) == 2)
        assert [each.started - begun for each in lab.all(Reconciled)] == [0, 7]

    scenario(type, play)


def test_a_key_that_is_refused_at_reading_freezes_and_trading_goes_on_when_it_is_not() -> None:
    async def play(lab: Lab) -> None:
        lab.http.says[PICTURE[BYBIT]] = '{"retCode":10003,"retMsg":"API key is invalid."}'
        lab.link.reconcile()
        await lab.until(lambda: lab.link.readiness is Readiness.FROZEN)
        lab.http.says[PICTURE[BYBIT]] = EMPTY
        await lab.until(lambda: lab.link.readiness is Readiness.READY)

    scenario(BYBIT, play)


@pytest.mark.parametrize(
    ("type", "answer"),
    [
        (BYBIT, json_response('{"retCode":10002,"retMsg":"time"}')),
        (BINANCE, json_response('{"code":-1021,"msg":"time"}', 400)),
    ],
)
def test_a_refused_time_stamp_at_reading_is_no_matter_of_the_key(type: str, answer: object) -> None:
    async def play(lab: Lab) -> None:
        lab.sync._wanted.clear()
        lab.http.says[PICTURE[type]] = answer  # type: ignore[assignment]
        lab.link.reconcile()
        await lab.until(lambda: lab.sync._wanted.is_set())
        assert lab.link.readiness is Readiness.READY

    scenario(type, play)


# -- questions


@BOTH
def test_a_question_without_a_definitive_answer_tells_nothing(type: str) -> None:
    asked = "GET /fapi/v1/order" if type == BINANCE else "GET /v5/order/history"

    async def play(lab: Lab) -> None:
        for says in (Down("502"), json_response("oops", 502), json_response("{}")):
            lab.http.says[asked] = says
            lab.link.query(query("c"))
            await lab.until(lambda: asked in lab.http.asked)
            await lab.settle()
            lab.http.asked.clear()
        assert not lab.all(Found)
        none = json_response('{"code":-2013,"msg":"x"}', 400) if type == BINANCE else EMPTY
        lab.http.says[asked] = none
        lab.link.query(query("c"))
        await lab.until(lambda: bool(lab.all(Found)))
        assert lab.all(Found)[0].order is None

    scenario(type, play)


def test_fills_are_told_before_the_order_that_they_fill() -> None:
    async def play(lab: Lab) -> None:
        row = {"symbol": "BTCUSDT", "orderLinkId": "c", "orderId": "e1"}
        filled = row | {"orderStatus": "Filled", "qty": "0.002", "cumExecQty": "0.002"}
        lab.http.says["GET /v5/order/realtime"] = ok({"list": [filled]})
        done = row | {"execId": "t1", "execQty": "0.002", "execPrice": "50000"}
        lab.http.says["GET /v5/execution/list"] = ok({"list": [done]})
        lab.link.query(query("c"))
        lab.link.query(query("c"))
        await lab.until(lambda: bool(lab.all(Found)))
        told = [type(event).__name__ for event in lab.events]
        assert told == ["Fill", "Found"], "one question at a time, and its fills first"

    scenario(BYBIT, play)


# -- the end


def test_a_task_that_dies_ends_the_link_with_its_error() -> None:
    async def run() -> None:
        lab = Lab(BYBIT)
        task = asyncio.create_task(lab.link.run())
        await lab.until(lambda: lab.link.readiness is Readiness.READY)

        def broken(request: object) -> str:
            raise ZeroDivisionError

        lab.http.says["GET /v5/order/realtime"] = broken
        lab.link.query(query("c"))
        with pytest.raises(ExceptionGroup) as caught:
            await asyncio.wait_for(task, PATIENCE_S)
        assert caught.group_contains(ZeroDivisionError)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


@BOTH
def test_nothing_is_left_of_a_link_that_ends_with_requests_in_flight(type: str) -> None:
    """`Lab.running` looks for tasks."""

    async def play(lab: Lab) -> None:
        async def never(key: str) -> None:
            await asyncio.Event().wait()

        lab.http.before = never
        lab.link.query(query("c"))
        lab.link.reconcile()
        send(lab, order())
        await lab.settle()

    lab = scenario(type, play, entry="rest")
    assert not lab.all(Found) and not lab.all(Ack)


def test_a_link_that_is_cancelled_leaves_nothing() -> None:
    async def run() -> None:
        lab = Lab(BINANCE)
        task = asyncio.create_task(lab.link.run())
        await lab.until(lambda: lab.link.readiness is Readiness.READY)
        lab.link.query(query("c"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert [e.state for e in lab.all(Feed)].count(SocketState.UP) == 2

    asyncio.run(run())
