"""Orders of which nothing is heard, or too little: each is asked about until it is known."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from decimal import Decimal

from runner.engine.commands import Purpose, Query, Reconcile
from runner.engine.events import Ack, Done, End, Found, Operator, OrderView
from runner.engine.order import Order, OrderState
from runner.engine.scenario import Fate, Scenario, Truth
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from tests.engine.stage import R1, stage, widen
from tests.engine.test_gate import intent, loose
from tests.engine.test_limits import holding


def alone(cid: str = "c1") -> Scenario:
    """One immediate order of which nothing is heard by itself."""
    s = stage(loose())
    s.exchanges["binance"].answers = False
    s.engine.desk.orders.add(intent(s, cid=cid))
    return s


def asked(s: Scenario) -> int:
    return sum(q.cid == "c1" for q in s.commands(Query))


def test_one_without_an_answer_is_unknown_after_a_second() -> None:
    s = alone()
    s.run(999 * MS)
    order = s.engine.desk.orders.all["c1"]
    assert order.state is OrderState.SENT and not asked(s)
    s.run(100 * MS)
    assert order.state is OrderState.UNKNOWN and asked(s) == 1


def test_an_immediate_one_that_stays_open_is_asked_about_again_and_again() -> None:
    s = alone()
    s.push(Ack(cid="c1"))
    s.run(1100 * MS)
    order = s.engine.desk.orders.all["c1"]
    assert order.state is OrderState.OPEN and asked(s) >= 1
    s.push(Found(cid="c1", order=shown_open(order)))
    s.run(1)
    before = asked(s)
    s.run(1100 * MS)
    assert asked(s) > before, "shown open, and silent once more"


def shown_open(order: Order) -> OrderView:
    return Truth(order.intent).view()


def test_only_a_picture_that_was_begun_after_the_proof_proves_an_order_lost() -> None:
    s = alone()
    orders = s.engine.desk.orders
    s.run(1100 * MS)
    order = orders.all["c1"]
    s.run(order.intent.window_ns + 3 * SECOND)
    for _ in range(3):
        s.push(Found(cid="c1", order=None))
        s.run(1)
    proof = order.proof_from
    assert proof > 0
    assert orders.prove_lost("binance", proof - 1) == []
    assert order.state is OrderState.UNKNOWN
    assert orders.prove_lost("binance", proof) == [order]
    assert order.state is OrderState.LOST


def test_an_end_without_its_fills_has_the_account_read() -> None:
    s = alone()
    s.push(Done(cid="c1", end=End.FILLED, filled_lots=8))
    s.run(200 * MS)
    assert [r.reason for r in s.commands(Reconcile) if "missing fill" in r.reason]
    assert s.engine.desk.orders.all["c1"].open_lots == 8, "it counts until they are known"


def test_more_than_an_order_may_have_is_closed_in_several() -> None:
    s = holding()
    listed = s.engine.desk.markets["bin"]
    listed.use(replace(listed.instrument, max_qty=Decimal("0.005")))
    s.push(Operator(command="flatten", rule=R1, who="me"))
    s.run(5 * SECOND)
    closes = [i for i in s.sent if i.purpose is Purpose.CLOSE and i.market == "bin"]
    assert [i.lots for i in closes] == [5, 3] and s.truth("bin") == 0
    assert {i.side for i in closes} == {Side.BUY}


def test_a_lost_order_of_a_group_is_resolved_and_never_sent_again() -> None:
    s = stage()
    s.exchanges["bybit"].fates["byb"] = deque([Fate.LOST])
    s.exchanges["binance"].fates["bin"] = deque([Fate.LOST])
    widen(s)
    s.run(20 * SECOND)
    states = {o.intent.cid: o.state for o in s.engine.desk.orders.all.values()}
    assert [states[i.cid] for i in s.sent[:2]] == [OrderState.LOST] * 2
    assert len({i.cid for i in s.sent}) == len(s.sent)
