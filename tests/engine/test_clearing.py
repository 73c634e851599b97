"""Closes that must not meet their own stop or target: where others hold the same side too."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runner.engine.commands import Cancel, Notify, OrderType, Purpose, Record, Topic
from runner.engine.events import Operator
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.rule_plan import RestPlan
from tests.engine.stage import Knobs, arb_plan, rule, stage
from tests.engine.test_guards import RULE, Signal
from tests.engine.test_targets import closed_by, plan, standing

OTHER = "other"


def scene(other: bool = False, keeps: bool = False, **changes: Any) -> tuple[Scenario, Signal]:
    """A rule that holds a long with stop and target; `other`: beside another rule's long.

    `keeps`: that rule is of the verb `order`, and what it bought is never flattened.
    """
    signal, knobs = Signal(), Knobs(stop=59_800.0, target=60_500.0)
    knobs.when[RULE] = lambda _now: signal.when
    knobs.until[RULE] = lambda _now: signal.until
    knobs.when[OTHER], knobs.until[OTHER] = (lambda _now: other), (lambda _now: False)
    mine = plan(Side.BUY, stop=True).rules[RULE]
    assert mine.trade is not None
    close = replace(mine.trade.close, then="market", **changes)
    mine = replace(mine, trade=replace(mine.trade, close=close))
    s = stage(
        arb_plan(mine, rule(OTHER, (Side.BUY,), single=keeps, once=keeps), max_net_position={}),
        knobs,
    )
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(200 * MS)
    assert s.state(RULE) == "active" and len(standing(s)) == 2
    signal.when = False
    return s, signal


def outside(s: Scenario, lots: int = 5) -> None:
    """Somebody else holds the same side, and the engine knows."""
    s.exchanges["binance"].positions["BTCUSDT"] += lots
    s.engine.desk.ledgers.external["bin"] = lots


def mine(s: Scenario) -> int:
    return sum(x.lots for x in s.engine.desk.ledgers if x.rule == RULE)


def order_of_things(s: Scenario) -> list[str]:
    """What was asked for and what ended, from the close on."""
    closes = [i.t for i in s.sent if i.purpose is Purpose.CLOSE]
    cancels = [t for t, c in s.log if isinstance(c, Cancel)]
    found = [(t, "cancel") for t in cancels] + [(t, "close") for t in closes]
    return [what for _, what in sorted(found)]


def beside_another_rule() -> tuple[Scenario, Signal]:
    return scene(other=True)


def beside_an_outsider() -> tuple[Scenario, Signal]:
    s, signal = scene()
    outside(s)
    return s, signal


@pytest.mark.parametrize("begin", [beside_another_rule, beside_an_outsider])
def test_a_close_beside_others_takes_stop_and_target_away_first(
    begin: Callable[[], tuple[Scenario, Signal]],
) -> None:
    s, signal = begin()
    theirs = s.truth("bin") - mine(s)
    assert theirs > 0
    signal.until = True
    s.run(SECOND)
    assert order_of_things(s)[:3] == ["cancel", "cancel", "close"]
    assert mine(s) == 0 and s.truth("bin") == theirs and standing(s) == []
    assert closed_by(s) == ["until"] and s.commands(Notify) == []


def test_a_close_alone_on_its_market_keeps_them_until_it_is_flat() -> None:
    s, signal = scene()
    signal.until = True
    s.run(SECOND)
    assert order_of_things(s) == ["close", "cancel", "cancel"]
    assert s.truth("bin") == 0 and standing(s) == []


@pytest.mark.parametrize("kind", [OrderType.STOP, OrderType.TARGET])
def test_what_fires_before_its_cancel_arrives_is_the_close_and_nothing_follows(
    kind: OrderType,
) -> None:
    s, signal = beside_another_rule()
    theirs = s.truth("bin") - mine(s)
    binance = s.exchanges["binance"]
    asked: list[Cancel] = []
    real, binance.cancel = binance.cancel, asked.append  # type: ignore[method-assign]
    signal.until = True
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(MS)
    binance.fire("bin", 1.0, kind)
    for cancel in asked:
        real(cancel)
    s.run(3 * SECOND)
    assert [i for i in s.sent if i.purpose is Purpose.CLOSE] == []
    assert mine(s) == 0 and s.truth("bin") == theirs and standing(s) == []


def test_a_cancel_that_is_not_answered_holds_the_close_up_for_a_second_at_most() -> None:
    s, signal = beside_another_rule()
    s.exchanges["binance"].cancel = lambda _c: None  # type: ignore[method-assign]
    signal.until = True
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(900 * MS)
    assert mine(s) > 0 and [i for i in s.sent if i.purpose is Purpose.CLOSE] == []
    s.run(300 * MS)
    assert mine(s) == 0
    (page,) = [n.text for n in s.commands(Notify) if n.topic is Topic.UNKNOWN]
    assert "not ended within 1000ms" in page and "others hold bin too" in page


def test_while_the_close_is_held_they_come_back_and_go_again_before_the_next_try() -> None:
    s, signal = beside_another_rule()
    s.exchanges["binance"].fates["bin"] = deque([Fate.NOTHING] * 3)
    signal.until = True
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(100 * MS)
    assert standing(s) == [] and mine(s) > 0
    s.push(Operator(command="halt", who="ann"))
    s.run(2 * SECOND)
    assert s.state(RULE) == "leaving"
    assert [(i.type.value, i.lots) for i in standing(s)] == [("stop", mine(s)), ("target", mine(s))]
    s.push(Operator(command="resume", who="ann"))
    s.run(5 * SECOND)
    assert mine(s) == 0 and standing(s) == [] and s.truth("bin") > 0


def test_one_that_comes_back_and_fires_is_the_end_of_the_held_close() -> None:
    s, signal = beside_another_rule()
    theirs = s.truth("bin") - mine(s)
    s.exchanges["binance"].fates["bin"] = deque([Fate.NOTHING] * 3)
    signal.until = True
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(100 * MS)
    s.push(Operator(command="halt", who="ann"))
    s.run(2 * SECOND)
    s.exchanges["binance"].fire("bin")
    s.run(SECOND)
    assert mine(s) == 0 and s.truth("bin") == theirs and standing(s) == []
    assert s.state(RULE) in ("cooldown", "idle")


@pytest.mark.parametrize("keeps", [False, True])
def test_when_both_execute_all_the_same_two_trades_are_settled_with_each_other(keeps: bool) -> None:
    s, signal = scene(other=True, keeps=keeps)
    binance = s.exchanges["binance"]
    binance.cancel = lambda _c: None  # type: ignore[method-assign]
    signal.until = True
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(1100 * MS)
    assert mine(s) == 0
    binance.fire("bin")  # it eats what the other rule holds
    s.run(20 * SECOND)
    if keeps:
        assert mine(s) == -8 and s.lots("bin") == s.truth("bin") == 0, "a purchase is not settled"
        assert any("go_long cannot leave" in n.text for n in s.commands(Notify))
        return
    assert [x.lots for x in s.engine.desk.ledgers] == [0, 0] and s.truth("bin") == 0
    assert s.state(OTHER) in ("cooldown", "idle")
    adjusted = [r.fields for r in s.commands(Record) if r.kind == "adjusted"]
    assert sum(int(str(f["lots"])) for f in adjusted) == 0 and len(adjusted) == 2
    assert len({f["price"] for f in adjusted}) == 1


@pytest.mark.parametrize("other", [True, False])
def test_while_an_exit_rests_they_shrink_with_its_fills_where_others_hold_that_side(
    other: bool,
) -> None:
    s, signal = scene(other, tif="post_only", rest=RestPlan(60 * SECOND))
    whole = mine(s)
    binance = s.exchanges["binance"]
    binance.fates["bin"] = deque([Fate.REST])
    signal.until = True
    s.run(2 * SECOND)
    exit_order = s.sent[-1]
    assert exit_order.purpose is Purpose.CLOSE and len(standing(s)) == 2
    for _ in range(3):
        binance.fill(exit_order.cid, 1)
        s.run(100 * MS)
    s.run(2 * SECOND)
    left = whole - 3
    assert mine(s) == left and s.state(RULE) == "leaving"
    assert [i.lots for i in standing(s)] == ([left, left] if other else [whole, whole])
    assert len([i for i in s.sent if i.purpose is Purpose.PROTECT]) <= 6, "not with each fill"
    binance.fill(exit_order.cid, left)
    s.run(2 * SECOND)
    assert mine(s) == 0 and standing(s) == [] and closed_by(s) == ["until"]


def test_while_a_part_is_closed_in_tries_they_shrink_with_its_fills_beside_others() -> None:
    s, _ = beside_another_rule()
    held = mine(s)
    s.exchanges["binance"].fates["bin"] = deque([Fate.PARTIAL] + [Fate.NOTHING] * 30)
    s.engine.desk.trades.reduce(s.engine.desk.rules.runs[RULE], "reduced by test", (held - 4,))
    s._carry_out(s.engine.lasting())
    s.run(3 * SECOND)
    assert s.state(RULE) == "leaving" and mine(s) == held - 2
    assert sorted(i.lots for i in standing(s)) == [held - 2] * 2, "not for what is closed already"
