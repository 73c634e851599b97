"""The only module that reads a clock.

Everything that needs the time takes a `Clock`, so that a run can be replayed and a test can live
in virtual time. Times are integers of nanoseconds; `mono` is for ages and timers, `wall` (UTC
since the epoch) for stamps that leave the process.
"""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """Two readings of now, in nanoseconds."""

    def mono(self) -> int:
        """Return monotonic nanoseconds since an arbitrary origin."""
        ...

    def wall(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """The machine's clocks; `mono` counts from the creation of the object."""

    __slots__ = ("_origin",)

    def __init__(self) -> None:
        self._origin = time.monotonic_ns()

    def mono(self) -> int:
        return time.monotonic_ns() - self._origin

    def wall(self) -> int:
        return time.time_ns()


class VirtualClock:
    """A clock that moves only when told; used by tests, replay and scenarios."""

    __slots__ = ("_mono", "_wall_at_zero")

    def __init__(self, mono: int = 0, wall: int = 1_700_000_000 * NS_PER_S) -> None:
        self._mono = mono
        self._wall_at_zero = wall - mono

    def mono(self) -> int:
        return self._mono

    def wall(self) -> int:
        return self._wall_at_zero + self._mono

    def set(self, mono: int, wall: int | None = None) -> None:
        """Move to `mono`; refuse to go back. `wall` moves the wall clock against it."""
        if mono < self._mono:
            raise ValueError(f"a monotonic clock cannot go back from {self._mono} to {mono}")
        self._mono = mono
        if wall is not None:
            self._wall_at_zero = wall - mono

    def advance(self, ns: int) -> None:
        """Move both clocks forward by `ns` nanoseconds."""
        self.set(self._mono + ns)


def worked_ns() -> int:
    """Return the processor time of this process; differences only, free of what others do."""
    return time.process_time_ns()


def stopwatch_ns() -> int:
    """Return a high-resolution reading for latency stamps; differences only."""
    return time.perf_counter_ns()
