"""Replay of a two-market gap rule: decoded tops, and raw frames from a recording (`bench replay`).

Both beside a bare loop of the same work in the same run: for tops, a hand-written engine of two
floats a market and one comparison; for frames, reading the recording and decoding every frame.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from runner.app.assembly import host_of
from runner.app.bench.setup import GAP_STRATEGY, make_ready, parts_of, plan_of, scratch_journal
from runner.app.bindings import bindings_of, wants_of
from runner.app.frames import FrameReader
from runner.app.offline import NoOrders
from runner.base.clock import NS_PER_MS, NS_PER_S, SystemClock, stopwatch_ns
from runner.engine.events import Top
from runner.exchanges.api import Decoded
from runner.exchanges.registry import market_codec
from runner.spec.plan import Plan
from runner.store.lines import In
from runner.store.recorder import About, Recorder
from runner.store.recording import Recording

TOPS = 300_000
FRAMES = 150_000
_STEP = 2 * NS_PER_MS
_WALL = 1_723_161_255_000_000_000
_SPOT = (
    '{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"%.2f","B":"3.78826000",'
    '"a":"%.2f","A":"1.54698000"}}'
)
_PERP = (
    '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"%.2f",'
    '"B":"2.507","a":"%.2f","A":"2.510","T":%d,"E":%d}}'
)


def run(tops: int = TOPS, frames: int = FRAMES) -> dict[str, Any]:
    """Measure both and return rates a second, and their ratios to the bare loops."""
    plan = plan_of(GAP_STRATEGY)
    decoded, events = decoded_tops(plan, tops)
    bare = _bare_tops(events)
    seen, raw, reading = _raw(plan, frames)
    return {
        "tops": tops,
        "tops_per_s": round(decoded),
        "bare_tops_per_s": round(bare),
        "tops_ratio": round(bare / decoded, 2),
        "frames": frames,
        "frames_decoded": seen,
        "frames_per_s": round(raw),
        "bare_frames_per_s": round(reading),
        "frames_ratio": round(reading / raw, 2),
    }


def decoded_tops(
    plan: Plan,
    count: int,
    *,
    watching: bool = True,
    stopwatch: Callable[[], int] = stopwatch_ns,
) -> tuple[float, list[Top]]:
    """Return how many tops of book a second the engine takes, and the tops."""
    clock = SystemClock()
    parts = parts_of(plan, clock, watching)
    with scratch_journal(clock, plan, parts.run_id) as journal:
        parts.observers.clear()
        host, _ = host_of(parts, NoOrders(), journal, virtual=True, timed=False)
        make_ready(parts, host, 0, _WALL)
        events = _tops(count)
        engine, tick, handle = parts.engine, host.tick, parts.engine.handle
        begin = stopwatch()
        for event in events:
            if event.t >= engine.due:
                tick(event.t, event.wall)
            if handle(event):
                raise AssertionError("the gap rule was not meant to do anything")
        ours = count * NS_PER_S / (stopwatch() - begin)
    return ours, events


def _bare_tops(events: list[Top]) -> float:
    """What a programmer would write by hand for this one rule."""
    books = {"s": [0.0, 0.0, 0], "p": [0.0, 0.0, 0]}
    spot, perp = books["s"], books["p"]
    fired = 0
    begin = stopwatch_ns()
    for event in events:
        book = books[event.market]
        book[0], book[1], book[2] = event.bid, event.ask, event.t
        t = event.t
        fresh = t - spot[2] < NS_PER_S and t - perp[2] < NS_PER_S
        if fresh and spot[1] and perp[0] / spot[1] - 1 > 0.03:
            fired += 1
    return len(events) * NS_PER_S / (stopwatch_ns() - begin)


def _tops(count: int) -> list[Top]:
    return [
        Top(
            market="s" if i % 2 else "p",
            bid=60_000.0 + i % 7,
            ask=60_000.1 + i % 7,
            bid_qty=1.0,
            ask_qty=2.0,
            u=i + 1,
            ts=_WALL + i * _STEP,
            conn=1 + i % 2,
            t=i * _STEP,
            wall=_WALL + i * _STEP,
        )
        for i in range(count)
    ]


def _raw(plan: Plan, count: int) -> tuple[int, float, float]:
    """Return the frames our reader decoded, and the frames a second of both."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        _write(path, plan, count)
        return *_through_engine(plan, path), _bare_frames(plan, path)


def _through_engine(plan: Plan, path: Path) -> tuple[int, float]:
    clock = SystemClock()
    parts = parts_of(plan, clock)
    with scratch_journal(clock, plan, parts.run_id) as journal:
        parts.observers.clear()
        host, driver = host_of(parts, NoOrders(), journal, virtual=True, timed=False)
        make_ready(parts, host, 0, _WALL)
        reader = FrameReader(plan, host.feed, driver.advance)
        line_of = reader.line
        begin = stopwatch_ns()
        for batch in Recording(path).batches():
            for line in batch:
                line_of(line)
        return reader.frames, reader.frames * NS_PER_S / (stopwatch_ns() - begin)


def _bare_frames(plan: Plan, path: Path) -> float:
    """Read the recording and decode every frame, and nothing else."""
    codecs = {}
    for name, number in (("spot", 1), ("perp", 2)):
        codec = market_codec(plan.exchanges[name].type, "live", bindings_of(plan, name))
        codec.sockets(wants_of(plan, name))
        codecs[number] = codec.decode
    out = Decoded()
    count = 0
    begin = stopwatch_ns()
    for batch in Recording(path).batches():
        for line in batch:
            if type(line) is In:
                codecs[line.c]("public", line.d.encode(), line.t, line.w, line.c, False, out)
                out.events.clear()
                count += 1
    return count * NS_PER_S / (stopwatch_ns() - begin)


def _write(path: Path, plan: Plan, count: int) -> None:
    clock = SystemClock()
    recorder = Recorder(path, About(run="bench", runner="", source="bench"), clock)
    for number, name in ((1, "spot"), (2, "perp")):
        kind = plan.exchanges[name].type
        recorder.open(number, 0, _WALL, name, kind, "public", "ws://127.0.0.1/public")
    for i in range(count):
        t, wall, bid = i * _STEP, _WALL + i * _STEP, 60_000.0 + i % 7
        if i % 2:
            text = _SPOT % (i + 1, bid, bid + 0.01)
        else:
            ms = wall // NS_PER_MS
            text = _PERP % (i + 1, bid, bid + 0.1, ms, ms)
        recorder.frame(1 + (i + 1) % 2, t, wall, False, text.encode())
        if i % 1000 == 0:
            recorder.encode(100_000)
    recorder.finish()
