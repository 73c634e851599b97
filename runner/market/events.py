"""What arrives from the markets: frames turned into events, and what befell their sockets.

All events carry `t`, monotonic nanoseconds since the run's start, and `wall`, nanoseconds since
the epoch, both stamped by the host when the frame was read; `ts` is the exchange's own time in
nanoseconds, 0 where it gives none. `conn` numbers the connection a frame came on (0: it came by
REST). `more` says that newer frames of the same read wait behind this one: state and timers move,
but no order leaves on it. Numbers are finite floats. `market` and `exchange` are the names of the
strategy file.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

Level = tuple[float, float]


class Event(msgspec.Struct, tag_field="e", kw_only=True, omit_defaults=True, gc=False):
    """Base of all events."""

    t: int = 0
    wall: int = 0


class MarketEvent(Event, kw_only=True, gc=False):
    """Base of what arrives on a public or market socket."""

    market: str
    ts: int = 0
    conn: int = 0
    more: bool = False


class Top(MarketEvent, tag="top", kw_only=True, gc=False):
    """Best bid and ask; `u` is the book's update id (0 where the exchange gives none)."""

    bid: float
    ask: float
    bid_qty: float
    ask_qty: float
    u: int = 0


class Depth(MarketEvent, tag="depth", kw_only=True):
    """A book snapshot, or a difference with absolute quantities (0 removes the level).

    `first..last` are the update ids it covers, `prev` the id it must follow (-1: the exchange
    gives none and continuity is first <= previous last + 1).
    """

    snapshot: bool
    bids: list[Level]
    asks: list[Level]
    first: int = 0
    last: int = 0
    prev: int = -1


class Trade(MarketEvent, tag="trade", kw_only=True):
    """A public trade; `taker` is the aggressor's side, "buy" or "sell"."""

    price: float
    qty: float
    taker: str
    id: str = ""


class Mark(MarketEvent, tag="mark", kw_only=True, gc=False):
    """The mark price."""

    price: float


class Funding(MarketEvent, tag="funding", kw_only=True, gc=False):
    """The funding rate of the running interval; `next_at` wall ns, `interval` ns (0 unknown)."""

    rate: float
    next_at: int
    interval: int = 0


class Bar(MarketEvent, tag="bar", kw_only=True):
    """A bar of `every` ns that opened at `open_at` (wall ns); only closed bars become values."""

    every: int
    open_at: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    closed: bool
    warmup: bool = False


class SocketState(StrEnum):
    """What happened to a socket or a book on it."""

    UP = "up"
    DOWN = "down"
    RESYNC = "resync"


class Feed(Event, tag="feed", kw_only=True):
    """A socket came up or went down. `kind` is public, market, private or trade."""

    exchange: str
    socket: str
    kind: str
    state: SocketState
    conn: int = 0
    markets: tuple[str, ...] = ()
    reason: str = ""


class ClockReading(Event, tag="clock", kw_only=True):
    """A time sync: the exchange's clock minus ours, and half the best round trip, in ns."""

    exchange: str
    offset: int
    uncertainty: int
    ok: bool = True
