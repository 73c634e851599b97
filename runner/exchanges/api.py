"""The codec: what every exchange adapter offers, without I/O.

A codec turns the plan's wants into sockets and requests, and bytes into events. It opens nothing,
waits for nothing and reads no clock. `net/` carries the bytes; `app/` connects the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from runner.base.secret import Secret
from runner.engine.events import Account, Event, External, Fill, InstrumentFacts, OrderView
from runner.engine.proof import Journaled
from runner.market.instruments import Instrument


class SocketKind(StrEnum):
    """What a socket is for."""

    PUBLIC = "public"
    MARKET = "market"
    PRIVATE = "private"
    TRADE = "trade"


class Outcome(StrEnum):
    """What an answer says of the request: never more than these five."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    RATE_LIMITED = "rate_limited"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Want:
    """One stream that a market needs. `kind` as in `StreamKind`."""

    market: str
    symbol: str
    kind: str
    depth: int | None = None
    every_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Keepalive:
    """A frame to send so often; `frame` None: a WebSocket ping frame. `every_ns` 0: none."""

    every_ns: int = 0
    frame: bytes | None = None
    silence_ns: int = 60_000_000_000
    """reconnect when nothing at all was received for this long"""


@dataclass(frozen=True, slots=True)
class SocketSpec:
    """A socket to open: where, what to say first, how to keep it, what it carries."""

    id: str
    url: str
    kind: SocketKind
    hello: tuple[bytes, ...] = ()
    keepalive: Keepalive = Keepalive()
    markets: tuple[str, ...] = ()
    needs_login: bool = False
    max_age_ns: int = 23 * 3_600_000_000_000
    """replaced by a fresh one after this long (exchanges cut at 24 h)"""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request with its exact bytes. `url` is complete (scheme, host, path, encoded query).

    `label` is what may be logged (method and path, no query). `weight` counts against budgets.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    label: str = ""
    weight: int = 1
    counts_order: bool = False
    amends: bool = False


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """A request over the trade socket; `id` finds its reply."""

    id: str
    frame: bytes
    label: str = ""
    counts_order: bool = False
    amends: bool = False


Request = HttpRequest | SocketRequest


