"""`stop: {loss}`: what closing would lose closes the trade, paired, never on what is unknown."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.engine.commands import Cancel, OrderType, Purpose, Record
from runner.engine.events import Mark, Operator, Readiness, Ready
from runner.engine.limits import Mode
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from tests.engine.test_restart import journal
from tests.engine.written import SPREAD, R, narrow, plan_of, play, ready, widen

LOSS = 3.0
STOPPED = SPREAD.replace("close: {", "stop: {loss: 3 USDT}\n      close: {")
"""an entry costs about 1 USDT of fees; 0.008 BTC against us by 260 USDT cost the rest"""


def held(s: Scenario) -> tuple[int, int]:
    return s.truth("bin"), s.truth("byb")


def reasons(s: Scenario) -> list[object]:
    return [r.fields["reason"] for r in s.commands(Record) if r.kind == "trade"]


def holding(rules: str = STOPPED, risk: str = "") -> Scenario:
    s = ready(rules, risk)
    widen(s)
    s.run(50 * MS)
    assert s.state(R) == "active"
    return s


def mark(s: Scenario, market: str, price: float) -> None:
    wall = s.wall_at_zero + s.t
    s.push(Mark(market=market, price=price, ts=wall, conn=1 + list(s.plan.markets).index(market)))


def result(s: Scenario) -> float:
    return s.engine.trade_cells[R].exit_pnl(s.t)


def test_the_event_that_reaches_the_loss_closes_both_legs_together() -> None:
    s = holding()
    widen(s, 0.0085)
    s.run(1 * MS)
    assert s.state(R) == "active" and -LOSS < result(s) < -2
    before, at = len(s.sent), s.t
    widen(s, 0.0105)
    s.run(1 * MS)
    assert s.state(R) == "leaving"
    closing = s.sent[before:]
    assert {(i.market, i.lots, i.purpose) for i in closing} == {
        ("bin", 8, Purpose.CLOSE),
        ("byb", 8, Purpose.CLOSE),
    }
    assert {i.t for i in closing} == {at}, "on the event itself, in one pass"
    s.run(1 * SECOND)
    assert held(s) == (0, 0)
    assert reasons(s) == ["stop"]


def test_after_a_stop_the_condition_must_have_been_false() -> None:
    s = holding()
    widen(s, 0.0105)
    s.run(30 * SECOND)
    assert held(s) == (0, 0) and s.state(R) == "idle"
    narrow(s)
    s.run(100 * MS)
    widen(s)
    s.run(100 * MS)
    assert held(s) == (-8, 8)


def test_it_is_the_partner_book_that_may_bring_the_loss() -> None:
    s = holding()
    s.quote("byb", 59_600.0, 59_600.1)
    s.run(1 * MS)
    assert s.state(R) == "leaving"


def test_a_missing_book_fires_nothing_but_the_marks_do_after_30_s() -> None:
    s = holding()
    s.frozen.add("byb")
    s.run(300 * MS)
    widen(s, 0.02)
    s.run(28 * SECOND)
    assert s.state(R) == "active"
    mark(s, "byb", 60_000.0)
    s.run(6 * SECOND)
    assert reasons(s) == ["stop"]
    assert held(s) == (0, 0)
    assert [i.type for i in s.sent if i.market == "byb"][-1] is OrderType.MARKET


def test_marks_that_see_no_loss_or_are_old_fire_nothing() -> None:
    for price, wait in ((60_900.0, 0), (60_000.0, 11)):
        s = holding()
        s.frozen.add("byb")
        s.run(300 * MS)
        if price > 60_500:
            widen(s, 0.02)
        s.run((31 - wait) * SECOND)
        mark(s, "byb", price)
        s.run(100 * MS)
        if wait:
            s.run(wait * SECOND)
            widen(s, 0.02)
        s.run(20 * SECOND)
        assert s.state(R) == "active", (price, wait)


def test_without_any_mark_it_holds() -> None:
    s = holding()
    s.frozen.add("byb")
    widen(s, 0.02)
    s.run(1 * MS)
    s = holding()
    s.frozen.add("byb")
    s.run(300 * MS)
    widen(s, 0.02)
    s.run(120 * SECOND)
    assert s.state(R) == "active"


def test_a_pause_lets_a_stop_through_the_operators_halt_does_not() -> None:
    paused = holding(risk='  breakers: [{when: "gap(bin.mid, byb.mid) > 0.8%", then: pause}]\n')
    widen(paused, 0.0105)
    paused.run(1 * SECOND)
    assert paused.engine.desk.limits.mode is Mode.PAUSED
    assert held(paused) == (0, 0)
    s = holding()
    s.push(Operator(command="halt", who="me"))
    s.run(10 * MS)
    widen(s, 0.0105)
    s.run(5 * SECOND)
    assert held(s) == (-8, 8)
    s.push(Operator(command="resume", who="me"))
    s.run(1 * SECOND)
    assert held(s) == (0, 0)


def test_when_the_partner_cannot_trade_the_matched_part_is_kept_and_told() -> None:
    s = holding()
    s.push(Ready(exchange="bybit", state=Readiness.DOWN, reason="away"))
    s.run(10 * MS)
    widen(s, 0.0105)
    s.run(3 * SECOND)
    assert held(s) == (-8, 8)
    assert [r.kind for r in s.commands(Record)].count("held") == 1
    s.push(Ready(exchange="bybit", state=Readiness.READY))
    s.run(3 * SECOND)
    assert held(s) == (0, 0)


def test_a_stop_is_watched_after_a_restart() -> None:
    s = holding()
    new = play(s.plan, restored=journal(s), run_id="run0000002")
    new.wall_at_zero = s.wall_at_zero + s.t + 5 * SECOND
    for name, exchange in new.exchanges.items():
        before = s.exchanges[name]
        exchange.orders, exchange.positions = before.orders, before.positions
        exchange._count = before._count
    new.quotes.update(s.quotes)
    new.run(4 * SECOND)
    assert new.state(R) == "active"
    widen(new, 0.0105)
    new.run(1 * SECOND)
    assert held(new) == (0, 0)


def test_an_open_trade_keeps_the_stop_it_was_opened_with() -> None:
    s = holding()
    plan = plan_of(STOPPED.replace("loss: 3", "loss: 5"))
    new = play(plan, restored=journal(s), run_id="run0000002")
    new.run(1 * MS)
    assert new.engine.orphans and R in new.engine.orphans[0]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    moves=st.lists(
        st.tuples(st.sampled_from(["bin", "byb"]), st.integers(-40, 60), st.integers(1, 300)),
        min_size=5,
        max_size=30,
    )
)
def test_no_active_trade_is_ever_left_beyond_its_loss(moves: list[tuple[str, int, int]]) -> None:
    s = ready(STOPPED)

    def watch() -> None:
        if s.state(R) == "active":
            value = result(s)
            assert not value <= -LOSS

    s.watchers.append(watch)
    for market, tenths, ms in moves:
        bid = round((60_000.0 if market == "bin" else 59_999.9) * (1 + tenths / 5_000), 1)
        s.quote(market, bid, round(bid + 0.1, 1))
        s.run(ms * MS)


@pytest.mark.parametrize("kind", ["until", "max_hold"])
def test_what_else_leaves_still_does(kind: str) -> None:
    rules = STOPPED.replace("cooldown:", "max_hold: 2s\n    cooldown:")
    if kind == "max_hold":
        rules = "\n".join(x for x in rules.split("\n") if "until" not in x)
    s = holding(rules)
    if kind == "until":
        narrow(s)
    s.run(3 * SECOND)
    assert reasons(s) == [kind]


RESTING = """\
  spread:
    when: gap(bin.bid, byb.ask) < 10%
    until: gap(bin.bid, byb.ask) > 20%
    cooldown: 1h
    trade:
      size: 0.008 BTC
      legs: [{market: bin, side: buy, order: {type: limit, tif: gtc, price: bin.bid}}]
      stop: {loss: 2 USDT}
      close: {tif: ioc, collar: 2bps, worst: 50bps, then: market}
