"""A moment of a recording becomes a test that can be pasted, and that sees the same market."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.app.trial.moment import Window, compact, moment
from runner.app.trial.play import play
from runner.base.clock import NS_PER_MS, NS_PER_S, VirtualClock
from runner.base.errors import UsageError
from runner.lang.render import as_text
from runner.spec import load
from runner.spec.plan import Plan
from runner.store.recorder import About, Recorder
from runner.store.recording import Recording
from tests.app.trial.lab import HEAD

WALL = 1_767_571_200 * NS_PER_S
MS = NS_PER_MS
_DEEP = (
    '{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":%d,"data":{"s":"BTCUSDT",'
    '"b":[["%.1f","1.5"],["%.1f","9"]],"a":[["%.1f","1.5"],["%.1f","9"]],"u":%d,"seq":%d},"cts":%d}'
)


def plan() -> Plan:
    checked = load(HEAD.replace("tests:\n", ""))
    assert checked.plan is not None
    return checked.plan


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """`a` (Bybit) every 100 ms for 8 s, apart by 300 from 5 s on, silent from 6 s to 7 s."""
    folder = tmp_path / "rec"
    recorder = Recorder(
        folder, About(run="r", runner="0", source="live"), VirtualClock(0, WALL), patient=True
    )
    recorder.open(1, 0, WALL, "bybit", "bybit_linear", "public", "ws://127.0.0.1/public")
    for i in range(80):
        t = i * 100 * MS + 50 * MS
        if 6 * NS_PER_S <= t < 7 * NS_PER_S:
            continue
        bid = 60_300.0 if t >= 5 * NS_PER_S else 60_000.0
        ms = (WALL + t) // MS
        text = _DEEP % (ms, bid, bid - 1, bid + 1, bid + 2, i + 1, i + 1, ms)
        recorder.frame(1, t, WALL + t, False, text.encode())
    recorder.finish()
    return folder


def taken(folder: Path, at: int, before: int = 1000, after: int = 500, wall: bool = False) -> str:
    window = Window(at, wall, before * MS, after * MS, 100 * MS)
    return moment(plan(), lambda: Recording(folder), window, "rec")


def test_the_series_are_what_was_recorded(recording: Path) -> None:
    text = taken(recording, 5 * NS_PER_S)
    assert "  at 00.00.04 on 2026-01-05:     # of rec\n" in text
    assert 'starts: "2026-01-05T00:00:04Z"' in text
    assert "      a.book.bid: 60000x11 60300x5\n" in text
    assert "      a.book.ask: 60001x11 60301x5\n" in text
    assert "      a.book.bid_qty: 1.5x16\n" in text
    assert "b.book" not in text


def test_it_can_be_pasted_and_run(recording: Path) -> None:
    text = taken(recording, 5 * NS_PER_S)
    checked = load(HEAD + text)
    assert checked.plan is not None, as_text(checked)
    (trial,) = checked.plan.trials
    outcome = play(checked.plan, trial)
    assert outcome.mismatch is None and outcome.ticks == 64


def test_silence_is_no_update_and_then_stale(recording: Path) -> None:
    text = taken(recording, 6 * NS_PER_S + 500 * MS, before=700, after=900)
    assert "      a.book.bid: 60300x3 _x2 stale _x7 60300x4\n" in text


def test_a_time_of_day_finds_the_same_moment(recording: Path) -> None:
    assert taken(recording, WALL + 5 * NS_PER_S, wall=True) == taken(recording, 5 * NS_PER_S)


def test_a_time_without_a_market_is_refused(recording: Path) -> None:
    with pytest.raises(UsageError, match="none of the strategy's streams was live"):
        taken(recording, 60 * NS_PER_S)
    with pytest.raises(UsageError, match="begins later"):
        taken(recording, WALL - NS_PER_S, wall=True)


def test_equal_values_are_written_once() -> None:
    assert compact(["1", "1", "_", "2", "2", "2"]) == "1x2 _ 2x3"
