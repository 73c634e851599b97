"""The journal alone: what a group of two intents costs to commit (`runner bench journal`).

One group every 5 ms of real time, the checkpoint thread running, as in a live run; the yardstick is
sqlite3 by hand in the same run, in turns: the same two rows of the same table, built from the same
intents, inserted and committed in a WAL of its own. Ours commits by the tail, and brings the rows
into the table by a flush in between (`flush_us`: no order waits for it). Ours does besides: crash
points, the check of what is buffered, the handing out of `Journaled`. Both are measured twice:
awake, the processor busy in between as by a fast feed, and after sleep, when it was given to others
and has forgotten everything.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from runner.app.assembly import Parts, host_of
from runner.app.bench.setup import (
    ORDER_STRATEGY,
    Figures,
    make_ready,
    parts_of,
    plan_of,
    scratch_journal,
)
from runner.app.host import Scalar
from runner.app.offline import NoOrders
from runner.base.clock import NS_PER_MS, NS_PER_S, SystemClock, stopwatch_ns
from runner.engine.commands import Intent
from runner.engine.events import Ack, Done, End, Event, Top
from runner.engine.proof import Approved, Journaled
from runner.store.journal import Journal
from runner.store.schema import INTENT_ROW, TABLES

GROUPS = 1_000
EVERY_NS = 5 * NS_PER_MS
_WARM_UP = 20


def run(groups: int = GROUPS, every_ns: int = EVERY_NS) -> dict[str, Any]:
    """Measure both and return percentiles (us) and their ratios."""
    clock = SystemClock()
    plan = plan_of(ORDER_STRATEGY)
    parts = parts_of(plan, clock)
    orders = _approved(4 * (groups + _WARM_UP), parts, clock)
    half = len(orders) // 2
    with scratch_journal(clock, plan, parts.run_id) as journal, _RawLog() as log:
        awake = _in_turns(journal, log, orders[:half], partial(_stay, every_ns // 2))
        slept = _in_turns(journal, log, orders[half:], partial(_sleep, every_ns // 2))
    return {
        "groups": groups,
        "commit_us": asdict(awake[0]),
        "raw_us": asdict(awake[1]),
        "flush_us": asdict(awake[2]),
        "commit_after_sleep_us": asdict(slept[0]),
        "raw_after_sleep_us": asdict(slept[1]),
        "p50_over_raw": round(awake[0].p50 / awake[1].p50, 2),
        "p99_over_raw": round(awake[0].p99 / awake[1].p99, 2),
    }


def _in_turns(
    journal: Journal, log: _RawLog, orders: list[Approved], wait: Callable[[], None]
) -> tuple[Figures, Figures, Figures]:
    ours: list[int] = []
    raw: list[int] = []
    flushes: list[int] = []
    for i in range(0, len(orders), 2):
        ours.append(_timed(partial(journal.commit, orders[i : i + 2])))
        wait()
        flushes.append(_timed(journal.flush))
        raw.append(_timed(partial(log.write, orders[i : i + 2])))
        wait()
    return Figures.of(ours[_WARM_UP:]), Figures.of(raw[_WARM_UP:]), Figures.of(flushes[_WARM_UP:])


class _RawLog:
    """The yardstick: sqlite3 as a hand-written client would use it."""

    def __init__(self) -> None:
        self._number = 0
        self._run = "run0000001"
        self._folder = TemporaryDirectory()
        path = Path(self._folder.name) / "raw.db"
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(TABLES)

    def __enter__(self) -> _RawLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        self._folder.cleanup()

    def write(self, group: Sequence[Approved]) -> None:
        """Insert and commit the rows of a group."""
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        for each in group:
            self._number += 1
            execute(INTENT_ROW, self._row(each.intent))
        execute("COMMIT")

    def _row(self, i: Intent) -> tuple[object, ...]:
        refs = ",".join([f'["{key}",{seq},{age}]' for key, seq, age in i.refs])
        return (
            i.cid, self._number, self._run, i.rule, i.group, i.leg, i.attempt, i.purpose._value_,
            i.exchange, i.market, i.symbol, i.side._value_, i.type._value_, i.tif._value_, i.lots,
            i.ticks, i.qty_text, i.price_text, i.reduce_only, i.window_ns, i.t, i.wall, f"[{refs}]",
        )  # fmt: skip


def _timed(work: Callable[[], object]) -> int:
    start = stopwatch_ns()
    work()
    return stopwatch_ns() - start


def _sleep(ns: int) -> None:
    time.sleep(ns / NS_PER_S)


def _stay(ns: int) -> None:
    end = stopwatch_ns() + ns
    while stopwatch_ns() < end:
        continue


class Catcher:
    """A journal that keeps what the gate approved and releases nothing."""

    def __init__(self) -> None:
        self.approved: list[Approved] = []

    def commit(self, approved: Sequence[Approved]) -> list[Journaled]:
        self.approved += approved
        return []

    def record(self, kind: str, fields: Mapping[str, Scalar], t: int, wall: int) -> None: ...
    def save(self, key: str, value: bytes, wall: int) -> None: ...
    def claim(self, key: str, wall: int) -> bool:
        return True

    def event(self, event: Event) -> None: ...


def decoded_top(number: int, t: int, wall: int) -> Top:
    """Return the top of a frame; each second one makes the rule fire."""
    heavy = 9.0 if number % 2 else 1.0
    return Top(
        market="m", bid=60_000.1, ask=60_000.2, bid_qty=heavy, ask_qty=1.0, u=number + 1, ts=wall,
        conn=1, t=t, wall=wall,
    )  # fmt: skip


def _approved(count: int, parts: Parts, clock: SystemClock) -> list[Approved]:
    """Let the engine approve so many orders: only its gate can."""
    parts.observers.clear()
    catcher = Catcher()
    host, driver = host_of(parts, NoOrders(), catcher, timed=False)
    t, wall = clock.mono(), clock.wall()
    make_ready(parts, host, t, wall)
    seen = 0
    for number in range(100 * count):
        t, wall = t + NS_PER_MS, wall + NS_PER_MS
        driver.advance(t, wall)
        driver.feed(decoded_top(number, t, wall))
        for each in catcher.approved[seen:]:
            cid = each.intent.cid
            driver.feed(Ack(cid=cid, exchange_id="1", t=t, wall=wall))
            driver.feed(Done(cid=cid, end=End.EXPIRED, filled_lots=0, t=t, wall=wall))
        seen = len(catcher.approved)
        if seen >= count:
            return catcher.approved
    raise AssertionError(f"the rule fired {seen} times instead of {count}")
