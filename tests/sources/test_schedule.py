"""Calendars: exact instants, zones with summer time, what was missed, jitter by the run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runner.app.timetable import NEVER, Timetable
from runner.sources.schedule import Calendar
from runner.spec.source_plan import SchedulePlan, SourcePlan, SourceType

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def source(cron: str, zone: str = "UTC", missed: int = 0, jitter: int = 0) -> SourcePlan:
    plan = SchedulePlan(cron, zone, missed, jitter)
    return SourcePlan("x", SourceType.SCHEDULE, True, {}, 60 * SECOND, plan)


def ns(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def run_of(cron: str, start: str, count: int, zone: str = "UTC") -> list[str]:
    calendar, at, found = Calendar(source(cron, zone), "run"), ns(start), []
    for _ in range(count):
        at = calendar.after(at) or 0
        found.append(datetime.fromtimestamp(at // SECOND, UTC).isoformat()[:16])
    return found


def test_instants_are_strictly_after_and_exact() -> None:
    assert run_of("0 8 * * MON", "2026-11-27T00:00", 2) == ["2026-11-30T08:00", "2026-12-07T08:00"]
    assert run_of("0 8 * * 1", "2026-11-30T08:00", 1) == ["2026-12-07T08:00"], "1 is Monday"
    assert run_of("0 8 * * 0", "2026-11-27T00:00", 1) == ["2026-11-29T08:00"], "0 is Sunday"
    assert run_of("*/20 * * * *", "2026-11-27T23:41", 2) == ["2026-11-28T00:00", "2026-11-28T00:20"]
    assert run_of("0 0 29 2 *", "2026-11-27T00:00", 1) == ["2028-02-29T00:00"]
    with pytest.raises(ValueError, match="would never come"):
        Calendar(source("0 0 31 2,4 *"), "run").after(ns("2026-01-01T00:00"))


def test_summer_time_moves_the_instant_and_each_day_has_it_once() -> None:
    berlin = run_of("0 8 * * *", "2026-03-27T12:00", 3, "Europe/Berlin")
    assert berlin == ["2026-03-28T07:00", "2026-03-29T06:00", "2026-03-30T06:00"]
    # 02:30 does not exist on 29 March, and comes twice on 25 October
    gap = run_of("30 2 * * *", "2026-03-28T00:00", 3, "Europe/Berlin")
    assert gap == ["2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"]
    again = run_of("30 2 * * *", "2026-10-24T12:00", 2, "Europe/Berlin")
    assert again == ["2026-10-25T00:30", "2026-10-26T01:30"]
    hourly = run_of("30 * * * *", "2026-10-24T23:45", 3, "Europe/Berlin")
    assert hourly == ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]


def test_what_was_missed_comes_once_within_its_time() -> None:
    weekly = source("0 8 * * *", missed=6 * HOUR)
    calendar = Calendar(weekly, "run")
    last = ns("2026-11-25T08:00")
    assert calendar.missed(last, ns("2026-11-27T13:00")) == ns("2026-11-27T08:00"), "the latest"
    assert calendar.missed(last, ns("2026-11-27T14:01")) is None, "too long ago"
    assert calendar.missed(ns("2026-11-27T08:00"), ns("2026-11-27T13:00")) is None, "not missed"
    assert calendar.missed(0, ns("2026-11-27T13:00")) is None, "there was no run before"
    table = Timetable([weekly], "run", lambda _: last)
    table.begin(ns("2026-11-27T13:00"))
    assert table.due(ns("2026-11-27T13:00")) == [("x", ns("2026-11-27T08:00"))]
    assert table.next == ns("2026-11-28T08:00") and table.skipped == []
    late = Timetable([weekly], "run", lambda _: last)
    late.begin(ns("2026-11-27T14:01"))
    assert late.skipped == [("x", ns("2026-11-26T08:00"))], "told, not made up for"
    assert late.next == ns("2026-11-28T08:00")


def test_a_timetable_gives_each_instant_once_and_of_a_gap_the_last() -> None:
    table = Timetable([source("* * * * *")], "run", lambda _: 0)
    table.begin(ns("2026-11-27T13:00:30"))
    assert table.next == ns("2026-11-27T13:01") and table.due(ns("2026-11-27T13:00:59")) == []
    assert table.due(ns("2026-11-27T13:01")) == [("x", ns("2026-11-27T13:01"))]
    assert table.due(ns("2026-11-27T13:01")) == []
    assert table.due(ns("2026-11-27T13:09:30")) == [("x", ns("2026-11-27T13:09"))]
    assert Timetable([], "run", lambda _: 0).next == NEVER


def test_jitter_follows_from_the_run_alone() -> None:
    jittered = source("0 * * * *", jitter=30 * SECOND)
    hours = [ns("2026-11-27T00:00") + i * HOUR for i in range(200)]
    one = [Calendar(jittered, "a").fires_at(h) - h for h in hours]
    assert one == [Calendar(jittered, "a").fires_at(h) - h for h in hours]
    assert one != [Calendar(jittered, "b").fires_at(h) - h for h in hours]
    assert 0 <= min(one) < 2 * SECOND and 28 * SECOND < max(one) < 30 * SECOND
