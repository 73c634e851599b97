"""Stops that rest at the exchange: from the first fill to the proven end (R-77, R-78)."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, cast

import pytest

from runner.engine.commands import Cancel, Intent, Notify, OrderType, Purpose, Topic, Trace
from runner.engine.events import Done, End, Operator
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.lang.tree import Expr
from runner.market.instruments import Side
from runner.spec.plan import Plan
from runner.spec.rule_plan import GuardPlan
from tests.engine.stage import Knobs, arb_plan, rule, stage

RULE = "go_long"
STOP = 59_800.0


class Signal:
    """What the rule's conditions say."""

    def __init__(self) -> None:
        self.when: bool | None = True
        self.until: bool | None = False


def plan(side: Side = Side.BUY, **changes: Any) -> Plan:
    guard = GuardPlan(cast(Expr, None), **changes)
    one = rule(RULE, (side,), close={"then": "market"})
    assert one.trade is not None
    return arb_plan(
        replace(one, trade=replace(one.trade, guard=guard), cooldown_ns=SECOND), max_net_position={}
    )


def scene(
    side: Side = Side.BUY, stop: float = STOP, **changes: Any
) -> tuple[Scenario, Signal, Knobs]:
    """A rule that is about to enter at the next quote."""
    signal, knobs = Signal(), Knobs()
    signal.when = False
    knobs.stop = stop
    knobs.when[RULE] = lambda _now: signal.when
    knobs.until[RULE] = lambda _now: signal.until
    s = stage(plan(side, **changes), knobs)
    return s, signal, knobs


def enter(s: Scenario, signal: Signal, for_ns: int = 60 * MS) -> Scenario:
    signal.when = True
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(for_ns)
    return s


def stops(s: Scenario) -> list[Intent]:
    return [i for i in s.sent if i.purpose is Purpose.PROTECT]


def standing(s: Scenario) -> list[Intent]:
    orders = s.exchanges["binance"].orders.values()
    return [t.intent for t in orders if t.intent.type is OrderType.STOP and t.status == "open"]


def pages(s: Scenario) -> list[str]:
    return [n.text for n in s.commands(Notify) if n.topic is Topic.STOP_MISSING]


def last_refusal(s: Scenario) -> str:
    return [t.refusal for t in s.commands(Trace) if t.refusal][-1]


def test_a_stop_for_all_that_was_filled_stands_within_moments_of_the_fill() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    (stop,) = stops(s)
    (entry,) = (i for i in s.sent if i.purpose is Purpose.ENTRY)
    assert s.state(RULE) == "active"
    assert (stop.side, stop.type, stop.reduce_only) == (Side.SELL, OrderType.STOP, True)
    assert (stop.lots, stop.trigger_text, stop.trigger) == (entry.lots, "59800", "mark")
    assert stop.price_text == "" and stop.t - entry.t <= 30 * MS
    s.run(60 * SECOND)
    assert len(stops(s)) == 1 and pages(s) == []


def test_the_stop_of_a_short_lies_above_and_rounds_towards_the_price() -> None:
    s, signal, _ = scene(Side.SELL, 60_600.07, trigger="last")
    enter(s, signal)
    (stop,) = stops(s)
    assert (stop.side, stop.trigger_text, stop.trigger) == (Side.BUY, "60600", "last")


@pytest.mark.parametrize(
    ("side", "stop", "why"),
    [
        (Side.BUY, float("nan"), "missing stop"),
        (Side.BUY, 60_001.0, "is not below"),
        (Side.SELL, 59_999.0, "is not above"),
        (Side.BUY, -5.0, "missing stop"),
    ],
)
def test_no_entry_without_a_stop_that_makes_sense(side: Side, stop: float, why: str) -> None:
    s, signal, _ = scene(side, stop)
    enter(s, signal)
    assert s.sent == [] and why in last_refusal(s)


