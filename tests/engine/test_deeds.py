"""The verb `do`: when it fires, what each command does; `reduce` keeps the legs matched."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.engine.commands import Cancel, Notify, OrderType, Purpose, Record, RunState, Topic
from runner.engine.deeds import targets
from runner.engine.events import Account, Host, Operator, Readiness, Ready
from runner.engine.limits import Mode
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from tests.engine.test_restart import journal
from tests.engine.written import SPREAD, R, narrow, plan_of, play, ready, widen

HOLD = SPREAD.replace("until: gap(bin.ask, byb.bid) < 5bps", "until: gap(bin.ask, byb.bid) < 1bps")
USED = "account.binance.margin_used"


def guard(do: str, more: str = "", when: str = f"{USED} > 50%") -> str:
    return f"  guard:\n    when: {when}\n    do: [{do}]\n{more}"


def used(s: Scenario, share: float) -> None:
    """The exchange tells how much of its margin is used."""
    s.push(Account(exchange="binance", balances=(), positions=(), margin_used=share))
    s.run(1 * MS)


def notes(s: Scenario) -> list[str]:
    return [n.text for n in s.commands(Notify) if n.topic is Topic.NOTE]


def did(s: Scenario) -> list[tuple[object, object]]:
    return [(r.fields["what"], r.fields["text"]) for r in s.commands(Record) if r.kind == "did"]


def held(s: Scenario) -> tuple[int, int]:
    return s.truth("bin"), s.truth("byb")


def holding(do: str, more: str = "", rules: str = HOLD, **options: str) -> Scenario:
    s = ready(rules + guard(do, more), **options)
    widen(s)
    s.run(50 * MS)
    assert s.state(R) == "active" and held(s) == (-8, 8)
    return s


def test_a_text_has_the_values_of_the_moment_and_says_what_is_missing() -> None:
    rules = HOLD + guard('{notify: "used {account.binance.margin_used} day {pnl.day} {bin.mid}"}')
    s = ready(rules)
    used(s, 0.53)
    assert notes(s) == ["used 53% day 0 USDT 60000.05"]
    assert [n.level for n in s.commands(Notify)] == ["page"]
    s = ready(
        HOLD + guard('{notify: "used {account.bybit.margin_used}"}', when="bin.mid > byb.mid")
    )
    assert notes(s) == ["used missing"]


def test_it_fires_once_and_again_after_a_definite_false() -> None:
    s = ready(HOLD + guard('{notify: "a"}'))
    for share, told in ((0.4, 0), (0.6, 1), (0.7, 1), (0.4, 1), (0.6, 2)):
        used(s, share)
        s.run(1 * SECOND)
        assert len(notes(s)) == told


def test_rearm_level_fires_after_each_cooldown() -> None:
    s = ready(HOLD + guard('{notify: "a"}', "    cooldown: 10s\n    rearm: level\n"))
    used(s, 0.6)
    s.run(35 * SECOND)
    assert len(notes(s)) == 4
    used(s, 0.4)
    s.run(35 * SECOND)
    assert len(notes(s)) == 4


def test_for_holds_it_back_and_a_flicker_starts_it_anew() -> None:
    s = ready(HOLD + guard('{notify: "a"}', "    for: 2s\n"))
    used(s, 0.6)
    s.run(1900 * MS)
    used(s, 0.4)
    used(s, 0.6)
    s.run(1900 * MS)
    assert notes(s) == []
    s.run(200 * MS)
    assert len(notes(s)) == 1


def test_missing_fires_nothing_and_once_is_once() -> None:
    s = ready(HOLD + guard('{notify: "a"}', when="account.bybit.margin_used > 50%"))
    s.run(5 * SECOND)
    assert notes(s) == []
    s = ready(HOLD + guard('{notify: "a"}', "    once: true\n"))
    for share in (0.6, 0.4, 0.6):
        used(s, share)
    assert len(notes(s)) == 1 and s.state("guard") == "done"


def test_firing_too_often_disables_it() -> None:
    s = ready(HOLD + guard('{notify: "a"}', "    max_firings: {count: 3, per: 1m}\n"))
    for _ in range(6):
        used(s, 0.6)
        used(s, 0.4)
    assert len(notes(s)) == 3
    assert s.state("guard") == "disabled"


def test_it_does_not_act_again_after_a_restart() -> None:
    s = ready(HOLD + guard('{notify: "a"}'))
    used(s, 0.6)
    new = play(s.plan, restored=journal(s), run_id="run0000002").run(4 * SECOND)
    used(new, 0.6)
    new.run(2 * SECOND)
    assert notes(new) == []
    used(new, 0.4)
    used(new, 0.6)
    assert len(notes(new)) == 1


# -- reduce


def test_reduce_closes_a_share_of_both_legs_together_and_the_trade_goes_on() -> None:
    s = holding("{reduce: {rule: spread, by: 25%}}")
    before = len(s.sent)
    used(s, 0.6)
    closing = s.sent[before:]
    assert [(i.market, i.lots, i.purpose, i.reduce_only) for i in closing] == [
        ("bin", 2, Purpose.CLOSE, True),
        ("byb", 2, Purpose.CLOSE, True),
    ]
    s.run(1 * SECOND)
    assert held(s) == (-6, 6)
    assert s.state(R) == "active" and s.engine.trade_cells[R].active
    assert not [r for r in s.commands(Record) if r.kind == "trade"]
    narrow(s)
    s.run(1 * SECOND)
    assert held(s) == (0, 0), "`until` closes the rest"
    (trade,) = [r for r in s.commands(Record) if r.kind == "trade"]
    assert trade.fields["reason"] == "until"


def test_reducing_again_and_again_takes_a_share_of_what_is_left() -> None:
    s = holding("{reduce: {rule: spread, by: 50%}}", "    cooldown: 2s\n    rearm: level\n")
    used(s, 0.9)
    s.run(1 * SECOND)
    sizes = [held(s)]
    for _ in range(4):
        s.run(2 * SECOND)
        sizes.append(held(s))
    assert sizes == [(-4, 4), (-2, 2), (-1, 1), (-1, 1), (-1, 1)]
    assert any("less than a lot" in str(text) for _, text in did(s))


@pytest.mark.parametrize("fate", [Fate.PARTIAL, Fate.REJECTED, Fate.NOTHING, Fate.LATE, Fate.LOST])
def test_whatever_becomes_of_its_orders_the_legs_end_matched(fate: Fate) -> None:
    s = holding("{reduce: {rule: spread, by: 50%}}")
    s.exchanges["bybit"].fates["byb"] = deque([fate])
    used(s, 0.6)
    s.run(20 * SECOND)
    assert held(s) == (-4, 4)
    assert s.state(R) == "active"


def test_a_stop_a_halt_and_a_flatten_make_it_a_close_of_all() -> None:
    stopped = HOLD.replace("close: {", "stop: {loss: 3 USDT}\n      close: {")
    for end in ("stop", "until", "flatten", "halt", "max_hold"):
        rules = stopped.replace("cooldown:", "max_hold: 3s\n    cooldown:")
        s = holding(
            "{reduce: {rule: spread, by: 50%}}", rules=rules if end == "max_hold" else stopped
        )
        s.push(Ready(exchange="bybit", state=Readiness.DOWN, reason="away"))
        s.run(10 * MS)
        used(s, 0.6)
        s.run(500 * MS)
        assert s.state(R) == "leaving" and held(s) == (-8, 8), "the partner cannot: nothing is cut"
        if end == "stop":
            widen(s, 0.0105)
        elif end == "until":
            narrow(s)
        elif end == "max_hold":
            s.run(3 * SECOND)
        elif end == "flatten":
            s.push(Operator(command="flatten", rule=R))
        else:
            s.engine.desk.limits.add("test", Mode.HALTED, "test", "test")
        s.run(200 * MS)
        s.push(Ready(exchange="bybit", state=Readiness.READY))
        s.run(3 * SECOND)
        assert held(s) == (0, 0), end


def test_a_reduce_goes_on_after_a_restart() -> None:
    s = holding("{reduce: {rule: spread, by: 50%}}")
    for exchange in s.exchanges.values():
        exchange.default = Fate.NOTHING
    used(s, 0.6)
    s.run(100 * MS)
    assert s.state(R) == "leaving"
    new = play(s.plan, restored=journal(s), run_id="run0000002")
    new.wall_at_zero = s.wall_at_zero + s.t + SECOND
    for name, exchange in new.exchanges.items():
        before = s.exchanges[name]
        exchange.orders, exchange.positions = before.orders, before.positions
        exchange._count = before._count
    new.quotes.update(s.quotes)
    new.run(6 * SECOND)
    assert held(new) == (-4, 4) and new.state(R) == "active"
    narrow(new)
    new.run(1 * SECOND)
    assert held(new) == (0, 0)


def test_nothing_is_reduced_under_the_operators_halt_and_all_waits() -> None:
    s = holding('{reduce: {rule: spread, by: 50%}}, {notify: "a"}')
    s.push(Operator(command="halt", who="me"))
    s.run(1 * MS)
    used(s, 0.6)
    s.run(2 * SECOND)
    assert held(s) == (-8, 8) and notes(s) == []
    assert s.engine.funnels["guard"].refusals["halted"] >= 1
    s.push(Operator(command="resume", who="me"))
    s.run(1 * SECOND)
    assert held(s) == (-4, 4) and notes(s) == ["a"]


def test_a_pause_lets_it_reduce() -> None:
    s = holding("{reduce: {market: byb, by: 50%}}")
    s.push(Host(fault="loop", text="slow"))
    used(s, 0.6)
    s.run(1 * SECOND)
    assert s.engine.desk.limits.mode is Mode.PAUSED
    assert held(s) == (-4, 4)


def test_without_a_trade_there_is_nothing_to_reduce() -> None:
    s = ready(HOLD + guard("{reduce: {rule: spread, by: 50%}}"))
    used(s, 0.6)
    assert did(s) == [("reduce", "nothing to reduce")]


# -- the others


def test_flatten_closes_a_rules_trade_and_it_waits_for_a_false() -> None:
    s = holding("{flatten: {rule: spread}}")
    used(s, 0.6)
    s.run(3 * SECOND)
    assert held(s) == (0, 0) and s.state(R) == "idle"
    assert s.engine.desk.limits.mode is Mode.ACTIVE
    narrow(s)
    s.run(100 * MS)
    widen(s)
    s.run(100 * MS)
    assert held(s) == (-8, 8)


def test_flatten_all_closes_and_stays_halted() -> None:
    s = holding("{flatten: all}")
    used(s, 0.6)
    s.run(1 * SECOND)
    assert held(s) == (0, 0)
    assert [(c.state, c.code) for c in s.commands(RunState)] == [("flattened", "flatten")]


def test_halt_keeps_positions_and_outlives_the_process() -> None:
    s = holding("{halt: the world ended}")
    used(s, 0.6)
    s.run(1 * SECOND)
    assert held(s) == (-8, 8)
    assert s.engine.desk.limits.mode is Mode.KEPT
    assert s.engine.desk.limits.reason == "the world ended"
    new = play(s.plan, restored=journal(s), run_id="run0000002").run(1 * SECOND)
    assert new.engine.desk.limits.mode is Mode.KEPT


def test_cancel_ends_working_entries_of_its_subject_alone() -> None:
    rests = """\
  rest:
    when: gap(bin.bid, byb.ask) > 30bps
    cooldown: 1h
    order: {market: bin, side: sell, size: 0.008 BTC, type: limit, tif: gtc, price: bin.ask * 2}
