"""What goes against a trade, over a restart: late fills of ended trades, refused exits, repairs."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import msgspec

from runner.engine.caretaking import with_care
from runner.engine.commands import Notify, Purpose, Record
from runner.engine.events import Fill
from runner.engine.orphans import settle
from runner.engine.saved import Saved
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.spec.plan import RunPlan
from runner.spec.rule_plan import Care
from tests.engine.stage import R1, arb_plan, narrow, rule, stage, widen
from tests.engine.test_orphans import started
from tests.engine.test_restart import PAIR, journal, reborn
from tests.engine.test_setbacks import holding, single


def with_ended(s: Scenario) -> Saved:
    """The journal with the orders that had ended, as a start reads them."""
    orders = s.engine.desk.orders.all.values()
    ended = tuple((o.intent, o.filled) for o in orders if o.terminal)
    return msgspec.structs.replace(journal(s), ended=ended)


def test_a_late_fill_of_an_order_that_had_ended_is_booked_and_closed() -> None:
    s = single(cooldown_ns=0)
    s.exchanges["binance"].default = Fate.REJECTED
    widen(s)
    s.run(3 * SECOND)
    assert s.state(R1) == "disabled"
    new = reborn(s, with_ended(s))
    new.run(3 * SECOND)
    exchange = new.exchanges["binance"]
    for fill in exchange.execute(s.sent[-1]).fills:
        new.push(fill)
    new.run(1 * MS)
    assert new.lots("bin") == -8
    new.run(5 * SECOND)
    assert new.lots("bin") == new.truth("bin") == 0, "what it brought was closed"
    assert new.state(R1) == "disabled"
    assert any("late fill" in n.text for n in new.commands(Notify))


def test_what_a_trade_had_filled_before_is_not_booked_again() -> None:
    s = holding()
    narrow(s)
    new = reborn(s, with_ended(s))
    new.run(3 * SECOND)
    for fill in s.exchanges["binance"].orders[s.sent[0].cid].fills:
        new.push(fill)
    new.run(3 * SECOND)
    assert (new.lots("bin"), new.lots("byb")) == (-8, 8) and not new.sent


def test_a_fill_that_was_journaled_after_the_end_of_its_trade_is_closed() -> None:
    s = single(cooldown_ns=0)
    s.exchanges["binance"].default = Fate.NOTHING
    widen(s)
    s.run(20 * MS)
    narrow(s)
    s.run(3 * SECOND)
    assert s.engine.quiet and s.engine.flat
    saved, intent = journal(s), s.sent[0]
    row = msgspec.json.decode(saved.rules[R1])
    order = {
        "intent": msgspec.to_builtins(intent), "state": "canceled", "filled": 0, "cum": 3,
        "value": 0.0, "trade_ids": [], "exchange_id": "x",
    }  # fmt: skip
    row["orders"] = [order]
    saved.rules[R1] = msgspec.json.encode(row).decode()
    fill = Fill(cid=intent.cid, trade_id="t1", price=60_000.0, lots=3, fee=0.0, fee_asset="USDT")
    new = reborn(s, msgspec.structs.replace(saved, late=(fill,)))
    new.exchanges["binance"].positions["BTCUSDT"] = -3
    new.run(10 * SECOND)
    assert new.truth("bin") == new.lots("bin") == 0
    assert [i.lots for i in new.sent] == [3]


def test_the_back_off_of_refused_exits_goes_on_after_a_restart() -> None:
    s = holding(max_hold_ns=1 * SECOND)
    for exchange in s.exchanges.values():
        exchange.default = Fate.REJECTED
    s.run(9 * SECOND)
    trade = s.engine.desk.rules.runs[R1].trade
    assert trade is not None and trade.refused >= 4
    new = reborn(s, pause=0)
    for exchange in new.exchanges.values():
        exchange.default = Fate.REJECTED
    new.run(1 * MS)
    again = new.engine.desk.rules.runs[R1].trade
    assert again is not None and again.refused == trade.refused
    left = trade.refused_until - s.t
    assert again.refused_until == left > 0
    assert new.engine.desk.limits.mode == "reducing"
    new.run(left - 2 * MS)
    assert new.sent == []
    for exchange in new.exchanges.values():
        exchange.default = Fate.FILLED
    new.run(5 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (0, 0)
    assert new.engine.desk.limits.mode == "active"


def test_a_leg_that_was_refused_is_not_completed_after_a_restart() -> None:
    hedge = {"repair": "complete", "repair_within_ns": 60 * SECOND}
    s = stage(arb_plan(rule(R1, PAIR, hedge=hedge)))
    s.exchanges["bybit"].fates["byb"] = deque([Fate.NOTHING, Fate.REJECTED])
    s.exchanges["binance"].fates["bin"] = deque([Fate.FILLED] + [Fate.NOTHING] * 20)
    widen(s)
    s.run(500 * MS)
    trade = s.engine.desk.rules.runs[R1].trade
    assert trade is not None and trade.incompletable and s.state(R1) == "entering"
    new = reborn(s)
    new.run(10 * SECOND)
    assert {(i.market, i.purpose) for i in new.sent} == {("bin", Purpose.REPAIR)}
    assert (new.truth("bin"), new.truth("byb")) == (0, 0)


def test_on_restart_flatten_closes_what_was_open() -> None:
    s = holding()
    s.plan = replace(s.plan, run=RunPlan(on_restart="flatten"))
    new = reborn(s)
    new.run(10 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (0, 0)
    reasons = [r.fields["reason"] for r in new.commands(Record) if r.kind == "trade"]
    assert reasons == ["restart"]


def test_on_restart_refuse_refuses_until_somebody_says_what_becomes_of_it() -> None:
    s = holding()
    narrow(s)
    plan = s.plan = replace(s.plan, run=RunPlan(on_restart="refuse"))
    new = reborn(s)
    new.run(5 * SECOND)
    assert new.sent == [] and "on_restart" in new.engine.orphans[0]
    for adopt, care in (([(R1, R1)], None), ([], Care.HOLD), ([], Care.CLOSE)):
        left = settle(plan, journal(s), adopt, care)
        new = started(s, with_care(plan, left), left, "run0000002")
        new.run(1 * MS)
        assert new.engine.orphans == []
    assert settle(plan, journal(s), (), Care.CLOSE, words=True).settled == ()


def test_a_trade_that_nothing_went_against_has_no_more_words_than_before() -> None:
    row = msgspec.json.decode(journal(holding()).rules[R1])
    assert not {"incompletable", "refused"} & set(row["trade"])
    assert "late" not in row and "keep" not in row and "quotes" not in row
