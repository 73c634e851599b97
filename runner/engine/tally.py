"""How long each reason stood in a rule's way: time by reason, in minutes, hours and the rest.

Theory of operation. The reasons are looked at whenever a rule changes its state and once a second
(four times in its first 20 s); what was found holds until the next look. So the shares
are shares of *time*, exact for states, sampled for the parts of `when`. Where several reasons stand
at once each gets an equal part of the time, so that the parts add up; `whole` counts a reason's
time whoever else stood there, `alone` the time in which nothing but it was in the way.

The nearest miss of a comparison is the least distance at any look at which it was false. What lies
between two looks is not seen by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from runner.engine.timers import SECOND

MINUTE: Final = 60 * SECOND
MINUTES: Final = 60
HOURS: Final = 168


class Share(msgspec.Struct):
    """The time of one reason, in ns."""

    part: int = 0
    whole: int = 0
    alone: int = 0


class Near(msgspec.Struct, frozen=True):
    """The nearest miss of a comparison: `shown` is the distance, `text` both sides."""

    distance: float
    shown: str
    text: str
    t: int
    wall: int


class Tally(msgspec.Struct):
    """Counts of one rule over some time."""

    watched: int = 0
    """ns that were watched"""
    evaluations: int = 0
    true: int = 0
    entered: int = 0
    """groups that the gate approved"""
    time: dict[str, Share] = msgspec.field(default_factory=dict)
    """by reason (`Block.key`)"""
    refusals: dict[str, int] = msgspec.field(default_factory=dict)
    """by code"""
    near: dict[str, Near] = msgspec.field(default_factory=dict)
    """by comparison, those of `until` behind `until: `"""
    sides: dict[str, int] = msgspec.field(default_factory=dict)
    """ns of each side of a quote: `bid` while it is there, else `bid` and what it lacks"""

    def hold(self, keys: Sequence[str], ns: int) -> None:
        """Book `ns` of time on the reasons that stood in the way."""
        self.watched += ns
        for key in keys:
            share = self.time.get(key)
            if share is None:
                share = self.time[key] = Share()
            share.part += ns // len(keys)
            share.whole += ns
            if len(keys) == 1:
                share.alone += ns

    def quoted(self, sides: Iterable[str], ns: int) -> None:
        """Book `ns` of time on what each side of a quote was."""
        for side in sides:
            self.sides[side] = self.sides.get(side, 0) + ns

    def miss(self, source: str, near: Near) -> None:
        """Keep a miss if it is the nearest of its comparison."""
        known = self.near.get(source)
        if known is None or near.distance < known.distance:
            self.near[source] = near

    def add(self, other: Tally) -> None:
        """Add the counts of another stretch of time."""
        self.watched += other.watched
        self.evaluations += other.evaluations
        self.true += other.true
        self.entered += other.entered
        for key, theirs in other.time.items():
            share = self.time.setdefault(key, Share())
            share.part += theirs.part
            share.whole += theirs.whole
            share.alone += theirs.alone
        for code, count in other.refusals.items():
            self.refusals[code] = self.refusals.get(code, 0) + count
        for source, near in other.near.items():
            self.miss(source, near)
        for side, ns in other.sides.items():
            self.sides[side] = self.sides.get(side, 0) + ns


class Tallies(msgspec.Struct):
    """A rule's tallies: the last hour by the minute, the last week by the hour, the rest as one."""

    minutes: dict[int, Tally] = msgspec.field(default_factory=dict)
    hours: dict[int, Tally] = msgspec.field(default_factory=dict)
    older: Tally = msgspec.field(default_factory=Tally)

    def at(self, now: int) -> Tally:
        """Return the tally of this minute."""
        minute = now // MINUTE
        tally = self.minutes.get(minute)
        if tally is None:
            tally = self.minutes[minute] = Tally()
            self._fold()
        return tally

    def since(self, start: int | None = None) -> Tally:
        """Return all that ended after `start` as one; None: everything."""
        total = Tally()
        for tally in self._after(start):
            total.add(tally)
        return total

    def _after(self, start: int | None) -> Iterable[Tally]:
        if start is None:
            yield self.older
        begin = -1 if start is None else start // MINUTE
        yield from (tally for hour, tally in self.hours.items() if (hour + 1) * 60 > begin)
        yield from (tally for minute, tally in self.minutes.items() if minute >= begin)

    def _fold(self) -> None:
        while len(self.minutes) > MINUTES:
            minute = next(iter(self.minutes))
            self.hours.setdefault(minute // 60, Tally()).add(self.minutes.pop(minute))
        while len(self.hours) > HOURS:
            hour = next(iter(self.hours))
            self.older.add(self.hours.pop(hour))