def test_fills_of_one_order_make_one_stop_and_later_ones_a_larger_successor() -> None:
    s, signal, _ = scene()
    binance = s.exchanges["binance"]
    binance.fates["bin"] = deque([Fate.PARTIAL])
    enter(s, signal)
    (first,) = stops(s)
    assert first.lots == s.truth("bin") > 0
    # more of it is filled later (an unknown that turns out): the ledger grows
    run = s.engine.desk.rules.runs[RULE]
    assert run.trade is not None
    run.trade.legs[0].ledger.lots += 2
    binance.positions["BTCUSDT"] += 2
    s.engine.desk.rules.guards.look(run)
    s.run(100 * MS)
    second = stops(s)[1]
    assert second.lots == first.lots + 2
    assert [c.cid for c in s.commands(Cancel)] == [first.cid]
    assert s.commands(Cancel)[0].protective
    assert standing(s) == [second], "the old one went only after the new one stood"
    times = {c.cid: t for t, c in s.log if isinstance(c, Cancel)}
    assert times[first.cid] >= second.t + binance.delay


def test_a_stop_that_fires_closes_the_trade_and_needs_a_false_before_the_next() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    s.quote("bin", 59_790.0, 59_790.1)
    s.exchanges["binance"].fire("bin")
    s.run(50 * MS)
    assert s.truth("bin") == 0 and s.lots("bin") == 0
    assert s.state(RULE) == "cooldown"
    assert [i for i in s.sent if i.purpose is Purpose.CLOSE] == []
    assert s.commands(Cancel) == [], "it has ended by itself"
    s.run(10 * SECOND)
    assert len([i for i in s.sent if i.purpose is Purpose.ENTRY]) == 1, "not armed"
    signal.when = False
    s.run(SECOND)
    enter(s, signal)
    assert len([i for i in s.sent if i.purpose is Purpose.ENTRY]) == 2


def test_a_stop_that_fills_in_part_is_finished_by_the_close() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    s.exchanges["binance"].fire("bin", 0.5)
    s.run(300 * MS)
    assert s.state(RULE) == "active", "it may still be filling"
    s.run(SECOND)
    assert s.state(RULE) == "cooldown" and s.truth("bin") == 0
    assert [i.purpose for i in s.sent][-1] is Purpose.CLOSE
    s.run(SECOND)
    assert standing(s) == [], "what was left of the stop is cancelled"


def test_leaving_otherwise_cancels_the_stop_and_proves_it_before_the_next_entry() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    signal.until, signal.when = True, False
    s.run(100 * MS)
    assert s.truth("bin") == 0
    (cancel,) = s.commands(Cancel)
    assert cancel.cid == stops(s)[0].cid and standing(s) == []
    # a cancel that gets lost: the stop stands, and nothing enters before it is gone
    signal.until, signal.when = False, True
    s.run(3 * SECOND)
    binance = s.exchanges["binance"]
    lost: list[Cancel] = []
    real, binance.cancel = binance.cancel, lost.append  # type: ignore[method-assign]
    signal.until = True
    s.run(200 * MS)
    assert s.state(RULE) == "cooldown" and lost
    signal.until = False
    s.run(2 * SECOND)
    assert "of the last trade is not ended" in last_refusal(s)
    entries = len([i for i in s.sent if i.purpose is Purpose.ENTRY])
    binance.cancel = real  # type: ignore[method-assign]
    s.run(15 * SECOND)
    assert len([i for i in s.sent if i.purpose is Purpose.ENTRY]) == entries + 1
    assert len(standing(s)) == 1


@pytest.mark.parametrize("policy", ["close", "keep"])
def test_a_refused_stop_does_what_the_file_says(policy: str) -> None:
    s, signal, _ = scene(if_refused=policy)
    s.exchanges["binance"].stops.append(Fate.REJECTED)
    enter(s, signal, 3 * SECOND)
    assert len(pages(s)) == 1 and "refused: -2019" in pages(s)[0]
    assert s.state(RULE) == ("idle" if policy == "close" else "active")
    assert (s.truth("bin") == 0) == (policy == "close")


def test_an_unconfirmed_stop_is_placed_once_more_and_then_the_trade_is_closed() -> None:
    s, signal, _ = scene()
    s.exchanges["binance"].stops.extend([Fate.LOST, Fate.LOST])
    enter(s, signal, 400 * MS)
    assert len(stops(s)) == 1
    s.run(200 * MS)
    assert len(stops(s)) == 2
    s.run(300 * MS)
    assert s.state(RULE) == "active" and pages(s) == []
    s.run(300 * MS)
    assert s.state(RULE) == "cooldown" and s.truth("bin") == 0
    assert "no stop was confirmed within 1000ms" in pages(s)[0]


