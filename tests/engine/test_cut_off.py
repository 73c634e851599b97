"""Exchanges that take no orders of ours, and frozen runs: what rests, fills and is told."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from runner.engine.commands import Cancel, Notify, RunState, Topic
from runner.engine.events import Operator, Readiness, Ready
from runner.engine.limits import Mode
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from tests.engine.stage import R1, stage, widen
from tests.engine.test_gate import intent, judge, loose
from tests.engine.test_leaving_in_pairs import Pair
from tests.engine.test_legs import Watch
from tests.engine.test_restart import journal
from tests.engine.test_targets import enter, scene, standing
from tests.engine.test_working import begun, bought, resting, working

HELD = 5


def pages(s: Scenario, topic: Topic | None = None) -> list[str]:
    told = [n for n in s.commands(Notify) if n.level == "page"]
    return [n.text for n in told if topic in (None, n.topic)]


def lead(s: Scenario) -> str:
    return next(iter(s.exchanges["binance"].orders))


def freeze(s: Scenario, code: str = "facts") -> None:
    s.after(0, lambda: s.engine.desk.limits.add("test", Mode.FROZEN, code, "a test"))
    s.run(200 * MS)


# --- the lead's exchange refuses the key ----------------------------------------------------------


def test_what_rests_where_the_key_is_refused_is_told_at_once() -> None:
    s, _ = begun(working())
    s.exchanges["binance"].refuse_key()
    s.run(1 * MS)
    assert pages(s, Topic.AUTH) == [
        "binance is frozen: key refused; our cancels may not reach it: sell 0.019 BTC of bin at"
        " 60010 may still fill until cancelled there by hand"
    ]
    assert [c.cid for c in s.commands(Cancel)] == [lead(s)], "it is tried all the same"
    s.run(60 * SECOND)
    assert len(pages(s)) == 1 and resting(s) == [(600_100, 19)]


def test_the_dead_man_switch_is_named_where_there_is_one() -> None:
    plan = working()
    armed = replace(plan.exchanges["binance"], dead_man_ns=120 * SECOND)
    s, _ = begun(replace(plan, exchanges={**plan.exchanges, "binance": armed}))
    s.exchanges["binance"].refuse_key()
    s.run(1 * MS)
    assert pages(s)[0].endswith("may still fill until the dead-man switch runs out, within 120s")


def test_an_exchange_where_nothing_rests_is_told_without_it() -> None:
    s = stage()
    s.exchanges["bybit"].refuse_key()
    s.run(1 * MS)
    assert pages(s) == ["bybit is frozen: key refused"]


@pytest.mark.parametrize("state", [Readiness.FROZEN, Readiness.DOWN, Readiness.MAINTENANCE])
def test_a_fill_of_what_cannot_be_cancelled_is_hedged_at_once(state: Readiness) -> None:
    s, watch = begun(working())
    s.exchanges["binance"].key = False
    s.push(Ready(exchange="binance", state=state, reason="away"))
    s.run(2 * SECOND)
    for _ in range(3):
        s.exchanges["binance"].fill(lead(s), HELD)
        s.run(5 * MS)
        assert bought(s)[-1].lots == HELD, "in the pass in which the fill is heard of"
        s.run(10 * SECOND)
        assert s.net("BTC") == 0 and s.engine.desk.limits.mode is Mode.REDUCING
    assert watch.longest <= 1 * SECOND and pages(s, Topic.UNHEDGED) == []
    s.exchanges["binance"].come_up()
    s.run(3 * SECOND)
    assert resting(s) == [] and s.state(R1) == "active"
    assert s.truth("bin") == -s.truth("byb") == -15 and s.engine.desk.limits.mode is Mode.ACTIVE


@pytest.mark.parametrize("mode", [Mode.REDUCING, Mode.PAUSED, Mode.KEPT, Mode.FROZEN])
def test_it_is_not_hedged_when_more_is_wrong_and_that_is_told(mode: Mode) -> None:
    s, _ = begun(working())
    s.exchanges["binance"].refuse_key()
    s.after(0, lambda: s.engine.desk.limits.add("test", mode, "test", "a test"))
    s.run(SECOND)
    s.exchanges["binance"].fill(lead(s), HELD)
    s.run(2200 * MS)
    assert bought(s) == [] and s.net("BTC") == pytest.approx(-0.005)
    assert pages(s, Topic.UNHEDGED) == [f"{R1}: legs still apart after 2000ms: bin -0.005, byb 0"]
    s.after(0, lambda: s.engine.desk.limits.drop("test"))
    s.run(SECOND)
    assert s.net("BTC") == 0, "its own gap does not keep it from being closed"
    assert f"unmatched:{R1}" not in s.engine.desk.limits.causes


def test_what_was_filled_unheard_is_evened_when_the_exchange_is_back() -> None:
    s, _ = begun(working())
    s.exchanges["binance"].refuse_key()
    s.run(SECOND)
    s.watchers.clear()  # nobody can know
    s.exchanges["binance"].fill(lead(s), HELD, told=False)
    s.run(10 * SECOND)
    assert bought(s) == []
    s.exchanges["binance"].come_up()
    s.run(3 * SECOND)
    assert s.net("BTC") == 0 and resting(s) == []


def test_a_lead_elsewhere_is_cancelled_when_its_partner_is_cut_off() -> None:
    s, _ = begun(working())
    s.exchanges["bybit"].refuse_key()
    s.run(50 * MS)
    assert resting(s) == [] and bought(s) == []


# --- who hears of an outage -----------------------------------------------------------------------


def away(s: Scenario, state: Readiness) -> None:
    s.push(Ready(exchange="binance", state=state, reason="socket closed"))
    s.run(1 * MS)


@pytest.mark.parametrize("state", [Readiness.DOWN, Readiness.MAINTENANCE])
def test_an_outage_is_told_at_once_where_something_is_open_and_once(state: Readiness) -> None:
    s, signal, _ = scene()
    away(s, state)
    assert pages(s) == [], "nothing is there"
    s.exchanges["binance"].come_up()
    s.run(SECOND)
    enter(s, signal)
    away(s, state)
    away(s, Readiness.RECONCILING)
    away(s, state)
    s.run(90 * SECOND)
    assert pages(s, Topic.MARKET)[0] == f"binance is {state}: socket closed"
    assert [t for t in pages(s) if "socket closed" in t] == pages(s, Topic.MARKET)[:1]
    s.exchanges["binance"].come_up()
    s.run(SECOND)
    away(s, state)
    assert len([t for t in pages(s) if "socket closed" in t]) == 2, "another outage"


@pytest.mark.parametrize(("for_s", "told"), [(59, 0), (61, 1)])
def test_a_stream_that_is_lost_is_told_when_that_lasts(for_s: int, told: int) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    away(s, Readiness.RECONCILING)
    s.run(for_s * SECOND)
    s.exchanges["binance"].come_up()
    s.run(60 * SECOND)
    assert pages(s) == ["binance is reconciling for 60s: socket closed"][:told]


# --- legs that went together ----------------------------------------------------------------------


def apart(repair: str) -> tuple[Scenario, Watch]:
    """One leg filled, its exchange refuses the key since; the other filled nothing."""
    s = stage(working("together", repair=repair))
    s.exchanges["bybit"].default = Fate.NOTHING
    s.exchanges["binance"].fates["bin"] = deque([Fate.FILLED, *[Fate.NOTHING] * 9])
    watch = Watch(s)
    widen(s)
    s.after(7 * MS, s.exchanges["binance"].refuse_key)
    s.run(100 * MS)
    s.exchanges["bybit"].default = Fate.FILLED
    return s, watch


@pytest.mark.parametrize("repair", ["cheaper", "complete"])
def test_a_leg_that_cannot_be_trimmed_where_it_is_is_met_on_the_other_side(repair: str) -> None:
    s, _ = apart(repair)
    s.run(2 * SECOND)
    assert s.net("BTC") == 0 and s.state(R1) == "active" and s.lots("bin") == -8


def test_who_wants_to_unwind_is_told_that_it_cannot_be() -> None:
    s, _ = apart("unwind")
    s.run(4 * SECOND)
    assert s.net("BTC") == pytest.approx(-0.008) and pages(s, Topic.UNHEDGED)


# --- the gate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("causes", "evens", "passes"),
    [
        ({"exchange:bybit": Mode.REDUCING}, True, True),
        ({"exchange:bybit": Mode.REDUCING}, False, False),
        ({"exchange:bybit": Mode.REDUCING, f"unmatched:{R1}": Mode.REDUCING}, True, True),
        ({"exchange:bybit": Mode.REDUCING, "unmatched:x": Mode.REDUCING}, True, False),
        ({"difference:bin": Mode.REDUCING}, True, False),
        ({"exchange:bybit": Mode.REDUCING, "operator": Mode.KEPT}, True, False),
        ({"exchange:bybit": Mode.REDUCING, "x": Mode.PAUSED}, True, False),
        ({"exchange:bybit": Mode.REDUCING, "x": Mode.FROZEN}, True, False),
    ],
)
def test_evening_passes_while_nothing_is_wrong_but_an_exchange(
    causes: dict[str, Mode], evens: bool, passes: bool
) -> None:
    s = stage(loose())
    for key, mode in causes.items():
        s.engine.desk.limits.add(key, mode, "test", "a test")
    assert (judge(s, intent(s), evens=evens) is None) is passes


# --- a run that is frozen -------------------------------------------------------------------------


def test_a_freeze_cancels_the_lead_that_no_partner_could_follow() -> None:
    s, watch = begun(working())
    freeze(s)
    s.run(SECOND)
    assert resting(s) == [] and [c.cid for c in s.commands(Cancel)] == [lead(s)]
    assert [r.state for r in s.commands(RunState)] == ["frozen"] and watch.longest == 0


def test_a_freeze_leaves_stops_and_targets_where_they_are() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    freeze(s)
    s.run(60 * SECOND)
    assert len(standing(s)) == 2 and s.commands(Cancel) == []


def test_an_exit_of_several_legs_does_not_rest_on_in_a_freeze() -> None:
    t = Pair().leave()
    assert t.resting
    freeze(t.s)
    t.s.run(2 * SECOND)
    assert t.resting == [] and t.held == (-8, 8)
    t.s.push(Operator(command="resume", who="ann"))
    t.s.run(2 * SECOND)
    assert t.resting, "it goes on where it was"


def test_a_frozen_run_that_begins_again_cancels_what_its_crash_left() -> None:
    s, _ = begun(working())
    binance = s.exchanges["binance"]
    binance.cancel = lambda _c: None  # type: ignore[method-assign]
    freeze(s)
    assert resting(s)
    new = stage(s.plan, restored=journal(s), run_id="run0000002", warm=False)
    new.exchanges["binance"].orders = binance.orders
    new.run(3 * SECOND)
    assert resting(new) == [] and new.engine.desk.limits.mode is Mode.FROZEN
