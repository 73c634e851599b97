"""One run's parts, put together the same way in every mode.

What differs between dry-run, start, replay and bench is what is handed in: the clock, the order
side, where frames come from. From the plan to the host there is one way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from runner.app.collector import Collector
from runner.app.driver import Agenda, Driver
from runner.app.host import Host, JournalApi, Observer, Orders
from runner.app.paper import book_views
from runner.app.takeover import take_over
from runner.engine import build
from runner.engine.core import Engine
from runner.engine.events import Facts, InstrumentFacts
from runner.engine.saved import Saved
from runner.exchanges.paper.books import BookView
from runner.market.instruments import Instrument
from runner.market.state import MarketState
from runner.spec.plan import Plan
from runner.store.journal import Journal


@dataclass(slots=True)
class Parts:
    """Everything of a run but its clock and its sockets."""

    plan: Plan
    run_id: str
    market: MarketState
    engine: Engine
    instruments: dict[str, Instrument]
    """those in force: the exchange's word over the catalogue's"""
    books: Mapping[str, BookView]
    collector: Collector
    observers: list[Observer] = field(default_factory=list)


def assemble(
    plan: Plan,
    run_id: str,
    facts: Mapping[str, Sequence[InstrumentFacts]],
    *,
    restored: Saved | None = None,
    adopt: bool = False,
    watching: bool = True,
) -> Parts:
    """Build market state, engine and collector; `facts` by exchange (empty: the catalogue's).

    `watching` False leaves no traces: their cost is measured so.
    """
    market = MarketState(build.wants(plan, deep=True))
    engine = Engine(
        plan, build.compiled(plan), market, run_id, restored=restored, adopt=adopt,
        watching=watching,
    )  # fmt: skip
    instruments = {name: each.instrument for name, each in plan.markets.items()}
    for given in facts.values():
        for fact in given:
            instruments[fact.market] = build.with_facts(instruments[fact.market], fact)
    books = book_views(plan, market.streams)
    collector = Collector(plan, instruments, books, market.streams)
    if restored is not None:
        take_over(collector, restored)
    return Parts(plan, run_id, market, engine, instruments, books, collector, [collector])


def host_of(
    parts: Parts,
    orders: Orders,
    journal: JournalApi,
    *,
    agenda: Agenda | None = None,
    virtual: bool = False,
    resync: Callable[[object], None] | None = None,
    timed: bool = True,
    mono: Callable[[], int] | None = None,
) -> tuple[Host, Driver]:
    """Connect the parts to an order side and a journal."""
    host = Host(
        parts.engine,
        orders,
        journal,
        observers=parts.observers,
        resync=resync,
        stages=parts.collector.stages.record if timed else None,
        mono=mono,
    )
    if isinstance(journal, Journal):
        journal.before_write = host.keep
    return host, Driver(host, agenda, virtual)


def facts_event(exchange: str, instruments: Sequence[InstrumentFacts], t: int, wall: int) -> Facts:
    """Return the event that makes an exchange's figures stand."""
    return Facts(exchange=exchange, instruments=tuple(instruments), t=t, wall=wall)