def test_a_stop_whose_answer_was_lost_is_found_by_a_query_and_not_doubled() -> None:
    s, signal, _ = scene()
    s.exchanges["binance"].stops.append(Fate.UNKNOWN)
    enter(s, signal, 2 * SECOND)
    assert len(stops(s)) == 1 and len(standing(s)) == 1
    assert s.state(RULE) == "active" and pages(s) == []


def test_a_late_answer_leaves_one_stop_standing() -> None:
    s, signal, _ = scene(confirm_within_ns=3 * SECOND)
    s.exchanges["binance"].stops.append(Fate.LATE)
    enter(s, signal, 5 * SECOND)
    assert len(standing(s)) == 1 and s.state(RULE) == "active"


def test_a_stop_that_others_cancel_is_placed_again_once_and_then_the_trade_is_closed() -> None:
    s, signal, _ = scene()
    enter(s, signal)

    def taken_away() -> None:
        (stop,) = standing(s)
        s.exchanges["binance"].orders[stop.cid].status = "canceled"
        s.push(Done(cid=stop.cid, end=End.CANCELED, filled_lots=0))

    taken_away()
    s.run(200 * MS)
    assert len(standing(s)) == 1 and s.state(RULE) == "active"
    s.exchanges["binance"].stops.extend([Fate.LOST, Fate.LOST])
    taken_away()
    s.run(2 * SECOND)
    assert s.state(RULE) == "cooldown" and s.truth("bin") == 0 and pages(s)


@pytest.mark.parametrize("command", ["halt", "stop"])
def test_a_halt_leaves_the_stop_alone_while_the_position_is_open(command: str) -> None:
    s, signal, _ = scene()
    enter(s, signal)
    s.push(Operator(command=command, who="ann", why="a look"))
    s.run(5 * SECOND)
    assert s.truth("bin") != 0 and len(standing(s)) == 1 and s.commands(Cancel) == []
    assert s.engine.quiet, "a stop that guards a position does not keep a run from ending"


def test_flatten_closes_and_then_takes_the_stop_away() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    s.push(Operator(command="flatten", who="ann"))
    s.run(SECOND)
    assert s.truth("bin") == 0 and standing(s) == [] and s.engine.quiet


def test_a_stop_counts_against_no_limit_and_blocks_no_exit() -> None:
    s, signal, _ = scene()
    enter(s, signal)
    desk = s.engine.desk
    assert not desk.orders.open and len(desk.orders.guards) == 1
    assert list(desk.orders.working("bin")) == []
    signal.until = True
    s.run(100 * MS)
    assert s.truth("bin") == 0


def test_a_restart_finds_the_stop_and_goes_on_with_it() -> None:
    s, signal, knobs = scene()
    enter(s, signal)
    saved = s.engine.snapshot()
    again = restarted(s, saved, knobs)
    again.run(2 * SECOND)
    assert again.state(RULE) == "active" and stops(again) == []
    assert len(again.engine.desk.orders.guards) == 1
    again.exchanges["binance"].fire("bin")
    again.run(SECOND)
    assert again.state(RULE) in ("cooldown", "idle") and again.lots("bin") == 0


@pytest.mark.parametrize("what", ["fired", "cancelled"])
def test_what_happened_to_the_stop_while_the_process_was_away_is_noticed(what: str) -> None:
    s, signal, knobs = scene()
    enter(s, signal)
    saved = s.engine.snapshot()
    (stop,) = standing(s)
    if what == "fired":
        s.exchanges["binance"].fire("bin")
    else:
        s.exchanges["binance"].orders[stop.cid].status = "canceled"
    again = restarted(s, saved, knobs)
    again.run(3 * SECOND)
    if what == "fired":
        assert again.lots("bin") == 0 == again.truth("bin")
        assert again.state(RULE) in ("cooldown", "idle")
    else:
        assert again.state(RULE) == "active" and len(standing(again)) == 1
        assert len(stops(again)) == 1, "a new one was placed"


def restarted(s: Scenario, saved: Any, knobs: Knobs) -> Scenario:
    """A new engine on what the old one left, with the same exchange behind it."""
    again = stage(s.plan, knobs, restored=saved, warm=False, run_id="run0000002")
    for name, exchange in s.exchanges.items():
        again.exchanges[name].orders = exchange.orders
        again.exchanges[name].positions = exchange.positions
    return again
