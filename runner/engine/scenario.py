"""Scenarios: a script of events and replies in, commands out, in virtual time.

`Scenario` is a host without sockets: it hands the engine its timers, answers its commands through
`ScriptedExchange`s and keeps everything that came out. The exchanges are the oracle too: what they
hold is the truth that the engine must agree with in the end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from runner.engine.build import Builder, wants
from runner.engine.commands import (
    Amend,
    Cancel,
    Command,
    Intent,
    OrderType,
    Query,
    Reconcile,
    Send,
)
from runner.engine.core import Engine
from runner.engine.events import (
    Event,
    Reconciled,
    Timer,
    Top,
)
from runner.engine.saved import Saved
from runner.engine.scripted import Change, Fate, ScriptedExchange, Truth
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Instrument, Side
from runner.market.state import MarketState
from runner.spec.plan import Plan

WALL: Final = 1_760_000_000 * SECOND
C = TypeVar("C", bound=Command)


def _start(exchange: ScriptedExchange) -> None:
    exchange.start()  # looked up now, so that a script may replace it


class Scenario:
    """An engine, its exchanges and the time."""

    def __init__(
        self,
        plan: Plan,
        program: Builder,
        *,
        run_id: str = "run0000001",
        restored: Saved | None = None,
        adopt: bool = False,
        tick_every: int = 50 * MS,
        wall: int = WALL,
    ) -> None:
        self.plan = plan
        self.t = 0
        self.wall_at_zero = wall
        self.market = MarketState(wants(plan))
        self.engine = Engine(plan, program, self.market, run_id, restored=restored, adopt=adopt)
        self.exchanges = {name: ScriptedExchange(self, name) for name in plan.exchanges}
        self.quotes: dict[str, tuple[float, float]] = {}
        self.frozen: set[str] = set()
        """markets whose quotes do not arrive"""
        self.log: list[tuple[int, Command]] = []
        self.tick_every = tick_every
        self._queue: list[tuple[int, int, Any]] = []
        self._count = 0
        self.watchers: list[Callable[[], None]] = []
        """called after every event, for invariants"""

    # -- the script

    def start(self, **quotes: tuple[float, float]) -> Scenario:
        """Begin with these quotes (`bin=(60_000, 60_001)`) and all exchanges ready."""
        self.quotes.update(quotes)
        self.after(0, self._tick)
        for exchange in self.exchanges.values():
            self.after(0, partial(_start, exchange))
        return self

    def quote(self, market: str, bid: float, ask: float) -> None:
        """Set a market's touch from now on; it is told at once and then every `tick_every`."""
        self.quotes[market] = (bid, ask)
        if market not in self.frozen:
            self._top(market)

    def push(self, event: Event) -> None:
        """Let an event happen now, after what is under way."""
        self.after(0, event)

    def after(self, delay: int, what: Event | Callable[[], object]) -> None:
        """Let an event or a call happen `delay` ns from now."""
        self._count += 1
        heapq.heappush(self._queue, (self.t + delay, self._count, what))

    def run(self, for_ns: int) -> Scenario:
        """Let time pass."""
        end = self.t + for_ns
        while True:
            head = self._queue[0][0] if self._queue else end + 1
            due = self.engine.due
            if due <= head and due <= end:
                self.t = max(self.t, due)
                self._handle(Timer(due=due))
            elif head <= end:
                self.t = head
                what = heapq.heappop(self._queue)[2]
                if isinstance(what, Event):
                    self._handle(what)
                else:
                    what()
            else:
                self.t = end
                return self

    # -- what came out

    def commands(self, kind: type[C]) -> list[C]:
        """Return all commands of a kind so far."""
        return [c for _, c in self.log if isinstance(c, kind)]

    @property
    def sent(self) -> list[Intent]:
        """All orders sent so far."""
        return [a.intent for send in self.commands(Send) for a in send.orders]

    def state(self, rule: str) -> str:
        """Return a rule's state."""
        return self.engine.desk.rules.runs[rule].state.value

    def lots(self, market: str) -> int:
        """Return what the engine believes to hold."""
        return self.engine.desk.ledgers.lots(market)

    def truth(self, market: str) -> int:
        """Return what the exchange says we hold."""
        plan = self.plan.markets[market]
        return self.exchanges[plan.exchange].positions.get(plan.symbol, 0)

    def net(self, base: str) -> float:
        """Return the true net amount of an asset over all exchanges."""
        return sum(
            self.truth(name) * m.instrument.lot_base_f
            for name, m in self.plan.markets.items()
            if m.instrument.base == base
        )

    def instrument(self, market: str) -> Instrument:
        """Return a market's instrument."""
        return self.plan.markets[market].instrument

    def price(self, intent: Intent) -> float:
        """Return where an order would execute now; NaN when its limit is not reached."""
        bid, ask = self.quotes[intent.market]
        touch = ask if intent.side is Side.BUY else bid
        if intent.type is not OrderType.LIMIT:
            return touch
        limit = float(self.instrument(intent.market).price(intent.ticks))
        return touch if (limit - touch) * intent.side.sign >= 0 else float("nan")

    # -- inside

    def _tick(self) -> None:
        for market in self.quotes:
            if market not in self.frozen:
                self._top(market)
        self.after(self.tick_every, self._tick)

    def _top(self, market: str) -> None:
        bid, ask = self.quotes[market]
        wall = self.wall_at_zero + self.t
        conn = 1 + list(self.plan.markets).index(market)
        top = Top(market=market, bid=bid, ask=ask, bid_qty=50.0, ask_qty=50.0, ts=wall, conn=conn)
        self.push(top)

    def _handle(self, event: Event) -> None:
        event.t = self.t
        event.wall = self.wall_at_zero + self.t
        if isinstance(event, Reconciled) and event.account is not None:
            event.account.t = self.t
        self._carry_out(self.engine.handle(event))
        self._carry_out(self.engine.later())
        self._carry_out(self.engine.lasting())
        for watch in self.watchers:
            watch()

    def _carry_out(self, commands: Any) -> None:
        for command in commands:
            self.log.append((self.t, command))
            if isinstance(command, Send):
                for approved in command.orders:
                    self.exchanges[approved.intent.exchange].place(approved.intent)
            elif isinstance(command, Amend):
                self.exchanges[command.order.intent.exchange].amend(command.order.intent)
            elif isinstance(command, Cancel):
                self.exchanges[command.exchange].cancel(command)
            elif isinstance(command, Query):
                self.exchanges[command.exchange].query(command)
            elif isinstance(command, Reconcile):
                self.exchanges[command.exchange].reconcile()


__all__ = ["Change", "Fate", "Scenario", "ScriptedExchange", "Truth"]
