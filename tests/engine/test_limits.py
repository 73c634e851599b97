"""The run's states and the day's loss (R-38), halts, freezes, the operator."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import msgspec
import pytest

from runner.engine.commands import Cancel, Notify, Purpose, Reconcile, Record, RunState
from runner.engine.events import (
    Account,
    External,
    Host,
    Operator,
    OrderView,
    Position,
    Readiness,
    Ready,
    Reject,
)
from runner.engine.limits import Mode
from runner.engine.scenario import WALL, Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.risk_plan import DailyLoss
from tests.engine.stage import PAIR, R1, Knobs, arb_plan, rule, stage, usdt, widen


def holding(
    then: str = "halt", amount: float = 20, wall: int = WALL, **changes: object
) -> Scenario:
    knobs = Knobs(until={R1: lambda _now: False})
    plan = arb_plan(rule(R1, PAIR, **changes), max_daily_loss=DailyLoss(usdt(amount), then))
    s = stage(plan, knobs, wall=wall)
    widen(s)
    s.run(20 * MS)
    assert s.state(R1) == "active"
    return s


def states(s: Scenario) -> list[tuple[str, str]]:
    return [(c.state, c.code) for c in s.commands(RunState)]


def test_the_days_loss_is_realised_and_open_at_what_closing_costs_now_with_all_fees() -> None:
    s = holding()
    qty, limits = 0.008, s.engine.desk.limits
    paid = qty * (0.0005 * 60_300.0 + 0.00055 * 60_000.0)
    spread = qty * (0.1 + 0.1)
    leaving = qty * (0.0005 * 60_300.1 + 0.00055 * 59_999.9)
    assert limits.day_loss == pytest.approx(paid + spread + leaving, abs=1e-9)


def test_the_limit_halts_on_the_event_that_reaches_it_and_closes_both_legs() -> None:
    s = holding(amount=3)
    s.quote("bin", 60_500.0, 60_500.1)  # 1.6 more against us; fees stand at about 1
    s.run(1 * MS)
    assert s.engine.desk.limits.mode is Mode.ACTIVE
    before = s.t
    s.quote("bin", 60_600.0, 60_600.1)
    s.run(1 * MS)
    (when,) = [t for t, c in s.log if isinstance(c, RunState)]
    assert when == before, "decided on the event itself"
    s.run(500 * MS)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert states(s) == [("halted", "max_daily_loss")]
    widen(s)
    count = len(s.sent)
    s.run(30 * SECOND)
    assert len(s.sent) == count, "no new risk until a person resumes"
    s.push(Operator(command="resume", who="me"))
    s.run(1 * MS)
    assert s.engine.desk.limits.mode is Mode.ACTIVE


def test_a_leg_without_a_fresh_price_is_valued_by_its_partners_move_and_halts_nothing() -> None:
    s = holding(amount=3)
    s.frozen.add("byb")
    s.run(400 * MS)
    s.quote("bin", 61_500.0, 61_500.1)  # the market as a whole went up by 2 %
    s.run(100 * MS)
    assert s.engine.desk.limits.uncertain == ""
    assert states(s) == []
    assert s.engine.desk.limits.day_loss < 2


def test_without_any_fresh_price_the_loss_is_uncertain_told_after_10_s_and_never_a_halt() -> None:
    s = holding(amount=3)
    s.frozen.update(("bin", "byb"))
    s.run(5 * SECOND)
    assert s.engine.desk.limits.uncertain
    assert not [n for n in s.commands(Notify) if "uncertain" in n.text]
    s.run(6 * SECOND)
    assert len([n for n in s.commands(Notify) if "uncertain" in n.text]) == 1
    assert states(s) == []


@pytest.mark.parametrize(
    ("then", "mode"), [("halt", "halted"), ("freeze", "frozen"), ("pause", "paused")]
)
def test_then_says_what_the_limit_does(then: str, mode: str) -> None:
    s = holding(then, amount=2)
    s.quote("bin", 60_700.0, 60_700.1)
    s.run(2 * SECOND)
    assert states(s) == [(mode, "max_daily_loss")]
    assert (s.truth("bin") == 0) is (then == "halt")


def test_the_day_begins_anew_at_its_hour() -> None:
    s = holding(amount=50, wall=WALL - WALL % (86_400 * SECOND) - 30 * SECOND)
    s.quote("bin", 60_700.0, 60_700.1)
    s.run(1 * SECOND)
    assert s.engine.desk.limits.day_loss > 3
    s.run(86_400 * SECOND - (s.wall_at_zero + s.t) % (86_400 * SECOND) + SECOND)
    assert abs(s.engine.desk.limits.day_loss) < 1e-9, "open trades at exit prices then"
    assert [c.kind for c in s.commands(Record)].count("day") == 1


def test_the_operators_halt_keeps_positions_and_lets_nothing_new_in() -> None:
    s = holding()
    s.push(Operator(command="halt", who="me", why="lunch"))
    s.run(1 * MS)
    assert states(s) == [("halted", "operator")]
    s.engine.desk.rules.runs[R1].program.until.test = lambda _now: True  # type: ignore[union-attr]
    s.run(20 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (-8, 8), "until does not close while halted"
    s.push(Operator(command="resume", who="me"))
    s.run(1 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)


def test_under_the_operators_halt_an_open_gap_is_still_closed() -> None:
    s = stage()
    s.exchanges["bybit"].fates["byb"] = deque([Fate.LATE])
    widen(s)
    s.run(50 * MS)
    s.push(Operator(command="halt", who="me"))
    s.exchanges["bybit"].execute = lambda intent, share=1.0: (  # type: ignore[method-assign]
        type(s.exchanges["bybit"]).execute(s.exchanges["bybit"], intent, 0.0)
    )
    s.run(5 * SECOND)
    assert s.net("BTC") == 0
    assert (s.truth("bin"), s.truth("byb")) == (0, 0), "trimmed, not completed"


def test_flatten_closes_all_then_stays_halted() -> None:
    s = holding()
    s.push(Operator(command="flatten", who="me"))
    s.run(1 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert states(s) == [("flattened", "flatten")]
    widen(s)
    s.run(20 * SECOND)
    assert s.engine.flat and s.engine.quiet


def test_halting_cancels_our_working_entries() -> None:
    plan = arb_plan(
        rule("one", (Side.BUY,), until_streams=(), order_plan={"tif": "gtc"}), max_net_position={}
    )
    s = stage(plan, Knobs(enter_at=-1.0, until={"one": lambda _now: False}), warm=False)
    s.exchanges["binance"].default = Fate.REST
    s.run(100 * MS)
    assert len(s.sent) == 1
    s.push(Operator(command="halt", who="me"))
    s.run(100 * MS)
    assert [c.cid for c in s.commands(Cancel)] == [s.sent[0].cid]
    assert s.engine.quiet


def test_stop_follows_the_files_policy() -> None:
    for policy, mode, flat in (
        ("cancel", "reducing", False),
        ("keep", "paused", False),
        ("flatten", "flattened", True),
    ):
        s = holding()
        s.engine.desk.plan = replace(s.plan, run=replace(s.plan.run, on_stop=policy))
        s.push(Operator(command="stop", who="signal"))
        s.run(2 * SECOND)
        assert states(s) == [(mode, "stop")]
        assert s.engine.flat is flat


def test_a_fault_of_the_journal_stops_entries_while_exits_go_on() -> None:
    s = holding()
    s.push(Host(fault="journal", text="disk full"))
    s.run(1 * MS)
    assert states(s) == [("reducing", "journal")]
    s.engine.desk.rules.runs[R1].program.until.test = lambda _now: True  # type: ignore[union-attr]
    s.run(1 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    s.push(Host(fault="journal", ok=True))
    s.run(1 * MS)
    assert s.engine.desk.limits.mode is Mode.ACTIVE


@pytest.mark.parametrize("fault", ["loop", "memory", "ban:binance"])
def test_what_is_wrong_with_the_process_pauses_and_is_paged_once(fault: str) -> None:
    s = stage()
    s.push(Host(fault=fault, text="as it is"))
    widen(s)
    s.run(1 * SECOND)
    code = fault.partition(":")[0]
    assert states(s) == [("paused", code)] and s.sent == []
    assert [n.text for n in s.commands(Notify) if n.level == "page"] == ["paused: as it is"]
    s.push(Host(fault=fault, ok=True))
    s.run(1 * SECOND)
    assert s.engine.desk.limits.mode is Mode.ACTIVE and len(s.sent) == 2


def test_a_key_that_is_refused_freezes_its_exchange_and_blocks_its_partners() -> None:
    s = stage()
    s.push(Ready(exchange="bybit", state=Readiness.FROZEN, reason="key expired"))
    widen(s)
    s.run(2 * SECOND)
    assert s.sent == []


def test_more_than_ten_rejects_a_minute_pause_the_run() -> None:
    s = stage()
    for i in range(11):
        order = replace_cid(s, f"c{i}")
        s.engine.desk.orders.add(order)
        s.push(Reject(cid=f"c{i}", outcome="rejected", code="1"))
    s.run(1 * MS)
    assert states(s) == [("paused", "rejects")]


def replace_cid(s: Scenario, cid: str):  # type: ignore[no-untyped-def]
    from tests.engine.test_gate import intent

    return intent(s, cid=cid)


def test_a_position_nobody_explains_makes_its_symbol_reducing_until_it_is_explained() -> None:
    s = holding()
    s.run(2 * SECOND)
    truth = s.exchanges["binance"].positions
    truth["BTCUSDT"] = -5
    account = Account(
        exchange="binance", balances=(), positions=(Position(symbol="BTCUSDT", lots=-5),)
    )
    s.push(account)
    s.run(1900 * MS)
    assert s.engine.desk.limits.mode is Mode.ACTIVE, "two roads: a moment is given"
    s.run(500 * MS)
    assert any("differs" in c.reason for c in s.commands(Reconcile))
    assert states(s) == [("reducing", "difference")]
    truth["BTCUSDT"] = -8
    s.run(11 * SECOND)
    assert s.engine.desk.limits.mode is Mode.ACTIVE, "the sweep found it gone"


def test_a_difference_that_stands_for_a_minute_freezes_the_run() -> None:
    s = holding()
    s.exchanges["binance"].positions["BTCUSDT"] = -5
    s.run(90 * SECOND)
    assert states(s) == [("reducing", "difference"), ("frozen", "difference")]


def test_a_manual_trade_is_booked_as_external_and_disturbs_nothing() -> None:
    s = holding()
    s.exchanges["binance"].positions["BTCUSDT"] = -3
    s.push(External(exchange="binance", what="fill", market="bin", lots=5, price=60_300.0))
    s.push(External(exchange="binance", what="fill", market="bin", lots=-1, price=60_300.0))
    s.push(External(exchange="binance", what="fill", market="bin", lots=1, price=60_300.0))
    s.run(30 * SECOND)
    assert states(s) == []
    assert s.lots("bin") == -8
    told = [n.text for n in s.commands(Notify) if "somebody else" in n.text]
    assert len(told) == 1 and "bought 5 lots of bin" in told[0], "once, not each time"


@pytest.mark.parametrize("what", ["adl", "liquidation", "settlement"])
def test_a_leg_shrunk_by_the_exchange_is_matched_by_its_partner(what: str) -> None:
    s = holding()
    s.exchanges["binance"].positions["BTCUSDT"] = -3
    s.push(External(exchange="binance", what=what, market="bin", lots=5, price=60_300.0))
    s.run(1 * SECOND)
    assert (s.lots("bin"), s.lots("byb")) == (-3, 3)
    assert s.truth("byb") == 3
    assert s.state(R1) == "active"


@pytest.mark.parametrize("stream", ["before", "after", "never"])
def test_what_a_stream_that_was_down_did_not_tell_is_in_the_picture_and_booked_once(
    stream: str,
) -> None:
    s = holding()
    s.run(5 * SECOND)
    s.exchanges["binance"].positions["BTCUSDT"] = -3
    adl = External(exchange="binance", what="adl", market="bin", lots=5, price=60_300.0, id="7")
    paid = External(exchange="binance", what="funding", market="bin", amount=-0.5, id="8")
    picture = s.exchanges["binance"].picture(s.t)
    picture.externals = (adl, paid)
    again = [msgspec.structs.replace(adl), msgspec.structs.replace(paid)]
    for event in [*(again if stream == "before" else ()), picture]:
        s.push(event)
    s.run(1 * SECOND)
    for event in again if stream == "after" else ():
        s.push(event)
    s.push(msgspec.structs.replace(picture))
    s.run(20 * SECOND)
    assert (s.lots("bin"), s.lots("byb")) == (s.truth("bin"), s.truth("byb")) == (-3, 3)
    assert s.engine.desk.ledgers.of(R1, "bin").funding == -0.5
    assert states(s) == [] and s.state(R1) == "active"


def test_funding_is_booked_and_counts_in_the_day() -> None:
    s = holding()
    before = s.engine.desk.limits.day_loss
    s.push(External(exchange="binance", what="funding", market="bin", amount=-0.5, asset="USDT"))
    s.run(1)
    assert s.engine.desk.limits.day_loss == pytest.approx(before + 0.5)


def test_what_was_there_before_us_is_listed_and_adopted_only_when_asked() -> None:
    for adopt in (False, True):
        s = stage(warm=False, adopt=adopt)
        s.exchanges["binance"].positions["BTCUSDT"] = 3
        s.run(4 * SECOND)
        widen(s)
        s.run(1 * SECOND)
        world = s.engine.world
        if adopt:
            assert not world.differences
            assert s.state(R1) == "active"
        else:
            assert world.differences["bin"].exchange_lots == 3
            assert s.sent == []


def test_an_open_order_that_is_not_ours_is_listed() -> None:
    s = stage()
    picture = s.exchanges["binance"].picture(s.t)
    view = OrderView(
        cid="web_1", exchange_id="1", symbol="BTCUSDT", side="buy", lots=1, filled_lots=0,
        status="open",
    )  # fmt: skip
    picture.open_orders = (view,)
    s.push(picture)
    s.run(1)
    assert list(s.engine.world.foreign_orders) == ["web_1"]


def test_no_repair_or_close_ever_counts_as_an_entry() -> None:
    s = holding(amount=2)
    s.quote("bin", 60_700.0, 60_700.1)
    s.run(1 * SECOND)
    assert len(s.engine.desk.gate.entries) == 2
    assert [i.purpose for i in s.sent].count(Purpose.ENTRY) == 2


def test_the_operator_can_close_a_named_trade_while_he_keeps_the_rest() -> None:
    s = holding()
    s.push(Operator(command="halt", who="me"))
    s.push(Operator(command="flatten", rule=R1, who="me"))
    s.run(1 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert s.engine.desk.limits.mode is Mode.KEPT


def test_a_slow_picture_taken_before_a_fill_is_no_difference() -> None:
    s = holding()
    s.run(2 * SECOND)
    old = s.exchanges["binance"].picture(s.t)
    s.push(Operator(command="flatten", rule=R1, who="me"))
    s.run(3 * SECOND)
    assert s.truth("bin") == 0
    s.push(old)
    s.run(3 * SECOND)
    assert states(s) == []


def test_somebody_elses_hand_on_the_leverage_is_told() -> None:
    s = stage()
    s.push(External(exchange="binance", what="leverage", market="bin", amount=20.0))
    s.run(1)
    assert ["leverage" in n.text for n in s.commands(Notify)] == [True]
