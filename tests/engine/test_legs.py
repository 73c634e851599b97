"""R-30: whatever becomes of the two legs of an entry, they end matched or told, never silent."""

from __future__ import annotations

from collections import deque
from itertools import product

import pytest

from runner.engine.commands import Notify, Purpose, RunState, Topic
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from tests.engine.stage import PAIR, R1, arb_plan, rule, stage, widen

FATES = (Fate.FILLED, Fate.PARTIAL, Fate.REJECTED, Fate.UNKNOWN, Fate.LATE, Fate.DOWN)
AWAY = frozenset({Topic.MARKET, Topic.AUTH})
"""what pages of exchanges that are away are of"""
MAX_GAP = 0.002
REPAIR_WITHIN = 2 * SECOND


class Watch:
    """The invariants of one run, looked at after every event."""

    def __init__(self, s: Scenario) -> None:
        self.s = s
        self.apart_since = -1
        self.longest = 0
        self.before: dict[int, float] = {}
        s.watchers.append(self)

    def __call__(self) -> None:
        self.parent_budget()
        self.exposure()
        self.no_pass_widens()

    def parent_budget(self) -> None:
        """I-20: what a leg has and may still get never exceeds what it was sized to."""
        for run in self.s.engine.desk.rules.runs.values():
            for leg in run.trade.legs if run.trade is not None else ():
                more = sum(
                    o.open_lots
                    for o in self.s.engine.desk.orders.working(leg.market, leg.side)
                    if o.intent.rule == run.plan.name and o.intent.purpose is not Purpose.CLOSE
                )
                assert leg.filled + more <= leg.planned

    def exposure(self) -> None:
        """I-13: true net exposure above the gap ends within T, or the run is reducing and told."""
        apart = abs(self.s.net("BTC")) > MAX_GAP + 1e-9
        if not apart:
            self.apart_since = -1
            return
        if self.apart_since < 0:
            self.apart_since = self.s.t
        self.longest = max(self.longest, self.s.t - self.apart_since)
        if self.s.t - self.apart_since > REPAIR_WITHIN + 1100 * MS:
            assert self.s.engine.desk.limits.mode != "active"
            assert any(n.level == "page" and n.topic not in AWAY for n in self.s.commands(Notify))

    def no_pass_widens(self) -> None:
        """I-21: when nothing is in flight, no repair or close has left a larger net than before."""
        desk = self.s.engine.desk
        if desk.orders.open:
            return
        net = abs(sum(x.lots * desk.instruments[x.market].lot_base_f for x in desk.ledgers))
        last = self.before.get(0)
        repaired = any(i.purpose is not Purpose.ENTRY for i in self.s.sent)
        if last is not None and repaired:
            assert net <= max(last, MAX_GAP) + 1e-9
        if self.s.sent:
            self.before[0] = net


def play(first: Fate, second: Fate) -> tuple[Scenario, Watch]:
    s = stage()
    watch = Watch(s)
    s.exchanges["binance"].fates["bin"] = deque([first])
    s.exchanges["bybit"].fates["byb"] = deque([second])
    widen(s)
    s.run(1 * MS)
    assert [i.purpose for i in s.sent] == [Purpose.ENTRY] * 2
    s.engine.desk.rules.runs[R1].program.when.test = lambda _now: False  # type: ignore[attr-defined]
    s.run(40 * SECOND)
    return s, watch


