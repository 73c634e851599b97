"""Scenarios: a script of events and replies in, commands out, in virtual time.

`Scenario` is a host without sockets: it hands the engine its timers, answers its commands through
`ScriptedExchange`s and keeps everything that came out. The exchanges are the oracle too: what they
hold is the truth that the engine must agree with in the end.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeVar

from runner.engine.build import Builder, catalogue_facts, wants
from runner.engine.commands import Cancel, Command, Intent, OrderType, Query, Reconcile, Send
from runner.engine.core import Engine
from runner.engine.events import (
    Account,
    Ack,
    Balance,
    CancelReply,
    ClockReading,
    Done,
    End,
    Event,
    Facts,
    Fill,
    Found,
    OrderView,
    Position,
    Readiness,
    Ready,
    Reconciled,
    Reject,
    Timer,
    Top,
    Unknown,
)
from runner.engine.snapshot import Saved
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Instrument, Side
from runner.market.state import MarketState
from runner.spec.plan import Plan

WALL: Final = 1_760_000_000 * SECOND
C = TypeVar("C", bound=Command)


class Fate(StrEnum):
    """What becomes of an order."""

    FILLED = "filled"
    PARTIAL = "partial"
    NOTHING = "nothing"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    """executed, but the answer and the stream are silent: only a query tells"""
    LOST = "lost"
    """never arrived, and nobody says so"""
    LATE = "late"
    """executed; everything about it comes 1.5 s later"""
    DOWN = "down"
    """executed, and the exchange goes down for 4 s before it can say so"""
    REST = "rest"
    """acknowledged and left open"""


@dataclass(slots=True)
class Truth:
    """An order as the exchange has it."""

    intent: Intent
    status: str = "open"
    filled: int = 0
    fills: list[Fill] = field(default_factory=list)

    def view(self) -> OrderView:
        """Return it as a query shows it."""
        i = self.intent
        return OrderView(
            cid=i.cid,
            exchange_id=f"x{i.cid}",
            symbol=i.symbol,
            side=i.side.value,
            lots=i.lots,
            filled_lots=self.filled,
            status=self.status,
            price_ticks=i.ticks,
            reduce_only=i.reduce_only,
        )


class ScriptedExchange:
    """One exchange of the script: fates per market, and the truth of orders and positions."""

    def __init__(self, host: Scenario, name: str) -> None:
        self.host = host
        self.name = name
        self.orders: dict[str, Truth] = {}
        self.positions: dict[str, int] = {}
        self.fates: dict[str, deque[Fate]] = {}
        self.default = Fate.FILLED
        self.delay = 5 * MS
        self.answers = True
        """whether queries and reconciliations are answered"""
        self.free = 1_000_000.0
        self.free_base: dict[str, float] = {}
        self._count = 0

    def start(self) -> None:
        """Tell facts, clock, account and readiness, as a host does at the start."""
        host = self.host
        host.push(Facts(exchange=self.name, instruments=catalogue_facts(host.plan, self.name)))
        host.push(ClockReading(exchange=self.name, offset=0, uncertainty=MS))
        host.push(self.picture(host.t))
        host.push(Ready(exchange=self.name, state=Readiness.READY))
        host.after(30 * SECOND, self._sync)

    def place(self, intent: Intent) -> None:
        """Take an order as its market's next fate says."""
        if not self.answers:
            self.host.after(MS, Unknown(cid=intent.cid, why="disconnect"))
            return
        queue = self.fates.get(intent.market)
        fate = queue.popleft() if queue else self.default
        _FATES[fate](self, intent)

    def cancel(self, command: Cancel) -> None:
        """Cancel an open order, or say that there is none."""
        truth = self.orders.get(command.cid)
        if not self.answers:
            return
        if truth is None or truth.status not in ("open", "partial"):
            reply = CancelReply(cid=command.cid, ok=False, code="unknown order")
            self.host.after(self.delay, reply)
            return
        truth.status = "canceled"
        self.host.after(self.delay, CancelReply(cid=command.cid, ok=True))
        done = Done(cid=command.cid, end=End.CANCELED, filled_lots=truth.filled)
        self.host.after(self.delay, done)

    def query(self, command: Query) -> None:
        """Tell what is known of one order."""
        if self.answers:
            truth = self.orders.get(command.cid)
            view = truth.view() if truth is not None else None
            self.host.after(self.delay, Found(cid=command.cid, order=view))

    def reconcile(self) -> None:
        """Give a whole picture."""
        if self.answers:
            self.host.after(self.delay, self.picture(self.host.t))

    def picture(self, started: int) -> Reconciled:
        """Return everything: open orders, fills, account."""
        views = [t.view() for t in self.orders.values() if t.status in ("open", "partial")]
        fills = [fill for t in self.orders.values() for fill in t.fills]
        return Reconciled(
            exchange=self.name,
            open_orders=tuple(views),
            fills=tuple(fills),
            account=self.account(),
            started=started,
        )

    def account(self) -> Account:
        """Return balances and positions."""
        markets = [m for m in self.host.plan.markets.values() if m.exchange == self.name]
        quotes = {m.instrument.quote for m in markets}
        assets = dict.fromkeys(sorted(quotes), self.free) | self.free_base
        return Account(
            exchange=self.name,
            balances=tuple(Balance(asset=a, total=v, free=v) for a, v in assets.items()),
            positions=tuple(
                Position(symbol=s, lots=lots) for s, lots in sorted(self.positions.items())
            ),
            equity=self.free,
            full=True,
            source="rest",
        )

    def execute(self, intent: Intent, share: float = 1.0) -> Truth:
        """Execute an order against the host's quotes; return what became of it."""
        truth = self.orders.setdefault(intent.cid, Truth(intent))
        price = self.host.price(intent)
        lots = int(intent.lots * share) if price == price else 0
        if lots:
            self._count += 1
            truth.filled += lots
            symbol = intent.symbol
            self.positions[symbol] = self.positions.get(symbol, 0) + lots * intent.side.sign
            notional = price * lots * self.host.instrument(intent.market).lot_base_f
            fee = notional * self.host.instrument(intent.market).fees.taker
            truth.fills.append(
                Fill(
                    cid=intent.cid,
                    trade_id=f"{self.name}{self._count}",
                    lots=lots,
                    price=price,
                    fee=fee,
                    fee_asset=self.host.instrument(intent.market).quote,
                )
            )
        truth.status = "filled" if truth.filled == intent.lots else "expired"
        return truth

    def tell(self, truth: Truth, delay: int) -> None:
        """Tell everything about an order after `delay`."""
        cid = truth.intent.cid
        self.host.after(delay, Ack(cid=cid, exchange_id=f"x{cid}"))
        for fill in truth.fills:
            self.host.after(delay, fill)
        end = End.FILLED if truth.status == "filled" else End.EXPIRED
        self.host.after(delay, Done(cid=cid, end=end, filled_lots=truth.filled))

    def go_down(self, why: str = "socket closed") -> None:
        """Take no requests and answer none."""
        self.answers = False
        self.host.push(Ready(exchange=self.name, state=Readiness.DOWN, reason=why))

    def come_up(self) -> None:
        """Be back: reconciling, the picture, ready."""
        self.answers = True
        host = self.host
        host.push(Ready(exchange=self.name, state=Readiness.RECONCILING))
        host.after(self.delay, self.picture(host.t))
        host.after(self.delay, Ready(exchange=self.name, state=Readiness.READY))

    def _sync(self) -> None:
        self.host.push(ClockReading(exchange=self.name, offset=0, uncertainty=MS))
        self.host.after(30 * SECOND, self._sync)

    def _filled(self, intent: Intent) -> None:
        self.tell(self.execute(intent), self.delay)

    def _partial(self, intent: Intent) -> None:
        self.tell(self.execute(intent, 0.5), self.delay)

    def _nothing(self, intent: Intent) -> None:
        self.tell(self.execute(intent, 0.0), self.delay)

    def _rejected(self, intent: Intent) -> None:
        reject = Reject(cid=intent.cid, outcome="rejected", code="-2019", text="no margin")
        self.host.after(self.delay, reject)

    def _unknown(self, intent: Intent) -> None:
        self.execute(intent)
        self.host.after(50 * MS, Unknown(cid=intent.cid, why="timeout"))

    def _lost(self, intent: Intent) -> None:
        self.host.after(50 * MS, Unknown(cid=intent.cid, why="timeout"))

    def _late(self, intent: Intent) -> None:
        self.host.after(1500 * MS, lambda: self.tell(self.execute(intent), 0))

    def _down(self, intent: Intent) -> None:
        self.execute(intent)
        self.go_down()
        self.host.after(MS, Unknown(cid=intent.cid, why="disconnect"))
        self.host.after(4 * SECOND, self.come_up)

    def _rest(self, intent: Intent) -> None:
        self.orders[intent.cid] = Truth(intent)
        self.host.after(self.delay, Ack(cid=intent.cid, exchange_id=f"x{intent.cid}"))


