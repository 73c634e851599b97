"""R-11 against the simulator, which counts for itself: thrice the rate, and it never says no."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import pytest

from runner.app.order_link import OrderLink
from runner.app.pacing import Pace
from runner.app.rest import Rest
from runner.base.clock import NS_PER_S, SystemClock
from runner.base.rng import seeded
from runner.engine.commands import Cancel, OrderType, Tif
from runner.engine.events import Ack, Budget, CancelReply, Event, Readiness, Ready, Reject
from runner.exchanges.registry import market_codec, order_codec
from runner.net.doors import tls_context
from runner.net.http import HttpSession
from runner.net.timesync import TimeSync
from runner.net.websocket import SocketOptions
from runner.sim.launch import Running, launch
from tests.exchanges.captures import binding
from tests.exchanges.orders import credentials, intent, journaled
from tests.patience import PATIENCE_S

WINDOW_S = {"binance_usdm": 10, "bybit_linear": 1}
LIMIT = {"binance_usdm": 300, "bybit_linear": 10}


@pytest.fixture(scope="module")
def sim() -> Iterator[Running]:
    with launch(seed=5, exchanges=list(LIMIT), dislocations=False) as running:
        yield running


@dataclass
class Load:
    """What came of offering orders."""

    offered: int = 0
    kept_back: int = 0
    cancels_waited: int = 0
    events: list[Event] = field(default_factory=list)
    limited: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Ready) and event.state is Readiness.READY:
            self.ready.set()

    def count(self, kind: type) -> int:
        return sum(type(event) is kind for event in self.events)

    def codes(self) -> set[str]:
        """Return the codes of what the exchange itself refused."""
        return {e.code for e in self.events if isinstance(e, Reject)} - {"not_sent"}


async def offer(sim: Running, kind: str, seconds: float) -> Load:
    """Offer entries at three times the exchange's rate, and a cancel for every tenth."""
    place = dict(sim.endpoints[kind])
    keys = credentials(place.pop("key"), place.pop("secret"))
    bindings = [binding(kind, "m", "BTCUSDT")]
    public = market_codec(kind, "custom", bindings, place)
    signed, by_rest = (
        order_codec(kind, "custom", bindings, keys, place, entry, exchange="x", prefix="r")
        for entry in ("websocket", "rest")
    )
    clock, load = SystemClock(), Load()
    http = HttpSession(tls_context())
    rest = Rest("x", http)

    async def ask() -> int:
        return public.parse_time(await rest.fetch(public.time()))

    sync = TimeSync("x", ask, clock, load.events.append)
    rest.pace = Pace(
        "x", clock, signed.budgets, lambda: sync.offset, load.events.append, signed.budgets_from
    )
    options = SocketOptions.make(itertools.count(1), seeded("load"))
    link = OrderLink(
        "x", signed, by_rest, rest, sync, clock, load.hear, ["BTCUSDT"], options,
        lambda name, text: None,
    )  # fmt: skip
    await sync.measure()
    task = asyncio.create_task(link.run())
    try:
        await asyncio.wait_for(load.ready.wait(), PATIENCE_S)
        await _fire(link, load, clock, kind, seconds)
        sent = load.offered - load.kept_back
        async with asyncio.timeout(PATIENCE_S):
            while load.count(Ack) < sent or not load.count(CancelReply):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        link.close()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await http.close()
    load.limited = rest.pace.limited_answers
    return load


async def _fire(link: OrderLink, load: Load, clock: SystemClock, kind: str, seconds: float) -> None:
    start, every = clock.mono(), WINDOW_S[kind] * NS_PER_S / LIMIT[kind] / 3
    name = seeded("cids", kind, str(start)).randbytes(5).hex()
    while clock.mono() - start < seconds * NS_PER_S:
        while load.offered * every <= clock.mono() - start:
            load.offered += 1
            cid = f"r{name}{load.offered:016d}"
            made = intent(cid, type=OrderType.LIMIT, tif=Tif.IOC, price="55000.0")
            order = journaled(msgspec.structs.replace(made, rule="load"))
            if link.admit([order]):
                load.kept_back += 1
            else:
                link.send(order, 0, 0)
            link.sent()
            if load.offered % 10 == 0:
                link.cancel(Cancel(cid=cid, exchange="x", market="m", symbol="BTCUSDT"))
                load.cancels_waited += len(link._sender._cancelling)
        await asyncio.sleep(0.005)


def check(load: Load, kind: str) -> None:
    assert load.limited == 0 and load.codes() == set()
    assert load.kept_back > 0, "the load was not more than the exchange takes"
    assert load.count(Ack) == load.offered - load.kept_back
    assert load.count(CancelReply) > 0 and load.cancels_waited == 0
    full = [e for e in load.events if isinstance(e, Budget) and e.name.startswith("order")]
    assert max(e.used / e.limit for e in full) >= 0.79


def test_of_thrice_the_rate_nothing_is_refused(sim: Running) -> None:
    load = asyncio.run(offer(sim, "bybit_linear", 2.0))
    check(load, "bybit_linear")


@pytest.mark.campaign
@pytest.mark.parametrize("kind", list(LIMIT))
def test_of_thrice_the_rate_nothing_is_refused_over_several_windows(
    sim: Running, kind: str
) -> None:
    load = asyncio.run(offer(sim, kind, 25.0))
    check(load, kind)
    used = load.count(Ack) / (25.0 / WINDOW_S[kind] * LIMIT[kind])
    assert used >= 0.7, "of the rest, 20 % is kept for cancels and reductions"
