"""When to try a connection again: full-jitter backoff, and a budget of new connections.

Full jitter (uniform between 0 and an exponentially growing bound) keeps the many sockets of a
process, and many processes, from knocking at the same instant after an outage (R-25).
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Delays in seconds: uniform(0, min(cap, base * 2**n)), n growing until `reset`."""

    rng: random.Random
    base: float = 0.1
    cap: float = 10.0
    failures: int = 0

    def next(self) -> float:
        """Return the delay before the next attempt."""
        bound = min(self.cap, self.base * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return self.rng.uniform(0.0, bound)

    def reset(self) -> None:
        """Start from the smallest bound again: the connection has proved itself."""
        self.failures = 0


@dataclass(slots=True)
class ConnectionBudget:
    """At most `limit` new connections of an exchange in any `window_s` seconds, first come first.

    Bybit cuts off an address after 500 in 5 min, Binance after 300 in 5 min.
    """

    limit: int = 250
    window_s: float = 300.0
    _booked: deque[float] = field(default_factory=deque)

    def book(self, now: float) -> float:
        """Book the next free place and return how many seconds to wait for it."""
        start = now
        if len(self._booked) >= self.limit:
            start = max(now, self._booked[-self.limit] + self.window_s)
        self._booked.append(start)
        while len(self._booked) > self.limit:
            self._booked.popleft()
        return start - now
