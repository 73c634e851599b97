"""Over sockets: from the feed's process to the order's arrival there (`runner bench loopback`).

Feed and order sink are one other process (`peer`); what is measured is its time between sending the
frame that fires and receiving the order, on its own clock. Three clients take turns on the same
loop, so that all of them meet the same machine: ours (socket, codec, host, engine, gate, journal,
signing, socket, with the report's collector), a hand-written one that commits the same row, and the
same one without a journal.

A trigger behind which newer frames wait in the same read is history: the clients by hand fire on it
all the same, ours does not. `superseded` counts those; many of them say that the machine stalled.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from runner.app.bench.by_hand import Client
from runner.app.bench.client import NAME, ours
from runner.app.bench.peer import Result
from runner.app.bench.rounds import Control, in_turns, own_core, peer
from runner.app.bench.setup import ORDER_STRATEGY, Figures
from runner.app.memory import settled
from runner.base.clock import NS_PER_S, SystemClock
from runner.store.schema import TABLES

ROUNDS = 6
FRAMES = 4_000
RATE = 5_000
STRATEGY = ORDER_STRATEGY.replace("cooldown: 100us", "cooldown: 1ms")
_OURS, _HAND, _BARE = NAME, "hand", "bare"


def run(rounds: int = ROUNDS, frames: int = FRAMES) -> dict[str, Any]:
    """Measure and return percentiles (us) of all three, and the ratios of their medians."""
    with own_core(), settled(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(_measure(rounds, frames))
    figures = {
        name: Figures.of([ns for each in results[name] for ns in each.latencies])
        for name in (_OURS, _HAND, _BARE)
    }
    ours, hand, bare = (figures[name].p50 for name in (_OURS, _HAND, _BARE))
    mine = results[_OURS]
    return {
        "frames_per_s": RATE,
        "triggers": sum(each.triggers for each in mine),
        "orders": sum(len(each.latencies) for each in mine),
        "superseded": sum(each.triggers - len(each.latencies) for each in mine),
        "strays": sum(each.strays for each in mine),
        "ours_us": asdict(figures[_OURS]),
        "hand_us": asdict(figures[_HAND]),
        "hand_without_journal_us": asdict(figures[_BARE]),
        "ratio": round(ours / hand, 2),
        "ratio_without_journal": round(ours / bare, 2),
    }


async def _measure(rounds: int, frames: int) -> dict[str, list[Result]]:
    async with peer() as root, ours(root, STRATEGY, SystemClock()), _by_hand(root):
        control = await Control.open(root)
        step = NS_PER_S // RATE
        results = await in_turns(control, (_OURS, _HAND, _BARE), rounds, frames, step)
        control.close()
    return results


@asynccontextmanager
async def _by_hand(root: str) -> AsyncIterator[None]:
    clock = SystemClock()
    with TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder) / "hand.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.executescript(TABLES)
        await Client(_HAND, clock, db).connect(root)
        await Client(_BARE, clock, None).connect(root)
        try:
            yield
        finally:
            db.close()
