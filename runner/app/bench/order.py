"""In process: frames in, signed order bytes out, journal on (`runner bench order`).

Frames go through the codec, the engine, the gate, the journal and the encoder of Binance USD-M;
every 20th makes the rule fire. What would have been sent is thrown away, and the exchange's answer
(accepted, expired unfilled) comes back at once, so that the rule can fire again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from runner.app.assembly import host_of
from runner.app.bench.setup import (
    CREDENTIALS,
    EVERY,
    LOUD_TOP,
    ORDER_STRATEGY,
    QUIET_TOP,
    Figures,
    make_ready,
    parts_of,
    plan_of,
    scratch_journal,
)
from runner.app.bindings import bindings_of, wants_of
from runner.app.host import Host
from runner.base.clock import NS_PER_MS, NS_PER_S, SystemClock, stopwatch_ns
from runner.engine.commands import Cancel, CancelAll, Query, Reconcile
from runner.engine.events import Ack, Done, End
from runner.engine.proof import Journaled
from runner.exchanges.api import Decoded, OrderCodec
from runner.exchanges.registry import market_codec, order_codec

FRAMES = 60_000
_FLUSH_EVERY = 400
"""frames between flushes: at 50,000 frames a second, 8 ms"""


@dataclass(slots=True)
class Sink:
    """An order side that encodes and signs, sends nowhere, and answers at once."""

    codec: OrderCodec
    host: Host | None = None
    sent: int = 0
    size: int = 0

    def send(self, orders: list[Journaled], t: int, wall: int) -> None:
        assert self.host is not None
        for order in orders:
            request = self.codec.place(order, wall // NS_PER_MS, order.intent.cid)
            self.sent += 1
            self.size += len(getattr(request, "frame", b""))
            cid = order.intent.cid
            self.host.feed(Ack(cid=cid, exchange_id="1", t=t, wall=wall))
            self.host.feed(Done(cid=cid, end=End.EXPIRED, filled_lots=0, t=t, wall=wall))

    def cancel(self, command: Cancel, t: int, wall: int) -> None: ...
    def cancel_all(self, command: CancelAll, t: int, wall: int) -> None: ...
    def query(self, command: Query, t: int, wall: int) -> None: ...
    def reconcile(self, command: Reconcile, t: int, wall: int) -> None: ...


def run(frames: int = FRAMES) -> dict[str, Any]:
    """Measure and return frames a second and percentiles per kind of frame (us)."""
    clock = SystemClock()
    plan = plan_of(ORDER_STRATEGY)
    parts = parts_of(plan, clock)
    exchange = plan.exchanges["bin"]
    endpoints = dict(exchange.endpoints or {})
    market = market_codec(exchange.type, "custom", bindings_of(plan, "bin"), endpoints)
    market.sockets(wants_of(plan, "bin"))
    sink = Sink(
        order_codec(exchange.type, "custom", bindings_of(plan, "bin"), CREDENTIALS, endpoints)
    )
    with scratch_journal(clock, plan, parts.run_id) as journal:
        parts.observers.clear()
        host, driver = host_of(parts, sink, journal, timed=False)
        sink.host = host
        make_ready(parts, host, clock.mono(), clock.wall())
        quiet, loud = [], []
        out = Decoded()
        decode, feed = market.decode, driver.feed
        messages = _frames(frames, clock)
        begin = stopwatch_ns()
        for number, message in enumerate(messages):
            start = stopwatch_ns()
            t, wall = clock.mono(), clock.wall()
            if driver.due <= t:
                driver.advance(t, wall)
            decode("public", message, t, wall, 1, False, out)
            events, out.events = out.events, []
            for event in events:
                feed(event)
            took = stopwatch_ns() - start
            (loud if number % EVERY == EVERY - 1 else quiet).append(took)
            if number % _FLUSH_EVERY == 0:
                journal.flush()
        seconds = (stopwatch_ns() - begin) / NS_PER_S
    every = Figures.of(quiet + loud)
    return {
        "frames": frames,
        "orders": sink.sent,
        "frames_per_s": round(frames / seconds),
        "all_us": asdict(every),
        "quiet_us": asdict(Figures.of(quiet)),
        "order_us": asdict(Figures.of(loud)),
        "p99_over_p50": round(every.p99 / every.p50, 2),
    }


def _frames(count: int, clock: SystemClock) -> list[bytes]:
    now = clock.wall() // NS_PER_MS
    shapes = [QUIET_TOP] * (EVERY - 1) + [LOUD_TOP]
    return [(shapes[i % EVERY] % (i + 1, now, now)).encode() for i in range(count)]
