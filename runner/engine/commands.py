"""Everything the engine can ask of its host.

The host carries them out in order: it journals the intents of a `Send` in one commit, gets
`Journaled` orders back and hands those to the sender. Only queries and cancels are ever repeated.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from runner.engine.proof import Approved
from runner.market.instruments import Side


class OrderType(StrEnum):
    """How the price binds."""

    LIMIT = "limit"
    MARKET = "market"
    STOP = "stop"
    """a market order that the exchange sends when the price has gone against us to its trigger"""
    TARGET = "target"
    """the same, when the price has gone our way"""


class Tif(StrEnum):
    """How long an order stays."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    POST_ONLY = "post_only"


class Purpose(StrEnum):
    """Why an order is sent; decides which checks of the gate bind."""

    ENTRY = "entry"
    REPAIR = "repair"
    CLOSE = "close"
    PROTECT = "protect"
    """a stop or a target that rests at the exchange while its trade is open: a class of its own
    (R-77)"""


class Trigger(StrEnum):
    """Which price sets a stop or a target off."""

    MARK = "mark"
    LAST = "last"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """One order as decided: exact, complete, and what the journal keeps of it.

    `lots` and `ticks` are integers of the instrument's lot and tick (`ticks` 0 on a market order);
    `price_text` and `qty_text` are the same as the wire takes them. `window_ns` is the receive
    window to sign with (1 s on entries, so that "never arrived" is known soon).
    """

    cid: str
    rule: str
    group: int
    leg: int
    attempt: int
    purpose: Purpose
    exchange: str
    market: str
    symbol: str
    side: Side
    type: OrderType
    tif: Tif
    lots: int
    ticks: int
    qty_text: str
    price_text: str
    reduce_only: bool
    window_ns: int
    t: int
    wall: int
    refs: tuple[tuple[str, int, int], ...] = ()
    """(stream, sequence, age in ns) of each stream the decision read"""
    trigger_ticks: int = 0
    trigger_text: str = ""
    trigger: Trigger = Trigger.MARK
    """of a stop or a target: its price in ticks and as the wire takes it, and what is compared"""
    revision: int = 0
    """0: a new order; above: a change of the order `cid` to this price and whole quantity"""

    @property
    def rising(self) -> bool:
        """Whether its trigger is reached by a rise: the stop of a short, the target of a long."""
        return (self.side is Side.BUY) == (self.type is OrderType.STOP)


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="c"):
    """Base of all commands."""


class Send(Command, frozen=True, kw_only=True, tag="send"):
    """Journal all these intents in one commit, then send them in one pass."""

    group: int
    orders: tuple[Approved, ...]


class Amend(Command, frozen=True, kw_only=True, tag="amend"):
    """Journal a change of one resting order, then send it; never repeated."""

    order: Approved


class Cancel(Command, frozen=True, kw_only=True, tag="cancel"):
    """Cancel one order; may be repeated. `protective`: a stop or a target."""

    cid: str
    exchange: str
    market: str
    symbol: str
    protective: bool = False


class CancelAll(Command, frozen=True, kw_only=True, tag="cancel_all"):
    """Cancel every plain order of a market (protective orders are left)."""

    exchange: str
    market: str
    symbol: str


class Query(Command, frozen=True, kw_only=True, tag="query"):
    """Ask the exchange about one order by client id. `protective`: a stop or a target."""

    cid: str
    exchange: str
    market: str
    symbol: str
    attempt: int
    protective: bool = False


class Resync(Command, frozen=True, kw_only=True, tag="resync"):
    """Fetch a fresh snapshot of a book (or resubscribe, where the exchange sends it)."""

    market: str
    reason: str


class Reconcile(Command, frozen=True, kw_only=True, tag="reconcile"):
    """Fetch open orders, fills and account of an exchange and answer with `Reconciled`."""

    exchange: str
    reason: str


class Record(Command, frozen=True, kw_only=True, tag="record"):
    """Write a row to the journal; buffered, committed within 20 ms."""

    kind: str
    fields: dict[str, str | int | float | bool | None]


class Origin(msgspec.Struct, frozen=True):
    """What brought a decision about: a stream's frame, an order's answer, `timer`, `look`.

    `seq` is the stream's sequence, `ts` the exchange's time in ns; 0 where there is none.
    """

    name: str
    seq: int = 0
    ts: int = 0


class Trace(Command, frozen=True, kw_only=True, tag="trace"):
    """One decision, for `why`: what caused it, what was read, state before and after, refusal.

    As a command it has no more than its first line; the rest follows as a row of the journal.

    conjuncts: (source, true | false | missing, what it compares) of each part of `part`, which is
    `when` or `until`; values: (source, value) of all below; reads: (stream, sequence, age in ns);
    apart: the books' exchange times in ns, -1 for fewer than two books.
    """

    rule: str
    cause: str
    before: str
    after: str
    refusal: str = ""
    code: str = ""
    origin: Origin = Origin("")
    part: str = "when"
    conjuncts: tuple[tuple[str, str, str], ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    reads: tuple[tuple[str, int, int], ...] = ()
    apart: int = -1


class RunState(Command, frozen=True, kw_only=True, tag="run_state"):
    """The run's state changed: active, reducing, paused, halted, frozen, flattened."""

    state: str
    code: str
    text: str = ""


class Topic(StrEnum):
    """What a person is told of; `notify.page.for` names those that are worth a page."""

    HALT = "halt"
    PAUSE = "pause"
    FREEZE = "freeze"
    UNHEDGED = "unhedged"
    UNKNOWN = "unknown"
    STOP_MISSING = "stop_missing"
    HELD = "held"
    AUTH = "auth"
    JOURNAL = "journal"
    ACCOUNT = "account"
    """the account is not as we think: a difference, a stray fill, ADL, another leverage"""
    MARKET = "market"
    """prices that a trade needs are away, or its exchange is"""
    RULE = "rule"
    """a rule was disabled, or its trade goes on otherwise than written"""
    HOST = "host"
    """the process: loop, clock, a task"""
    NOTE = "note"
    """what the strategy itself tells"""


class Notify(Command, frozen=True, kw_only=True, tag="notify"):
    """Tell a person. Levels: info, warn, page."""

    level: str
    text: str
    topic: Topic = Topic.NOTE
