"""Our client on the sockets of the other process, as `runner start` would run it.

Socket, codec, host, engine, gate, journal, signing, socket, with the report's collector; without
REST, which the other process does not speak.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from runner.app.alarm import Alarm
from runner.app.assembly import host_of
from runner.app.bench.setup import (
    CREDENTIALS,
    make_ready,
    parts_of,
    picture,
    plan_of,
    scratch_journal,
)
from runner.app.bindings import bindings_of
from runner.app.drilling import Drilling
from runner.app.driver import Driver
from runner.app.host import Orders
from runner.app.links import Link, add_feed, connect
from runner.app.listening import Listening
from runner.app.live_orders import LiveOrders
from runner.app.market_feed import NoTape, Sink
from runner.app.order_link import OrderLink
from runner.app.pacing import Pace
from runner.app.polling import Polling
from runner.base.clock import SystemClock
from runner.base.errors import WorldError
from runner.base.ids import owner_prefix
from runner.engine.events import Event, Readiness, Reconciled
from runner.exchanges.api import OrderCodec
from runner.exchanges.registry import order_codec
from runner.spec.plan import Plan
from runner.store.journal import Journal

NAME = "ours"
_FLUSH_S = 0.002
_READY_WITHIN_S = 10.0
_NO_LIMIT = 1_000_000_000
"""the exchange's rates are counted and never reached"""


class _Orders(OrderLink):
    """The order side without REST, which the peer does not speak: no user stream, no account."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._key.needed = False

    async def _picture(self) -> Reconciled:
        return picture(self.name, self.clock.mono())


class _Pulse:
    """The driver on this loop: events with their timers before them, and an alarm for the rest."""

    driver: Driver
    alarm: Alarm
    drilling: Drilling
    polling: Polling

    def begin(self, driver: Driver, clock: SystemClock, drilling: Drilling) -> None:
        self.driver, self.alarm, self.drilling = driver, Alarm(driver, clock), drilling
        self.polling = Polling(clock.mono)

    def event(self, event: Event) -> None:
        self.driver.advance(event.t, event.wall)
        self.driver.feed(event)
        self.alarm.set()

    def frame_event(self, event: Event) -> None:
        self.driver.feed(event)
        self.alarm.set()
        self.drilling.heard(event.t)
        self.polling.heard(event.t)

    def before(self, t: int, wall: int) -> None:
        if self.driver.due <= t:
            self.driver.advance(t, wall)


def urls_of(root: str) -> dict[str, str]:
    """Return the endpoints of our client at the other process."""
    names = ("public", "market", "private", "trade")
    return {name: f"{root}/{NAME}/{name}" for name in names} | {"rest": "http://127.0.0.1:1"}


@asynccontextmanager
async def ours(
    root: str,
    text: str,
    clock: SystemClock,
    *,
    around: Callable[[Orders], Orders] = lambda orders: orders,
    doors: Callable[[Plan, str, Sink], Listening] | None = None,
) -> AsyncIterator[Listening | None]:
    """Run a strategy on the peer's sockets; `around` may stand before its orders.

    With `doors` its sources listen too; they are yielded.
    """
    urls = urls_of(root)
    plan = plan_of(text, urls)
    parts = parts_of(plan, clock)
    pulse = _Pulse()

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
        orders = around(LiveOrders({"bin": link.orders}))
        host, driver = host_of(parts, orders, journal)
        pulse.begin(driver, clock, Drilling(parts.engine.drill, partial(notice, "bin")))
        feed = add_feed(
            link, plan, pulse.frame_event, clock, NoTape(), notice, stages, pulse.before
        )
        make_ready(parts, host, clock.mono(), clock.wall(), pictures=False)
        listening = None if doors is None else doors(plan, parts.run_id, pulse.event)
        if listening is not None:
            await listening.open(parts.engine)
        work = [_flushing(journal), feed.run(), link.orders.run()]
        work += [] if listening is None else listening.tasks()
        tasks = [asyncio.create_task(each) for each in work]
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                while link.orders.readiness is not Readiness.READY or not feed.sockets[0].up:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            yield listening
        finally:
            pulse.alarm.cancel()
            if listening is not None:
                await listening.close()
            await _ended(link, tasks)


async def _flushing(journal: Journal) -> None:
    while True:
        await asyncio.sleep(_FLUSH_S)
        journal.flush()


async def _ended(link: Link, tasks: Sequence[asyncio.Task[None]]) -> None:
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
