"""Limits that trip the run: drawdown, losing streaks, breakers, the day; what each lets through."""

from __future__ import annotations

from collections import deque

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.engine.commands import Cancel, Notify, Record, RunState, Send, Topic
from runner.engine.events import Operator
from runner.engine.limits import Mode
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.spec.load import load
from runner.spec.plan import Plan
from tests.engine.test_restart import journal
from tests.engine.written import HEAD, RISK, SPREAD, R, narrow, plan_of, play, ready, widen


def states(s: Scenario) -> list[tuple[str, str]]:
    return [(c.state, c.code) for c in s.commands(RunState)]


def held(s: Scenario) -> tuple[int, int]:
    return s.truth("bin"), s.truth("byb")


def lose(s: Scenario) -> None:
    """Open the spread and close it at once where it was opened: a loss of all fees."""
    before = len([r for r in s.commands(Record) if r.kind == "trade"])
    s.run(500 * MS)
    widen(s)
    s.run(50 * MS)
    assert s.sent
    s.push(Operator(command="flatten", rule=R, who="me"))
    s.run(200 * MS)
    narrow(s)
    s.run(500 * MS)
    assert len([r for r in s.commands(Record) if r.kind == "trade"]) == before + 1


def win(s: Scenario) -> None:
    """Open the spread and let it come back."""
    s.run(500 * MS)
    widen(s, 0.02)
    s.run(50 * MS)
    assert s.state(R) == "active"
    narrow(s)
    s.run(1 * SECOND)
    assert held(s) == (0, 0)


def reborn(old: Scenario, pause: int = 5 * SECOND) -> Scenario:
    """A new process after `pause`, at the same exchanges."""
    new = play(old.plan, restored=journal(old), run_id="run0000002")
    new.wall_at_zero = old.wall_at_zero + old.t + pause
    for name, exchange in new.exchanges.items():
        before = old.exchanges[name]
        exchange.orders, exchange.positions = before.orders, before.positions
        exchange._count = before._count
    new.quotes.update(old.quotes)
    return new


# -- what each state lets through (trading.md, section 5)

THENS = {"pause": "paused", "halt": "halted", "freeze": "frozen"}


def broken(then: str, more: str = "") -> str:
    """A breaker on the move of bin alone."""
    return f'  breakers: [{{when: "gap(bin.mid, byb.mid) > 3%", then: {then}{more}}}]\n'


def holding(risk: str) -> Scenario:
    s = ready(risk=risk)
    widen(s)
    s.run(50 * MS)
    assert s.state(R) == "active"
    return s


@pytest.mark.parametrize("then", THENS)
def test_new_risk_ends_on_the_event_that_trips(then: str) -> None:
    s = ready(risk=broken(then))
    widen(s, 0.04)  # the same event would enter, and trips
    s.run(20 * MS)
    assert s.sent == []
    assert states(s) == [(THENS[then], "breaker")]
    s.run(10 * SECOND)
    assert s.sent == []


@pytest.mark.parametrize("then", THENS)
def test_positions_are_closed_by_a_halt_alone(then: str) -> None:
    s = holding(broken(then))
    widen(s, 0.04)
    s.run(2 * SECOND)
    assert held(s) == ((0, 0) if then == "halt" else (-8, 8))


@pytest.mark.parametrize("then", THENS)
def test_until_goes_on_under_a_pause_and_waits_under_a_freeze(then: str) -> None:
    s = holding(broken(then))
    widen(s, 0.04)
    s.run(1 * SECOND)
    narrow(s)
    s.run(1 * SECOND)
    assert held(s) == ((-8, 8) if then == "freeze" else (0, 0))


def test_max_hold_and_the_operator_close_under_a_pause() -> None:
    s = ready(SPREAD.replace("cooldown:", "max_hold: 3s\n    cooldown:"), broken("pause"))
    widen(s)
    s.run(50 * MS)
    widen(s, 0.04)
    s.run(4 * SECOND)
    assert held(s) == (0, 0)
    assert states(s) == [("paused", "breaker")]