"""
    for subject, cancelled in (("{rule: rest}", 1), ("{market: byb}", 0), ("all", 1)):
        s = ready(rests + guard(f"{{cancel: {subject}}}"))
        s.exchanges["binance"].default = Fate.REST
        widen(s)
        s.run(50 * MS)
        used(s, 0.6)
        s.run(100 * MS)
        assert len(s.commands(Cancel)) == cancelled, subject


def test_a_freeze_lets_only_words_out() -> None:
    s = holding('{notify: "a"}', rules=HOLD + "  other:\n    when: bin.mid > 0 * bin.mid\n"
                "    do: [{reduce: {rule: spread, by: 50%}}]\n")  # fmt: skip
    s.run(2 * SECOND)
    s.engine.desk.limits.add("test", Mode.FROZEN, "test", "test")
    count = len(s.sent)
    used(s, 0.6)
    s.run(2 * SECOND)
    assert notes(s) == ["a"]
    assert len(s.sent) == count


# -- properties


@settings(max_examples=200, deadline=None)
@given(
    planned=st.lists(st.integers(1, 500), min_size=1, max_size=3),
    held=st.floats(0.05, 1.0),
    by=st.floats(0.01, 0.99),
)
def test_targets_never_take_more_than_the_share_of_the_coarsest_leg(
    planned: list[int], held: float, by: float
) -> None:
    class Leg:
        def __init__(self, lots: int) -> None:
            self.planned, self.filled = lots, max(1, round(lots * held))
            self.share = self.filled / lots

    legs = [Leg(lots) for lots in planned]
    left = targets(SimpleNamespace(legs=legs), by)  # type: ignore[arg-type]
    coarse = min(range(len(legs)), key=lambda i: legs[i].planned)
    least = min(leg.share for leg in legs)
    assert legs[coarse].planned * least * (1 - by) - 1e-6 <= left[coarse]
    for leg, lots in zip(legs, left, strict=True):
        assert 0 <= lots <= leg.filled
        ratio = left[coarse] / legs[coarse].planned
        assert lots == leg.filled or abs(lots - ratio * leg.planned) <= 0.5 + 1e-9


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fates=st.lists(
        st.sampled_from([Fate.FILLED, Fate.PARTIAL, Fate.REJECTED, Fate.NOTHING, Fate.LATE]),
        max_size=6,
    ),
    by=st.sampled_from(["10%", "25%", "50%", "80%"]),
)
def test_a_reduce_never_ends_with_a_larger_net_exposure(fates: list[Fate], by: str) -> None:
    s = holding(f"{{reduce: {{rule: spread, by: {by}}}}}")
    s.exchanges["bybit"].fates["byb"] = deque(fates)
    used(s, 0.6)
    s.run(60 * SECOND)
    assert s.net("BTC") == 0
    low, high = held(s)
    assert -8 <= low <= 0 <= high <= 8
    assert all(i.type is OrderType.LIMIT or i.reduce_only for i in s.sent)


CARRY_HEAD = """\
version: 1
name: written
exchanges:
  spot: {type: binance_spot, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
  binance: {type: binance_usdm, network: testnet, auth: {key: {env: A}, secret: {env: B}}}
markets:
  bin: {exchange: spot, symbol: BTCUSDT, streams: {book: {max_age: 250ms}}}
  byb: {exchange: binance, symbol: BTCUSDT, streams: {book: {max_age: 250ms}}}
"""
CARRY = """\
  carry:
    when: byb.bid > bin.ask
    until: byb.ask < bin.bid
    max_skew: 100ms
    trade:
      size: 0.0155 BTC
      legs:
        - {market: bin, side: buy, weight: 1, order: {type: limit, tif: ioc, collar: 1bps}}
        - {market: byb, side: sell, weight: 1, order: {type: limit, tif: ioc, collar: 1bps}}
      hedge: {policy: together, max_gap: 0.004 BTC, repair_within: 2s, worst: 15bps}
      close: {tif: ioc, collar: 2bps, worst: 30bps, then: hold}
"""


@pytest.mark.parametrize(("by", "perp"), [("25%", 12), ("50%", 8), ("10%", 14)])
def test_a_spot_leg_is_reduced_in_step_with_the_lots_of_its_perpetual(by: str, perp: int) -> None:
    rules = CARRY + guard(f"{{reduce: {{rule: carry, by: {by}}}}}")
    plan = plan_of(rules, head=CARRY_HEAD)
    s = play(plan)
    s.exchanges["spot"].free_base = {"BTC": 1.0}
    s.run(4 * SECOND)
    s.quote("byb", 60_100.0, 60_100.1)
    s.run(100 * MS)
    assert s.state("carry") == "active"
    before = s.truth("bin"), s.truth("byb")
    assert before[1] == -15 and before[0] > 1400
    used(s, 0.6)
    s.run(1 * SECOND)
    assert s.state("carry") == "active"
    assert s.truth("byb") == -perp
    assert s.truth("bin") / before[0] == pytest.approx(perp / 15, abs=2e-3)
    s.quote("byb", 59_000.0, 59_000.1)
    s.run(2 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
