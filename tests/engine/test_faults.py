"""Random runs with faults of every kind: the invariants of section K hold, and it ends in peace."""

from __future__ import annotations

from random import Random

import pytest

from runner.base.rng import seeded
from runner.engine.commands import Notify, Purpose, Send
from runner.engine.events import Operator
from runner.engine.limits import Mode
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from tests.engine.stage import R1, R2, Knobs, arb_plan, narrow, rule, stage
from tests.engine.test_legs import MAX_GAP

FATES = [*Fate]
FATES.remove(Fate.REST)  # these orders never rest


def plan_of(rng: Random):  # type: ignore[no-untyped-def]
    close = {"then": rng.choice(["hold", "market"]), "worst": rng.choice([0.001, 0.002, 0.01])}
    hedge = {
        "repair": rng.choice(["cheaper", "complete", "unwind"]),
        "on_failure": rng.choice(["keep", "flatten"]),
    }
    hold = rng.choice([None, 5 * SECOND])
    one = rule(R1, (Side.SELL, Side.BUY), close=close, hedge=hedge, max_hold_ns=hold)
    two = rule(R2, (Side.BUY, Side.SELL), close=close, hedge=hedge, max_hold_ns=hold)
    return arb_plan(one, two, max_daily_loss=None)


def hurt(s: Scenario, rng: Random) -> None:
    """Let something happen."""
    exchange = s.exchanges[rng.choice(["binance", "bybit"])]
    what = rng.random()
    if what < 0.55:
        base = 60_000.0 + rng.gauss(0, 60)
        s.quote("bin", base + rng.choice([0, 0, 250, -250]), base + 0.1 + rng.choice([0, 250, 260]))
        s.quote("byb", base, base + 0.1)
        bid, ask = s.quotes["bin"]
        s.quote("bin", bid, max(ask, bid + 0.1))
    elif what < 0.7:
        exchange.default = rng.choice(FATES)
    elif what < 0.8:
        exchange.default = Fate.FILLED
    elif what < 0.86:
        s.frozen ^= {rng.choice(["bin", "byb"])}
    elif what < 0.92 and exchange.answers:
        exchange.go_down()
        s.after(int(rng.uniform(0.1, 6) * SECOND), exchange.come_up)
    elif what < 0.95:
        s.push(Operator(command=rng.choice(["halt", "resume", "resume", "flatten"]), who="dice"))
    elif what < 0.97:
        s.push(Operator(command="flatten", rule=rng.choice([R1, R2]), who="dice"))
    else:
        s.push(exchange.picture(s.t))


class Law:
    """What must hold after every event."""

    def __init__(self, s: Scenario) -> None:
        self.s = s
        self.sends = 0
        self.apart_since = -1

    def reported(self) -> None:
        """I-13: net exposure over the gap for longer than T is never silent."""
        s = self.s
        if abs(s.net("BTC")) <= MAX_GAP + 1e-9:
            self.apart_since = -1
            return
        if self.apart_since < 0:
            self.apart_since = s.t
        if s.t - self.apart_since > 3200 * MS and s.engine.desk.limits.mode is Mode.ACTIVE:
            pages = [t for t, c in s.log if isinstance(c, Notify) and c.level == "page"]
            assert any(t >= self.apart_since for t in pages), "I-13"

    def __call__(self) -> None:
        self.reported()
        desk = self.s.engine.desk
        for run in desk.rules.runs.values():
            for leg in run.trade.legs if run.trade is not None else ():
                more = sum(
                    o.open_lots
                    for o in desk.orders.working(leg.market, leg.side)
                    if o.intent.rule == run.plan.name and o.intent.purpose is not Purpose.CLOSE
                )
                assert leg.filled + more <= leg.planned, "I-20"
        for market in ("bin", "byb"):
            assert abs(self.s.truth(market)) <= 20, "I-1: max_position"
        sends = self.s.commands(Send)
        for send in sends[self.sends :]:
            for approved in send.orders:
                intent = approved.intent
                if intent.purpose is Purpose.ENTRY:
                    assert desk.limits.mode is Mode.ACTIVE, "I-10, I-16"
                    assert all(age <= 250 * MS for _, _, age in intent.refs), "I-2"
        self.sends = len(sends)


def play(seed: int) -> None:
    rng = seeded("faults", seed)
    plan = plan_of(rng)
    s = stage(plan, Knobs(), tick_every=100 * MS)
    s.watchers.append(Law(s))
    for _ in range(60):
        hurt(s, rng)
        s.run(int(rng.expovariate(2.0) * SECOND))
    heal(s)
    cids = [i.cid for i in s.sent]
    assert len(cids) == len(set(cids)), "I-3"
    assert not s.engine.desk.orders.open, f"seed {seed}: {s.engine.desk.orders.open}"
    for market in ("bin", "byb"):
        assert s.lots(market) == s.truth(market), f"seed {seed}: I-5 on {market}"
    assert abs(s.net("BTC")) <= MAX_GAP + 1e-9, f"seed {seed}: I-13, net {s.net('BTC')}"
    for run in s.engine.desk.rules.runs.values():
        assert run.state.value not in ("entering", "leaving", "pending"), f"seed {seed}"


def heal(s: Scenario) -> None:
    """All faults off, the operator resumes, everything is closed: within a minute all is well."""
    s.frozen.clear()
    narrow(s)
    for exchange in s.exchanges.values():
        exchange.default = Fate.FILLED
        exchange.fates.clear()
        if not exchange.answers:
            exchange.come_up()
    s.push(Operator(command="resume", who="healer"))
    s.run(45 * SECOND)
    s.push(Operator(command="resume", who="healer"))
    for name in (R1, R2):
        s.push(Operator(command="flatten", rule=name, who="healer"))
    s.run(30 * SECOND)


@pytest.mark.parametrize("seed", range(60))
def test_a_run_with_faults_ends_in_peace(seed: int) -> None:
    play(seed)


@pytest.mark.campaign
def test_ten_thousand_runs_with_faults_end_in_peace() -> None:
    for seed in range(10_000):
        play(seed)
