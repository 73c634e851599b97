"""What changes money or state outside an order's life stands in the rows, and over a restart."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
import pytest

from runner.engine.commands import Cancel, Purpose, Query, Record, Send
from runner.engine.events import External, Operator, Reject, Unknown
from runner.engine.limits import DAY, Mode
from runner.engine.positions import told
from runner.engine.restoring import restore
from runner.engine.scenario import WALL, Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.engine.trade import Guard, Leaving
from runner.engine.worldflow import Difference
from runner.market.instruments import Side
from runner.spec.rule_plan import GuardKind
from tests.engine.stage import (
    PAIR,
    R1,
    Knobs,
    arb_plan,
    btc,
    narrow,
    rule,
    stage,
    usdt,
    widen,
)
from tests.engine.test_gate import intent
from tests.engine.test_limits import holding, states
from tests.engine.test_restart import journal, reborn


def run_row(s: Scenario) -> Any:
    return msgspec.json.decode(journal(s).run)


def test_funding_is_in_the_row_at_once() -> None:
    s = holding()
    s.push(External(exchange="binance", what="funding", market="bin", amount=-0.5, asset="USDT"))
    s.run(1)
    row = msgspec.json.decode(journal(s).rules[R1])
    assert {x["market"]: x["funding"] for x in row["ledgers"]} == {"bin": -0.5, "byb": 0.0}


def test_what_others_did_to_a_position_is_known_after_a_restart() -> None:
    s = holding()
    narrow(s)
    s.exchanges["binance"].positions["BTCUSDT"] = -3
    s.push(External(exchange="binance", what="fill", market="bin", lots=5, price=60_300.0))
    s.run(1)
    assert run_row(s)["external"] == {"bin": 5}
    new = reborn(s)
    new.run(30 * SECOND)
    assert states(new) == [] and new.lots("bin") == -8


def test_more_than_the_ledgers_hold_is_taken_from_others() -> None:
    s = holding()
    s.exchanges["binance"].positions["BTCUSDT"] = -12
    s.push(External(exchange="binance", what="fill", market="bin", lots=-4, price=60_300.0))
    s.run(2 * SECOND)
    s.exchanges["binance"].positions["BTCUSDT"] = -1
    s.push(External(exchange="binance", what="adl", market="bin", lots=11, price=60_300.0))
    s.run(1)
    assert s.lots("bin") == 0
    assert run_row(s)["external"] == {"bin": -1}
    s.run(30 * SECOND)
    assert (s.lots("byb"), s.truth("byb")) == (0, 0), "the partner follows"
    assert states(s) == [] and s.engine.world.differences == {}


def test_an_older_word_on_a_position_says_nothing_after_the_exchange_took_a_part() -> None:
    s = holding()
    s.run(20 * SECOND)
    assert told(s.engine.desk, "bin") == -8
    s.push(External(exchange="binance", what="adl", market="bin", lots=5, price=60_300.0))
    s.run(1)
    assert told(s.engine.desk, "bin") is None
    assert s.engine.desk.ledgers.expected("bin") == -3


@pytest.mark.parametrize(("earned", "trips"), [(15.0, False), (-15.0, False), (15.0, True)])
def test_the_days_beginning_stands_over_a_restart(earned: float, trips: bool) -> None:
    """What the days before brought neither pays for a loss of today nor is one."""
    wall = (WALL // DAY + 1) * DAY - 20 * SECOND
    s = holding(amount=5, wall=wall)
    s.push(External(exchange="binance", what="funding", market="bin", amount=15.0, asset="USDT"))
    s.run(30 * SECOND)  # a new day
    s.engine.desk.ledgers.of(R1, "byb").funding += earned - 15.0
    s.engine.desk.limits.evaluate()
    s.engine.desk.limits._begin_day()
    s.push(Operator(command="resume", who="test"))
    s.run(1)
    start = s.engine.desk.limits.day_start
    assert abs(start) > 5
    new = reborn(s, pause=MS)
    new.run(4 * SECOND)
    limits = new.engine.desk.limits
    assert limits.day_start == start and limits.day_loss == pytest.approx(0.0, abs=0.1)
    if trips:
        loss = External(exchange="binance", what="funding", market="bin", amount=-5.5, asset="USDT")
        new.push(loss)
    new.run(1 * SECOND)
    assert limits.mode is (Mode.HALTED if trips else Mode.ACTIVE)


def resting(ttl: int = 60 * SECOND) -> Scenario:
    plan = arb_plan(
        rule("one", (Side.BUY,), order_plan={"tif": "gtc", "ttl_ns": ttl}), max_net_position={}
    )
    s = stage(plan, Knobs(enter_at=-1.0, until={"one": lambda _now: False}), warm=False)
    s.exchanges["binance"].fates["bin"] = deque([Fate.REST])
    s.run(4 * SECOND)
    assert [o.state for o in s.engine.desk.orders.open.values()] == ["open"]
    return s


def test_a_resting_entry_is_too_old_at_its_time_over_a_restart() -> None:
    s = resting(ttl=20 * SECOND)
    entered = s.sent[0].wall
    new = reborn(s)
    new.run(60 * SECOND)
    (cancel,) = new.commands(Cancel)
    (at,) = [t for t, c in new.log if c is cancel]
    assert new.wall_at_zero + at == pytest.approx(entered + 20 * SECOND, abs=20 * MS)
    assert new.engine.desk.orders.open == {}


def test_a_halt_of_an_earlier_run_cancels_what_it_had_not_cancelled_yet() -> None:
    s = resting()
    saved = journal(s)
    s.push(Operator(command="halt", who="me"))
    s.run(1)
    halted = msgspec.structs.replace(saved, run=journal(s).run)  # the rule's row came too late
    new = reborn(s, halted)
    new.run(3 * SECOND)
    assert new.engine.desk.limits.mode is Mode.KEPT
    assert [c.cid for c in new.commands(Cancel)][:1] == [s.sent[0].cid]


def test_a_reject_of_an_order_that_is_known_to_stand_is_asked_about() -> None:
    s = resting()
    order = s.engine.desk.orders.all[s.sent[0].cid]
    s.push(Reject(cid=s.sent[0].cid, outcome="rejected", code="1"))
    s.run(300 * MS)
    assert order.state == "open"
    assert [q.cid for q in s.commands(Query)][:1] == [s.sent[0].cid]


def test_resuming_lifts_no_cause_that_stands_by_itself() -> None:
    s = holding()
    s.run(2 * SECOND)
    s.exchanges["binance"].positions["BTCUSDT"] = -5
    s.exchanges["binance"].reconcile()
    s.run(1 * SECOND)
    assert s.engine.desk.limits.mode is Mode.REDUCING
    s.push(Operator(command="resume", who="me"))
    s.run(1)
    assert s.engine.desk.limits.mode is Mode.REDUCING and s.engine.world.differences


def test_more_than_five_orders_in_doubt_pause_the_run() -> None:
    s = stage()
    s.exchanges["binance"].answers = False
    for n in range(6):
        s.engine.desk.orders.add(intent(s, cid=f"c{n}"))
        s.push(Unknown(cid=f"c{n}", why="timeout"))
        s.run(1 * MS)
        assert states(s) == ([("paused", "unknowns")] if n == 5 else [])


@pytest.mark.parametrize("policy", ["keep", "halt", "flatten"])
def test_legs_that_cannot_be_evened_go_the_way_the_file_says(policy: str) -> None:
    one = rule(R1, PAIR, hedge={"on_failure": policy, "repair": "complete"})
    s = stage(arb_plan(one, max_net_position={}))
    s.exchanges["bybit"].fates["byb"] = deque([Fate.REJECTED] * 2)
    s.exchanges["binance"].fates["bin"] = deque([Fate.FILLED] + [Fate.NOTHING] * 60)
    widen(s)
    s.run(3 * SECOND)
    s.exchanges["binance"].fates["bin"].clear()
    mode = s.engine.desk.limits.mode
    if policy == "keep":
        assert s.state(R1) == "active" and s.truth("bin") == -8
        assert all(i.purpose is not Purpose.CLOSE for i in s.sent)
        assert mode is Mode.ACTIVE
        return
    assert mode is (Mode.HALTED if policy == "halt" else Mode.ACTIVE)
    s.run(5 * SECOND)
    assert s.truth("bin") == s.lots("bin") == 0
    assert any(i.purpose is Purpose.CLOSE for i in s.sent)


def test_a_leg_that_is_shrunk_while_the_other_comes_in_is_not_bought_back() -> None:
    s = stage(arb_plan(rule(R1, PAIR, hedge={"repair": "complete"})))
    s.exchanges["bybit"].fates["byb"] = deque([Fate.LATE])
    widen(s)
    s.run(20 * MS)
    assert s.state(R1) == "entering" and s.lots("bin") == -8
    s.exchanges["binance"].positions["BTCUSDT"] = -5
    s.push(External(exchange="binance", what="adl", market="bin", lots=3, price=60_300.0))
    s.run(5 * SECOND)
    assert (s.lots("bin"), s.lots("byb")) == (s.truth("bin"), s.truth("byb")) == (-5, 5)
    assert [i.side for i in s.sent if i.market == "bin"] == [Side.SELL]


def test_spot_is_never_sold_at_market_for_want_of_a_book() -> None:
    from tests.engine.test_spot import R
    from tests.engine.test_spot import holding as bought

    s = bought()
    s.run(15 * SECOND)
    s.frozen.add("bin")
    s.run(2 * SECOND)
    count = len(s.sent)
    s.push(Operator(command="flatten", rule=R, who="test"))
    s.run(20 * SECOND)
    assert s.sent[count:] == [] and s.state(R) == "leaving"
    s.frozen.clear()
    s.run(5 * SECOND)
    assert s.lots("bin") == 0


def test_a_limit_of_a_market_stands_before_the_general_one() -> None:
    from runner.engine.codes import Why
    from tests.engine.test_gate import judge, loose

    wide = stage(loose(max_order=usdt(100), max_order_by_market={"bin": btc("0.008")}))
    assert judge(wide, intent(wide)) is None
    tight = stage(loose(max_order=usdt(10**6), max_order_by_market={"bin": btc("0.007")}))
    assert judge(tight, intent(tight)) is Why.MAX_ORDER


def stubborn(s: Scenario) -> None:
    """From now on no exchange fills anything, until `fates` are cleared."""
    for name, market in (("binance", "bin"), ("bybit", "byb")):
        s.exchanges[name].fates[market] = deque([Fate.NOTHING] * 200)


@pytest.mark.parametrize("commanded", [True, False])
def test_a_close_that_the_operator_asked_for_passes_his_halt_after_a_restart_too(
    commanded: bool,
) -> None:
    s = holding()
    stubborn(s)
    if commanded:
        s.push(Operator(command="halt", who="me"))
        s.push(Operator(command="flatten", rule=R1, who="me"))
    else:
        s.engine.desk.trades.leave(s.engine.desk.rules.runs[R1], "until")
        s.run(300 * MS)
        s.push(Operator(command="halt", who="me"))
    s.run(1 * SECOND)
    assert s.state(R1) == "leaving" and s.truth("bin") == -8
    new = reborn(s)
    new.run(10 * SECOND)
    assert new.engine.desk.limits.mode is Mode.KEPT
    assert new.truth("bin") == (0 if commanded else -8)


def test_a_leg_that_is_closed_alone_is_closed_alone_after_a_restart_too() -> None:
    s = holding()
    stubborn(s)
    s.push(Operator(command="flatten", rule=R1, market="byb", who="me"))
    s.run(1 * SECOND)
    assert s.state(R1) == "leaving" and s.truth("byb") == 8
    new = reborn(s)
    new.run(10 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (-8, 0)


def test_worst_counts_from_the_decision_over_a_restart() -> None:
    s = holding()
    s.engine.desk.trades.leave(s.engine.desk.rules.runs[R1], "until")
    stubborn(s)
    s.run(10 * MS)
    s.quote("bin", 60_500.0, 60_500.1)  # 33 bps away, 20 is the worst
    s.run(1 * SECOND)
    new = reborn(s)
    new.run(20 * SECOND)
    assert new.state(R1) == "leaving" and new.truth("bin") == -8, "further than worst: held"
    new.quote("bin", 60_350.0, 60_350.1)
    new.run(300 * MS)
    assert [(i.market, i.purpose) for i in new.sent[:2]] == [
        ("bin", Purpose.CLOSE), ("byb", Purpose.CLOSE),
    ]  # fmt: skip


def restored(s: Scenario) -> Scenario:
    """A new process at the same instant, before anything has happened in it."""
    new = reborn(s, pause=0)
    new.engine.desk.wall = new.wall_at_zero
    restore(new.engine.desk, journal(s))
    return new


def test_all_that_a_trade_remembers_is_there_again() -> None:
    s = holding()
    run = s.engine.desk.rules.runs[R1]
    assert run.trade is not None
    trade, leg = run.trade, run.trade.legs[1]
    trade.attempt, trade.failed, trade.rejected = 7, True, "-2019"
    trade.held_sign, trade.held_since, trade.lead = -1, s.t - SECOND, 1
    trade.given_up, trade.then_sent, trade.incompletable = True, True, True
    trade.refused, trade.refused_until, trade.owed = 2, s.t + SECOND, {"cut": 0.5}
    trade.guards = [Guard(GuardKind.STOP, 61, "c1", given_up=True, late=True, chances=2)]
    trade.leaving = Leaving("until", s.t - 2 * SECOND, mids={"bin": 5.0}, only="bin", passive=True)
    trade.leaving.commanded, trade.leaving.keep = True, (1, 2)
    leg.start, leg.fee_start, leg.planned, leg.touch = 3, 2, 99, 7.5
    run.armed, run.rejects, run.unguarded, run.disabled_why = False, 2, 1, "so"
    run.cooldown_until = s.t + 60 * SECOND
    s.engine.desk.rules.touch(R1)
    s._carry_out(s.engine.lasting())
    new = restored(s)
    again = new.engine.desk.rules.runs[R1]
    shift = s.t  # the clocks of two runs begin anew
    assert again.trade is not None and again.trade.leaving is not None
    for name in (
        "attempt", "failed", "rejected", "held_sign", "lead", "given_up", "then_sent",
        "incompletable", "refused", "owed", "guards", "entered", "baseline", "ordinal", "wall",
    ):  # fmt: skip
        assert getattr(again.trade, name) == getattr(trade, name), name
    for name in ("t", "held_since", "refused_until"):
        assert getattr(again.trade, name) == getattr(trade, name) - shift, name
    for name in ("planned", "touch", "start", "fee_start"):
        assert getattr(again.trade.legs[1], name) == getattr(leg, name), name
    for name in ("reason", "mids", "only", "passive", "commanded", "keep"):
        assert getattr(again.trade.leaving, name) == getattr(trade.leaving, name), name
    assert again.trade.leaving.since == trade.leaving.since - shift
    for name in ("armed", "rejects", "unguarded", "disabled_why"):
        assert getattr(again, name) == getattr(run, name), name
    assert again.cooldown_until == run.cooldown_until - shift


def test_all_that_an_order_was_is_there_again() -> None:
    s = resting()
    (cid, order), *_ = s.engine.desk.orders.open.items()
    order.filled, order.cum, order.value, order.trade_ids = 3, 4, 9.5, {"a", "b"}
    order.lots, order.ticks, order.revision, order.exchange_id = 7, 600_000, 2, "x1"
    order.pending = msgspec.structs.replace(order.intent, lots=5, revision=2)
    order.cancel_asked = True
    s.engine.desk.rules.touch("one")
    s._carry_out(s.engine.lasting())
    new = restored(s)
    again = new.engine.desk.orders.all[cid]
    for name in (
        "state", "filled", "cum", "value", "trade_ids", "lots", "ticks", "revision", "exchange_id",
        "cancel_asked",
    ):  # fmt: skip
        assert getattr(again, name) == getattr(order, name), name
    assert again.pending is not None and again.pending.lots == 5 and again.amend_doubt
    assert again.intent.t == order.intent.t - s.t, "its window goes on"
    assert new.engine.desk.ordinal == s.engine.desk.ordinal


def test_what_is_kept_by_the_operator_is_kept_beyond_max_hold_and_closed_after_resume() -> None:
    s = holding(max_hold_ns=30 * SECOND)
    s.push(Operator(command="halt", who="me"))
    s.run(60 * SECOND)
    assert s.state(R1) == "active" and s.truth("bin") == -8
    s.push(Operator(command="resume", who="me"))
    s.run(15 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)


def test_legs_that_a_crash_left_apart_are_evened_at_the_start() -> None:
    s = holding()
    s.engine.desk.ledgers.of(R1, "bin").lots = -5  # the exchange took a part: journaled, no more
    s.exchanges["binance"].positions["BTCUSDT"] = -5
    s.engine.desk.rules.touch(R1)
    s._carry_out(s.engine.lasting())
    new = reborn(s)
    new.run(5 * SECOND)
    assert (new.lots("bin"), new.lots("byb")) == (new.truth("bin"), new.truth("byb")) == (-5, 5)
    assert new.state(R1) == "active"


def test_every_order_stands_in_its_rules_row_before_it_is_sent() -> None:
    """Entries, repairs and closes: what a crash cuts off must be asked about by the next run."""
    s = holding()
    s.exchanges["binance"].positions["BTCUSDT"] = -5
    s.push(External(exchange="binance", what="adl", market="bin", lots=3, price=60_300.0))
    s.run(1 * SECOND)
    stubborn(s)
    s.push(Operator(command="flatten", rule=R1, who="me"))
    s.run(2 * SECOND)  # one try after the other
    row, purposes = "", set()
    for _, command in s.log:
        if isinstance(command, Record) and command.kind == "rule" and command.fields["name"] == R1:
            row = str(command.fields["json"])
        elif isinstance(command, Send):
            waiting = {o["intent"]["cid"] for o in msgspec.json.decode(row)["orders"]}
            assert {a.intent.cid for a in command.orders} <= waiting
            purposes |= {a.intent.purpose for a in command.orders}
    assert purposes == {Purpose.ENTRY, Purpose.REPAIR, Purpose.CLOSE}


def test_a_difference_is_not_adopted_while_an_order_is_under_way() -> None:
    s = resting()
    s.run(2 * SECOND)
    world = s.engine.world
    s.exchanges["binance"].positions["BTCUSDT"] = 3
    world.differences["bin"] = Difference("bin", 3, 0)
    s.push(Operator(command="adopt", who="me"))
    s.run(1)
    assert s.engine.desk.ledgers.external.get("bin", 0) == 0 and "bin" in world.differences
    s.engine.desk.orders.open.clear()
    s.exchanges["binance"].reconcile()
    s.run(1 * SECOND)
    s.push(Operator(command="adopt", who="me"))
    s.run(1)
    assert s.engine.desk.ledgers.external["bin"] == 3 and world.differences == {}


def test_flatten_said_again_decides_anew_at_the_prices_of_now() -> None:
    s = holding()
    stubborn(s)
    s.push(Operator(command="flatten", who="me"))
    s.run(10 * MS)
    s.quote("bin", 60_500.0, 60_500.1)
    s.run(5 * SECOND)
    for name, market in (("binance", "bin"), ("bybit", "byb")):
        s.exchanges[name].fates[market].clear()
    s.run(5 * SECOND)
    assert s.truth("bin") == -8, "33 bps from the decision: past worst"
    s.push(Operator(command="flatten", who="me"))
    s.run(2 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
