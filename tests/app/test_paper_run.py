"""A whole dry-run in virtual time: engine, host, driver, paper exchanges, report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from runner.app.assembly import facts_event
from runner.app.collector import Collector
from runner.app.decisions import DecisionLog
from runner.app.driver import Driver
from runner.app.host import Host
from runner.app.paper import PaperDesk, book_views
from runner.app.report import SIMULATED, Report, RunFacts, build_report
from runner.engine import proof
from runner.engine.build import catalogue_facts, wants
from runner.engine.core import Engine
from runner.engine.events import ClockReading, Depth, Event, Readiness, Ready, Reconciled
from runner.engine.proof import Approved, Journaled
from runner.exchanges.paper import REALISTIC, LatencyModel
from runner.market.state import MarketState
from tests.engine.stage import Knobs, arb_plan, builder

MS = 1_000_000
S = 1_000_000_000
WALL = 1_780_000_000 * S
STEP = 20 * MS


class Memory:
    """A journal that keeps nothing but the order of commits."""

    def __init__(self) -> None:
        self.commits = 0

    def commit(self, approved: Sequence[Approved]) -> list[Journaled]:
        self.commits += len(approved)
        return [proof._journaled(each) for each in approved]

    def record(self, *_: Any, **__: Any) -> None: ...

    def event(self, event: Event) -> None: ...

    def save(self, *_: Any, **__: Any) -> None: ...

    def claim(self, *_: Any, **__: Any) -> bool:
        return True


class DryRun:
    """The spread rule of the engine's tests on two books that are 40 bps apart now and then."""

    def __init__(self, seconds: int, run_id: str = "run0000001", latency: LatencyModel = REALISTIC):
        self.plan = plan = arb_plan()
        facts = {name: catalogue_facts(plan, name) for name in plan.exchanges}
        market = MarketState(wants(plan))
        self.engine = Engine(plan, builder(plan, Knobs()), market, run_id)
        instruments = {name: listed.instrument for name, listed in plan.markets.items()}
        books = book_views(plan, market.streams)
        self.collector = Collector(plan, instruments, books, market.streams)
        self.desk = PaperDesk(
            plan, instruments, books, run_id, latency=dict.fromkeys(plan.exchanges, latency)
        )
        self.lines: list[str] = []
        observers = (self.collector, DecisionLog(self.lines.append))
        host = Host(self.engine, self.desk, Memory(), observers=observers)
        self.driver = Driver(host, self.desk, virtual=True)
        self.start(facts)
        for i in range(seconds * S // STEP):
            self.quotes(i * STEP)
        self.end = seconds * S
        self.driver.advance(self.end, WALL + self.end)

    def feed(self, event: Event, t: int) -> None:
        event.t, event.wall = t, WALL + t
        self.driver.advance(t, WALL + t)
        self.driver.feed(event)

    def start(self, facts: Any) -> None:
        for name in self.plan.exchanges:
            self.feed(facts_event(name, facts[name], 0, WALL), 0)
            account = self.desk.exchanges[name].snapshot(0)
            picture = Reconciled(exchange=name, open_orders=(), fills=(), account=account)
            self.feed(picture, 0)
            self.feed(Ready(exchange=name, state=Readiness.READY), 0)

    def quotes(self, t: int) -> None:
        if t % (30 * S) == 0:
            for name in self.plan.exchanges:
                self.feed(ClockReading(exchange=name, offset=0, uncertainty=MS), t)
        wave = 60_000 + 20 * math.sin(t / S / 7)
        apart = 0.0045 if (t // (5 * S)) % 4 == 1 else 0.0
        for market, mid in (("bin", wave * (1 + apart)), ("byb", wave)):
            self.feed(depth(market, mid, t), t)

    def report(self) -> Report:
        self.collector.end(self.end, WALL + self.end)
        facts = RunFacts("dry-run", "run0000001", SIMULATED, dict.fromkeys(self.plan.exchanges, ""))
        funnels = self.engine.desk.traces.funnels
        return build_report(self.collector, facts, funnels, paper=self.desk)


def depth(market: str, mid: float, t: int) -> Depth:
    """A snapshot with ten levels a side, 0.1 BTC each, a dime apart."""
    best = round(mid, 1)
    return Depth(
        market=market,
        snapshot=True,
        bids=[(round(best - 0.1 * i, 1), 0.1) for i in range(1, 11)],
        asks=[(round(best + 0.1 * i, 1), 0.1) for i in range(1, 11)],
        last=t // MS + 1,
        ts=WALL + t - 2 * MS,
        conn=1,
    )


@pytest.fixture(scope="module")
def run() -> DryRun:
    return DryRun(62)


def test_the_strategy_opens_and_closes_pairs_on_paper(run: DryRun) -> None:
    report = run.report()
    rule = report.rules["sell_bin_buy_byb"]
    assert rule.entries == rule.exits == rule.trades == 3
    assert rule.fills >= 12 and float(rule.fees) > 0
    assert all(x.orders.sent == x.orders.accepted for x in report.exchanges.values())
    assert report.unaccounted == []


def test_the_report_agrees_with_the_accounts_and_with_the_engine(run: DryRun) -> None:
    report = run.report()
    net = Decimal(report.pnl.net)
    equity = sum(
        (x.venue.account.equity("USDT") - 10_000 for x in run.desk.exchanges.values()), Decimal(0)
    )
    assert not report.positions and abs(equity - net) <= Decimal("1e-8")
    ledgers = run.engine.desk.ledgers
    settled = sum(ledger.settled_pnl for ledger in ledgers)
    realised = sum(
        Decimal(r.realised) - Decimal(r.fees) + Decimal(r.funding) for r in report.rules.values()
    )
    assert abs(float(realised) - settled) < 1e-6


def test_the_same_run_decides_and_reports_the_same_again(run: DryRun) -> None:
    again = DryRun(62)
    assert again.lines == run.lines and len(run.lines) > 8
    assert again.report() == run.report()


def test_another_run_id_draws_other_delays_and_still_adds_up() -> None:
    report = DryRun(62, run_id="run0000002").report()
    assert report.unaccounted == []
    for rule in report.rules.values():
        parts = dict(rule.waterfall)
        net = Decimal(parts.pop("net"))
        assert abs(sum(map(Decimal, parts.values())) - net) <= Decimal("1e-8")
