"""Targets that rest at the exchange beside stops: placed after them, fired, shrunk, taken away."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest

from runner.base.errors import WorldError
from runner.engine.caretaking import with_care
from runner.engine.commands import Cancel, Intent, Notify, OrderType, Purpose, Record, Topic, Trace
from runner.engine.events import Done, End, External, Operator
from runner.engine.orphans import settle
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.lang.tree import Expr
from runner.market.instruments import Side
from runner.spec.plan import Plan
from runner.spec.rule_plan import Care, GuardKind, GuardPlan, OrderPlan
from tests.engine.stage import Knobs, arb_plan, rule, stage
from tests.engine.test_guards import RULE, Signal, enter, restarted, stops
from tests.engine.test_guards import standing as standing_stops
from tests.engine.test_guards_meet import reduce
from tests.engine.test_orphans import started
from tests.engine.test_restart import journal

TARGET = 60_500.0


def plan(side: Side, stop: bool, trigger: str = "mark") -> Plan:
    one = rule(RULE, (side,), close={"then": "market"})
    assert one.trade is not None
    trade = replace(
        one.trade,
        guard=GuardPlan() if stop else None,
        target=GuardPlan(trigger=trigger, kind=GuardKind.TARGET),
    )
    return arb_plan(replace(one, trade=trade, cooldown_ns=SECOND), max_net_position={})


def scene(
    side: Side = Side.BUY, stop: float | None = 59_800.0, target: float = TARGET, **changes: Any
) -> tuple[Scenario, Signal, Knobs]:
    """A rule that enters at the next quote, with a target and (unless None) a stop."""
    signal, knobs = Signal(), Knobs()
    signal.when = False
    knobs.stop, knobs.target = stop, target
    knobs.when[RULE] = lambda _now: signal.when
    knobs.until[RULE] = lambda _now: signal.until
    return stage(plan(side, stop is not None, **changes), knobs), signal, knobs


def targets(s: Scenario) -> list[Intent]:
    return [i for i in s.sent if i.type is OrderType.TARGET]


def standing(s: Scenario) -> list[Intent]:
    """All protective orders that stand at the exchange."""
    orders = s.exchanges["binance"].orders.values()
    return [t.intent for t in orders if t.intent.trigger_text and t.status in ("open", "partial")]


def fire(s: Scenario, share: float = 1.0) -> None:
    s.exchanges["binance"].fire("bin", share, OrderType.TARGET)


def closed_by(s: Scenario) -> list[Any]:
    return [r.fields["reason"] for r in s.commands(Record) if r.kind == "trade"]


def pages(s: Scenario) -> list[str]:
    return [n.text for n in s.commands(Notify) if n.level == "page" and "its target" in n.text]


def lost(s: Scenario) -> list[str]:
    return [n.text for n in s.commands(Notify) if n.topic is Topic.RULE and "without it" in n.text]


def test_after_the_fill_a_stop_stands_and_then_a_target_for_the_same() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    stop, target = (i for i in s.sent if i.purpose is Purpose.PROTECT)
    assert (stop.type, target.type) == (OrderType.STOP, OrderType.TARGET)
    assert (target.side, target.lots, target.reduce_only) == (Side.SELL, stop.lots, True)
    assert (target.trigger_text, target.price_text, target.rising) == ("60500", "", True)
    assert target.t >= stop.t + s.exchanges["binance"].delay, "not before the stop is confirmed"
    s.run(60 * SECOND)
    assert standing(s) == [stop, target] and s.state(RULE) == "active" and lost(s) == []
    assert len(s.sent) == 3


def test_a_target_needs_no_stop_and_that_of_a_short_lies_below() -> None:
    s, signal, _ = scene(Side.SELL, None, 59_500.07, trigger="last")
    enter(s, signal)
    (target,) = standing(s)
    assert (target.side, target.trigger_text, target.trigger) == (Side.BUY, "59500", "last")
    assert not target.rising
    fire(s)
    s.run(50 * MS)
    assert s.truth("bin") == 0 and closed_by(s) == ["target"]


@pytest.mark.parametrize(
    ("side", "target", "why"),
    [
        (Side.BUY, float("nan"), "missing target"),
        (Side.BUY, 59_999.0, "target 59999 is not above 60000.05"),
        (Side.SELL, 60_001.0, "target 60001 is not below 60000.05"),
    ],
)
def test_no_entry_without_a_target_that_makes_sense(side: Side, target: float, why: str) -> None:
    s, signal, _ = scene(side, None, target)
    enter(s, signal)
    refusals = [t.refusal for t in s.commands(Trace) if t.refusal]
    assert s.sent == [] and refusals[-1] == why


@pytest.mark.parametrize("kind", [OrderType.STOP, OrderType.TARGET])
def test_what_fires_closes_the_trade_and_the_other_is_cancelled_and_proven_gone(
    kind: OrderType,
) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    (other,) = (i for i in standing(s) if i.type is not kind)
    binance = s.exchanges["binance"]
    cancelled: list[Cancel] = []
    real, binance.cancel = binance.cancel, cancelled.append  # type: ignore[method-assign]
    binance.fire("bin", 1.0, kind)
    s.run(50 * MS)
    assert s.truth("bin") == s.lots("bin") == 0 and closed_by(s) == [kind.value]
    assert [c.cid for c in cancelled] == [other.cid] and cancelled[0].protective
    assert [i for i in s.sent if i.purpose is Purpose.CLOSE] == []
    signal.when = False
    s.run(SECOND)
    enter(s, signal, 2 * SECOND)
    assert len([i for i in s.sent if i.purpose is Purpose.ENTRY]) == 1, "the other still stands"
    binance.cancel = real  # type: ignore[method-assign]
    s.run(15 * SECOND)
    assert len([i for i in s.sent if i.purpose is Purpose.ENTRY]) == 2
    assert len(standing(s)) == 2


@pytest.mark.parametrize("kind", [OrderType.STOP, OrderType.TARGET])
def test_what_has_filled_of_one_shrinks_the_other(kind: OrderType) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    s.exchanges["binance"].fire("bin", 0.5, kind)
    s.run(200 * MS)
    held = s.truth("bin")
    assert held and s.state(RULE) == "active"
    (other,) = (i for i in standing(s) if i.type is not kind)
    assert other.lots == held
    s.run(SECOND)  # the rest of it does not come: it is closed
    assert s.truth("bin") == 0 and closed_by(s) == [kind.value]
    s.run(SECOND)
    assert standing(s) == []


def test_a_close_by_until_takes_both_away() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    signal.until, signal.when = True, False
    s.run(100 * MS)
    assert s.truth("bin") == 0 and standing(s) == []
    assert len(s.commands(Cancel)) == 2 and closed_by(s) == ["until"]


@pytest.mark.parametrize("fate", [Fate.REJECTED, Fate.LOST])
def test_a_target_that_does_not_come_is_tried_once_more_then_told_and_the_trade_goes_on(
    fate: Fate,
) -> None:
    s, signal, _ = scene()
    s.exchanges["binance"].targets.extend([fate] * 9)
    enter(s, signal, 30 * SECOND)
    assert len(targets(s)) == 2
    assert targets(s)[1].t - targets(s)[0].t >= 400 * MS, "not at once: the price may go on"
    assert s.state(RULE) == "active" and standing(s) == stops(s)[:1]
    assert len(lost(s)) == 1
    signal.until = True
    s.run(100 * MS)
    assert s.truth("bin") == 0 and closed_by(s) == ["until"]


def test_a_target_that_is_refused_once_stands_after_the_second_try() -> None:
    s, signal, _ = scene(stop=None)
    s.exchanges["binance"].targets.append(Fate.REJECTED)
    enter(s, signal, 5 * SECOND)
    assert len(targets(s)) == 2 and standing(s) == targets(s)[1:] and lost(s) == []


def test_a_target_whose_answer_was_lost_is_found_and_not_doubled() -> None:
    s, signal, _ = scene()
    s.exchanges["binance"].targets.append(Fate.UNKNOWN)
    enter(s, signal, 5 * SECOND)
    assert len(targets(s)) == 1 and len(standing(s)) == 2 and lost(s) == []


def test_a_target_that_answers_after_it_was_given_up_is_taken_and_kept_in_line() -> None:
    s, signal, _ = scene()
    s.exchanges["binance"].targets.extend([Fate.LATE, Fate.LOST])
    enter(s, signal, 20 * SECOND)
    assert len(lost(s)) == 1
    assert [i.type for i in standing(s)] == [OrderType.STOP, OrderType.TARGET]
    reduce(s, 3)
    s.run(SECOND)
    assert sorted((i.type.value, i.lots) for i in standing(s)) == [("stop", 3), ("target", 3)]


def test_no_target_before_the_stop_stands_and_none_where_the_stop_closes_the_trade() -> None:
    s, signal, _ = scene()
    s.exchanges["binance"].stops.extend([Fate.LOST, Fate.LOST])
    enter(s, signal, 3 * SECOND)
    assert targets(s) == [] and s.truth("bin") == 0 and closed_by(s) == ["stop missing"]


def test_a_stop_that_is_lost_later_is_placed_again_while_the_target_stands() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    (stop,) = standing_stops(s)
    s.exchanges["binance"].orders[stop.cid].status = "canceled"
    s.push(Done(cid=stop.cid, end=End.CANCELED, filled_lots=0))
    s.run(200 * MS)
    assert len(standing_stops(s)) == 1 and len(targets(s)) == 1 and len(standing(s)) == 2


@pytest.mark.parametrize("command", ["halt", "stop"])
def test_a_halt_leaves_both_alone(command: str) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    s.push(Operator(command=command, who="ann", why="a look"))
    s.run(5 * SECOND)
    assert len(standing(s)) == 2 and s.commands(Cancel) == [] and s.engine.quiet
    s.push(Operator(command="flatten", who="ann"))
    s.run(SECOND)
    assert s.truth("bin") == 0 and standing(s) == [] and s.engine.quiet


@pytest.mark.parametrize("kind", [None, OrderType.STOP, OrderType.TARGET])
def test_a_restart_finds_both_and_one_that_fired_meanwhile_closes_the_trade(
    kind: OrderType | None,
) -> None:
    s, signal, knobs = scene()
    enter(s, signal)
    before, saved = standing(s), journal(s)
    if kind is not None:
        s.exchanges["binance"].fire("bin", 1.0, kind)
    again = restarted(s, saved, knobs)
    again.run(3 * SECOND)
    if kind is None:
        assert again.state(RULE) == "active" and again.sent == [] and standing(again) == before
        again.exchanges["binance"].fire("bin", 1.0, OrderType.TARGET)
        again.run(SECOND)
    assert again.lots("bin") == again.truth("bin") == 0 and standing(again) == []
    assert closed_by(again) == ["target" if kind is None else kind.value]


def test_a_restart_between_the_stop_and_the_target_places_the_target() -> None:
    s, signal, knobs = scene()
    s.exchanges["binance"].targets.append(Fate.LOST)
    enter(s, signal)
    assert standing(s) == stops(s)[:1]
    again = restarted(s, journal(s), knobs)
    again.run(3 * SECOND)
    assert len(standing(again)) == 2 and stops(again) == targets(again)


def test_a_row_of_a_version_that_had_stops_alone_still_restores() -> None:
    s, signal, knobs = scene()
    s.exchanges["binance"].targets.extend([Fate.REJECTED, Fate.REJECTED])
    enter(s, signal, 2 * SECOND)
    saved = s.engine.snapshot()
    row = json.loads(saved.rules[RULE])
    del row["trade"]["target"]
    assert set(row["trade"]["guard"]) == {"ticks", "cid", "given_up"}
    again = restarted(s, msgspec.structs.replace(saved, rules={RULE: json.dumps(row)}), knobs)
    again.run(2 * SECOND)
    (guard,) = again.engine.desk.rules.runs[RULE].trade.guards  # type: ignore[union-attr]
    assert (guard.kind, guard.ticks) == (GuardKind.STOP, 598_000)
    assert again.state(RULE) == "active" and again.sent == []


def without_target(plan: Plan) -> Plan:
    one = plan.rules[RULE]
    assert one.trade is not None
    return replace(plan, rules={RULE: replace(one, trade=replace(one.trade, target=None))})


def test_an_open_trade_whose_file_lost_its_target_is_an_orphan_until_it_is_adopted() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    saved, bare = journal(s), without_target(s.plan)
    assert settle(bare, saved, care=Care.HOLD).settled[0].of == RULE
    with pytest.raises(WorldError, match="has a target at the exchange, and go_long has none"):
        settle(bare, saved, [(RULE, RULE)])


@pytest.mark.parametrize("care", Care)
def test_a_target_stays_until_the_caretaker_s_trade_is_closed(care: Care) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    other = arb_plan(rule("other", (Side.SELL, Side.BUY)))
    left = settle(other, journal(s), care=care)
    new = started(s, with_care(other, left), left, "run0000002")
    new.run(10 * SECOND)
    working = [o.intent.type for o in new.engine.desk.orders.guards.values() if not o.terminal]
    if care is Care.HOLD:
        assert new.sent == [] and working == [OrderType.STOP, OrderType.TARGET]
    else:
        assert new.truth("bin") == 0 and working == []


def test_a_target_follows_the_fills_of_an_entry_that_comes_in_parts() -> None:
    s, signal, _ = scene()
    binance = s.exchanges["binance"]
    binance.fates["bin"] = deque([Fate.PARTIAL])
    enter(s, signal)
    first = s.truth("bin")
    assert [i.lots for i in standing(s)] == [first, first]
    run = s.engine.desk.rules.runs[RULE]
    assert run.trade is not None
    run.trade.legs[0].ledger.lots += 2
    binance.positions["BTCUSDT"] += 2
    s.engine.desk.rules.guards.look(run)
    s.run(200 * MS)
    assert [(i.type.value, i.lots) for i in standing(s)] == [
        ("stop", first + 2),
        ("target", first + 2),
    ]


def resting() -> tuple[Scenario, Signal, Intent]:
    """An entry of 8 that rests; 3 of it are filled and guarded."""
    order = OrderPlan(type="limit", tif="gtc", collar=None, price=cast(Expr, None))
    signal, knobs = Signal(), Knobs(stop=59_800.0, target=TARGET, prices=(60_000.0,))
    signal.when = False
    knobs.when[RULE], knobs.until[RULE] = (lambda _: signal.when), (lambda _: signal.until)
    mine = plan(Side.BUY, stop=True).rules[RULE]
    assert mine.trade is not None
    legs = tuple(replace(leg, order=order) for leg in mine.trade.legs)
    mine = replace(mine, trade=replace(mine.trade, legs=legs))
    s = stage(arb_plan(mine, max_net_position={}), knobs)
    binance = s.exchanges["binance"]
    binance.fates["bin"] = deque([Fate.REST])
    enter(s, signal)
    (entry,) = s.sent
    binance.fill(entry.cid, 3)
    s.run(3 * SECOND)
    assert s.state(RULE) == "entering" and s.truth("bin") == 3
    assert sorted((i.type.value, i.lots) for i in standing(s)) == [("stop", 3), ("target", 3)]
    return s, signal, entry


def test_what_rests_of_an_entry_does_not_keep_its_stop_and_target_out() -> None:
    s, _, entry = resting()
    s.exchanges["binance"].fill(entry.cid, entry.lots - 3)
    s.run(SECOND)
    held = s.truth("bin")
    assert s.state(RULE) == "active" and held == entry.lots
    assert sorted((i.type.value, i.lots) for i in standing(s)) == [("stop", held), ("target", held)]


def test_what_the_exchange_takes_while_the_entry_rests_takes_stop_and_target_with_it() -> None:
    s, _, entry = resting()
    binance = s.exchanges["binance"]
    binance.positions["BTCUSDT"] = 0
    s.push(External(exchange="binance", what="adl", market="bin", lots=-3, price=60_000.0))
    s.run(SECOND)
    assert s.lots("bin") == 0 and standing(s) == [] and s.state(RULE) == "entering"
    binance.fill(entry.cid, 2)
    s.run(SECOND)
    assert sorted((i.type.value, i.lots) for i in standing(s)) == [("stop", 2), ("target", 2)]