@pytest.mark.parametrize("then", THENS)
def test_own_entries_are_cancelled_by_a_halt_and_a_freeze_but_not_by_a_pause(then: str) -> None:
    single = """\
  rest:
    when: gap(bin.bid, byb.ask) - 0 * ema(gap(bin.mid, byb.mid), 1s) > 30bps
    order: {market: bin, side: sell, size: 0.008 BTC, type: limit, tif: gtc, price: bin.ask * 2}
"""
    s = ready(single, broken(then))
    s.exchanges["binance"].default = Fate.REST
    widen(s)
    s.run(50 * MS)
    assert len(s.sent) == 1
    widen(s, 0.04)
    s.run(1 * SECOND)
    assert len(s.commands(Cancel)) == (0 if then == "pause" else 1)
    assert s.engine.quiet is (then != "pause")


@pytest.mark.parametrize("then", THENS)
def test_an_open_gap_is_repaired_but_under_a_freeze(then: str) -> None:
    s = ready(risk=broken(then))
    s.exchanges["bybit"].default = s.exchanges["binance"].default = Fate.REJECTED
    s.exchanges["binance"].fates["bin"] = deque([Fate.FILLED])
    widen(s)
    s.run(50 * MS)  # bin is filled, byb refused, and so is the repair: a gap
    assert s.net("BTC") == pytest.approx(-0.008)
    widen(s, 0.031)
    s.exchanges["binance"].default = Fate.FILLED
    s.run(5 * SECOND)
    assert s.net("BTC") == (pytest.approx(-0.008) if then == "freeze" else 0)
    if then != "freeze":
        assert held(s) == (0, 0), "trimmed, never completed"


# -- breakers


def test_a_breaker_waits_for_its_time_and_forgets_a_flicker() -> None:
    s = ready(risk=broken("pause", ", for: 1s"))
    for _ in range(3):
        widen(s, 0.04)
        s.run(900 * MS)
        narrow(s)
        s.run(60 * MS)
    assert states(s) == []
    widen(s, 0.04)
    since = s.t
    s.run(2 * SECOND)
    assert states(s) == [("paused", "breaker")]
    (at,) = [t for t, c in s.log if isinstance(c, RunState)]
    assert at == since + 1 * SECOND, "by a timer, not by the next tick"


def test_a_rest_is_over_by_itself_but_not_while_the_condition_stands() -> None:
    s = ready(risk=broken("pause", ", rest: 3s"))
    widen(s, 0.04)
    s.run(7 * SECOND)
    assert s.engine.desk.limits.mode is Mode.PAUSED
    narrow(s)
    s.run(4 * SECOND)
    assert states(s) == [("paused", "breaker"), ("active", "")]
    assert [(n.level, n.topic) for n in s.commands(Notify)] == [("warn", Topic.PAUSE)]


def test_missing_data_trips_nothing() -> None:
    s = ready(risk=broken("halt"))
    s.frozen.add("byb")
    s.run(1 * SECOND)
    widen(s, 0.04)
    s.run(1 * SECOND)
    assert states(s) == []


def test_a_breaker_that_reads_an_age_trips_without_a_tick() -> None:
    s = ready(risk="  breakers: [{when: age(byb.book) > 100ms, then: pause}]\n")
    s.frozen.update(("bin", "byb"))
    s.run(300 * MS)
    assert states(s) == [("paused", "breaker")]


def test_a_breaker_on_the_days_result_hears_of_every_book() -> None:
    s = holding("  breakers: [{when: pnl.day < -5 USDT, then: halt}]\n")
    widen(s, 0.02)
    s.run(1 * MS)
    assert states(s) == [("halted", "breaker")]


def test_resume_lifts_a_breaker_only_while_its_condition_is_not_true() -> None:
    s = ready(risk=broken("halt"))
    widen(s, 0.04)
    s.run(100 * MS)
    s.push(Operator(command="resume", who="me"))
    s.run(100 * MS)
    assert s.engine.desk.limits.mode is Mode.HALTED
    narrow(s)
    s.run(100 * MS)
    s.push(Operator(command="resume", who="me"))
    s.run(100 * MS)
    assert s.engine.desk.limits.mode is Mode.ACTIVE


