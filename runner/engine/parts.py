"""The parts of an engine: made once, in the order in which they need each other.

They reach each other through the desk, so that none owns another; what the engine itself must be
told of (a source that changed, rows to write) it hooks in afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.engine import build
from runner.engine.accounts import Venue
from runner.engine.cost import DayCell, HeldCell, TradeCell
from runner.engine.desk import Desk, MarketLike
from runner.engine.gate import Gate
from runner.engine.ledger import Ledgers
from runner.engine.limits import Limits
from runner.engine.reading import breaker_key, reads_time
from runner.engine.rules import Rules
from runner.engine.sources import Sources
from runner.engine.spending import Spending
from runner.engine.timers import Timers
from runner.engine.trace import Traces
from runner.engine.trades import Trades
from runner.engine.trips import Trips
from runner.lang.cells import AccountCell
from runner.spec.plan import Plan


@dataclass(slots=True)
class Parts:
    """What `make_parts` gives an engine."""

    desk: Desk
    sources: Sources
    streams: dict[str, Any]
    """by key: the market's and those of the sources"""
    trade_cells: dict[str, TradeCell]
    """by rule"""
    held_cells: dict[str, HeldCell]
    """by market"""


def make_parts(
    plan: Plan, program: build.Builder, market: MarketLike, run_id: str, watching: bool
) -> Parts:
    """Make all parts of an engine and compile the program on their cells."""
    venues = {name: Venue(name, AccountCell()) for name in plan.exchanges}
    markets, instruments = build.listed(plan, market.streams)
    desk = Desk(plan, run_id, markets, instruments, venues, Ledgers(instruments), Timers())
    desk.traces = Traces(desk, watching)
    desk.limits = Limits(desk)
    desk.trips = Trips(desk)
    desk.spending = Spending(plan.risk.max_spend)
    desk.gate = Gate(desk)
    trade_cells = {name: TradeCell(desk, rule) for name, rule in plan.rules.items()}
    held_cells = {name: HeldCell(desk, m) for name, m in markets.items()}
    sources = Sources(desk, plan.sources)
    streams: dict[str, Any] = {**market.streams, **sources.streams}
    desk.rules = Rules(desk, streams, trade_cells, sources)
    desk.trades = Trades(desk, desk.rules)
    cells = build.Cells(
        accounts={name: venue.cell for name, venue in venues.items()},
        positions=held_cells,
        rules=trade_cells,
        pnl=DayCell(desk),
        clock=desk,
    )
    desk.program = program(streams, cells)
    desk.rules.bind()
    conditions = {breaker_key(i): b.when for i, b in enumerate(plan.risk.breakers)}
    desk.trips.bind({key: reads_time(when) for key, when in conditions.items()})
    return Parts(desk, sources, streams, trade_cells, held_cells)
