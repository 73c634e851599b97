"""The matching engine: price, then time; the change log tells the whole book."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.sim.matching import Book, Side, Trade, Verdict


def allow(owner: object, lots: int) -> Verdict:
    return Verdict(lots)


def take(book: Book, side: Side, limit: int, lots: int) -> list[Trade]:
    trades: list[Trade] = []
    book.match(side, limit, lots, allow, trades.append)
    return trades


def test_a_better_price_trades_first_and_within_a_price_who_came_first() -> None:
    book = Book()
    book.rest(Side.SELL, 102, 1, "far")
    book.rest(Side.SELL, 101, 2, "first")
    book.rest(Side.SELL, 101, 2, "second")
    trades = take(book, Side.BUY, 102, 4)
    assert [(t.tick, t.lots, t.maker) for t in trades] == [(101, 2, "first"), (101, 2, "second")]
    assert book.best(Side.SELL) == 102


def test_a_user_waits_behind_the_background_that_was_there_before() -> None:
    book = Book()
    book.quote(Side.BUY, 100, 5)
    book.rest(Side.BUY, 100, 3, "user")
    book.quote(Side.BUY, 100, 9)  # four more come behind the user
    trades = take(book, Side.SELL, 100, 10)
    assert [(t.lots, t.maker) for t in trades] == [(5, None), (3, "user"), (2, None)]


def test_background_that_withdraws_leaves_from_the_back() -> None:
    book = Book()
    book.quote(Side.BUY, 100, 5)
    book.rest(Side.BUY, 100, 3, "user")
    book.quote(Side.BUY, 100, 9)
    book.quote(Side.BUY, 100, 5)
    assert [(t.lots, t.maker) for t in take(book, Side.SELL, 100, 8)] == [(5, None), (3, "user")]


def test_a_taker_goes_no_further_than_its_limit() -> None:
    book = Book()
    book.quote(Side.SELL, 101, 1)
    book.quote(Side.SELL, 103, 1)
    assert [t.tick for t in take(book, Side.BUY, 102, 5)] == [101]


def test_a_stopped_taker_trades_no_more() -> None:
    book = Book()
    book.rest(Side.SELL, 101, 2, "own")
    trades: list[Trade] = []
    stopped = book.match(Side.BUY, 101, 1, lambda o, n: Verdict(0, stop=True), trades.append)
    assert stopped and not trades and book.lots(Side.SELL, 101) == 2


ops = st.lists(
    st.tuples(st.sampled_from(["quote", "take"]), st.sampled_from(list(Side)),
              st.integers(90, 110), st.integers(0, 9)),
    max_size=60,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(ops)
def test_the_changes_rebuild_the_book_and_each_change_has_an_id(
    operations: list[tuple[str, Side, int, int]],
) -> None:
    book = Book(u=7)
    changes = book.watch()
    shadow: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
    for name, side, tick, lots in operations:
        before = book.u
        if name == "quote" and not book.crosses(side, tick):
            book.quote(side, tick, lots)
        elif name == "take":
            take(book, side, tick, lots)
        assert changes.first == before + 1
        assert (book.u > before) == bool(changes.bids or changes.asks)
        for each in Side:
            for changed in changes.of(each):
                total = book.lots(each, changed)
                shadow[each].pop(changed, None)
                if total:
                    shadow[each][changed] = total
        changes.clear(book.u + 1)
    for each in Side:
        assert dict(book.top(each, 1000)) == shadow[each]
    bid, ask = book.best(Side.BUY), book.best(Side.SELL)
    assert bid is None or ask is None or bid < ask
