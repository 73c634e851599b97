"""When funding is paid on paper: at the exchange's times, on the mark price (R-47).

The rate that counts is the last one told before its time. A payment waits for a mark price when
there is none, and is made on the position held at its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from runner.engine.events import Funding

NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Payment:
    """A funding time that has come: `at` is wall ns."""

    market: str
    rate: Decimal
    at: int


class FundingClock:
    """The next funding of each market of one exchange."""

    __slots__ = ("_paid", "_rates", "due_wall")

    def __init__(self) -> None:
        self._rates: dict[str, Funding] = {}
        self._paid: dict[str, int] = {}
        self.due_wall = NEVER
        """wall ns of the next payment"""

    def tell(self, event: Funding) -> Payment | None:
        """Learn a rate; return the payment of an earlier time that nobody collected."""
        before = self._rates.get(event.market)
        missed = None
        if before is not None and before.next_at < event.next_at and event.wall >= before.next_at:
            missed = self._collect(before)
        if event.next_at > self._paid.get(event.market, 0):
            self._rates[event.market] = event
        self._rearm()
        return missed

    def come_due(self, wall: int) -> list[Payment]:
        """Return the payments whose time has come, each once, in order of their names."""
        if wall < self.due_wall:
            return []
        ready = [e for _, e in sorted(self._rates.items()) if e.next_at <= wall]
        payments = [self._collect(event) for event in ready]
        self._rearm()
        return payments

    def _collect(self, event: Funding) -> Payment:
        del self._rates[event.market]
        self._paid[event.market] = event.next_at
        return Payment(event.market, Decimal(repr(event.rate)), event.next_at)

    def _rearm(self) -> None:
        times = [event.next_at for event in self._rates.values() if event.next_at]
        self.due_wall = min(times, default=NEVER)
