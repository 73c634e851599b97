"""The desk: what all parts of the engine share. Time, the output, instruments, books, parts.

It decides nothing. Parts reach each other through it, so that none owns another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from runner.base.ids import base36, client_id, owner_prefix
from runner.engine.commands import Command, Notify, Record, Topic
from runner.engine.ledger import Ledgers
from runner.engine.orders import Orders
from runner.engine.timers import Timers
from runner.market.instruments import Instrument, Kind, Side
from runner.spec.market_plan import MarketPlan, StreamKind
from runner.spec.plan import Plan

if TYPE_CHECKING:
    from runner.engine.accounts import Venue
    from runner.engine.gate import Gate
    from runner.engine.limits import Limits
    from runner.engine.rules import Rules
    from runner.engine.spending import Spending
    from runner.engine.trace import Traces
    from runner.engine.trades import Trades
    from runner.engine.trips import Trips
    from runner.lang.api import ProgramApi


_base36 = lru_cache(maxsize=4096)(base36)


@lru_cache(maxsize=4096)
def _tail(leg: int, attempt: int) -> str:
    return base36(leg, 1) + base36(attempt, 3)


class StreamLike(Protocol):
    """What the engine reads of any stream of `market/streams.py`."""

    key: str
    market: str
    exchange: str
    max_age: int
    t: int
    lag: int
    seq: int
    state: Any

    def age(self, now: int) -> int: ...


class BookLike(StreamLike, Protocol):
    """What the engine reads of a book."""

    bid: float
    ask: float
    bid_qty: float
    ask_qty: float
    last_bid: float
    last_ask: float

    def fill_price(self, buy: bool, base: float, notional: float) -> float: ...


class MarketLike(Protocol):
    """What the engine uses of `MarketState`."""

    due: int
    resyncs: list[tuple[str, str]]

    @property
    def streams(self) -> Mapping[str, Any]: ...
    def apply(self, event: Any) -> Any: ...
    def on_timer(self, now: int) -> list[Any]: ...
    def on_feed(self, event: Any) -> list[Any]: ...
    def on_clock(self, event: Any) -> Any: ...
    def on_history(self, event: Any) -> list[Any]: ...


@dataclass(slots=True)
class Listed:
    """One market as the engine uses it: plan, instrument in force, streams."""

    plan: MarketPlan
    instrument: Instrument
    book: BookLike | None
    mark: Any | None
    name: str = field(init=False)
    min_lots: int = field(init=False)
    max_lots: int = field(init=False)
    """0: no maximum"""
    min_notional: float = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.plan.name
        self.use(self.instrument)

    def use(self, instrument: Instrument) -> None:
        """Put an instrument in force; its limits become integers of lots once, not per order."""
        self.instrument = instrument
        self.min_lots = math.ceil(instrument.min_qty / instrument.lot)
        self.max_lots = int(instrument.max_qty / instrument.lot)
        self.min_notional = float(instrument.min_notional)

    @property
    def perpetual(self) -> bool:
        return self.instrument.kind is Kind.PERPETUAL

    def touch(self, side: Side) -> float:
        """Return the price an order of `side` would take; NaN when the book is not live."""
        if self.book is None:
            return math.nan
        return self.book.ask if side is Side.BUY else self.book.bid

    def mid(self) -> float:
        """Return the live mid; NaN when the book is not live."""
        return math.nan if self.book is None else (self.book.bid + self.book.ask) / 2

    def last_mid(self) -> float:
        """Return the last good mid whatever the state, else the mark, else the catalogue's hint."""
        if self.book is not None:
            mid = (self.book.last_bid + self.book.last_ask) / 2
            if mid == mid:
                return mid
        mark = float(self.mark.price) if self.mark is not None else math.nan
        return mark if mark == mark else float(self.instrument.price_hint) or math.nan


@dataclass(slots=True)
class Desk:
    """Shared state of one engine."""

    plan: Plan
    run_id: str
    markets: dict[str, Listed]
    instruments: dict[str, Instrument]
    venues: dict[str, Venue]
    ledgers: Ledgers
    timers: Timers
    now: int = 0
    wall: int = 0
    keys: set[str] = field(default_factory=set)
    """once-keys used, in earlier runs too (`keys`)"""
    cause: Any = None
    """the event, or the stream whose frame, that rules are looked at for"""
    ordinal: int = 0
    """of the last approved pass; a part of every client id"""
    out: list[Command] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    """what can wait until the commands are handed over, but not until the next event"""
    prefixes: dict[str, str] = field(default_factory=dict)
    grids: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """market -> (tick, lot, ..) in which an earlier run counted what it holds there"""
    orders: Orders = field(init=False)
    gate: Gate = field(init=False)
    limits: Limits = field(init=False)
    trips: Trips = field(init=False)
    spending: Spending = field(init=False)
    rules: Rules = field(init=False)
    trades: Trades = field(init=False)
    traces: Traces = field(init=False)
    program: ProgramApi = field(init=False)

    def __post_init__(self) -> None:
        self.orders = Orders(self.timers, self.emit, lambda: self.now)
        for name in self.plan.exchanges:
            self.prefixes[name] = owner_prefix(name, self.plan.name)
            client_id(self.prefixes[name], self.run_id, 0, 0, 0)  # a wrong run id is told now

    def emit(self, command: Command) -> None:
        """Hand a command to the host, after all earlier ones."""
        self.out.append(command)

    def record(self, kind: str, **fields: str | int | float | bool | None) -> None:
        """Write a row to the journal."""
        self.out.append(Record(kind=kind, fields=fields))

    def tell(self, level: str, text: str, topic: Topic) -> None:
        """Tell a person."""
        self.out.append(Notify(level=level, text=text, topic=topic))

    def cid(self, exchange: str, leg: int, attempt: int) -> str:
        """Return the client id of an order of the next pass (the form of `ids.client_id`)."""
        group = _base36(self.ordinal + 1, 8)
        return f"{self.prefixes[exchange]}{self.run_id}{group}{_tail(leg, attempt % 36**3)}"

    def venue_of(self, market: str) -> Venue:
        """Return the exchange of a market."""
        return self.venues[self.markets[market].plan.exchange]

    def price_of(self, asset: str, quote: str) -> float:
        """Return the price of an asset in a quote currency by a market of the file; NaN if none."""
        pegs = self.plan.pegs
        if asset == quote or (asset in pegs and quote in pegs):
            return 1.0
        for listed in self.markets.values():
            if listed.instrument.base == asset and listed.instrument.quote == quote:
                return listed.last_mid()
        return math.nan


def book_key(plan: MarketPlan) -> str | None:
    """Return the key of a market's book stream, None where it has none."""
    stream = plan.streams.get(StreamKind.BOOK)
    return stream.key if stream is not None else None
