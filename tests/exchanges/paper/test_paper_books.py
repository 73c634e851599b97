"""Paper reads the strategy's own streams, and only while they are live (R-48)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import runner
from runner.engine.events import Depth, Top
from runner.exchanges.paper import StreamBook
from runner.exchanges.paper.books import Consumption, Take, walk
from runner.market.instruments import Side
from runner.market.state import MarketState, StreamWant
from runner.market.streams import BookStream
from tests.exchanges.paper.paperlab import MS, WALL, ListBook, S, instrument

LISTED = instrument()


def state() -> tuple[MarketState, StreamBook]:
    """Return a market state with one book that is live at 5 s, and paper's view of it."""
    market = MarketState([StreamWant("m.book", "m", "x", "book", 250 * MS, None, deep=True)])
    stream = market.streams["m.book"]
    assert isinstance(stream, BookStream)
    for t in (0, 5 * S):
        market.apply(
            Depth(market="m", snapshot=True, bids=[(100.0, 1.0), (99.9, 2.0)],
                  asks=[(100.1, 1.0), (100.3, 2.0)], last=1 + t, ts=WALL + t, conn=1, t=t,
                  wall=WALL + t)
        )  # fmt: skip
    return market, StreamBook(stream)


def test_a_live_stream_is_a_valid_book_until_it_is_too_old() -> None:
    _, view = state()
    assert view.valid(5 * S) and view.valid(5 * S + 250 * MS)
    assert not view.valid(5 * S + 251 * MS)  # before any timer has noticed
    assert walk(view, LISTED, Side.BUY, 1500, None) == [Take(1001, 1000), Take(1003, 500)]


def test_a_faster_top_of_book_stands_before_the_levels_behind_it() -> None:
    market, view = state()
    market.apply(Top(market="m", bid=100.1, ask=100.2, bid_qty=0.5, ask_qty=0.4, u=6 * S,
                     ts=WALL + 5 * S, conn=1, t=5 * S, wall=WALL + 5 * S))  # fmt: skip
    assert list(view.levels(Side.SELL)) == [(100.2, 0.4), (100.3, 2.0)]
    assert list(view.levels(Side.BUY)) == [(100.1, 0.5), (100.0, 1.0), (99.9, 2.0)]


def test_what_a_price_shows_is_known_within_the_depth_only() -> None:
    market, view = state()
    assert [view.shown(Side.SELL, p) for p in (100.0, 100.1, 100.2, 100.3)] == [0.0, 1.0, 0.0, 2.0]
    assert view.shown(Side.SELL, 100.4) is None
    assert [view.shown(Side.BUY, p) for p in (100.1, 100.0, 99.9)] == [0.0, 1.0, 2.0]
    assert view.shown(Side.BUY, 99.8) is None
    for ticks in range(999_990, 1_000_040):
        price = float(instrument().price(ticks))  # the float that the frame's text makes
        market.apply(Depth(market="m", snapshot=True, bids=[(float(f"{ticks / 10:.1f}"), 1.5)],
                           asks=[(2e6, 1.0)], last=7 * S + ticks, ts=WALL + 5 * S, conn=1,
                           t=5 * S, wall=WALL + 5 * S))  # fmt: skip
        assert view.shown(Side.BUY, price) == 1.5


def test_a_gap_makes_it_invalid_at_once() -> None:
    market, view = state()
    market.apply(Depth(market="m", snapshot=False, bids=[], asks=[], first=9 * S, last=9 * S,
                       ts=WALL + 5 * S, conn=1, t=5 * S, wall=WALL + 5 * S))  # fmt: skip
    assert not view.valid(5 * S)
    assert list(view.levels(Side.SELL)) == []


def test_what_was_taken_beyond_the_known_depth_is_remembered_until_it_is_seen() -> None:
    book = ListBook(asks=[(100.1, 1.0)])
    own = Consumption(LISTED)
    own.take(Side.SELL, [Take(1001, 400), Take(1005, 300)])
    book.asks = [(100.0, 1.0)]
    own.refresh(book)
    assert own.left(Side.SELL, 1001, 1000) == 600 and own.left(Side.SELL, 1005, 1000) == 700
    book.asks = [(100.2, 1.0)]
    own.refresh(book)  # 100.1 is gone, 100.5 is still out of sight
    assert own.left(Side.SELL, 1001, 1000) == 1000 and own.left(Side.SELL, 1005, 1000) == 700
    book.asks = [(100.2, 1.0), (100.5, 0.1)]
    own.refresh(book)
    assert own.left(Side.SELL, 1005, 1000) == 900
    book.asks = []
    own.refresh(book)
    assert own


@pytest.mark.parametrize("floor", ["engine", "market", "lang", "spec"])
def test_nothing_below_the_order_side_knows_of_paper(floor: str) -> None:
    """R-41: no `if paper` in strategy, gate or tracker; not even the name."""
    for path in (Path(runner.__file__).parent / floor).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = {
                ast.Name: "id", ast.Attribute: "attr", ast.arg: "arg", ast.alias: "name",
                ast.FunctionDef: "name", ast.ClassDef: "name", ast.keyword: "arg",
            }  # fmt: skip
            named = getattr(node, names.get(type(node), ""), None) if type(node) in names else None
            assert named is None or "paper" not in named.lower(), (path, node.lineno)
