"""What goes against a trade: refused exits, positions that are gone, cancels that do not work."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any

import pytest

from runner.engine.commands import Cancel, Notify, Purpose, Query, Reconcile, Record
from runner.engine.events import (
    Ack,
    CancelReply,
    External,
    Found,
    Operator,
    Reject,
    Unknown,
)
from runner.engine.saved import Saved
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from tests.engine.stage import PAIR, R1, Knobs, arb_plan, narrow, rule, stage, widen
from tests.engine.test_restart import journal

GTC = {"order_plan": {"tif": "gtc", "collar": 0.0}}


def holding(**changes: Any) -> Scenario:
    """A trade of 8 lots on each leg, active."""
    s = stage(arb_plan(rule(R1, PAIR, **changes)))
    widen(s)
    s.run(20 * MS)
    assert s.state(R1) == "active"
    return s


def single(**changes: Any) -> Scenario:
    """A rule of one leg that enters when `widen` comes and stays."""
    made: list[Scenario] = []
    knobs = Knobs(
        when={R1: lambda _now: bool(made) and made[0].quotes["bin"][0] > 60_200},
        until={R1: lambda _now: False},
    )
    made.append(stage(arb_plan(rule(R1, (Side.SELL,), **changes), max_net_position={}), knobs))
    return made[0]


def reborn(old: Scenario, *, adopt: bool, **positions: int) -> Scenario:
    """A new process at exchanges whose positions are these."""
    knobs = Knobs(until=dict.fromkeys(old.plan.rules, lambda _now: False))
    new = stage(
        old.plan, knobs, restored=journal(old), warm=False, run_id="run0000002", adopt=adopt
    )
    new.wall_at_zero = old.wall_at_zero + old.t + 5 * SECOND
    new.quotes.update(old.quotes)
    for name, lots in positions.items():
        exchange = new.exchanges[new.plan.markets[name].exchange]
        exchange.positions = {"BTCUSDT": lots} if lots else {}
        exchange._count = 1000
    return new


def pages(s: Scenario) -> list[str]:
    return [n.text for n in s.commands(Notify) if n.level == "page"]


# -- a position that is gone


def test_an_exit_that_the_exchange_does_not_show_is_never_sent() -> None:
    new = reborn(holding(), adopt=False, bin=0, byb=0)
    new.run(4 * SECOND)
    new.push(Operator(command="flatten", rule=R1))
    new.run(60 * SECOND)
    assert new.sent == []
    assert any("shows no position" in text for text in pages(new))


def test_one_leg_gone_keeps_the_other_until_somebody_decides() -> None:
    new = reborn(holding(), adopt=False, bin=0, byb=8)
    new.run(4 * SECOND)
    new.push(Operator(command="flatten", rule=R1))
    new.run(20 * SECOND)
    assert new.sent == []
    new.push(Operator(command="adopt"))
    new.run(5 * SECOND)
    assert [(i.market, i.lots) for i in new.sent] == [("byb", 8)]
    assert (new.lots("bin"), new.lots("byb")) == (0, 0) == (new.truth("bin"), new.truth("byb"))
    assert new.engine.flat and not new.engine.desk.rules.runs[R1].armed


def test_adopting_an_account_that_is_flat_ends_the_trade_without_an_order() -> None:
    new = reborn(holding(), adopt=True, bin=0, byb=0)
    new.run(10 * SECOND)
    assert new.sent == []
    assert (new.lots("bin"), new.lots("byb")) == (0, 0)
    assert new.engine.desk.ledgers.external == {"bin": 0, "byb": 0} or not any(
        new.engine.desk.ledgers.external.values()
    )
    assert new.engine.flat
    rows = [r.fields for r in new.commands(Record) if r.kind == "adjusted"]
    assert [(r["market"], r["lots"], r["why"]) for r in rows] == [
        ("bin", 8, "adopted"),
        ("byb", -8, "adopted"),
    ]
    again = Saved(rules=journal(new).rules, run=journal(new).run)
    assert '"lots":-8' not in again.rules[R1]


@pytest.mark.parametrize(("there", "left"), [((-3, 8), 3), ((-8, 5), 5), ((-3, 7), 3)])
def test_adopting_less_than_the_journal_says_matches_the_partner(
    there: tuple[int, int], left: int
) -> None:
    new = reborn(holding(), adopt=True, bin=there[0], byb=there[1])
    new.run(10 * SECOND)
    assert (new.lots("bin"), new.lots("byb")) == (-left, left)
    assert (new.truth("bin"), new.truth("byb")) == (-left, left)
    assert new.state(R1) == "active"
    assert all(i.purpose is Purpose.REPAIR and i.reduce_only for i in new.sent)
    new.push(Operator(command="flatten", rule=R1))
    new.run(2 * SECOND)
    assert new.engine.flat and (new.truth("bin"), new.truth("byb")) == (0, 0)


def test_adopting_more_than_the_journal_says_leaves_the_rest_to_others() -> None:
    new = reborn(holding(), adopt=True, bin=-11, byb=8)
    new.run(4 * SECOND)
    assert new.engine.desk.ledgers.external["bin"] == -3
    new.push(Operator(command="flatten", rule=R1))
    new.run(2 * SECOND)
    assert (new.truth("bin"), new.truth("byb")) == (-3, 0)


def test_a_position_that_a_person_closed_is_not_closed_once_more() -> None:
    s = holding()
    s.run(2 * SECOND)
    s.exchanges["binance"].positions["BTCUSDT"] = 0
    s.push(External(exchange="binance", what="fill", market="bin", lots=8, price=60_300.0))
    s.run(10 * MS)
    count = len(s.sent)
    narrow(s)
    s.run(10 * SECOND)
    assert [i for i in s.sent[count:] if i.market == "bin"] == [], "plain, it would open a long"
    assert s.truth("bin") == 0


# -- refusals


def refusals(s: Scenario, seconds: int) -> list[int]:
    """Let an exchange refuse every exit and give the times at which they came."""
    s.exchanges["binance"].default = Fate.REJECTED
    narrow(s)
    s.run(seconds * SECOND)
    return [t for t, c in s.log if type(c).__name__ == "Send" for _ in c.orders]  # type: ignore[attr-defined]


def test_refused_exits_back_off_ask_for_the_truth_and_are_told() -> None:
    s = holding()
    s.run(2 * SECOND)
    start = len(s.sent)
    refusals(s, 120)
    exits = [i for i in s.sent[start:] if i.market == "bin"]
    gaps = [b.t - a.t for a, b in pairwise(exits)]
    assert 8 <= len(exits) <= 12
    assert all(later >= earlier - MS for earlier, later in pairwise(gaps))
    assert gaps[1] >= 450 * MS and max(gaps) <= 31 * SECOND
    assert any("refused" in r.reason for r in s.commands(Reconcile))
    assert len([text for text in pages(s) if "refused" in text]) == 1
    assert s.engine.desk.limits.mode.shown == "reducing"
    s.exchanges["binance"].default = Fate.FILLED
    s.run(31 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert s.engine.desk.limits.mode.shown == "active"


def test_refused_repairs_back_off_too() -> None:
    s = stage(arb_plan(rule(R1, PAIR, hedge={"on_failure": "flatten"})))
    s.exchanges["bybit"].default = Fate.REJECTED
    s.exchanges["binance"].fates["bin"] = deque([Fate.FILLED, *[Fate.REJECTED] * 50])
    widen(s)
    s.run(20 * SECOND)
    assert len([i for i in s.sent if i.market == "bin"]) <= 9
    assert s.truth("bin") == -8
    assert s.engine.desk.limits.mode.shown == "reducing"


def test_rejects_of_exits_count_in_the_rejects_of_a_minute() -> None:
    s = holding()
    s.run(2 * SECOND)
    for exchange in s.exchanges.values():
        exchange.default = Fate.REJECTED
    narrow(s)
    s.run(30 * SECOND)
    assert "rejects" in s.engine.desk.limits.causes
    assert s.engine.desk.limits.mode.shown == "paused"


def test_a_close_that_cannot_be_sent_for_long_is_told() -> None:
    s = holding()
    s.run(2 * SECOND)
    object.__setattr__(s.engine.desk.markets["bin"].instrument, "status", "settling")
    try:
        narrow(s)
        s.run(15 * SECOND)
    finally:
        object.__setattr__(s.engine.desk.markets["bin"].instrument, "status", "trading")
    assert len([text for text in pages(s) if "cannot leave" in text and "settling" in text]) == 1


def test_a_leg_shrunk_while_leaving_does_not_stop_the_close() -> None:
    s = holding()
    s.run(2 * SECOND)
    s.exchanges["binance"].default = s.exchanges["bybit"].default = Fate.NOTHING
    narrow(s)
    s.run(100 * MS)
    assert s.state(R1) == "leaving"
    s.exchanges["binance"].positions["BTCUSDT"] = -3
    s.push(External(exchange="binance", what="adl", market="bin", lots=5, price=60_000.0))
    s.exchanges["binance"].default = s.exchanges["bybit"].default = Fate.FILLED
    s.run(5 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert s.engine.flat


def test_a_late_fill_does_not_wake_a_disabled_rule() -> None:
    s = single(cooldown_ns=0)
    s.exchanges["binance"].default = Fate.REJECTED
    widen(s)
    s.run(3 * SECOND)
    assert s.state(R1) == "disabled"
    exchange = s.exchanges["binance"]
    exchange.default = Fate.FILLED
    truth = exchange.execute(s.sent[-1])
    for fill in truth.fills:
        s.push(fill)
    s.run(5 * SECOND)
    assert s.truth("bin") == 0, "what it brought was closed"
    assert s.state(R1) == "disabled"


# -- cancels


def test_a_cancel_that_is_refused_is_repeated_while_the_order_is_open() -> None:
    s = single(**GTC)
    exchange = s.exchanges["binance"]
    exchange.default = Fate.REST
    taken = exchange.cancel

    def refuse(command: Cancel) -> None:
        s.after(5 * MS, CancelReply(cid=command.cid, ok=False, code="20006"))

    exchange.cancel = refuse  # type: ignore[method-assign]
    widen(s)
    s.run(20 * MS)
    assert s.state(R1) == "entering"
    s.push(Operator(command="halt"))
    s.run(20 * SECOND)
    times = [t for t, c in s.log if isinstance(c, Cancel)]
    gaps = [b - a for a, b in pairwise(times)]
    assert 4 <= len(times) <= 9
    assert gaps == sorted(gaps) and gaps[0] >= 250 * MS
    assert len([text for text in pages(s) if "still open after 3 cancels" in text]) == 1
    exchange.cancel = taken  # type: ignore[method-assign]
    s.run(20 * SECOND)
    assert s.engine.quiet


def test_a_cancel_that_nobody_answers_is_repeated() -> None:
    s = single(**GTC)
    exchange = s.exchanges["binance"]
    exchange.default = Fate.REST
    taken, exchange.cancel = exchange.cancel, lambda _c: None  # type: ignore[method-assign]
    widen(s)
    s.run(20 * MS)
    s.push(Operator(command="halt"))
    s.run(500 * MS)
    assert len(s.commands(Cancel)) == 1
    exchange.cancel = taken  # type: ignore[method-assign]
    s.run(3 * SECOND)
    assert len(s.commands(Cancel)) == 2
    assert s.engine.quiet


def test_a_halt_cancels_what_an_earlier_run_left_resting() -> None:
    s = single(**GTC)
    s.exchanges["binance"].default = Fate.REST
    widen(s)
    s.run(20 * MS)
    s.exchanges["binance"].answers = False
    s.push(Operator(command="halt"))
    s.run(5 * MS)
    new = stage(s.plan, Knobs(), restored=journal(s), warm=False, run_id="run0000002")
    new.wall_at_zero = s.wall_at_zero + s.t + 5 * SECOND
    new.exchanges["binance"].orders = s.exchanges["binance"].orders
    new.run(5 * SECOND)
    assert new.commands(Cancel)
    assert new.engine.quiet and new.engine.flat


# -- orders that contradict themselves


def test_silence_about_an_order_is_told_even_if_nobody_says_unknown() -> None:
    s = stage(arb_plan(rule(R1, PAIR)))
    exchange = s.exchanges["bybit"]
    exchange.place = lambda _i: None  # type: ignore[method-assign]
    exchange.query = lambda _c: None  # type: ignore[method-assign]
    widen(s)
    s.run(4 * SECOND)
    assert any("not known after" in text for text in pages(s))
    assert s.engine.desk.limits.mode.shown == "reducing"


def test_an_order_that_was_rejected_and_lives_is_cancelled_and_told() -> None:
    s = single()
    exchange = s.exchanges["binance"]
    exchange.default = Fate.REST
    widen(s)
    s.run(1 * MS)
    cid = s.sent[0].cid
    s.push(Reject(cid=cid, outcome="rejected", code="-2010"))
    s.run(20 * MS)  # the reject first, then the acknowledgement
    assert any(isinstance(c, Query) and c.cid == cid for _, c in s.log)
    s.run(1 * SECOND)
    assert cid in {c.cid for c in s.commands(Cancel)}
    assert len([text for text in pages(s) if "is open at the exchange" in text]) == 1
    assert exchange.orders[cid].status == "canceled"


def test_an_ended_order_in_a_later_picture_is_cancelled() -> None:
    s = single(**GTC)
    exchange = s.exchanges["binance"]
    exchange.default = Fate.REST
    widen(s)
    s.run(20 * MS)
    cid = s.sent[0].cid
    exchange.orders[cid].status = "expired"
    exchange.tell(exchange.orders[cid], 0)
    s.run(100 * MS)
    exchange.orders[cid].status = "open"
    s.push(exchange.picture(s.t - 50 * MS))
    s.run(10 * MS)
    assert not s.commands(Cancel), "a picture begun before the end proves nothing"
    s.run(2 * SECOND)
    s.push(exchange.picture(s.t))
    s.run(10 * MS)
    assert {c.cid for c in s.commands(Cancel)} == {cid}


def test_events_about_orders_in_doubt_change_nothing_twice() -> None:
    s = holding()
    before = s.engine.desk.ledgers.of(R1, "bin")
    state = (before.lots, before.fees, before.realised)
    cid = s.sent[0].cid
    for event in (
        Ack(cid=cid),
        Unknown(cid=cid, why="late"),
        Reject(cid=cid, outcome="rejected", code="x"),
        Found(cid=cid, order=None),
        CancelReply(cid=cid, ok=False, code="20006"),
        *s.exchanges["binance"].orders[cid].fills,
    ):
        s.push(event)
    s.run(5 * SECOND)
    assert (before.lots, before.fees, before.realised) == state
    assert s.state(R1) == "active" and s.engine.quiet
