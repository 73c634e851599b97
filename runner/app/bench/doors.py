"""From a signed message at a webhook to the order (`runner bench doors`), beside the tick path.

The other process (`peer`, `caller`) feeds tops of book and, in turns, lets one be heavy or posts a
message signed with HMAC-SHA256 on a connection of its own; each of both fires a rule of the same
engine, with the same order, the journal on. Times of this process end when the order's frame was
handed to the socket, and begin

    message     when the server hands us the request: body, signature, JSON, fields, the engine's
                word, the answer and the wait for the loop's next turn are in it
    accepted    when the message was proved and typed
    tick        when the frame was read

`door` is the first part of `message`, to the engine being told; `message work` is the processor's
time for all of it, without what the machine gave to others meanwhile. A frame behind which newer
ones wait is history and fires nothing; a message is acted on however late, unless the order of the
last one is still unanswered. So on a busy machine the tick's tail is cut and the message's is not.
`without_order` counts both.

`far` are times of the other process: from writing the message or the frame to receiving the order,
with the kernel, the new connection and the parsing of HTTP in them.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

import uvloop
from aiohttp import web

from runner.app.bench.caller import PATH
from runner.app.bench.client import NAME, ours
from runner.app.bench.peer import Result, Task
from runner.app.bench.rounds import Control, own_core, peer
from runner.app.bench.setup import DOOR_SECRET, ORDER_STRATEGY, Figures
from runner.app.host import Orders
from runner.app.listening import Listening
from runner.app.market_feed import Sink
from runner.app.memory import settled
from runner.app.run_log import Level
from runner.base.clock import NS_PER_S, SystemClock, worked_ns
from runner.base.errors import WorldError
from runner.engine.codes import Refusal
from runner.engine.proof import Journaled
from runner.sources.door import Accepted
from runner.sources.webhook import Hook, Proved
from runner.spec.plan import Plan
from runner.spec.source_plan import SourcePlan

MESSAGES = 300
RATE = 500
"""frames a second"""
EVERY = 5
"""each so many frames a trigger: a heavy top or a message, in turns"""
_WARM_UP = 20
_RULE = "heard"
_STRATEGY = ORDER_STRATEGY.replace("cooldown: 100us", "cooldown: 1ms").replace(
    "\nrules:\n",
    f"""
sources:
  door:
    type: webhook
    listen: {{port: 0, path: {PATH}}}
    auth: {{hmac_sha256: {{secret: {{env: BENCH_DOOR}}}}}}
    dedupe: {{by: id, within: 1d}}
    max_age: 10s
    max_rate: {{count: 1_000_000, per: 1m}}
    fields:
      id: {{type: text}}
      action: {{from: /signal, type: enum, values: [long, close]}}
      symbol: {{type: text}}
      confidence: {{type: number, range: [0, 1]}}
      stop: {{from: /stop_loss, type: price, of: m}}
rules:
  {_RULE}:
    trigger: door
    when: door.action == "long" and door.confidence >= 0.7 and door.stop < m.ask
    cooldown: 1ms
    order: {{market: m, side: buy, size: 0.002 BTC, type: limit, tif: ioc, collar: 1bps}}
