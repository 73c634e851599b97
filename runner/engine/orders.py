"""All orders of the run, and the asking about what is uncertain of them (R-15 to R-20).

Theory of operation. An order of which nothing was heard for a second, a fill that is missing, a
change in doubt: what is not certain is asked about. Queries go out at 50 ms, 200 ms, 1 s, 3 s, once
the receive window and 2 s are over, then every 10 s, for ever. "Not found" is believed when at
least three definitive answers said so, the last of them after the window and 2 s, and a
reconciliation begun later shows neither the order nor a fill. A change of which nothing is heard is
believed not to have happened when the order is shown as it was after the window and 2 s. Nothing is
ever sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from runner.engine.commands import Intent, Purpose, Query, Reconcile
from runner.engine.order import Order, OrderState, What
from runner.engine.timers import MS, SECOND, Timers
from runner.market.instruments import Side

QUERY_AT: Final = (50 * MS, 200 * MS, 1 * SECOND, 3 * SECOND)
QUERY_EVERY: Final = 10 * SECOND
SILENT_AFTER: Final = 1 * SECOND
MISSING_FILL_AFTER: Final = 100 * MS
PROOF_MARGIN: Final = 2 * SECOND
PROOF_ANSWERS: Final = 3
KEEP_ORDERS: Final = 1_000
KEEP_FILLS: Final = 50_000


class Orders:
    """All orders of the run by client id, and the asking about what is uncertain."""

    def __init__(
        self, timers: Timers, emit: Callable[[Query | Reconcile], None], clock: Callable[[], int]
    ) -> None:
        self._timers = timers
        self._emit = emit
        self._now = clock
        self.all: dict[str, Order] = {}
        self.open: dict[str, Order] = {}
        """those not settled, but for the protective"""
        self.guards: dict[str, Order] = {}
        """protective ones not settled: reduce-only, they rest for as long as their trade lives"""
        self.seen_fills: dict[str, None] = {}
        """keys of the fills applied, of earlier runs too, in their order (`orderflow.fill_key`)"""
        self.doubted: Callable[[Order], None] = lambda _order: None
        """told of an order of which nothing was heard in time"""

    def add(self, intent: Intent) -> Order:
        """Register an approved intent; it counts from now on."""
        order = Order(intent)
        self.all[intent.cid] = order
        self._unsettled(order)[intent.cid] = order
        order.meet(What.SEND)
        self._timers.at(intent.t + SILENT_AFTER, self._silent, order)
        return order

    def unsettled(self, exchange: str) -> Iterator[Order]:
        """Yield everything at an exchange that is not settled, protective orders too."""
        for order in [*self.open.values(), *self.guards.values()]:
            if order.intent.exchange == exchange:
                yield order

    def _unsettled(self, order: Order) -> dict[str, Order]:
        return self.guards if order.protective else self.open

    def working(self, market: str, side: Side | None = None) -> Sequence[Order]:
        """Return the unsettled orders of a market (and side)."""
        if not self.open:
            return ()
        return [
            order
            for order in self.open.values()
            if order.intent.market == market and (side is None or order.intent.side is side)
        ]

    def entries(self) -> Iterator[Order]:
        """Yield the unsettled orders that add risk."""
        return (o for o in self.open.values() if o.intent.purpose is Purpose.ENTRY)

    def changed(self, order: Order) -> None:
        """Bring the books of this class up to date after an order moved."""
        if order.terminal and order.ended_at < 0:
            order.ended_at = self._now()
        if order.settled:
            self._unsettled(order).pop(order.intent.cid, None)
            order.asking_since = -1
            return
        self._unsettled(order)[order.intent.cid] = order
        if order.state is OrderState.UNKNOWN:
            self.ask(order)
        elif order.terminal or order.cum > order.filled:
            self._timers.at(self._now() + MISSING_FILL_AFTER, self._missing_fill, order)
        elif not order.amend_doubt:
            order.asking_since = -1
            if order.immediate:
                self._timers.at(self._now() + SILENT_AFTER, self._silent, order)

    def amend(self, order: Order, intent: Intent) -> None:
        """Register an approved change of an order; it counts from now on."""
        order.pending, order.revision = intent, intent.revision
        self._timers.at(intent.t + SILENT_AFTER, self._unamended, (order, intent))

    def doubt_amendment(self, order: Order) -> None:
        """A change may or may not have happened: the order is asked about."""
        if order.pending is not None and not order.settled:
            order.amend_doubt = True
            self.ask(order)

    def ask(self, order: Order, *, anew: bool = False) -> None:
        """Begin to query an order, unless it is being asked about already (`anew`: even then)."""
        if order.asking_since >= 0 and not anew:
            return
        order.asking_since = self._now()
        order.asked = 0
        due = order.asking_since + QUERY_AT[0]
        self._timers.at(due, self._query, (order, order.asking_since))

    def not_found(self, order: Order) -> None:
        """Take a definitive "no such order"; three of them, late enough, ask for the proof."""
        order.not_found += 1
        order.answered_at = self._now()
        if order.not_found >= PROOF_ANSWERS and self._now() >= _window_over(order):
            if order.proof_from < 0:
                order.proof_from = self._now()
            self._emit(
                Reconcile(exchange=order.intent.exchange, reason=f"prove {order.intent.cid}")
            )

    def prove_lost(self, exchange: str, started: int) -> list[Order]:
        """Conclude which orders never arrived, after a whole picture begun at `started`."""
        lost = []
        for order in self.unsettled(exchange):
            if order.state is not OrderState.UNKNOWN:
                continue
            if 0 <= order.proof_from <= started and not order.filled:
                order.code = "never_arrived"
                order.meet(What.NEVER)
                self.changed(order)
                lost.append(order)
        return lost

    def forget_before(self, t: int) -> None:
        """Drop settled orders older than `t` and the oldest keys of fills, beyond a good many."""
        while len(self.seen_fills) > KEEP_FILLS:
            del self.seen_fills[next(iter(self.seen_fills))]
        surplus = len(self.all) - KEEP_ORDERS
        for cid in list(self.all):
            if surplus <= 0:
                return
            order = self.all[cid]
            if order.settled and order.sent_at < t:
                del self.all[cid]
                surplus -= 1

    def _silent(self, order: Order) -> None:
        if order.settled:
            return
        moved = order.meet(What.UNKNOWN)
        if moved:
            order.text = "no answer within 1 s"
        if order.state is OrderState.UNKNOWN or order.immediate:
            self.ask(order)
        if moved or (order.immediate and not order.terminal):
            self.doubted(order)

    def _unamended(self, subject: tuple[Order, Intent]) -> None:
        order, intent = subject
        if order.pending is intent:
            self.doubt_amendment(order)

    def _missing_fill(self, order: Order) -> None:
        if order.cum <= order.filled:
            return
        exchange = order.intent.exchange
        self._emit(Reconcile(exchange=exchange, reason=f"missing fill {order.intent.cid}"))
        self._timers.at(self._now() + QUERY_EVERY // 5, self._missing_fill, order)

    def _query(self, subject: tuple[Order, int]) -> None:
        order, since = subject
        if order.settled or order.asking_since != since:
            return
        order.asked += 1
        intent = order.intent
        self._emit(
            Query(
                cid=intent.cid,
                exchange=intent.exchange,
                market=intent.market,
                symbol=intent.symbol,
                attempt=order.asked,
                protective=order.protective,
            )
        )
        self._timers.at(_next_query(order, self._now()), self._query, subject)


def amend_window_over(order: Order, now: int) -> bool:
    """Whether a change that was not seen by now never arrives any more."""
    pending = order.pending
    return pending is not None and now >= pending.t + pending.window_ns + PROOF_MARGIN


def _window_over(order: Order) -> int:
    return order.sent_at + order.intent.window_ns + PROOF_MARGIN


def _next_query(order: Order, now: int) -> int:
    """Return when to ask again: the schedule, and once right after the window is over."""
    if order.asked < len(QUERY_AT):
        due = order.asking_since + QUERY_AT[order.asked]
    else:
        due = now + QUERY_EVERY
    over = _window_over(order) + 10 * MS
    return over if now < over < due else max(due, now + QUERY_AT[0])
