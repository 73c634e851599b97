"""What outlives the process: the youngest journal rows bring a new engine where the old one was."""

from __future__ import annotations

from collections import deque

from runner.engine.commands import Notify, Purpose, Query, Record
from runner.engine.events import Operator
from runner.engine.saved import Saved
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from tests.engine.stage import PAIR, R1, Knobs, arb_plan, narrow, rule, stage, widen


def journal(s: Scenario) -> Saved:
    """What a journal's youngest rows hold."""
    saved = Saved()
    fills = set()
    for row in s.commands(Record):
        if row.kind == "rule":
            saved.rules[str(row.fields["name"])] = str(row.fields["json"])
        elif row.kind == "run":
            saved.run = str(row.fields["json"])
        elif row.kind == "fill":
            fills.add(str(row.fields["key"]))
    saved.fills = frozenset(fills)
    return saved


def reborn(
    old: Scenario, saved: Saved | None = None, pause: int = 5 * SECOND, *, until: bool = False
) -> Scenario:
    """A new process after `pause`, at the same exchanges; `until` of its rules is this."""
    plan = old.plan
    knobs = Knobs(until=dict.fromkeys(plan.rules, lambda _now: until))
    new = stage(plan, knobs, restored=saved or journal(old), warm=False, run_id="run0000002")
    new.wall_at_zero = old.wall_at_zero + old.t + pause
    for name, exchange in new.exchanges.items():
        before = old.exchanges[name]
        exchange.orders, exchange.positions = before.orders, before.positions
        exchange._count = before._count
    new.quotes.update(old.quotes)
    return new


def holding() -> Scenario:
    s = stage(arb_plan(rule(R1, PAIR, max_hold_ns=60 * SECOND)))
    widen(s)
    s.run(30 * MS)
    assert s.state(R1) == "active"
    return s


def test_the_rows_of_the_journal_are_the_snapshot() -> None:
    s = holding()
    saved, now = journal(s), s.engine.snapshot()
    assert saved.rules[R1] == now.rules[R1]
    assert saved.run == now.run
    assert saved.fills == now.fills


