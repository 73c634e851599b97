"""Timers: a heap of deadlines in monotonic nanoseconds; equal ones fire in the order they were set.

A timer is never taken back. Whoever sets one checks, when it fires, that its reason still stands:
that is cheaper than a cancellation and cannot forget one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Final

NEVER: Final = 1 << 62
MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
READS: Final = object()
"""the subject of a timer that only reads"""


class Timers:
    """Deadlines and what to do then."""

    __slots__ = ("_count", "_heap", "due")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self._count = 0
        self.due = NEVER
        """the earliest deadline; NEVER when there is none"""

    def at(self, due: int, act: Callable[[Any], None], subject: Any = None) -> None:
        """Call `act(subject)` at `due`."""
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, act, subject))
        self.due = self._heap[0][0]

    def run(self, now: int) -> bool:
        """Fire what is due at `now`, in order; timers set meanwhile fire too if they are due.

        Returns whether any of them may have changed something: one whose subject is `READS` says
        that it does not.
        """
        heap = self._heap
        changed = False
        while heap and heap[0][0] <= now:
            _, _, act, subject = heapq.heappop(heap)
            act(subject)
            changed = changed or subject is not READS
        self.due = heap[0][0] if heap else NEVER
        return changed
