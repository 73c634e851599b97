"""Calendars: when a cron time comes next, in its zone, to the second.

The times are computed by APScheduler's `CronTrigger`; when to wake up is ours, so that a virtual
clock and a replay see the same instants. `last` is the instant that was handled last, whatever
became of it; what was missed meanwhile comes once, as its latest.

When the clocks go back, a time with a written hour comes once, the first time; when they go forward
over it, it comes as long after as it would have been.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from runner.spec.cron import parse_cron
from runner.spec.source_plan import SchedulePlan, SourcePlan

SECOND: Final = 1_000_000_000
_MOST_MISSED: Final = 100_000


class Calendar:
    """The instants of one schedule; all times are wall ns."""

    def __init__(self, plan: SourcePlan, run_id: str) -> None:
        assert isinstance(plan.options, SchedulePlan)
        self.name = plan.name
        self._plan = plan.options
        self._max_age = plan.max_age_ns
        self._run_id = run_id
        cron = parse_cron(self._plan.cron)
        self._once_a_day = cron.hour != "*"
        """an hour that comes twice when the clocks go back counts once"""
        self._trigger = CronTrigger(
            minute=cron.minute,
            hour=cron.hour,
            day=cron.day,
            month=cron.month,
            day_of_week=cron.weekday,
            timezone=ZoneInfo(self._plan.zone),
        )

    def after(self, wall: int) -> int | None:
        """Return the first instant after `wall`; None when there is none any more."""
        now = datetime.fromtimestamp(wall // SECOND + 1, UTC)
        found = self._trigger.get_next_fire_time(None, now)
        while found is not None and found.fold and self._once_a_day:
            later = found.astimezone(UTC) + timedelta(seconds=1)
            found = self._trigger.get_next_fire_time(None, later)
        return None if found is None else round(found.timestamp()) * SECOND

    def fires_at(self, instant: int) -> int:
        """Return when an instant is acted on: up to `jitter` later, by the run's own measure."""
        if not self._plan.jitter_ns:
            return instant
        seed = hashlib.sha256(f"{self._run_id} {self.name} {instant}".encode()).digest()
        return instant + int.from_bytes(seed[:8]) * self._plan.jitter_ns // (1 << 64)

    def missed(self, last: int, wall: int) -> int | None:
        """Return the latest instant between `last` and now that is to be made up for, if any.

        Without a `last` nothing was ever missed.
        """
        within = self._plan.missed_within_ns
        if not last or not within:
            return None
        at, latest = max(last, wall - within - 1), None
        for _ in range(_MOST_MISSED):
            at = self.after(at) or wall + 1
            if at > wall:
                break
            latest = at
        return latest


def named(instant: int) -> str:
    """Return the id of an instant: its time in UTC."""
    moment = datetime.fromtimestamp(instant // SECOND, UTC)
    assert moment.utcoffset() == timedelta(0)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