""",
)


def run(messages: int = MESSAGES, warm_up: int = _WARM_UP) -> dict[str, Any]:
    """Measure so many messages and ticks; return percentiles (us) and their differences."""
    stamps = _Stamps()
    with own_core(), settled(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(_measure(stamps, messages, warm_up))
    message, tick = Figures.of(stamps.message), Figures.of(stamps.tick)
    far, tick_far = Figures.of(result.posted), Figures.of(result.latencies)
    return {
        "frames_per_s": RATE,
        "messages": result.triggers // 2,
        "turned_away": result.turned_away,
        "without_order": result.triggers - len(result.posted) - len(result.latencies),
        "message_us": asdict(message),
        "message_work_us": asdict(Figures.of(stamps.work)),
        "accepted_us": asdict(Figures.of(stamps.accepted)),
        "door_us": asdict(Figures.of(stamps.door)),
        "tick_us": asdict(tick),
        "message_far_us": asdict(far),
        "tick_far_us": asdict(tick_far),
        "over_tick_p50_us": round(message.p50 - tick.p50, 1),
        "over_tick_p99_us": round(message.p99 - tick.p99, 1),
        "far_over_tick_p99_us": round(far.p99 - tick_far.p99, 1),
    }


async def _measure(stamps: _Stamps, messages: int, warm_up: int) -> Result:
    def doors(plan: Plan, run_id: str, sink: Sink) -> Listening:
        return _Doors(stamps, plan, run_id, sink)

    async with (
        peer() as root,
        ours(root, _STRATEGY, stamps.clock, around=stamps.around, doors=doors) as listening,
    ):
        assert listening is not None
        control = await Control.open(root)
        port, step = listening.ports["door"], NS_PER_S // RATE
        await control.play(Task(NAME, 2 * EVERY * warm_up, EVERY, step, port))
        stamps.forget()
        result = await control.play(Task(NAME, 2 * EVERY * messages, EVERY, step, port))
        control.close()
    return result


@dataclass(slots=True)
class _Way:
    """The stamps of one message."""

    begun: int
    worked: int
    proved: int
    heard: int = 0


class _Stamps:
    """When a message came and its order left. Times in ns of `clock.mono`."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.begun = self.worked = 0
        self.proved: dict[str, _Way] = {}
        self.heard: _Way | None = None
        self.message: list[int] = []
        self.work: list[int] = []
        self.accepted: list[int] = []
        self.door: list[int] = []
        self.tick: list[int] = []

    def forget(self) -> None:
        """Begin anew, after the warm-up."""
        for each in (self.message, self.work, self.accepted, self.door, self.tick):
            each.clear()

    def around(self, orders: Orders) -> Orders:
        """Stand before an order side."""
        return _Watched(orders, self)

    def left(self, order: Journaled, t: int) -> None:
        """Note that an order was handed to the socket; `t`: when what caused it was read."""
        now, way = self.clock.mono(), self.heard
        if order.intent.rule != _RULE:
            self.tick.append(now - t)
        elif way is not None:
            self.heard = None
            self.message.append(now - way.begun)
            self.work.append(worked_ns() - way.worked)
            self.accepted.append(now - way.proved)
            self.door.append(way.heard - way.begun)


class _Watched:
    """An order side whose orders are noted when they have left."""

    def __init__(self, orders: Orders, stamps: _Stamps) -> None:
        self._orders, self._stamps = orders, stamps
        self.amend, self.query, self.reconcile = orders.amend, orders.query, orders.reconcile
        self.cancel, self.cancel_all = orders.cancel, orders.cancel_all

    def send(self, orders: list[Journaled], t: int, wall: int) -> None:
        self._orders.send(orders, t, wall)
        self._stamps.left(orders[0], t)


class _Hook(Hook):
    """A webhook that notes when it is given a request."""

    stamps: _Stamps

    async def answer(self, request: web.BaseRequest, proved: Proved) -> web.Response:
        self.stamps.worked = worked_ns()
        self.stamps.begun = self.stamps.clock.mono()
        return await super().answer(request, proved)


class _Doors(Listening):
    """The doors of a run that note when a message is proved and typed."""

    def __init__(self, stamps: _Stamps, plan: Plan, run_id: str, sink: Sink) -> None:
        secrets = {"sources.door": DOOR_SECRET}
        super().__init__(plan, secrets, stamps.clock, run_id, sink, _complain, _NoPurses())
        self._stamps = stamps

    def _hook(self, source: SourcePlan) -> Hook:
        hook = _Hook(source, self._secret(source.name), self)
        hook.stamps = self._stamps
        return hook

    def examine(self, source: str, message: Accepted, sent_at: int) -> Refusal | None:
        stamps = self._stamps
        stamps.proved[message.id] = _Way(stamps.begun, stamps.worked, stamps.clock.mono())
        return super().examine(source, message, sent_at)

    def hear(self, source: str, message: Accepted, sent_at: int) -> None:
        way = self._stamps.heard = self._stamps.proved.pop(message.id)
        way.heard = self._stamps.clock.mono()
        super().hear(source, message, sent_at)
        self._stamps.heard = None


def _complain(level: Level, source: str, text: str) -> None:
    raise WorldError(f"bench: {source}: {text}")


class _NoPurses:
    """Nothing here is paid for."""

    def saved(self, source: str) -> bytes:
        return b""

    def save(self, source: str, spent: bytes) -> None:
        raise AssertionError(f"{source} cost something")
