"""`do: reduce` on a trade that is still entering: it takes nothing more, then closes its share."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from runner.engine.commands import Intent, Notify, Purpose, Record
from runner.engine.events import Operator
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.plan import Plan
from runner.spec.rule_plan import Deed, DeedPlan, GiveUpPlan, OrderPlan
from tests.engine.stage import R1, Knobs, btc, rule, stage
from tests.engine.test_restart import journal
from tests.engine.test_working import PRICE, lead_of, resting, working

GUARD, ALARM = "guard", "alarm"


def deed(name: str, by: float, **changes: Any) -> Any:
    plan = rule(name, (Side.SELL,), when_streams=("bin.book",), cooldown_ns=0)
    do = (DeedPlan(Deed.REDUCE, rule=R1, by=by),)
    return replace(plan, trade=None, until=None, until_streams=(), do=do, **changes)


def plan_of(lead: dict[str, Any] | None = None, **guard: Any) -> Plan:
    whole = working(lead={"clip": btc("0.004"), **(lead or {})})
    deeds = {GUARD: deed(GUARD, 0.5, **guard), ALARM: deed(ALARM, 0.5)}
    return replace(whole, rules={**whole.rules, **deeds})


class Entering:
    """A pair whose first leg rests clip by clip; guards fire when a test says so."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.fired = {GUARD: False, ALARM: False}
        knobs = Knobs(prices=(PRICE, None), size=1200.0, enter_at=-1.0, exit_at=-1.0)
        for name in self.fired:
            knobs.when[name] = lambda _now, name=name: self.fired[name]  # type: ignore[misc]
        knobs.until[R1] = lambda _now: False
        self.s = stage(plan or plan_of(), knobs, warm=False)
        self.s.exchanges["binance"].default = Fate.WORKS
        self.s.run(200 * MS)

    def clip(self, lots: int = 4, for_ns: int = 1100 * MS) -> None:
        if resting(self.s):
            self.s.exchanges["binance"].fill(lead_of(self.s), lots)
        self.s.run(for_ns)

    def fire(self, name: str = GUARD, for_ns: int = 60 * MS) -> None:
        self.s.exchanges["binance"].default = Fate.FILLED
        self.fired[name] = True
        self.s.run(for_ns)

    @property
    def held(self) -> tuple[int, int]:
        return self.s.truth("bin"), self.s.truth("byb")


def entries(s: Scenario) -> list[Intent]:
    return [i for i in s.sent if i.purpose is Purpose.ENTRY]


def did(s: Scenario) -> list[object]:
    return [r.fields["text"] for r in s.commands(Record) if r.kind == "did"]


def test_clips_end_and_half_of_what_is_held_goes_in_pairs() -> None:
    e = Entering()
    e.clip()
    e.clip()
    assert e.held == (-8, 8) and e.s.state(R1) == "entering" and resting(e.s)
    before = len(entries(e.s))
    e.fire()
    assert did(e.s) == [f"{R1} enters no further, then by 0.5"]
    e.s.run(300 * MS)
    assert e.held == (-4, 4) and e.s.state(R1) == "active"
    closes = [i for i in e.s.sent if i.purpose is Purpose.CLOSE]
    assert [(i.market, i.lots) for i in closes] == [("bin", 4), ("byb", 4)]
    e.s.run(60 * SECOND)
    assert e.held == (-4, 4) and resting(e.s) == []
    assert len(entries(e.s)) == before, "it does not go on entering"
    assert any("given up" in n.text for n in e.s.commands(Notify))


def test_a_fill_on_its_way_is_waited_for_hedged_and_counted() -> None:
    e = Entering()
    e.clip()
    e.s.exchanges["binance"].delay = 100 * MS
    e.s.exchanges["binance"].fill(lead_of(e.s), 2)  # told in 100 ms
    e.fire(for_ns=20 * MS)
    assert not [i for i in e.s.sent if i.purpose is Purpose.CLOSE], "not while it is not known"
    e.s.run(2 * SECOND)
    assert e.held == (-3, 3), "half of the six that were filled"
    assert e.s.state(R1) == "active"


def test_between_two_clips_it_is_reduced_at_once() -> None:
    e = Entering()
    e.clip(for_ns=50 * MS)
    e.fire()
    e.s.run(300 * MS)
    assert e.held == (-2, 2) and e.s.state(R1) == "active"


def test_with_nothing_filled_there_is_no_trade_left_to_reduce() -> None:
    e = Entering()
    e.fire()
    e.s.run(SECOND)
    assert e.held == (0, 0) and e.s.state(R1) == "cooldown"


