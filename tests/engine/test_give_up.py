"""The verb `order`: what rests is given up in time, `key` once for ever, `keep` never sold."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import pytest

from runner.engine.commands import Cancel, Notify, Purpose, Record, Tif
from runner.engine.events import Fill, Operator
from runner.engine.keys import key_of
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.plan import Plan
from runner.spec.rule_plan import GiveUpPlan, OrderPlan
from tests.engine.stage import Knobs, arb_plan, rule, stage, usdt
from tests.engine.test_restart import reborn

BUY = "buy"
AFTER = 10 * SECOND
IOC = OrderPlan("limit", "ioc", 0.001)


def buying(then: OrderPlan | None = IOC, **order: Any) -> Plan:
    plan = rule(
        BUY, (Side.BUY,), single=True, cooldown_ns=3600 * SECOND,
        order_plan={
            "tif": "gtc", "collar": None, "price": True, "give_up": GiveUpPlan(AFTER, then),
        },
    )  # fmt: skip
    assert plan.order is not None
    return arb_plan(
        replace(plan, order=replace(plan.order, **order)), max_net_position={}, max_order=usdt(700)
    )


def rest(plan: Plan, **options: Any) -> Scenario:
    s = stage(plan, Knobs(prices=(59_990.0,), size=600.0, enter_at=-1.0), warm=False, **options)
    s.exchanges["binance"].fates["bin"] = deque([Fate.REST])
    return s.run(3500 * MS)


def fill(s: Scenario, lots: int) -> None:
    """Let the resting order fill a little."""
    (order,) = [o for o in s.exchanges["binance"].orders.values() if o.status == "open"]
    order.filled += lots
    s.exchanges["binance"].positions["BTCUSDT"] = order.filled
    event = Fill(cid=order.intent.cid, trade_id=f"t{order.filled}", lots=lots, price=59_990.0)
    order.fills.append(event)
    s.push(event)


def told(s: Scenario) -> list[str]:
    return [n.text for n in s.commands(Notify)]


def test_the_rest_goes_once_as_an_immediate_order() -> None:
    s = rest(buying())
    fill(s, 3)
    s.run(AFTER)
    first, second = s.sent
    assert (first.tif, second.tif) == (Tif.GTC, Tif.IOC)
    assert (first.lots, second.lots) == (10, 7)
    assert second.purpose is Purpose.ENTRY
    assert len(s.commands(Cancel)) == 1
    s.run(60 * SECOND)
    assert len(s.sent) == 2
    assert s.lots("bin") == s.truth("bin") == 10
    assert s.state(BUY) == "cooldown"


def test_a_rest_below_the_minimum_is_dropped_and_told() -> None:
    s = rest(buying())
    fill(s, 9)  # 60 USDT are left, the exchange takes 100
    s.run(AFTER + SECOND)
    assert len(s.sent) == 1
    assert s.state(BUY) == "cooldown"
    assert any("0.001 BTC of bin were given up" in text for text in told(s))


def test_without_then_the_rest_is_dropped() -> None:
    s = rest(buying(None))
    s.run(AFTER + SECOND)
    assert len(s.sent) == 1
    assert any("0.01 BTC of bin were given up" in text for text in told(s))


def test_the_rest_waits_for_a_live_book_but_not_for_ever() -> None:
    s = rest(buying())
    s.frozen.add("bin")
    s.run(AFTER + 30 * SECOND)
    assert len(s.sent) == 1
    s.frozen.clear()
    s.run(2 * SECOND)
    assert len(s.sent) == 2

    s = rest(buying())
    s.frozen.add("bin")
    s.run(AFTER + 62 * SECOND)
    s.frozen.clear()
    s.run(10 * SECOND)
    assert len(s.sent) == 1
    assert s.state(BUY) == "cooldown"


def test_a_fill_that_beats_the_cancel_is_not_bought_twice() -> None:
    s = rest(buying())
    s.run(AFTER - 4 * SECOND)
    exchange = s.exchanges["binance"]
    (order,) = exchange.orders.values()
    order.status, order.filled = "filled", 10
    exchange.positions["BTCUSDT"] = 10
    order.fills.append(
        Fill(cid=order.intent.cid, trade_id="late", lots=10, price=59_990.0, fee=0.0)
    )
    s.run(30 * SECOND)  # the stream is silent: the cancel is refused, the query finds it
    assert len(s.sent) == 1
    assert s.lots("bin") == 10


def test_giving_up_goes_on_after_a_restart() -> None:
    plan = buying()
    s = rest(plan)
    fill(s, 4)
    s.run(SECOND)
    again = reborn(s)
    again.run(AFTER)
    (second,) = again.sent
    assert second.lots == 6
    assert again.lots("bin") == again.truth("bin") == 10


def test_a_key_is_used_once_and_over_restarts() -> None:
    plan = buying(key="{rule}-{week}")
    s = rest(plan)
    claims = [r.fields["key"] for r in s.commands(Record) if r.kind == "claim"]
    assert claims == [key_of("{rule}-{week}", BUY, s.wall_at_zero + s.t)]
    saved = s.engine.snapshot()
    assert saved.keys == frozenset(claims)
    saved.rules.clear()  # what is left of the past is the key alone
    again = rest(plan, restored=saved, run_id="run0000002")
    assert again.sent == []
    assert again.engine.funnels[BUY].refusals["key_used"] > 0


def test_the_fields_of_a_key() -> None:
    wall = 1_795_737_599_000_000_000  # 2026-11-26 23:59:59 UTC, a Thursday
    assert key_of("{rule} {month} {week} {day} {hour}", "r", wall) == (
        "r 2026-11 2026W48 2026-11-26 2026-11-26T23"
    )


@pytest.mark.parametrize("keep", [True, False])
def test_keep_decides_what_flatten_may_sell(keep: bool) -> None:
    s = rest(buying(keep=keep))
    fill(s, 10)
    s.run(SECOND)
    assert s.state(BUY) == "cooldown"
    s.push(Operator(command="flatten", who="test"))
    s.run(5 * SECOND)
    sells = [i for i in s.sent if i.side is Side.SELL]
    assert len(sells) == (0 if keep else 1)
    assert s.lots("bin") == s.truth("bin") == (10 if keep else 0)
    assert s.engine.flat
