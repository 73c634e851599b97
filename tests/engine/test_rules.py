"""The rule table: warming, `for`, rest, arming, max_hold, missing values, frames that wait."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest

from runner.base.errors import FileError
from runner.engine.commands import Cancel, Notify, Purpose, Record, Send, Trace
from runner.engine.events import Readiness, Ready, Top
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from tests.engine.stage import PAIR, QUOTES, R1, Knobs, arb_plan, narrow, rule, stage, widen


def only(**changes: object) -> Scenario:
    """A warm scenario of one two-leg rule with changes."""
    return stage(arb_plan(rule(R1, PAIR, **changes)))


def test_no_rule_leaves_warming_before_all_exchanges_are_ready() -> None:
    s = stage(warm=False)
    s.exchanges["bybit"].start = lambda: None  # type: ignore[method-assign]
    s.run(4 * SECOND)
    assert s.state(R1) == "warming"
    widen(s)
    s.run(2 * SECOND)
    assert s.sent == []


def test_for_is_a_timer_and_a_false_or_missing_moment_starts_it_again() -> None:
    s = only(for_ns=5 * SECOND)
    widen(s)
    s.run(4 * SECOND)
    narrow(s)
    s.run(10 * MS)
    assert s.state(R1) == "idle"
    widen(s)
    s.run(4 * SECOND)
    s.frozen.add("byb")
    s.run(400 * MS)
    assert s.state(R1) == "idle", "stale is missing"
    s.frozen.clear()
    s.run(4900 * MS)
    assert s.sent == []
    s.run(200 * MS)
    assert len(s.sent) == 2


def test_for_fires_without_a_tick() -> None:
    plan = arb_plan(rule(R1, PAIR, for_ns=100 * MS))
    s = stage(plan)
    widen(s)
    start = s.t
    s.frozen.update(("bin", "byb"))
    s.run(150 * MS)
    (when,) = [t for t, c in s.log if isinstance(c, Send)]
    assert when - start == 100 * MS


def test_max_hold_closes_while_until_is_missing_and_waits_for_a_definite_false() -> None:
    s = only(max_hold_ns=10 * SECOND)
    widen(s)
    s.run(9 * SECOND)
    assert s.state(R1) == "active"
    s.run(2 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert s.state(R1) == "cooldown"
    s.run(10 * SECOND)
    assert s.state(R1) == "idle" and len(s.sent) == 4, "the gap is still there: not armed"
    narrow(s)
    s.run(100 * MS)
    widen(s)
    s.run(10 * MS)
    assert s.state(R1) in ("entering", "active")


def test_rearm_level_lets_it_enter_again_after_its_rest() -> None:
    s = only(max_hold_ns=10 * SECOND, rearm="level")
    widen(s)
    s.run(13 * SECOND)
    assert [i.purpose for i in s.sent[4:]] == [Purpose.ENTRY] * 2


def test_after_until_it_is_armed_but_rests_first() -> None:
    s = only(cooldown_ns=3 * SECOND)
    widen(s)
    s.run(20 * MS)
    narrow(s)
    s.run(20 * MS)
    widen(s)
    s.run(2 * SECOND)
    assert s.state(R1) == "cooldown"
    s.run(1 * SECOND)
    assert s.state(R1) == "active"


def test_once_ends_in_done() -> None:
    s = only(once=True)
    widen(s)
    s.run(20 * MS)
    narrow(s)
    s.run(20 * MS)
    assert s.state(R1) == "done"


def test_no_order_leaves_on_a_frame_with_newer_frames_behind_it() -> None:
    s = stage()
    wall = s.wall_at_zero + s.t
    tops = [(60_300.0, True), (60_000.0, False)]
    for bid, more in tops:
        s.push(
            Top(
                market="bin",
                bid=bid,
                ask=bid + 0.1,
                bid_qty=1,
                ask_qty=1,
                ts=wall,
                conn=1,
                more=more,
            )
        )
    s.run(1 * MS)
    assert s.sent == []


def test_what_waited_for_the_last_frame_is_done_even_when_that_is_another_markets() -> None:
    s = stage()
    wall = s.wall_at_zero + s.t
    s.push(
        Top(
            market="bin",
            bid=60_300.0,
            ask=60_300.1,
            bid_qty=1,
            ask_qty=1,
            ts=wall,
            conn=1,
            more=True,
        )
    )
    s.push(Top(market="byb", bid=59_999.9, ask=60_000.0, bid_qty=1, ask_qty=1, ts=wall, conn=2))
    s.run(1)
    assert len(s.sent) == 2


def test_a_missing_size_is_a_refusal_never_a_default() -> None:
    knobs = Knobs(size=nan)
    s = stage(arb_plan(rule(R1, PAIR)), knobs)
    widen(s)
    s.run(1 * SECOND)
    assert s.sent == []
    assert s.engine.funnels[R1].refusals["missing_size"] >= 3
    rows = [c for c in s.commands(Record) if c.kind == "denied"]
    assert len(rows) == 1, "the same reason again is counted, not recorded"
    knobs.size = 500.0
    s.run(300 * MS)
    assert len(s.sent) == 2, "tried again 250 ms later, without waiting for an edge"


def test_until_missing_for_five_minutes_does_what_on_missing_says() -> None:
    knobs = Knobs(until={R1: lambda _now: None})
    s = stage(arb_plan(rule(R1, PAIR, on_missing="flatten")), knobs)
    widen(s)
    s.run(290 * SECOND)
    assert s.state(R1) == "active"
    s.run(30 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)


def test_until_missing_for_half_a_minute_is_told_once_per_outage() -> None:
    known: list[bool | None] = [None]
    s = stage(arb_plan(rule(R1, PAIR)), Knobs(until={R1: lambda _now: known[0]}))
    widen(s)
    s.run(28 * SECOND)

    def told() -> list[str]:
        return [n.text for n in s.commands(Notify) if "`until` is not known" in n.text]

    assert told() == []
    s.run(200 * SECOND)
    assert len(told()) == 1 and R1 in told()[0]
    known[0] = False
    s.run(20 * SECOND)
    known[0] = None
    s.run(50 * SECOND)
    assert len(told()) == 2 and s.state(R1) == "active"


def test_every_transition_but_idle_and_pending_is_traced_with_its_values() -> None:
    s = stage()
    widen(s)
    s.run(20 * MS)
    moves = [(t.before, t.after) for t in s.commands(Trace) if t.rule == R1]
    assert moves == [("pending", "entering"), ("entering", "active")]
    trace = next(t for _, _, t in s.engine.why(R1, 9) if t.after == "entering")
    assert trace.values and {key for key, _, _ in trace.reads} == {"bin.book", "byb.book"}
    assert [t.after for _, _, t in s.engine.why(R1, 3)] == ["idle", "entering", "active"]


def test_firing_too_often_disables_the_rule_until_resumed() -> None:
    from runner.engine.events import Operator
    from runner.spec.parts import Rate

    s = only(max_firings=Rate(3, 60 * SECOND), cooldown_ns=0)
    for exchange in s.exchanges.values():
        exchange.default = Fate.NOTHING
    widen(s)
    s.run(2 * SECOND)
    assert len(s.commands(Send)) == 3
    assert s.state(R1) == "disabled"
    s.push(Operator(command="resume", rule=R1, who="me"))
    s.run(1 * MS)
    assert s.state(R1) != "disabled"


def test_the_verb_order_sends_one_order_and_unwinds_nothing() -> None:
    plan = arb_plan(rule("buy", (Side.BUY,), single=True, until_streams=()), max_net_position={})
    s = stage(plan, Knobs(enter_at=-1.0), warm=False)
    s.run(50 * MS)
    assert [(i.market, i.side) for i in s.sent] == [("bin", Side.BUY)]
    assert s.lots("bin") == 8
    assert s.state("buy") == "cooldown"


@pytest.mark.parametrize("state", [Readiness.RECONCILING, Readiness.DOWN, Readiness.MAINTENANCE])
def test_an_exchange_that_is_not_ready_gets_no_new_risk(state: Readiness) -> None:
    s = stage()
    s.push(Ready(exchange="bybit", state=state))
    s.run(1 * MS)
    widen(s)
    s.run(2 * SECOND)
    assert s.sent == []
    assert s.engine.desk.limits.mode == "reducing"
    s.push(Ready(exchange="bybit", state=Readiness.READY))
    s.run(300 * MS)
    assert len(s.sent) == 2


def test_quotes_are_what_the_stage_says() -> None:
    s = stage()
    book = s.market.streams["bin.book"]
    assert (book.bid, book.ask) == QUOTES["bin"]  # type: ignore[union-attr]


def test_what_waited_is_done_even_when_the_last_frame_says_nothing_to_anybody() -> None:
    s = stage()
    wall = s.wall_at_zero + s.t
    wide = Top(market="bin", bid=60_300.0, ask=60_300.1, bid_qty=1, ask_qty=1, ts=wall, conn=1)
    wide.more = True
    s.push(wide)
    s.push(Top(market="elsewhere", bid=1.0, ask=2.0, bid_qty=1, ask_qty=1, ts=wall, conn=1))
    s.run(1)
    assert len(s.sent) == 2


def test_a_resting_entry_is_cancelled_at_its_ttl() -> None:
    changes = {"tif": "gtc", "ttl_ns": 3 * SECOND}
    plan = arb_plan(
        rule("one", (Side.BUY,), until_streams=(), order_plan=changes), max_net_position={}
    )
    s = stage(plan, Knobs(enter_at=-1.0), warm=False)
    s.exchanges["binance"].default = Fate.REST
    s.run(2 * SECOND)
    sent_at = s.sent[0].t
    s.run(2 * SECOND)
    ((when, _),) = [(t, c) for t, c in s.log if isinstance(c, Cancel)]
    assert when == sent_at + 3 * SECOND
    assert s.state("one") == "cooldown"


def test_a_stalled_feed_is_noticed_by_a_timer_not_by_the_next_tick() -> None:
    s = only(for_ns=5 * SECOND)
    widen(s)
    s.run(1 * SECOND)
    assert s.state(R1) == "pending"
    last = s.t
    s.frozen.update(("bin", "byb"))
    while s.state(R1) == "pending":
        s.run(1 * MS)
    assert s.t - last <= 250 * MS + 10 * MS


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"close": {"tif": "post_only"}}, "close.tif"),
    ],
)
def test_what_is_not_there_yet_is_refused_not_ignored(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(FileError, match=key):
        stage(arb_plan(rule(R1, PAIR, **changes)))
