"""One order of ours, from approval to proven end (R-15 to R-18).

Theory of operation. An order is a small automaton whose moves stand in `MOVES`:

    INTENT -> SENT -> OPEN -> PARTIAL -> FILLED | CANCELED | EXPIRED
                 \\-> UNKNOWN (may or may not exist)      REJECTED | LOST (never arrived, proven)

A pair that is not in the table is old news and is ignored: terminal states absorb. One exception is
written down: LOST is our conclusion, not the exchange's word, so a sign of life revives it (and
raises an alarm).

A resting order may be changed in place (`Amend`). While that is under way either the old or the new
price and quantity may be in force: `pending` is the new one, and what may still fill is the larger.
The exchange's word ends it (`Amended`, a query, a list).

Fills are a matter of their own: each trade id is applied once, in any state, after the end too.
`cum` is what the exchange says was filled; an order is *settled* when it is terminal and our fills
have reached it. Until then it counts against the limits.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from runner.engine.commands import Intent, OrderType, Purpose, Tif
from runner.engine.events import End, Fill, OrderView


class OrderState(StrEnum):
    """Where an order is."""

    INTENT = "intent"
    SENT = "sent"
    OPEN = "open"
    PARTIAL = "partial"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    LOST = "lost"


class What(StrEnum):
    """What an order can meet."""

    SEND = "send"
    ACK = "ack"
    REJECT = "reject"
    UNKNOWN = "unknown"
    PART = "part"
    FULL = "full"
    CANCEL = "cancel"
    EXPIRE = "expire"
    NEVER = "never"
    VOID = "void"


TERMINAL: Final = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELED,
        OrderState.EXPIRED,
        OrderState.REJECTED,
        OrderState.LOST,
    }
)


def _moves() -> dict[tuple[OrderState, What], OrderState]:
    s, w = OrderState, What
    table = {(s.INTENT, w.SEND): s.SENT, (s.SENT, w.UNKNOWN): s.UNKNOWN}
    live = (s.INTENT, s.SENT, s.OPEN, s.PARTIAL, s.UNKNOWN)
    for state in (s.INTENT, s.SENT, s.UNKNOWN, s.LOST):
        table[state, w.ACK] = s.OPEN
    for state in (s.INTENT, s.SENT, s.UNKNOWN):
        table[state, w.REJECT] = s.REJECTED
    for state in (*live, s.LOST):
        table[state, w.PART] = s.PARTIAL
        table[state, w.FULL] = s.FILLED
        table[state, w.CANCEL] = s.CANCELED
        table[state, w.EXPIRE] = s.EXPIRED
        table[state, w.VOID] = s.REJECTED  # acknowledged first, refused by the matching engine
    table[s.INTENT, w.UNKNOWN] = s.UNKNOWN
    table[s.UNKNOWN, w.NEVER] = s.LOST
    return table


MOVES: Final = _moves()

NOT_SENT: Final = "not_sent"
"""the code of a reject by the host: the exchange was never asked"""
_ENDS: Final = {
    End.CANCELED: What.CANCEL,
    End.EXPIRED: What.EXPIRE,
    End.FILLED: What.FULL,
    End.REJECTED: What.VOID,
}
_VIEWS: Final = {
    "open": What.ACK,
    "partial": What.ACK,
    "filled": What.FULL,
    "canceled": What.CANCEL,
    "expired": What.EXPIRE,
    "rejected": What.VOID,
}


class Order:
    """One order as we know it. Quantities in lots; times monotonic ns."""

    __slots__ = (
        "amend_doubt", "answered_at", "asked", "asking_since", "by_terms", "cancel_asked",
        "cancelled_at", "cancels", "code", "cum", "ended_at", "exchange_id", "filled", "intent",
        "lots", "not_found", "pending", "proof_from", "revision", "sent_at", "shown_ts", "state",
        "text", "ticks", "trade_ids", "undead", "value",
    )  # fmt: skip

    def __init__(self, intent: Intent) -> None:
        self.intent = intent
        self.state = OrderState.INTENT
        self.lots = intent.lots
        """the whole quantity in force"""
        self.ticks = intent.ticks
        self.revision = 0
        """of the last change that was sent"""
        self.pending: Intent | None = None
        """a change under way"""
        self.amend_doubt = False
        """nothing was heard of it in time, or what was heard does not say"""
        self.shown_ts = 0
        """exchange time (ns) of the last word on price and quantity"""
        self.filled = 0
        self.cum = 0
        self.value = 0.0
        """sum of price x lots over the fills"""
        self.trade_ids: set[str] = set()
        self.exchange_id = ""
        self.sent_at = intent.t
        self.code = ""
        self.text = ""
        self.by_terms = False
        """refused by its own terms (post-only would take)"""
        self.cancel_asked = False
        """its end is wanted: while it is shown open it is cancelled again (`cancels`)"""
        self.cancels = 0
        self.cancelled_at = 0
        self.ended_at = -1
        """when it became terminal; -1 while it is not"""
        self.undead = False
        """it was shown open after its end, and that was told"""
        self.asking_since = -1
        """since when it is asked about; -1 when it is not"""
        self.asked = 0
        self.answered_at = -1
        self.not_found = 0
        self.proof_from = -1
        """a reconciliation begun at or after this decides that it never arrived; -1: too early"""

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL

    @property
    def settled(self) -> bool:
        """Whether nothing more can come of it: terminal, and all its fills are known."""
        return self.state in TERMINAL and self.filled >= self.cum

    @property
    def open_lots(self) -> int:
        """What may still fill, at worst."""
        if self.state in TERMINAL:
            return max(self.cum - self.filled, 0)
        return max(self.most - self.filled, 0)

    @property
    def most(self) -> int:
        """The whole quantity at worst: before or after a change that is under way."""
        return self.lots if self.pending is None else max(self.lots, self.pending.lots)

    @property
    def prices(self) -> tuple[int, ...]:
        """The limits that may be in force, in ticks."""
        return (self.ticks,) if self.pending is None else (self.ticks, self.pending.ticks)

    @property
    def average(self) -> float:
        """Average price of the fills; NaN without any."""
        return self.value / self.filled if self.filled else float("nan")

    @property
    def uncertain(self) -> bool:
        """Whether its existence or its fills are in doubt."""
        if self.state is OrderState.UNKNOWN or (self.terminal and not self.settled):
            return True
        return self.asking_since >= 0 and self.immediate

    @property
    def unsent(self) -> bool:
        """Whether it surely never left: the host says so, not the exchange."""
        return self.state is OrderState.REJECTED and self.code == NOT_SENT

    @property
    def protective(self) -> bool:
        """Whether it guards a trade: it counts against no limit and nothing waits for its end."""
        return self.intent.purpose is Purpose.PROTECT

    @property
    def immediate(self) -> bool:
        """Whether it ends at once by its own terms."""
        return self.intent.type is OrderType.MARKET or self.intent.tif in (Tif.IOC, Tif.FOK)

    def meet(self, what: What) -> bool:
        """Move by the table; False when this is old news."""
        after = MOVES.get((self.state, what))
        if after is None or after is self.state:
            return False
        self.state = after
        return True

    def take(self, fill: Fill) -> bool:
        """Apply a fill once; False when its trade id is known."""
        if fill.trade_id in self.trade_ids:
            return False
        self.trade_ids.add(fill.trade_id)
        self.filled += fill.lots
        self.value += fill.price * fill.lots
        self.meet(What.FULL if self.filled >= self.most else What.PART)
        return True

    def show(self, lots: int, ticks: int, ts: int) -> bool:
        """Take the exchange's word on price and quantity; False when it says nothing new.

        Until an order is changed by us its own word stands: exchanges cut reductions down.
        """
        if not self.revision or (ts and ts < self.shown_ts):
            return False
        self.shown_ts = max(ts, self.shown_ts)
        pending = self.pending
        if pending is not None and (lots, ticks) == (pending.lots, pending.ticks):
            self.pending, self.amend_doubt = None, False
        elif pending is not None or (lots, ticks) == (self.lots, self.ticks):
            return False
        self.lots, self.ticks = lots, ticks
        return True

    def keep(self) -> None:
        """Forget a change that did not happen."""
        self.pending, self.amend_doubt = None, False

    def end(self, end: End, filled: int, code: str) -> bool:
        """Apply the exchange's word that it is over, with its cumulative figure."""
        grown = filled > self.cum
        self.cum = max(self.cum, filled)
        moved = self.meet(_ENDS[end])
        if self.terminal:
            self.keep()
        if moved and code:
            self.code = code
        return moved or grown

    def see(self, view: OrderView) -> bool:
        """Apply what a query or a list shows."""
        grown = view.filled_lots > self.cum
        self.cum = max(self.cum, view.filled_lots)
        self.exchange_id = self.exchange_id or view.exchange_id
        what = _VIEWS.get(view.status, What.ACK)
        self.not_found = 0
        self.proof_from = -1
        shown = what is What.ACK and self.show(view.lots, view.price_ticks, view.ts)
        moved = self.meet(what)
        if self.terminal:
            self.keep()
        return moved or grown or shown
