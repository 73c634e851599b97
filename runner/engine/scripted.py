"""A scripted exchange: what becomes of orders, and the truth the engine must agree with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from runner.engine.build import catalogue_facts
from runner.engine.commands import Cancel, Intent, OrderType, Query, Tif
from runner.engine.events import (
    Account,
    Ack,
    Amended,
    AmendReply,
    Balance,
    CancelReply,
    ClockReading,
    Done,
    End,
    Facts,
    Fill,
    Found,
    OrderView,
    Position,
    Readiness,
    Ready,
    Reconciled,
    Reject,
    Unknown,
)
from runner.engine.order import NOT_SENT
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Kind

if TYPE_CHECKING:
    from runner.engine.scenario import Scenario


class Fate(StrEnum):
    """What becomes of an order."""

    FILLED = "filled"
    PARTIAL = "partial"
    NOTHING = "nothing"
    REJECTED = "rejected"
    UNSENT = "unsent"
    """it never left: the host says so"""
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
    WORKS = "works"
    """rests if its own terms say so, else filled"""


class Change(StrEnum):
    """What becomes of a change of an order."""

    DONE = "done"
    REFUSED = "refused"
    SILENT = "silent"
    """done, but the answer and the stream are silent: only a query tells"""
    LOST = "lost"
    """never arrived, and nobody says so"""
    ENDED = "ended"
    """it would have taken: the exchange ends the order"""


@dataclass(slots=True)
class Truth:
    """An order as the exchange has it."""

    intent: Intent
    status: str = "open"
    filled: int = 0
    fills: list[Fill] = field(default_factory=list)
    lots: int = field(init=False)
    ticks: int = field(init=False)
    ts: int = 0

    def __post_init__(self) -> None:
        self.lots, self.ticks = self.intent.lots, self.intent.ticks

    def view(self) -> OrderView:
        """Return it as a query shows it."""
        i = self.intent
        return OrderView(
            cid=i.cid,
            exchange_id=f"x{i.cid}",
            symbol=i.symbol,
            side=i.side.value,
            lots=self.lots,
            filled_lots=self.filled,
            status=self.status,
            price_ticks=self.ticks,
            reduce_only=i.reduce_only,
            ts=self.ts,
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
        self.stops: deque[Fate] = deque()
        """what becomes of the next stops; those beyond rest"""
        self.targets: deque[Fate] = deque()
        """the same of targets"""
        self.changes: deque[Change] = deque()
        """what becomes of the next changes of orders; DONE when there is none"""
        self.delay = 5 * MS
        self.answers = True
        """whether queries and reconciliations are answered"""
        self.key = True
        """whether it accepts our key; without it its stream talks on"""
        self.free = 1_000_000.0
        self.others: list[OrderView] = []
        """open orders that are not ours"""
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
        if not self.key:
            reject = Reject(cid=intent.cid, outcome="rejected", code="key", text="key refused")
            self.host.after(self.delay, reject)
            return
        if intent.type in (OrderType.STOP, OrderType.TARGET):
            self._place_guard(intent)
            return
        queue = self.fates.get(intent.market)
        fate = queue.popleft() if queue else self.default
        _FATES[fate](self, intent)

    def _place_guard(self, intent: Intent) -> None:
        """Take a stop or target as its next fate says: it rests, told of at once, late or never."""
        fates = self.stops if intent.type is OrderType.STOP else self.targets
        fate = fates.popleft() if fates else Fate.REST
        if fate in (Fate.REJECTED, Fate.UNSENT, Fate.LOST):
            _FATES[fate](self, intent)
            return
        self.orders[intent.cid] = Truth(intent)
        if fate is Fate.UNKNOWN:
            self.host.after(50 * MS, Unknown(cid=intent.cid, why="timeout"))
        else:
            delay = 1500 * MS if fate is Fate.LATE else self.delay
            self.host.after(delay, Ack(cid=intent.cid, exchange_id=f"x{intent.cid}"))

    def fire(self, market: str, share: float = 1.0, type: OrderType = OrderType.STOP) -> None:
        """The trigger price of a market's stops (or targets) was reached: the oldest executes."""
        for truth in self.orders.values():
            intent = truth.intent
            resting = truth.status in ("open", "partial") and intent.type is type
            if resting and intent.market == market and self.reducible(intent) > 0:
                rest = min(intent.lots - truth.filled, self.reducible(intent))
                lots = min(max(int(intent.lots * share), 1), rest)
                self.execute(intent, (lots + 0.5) / intent.lots)
                if share < 1 and truth.filled < intent.lots:
                    truth.status = "partial"
                self.tell_fills(truth)
                return

    def reducible(self, intent: Intent) -> int:
        """By how much a reduce-only order may reduce the position there is."""
        held = self.positions.get(intent.symbol, 0)
        return max(0, -held * intent.side.sign)

    def amend(self, intent: Intent) -> None:
        """Change an open order as the next `Change` says."""
        truth, cid = self.orders.get(intent.cid), intent.cid
        if not self.answers or not self.key:
            no = AmendReply(cid=cid, ok=False, outcome="unknown", code="disconnect")
            self.host.after(MS, no)
            return
        change = self.changes.popleft() if self.changes else Change.DONE
        if change is Change.LOST:
            return
        if truth is None or truth.status not in ("open", "partial") or change is Change.REFUSED:
            no = AmendReply(cid=cid, ok=False, outcome="rejected", code="no")
            self.host.after(self.delay, no)
            return
        truth.ts += 1
        if change is Change.ENDED or intent.lots <= truth.filled:
            truth.status = "canceled"
            self.host.after(self.delay, AmendReply(cid=cid, ok=True))
            done = Done(cid=cid, end=End.CANCELED, filled_lots=truth.filled)
            self.host.after(self.delay, done)
            return
        truth.lots, truth.ticks = intent.lots, intent.ticks
        if change is Change.DONE:
            self.host.after(self.delay, AmendReply(cid=cid, ok=True))
            shown = Amended(cid=cid, lots=truth.lots, ticks=truth.ticks, ts=truth.ts)
            self.host.after(self.delay, shown)

    def fill(self, cid: str, lots: int, *, told: bool = True) -> None:
        """Let an open order fill as maker at its price; `told`: the stream says so."""
        truth = self.orders[cid]
        intent = truth.intent
        lots = min(lots, truth.lots - truth.filled)
        if intent.reduce_only:
            lots = min(lots, self.reducible(intent))
        if truth.status not in ("open", "partial") or not lots:
            return
        self._count += 1
        truth.filled += lots
        truth.status = "filled" if truth.filled == truth.lots else "partial"
        symbol = intent.symbol
        self.positions[symbol] = self.positions.get(symbol, 0) + lots * intent.side.sign
        instrument = self.host.instrument(intent.market)
        price = float(instrument.price(truth.ticks))
        fee = price * lots * instrument.lot_base_f * instrument.fees.maker
        event = Fill(
            cid=cid,
            trade_id=f"{self.name}{self._count}",
            lots=lots,
            price=price,
            fee=fee,
            fee_asset=instrument.quote,
            maker=True,
        )
        truth.fills.append(event)
        if told:
            self.host.after(self.delay, event)
            if truth.status == "filled":
                done = Done(cid=cid, end=End.FILLED, filled_lots=truth.filled)
                self.host.after(self.delay, done)

    def cancel(self, command: Cancel) -> None:
        """Cancel an open order, or say that there is none."""
        truth = self.orders.get(command.cid)
        if not self.answers:
            return
        if truth is None or truth.status not in ("open", "partial") or not self.key:
            code = "unknown order" if self.key else "key"
            reply = CancelReply(cid=command.cid, ok=False, code=code)
            self.host.after(self.delay, reply)
            return
        truth.status = "canceled"
        self.host.after(self.delay, CancelReply(cid=command.cid, ok=True))
        done = Done(cid=command.cid, end=End.CANCELED, filled_lots=truth.filled)
        self.host.after(self.delay, done)

    def query(self, command: Query) -> None:
        """Tell what is known of one order."""
        if self.answers and self.key:
            truth = self.orders.get(command.cid)
            view = truth.view() if truth is not None else None
            self.host.after(self.delay, Found(cid=command.cid, order=view))

    def reconcile(self) -> None:
        """Give a whole picture."""
        if self.answers and self.key:
            self.host.after(self.delay, self.picture(self.host.t))

    def picture(self, started: int) -> Reconciled:
        """Return everything: open orders, fills, account."""
        views = [t.view() for t in self.orders.values() if t.status in ("open", "partial")]
        fills = [fill for t in self.orders.values() for fill in t.fills]
        return Reconciled(
            exchange=self.name,
            open_orders=(*views, *self.others),
            fills=tuple(fills),
            account=self.account(),
            started=started,
        )

    def account(self) -> Account:
        """Return balances and positions."""
        markets = [m for m in self.host.plan.markets.values() if m.exchange == self.name]
        quotes = {m.instrument.quote for m in markets}
        assets = dict.fromkeys(sorted(quotes), self.free) | self.free_base
        for m in markets:
            if m.instrument.kind is Kind.SPOT:  # what was bought is a balance
                held = self.positions.get(m.symbol, 0) * m.instrument.lot_base_f
                assets[m.instrument.base] = assets.get(m.instrument.base, 0.0) + held
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
        if intent.reduce_only:
            lots = min(lots, self.reducible(intent))
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

    def tell_fills(self, truth: Truth) -> None:
        """Tell the fills of an order that is acknowledged already, and its end if it ended."""
        for fill in truth.fills:
            self.host.after(self.delay, fill)
        if truth.status not in ("open", "partial"):
            end = End.FILLED if truth.status == "filled" else End.EXPIRED
            cid = truth.intent.cid
            self.host.after(self.delay, Done(cid=cid, end=end, filled_lots=truth.filled))

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

    def refuse_key(self) -> None:
        """Refuse every request from now on, and tell of fills all the same."""
        self.key = False
        self.host.push(Ready(exchange=self.name, state=Readiness.FROZEN, reason="key refused"))

    def come_up(self) -> None:
        """Be back: reconciling, the picture, ready."""
        self.answers = self.key = True
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

    def _unsent(self, intent: Intent) -> None:
        reject = Reject(cid=intent.cid, outcome="rejected", code=NOT_SENT, text="no room")
        self.host.after(0, reject)

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

    def _works(self, intent: Intent) -> None:
        rests = intent.type is OrderType.LIMIT and intent.tif in (Tif.GTC, Tif.POST_ONLY)
        (self._rest if rests else self._filled)(intent)

    def _rest(self, intent: Intent) -> None:
        self.orders[intent.cid] = Truth(intent)
        self.host.after(self.delay, Ack(cid=intent.cid, exchange_id=f"x{intent.cid}"))


_FATES: Final[dict[Fate, Callable[[ScriptedExchange, Intent], None]]] = {
    Fate.FILLED: ScriptedExchange._filled,
    Fate.PARTIAL: ScriptedExchange._partial,
    Fate.NOTHING: ScriptedExchange._nothing,
    Fate.REJECTED: ScriptedExchange._rejected,
    Fate.UNSENT: ScriptedExchange._unsent,
    Fate.UNKNOWN: ScriptedExchange._unknown,
    Fate.LOST: ScriptedExchange._lost,
    Fate.LATE: ScriptedExchange._late,
    Fate.DOWN: ScriptedExchange._down,
    Fate.REST: ScriptedExchange._rest,
    Fate.WORKS: ScriptedExchange._works,
}