# -- drawdown

DRAWN = "  max_drawdown: {{amount: {} USDT, then: {}}}\n"


def test_a_drawdown_counts_from_the_highest_value_and_halts_at_its_limit() -> None:
    s = ready(risk=DRAWN.format(5, "halt"))
    win(s)
    peak = s.engine.desk.trips.peak
    assert peak == pytest.approx(s.engine.desk.limits.value) and peak > 5
    s.run(1 * SECOND)
    widen(s)
    s.run(50 * MS)
    widen(s, 0.0105)  # 0.008 BTC against us by 330: 2.6, and about 2 of fees
    s.run(10 * MS)
    assert states(s) == []
    widen(s, 0.015)
    s.run(2 * SECOND)
    assert states(s) == [("halted", "max_drawdown")]
    assert held(s) == (0, 0)
    assert s.engine.desk.limits.day_loss < 0, "the day is a good one all the same"


def test_a_drawdown_is_counted_anew_after_resume_and_over_a_restart() -> None:
    s = ready(risk=DRAWN.format(2, "halt"))
    for _ in range(2):
        lose(s)
    assert states(s) == [("halted", "max_drawdown")]
    new = reborn(s)
    new.run(5 * SECOND)
    assert new.engine.desk.limits.mode is Mode.HALTED
    new.push(Operator(command="resume", who="me"))
    new.run(1 * SECOND)
    lose(new)
    assert new.engine.desk.limits.mode is Mode.ACTIVE, "one loss of two since"
    again = reborn(new)
    again.run(5 * SECOND)
    lose(again)
    assert again.engine.desk.limits.mode is Mode.HALTED, "the two since, one before the restart"


def test_a_pause_by_drawdown_keeps_the_position() -> None:
    s = ready(risk=DRAWN.format(3, "pause"))
    widen(s)
    s.run(50 * MS)
    widen(s, 0.015)
    s.run(1 * SECOND)
    assert states(s) == [("paused", "max_drawdown")]
    assert held(s) == (-8, 8)


def test_an_uncertain_value_neither_makes_nor_trips_a_drawdown() -> None:
    s = ready(risk=DRAWN.format(3, "halt"))
    widen(s)
    s.run(50 * MS)
    s.frozen.update(("bin", "byb"))
    s.run(1 * SECOND)
    assert s.engine.desk.limits.uncertain
    s.run(20 * SECOND)
    assert states(s) == []


# -- losing streak

STREAK = "  max_losing_streak: {{trades: 3{}}}\n"


def test_so_many_losing_trades_in_a_row_pause_and_one_win_ends_the_count() -> None:
    s = ready(risk=STREAK.format(""))
    lose(s)
    lose(s)
    win(s)
    lose(s)
    lose(s)
    assert states(s) == []
    lose(s)
    assert states(s) == [("paused", "max_losing_streak")]
    widen(s)
    s.run(10 * SECOND)
    assert held(s) == (0, 0)
    s.push(Operator(command="resume", who="me"))
    s.run(500 * MS)
    assert held(s) == (-8, 8), "counted anew"


def test_a_streak_and_its_rest_go_on_over_a_restart() -> None:
    s = ready(risk=STREAK.format(", rest: 20s"))
    lose(s)
    lose(s)
    new = reborn(s)
    new.run(5 * SECOND)
    lose(new)
    assert states(new) == [("paused", "max_losing_streak")]
    again = reborn(new)
    again.run(5 * SECOND)
    assert again.engine.desk.limits.mode is Mode.PAUSED
    again.run(12 * SECOND)
    assert again.engine.desk.limits.mode is Mode.ACTIVE


def test_a_rest_that_ended_while_no_process_ran_is_over() -> None:
    s = ready(risk=STREAK.format(", rest: 20s"))
    for _ in range(3):
        lose(s)
    new = reborn(s, pause=60 * SECOND)
    new.run(1 * SECOND)
    assert new.engine.desk.limits.mode is Mode.ACTIVE


