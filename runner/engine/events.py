"""Everything that can happen to the engine.

Market events carry floats (finite, or the stream is invalid); order events carry integer lots and
ticks. `t` is monotonic nanoseconds since the run's start, `wall` nanoseconds since the epoch, both
stamped by the host when the frame was read; `ts` is the exchange's own time in nanoseconds, 0
where it gives none. `conn` numbers the connection a frame came on. `more` says that newer frames
of the same read wait behind this one: state and timers move, but no order leaves on it.
`market` and `exchange` are the names of the strategy file.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from runner.market.events import (
    Bar,
    ClockReading,
    Depth,
    Event,
    Feed,
    Funding,
    Level,
    Mark,
    MarketEvent,
    SocketState,
    Top,
    Trade,
)

__all__ = [  # what the floor below defines and the engine is fed with
    "Bar",
    "ClockReading",
    "Depth",
    "Event",
    "Feed",
    "Funding",
    "Level",
    "Mark",
    "MarketEvent",
    "SocketState",
    "Top",
    "Trade",
]


class Readiness(StrEnum):
    """Whether an exchange may be traded."""

    STARTING = "starting"
    RECONCILING = "reconciling"
    READY = "ready"
    DOWN = "down"
    MAINTENANCE = "maintenance"
    FROZEN = "frozen"


class Ready(Event, tag="ready", kw_only=True):
    """An exchange's order side changed its readiness."""

    exchange: str
    state: Readiness
    reason: str = ""


class Budget(Event, tag="budget", kw_only=True):
    """How much of a rate budget is used; `resets_at` monotonic ns."""

    exchange: str
    name: str
    used: int
    limit: int
    resets_at: int


class InstrumentFacts(msgspec.Struct, kw_only=True, frozen=True):
    """The exchange's word on one market, decimals as text; fees as ratios."""

    market: str
    tick: str
    lot: str
    min_qty: str
    min_notional: str
    max_qty: str = "0"
    contract_size: str = "1"
    maker: float | None = None
    taker: float | None = None
    fee_source: str = "catalogue"
    status: str = "trading"


class Facts(Event, tag="facts", kw_only=True):
    """Instruments and fees as the exchange gives them (they overrule the catalogue)."""

    exchange: str
    instruments: tuple[InstrumentFacts, ...]


class Balance(msgspec.Struct, kw_only=True, frozen=True):
    """One asset of an account: all of it, and what is free for new orders (None: not told)."""

    asset: str
    total: float
    free: float | None = None


class Position(msgspec.Struct, kw_only=True, frozen=True):
    """A position at the exchange, in signed lots (negative: short)."""

    symbol: str
    lots: int
    entry: float = 0.0
    mark: float = 0.0
    liquidation: float = 0.0


class Account(Event, tag="account", kw_only=True):
    """Balances and positions. `full` means that what is absent is zero (a REST answer)."""

    exchange: str
    balances: tuple[Balance, ...]
    positions: tuple[Position, ...]
    equity: float | None = None
    margin_used: float | None = None
    full: bool = False
    source: str = "stream"


class OrderEvent(Event, kw_only=True):
    """Base of what is said of one of our orders; `ts` is the exchange's time in ns."""

    cid: str
    ts: int = 0


class Ack(OrderEvent, tag="ack", kw_only=True):
    """The exchange has taken the order."""

    exchange_id: str = ""


class Reject(OrderEvent, tag="reject", kw_only=True):
    """A definitive no: the order does not exist. `outcome` is rejected, rate_limited or clock."""

    outcome: str
    code: str
    text: str = ""
    by_terms: bool = False
    """refused by its own terms: post-only would take, fill-or-kill cannot fill"""


class Unknown(OrderEvent, tag="unknown", kw_only=True):
    """The order may or may not exist; `why` is timeout, disconnect, http 502, ..."""

    why: str


class Fill(OrderEvent, tag="fill", kw_only=True):
    """One execution, keyed by `trade_id`; `fee` is positive when paid, None when not yet told."""

    trade_id: str
    lots: int
    price: float
    fee: float | None = None
    fee_asset: str = ""
    maker: bool = False
    source: str = "stream"


class End(StrEnum):
    """How an order ended at the exchange."""

    CANCELED = "canceled"
    EXPIRED = "expired"
    FILLED = "filled"
    REJECTED = "rejected"


class Done(OrderEvent, tag="done", kw_only=True):
    """The order is terminal; `filled_lots` is the exchange's cumulative figure."""

    end: End
    filled_lots: int
    code: str = ""


