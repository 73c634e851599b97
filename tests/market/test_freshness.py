"""Lag by the floor of a connection: trading.md, section 1."""

from __future__ import annotations

from runner.market.freshness import FAR, SECOND, WARMING, Link

MS = 1_000_000
SKEW = -1_270 * MS
"""our clock minus the exchange's, as in a real capture"""


def stamp(link: Link, at: int, late: int) -> int:
    """A frame received at `at` that took 5 ms plus `late` on its way."""
    sent = 10**18 + at - 5 * MS - late
    return link.stamp(at, 10**18 + at + SKEW, sent)


def test_the_difference_of_the_clocks_cancels_out() -> None:
    link = Link(1, "x", 0)
    assert stamp(link, 0, 0) == 0
    assert stamp(link, 10 * MS, 40 * MS) == 40 * MS
    assert stamp(link, 20 * MS, 0) == 0


def test_a_faster_frame_lowers_the_floor_at_once() -> None:
    link = Link(1, "x", 0)
    assert stamp(link, 0, 30 * MS) == 0
    assert stamp(link, MS, 0) == 0
    assert stamp(link, 2 * MS, 30 * MS) == 30 * MS


def test_the_floor_forgets_what_is_older_than_a_minute() -> None:
    link = Link(1, "x", 0)
    stamp(link, 0, 0)
    for second in range(1, 59):
        assert stamp(link, second * SECOND, 20 * MS) == 20 * MS
    for second in range(62, 64):
        lag = stamp(link, second * SECOND, 20 * MS)
    assert lag == 0


def test_a_long_silence_empties_the_window() -> None:
    link = Link(1, "x", 0)
    stamp(link, 0, 0)
    assert stamp(link, 500 * SECOND, 20 * MS) == 0


def test_a_time_sync_shows_a_connection_that_is_late_from_the_start() -> None:
    link = Link(1, "x", 0)
    assert stamp(link, 0, 800 * MS) == 0
    # exchange minus ours is 1270 ms, half a round trip 5 ms
    link.synced(5 * MS - 1_270 * MS)
    assert stamp(link, 10 * MS, 800 * MS) == 800 * MS


def test_frames_without_a_time_take_the_last_lag() -> None:
    link = Link(1, "x", 0)
    stamp(link, 0, 0)
    stamp(link, MS, 70 * MS)
    assert link.stamp(2 * MS, 10**18, 0) == 70 * MS


def test_a_connection_warms_for_three_seconds_unless_there_is_a_time_sync() -> None:
    link = Link(1, "x", 5 * SECOND)
    assert link.warm_at() == 5 * SECOND + WARMING
    link.synced(0)
    assert link.warm_at() == 0


def test_a_lag_is_never_negative() -> None:
    link = Link(1, "x", 0, sync=FAR)
    for at in range(0, 5 * SECOND, 100 * MS):
        assert stamp(link, at, (at * 7) % (90 * MS)) >= 0
