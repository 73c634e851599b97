"""One test on its stage: the engine, the paper exchanges and a journal in memory, in virtual time.

The parts are those of a dry-run over a recording: the same engine, host and driver, the same paper
exchange with its fees, filters and account; orders pass the gate and the journal. Only what the
market does comes from the file, and orders travel as `fills` says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from runner.app.driver import Driver
from runner.app.host import Host, Observer
from runner.app.paper import PaperDesk, book_views
from runner.app.trial.feed import RUN_ID, Timeline
from runner.app.trial.past import past_of
from runner.base.clock import NS_PER_MS
from runner.engine import build
from runner.engine.commands import Command
from runner.engine.core import Engine
from runner.engine.events import ClockReading, Event, Facts, Readiness, Ready, Reconciled
from runner.exchanges.paper import Latency, LatencyModel
from runner.exchanges.paper.orders import Behaviour
from runner.market.instruments import Kind
from runner.market.state import MarketState
from runner.spec.plan import Plan
from runner.spec.trial_plan import FillPlan, TrialPlan
from runner.store.journal import Journal

WAY: Final = LatencyModel(Latency.constant(5 * NS_PER_MS), Latency.constant(5 * NS_PER_MS))
"""how long an order travels where `fills` does not say, and its answer: always the same"""


class Stage:
    """Everything of one test's run."""

    def __init__(self, plan: Plan, trial: TrialPlan) -> None:
        self.plan = plan
        self.trial = trial
        self.market = MarketState(build.wants(plan))
        self.engine = Engine(plan, build.compiled(plan), self.market, RUN_ID)
        self.timeline = Timeline(plan, trial)
        instruments = {name: each.instrument for name, each in plan.markets.items()}
        self.desk = PaperDesk(
            plan,
            instruments,
            book_views(plan, self.market.streams),
            RUN_ID,
            balance=trial.balance,
            latency=dict.fromkeys(plan.exchanges, WAY),
            script=_script(trial.fills),
        )
        self.journal = Journal.in_memory()
        self.between: list[Callable[[], None]] = []
        """called after each event, while what exists for its instant alone is still there"""
        self.host: Host
        self.driver: Driver

    def run(self, observers: Sequence[Observer], checks: Sequence[Check]) -> None:
        """Play the test; each check is made at its time, after all that happens until then.

        Checks are in the order of time; the run ends with the first that fails.
        """
        engine = _Prompt(self.engine, self.between)
        self.host = Host(engine, self.desk, self.journal, observers=observers)
        self.driver = Driver(self.host, self.desk, virtual=True)
        try:
            self._begin()
            self._play(list(checks))
        finally:
            self.journal.close()

    def held(self, market: str) -> tuple[float, float]:
        """Return what the strategy believes to hold of a market, and what the exchange says.

        In the base asset. On spot the balance is not the position: there the ledger speaks alone.
        """
        plan = self.plan.markets[market]
        lots = self.engine.desk.ledgers.lots(market)
        if plan.instrument.kind is Kind.SPOT:
            return (lots * plan.instrument.lot_base_f,) * 2
        account = self.desk.exchanges[plan.exchange].venue.account
        truth = account.position(plan.symbol)
        return lots * plan.instrument.lot_base_f, truth * plan.instrument.lot_base_f

    def advance(self, t: int) -> None:
        """Let time pass."""
        self.driver.advance(t, self.trial.starts_ns + t)

    def _begin(self) -> None:
        """Tell what stands before the first tick: the venue's facts, clock, account, readiness."""
        wall = self.trial.starts_ns
        for name in self.plan.exchanges:
            account = self.desk.exchanges[name].snapshot(0)
            first: list[Event] = [
                Facts(exchange=name, instruments=build.catalogue_facts(self.plan, name)),
                ClockReading(exchange=name, offset=0, uncertainty=0),
                Reconciled(exchange=name, open_orders=(), fills=(), account=account),
                Ready(exchange=name, state=Readiness.READY),
            ]
            for event in first:
                event.t, event.wall = 0, wall
                self.host.feed(event)
        for event in past_of(self.plan, self.trial):
            self.driver.feed(event)

    def _play(self, checks: list[Check]) -> None:
        for t, events in self.timeline.reads():
            while checks and checks[0].t < t:
                if not self._check(checks.pop(0)):
                    return
            self.advance(t)
            for event in events:
                self.driver.feed(event)
        for check in checks:
            if not self._check(check):
                return

    def _check(self, check: Check) -> bool:
        self.advance(check.t)
        return check.look()


class _Prompt:
    """The engine as the host of a test sees it: what could wait comes at once, with its event."""

    def __init__(self, engine: Engine, between: Sequence[Callable[[], None]]) -> None:
        self._engine = engine
        self._between = between
        self.later = engine.later
        self.lasting = engine.lasting

    @property
    def due(self) -> int:
        return self._engine.due

    def handle(self, event: Event) -> Sequence[Command]:
        commands = self._engine.handle(event)
        for look in self._between:
            look()
        return [*commands, *self._engine.later()]


class Check(ABC):
    """Something to look at in a test, at a time."""

    t: int

    @abstractmethod
    def look(self) -> bool:
        """Look; return whether the test goes on."""


def _script(
    fills: Mapping[str, FillPlan | tuple[FillPlan, ...]],
) -> dict[str, Behaviour | Sequence[Behaviour]]:
    return {
        market: [_behaviour(each) for each in fate] if isinstance(fate, tuple) else _behaviour(fate)
        for market, fate in fills.items()
    }


def _behaviour(fill: FillPlan) -> Behaviour:
    return Behaviour(fill.after_ns, fill.ratio, fill.reject, fill.lose_reply)
