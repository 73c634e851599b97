"""Pages: grouped by topic, at once, again until somebody says so, and never a storm."""

from __future__ import annotations

import pytest

from runner.app.notify.board import FAR, GATHER, KEPT, QUIET, Board
from runner.engine.commands import Topic

S = 1_000_000_000
M = 60 * S


def sent(board: Board, until: int, step: int = S) -> list[tuple[int, Topic]]:
    """Take what is due, second by second."""
    found = []
    for now in range(0, until + 1, step):
        found += [(now, page.topic) for page in board.take(now)]
    return found


def test_many_texts_of_one_cause_are_one_page_and_a_repeat_is_counted() -> None:
    board = Board()
    for i in range(100):
        assert board.post(Topic.HELD, f"leg {i}", i)
    assert board.due == GATHER
    assert board.take(GATHER - 1) == []
    (page,) = board.take(GATHER)
    assert page.count == 100 and list(page.texts) == [f"leg {i}" for i in range(95, 100)]
    assert len(page.texts) == KEPT and page.more == 95


def test_what_nobody_acknowledges_is_repeated_after_5_15_60_minutes_and_then_hourly() -> None:
    board = Board()
    board.post(Topic.HALT, "loss of the day", 0)
    times = [now // M for now, _ in sent(board, 200 * M)]
    assert times == [0, 5, 15, 60, 120, 180]


def test_an_acknowledged_page_is_silent_until_its_cause_is_told_again() -> None:
    board = Board()
    board.post(Topic.HALT, "a", 0)
    board.take(GATHER)
    assert board.acknowledge("halt") == [Topic.HALT] and board.due == FAR
    assert sent(board, 200 * M) == []
    board.post(Topic.HALT, "b", 300 * M)
    assert [list(p.texts) for p in board.take(300 * M + GATHER)] == [["b"]]
    assert board.acknowledge() == [Topic.HALT] and board.acknowledge() == []
    with pytest.raises(ValueError, match="nonsense"):
        board.acknowledge("nonsense")


def test_news_of_an_open_page_is_told_but_at_most_once_a_minute() -> None:
    board = Board()
    board.post(Topic.UNKNOWN, "one", 0)
    board.take(GATHER)
    board.post(Topic.UNKNOWN, "one", S)  # nothing new
    assert board.due == 5 * M
    board.post(Topic.UNKNOWN, "two", 2 * S)
    assert board.due == GATHER + QUIET
    (page,) = board.take(board.due)
    assert list(page.texts) == ["one", "two"] and board.due == 5 * M


def test_topics_that_are_not_wanted_make_no_page_and_a_note_is_told_once() -> None:
    board = Board(["halt", "note"])
    assert not board.post(Topic.UNKNOWN, "x", 0) and board.due == FAR
    assert board.post(Topic.NOTE, "margin used 61%", 0)
    assert sent(board, 300 * M) == [(S, Topic.NOTE)]
