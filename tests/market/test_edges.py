"""`held`, crossings and changes: three truths, and never an edge out of the dark."""

from __future__ import annotations

from math import inf, nan

from runner.market.edges import Change, Crossing, Held
from runner.market.windows import NEVER

MS = 1_000_000


def says(held: Held, now: int, condition: bool | None) -> bool | None:
    """Feed a condition; return what `held` says then."""
    held.feed(now, condition is True, condition is False)
    if condition is not True:
        return condition
    return True if now >= held.at else False if held.sure else None


def test_a_condition_holds_after_its_span_and_sets_the_timer_for_it() -> None:
    held = Held("", 3 * MS)
    assert says(held, 0, False) is False
    assert says(held, 10, True) is False and held.due == 10 + 3 * MS
    assert says(held, 10 + 3 * MS - 1, True) is False
    assert says(held, 10 + 3 * MS, True) is True and held.due == NEVER
    assert says(held, 11 + 3 * MS, False) is False and held.due == NEVER


def test_what_was_missing_begins_anew_and_is_not_said_to_be_false() -> None:
    held = Held("", 3 * MS)
    assert says(held, 0, True) is None, "it may have held before the first look"
    assert says(held, 3 * MS, True) is True
    assert says(held, 4 * MS, None) is None
    assert says(held, 5 * MS, True) is None
    assert says(held, 8 * MS, True) is True


def test_a_crossing_is_seen_once_from_either_side() -> None:
    crossing = Crossing("")
    seen = []
    for now, a in enumerate([1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 2.0, 3.0]):
        crossing.feed(now, a, 2.0)
        seen.append((crossing.above == now, crossing.below == now))
    up, down, no = (True, False), (False, True), (False, False)
    assert seen == [no, no, up, no, no, down, no, up]


def test_no_crossing_over_a_gap() -> None:
    crossing = Crossing("")
    crossing.feed(1, 1.0, 2.0)
    assert crossing.blind == 1
    for bad in (nan, inf, -inf):
        crossing.feed(2, bad, 2.0)
        crossing.feed(3, 3.0, 2.0)
        assert crossing.above == -1 and crossing.blind == 3


def test_a_change_is_seen_of_numbers_truths_and_texts() -> None:
    for one, other in ((1.0, 2.0), (True, False), ("mon", "tue")):
        change = Change("")
        change.feed(1, one)
        change.feed(2, one)
        assert (change.at, change.blind) == (-1, 1)
        change.feed(3, other)
        assert change.at == 3
        change.feed(4, None)
        change.feed(5, one)
        assert (change.at, change.blind) == (3, 5)