@dataclass(slots=True)
class Decoded:
    """What frames held besides events: replies by request id, and what must be done."""

    events: list[Event] = field(default_factory=list)
    replies: list[tuple[str, Outcome, list[Event]]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    """`listen_key_expired`, `closing`, `login_ok`, `login_failed CODE text`, `subscribed`,
    `refused text`, `gap MARKET`"""
    unrecognised: int = 0
    budgets: list[tuple[str, int, int, int]] = field(default_factory=list)
    """(name, used, limit, resets_at wall ns; 0 unknown)"""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Resolved secrets of one account; `fingerprint` may be shown."""

    key: Secret
    secret: Secret
    passphrase: Secret | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """One limit of the exchange: `limit` per `window_ns`, fixed window or rolling."""

    name: str
    limit: int
    window_ns: int
    rolling: bool = False


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What the exchange says of the key in use."""

    can_trade: bool
    can_withdraw: bool
    ip_bound: bool
    expires_ms: int = 0


@dataclass(frozen=True, slots=True)
class AccountSetup:
    """Settings read at start, compared with the plan (trading.md, section 4)."""

    position_mode: str
    leverage: Mapping[str, int]
    margin_mode: Mapping[str, str]


class MarketCodec(Protocol):
    """The public half: market data and instruments. A dry-run builds nothing else."""

    type: str
    network: str
    hosts: frozenset[str]
    """the only hosts that this exchange's sockets and requests may go to (R-73)"""

    def sockets(self, wants: Sequence[Want]) -> list[SocketSpec]: ...
    def decode(
        self,
        socket: str,
        frame: bytes | memoryview,
        t: int,
        wall: int,
        conn: int,
        more: bool,
        out: Decoded,
    ) -> None:
        """Decode one frame into `out`; copies what it keeps. Never raises on foreign input."""
        ...

    def snapshot(self, market: str) -> HttpRequest | None:
        """Return the request for a book snapshot; None where the socket sends it itself."""
        ...

    def resubscribe(self, market: str) -> tuple[bytes, ...]:
        """Return frames that make the socket send a book's snapshot again (Bybit)."""
        ...

    def parse_snapshot(self, market: str, body: bytes, t: int, wall: int) -> Event: ...
    def instruments(self, symbols: Sequence[str]) -> list[HttpRequest]: ...
    def parse_instruments(self, bodies: Sequence[bytes]) -> list[InstrumentFacts]:
        """`market` in the result is the market's name; raises ExchangeError on nonsense."""
        ...

    def time(self) -> HttpRequest: ...
    def parse_time(self, body: bytes) -> int:
        """Return the exchange's wall clock in ns."""
        ...

    def bars(self, market: str, every_ns: int, count: int) -> HttpRequest: ...
    def parse_bars(self, market: str, every_ns: int, body: bytes) -> list[Event]: ...
    def payments(self, market: str, since_ms: int) -> HttpRequest | None:
        """Return the request for the funding paid since then, as far as one answer goes."""
        ...

    def parse_payments(self, market: str, body: bytes) -> list[tuple[int, float]]:
        """Return (wall ns, rate) of each payment, oldest first; ExchangeError on nonsense."""
        ...

    def mark(self, market: str) -> HttpRequest | None: ...
    def parse_mark(self, market: str, body: bytes, t: int, wall: int) -> list[Event]: ...


class OrderCodec(Protocol):
    """The private half: needs credentials; signs. Times are exchange wall ms (local + offset)."""

    budgets: tuple[BudgetRule, ...]

    def decode(
        self,
        socket: str,
        frame: bytes | memoryview,
        t: int,
        wall: int,
        conn: int,
        more: bool,
        out: Decoded,
    ) -> None:
        """Decode one frame of a private or trade socket, as `MarketCodec.decode` does."""
        ...

    def private_sockets(self, listen_key: str | None) -> list[SocketSpec]: ...
    def listen_key(self, renew: str | None = None) -> HttpRequest | None: ...
    def parse_listen_key(self, body: bytes) -> str: ...
    def login(self, socket: str, now_ms: int) -> tuple[bytes, ...]:
        """Return the frames that log a private or trade socket in (empty: none needed)."""
        ...

    def after_login(self, socket: str) -> tuple[bytes, ...]: ...
    def place(self, order: Journaled, now_ms: int, request_id: str) -> Request: ...
    def amend(self, order: Journaled, now_ms: int, request_id: str) -> Request:
        """Return the request that changes a resting order to an intent of `revision` > 0."""
        ...

    def cancel(
        self, symbol: str, cid: str, now_ms: int, request_id: str, protective: bool = False
    ) -> Request: ...
    def cancel_all(self, symbol: str, now_ms: int, request_id: str) -> Request: ...
    def query(
        self, symbol: str, cid: str, now_ms: int, protective: bool = False
    ) -> list[HttpRequest]:
        """Return requests to ask in turn until one knows the order (realtime, then history)."""
        ...

    def parse_query(self, cid: str, status: int, body: bytes) -> tuple[Outcome, OrderView | None]:
        """(ACCEPTED, view), (REJECTED, None) = definitively not there, (UNKNOWN, None)."""
        ...

    def reply(
        self,
        cid: str,
        operation: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        t: int,
        wall: int,
    ) -> tuple[Outcome, list[Event]]:
        """Judge an HTTP answer to place, amend, cancel or cancel_all, the `operation`."""
        ...

    def open_orders(self, now_ms: int) -> list[HttpRequest]: ...
    def more_open_orders(self, body: bytes, now_ms: int) -> HttpRequest | None:
        """Return what to ask after an answer to one of `open_orders`; None: it was all."""
        ...

    def parse_open_orders(self, body: bytes) -> list[OrderView]: ...
    def recent_orders(
        self, symbol: str, since_ms: int, now_ms: int, until_ms: int = 0
    ) -> HttpRequest | None:
        """Return what to ask before `fills`, answered to `parse_open_orders`; None: nothing.

        Binance's trades name the order by the exchange's id only; the codec learns the names here.
        """
        ...

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> HttpRequest: ...
    def more_fills(
        self, symbol: str, since_ms: int, body: bytes, now_ms: int
    ) -> HttpRequest | None:
        """Return what to ask after the answer `body` to `fills`; None when it was the last page.

        Pages may overlap: fills are told apart by their trade ids.
        """
        ...

    def parse_fills(self, body: bytes) -> list[Fill]: ...
    def parse_forced(self, body: bytes) -> list[External]:
        """Return what of an answer to `fills` the exchange itself did: liquidation, ADL, funding.

        Each with the id by which its stream tells it, and its exchange time.
        """
        ...

    def account(self, now_ms: int) -> list[HttpRequest]: ...
    def parse_account(self, bodies: Sequence[bytes], t: int, wall: int) -> Account: ...
    def fees(self, symbol: str, now_ms: int) -> HttpRequest | None: ...
    def parse_fees(self, body: bytes) -> tuple[float, float]:
        """Return (maker, taker) as ratios."""
        ...

    def setup(self, symbols: Sequence[str], now_ms: int) -> list[HttpRequest]: ...
    def parse_setup(self, bodies: Sequence[bytes]) -> AccountSetup: ...
    def set_leverage(self, symbol: str, leverage: int, now_ms: int) -> HttpRequest: ...
    def set_margin_mode(self, symbol: str, mode: str, now_ms: int) -> HttpRequest | None: ...
    def set_position_mode(self, mode: str, now_ms: int) -> HttpRequest | None: ...
    def dead_man(self, symbol: str, ms: int, now_ms: int) -> HttpRequest | None:
        """Have a symbol's plain orders cancelled in `ms` unless asked again (0: never); R-37.

        None where an ordinary account has no such switch.
        """
        ...

    def parse_set(self, status: int, body: bytes) -> None:
        """Read the answer to a set_* request; "was so already" is success. Raises Rejected."""
        ...

    def learn(self, exchange_id: str, cid: str) -> None:
        """Tell which client id an exchange's order id belongs to (fills may name only the latter).

        The codec learns by itself from what it decodes; the journal knows of earlier runs.
        """
        ...

    def key_facts(self, now_ms: int) -> HttpRequest | None: ...
    def parse_key_facts(self, body: bytes) -> KeyFacts: ...
    def budgets_from(self, headers: Mapping[str, str]) -> list[tuple[str, int, int, int]]:
        """Read (name, used, limit, resets_at wall ns) from an answer's headers."""
        ...


@dataclass(frozen=True, slots=True)
class MarketBinding:
    """Which symbol stands behind a market's name."""

    market: str
    symbol: str
    instrument: Instrument
