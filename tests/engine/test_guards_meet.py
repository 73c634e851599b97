"""Stops at the exchange where they meet reductions, restarts and what others do."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from runner.engine.commands import Cancel, Purpose
from runner.engine.events import Done, End, External, Operator
from runner.engine.limits import Mode
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from tests.engine.test_guards import RULE, enter, pages, restarted, scene, standing, stops
from tests.engine.test_restart import journal


def reduce(s: Scenario, keep: int) -> None:
    """Close a part, as `do: reduce` does."""
    s.engine.desk.trades.reduce(s.engine.desk.rules.runs[RULE], "reduced by test", (keep,))
    s._carry_out(s.engine.lasting())


def end_stop(s: Scenario) -> None:
    """Others cancel the stop."""
    (stop,) = standing(s)
    s.exchanges["binance"].orders[stop.cid].status = "canceled"
    s.push(Done(cid=stop.cid, end=End.CANCELED, filled_lots=0))


def test_after_a_reduction_the_stop_stands_for_what_is_left() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    (first,) = stops(s)
    reduce(s, 3)
    s.run(200 * MS)
    assert s.state(RULE) == "active" and s.truth("bin") == s.lots("bin") == 3
    (stop,) = standing(s)
    assert stop.lots == 3 and stop.reduce_only
    assert [c.cid for c in s.commands(Cancel)] == [first.cid]
    s.run(60 * SECOND)
    assert len(stops(s)) == 2 and pages(s) == []


@pytest.mark.parametrize("fate", [Fate.REJECTED, Fate.LOST])
def test_the_larger_stop_guards_on_when_the_smaller_one_does_not_come(fate: Fate) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    (first,) = standing(s)
    s.exchanges["binance"].stops.append(fate)
    reduce(s, 3)
    s.run(3 * SECOND)
    assert s.state(RULE) == "active" and s.truth("bin") == 3
    assert standing(s) == [first] and pages(s) == []


@pytest.mark.parametrize("within", [4 * SECOND, 1 * SECOND])
def test_a_stop_that_is_taken_away_while_a_part_is_closed_is_placed_again(within: int) -> None:
    s, signal, _ = scene(confirm_within_ns=within)
    enter(s, signal)
    s.exchanges["binance"].fates["bin"] = deque([Fate.LATE])
    reduce(s, 3)
    s.run(10 * MS)
    assert s.engine.desk.rules.runs[RULE].reducing
    end_stop(s)
    s.run(5 * SECOND)
    assert s.state(RULE) == "active" and s.truth("bin") == 3
    assert [i.lots for i in standing(s)] == [3] and pages(s) == []


def test_a_stop_that_is_not_there_yet_when_a_part_is_closed_comes_after_it() -> None:
    s, signal, _ = scene()
    s.exchanges["binance"].stops.append(Fate.LOST)
    enter(s, signal, 25 * MS)
    reduce(s, 3)
    s.run(5 * SECOND)
    held = s.truth("bin")
    assert [i.lots for i in standing(s)] == ([held] if held else [])
    assert s.lots("bin") == held


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_stop_that_fires_while_a_part_is_closed_closes_all(share: float) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    s.exchanges["binance"].fates["bin"] = deque([Fate.NOTHING, Fate.NOTHING])
    reduce(s, 3)
    s.exchanges["binance"].fire("bin", share)
    s.run(5 * SECOND)
    assert s.truth("bin") == s.lots("bin") == 0 and standing(s) == []
    assert s.state(RULE) in ("cooldown", "idle")


def test_a_stop_stands_for_what_a_liquidation_has_left() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    held = s.truth("bin")
    s.exchanges["binance"].positions["BTCUSDT"] = held - 2
    s.push(External(exchange="binance", what="adl", market="bin", lots=-2, price=60_000.0))
    s.run(1 * SECOND)
    assert [i.lots for i in standing(s)] == [held - 2]


def crash(s: Scenario, knobs: Any) -> Scenario:
    """A new process from what the journal has."""
    return restarted(s, journal(s), knobs)


def test_a_restart_between_the_fill_and_its_stop_places_the_stop() -> None:
    s, signal, knobs = scene()
    s.exchanges["binance"].stops.append(Fate.LOST)
    enter(s, signal, 6 * MS)
    assert s.lots("bin") and not standing(s)
    again = crash(s, knobs)
    again.run(3 * SECOND)
    assert again.state(RULE) == "active"
    assert [i.lots for i in standing(again)] == [again.truth("bin")]


def test_a_restart_between_a_fill_and_the_end_of_its_order_places_the_stop() -> None:
    s, signal, knobs = scene()
    binance = s.exchanges["binance"]
    binance.stops.append(Fate.LOST)
    binance.fates["bin"] = deque([Fate.REST])
    enter(s, signal, 10 * MS)
    (entry,) = s.sent
    binance.fill(entry.cid, entry.lots)
    s.run(5 * MS)
    assert s.lots("bin") and not standing(s)
    saved = s.engine.snapshot()
    run = s.engine.desk.rules.runs[RULE]
    assert run.state.value == "active"
    saved.rules[RULE] = saved.rules[RULE].replace('"state":"active"', '"state":"entering"')
    again = restarted(s, saved, knobs)
    again.run(4 * SECOND)
    assert again.state(RULE) == "active"
    assert [i.lots for i in standing(again)] == [again.truth("bin")]


def test_a_restart_does_not_forget_that_the_stop_of_an_ended_trade_must_go() -> None:
    s, signal, knobs = scene()
    enter(s, signal)
    s.exchanges["binance"].cancel = lambda _c: None  # type: ignore[method-assign]
    signal.until, signal.when = True, False
    s.run(100 * MS)
    assert s.truth("bin") == 0 and len(standing(s)) == 1
    signal.until = False
    again = crash(s, knobs)
    again.run(5 * SECOND)
    assert standing(again) == [], "the cancel is given again"
    signal.when = True
    again.run(3 * SECOND)
    assert again.state(RULE) == "active" and len(standing(again)) == 1
    assert [i.purpose for i in again.sent] == [Purpose.ENTRY, Purpose.PROTECT]


def test_a_restart_while_a_part_is_closed_finds_the_stop_gone_and_places_one() -> None:
    s, signal, knobs = scene()
    enter(s, signal)
    s.exchanges["binance"].default = Fate.NOTHING
    reduce(s, 3)
    s.run(10 * MS)
    (stop,) = standing(s)
    s.exchanges["binance"].orders[stop.cid].status = "canceled"
    again = crash(s, knobs)
    again.run(10 * SECOND)
    assert [i.lots for i in standing(again)] == [again.truth("bin")]


@pytest.mark.parametrize("fate", [Fate.REJECTED, Fate.LOST])
def test_under_a_halt_that_keeps_positions_a_lost_stop_is_tried_until_it_stands(fate: Fate) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    s.push(Operator(command="halt", who="ann"))
    s.run(1 * SECOND)
    s.exchanges["binance"].stops.extend([fate] * 4)
    end_stop(s)
    s.run(30 * SECOND)
    held = s.truth("bin")
    assert held and s.state(RULE) == "active"
    assert [i.lots for i in standing(s)] == [held]
    assert len(pages(s)) == 2 and "its stop is tried again" in pages(s)[0]
    assert pages(s)[1] == f"{RULE}: its stop stands again"
    s.push(Operator(command="resume", who="ann"))
    s.run(5 * SECOND)
    assert s.state(RULE) == "active" and len(standing(s)) == 1


def held_on_its_way_out() -> Scenario:
    """A trade that wants to leave and may not: the operator has halted."""
    s, signal, _ = scene()
    enter(s, signal)
    s.push(Operator(command="halt", who="ann"))
    s.run(100 * MS)
    s.engine.desk.trades.leave(s.engine.desk.rules.runs[RULE], "max_hold")
    s.run(100 * MS)
    assert s.state(RULE) == "leaving" and s.truth("bin")
    return s


@pytest.mark.parametrize("fate", [Fate.REST, Fate.REJECTED, Fate.LOST])
def test_while_a_close_is_held_a_lost_stop_comes_back(fate: Fate) -> None:
    s = held_on_its_way_out()
    s.exchanges["binance"].stops.extend([fate] * 4)
    end_stop(s)
    s.run(30 * SECOND)
    assert s.state(RULE) == "leaving"
    assert [i.lots for i in standing(s)] == [s.truth("bin")]
    s.push(Operator(command="resume", who="ann"))
    s.run(5 * SECOND)
    assert s.truth("bin") == 0 and not standing(s)


def test_while_a_close_is_held_the_stop_follows_what_the_exchange_takes() -> None:
    s = held_on_its_way_out()
    held = s.truth("bin")
    s.exchanges["binance"].positions["BTCUSDT"] = held - 2
    s.push(External(exchange="binance", what="adl", market="bin", lots=-2, price=60_000.0))
    s.run(1 * SECOND)
    assert [i.lots for i in standing(s)] == [held - 2]


def test_a_trade_without_a_stop_is_closed_when_the_halt_is_lifted() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    s.push(Operator(command="halt", who="ann"))
    s.run(1 * SECOND)
    s.exchanges["binance"].stops.extend([Fate.LOST] * 100)
    end_stop(s)
    s.run(10 * SECOND)
    assert s.truth("bin")
    s.push(Operator(command="resume", who="ann"))
    s.run(5 * SECOND)
    assert s.truth("bin") == 0 and s.state(RULE) in ("cooldown", "idle")


def freeze(s: Scenario) -> None:
    s.engine.desk.limits.add("test", Mode.FROZEN, "test", "a test")
    s._carry_out(s.engine.lasting())


@pytest.mark.parametrize("frozen_for", [300 * MS, 30 * SECOND])
def test_a_stop_that_was_lost_in_a_freeze_gets_its_try_and_its_time_after_it(
    frozen_for: int,
) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    freeze(s)
    end_stop(s)
    s.run(frozen_for)
    assert len(stops(s)) == 1 and s.state(RULE) == "active"
    s.push(Operator(command="resume", who="ann"))
    s.run(3 * SECOND)
    assert s.state(RULE) == "active" and len(stops(s)) == 2 and pages(s) == []
    assert [i.lots for i in standing(s)] == [s.truth("bin")]


def test_a_freeze_in_the_middle_of_the_time_of_a_stop_gives_it_anew() -> None:
    s, signal, _ = scene()
    s.exchanges["binance"].stops.extend([Fate.LOST, Fate.LOST])
    enter(s, signal, 300 * MS)
    freeze(s)
    s.run(600 * MS)
    s.push(Operator(command="resume", who="ann"))
    s.run(300 * MS)
    assert s.state(RULE) == "active" and pages(s) == [] and len(stops(s)) == 2
    s.run(300 * MS)
    assert len(standing(s)) == 1
    s.run(60 * SECOND)
    assert s.state(RULE) == "active" and len(standing(s)) == 1 and pages(s) == []
