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
import itertools
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import picows
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from runner.app.assembly import host_of
from runner.app.bench.by_hand import Client
from runner.app.bench.peer import Result, Task
from runner.app.bench.setup import (
    CREDENTIALS,
    EVERY,
    ORDER_STRATEGY,
    Figures,
    make_ready,
    parts_of,
    picture,
    plan_of,
    scratch_journal,
)
from runner.app.bindings import bindings_of
from runner.app.driver import Driver
from runner.app.links import add_feed, connect
from runner.app.live_orders import LiveOrders
from runner.app.market_feed import NoTape
from runner.app.memory import settled
from runner.app.order_link import OrderLink
from runner.app.pacing import Pace
from runner.base.clock import NS_PER_S, SystemClock
from runner.base.errors import WorldError
from runner.base.ids import owner_prefix
from runner.engine.events import Event, Readiness, Reconciled
from runner.exchanges.api import OrderCodec
from runner.exchanges.registry import order_codec
from runner.spec.plan import Plan
from runner.store.schema import TABLES

ROUNDS = 6
FRAMES = 4_000
RATE = 5_000
_FLUSH_S = 0.002
_READY_WITHIN_S = 10.0
_NO_LIMIT = 1_000_000_000
"""the exchange's rates are counted and never reached"""
_OURS, _HAND, _BARE = "ours", "hand", "bare"


def run(rounds: int = ROUNDS, frames: int = FRAMES) -> dict[str, Any]:
    """Measure and return percentiles (us) of all three, and the ratios of their medians."""
    with _own_core(), settled(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
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


@contextmanager
def _own_core() -> Iterator[None]:
    """Keep this process on one core and let the peer have the others.

    The scheduler likes to put two processes that wake each other on one core, where each would
    preempt the other in the middle of its work; no exchange does that to us.
    """
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    if len(cores) < 2:
        yield
        return
    os.sched_setaffinity(0, cores[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


async def _measure(rounds: int, frames: int) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {_OURS: [], _HAND: [], _BARE: []}
    async with _peer() as root, _ours(root), _by_hand(root):
        control = await _Control.open(root)
        await control.play(Task(_OURS, frames, EVERY, NS_PER_S // RATE))  # to warm up
        for _ in range(rounds):
            for name, kept in results.items():
                kept.append(await control.play(Task(name, frames, EVERY, NS_PER_S // RATE)))
        control.close()
    return results


@asynccontextmanager
async def _peer() -> AsyncIterator[str]:
    """Start the other process; yield the root of its URLs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runner.app.bench.peer", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = (await process.stdout.readline()).strip()
        if not port:
            raise WorldError("bench: the process of the feed did not start")
        yield f"ws://127.0.0.1:{int(port)}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class _Control(WSListener):
    """Asks the peer for rounds."""

    def __init__(self) -> None:
        self._transport: WSTransport | None = None
        self._answer: asyncio.Future[Result] | None = None

    @classmethod
    async def open(cls, root: str) -> _Control:
        _, listener = await picows.ws_connect(cls, f"{root}/control")
        assert isinstance(listener, _Control)
        return listener

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT and self._answer is not None:
            self._answer.set_result(msgspec.json.decode(frame.get_payload_as_bytes(), type=Result))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WorldError("bench: the process of the feed went away"))

    async def play(self, task: Task) -> Result:
        """Have one round played."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.send(WSMsgType.TEXT, msgspec.json.encode(task))
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.disconnect()


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


class _Orders(OrderLink):
    """The order side without REST, which the peer does not speak: no user stream, no account."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._key.needed = False

    async def _picture(self) -> Reconciled:
        return picture(self.name, self.clock.mono())


class _Pulse:
    """The driver on this loop: events with their timers before them, and an alarm for the rest."""

    def __init__(self, clock: SystemClock) -> None:
        self.driver: Driver
        self._clock = clock
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 1 << 62

    def event(self, event: Event) -> None:
        self.driver.advance(event.t, event.wall)
        self.frame_event(event)

    def frame_event(self, event: Event) -> None:
        self.driver.feed(event)
        self._arm()

    def before(self, t: int, wall: int) -> None:
        if self.driver.due <= t:
            self.driver.advance(t, wall)

    def _arm(self) -> None:
        due = self.driver.due
        if due < self._alarm_at:
            self.stop()
            self._alarm_at = due
            delay = max(0, due - self._clock.mono()) / NS_PER_S
            self._alarm = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, 1 << 62
        self.driver.advance(self._clock.mono(), self._clock.wall())
        self._arm()

    def stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()


@asynccontextmanager
async def _ours(root: str) -> AsyncIterator[None]:
    """Run the strategy on the peer's sockets, as `runner start` would."""
    names = ("public", "market", "private", "trade")
    urls = {name: f"{root}/{_OURS}/{name}" for name in names} | {"rest": "http://127.0.0.1:1"}
    clock = SystemClock()
    plan = plan_of(ORDER_STRATEGY.replace("cooldown: 100us", "cooldown: 1ms"), urls)
    parts = parts_of(plan, clock)
    pulse = _Pulse(clock)

    def notice(exchange: str, text: str) -> None:
        raise WorldError(f"bench: {exchange}: {text}")

    link = connect(plan, "bin", clock, parts.run_id, itertools.count(1), pulse.event)
    stages = parts.collector.stages.record
    by_socket, by_rest = (_codec(plan, urls, entry) for entry in ("websocket", "rest"))
    rates = [replace(rule, limit=_NO_LIMIT) for rule in by_socket.budgets]
    link.rest.pace = Pace("bin", clock, rates, tell=pulse.event)
    link.orders = _Orders(
        "bin", by_socket, by_rest, link.rest, link.sync, clock, pulse.event, ["BTCUSDT"],
        link.options, notice, stages,
    )  # fmt: skip
    with scratch_journal(clock, plan, parts.run_id) as journal:
        host, pulse.driver = host_of(parts, LiveOrders({"bin": link.orders}), journal)
        feed = add_feed(
            link, plan, pulse.frame_event, clock, NoTape(), notice, stages, pulse.before
        )
        make_ready(parts, host, clock.mono(), clock.wall(), pictures=False)

        async def flush() -> None:
            while True:
                await asyncio.sleep(_FLUSH_S)
                journal.flush()

        work = (flush(), feed.run(), link.orders.run())
        tasks = [asyncio.create_task(each) for each in work]
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                while link.orders.readiness is not Readiness.READY or not feed.sockets[0].up:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            yield
        finally:
            pulse.stop()
            dead = [task for task in tasks if task.done()]
            await link.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for task in dead:
                task.result()  # raises what ended it: a client that died is not a slow one


def _codec(plan: Plan, urls: dict[str, str], entry: str) -> OrderCodec:
    bindings = bindings_of(plan, "bin")
    return order_codec(
        plan.exchanges["bin"].type, "custom", bindings, CREDENTIALS, urls, entry,
        exchange="bin", prefix=owner_prefix("bin", plan.name),
    )  # fmt: skip
