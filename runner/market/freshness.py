"""How late what a connection brings is, without any agreement of clocks (trading.md, section 1).

Theory of operation. A frame that carries the exchange's time E and was received at wall time W has
the delay W - E: the way it took, plus the difference of the two clocks. The least delay of the
last 60 s is the connection's *floor*; what a frame took beyond it is its *lag*, so the difference
of the clocks cancels out. A time sync gives a second floor, half the round trip minus the offset,
which counts when it is less: a connection that is late from its first frame on is then late and
not "normal". Frames without E take the lag of the last frame with one on the same connection.
Without a time sync nothing is known of the first seconds, so a connection warms for 3 s.

The window is kept as the least delay of each second; it is therefore 60 to 61 s long.
"""

from __future__ import annotations

from collections import deque
from typing import Final

SECOND: Final = 1_000_000_000
WINDOW_SECONDS: Final = 60
WARMING: Final = 3 * SECOND
FAR: Final = 1 << 62
"""A time that never comes: no deadline, no limit."""


class Link:
    """One connection: its floor, its lag, and whether they can be trusted yet."""

    __slots__ = ("_seconds", "exchange", "floor", "id", "lag", "low", "opened", "rotate_at", "sync")

    def __init__(self, id: int, exchange: str, opened: int, sync: int | None = None) -> None:
        self.id = id
        self.exchange = exchange
        self.opened = opened
        self.sync = sync
        """half the round trip minus the exchange's offset, ns; None before a time sync"""
        self.floor = FAR if sync is None else sync
        self.low = FAR
        """the least delay of the running second"""
        self.lag = 0
        self.rotate_at = opened + SECOND
        self._seconds: deque[int] = deque(maxlen=WINDOW_SECONDS)

    def stamp(self, t: int, wall: int, ts: int) -> int:
        """Take a frame read at `t`/`wall` that was sent at `ts` (0: not told); return its lag."""
        if not ts:
            return self.lag
        if t >= self.rotate_at:
            self.rotate(t)
        delay = wall - ts
        if delay < self.low:
            self.lower(delay)
        self.lag = lag = delay - self.floor
        return lag

    def lower(self, delay: int) -> None:
        """Note a delay that is the least of its second."""
        self.low = delay
        if delay < self.floor:
            self.floor = delay

    def rotate(self, t: int) -> None:
        """Close the seconds before `t` and let those older than the window go."""
        passed = min((t - self.rotate_at) // SECOND + 1, WINDOW_SECONDS + 1)
        self._seconds.append(self.low)
        self._seconds.extend([FAR] * (passed - 1))
        self.low = FAR
        self.rotate_at = t + SECOND - (t - self.opened) % SECOND
        self._set_floor()

    def synced(self, sync: int) -> None:
        """Take a time sync: half the round trip minus the exchange's clock offset, in ns."""
        self.sync = sync
        self._set_floor()

    def warm_at(self) -> int:
        """Return the monotonic time from which lags count; 0 when they do already."""
        return 0 if self.sync is not None else self.opened + WARMING

    def _set_floor(self) -> None:
        least = min(self.low, min(self._seconds, default=FAR))
        self.floor = least if self.sync is None else min(least, self.sync)