def test_the_rest_is_not_taken_by_the_order_that_giving_up_would_send() -> None:
    then = GiveUpPlan(20 * SECOND, OrderPlan("limit", "ioc", 0.001))
    e = Entering(plan_of({"give_up": then}))
    e.clip()
    e.fire()
    e.s.run(40 * SECOND)
    assert e.held == (-2, 2)


def test_two_guards_at_once_close_what_both_ask_for_and_none_asks_twice() -> None:
    e = Entering(plan_of(rearm="level", cooldown_ns=100 * MS))
    e.clip()
    e.clip()
    for exchange in e.s.exchanges.values():
        exchange.delay = 1 * SECOND
    e.fire(GUARD, 300 * MS)
    e.fire(ALARM, 300 * MS)
    assert len(did(e.s)) == 2, "the guard is due again, but the trade owes it already"
    assert e.s.engine.funnels[GUARD].refusals["busy"] >= 1
    e.fired = dict.fromkeys(e.fired, False)
    e.s.run(8 * SECOND)
    assert e.held == (-2, 2), "half of a half"


def test_legs_that_are_apart_are_trimmed_and_not_completed() -> None:
    e = Entering()
    e.clip()
    e.s.exchanges["bybit"].default = Fate.NOTHING  # the hedge finds nobody
    e.s.exchanges["binance"].fill(lead_of(e.s), 4)
    e.s.run(8 * MS)
    e.fire()
    e.s.run(2 * SECOND)
    bought = [i for i in e.s.sent if i.market == "byb" and i.side is Side.BUY]
    assert all(i.purpose is not Purpose.REPAIR for i in bought)
    e.s.exchanges["bybit"].default = Fate.FILLED
    e.s.run(5 * SECOND)
    assert e.held == (-2, 2) and e.s.state(R1) == "active"


def test_a_halt_keeps_what_it_owes_until_it_is_lifted() -> None:
    e = Entering()
    e.clip()
    e.s.exchanges["binance"].delay = 200 * MS
    e.fire(for_ns=20 * MS)
    e.s.push(Operator(command="halt", who="me"))
    e.s.run(5 * SECOND)
    assert e.held == (-4, 4) and e.s.state(R1) == "active"
    e.s.push(Operator(command="resume", who="me"))
    e.s.run(3 * SECOND)
    assert e.held == (-2, 2)


@pytest.mark.parametrize("told", [0, 2])
def test_a_restart_in_between_reduces_and_enters_no_further(told: int) -> None:
    e = Entering()
    e.clip()
    e.s.exchanges["binance"].delay = 10 * SECOND
    if told:
        e.s.exchanges["binance"].fill(lead_of(e.s), told, told=False)
    e.fire()
    plan, old = e.s.plan, e.s
    knobs = Knobs(prices=(PRICE, None), enter_at=-1.0, exit_at=-1.0)
    knobs.when |= {name: lambda _now: False for name in (GUARD, ALARM)}
    knobs.until[R1] = lambda _now: False
    new = stage(plan, knobs, restored=journal(old), warm=False, run_id="run0000002")
    new.wall_at_zero = old.wall_at_zero + old.t + SECOND
    for name, exchange in new.exchanges.items():
        before = old.exchanges[name]
        exchange.orders, exchange.positions = before.orders, before.positions
        exchange._count = before._count
    new.run(30 * SECOND)
    half = (4 + told) // 2
    assert (new.truth("bin"), new.truth("byb")) == (-half, half)
    assert new.state(R1) == "active" and resting(new) == []


@pytest.mark.parametrize("seed", range(10))
def test_under_random_faults_it_never_grows_again(seed: int) -> None:
    rng = Random(seed)
    e = Entering()
    for _ in range(rng.randint(1, 3)):
        e.clip(rng.randint(1, 4), rng.randrange(1, 1300) * MS)
    fates = [Fate.PARTIAL, Fate.NOTHING, Fate.UNKNOWN, Fate.LATE, Fate.FILLED, Fate.REJECTED]
    for exchange, name in ((e.s.exchanges["bybit"], "byb"), (e.s.exchanges["binance"], "bin")):
        exchange.fates[name] = deque(rng.choices(fates, k=3))
        exchange.delay = rng.randrange(1, 300) * MS
    if resting(e.s):
        e.s.exchanges["binance"].fill(lead_of(e.s), 1)
    most = abs(e.held[0])
    e.fire()
    e.s.run(40 * SECOND)
    for exchange in e.s.exchanges.values():
        exchange.fates.clear()
    e.s.run(40 * SECOND)
    assert e.held[0] == -e.held[1] == e.s.lots("bin")
    assert abs(e.held[0]) <= max(most // 2 + 1, 0) and resting(e.s) == []