def test_an_active_trade_goes_on_with_its_age_entered_values_and_ledgers() -> None:
    s = holding()
    trade = s.engine.desk.rules.runs[R1].trade
    assert trade is not None
    new = reborn(s)
    new.run(4 * SECOND)
    again = new.engine.desk.rules.runs[R1].trade
    assert again is not None
    assert new.state(R1) == "active"
    assert again.entered == trade.entered == new.engine.trade_cells[R1].entered
    assert (new.lots("bin"), new.lots("byb")) == (-8, 8)
    assert new.engine.trade_cells[R1].age(new.t) > 8.9
    assert not new.sent
    new.run(52 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (0, 0), "max_hold counts over the restart"


def test_fills_of_the_earlier_run_are_not_booked_again() -> None:
    new = reborn(holding())
    new.run(30 * SECOND)
    assert (new.lots("bin"), new.lots("byb")) == (-8, 8)


def test_an_order_in_flight_is_asked_about_and_never_sent_again() -> None:
    s = stage(arb_plan(rule(R1, PAIR)))
    widen(s)
    s.run(1 * MS)  # sent, nothing heard
    new = reborn(s)
    new.run(10 * SECOND)
    assert new.sent == []
    assert (new.lots("bin"), new.lots("byb")) == (new.truth("bin"), new.truth("byb")) == (-8, 8)
    assert new.state(R1) == "active"


def test_an_order_that_no_picture_explains_is_asked_about() -> None:
    s = stage(arb_plan(rule(R1, PAIR)))
    s.exchanges["bybit"].fates["byb"] = deque([Fate.LOST])
    widen(s)
    s.run(1 * MS)
    new = reborn(s)
    new.run(1 * SECOND)
    assert {q.cid for q in new.commands(Query)} == {s.sent[1].cid}


def test_a_leg_that_never_left_is_resolved_after_the_restart() -> None:
    s = stage(arb_plan(rule(R1, PAIR)))
    s.exchanges["bybit"].fates["byb"] = deque([Fate.LOST])
    widen(s)
    s.run(10 * MS)
    new = reborn(s)
    new.run(15 * SECOND)
    assert new.net("BTC") == 0
    assert [i.purpose for i in new.sent] == [Purpose.REPAIR]
    assert (new.lots("bin"), new.lots("byb")) == (new.truth("bin"), new.truth("byb"))


def test_a_trade_that_was_leaving_leaves() -> None:
    s = holding()
    for exchange in s.exchanges.values():
        exchange.default = Fate.NOTHING
    s.push(Operator(command="flatten", rule=R1))
    s.run(100 * MS)
    assert s.state(R1) == "leaving"
    new = reborn(s)
    new.run(5 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (0, 0)


def test_a_halt_survives() -> None:
    s = stage()
    s.push(Operator(command="halt", who="me"))
    s.run(1 * MS)
    new = reborn(s)
    widen(new)
    new.run(10 * SECOND)
    assert new.sent == []
    new.push(Operator(command="resume", who="me"))
    new.run(1 * SECOND)
    assert len(new.sent) == 2


def test_a_rest_and_the_wait_for_a_false_survive() -> None:
    s = stage(arb_plan(rule(R1, PAIR, max_hold_ns=1 * SECOND, cooldown_ns=30 * SECOND)))
    widen(s)
    s.run(2 * SECOND)
    assert s.state(R1) == "cooldown"
    new = reborn(s)
    new.run(20 * SECOND)
    assert new.state(R1) == "cooldown"
    new.run(20 * SECOND)
    assert new.state(R1) == "idle" and not new.sent, "rested, but the gap was never closed"
    narrow(new)
    new.run(100 * MS)
    widen(new)
    new.run(100 * MS)
    assert len(new.sent) == 2


def test_client_ids_of_two_runs_never_meet() -> None:
    s = holding()
    new = reborn(s)
    new.run(10 * SECOND)
    new.push(Operator(command="flatten", rule=R1))
    new.run(1 * SECOND)
    assert new.sent
    assert not {i.cid for i in s.sent} & {i.cid for i in new.sent}
    assert min(i.group for i in new.sent) > max(i.group for i in s.sent)


def test_a_trade_without_its_rule_is_named_as_an_orphan() -> None:
    s = holding()
    saved = journal(s)
    plan = arb_plan(rule("other", PAIR))
    new = Scenario(plan, stage(plan).engine and _builder(plan), restored=saved)
    new.start(bin=(1.0, 2.0), byb=(1.0, 2.0))
    new.run(1 * MS)
    assert new.engine.orphans == [R1]


def _builder(plan: object):  # type: ignore[no-untyped-def]
    from tests.engine.stage import builder

    return builder(plan, Knobs())  # type: ignore[arg-type]


def test_the_loss_of_the_day_survives() -> None:
    s = holding()
    s.push(Operator(command="flatten", rule=R1))
    s.run(1 * SECOND)
    loss = s.engine.desk.limits.day_loss
    assert loss != 0
    new = reborn(s)
    new.run(4 * SECOND)
    assert abs(new.engine.desk.limits.day_loss - loss) < 1e-9


def test_fills_that_an_earlier_run_booked_raise_no_alarm() -> None:
    new = reborn(holding())
    new.run(30 * SECOND)
    assert not [c for c in new.commands(Record) if c.kind == "alarm"]


def test_a_trade_taken_up_waits_for_its_exchanges_without_crying() -> None:
    s = holding()
    for exchange in s.exchanges.values():
        exchange.default = Fate.NOTHING
    s.push(Operator(command="flatten", rule=R1))
    s.run(100 * MS)
    new = reborn(s)
    late = new.exchanges["bybit"]
    begin, late.start = late.start, lambda: None  # type: ignore[method-assign]
    new.run(10 * SECOND)
    assert not [c for c in new.commands(Notify) if c.level == "page"]
    begin()
    new.run(5 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (0, 0)


def test_an_until_waits_for_the_exchanges_of_a_trade_taken_up() -> None:
    new = reborn(holding(), until=True)
    late = new.exchanges["bybit"]
    begin, late.start = late.start, lambda: None  # type: ignore[method-assign]
    new.run(5 * SECOND)
    assert new.state(R1) == "active"
    assert not [c for c in new.commands(Notify) if c.level == "page"]
    begin()
    new.run(5 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (0, 0)
    assert not [c for c in new.commands(Notify) if c.level == "page"]


def test_legs_apart_beside_a_close_in_doubt_are_told_after_a_restart_too() -> None:
    s = holding()
    s.exchanges["binance"].fates["bin"] = deque([Fate.LOST])
    s.push(Operator(command="flatten", rule=R1, who="me"))
    s.run(20 * MS)
    assert s.truth("byb") == 0 != s.truth("bin") and s.state(R1) == "leaving"
    new = reborn(s)
    new.exchanges["binance"].query = lambda command: None  # type: ignore[method-assign]
    new.run(3500 * MS)
    assert new.state(R1) == "leaving"
    assert any(n.level == "page" and "not known" in n.text for n in new.commands(Notify))