"""


def test_what_has_filled_of_a_resting_entry_is_stopped_too_and_the_rest_is_cancelled() -> None:
    s = play(plan_of(RESTING))
    exchange = s.exchanges["binance"]
    exchange.default = Fate.REST
    s.run(4500 * MS)
    (entry,) = s.sent
    s.quote("bin", 59_700.0, 59_700.1)
    s.run(1 * SECOND)
    assert s.state(R) == "entering", "nothing is held: nothing to stop"
    exchange.fill(entry.cid, 4)
    exchange.default = Fate.FILLED
    s.run(100 * MS)
    assert s.state(R) == "entering" and s.truth("bin") == 4
    s.quote("bin", 59_400.0, 59_400.1)
    s.run(1 * SECOND)
    assert s.truth("bin") == 0
    assert [c.cid for c in s.commands(Cancel)] == [entry.cid]
    assert reasons(s) == ["stop"]


def test_legs_apart_are_evened_not_stopped() -> None:
    s = ready(STOPPED)
    s.exchanges["bybit"].default = Fate.LATE
    widen(s)
    s.run(50 * MS)
    widen(s, 0.02)
    s.run(1 * SECOND)
    assert s.state(R) == "entering" and len(s.sent) == 2, "byb is in doubt"
    s.run(3 * SECOND)
    assert held(s) == (0, 0)
