"""The time of the day in UTC, against the standard library's calendar."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from runner.lang.calendar import DAY, outside, time_of_day, until_next, weekday, within

SECOND = 1_000_000_000
WALLS = st.integers(1, 4_000_000_000 * SECOND)
TIMES = st.integers(0, 86_399).map(lambda s: s * SECOND)


def test_times_of_day_are_written_in_one_way() -> None:
    assert time_of_day("08:00") == 8 * 3600 * SECOND
    assert time_of_day("23:59:59") == DAY - SECOND
    for bad in ("8:00", "24:00", "08:60", "0800", "08:00:60", "", " 08:00", "08:00Z"):
        assert time_of_day(bad) is None


@given(wall=WALLS)
def test_the_weekday_is_the_calendars(wall: int) -> None:
    day = datetime.fromtimestamp(wall // SECOND, tz=UTC).strftime("%a").lower()
    assert weekday(wall) == day


@given(wall=WALLS, start=TIMES, end=TIMES)
def test_inside_and_outside_are_opposites_and_the_next_turn_turns(
    wall: int, start: int, end: int
) -> None:
    if start == end:
        return
    assert within(wall, start, end) is not outside(wall, start, end)
    turn = wall + until_next(wall, (start, end))
    assert wall < turn <= wall + DAY
    assert within(turn, start, end) is (turn % DAY == start)
    assert within(turn - 1, start, end) is within(wall, start, end)


def test_a_wall_time_that_nobody_told_is_missing() -> None:
    assert weekday(0) is None
    assert not within(0, 0, SECOND) and not outside(0, 0, SECOND)