_FATES: Final[dict[Fate, Callable[[ScriptedExchange, Intent], None]]] = {
    Fate.FILLED: ScriptedExchange._filled,
    Fate.PARTIAL: ScriptedExchange._partial,
    Fate.NOTHING: ScriptedExchange._nothing,
    Fate.REJECTED: ScriptedExchange._rejected,
    Fate.UNKNOWN: ScriptedExchange._unknown,
    Fate.LOST: ScriptedExchange._lost,
    Fate.LATE: ScriptedExchange._late,
    Fate.DOWN: ScriptedExchange._down,
    Fate.REST: ScriptedExchange._rest,
}


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
    ) -> None:
        self.plan = plan
        self.t = 0
        self.wall_at_zero = WALL
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
        if intent.type is OrderType.MARKET:
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
        for watch in self.watchers:
            watch()

    def _carry_out(self, commands: Any) -> None:
        for command in commands:
            self.log.append((self.t, command))
            if isinstance(command, Send):
                for approved in command.orders:
                    self.exchanges[approved.intent.exchange].place(approved.intent)
            elif isinstance(command, Cancel):
                self.exchanges[command.exchange].cancel(command)
            elif isinstance(command, Query):
                self.exchanges[command.exchange].query(command)
            elif isinstance(command, Reconcile):
                self.exchanges[command.exchange].reconcile()
