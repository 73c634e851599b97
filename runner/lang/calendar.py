"""Wall time in expressions: `between_utc`, `weekday`, and when they turn next.

Times of day are ns since midnight UTC. A wall time of 0 is not told, and so missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol

DAY: Final = 86_400_000_000_000
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


class WallClock(Protocol):
    """Whatever knows the wall time of the present event, in ns since the epoch."""

    wall: int


def time_of_day(text: str) -> int | None:
    """Return "08:00" or "08:00:30" as ns since midnight; None when it is not one."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return (hours * 3600 + minutes * 60 + seconds) * 1_000_000_000


def within(wall: int, start: int, end: int) -> bool:
    """Return whether it is `start` or later and before `end`, over midnight too."""
    if wall <= 0:
        return False
    now = wall % DAY
    return start <= now < end if start < end else now >= start or now < end


def outside(wall: int, start: int, end: int) -> bool:
    """Return whether it is known not to be `within`."""
    return wall > 0 and not within(wall, start, end)


def weekday(wall: int) -> str | None:
    """Return `mon` to `sun`, None without a wall time."""
    return WEEKDAYS[(wall // DAY + 3) % 7] if wall > 0 else None


def until_next(wall: int, times: Sequence[int]) -> int:
    """Return the ns from `wall` to the next of some times of day, at least 1."""
    now = wall % DAY
    return min((time - now - 1) % DAY + 1 for time in times)
