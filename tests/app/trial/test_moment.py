"""A moment of a recording becomes a test that can be pasted, and that sees the same market."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.app.trial.moment import Window, compact, moment
from runner.app.trial.play import play
from runner.base.clock import NS_PER_MS, NS_PER_S, VirtualClock
from runner.base.errors import UsageError
from runner.engine.events import Signal
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


HEARS = """\
version: 1
name: hears
exchanges: {bybit: {type: bybit_linear, network: testnet}}
markets: {a: {exchange: bybit, symbol: BTCUSDT, streams: {book: {max_age: 300ms}}}}
sources:
  voc:
    type: webhook
    listen: {port: 8089, path: /voc}
    auth: {token: {env: T}, in: /token}
    dedupe: {by: id, within: 1d}
    max_age: 10s
    fields:
      id: {type: text}
      action: {type: enum, values: [long, close]}
      stop: {type: price, of: a, optional: true}
      edge: {type: ratio}
  mood:
    type: rest
    url: https://e.invalid/mood
    every: 5s
    max_age: 1m
    fields: {score: {type: number}, span: {type: duration}, sure: {type: bool}}
rules:
  go:
    trigger: voc
    when: voc.action == "long" and voc.edge > 2bps and mood.sure and mood.score > 0.5
    max_hold: 1h
    trade: {size: 300 USDT, legs: [{market: a, side: buy}]}
risk:
  max_order: 450 USDT
  max_position: {a: 0.5 BTC}
  max_daily_loss: 20 USDT
  max_orders: {count: 6, per: 1m}
"""


def test_what_sources_said_is_a_tick_and_the_pasted_test_hears_it(tmp_path: Path) -> None:
    folder, checked = tmp_path / "rec", load(HEARS)
    assert checked.plan is not None, as_text(checked)
    recorder = Recorder(
        folder, About(run="r", runner="0", source="live"), VirtualClock(0, WALL), patient=True
    )
    recorder.open(1, 0, WALL, "bybit", "bybit_linear", "public", "ws://127.0.0.1/public")
    mood = {"score": 0.75, "span": 90.0, "sure": True}
    said = {"id": 'a"1', "action": "long", "edge": 0.0003}
    for i in range(60):
        t = i * 100 * MS + 50 * MS
        for at, source, fields in ((2050, "mood", mood), (5050, "voc", said)):
            if t == at * MS:
                recorder.event(
                    Signal(source=source, id=source, fields=fields, sent_at=WALL + t - 7 * MS,
                           t=t, wall=WALL + t)
                )  # fmt: skip
        ms = (WALL + t) // MS
        text = _DEEP % (ms, 60_000, 59_999, 60_001, 60_002, i + 1, i + 1, ms)
        recorder.frame(1, t, WALL + t, False, text.encode())
    recorder.finish()
    window = Window(5 * NS_PER_S, False, 1000 * MS, 500 * MS, 100 * MS)
    found = moment(checked.plan, lambda: Recording(folder), window, "rec")
    assert "{t: 0s, mood: {score: 0.75, span: 90s, sure: true, old: 1957ms}}" in found
    assert '{t: 1050ms, voc: {id: "a\\"1", action: "long", edge: 3bps, old: 7ms}}' in found
    pasted = load(f"{HEARS}tests:\n{found.replace('orders: []', 'rule: {go: active}')}")
    assert pasted.plan is not None, as_text(pasted)
    outcome = play(pasted.plan, pasted.plan.trials[0])
    assert outcome.mismatch is None, outcome
