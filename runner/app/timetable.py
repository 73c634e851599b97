"""The timetable of a run: which calendar comes next, on any clock.

A socket run asks it by the wall clock, a dry-run over recordings by the recording's: the same
instants come either way. An instant is handled once; of several that passed while nobody looked
only the last comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from runner.sources.door import Accepted
from runner.sources.schedule import Calendar, named
from runner.spec.source_plan import SourcePlan

NEVER: Final = 1 << 62


class Timetable:
    """All calendars of a strategy; times are wall ns. `last` gives what was handled before."""

    def __init__(
        self, sources: Sequence[SourcePlan], run_id: str, last: Callable[[str], int]
    ) -> None:
        self._calendars = {source.name: Calendar(source, run_id) for source in sources}
        self._last = last
        self._coming: dict[str, tuple[int, int]] = {}
        """by source: when to act, and the instant it is of"""
        self.skipped: list[tuple[str, int]] = []
        """(source, first instant) of those that passed before `begin` and are not made up for"""

    def begin(self, wall: int) -> None:
        """Start counting at `wall`; what was missed before and still counts is due at once."""
        for name, calendar in self._calendars.items():
            missed = calendar.missed(self._last(name), wall)
            if missed is not None:
                self._coming[name] = (wall, missed)
                continue
            last = self._last(name)
            first = calendar.after(last) if last else None
            if first is not None and first <= wall:
                self.skipped.append((name, first))
            self._plan(name, wall)

    @property
    def next(self) -> int:
        """When something is due; NEVER when nothing is."""
        return min((at for at, _ in self._coming.values()), default=NEVER)

    def due(self, wall: int) -> list[tuple[str, int]]:
        """Return (source, instant) of all that is due at `wall`, in the order of time."""
        found = sorted(
            (at, name, instant) for name, (at, instant) in self._coming.items() if at <= wall
        )
        due = []
        for _, name, instant in found:
            later = self._calendars[name].after(instant)
            while later is not None and self._calendars[name].fires_at(later) <= wall:
                instant, later = later, self._calendars[name].after(later)
            due.append((name, instant))
            self._plan(name, instant)
        return due

    def message(self, instant: int) -> Accepted:
        """Return the message of an instant."""
        return Accepted(named(instant), {}, instant)

    def _plan(self, name: str, wall: int) -> None:
        calendar = self._calendars[name]
        instant = calendar.after(wall)
        if instant is None:
            self._coming.pop(name, None)
        else:
            self._coming[name] = (calendar.fires_at(instant), instant)