def test_an_entry_that_was_unwound_at_a_loss_counts() -> None:
    s = ready(risk="  max_losing_streak: {trades: 1}\n")
    s.exchanges["bybit"].default = Fate.REJECTED
    widen(s)
    s.run(3 * SECOND)
    assert held(s) == (0, 0)
    assert states(s) == [("paused", "max_losing_streak")]


# -- the day


def test_a_pause_by_the_days_loss_outlives_the_process() -> None:
    text = f"{HEAD}rules:\n{SPREAD}{RISK}".replace(
        "max_daily_loss: 1000 USDT", "max_daily_loss: {amount: 2 USDT, measure: exit, then: pause}"
    )
    plan = load(text, environ={}).plan
    assert isinstance(plan, Plan)
    s = play(plan).run(4500 * MS)
    lose(s)
    lose(s)
    assert states(s) == [("paused", "max_daily_loss")]
    new = reborn(s)
    widen(new)
    new.run(5 * SECOND)
    assert not new.commands(Send)
    assert new.engine.desk.limits.mode is Mode.PAUSED


def test_what_a_rule_that_is_gone_has_lost_still_counts() -> None:
    s = ready(risk=DRAWN.format(50, "halt"))
    lose(s)
    value = s.engine.desk.limits.value
    assert value < -1
    plan = plan_of(SPREAD.replace("  spread:", "  other:"), DRAWN.format(50, "halt"))
    new = play(plan, restored=journal(s), run_id="run0000002")
    new.run(1 * SECOND)
    assert new.engine.desk.limits.value == pytest.approx(value)
    assert new.engine.desk.trips.drawdown == pytest.approx(-value)


# -- once


def test_once_is_done_for_ever_until_the_file_says_otherwise() -> None:
    s = ready(SPREAD.replace("cooldown:", "once: true\n    cooldown:"))
    win(s)
    assert s.state(R) == "done"
    new = reborn(s)
    widen(new)
    new.run(8 * SECOND)
    assert new.state(R) == "done" and not new.sent
    plan = plan_of()
    again = play(plan, restored=journal(s), run_id="run0000003")
    again.run(5 * SECOND)
    assert again.state(R) == "idle"


# -- properties


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(moves=st.lists(st.tuples(st.sampled_from([0.0, 0.004, 0.006, 0.01, 0.02, 0.031]),
                                st.integers(10, 900)), min_size=5, max_size=25),
       then=st.sampled_from(sorted(THENS)))  # fmt: skip
def test_after_a_trip_no_order_ever_adds_risk(moves: list[tuple[float, int]], then: str) -> None:
    risk = f"  max_drawdown: {{amount: 3 USDT, then: {then}}}\n" + broken(then)
    s = ready(risk=risk)
    tripped: list[int] = []

    def watch() -> None:
        limits, trips = s.engine.desk.limits, s.engine.desk.trips
        if limits.mode is not Mode.ACTIVE and not tripped:
            tripped.append(len(s.sent))
        if tripped:
            late = s.sent[tripped[0] :]
            assert all(i.purpose != "entry" for i in late)
            assert then != "freeze" or not late
        elif not limits.uncertain:
            assert not trips.drawdown >= 3.0

    s.watchers.append(watch)
    for ratio, ms in moves:
        widen(s, ratio)
        s.run(ms * MS)


def test_a_drawdown_lifted_while_no_process_ran_is_counted_anew() -> None:
    s = ready(risk=DRAWN.format(2, "halt"))
    lose(s)
    lose(s)
    saved = journal(s)
    row = msgspec.json.decode(saved.run)
    saved.run = msgspec.json.encode({**row, "causes": {}}).decode()  # as `runner resume` does it
    new = play(s.plan, restored=saved, run_id="run0000002").run(4 * SECOND)
    assert new.engine.desk.limits.mode is Mode.ACTIVE
    assert new.engine.desk.trips.drawdown == pytest.approx(0)
    lose(new)
    assert new.engine.desk.limits.mode is Mode.ACTIVE
