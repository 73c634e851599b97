"""Books: each exchange's continuity rule, and levels that equal a plain dict's."""

from __future__ import annotations

from math import isnan, nan

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.market.book import KEPT, Book, Step, take
from runner.market.events import Depth, Level


def snapshot(last: int, conn: int = 0, bid: float = 100.0, ask: float = 101.0) -> Depth:
    return Depth(
        market="m", snapshot=True, bids=[(bid, 1.0)], asks=[(ask, 1.0)], first=last, last=last,
        conn=conn,
    )  # fmt: skip


def diff(
    first: int, last: int, prev: int = -1, bids: list[Level] | None = None, conn: int = 1
) -> Depth:
    return Depth(
        market="m", snapshot=False, bids=bids or [], asks=[], first=first, last=last, prev=prev,
        conn=conn,
    )  # fmt: skip


def steps(*events: Depth) -> list[Step]:
    book = Book()
    return [book.apply(event) for event in events]


def test_spot_differences_continue_by_their_first_id() -> None:
    assert steps(snapshot(10), diff(9, 12), diff(13, 13), diff(14, 20)) == [Step.APPLIED] * 4
    assert steps(snapshot(10), diff(12, 14)) == [Step.APPLIED, Step.GAP]


def test_futures_differences_must_name_the_one_before_them() -> None:
    good = [snapshot(10), diff(8, 12, 7), diff(15, 19, 12), diff(25, 29, 19)]
    assert steps(*good) == [Step.APPLIED] * 4
    assert steps(*good, diff(35, 39, 31))[-1] is Step.GAP
    assert steps(*good, diff(25, 39, 19))[-1] is Step.GAP
    # the first one must reach over the snapshot
    assert steps(snapshot(10), diff(12, 14, 11))[-1] is Step.GAP
    assert steps(snapshot(10), diff(8, 10, 7), diff(12, 14, 10))[1:] == [Step.APPLIED] * 2


def test_bybit_differences_rise_by_one_and_its_snapshots_always_replace() -> None:
    applied = steps(snapshot(500, conn=1), diff(501, 501), diff(502, 502), snapshot(1, conn=1))
    assert applied == [Step.APPLIED] * 4
    assert steps(snapshot(500, conn=1), diff(502, 502))[-1] is Step.GAP


def test_repetitions_are_ignored() -> None:
    assert steps(snapshot(10), diff(9, 12), diff(9, 12), diff(5, 11))[2:] == [Step.IGNORED] * 2


def test_differences_before_the_snapshot_are_kept_and_those_it_covers_dropped() -> None:
    book = Book()
    for each in (diff(5, 8, bids=[(99.0, 5.0)]), diff(9, 12, bids=[(100.5, 2.0)])):
        assert book.apply(each) is Step.KEPT
    assert book.apply(snapshot(10)) is Step.APPLIED
    assert book.last == 12
    assert book.best() == (100.5, 101.0, 2.0, 1.0)
    assert 99.0 not in book.bids


def test_a_snapshot_older_than_the_kept_differences_is_too_old_and_loses_none_of_them() -> None:
    book = Book()
    book.apply(diff(50, 55))
    book.apply(diff(56, 60))
    assert book.apply(snapshot(10)) is Step.TOO_OLD
    assert not book.in_step
    assert book.apply(snapshot(52)) is Step.APPLIED
    assert book.last == 60


def test_a_late_rest_snapshot_does_not_take_a_book_in_step_back() -> None:
    assert steps(snapshot(10), diff(9, 20), snapshot(15), diff(21, 22))[2:] == [
        Step.IGNORED,
        Step.APPLIED,
    ]


def test_a_gap_empties_the_book_and_keeps_the_difference_for_the_next_snapshot() -> None:
    book = Book()
    book.apply(snapshot(10))
    assert book.apply(diff(15, 18, bids=[(100.2, 3.0)])) is Step.GAP
    assert isnan(book.best()[0]) and not book.in_step
    assert book.apply(snapshot(16)) is Step.APPLIED
    assert book.last == 18 and book.best()[0] == 100.2


def test_the_wait_for_a_snapshot_is_bounded() -> None:
    book = Book()
    for u in range(KEPT * 3):
        book.apply(diff(u, u))
    assert len(book._kept) <= KEPT


prices = st.integers(1, 30).map(lambda n: n / 2)
levels = st.lists(st.tuples(prices, st.integers(0, 3).map(float)), max_size=6)


@given(st.lists(st.tuples(levels, levels), max_size=30))
@settings(max_examples=200, deadline=None)
def test_levels_are_those_of_a_plain_dict(changes: list[tuple[list[Level], list[Level]]]) -> None:
    book = Book()
    book.apply(snapshot(0))
    sides: tuple[dict[float, float], dict[float, float]] = ({100.0: 1.0}, {101.0: 1.0})
    for u, (bids, asks) in enumerate(changes, 1):
        book.apply(Depth(market="m", snapshot=False, bids=bids, asks=asks, first=u, last=u))
        for side, change in zip(sides, (bids, asks), strict=True):
            for price, qty in change:
                if qty:
                    side[price] = qty
                else:
                    side.pop(price, None)
    assert (book.bids, book.asks) == sides
    assert list(book.levels(buy=False)) == sorted(sides[0].items(), reverse=True)
    assert list(book.levels(buy=True)) == sorted(sides[1].items())
    bid, ask, _, _ = book.best()
    assert bid == max(sides[0]) if sides[0] else isnan(bid)
    assert ask == min(sides[1]) if sides[1] else isnan(ask)


def test_taking_walks_the_levels_by_amount_or_by_notional() -> None:
    asks = [(100.0, 1.0), (110.0, 2.0)]
    assert take(iter(asks), 2.0, nan) == (2.0, 210.0)
    assert take(iter(asks), 5.0, nan) == (3.0, 320.0)  # not enough: what there is
    filled, paid = take(iter(asks), nan, 210.0)
    assert (filled, paid) == (2.0, 210.0)