@pytest.mark.parametrize(("first", "second"), list(product(FATES, FATES)))
def test_every_pair_of_outcomes_ends_matched_and_known(first: Fate, second: Fate) -> None:
    s, watch = play(first, second)
    assert not s.engine.desk.orders.open, "an order is still in doubt"
    for market in ("bin", "byb"):
        assert s.lots(market) == s.truth(market), f"{market}: engine and exchange differ"
    assert abs(s.net("BTC")) <= MAX_GAP + 1e-9
    assert s.state(R1) in ("active", "idle", "cooldown", "disabled")
    assert s.engine.desk.limits.mode == "active"
    if s.state(R1) == "active":
        assert s.lots("bin") != 0
    else:
        assert s.lots("bin") == s.lots("byb") == 0
    slow = {Fate.UNKNOWN, Fate.LATE, Fate.DOWN}
    if not slow & {first, second}:
        assert watch.longest <= 50 * MS


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.NOTHING])
def test_a_leg_that_never_arrived_or_missed_its_price_is_trimmed_or_completed(fate: Fate) -> None:
    s, _ = play(Fate.FILLED, fate)
    assert not s.engine.desk.orders.open
    assert abs(s.net("BTC")) <= MAX_GAP
    assert (s.lots("bin"), s.lots("byb")) == (s.truth("bin"), s.truth("byb"))


def test_a_leg_in_doubt_beyond_repair_within_makes_the_run_reducing_and_tells_both_exposures() -> (
    None
):
    s = stage()
    s.exchanges["bybit"].fates["byb"] = deque([Fate.LOST])
    s.exchanges["bybit"].query = lambda command: None  # type: ignore[method-assign]
    widen(s)
    s.run(5 * SECOND)
    assert s.state(R1) == "entering"
    assert s.engine.desk.limits.mode == "reducing"
    (page,) = [n for n in s.commands(Notify) if n.level == "page"]
    assert "byb 0 BTC or bin -0.008 BTC, byb 0.008 BTC" in page.text
    assert [r.state for r in s.commands(RunState)] == ["reducing"]
    assert len(s.sent) == 2, "nothing is sent while an order is in doubt"


def test_a_last_try_in_flight_when_the_time_to_repair_is_over_is_told_once_it_is_in_doubt() -> None:
    s = stage(arb_plan(rule(R1, PAIR, hedge={"repair": "complete"})))
    s.exchanges["bybit"].fates["byb"] = deque([Fate.NOTHING] * 18 + [Fate.LATE])
    s.exchanges["bybit"].query = lambda command: None  # type: ignore[method-assign]
    widen(s)
    s.run(REPAIR_WITHIN + 100 * MS)
    assert len(s.sent) == 20 and len(s.engine.desk.orders.open) == 1, "in flight, not in doubt"
    assert s.engine.desk.limits.mode == "active" and not s.commands(Notify)
    s.run(1 * SECOND)
    (page,) = [n for n in s.commands(Notify) if n.level == "page"]
    assert "not known after 2000ms" in page.text
    assert s.engine.desk.limits.mode == "reducing"


def test_both_legs_rejected_rest_and_three_in_a_row_disable_the_rule() -> None:
    s = stage()
    for exchange in s.exchanges.values():
        exchange.default = Fate.REJECTED
    widen(s)
    s.run(20 * MS)
    assert s.state(R1) == "cooldown"
    s.run(10 * SECOND)
    assert s.state(R1) == "disabled"
    assert len(s.sent) == 6
    assert s.engine.funnels[R1].rejected == 3


def test_nothing_filled_is_not_a_failure() -> None:
    s = stage()
    for exchange in s.exchanges.values():
        exchange.default = Fate.NOTHING
    widen(s)
    s.run(20 * MS)
    assert s.state(R1) == "cooldown"
    assert s.engine.funnels[R1].no_fill == 1
    s.run(2 * SECOND)
    assert len(s.sent) == 4, "it stays armed and enters again after its cooldown"


def test_after_an_unwound_entry_the_rule_waits_for_a_definite_false() -> None:
    s = stage()
    s.exchanges["bybit"].fates["byb"] = deque([Fate.REJECTED])
    s.exchanges["bybit"].default = Fate.REJECTED
    widen(s)
    s.run(10 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert s.state(R1) == "idle"
    funnel = s.engine.funnels[R1]
    assert (funnel.entries, funnel.no_fill, funnel.undone) == (0, 0, 1)
    entries = [i for i in s.sent if i.purpose is Purpose.ENTRY]
    assert len(entries) == 2, "the gap is still there, but the rule is not armed"
