"""In process: frames in, signed order bytes out, journal on (`runner bench order`).

Frames go through the codec, the engine, the gate, the journal and the encoder of Binance USD-M;
every 20th makes the rule fire. What would have been sent is thrown away, and the exchange's answer
(accepted, expired unfilled) follows as a message of its own, so that the rule can fire again.

Market time advances by 20 us a frame, as at 50,000 frames a second, whatever the machine takes:
the same frames make the same decisions on every machine, and what is measured is only their cost.
A frame's figure is from its bytes to the return of the callback: for an order frame that is the
decision, the commit of its intent, the signed message, and then its traces; `signed` ends where the
message is there. Answers and the journal's flush every
15 ms of market time are work between frames: they count in `frames_per_s`, not in a frame's figure.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
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
from runner.app.driver import Driver
from runner.app.memory import settled
from runner.base.clock import NS_PER_MS, NS_PER_S, SystemClock, stopwatch_ns
from runner.engine.commands import Cancel, CancelAll, Query, Reconcile
from runner.engine.events import Ack, Done, End
from runner.engine.proof import Journaled
from runner.exchanges.api import Decoded, MarketCodec, OrderCodec
from runner.exchanges.registry import market_codec, order_codec
from runner.store.journal import Journal

FRAMES = 60_000
WARM_UP = 2_000
"""frames before the clock runs: a run of days is not measured by its first orders"""
STEP_NS = 20_000
_FLUSH_EVERY = 15 * NS_PER_MS // STEP_NS


@dataclass(slots=True)
class Sink:
    """An order side that encodes and signs, and sends nowhere."""

    codec: OrderCodec
    sent: int = 0
    size: int = 0
    signed_at: int = 0
    """stopwatch when the last order was signed"""
    unanswered: list[str] = field(default_factory=list)

    def send(self, orders: list[Journaled], t: int, wall: int) -> None:
        for order in orders:
            request = self.codec.place(order, wall // NS_PER_MS, order.intent.cid)
            self.sent += 1
            self.signed_at = stopwatch_ns()
            self.size += len(getattr(request, "frame", b""))
            self.unanswered.append(order.intent.cid)

    def amend(self, order: Journaled, t: int, wall: int) -> None: ...
    def cancel(self, command: Cancel, t: int, wall: int) -> None: ...
    def cancel_all(self, command: CancelAll, t: int, wall: int) -> None: ...
    def query(self, command: Query, t: int, wall: int) -> None: ...
    def reconcile(self, command: Reconcile, t: int, wall: int) -> None: ...

    def answer(self, driver: Driver, t: int, wall: int) -> None:
        """Tell that what was sent was accepted and has expired unfilled."""
        for cid in self.unanswered:
            driver.feed(Ack(cid=cid, exchange_id="1", t=t, wall=wall))
            driver.feed(Done(cid=cid, end=End.EXPIRED, filled_lots=0, t=t, wall=wall))
        self.unanswered.clear()


@dataclass(slots=True)
class Rig:
    """What one frame goes through."""

    market: MarketCodec
    driver: Driver
    sink: Sink
    journal: Journal
    clock: SystemClock
    out: Decoded = field(default_factory=Decoded)
    signed: list[int] = field(default_factory=list)
    """ns from a frame's bytes to the signed order"""

    def play(self, messages: list[bytes], t: int, wall: int) -> tuple[list[int], list[int]]:
        """Feed frames from `t` on; return the ns of quiet frames and of order frames."""
        driver, sink, out, clock = self.driver, self.sink, self.out, self.clock
        decode, feed = self.market.decode, driver.feed
        quiet: list[int] = []
        loud: list[int] = []
        for number, message in enumerate(messages):
            start = stopwatch_ns()
            clock.mono(), clock.wall()  # what a frame costs on a real clock
            if driver.due <= t:
                driver.advance(t, wall)
            decode("public", message, t, wall, 1, False, out)
            events, out.events = out.events, []
            for event in events:
                feed(event)
            took = stopwatch_ns() - start
            if sink.signed_at > start:
                self.signed.append(sink.signed_at - start)
            if number % EVERY == EVERY - 1:
                loud.append(took)
            else:
                quiet.append(took)
            if sink.unanswered:
                sink.answer(driver, t, wall)
            if number % _FLUSH_EVERY == 0:
                self.journal.flush()
            t += STEP_NS
            wall += STEP_NS
        return quiet, loud


def run(frames: int = FRAMES, warm_up: int = WARM_UP, *, watching: bool = True) -> dict[str, Any]:
    """Measure and return frames a second and percentiles per kind of frame (us)."""
    clock = SystemClock()
    plan = plan_of(ORDER_STRATEGY)
    parts = parts_of(plan, clock, watching)
    exchange = plan.exchanges["bin"]
    endpoints = dict(exchange.endpoints or {})
    bindings = bindings_of(plan, "bin")
    market = market_codec(exchange.type, "custom", bindings, endpoints)
    market.sockets(wants_of(plan, "bin"))
    sink = Sink(order_codec(exchange.type, "custom", bindings, CREDENTIALS, endpoints))
    with scratch_journal(clock, plan, parts.run_id) as journal, settled():
        parts.observers.clear()
        host, driver = host_of(parts, sink, journal, timed=False)
        rig = Rig(market, driver, sink, journal, clock)
        t, wall = clock.mono(), clock.wall()
        make_ready(parts, host, t, wall)
        t, wall = t + STEP_NS, wall + STEP_NS
        messages = _frames(warm_up + frames, wall)
        rig.play(messages[:warm_up], t, wall)
        warm = sink.sent
        rig.signed.clear()
        begin = stopwatch_ns()
        passed = warm_up * STEP_NS
        quiet, loud = rig.play(messages[warm_up:], t + passed, wall + passed)
        seconds = (stopwatch_ns() - begin) / NS_PER_S
    every, orders = Figures.of(quiet + loud), Figures.of(loud)
    return {
        "frames": frames,
        "orders": sink.sent - warm,
        "frames_per_s": round(frames / seconds),
        "all_us": asdict(every),
        "quiet_us": asdict(Figures.of(quiet)),
        "order_us": asdict(orders),
        "signed_us": asdict(Figures.of(rig.signed)),
        "all_p99_over_p50": round(every.p99 / every.p50, 2),
        "order_p99_over_p50": round(orders.p99 / orders.p50, 2),
    }


def _frames(count: int, wall: int) -> list[bytes]:
    """Return bookTicker messages, every 20th with the bid so heavy that the rule fires."""
    shapes = [QUIET_TOP] * (EVERY - 1) + [LOUD_TOP]
    times = [(wall + i * STEP_NS) // NS_PER_MS for i in range(count)]
    return [(shapes[i % EVERY] % (i + 1, ms, ms)).encode() for i, ms in enumerate(times)]
