"""Count requests the way the exchanges do: fixed windows, rolling seconds, bans that grow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

FIRST_BAN_MS = 120_000
MOST_BAN_MS = 3 * 86_400_000
PATIENCE = 10
"""Requests answered 429 within one window before the address is banned."""


@dataclass(slots=True)
class Window:
    """A counter over fixed windows aligned to the interval (Binance)."""

    limit: int
    interval_ms: int
    _start: int = -1
    _used: int = 0

    def used(self, now_ms: int) -> int:
        """Return the count of the present window."""
        start = now_ms - now_ms % self.interval_ms
        if start != self._start:
            self._start, self._used = start, 0
        return self._used

    def add(self, now_ms: int, n: int) -> int:
        """Count `n` and return the new total."""
        self._used = self.used(now_ms) + n
        return self._used

    def full(self, now_ms: int, n: int = 1) -> bool:
        """Tell whether `n` more would exceed the limit."""
        return self.used(now_ms) + n > self.limit

    def retry_s(self, now_ms: int) -> int:
        """Return the seconds until the window ends, at least one."""
        return max(1, -(-(self.interval_ms - now_ms % self.interval_ms) // 1000))


@dataclass(slots=True)
class Ban:
    """Who keeps asking after a 429 is shut out, longer each time (Binance's 418)."""

    until_ms: int = 0
    length_ms: int = FIRST_BAN_MS
    ignored: int = 0

    def banned(self, now_ms: int) -> bool:
        """Tell whether the address is shut out."""
        return now_ms < self.until_ms

    def ignore(self, now_ms: int) -> bool:
        """Count one more request over the limit; True when that begins a ban."""
        self.ignored += 1
        if self.ignored <= PATIENCE:
            return False
        self.ignored = 0
        self.until_ms = now_ms + self.length_ms
        self.length_ms = min(2 * self.length_ms, MOST_BAN_MS)
        return True


@dataclass(slots=True)
class Rolling:
    """A counter over the last `span_ms` (Bybit)."""

    limit: int
    span_ms: int = 1000
    _times: deque[int] = field(default_factory=deque)

    def left(self, now_ms: int) -> int:
        """Return how many more are allowed now."""
        while self._times and self._times[0] <= now_ms - self.span_ms:
            self._times.popleft()
        return self.limit - len(self._times)

    def take(self, now_ms: int, n: int = 1) -> bool:
        """Count `n`, unless that exceeds the limit."""
        if self.left(now_ms) < n:
            return False
        self._times.extend([now_ms] * n)
        return True

    def resets_ms(self, now_ms: int) -> int:
        """Return when the oldest counted request leaves the window."""
        return self._times[0] + self.span_ms if self._times else now_ms