class OrderView(msgspec.Struct, kw_only=True, frozen=True):
    """An order as the exchange shows it in a query or a list."""

    cid: str
    exchange_id: str
    symbol: str
    side: str
    lots: int
    filled_lots: int
    status: str
    """open, partial, filled, canceled, expired or rejected"""
    price_ticks: int = 0
    avg_price: float = 0.0
    reduce_only: bool = False
    ts: int = 0
    waits: bool = False
    """for its trigger: it takes one of the places for stops and targets"""


class Found(OrderEvent, tag="found", kw_only=True):
    """The answer to a query by client id. `order` None is a definitive "no such order"."""

    order: OrderView | None
    source: str = "query"


class Reconciled(Event, tag="reconciled", kw_only=True):
    """A whole picture of one exchange: open orders of ours and others', fills, account."""

    exchange: str
    open_orders: tuple[OrderView, ...]
    fills: tuple[Fill, ...]
    account: Account | None
    started: int = 0
    """monotonic ns when the first query left: orders younger than this are not judged by it"""
    externals: tuple[External, ...] = ()
    """what the exchange itself did since the run began; what its stream told is among it"""


FORCED: Final = frozenset({"liquidation", "adl", "settlement"})
"""what an exchange itself takes of a position"""


class External(Event, tag="external", kw_only=True):
    """Something others did: a manual fill, a liquidation, ADL, funding, a transfer."""

    exchange: str
    what: str
    market: str = ""
    lots: int = 0
    price: float = 0.0
    amount: float = 0.0
    asset: str = ""
    id: str = ""
    ts: int = 0

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it, where it has an id: a stream and a picture may tell the same."""
        return self.exchange, self.what, self.market, self.id


class CancelReply(OrderEvent, tag="cancel_reply", kw_only=True):
    """The answer to a cancel: accepted, or refused with the exchange's code."""

    ok: bool
    code: str = ""
    text: str = ""


class AmendReply(OrderEvent, tag="amend_reply", kw_only=True):
    """The answer to a change of an order. `ok`: taken, which is not yet done everywhere.

    `outcome` of a no is rejected, rate_limited, clock, or unknown: it may have happened.
    """

    ok: bool
    outcome: str = "accepted"
    code: str = ""
    text: str = ""


class Amended(OrderEvent, tag="amended", kw_only=True):
    """What an order is now, as the exchange shows it after a change: whole quantity and price."""

    lots: int
    ticks: int


class Operator(Event, tag="operator", kw_only=True):
    """A command of the operator: halt, resume, flatten, stop, reset."""

    command: str
    rule: str = ""
    market: str = ""
    who: str = ""
    why: str = ""


class Host(Event, tag="host", kw_only=True):
    """The process itself is in trouble, or out of it (`ok`; then "" means out of all).

    `journal`, `disk`, `loop` (late), `memory`, `task` (dead), `ban:EXCHANGE` (418, 403).
    """

    fault: str
    text: str = ""
    ok: bool = False


class History(Event, tag="history", kw_only=True):
    """What windows can be warmed with: their own state of `gap` ns ago, past bars and funding.

    `closes` by market: (monotonic ns of a one-minute bar's close, close). `bars` by stream key:
    (wall ns at which a closed bar opened, open, high, low, close, volume). `funding` by market:
    (wall ns of a payment, its rate), the last one yet to come. All from old to new.
    """

    closes: dict[str, list[tuple[int, float]]]
    state: dict[str, Any] = msgspec.field(default_factory=dict)
    gap: int = 0
    bars: dict[str, list[tuple[int, float, float, float, float, float]]] = msgspec.field(
        default_factory=dict
    )
    funding: dict[str, list[tuple[int, float]]] = msgspec.field(default_factory=dict)


SignalValue = str | float | bool | None


class Signal(Event, tag="signal", kw_only=True):
    """A message of a source that passed the door; `sent_at` its sender's time, wall ns.

    `id` is what `dedupe` knows it by, "" where it has none.
    """

    source: str
    id: str
    fields: dict[str, SignalValue]
    sent_at: int


class Pulse(Event, tag="pulse", kw_only=True):
    """A sign of life of a source, or (not `ok`) that it is down and why."""

    source: str
    ok: bool
    reason: str = ""


class Timer(Event, tag="timer", kw_only=True, gc=False):
    """Time has reached the engine's `due`."""

    due: int


AnyEvent = (
    Top
    | Depth
    | Trade
    | Mark
    | Funding
    | Bar
    | Feed
    | ClockReading
    | Ready
    | Budget
    | Facts
    | Account
    | Ack
    | Reject
    | Unknown
    | Fill
    | Done
    | Found
    | Reconciled
    | External
    | CancelReply
    | AmendReply
    | Amended
    | Operator
    | Host
    | History
    | Signal
    | Pulse
    | Timer
)
"""All events, for the typed encoding of recordings."""
