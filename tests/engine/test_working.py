"""Legs that go one after the other: what rests is worked, each of its fills is hedged at once."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from runner.engine.commands import Amend, Cancel, Intent, Notify, Purpose, Tif
from runner.engine.events import Operator, Reject
from runner.engine.limits import Cause, Mode
from runner.engine.scenario import Change, Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.parts import Rate
from runner.spec.plan import Plan
from runner.spec.rule_plan import Deed, DeedPlan, GiveUpPlan, OrderPlan
from tests.engine.stage import R1, Knobs, arb_plan, btc, rule, stage, usdt
from tests.engine.test_legs import Watch
from tests.engine.test_restart import reborn

LEAD = {"tif": "post_only", "collar": None, "price": True}
PRICE = 60_010.0


def working(policy: str = "first_then_rest", lead: dict[str, Any] | None = None,
            **hedge: Any) -> Plan:  # fmt: skip
    """Sell bin by an order that rests, buy byb for what it fills; 20 lots in all."""
    plan = rule(R1, (Side.SELL, Side.BUY), hedge={"policy": policy, **hedge}, cooldown_ns=10**15)
    assert plan.trade is not None
    first, second = plan.trade.legs
    if policy == "first_then_rest":
        first = replace(first, order=OrderPlan(**LEAD, **(lead or {})))
    trade = replace(plan.trade, legs=(first, second))
    return arb_plan(
        replace(plan, trade=trade), max_orders=Rate(10**6, SECOND), max_order=usdt(1300),
        max_net_position={"BTC": Decimal("0.004" if lead and "clip" in lead else "0.03")},
        max_position={"bin": btc("0.03"), "byb": btc("0.03")},
    )  # fmt: skip


def begun(plan: Plan, **knobs: Any) -> tuple[Scenario, Watch]:
    """The lead rests at the exchange."""
    knob = Knobs(prices=(PRICE, None), size=1200.0, enter_at=-1.0, exit_at=-1.0, **knobs)
    s = stage(plan, knob, warm=False)
    watch = Watch(s)
    s.exchanges["binance"].default = Fate.WORKS
    s.run(200 * MS)
    return s, watch


def lead_of(s: Scenario) -> str:
    return next(
        cid for cid, o in s.exchanges["binance"].orders.items() if o.status in ("open", "partial")
    )


def resting(s: Scenario) -> list[tuple[int, int]]:
    orders = s.exchanges["binance"].orders.values()
    return [(o.ticks, o.lots - o.filled) for o in orders if o.status in ("open", "partial")]


def bought(s: Scenario) -> list[Intent]:
    return [i for i in s.sent if i.market == "byb"]


def test_only_the_first_leg_goes_and_each_fill_is_hedged_in_its_own_pass() -> None:
    s, _ = begun(working())
    assert [(i.market, i.tif, i.lots) for i in s.sent] == [("bin", Tif.POST_ONLY, 19)]
    for n, lots in enumerate((1, 2, 1)):
        s.exchanges["binance"].fill(lead_of(s), lots)
        s.run(5 * MS)  # the fill is told; nothing else happens in between
        assert [i.lots for i in bought(s)] == [1, 2, 1][: n + 1]
        s.run(100 * MS)
    assert s.state(R1) == "entering"
    assert s.lots("bin") == -s.lots("byb") == -4
    s.exchanges["binance"].fill(lead_of(s), 15)
    s.run(100 * MS)
    assert s.state(R1) == "active"
    assert s.lots("bin") == -s.lots("byb") == -19
    assert all(i.purpose is Purpose.ENTRY for i in s.sent)
    assert s.engine.desk.limits.mode == "active"


def test_clips_bound_what_can_be_unhedged() -> None:
    s, _ = begun(working(lead={"clip": btc("0.004")}))
    worst = 0.0
    for _ in range(40):
        if resting(s):
            assert resting(s)[0][1] <= 4
            s.exchanges["binance"].fill(lead_of(s), 3)
            worst = max(worst, abs(s.net("BTC")))
        s.run(400 * MS)
    assert worst <= 0.004 + 1e-9
    assert s.state(R1) == "active"
    assert s.truth("bin") == -s.truth("byb") == -19
    assert [i.lots for i in s.sent if i.market == "bin"] == [4, 4, 4, 4, 3]
    assert len(s.engine.desk.gate.firings[R1]) == 1


def test_no_further_clip_rests_before_the_last_one_is_hedged() -> None:
    """`max_gap` has room for one clip: a second one could be filled before the first is hedged."""
    plan = working(lead={"clip": btc("0.004")}, max_gap=btc("0.006"), repair="complete")
    s, _ = begun(plan)
    s.exchanges["bybit"].default = Fate.NOTHING
    s.exchanges["binance"].fill(lead_of(s), 4)
    for _ in range(15):
        s.run(100 * MS)
        assert not resting(s), "the legs are 4 lots apart"
    s.exchanges["bybit"].default = Fate.FILLED
    s.run(500 * MS)
    assert s.truth("byb") == 4 and resting(s) == [(600_100, 4)]


def test_the_resting_order_follows_its_price() -> None:
    s, _ = begun(working(lead={"reprice_ns": 5 * SECOND}))
    program = s.engine.desk.program.rules[R1]
    program.prices = (lambda _now: PRICE + 30, None)  # type: ignore[misc]
    s.run(4 * SECOND)
    assert not s.commands(Amend)
    s.run(2 * SECOND)
    assert resting(s) == [(600_400, 19)]
    program.prices = (lambda _now: float("nan"), None)  # type: ignore[misc]
    s.run(6 * SECOND)
    assert resting(s) == []  # no price, no order
    program.prices = (lambda _now: PRICE, None)  # type: ignore[misc]
    s.run(2 * SECOND)
    assert resting(s) == [(600_100, 19)]
    assert s.state(R1) == "entering"


def test_giving_up_keeps_what_is_hedged() -> None:
    s, _ = begun(working(lead={"give_up": GiveUpPlan(10 * SECOND), "clip": btc("0.004")}))
    s.exchanges["binance"].fill(lead_of(s), 4)
    s.run(11 * SECOND)
    assert resting(s) == []
    assert s.state(R1) == "active"
    assert s.lots("bin") == -s.lots("byb") == -4
    assert any("given up" in n.text for n in s.commands(Notify))


def test_giving_up_with_nothing_filled_is_no_trade() -> None:
    s, _ = begun(working(lead={"give_up": GiveUpPlan(10 * SECOND)}))
    s.run(11 * SECOND)
    assert s.state(R1) == "cooldown"
    assert bought(s) == []


def test_what_no_account_could_bear_as_a_whole_does_not_begin() -> None:
    plan = working(lead={"clip": btc("0.004")})
    plan = replace(plan, risk=replace(plan.risk, max_position={"bin": btc("0.01"),
                                                               "byb": btc("0.03")}))  # fmt: skip
    s, _ = begun(plan)
    assert s.sent == []
    assert s.engine.funnels[R1].refusals["max_position"] > 0


def test_thin_first_sends_the_thinner_leg_and_the_other_for_its_fills() -> None:
    plan = working("thin_first")
    s = stage(plan, Knobs(size=1200.0, enter_at=-1.0, exit_at=-1.0), warm=False)
    Watch(s)
    s.exchanges["bybit"].fates["byb"] = deque([Fate.PARTIAL])
    thin = s.engine.market.streams["byb.book"]
    s.run(100 * MS)
    assert thin.ask_qty > 0
    first, second = s.sent[0], s.sent[1]
    assert {first.market, second.market} == {"bin", "byb"}
    lead = s.engine.desk.rules.runs[R1].trade
    assert lead is not None
    done = s.exchanges["binance" if first.market == "bin" else "bybit"].orders[first.cid]
    assert second.lots == done.filled
    s.run(3 * SECOND)
    assert s.lots("bin") == -s.lots("byb")
    assert s.state(R1) == "active"


@pytest.mark.parametrize("fate", list(Fate))
@pytest.mark.parametrize("policy", ["first_then_rest", "thin_first"])
def test_whatever_becomes_of_the_hedge_the_legs_end_matched_or_told(
    policy: str, fate: Fate
) -> None:
    if policy == "first_then_rest":
        s, watch = begun(working(policy))
        s.exchanges["bybit"].fates["byb"] = deque([fate])
        s.exchanges["binance"].fill(lead_of(s), 5)
    else:
        s = stage(working(policy), Knobs(size=300.0, enter_at=-1.0, exit_at=-1.0), warm=False)
        watch = Watch(s)
        s.exchanges["binance"].fates["bin"] = deque([fate])
    s.run(30 * SECOND)
    for exchange in s.exchanges.values():
        exchange.default = Fate.FILLED
    s.run(30 * SECOND)
    assert s.lots("bin") == s.truth("bin") and s.lots("byb") == s.truth("byb")
    apart = abs(s.net("BTC")) > 0.002 + 1e-9
    told = any(n.level == "page" for n in s.commands(Notify))
    assert not apart or told
    assert watch.longest <= 4 * SECOND or told


@pytest.mark.parametrize("seed", range(10))
def test_clips_reprices_and_hedges_under_random_faults(seed: int) -> None:
    """I-20, I-13: parent budgets hold at every event; what is apart is evened or told."""
    rng = Random(seed)
    order = {"clip": btc("0.004"), "reprice_ns": 700 * MS, "give_up": GiveUpPlan(40 * SECOND)}
    s, _ = begun(working(lead=order))
    lead, follower = s.exchanges["binance"], s.exchanges["bybit"]
    program = s.engine.desk.program.rules[R1]
    for _ in range(60):
        match rng.randrange(6):
            case 0 if resting(s):
                lead.fill(lead_of(s), rng.randint(1, 4))
            case 1:
                price = PRICE + rng.randrange(0, 50)
                program.prices = (lambda _now, p=price: p, None)  # type: ignore[misc]
            case 2:
                lead.changes.append(rng.choice(list(Change)))
            case 3:
                fates = [Fate.PARTIAL, Fate.NOTHING, Fate.UNKNOWN, Fate.LATE, Fate.FILLED]
                follower.fates["byb"] = deque([rng.choice(fates)])
            case 4 if lead.answers and rng.random() < 0.2:
                lead.go_down()
                s.after(rng.randrange(1, 2000) * MS, lead.come_up)
            case _:
                s.run(rng.randrange(1, 900) * MS)
        s.run(rng.randrange(1, 40) * MS)
    lead.changes.clear()
    follower.fates.clear()
    lead.default = Fate.FILLED
    s.run(90 * SECOND)
    assert s.lots("bin") == s.truth("bin") and s.lots("byb") == s.truth("byb")
    assert abs(s.net("BTC")) <= 0.002 + 1e-9
    assert s.engine.quiet


@pytest.mark.parametrize("filled", [0, 3])
def test_a_restart_in_the_middle_hedges_what_was_filled(filled: int) -> None:
    s, _ = begun(working(lead={"clip": btc("0.004")}))
    if filled:
        s.exchanges["bybit"].answers = False
        s.exchanges["binance"].fill(lead_of(s), filled, told=False)
    s.run(10 * MS)
    for exchange in s.exchanges.values():
        exchange.answers = True
    new = reborn(s)
    new.exchanges["binance"].default = Fate.WORKS
    new.run(20 * SECOND)
    assert new.truth("bin") == -new.truth("byb") == -filled
    assert new.lots("bin") == new.truth("bin") and new.lots("byb") == new.truth("byb")


def test_a_halt_cancels_what_rests_and_flatten_closes_both() -> None:
    s, _ = begun(working(lead={"clip": btc("0.004")}))
    s.exchanges["binance"].fill(lead_of(s), 4)
    s.run(200 * MS)
    s.exchanges["binance"].default = Fate.FILLED
    s.push(Operator(command="flatten", who="test"))
    s.run(5 * SECOND)
    assert resting(s) == []
    assert s.truth("bin") == s.truth("byb") == 0


def test_a_post_only_refusal_is_tried_again_not_taken_for_the_end() -> None:
    s, _ = begun(working(lead={"clip": btc("0.004")}))
    s.exchanges["binance"].fill(lead_of(s), 4)
    s.run(5 * MS)
    s.run(5 * MS)
    last = s.sent[-1] if s.sent[-1].market == "bin" else s.sent[-2]
    order = s.engine.desk.orders.all[last.cid]
    if order.state == "sent":
        s.exchanges["binance"].orders.pop(last.cid, None)
        s.push(Reject(cid=last.cid, outcome="rejected", code="-5022", by_terms=True))
    s.run(3 * SECOND)
    assert s.state(R1) == "entering"
    assert resting(s) == [(600_100, 4)]
    assert len(s.commands(Cancel)) == 0


@pytest.mark.parametrize("filled_before", [True, False])
def test_a_pause_calls_back_a_lead_that_no_partner_could_follow(filled_before: bool) -> None:
    s, _ = begun(working())
    binance = s.exchanges["binance"]
    cid = lead_of(s)
    binance.fill(cid, 3)
    s.run(500 * MS)
    if filled_before:
        binance.fill(cid, 1)
    s.engine.desk.limits.add("max_losing_streak", Mode.PAUSED, "max_losing_streak", "streak")
    if not filled_before:
        binance.fill(cid, 1)  # before the cancel arrives
    s.run(5 * SECOND)
    assert resting(s) == [] and s.state(R1) == "active"
    assert (s.truth("bin"), s.truth("byb")) == (-3, 3), "what came too late is trimmed"


def test_a_lead_that_an_earlier_run_left_is_called_back_by_its_first_fill_under_a_pause() -> None:
    s, _ = begun(working())
    s.exchanges["binance"].fill(lead_of(s), 3)
    s.run(500 * MS)
    s.engine.desk.limits.causes["max_losing_streak"] = Cause(
        Mode.PAUSED, "max_losing_streak", "streak"
    )
    s.engine.desk.rules.touch_run()
    s.run(500 * MS)
    new = reborn(s)
    new.run(4 * SECOND)
    assert new.engine.desk.limits.mode is Mode.PAUSED
    for cid in [cid for cid, o in new.exchanges["binance"].orders.items() if o.status == "partial"]:
        new.exchanges["binance"].fill(cid, 1)
    new.run(10 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (-3, 3)
    assert resting(new) == []


@pytest.mark.parametrize(("rule", "market"), [("", ""), (R1, ""), ("", "bin")])
def test_a_lead_that_a_rule_cancels_is_not_placed_anew(rule: str, market: str) -> None:
    s, _ = begun(working(lead={"reprice_ns": SECOND}))
    s.exchanges["binance"].fill(lead_of(s), 3)
    s.run(500 * MS)
    s.engine.desk.rules.deeds._cancel(DeedPlan(Deed.CANCEL, rule=rule, market=market))
    s._carry_out(s.engine.lasting())
    s.run(10 * SECOND)
    assert resting(s) == [] and s.state(R1) == "active"
    assert (s.truth("bin"), s.truth("byb")) == (-3, 3)
