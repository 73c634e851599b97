"""What a run's report is made of, gathered while it runs.

An observer of the host: it sees each event before the engine does and each command as it leaves.
Decisions are priced against the books at the moment of their `Send`, so that the waterfall can say
what waiting cost. Streams are sampled every 100 ms of the run's own time, live or replayed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from runner.app.host import FAR
from runner.app.latency import Histogram, StageClock
from runner.app.waterfall import RuleMoney, Seen
from runner.base.clock import NS_PER_MS
from runner.engine.commands import (
    Amend,
    Command,
    Intent,
    Notify,
    Record,
    Resync,
    RunState,
    Send,
    Trace,
)
from runner.engine.events import (
    FORCED,
    Ack,
    ClockReading,
    Done,
    End,
    Event,
    External,
    Feed,
    Fill,
    Reconciled,
    Reject,
    SocketState,
    Unknown,
)
from runner.engine.order import TERMINAL, OrderState
from runner.exchanges.paper.books import BookView, touch, walk
from runner.market.instruments import Instrument, Side
from runner.spec.plan import Plan

_ENDS = frozenset(state.value for state in TERMINAL)
_FIRST_SNAPSHOT = frozenset({"no snapshot", "snapshot too old"})
"""reasons of a resync that every book has at its start: nothing was missed"""
SAMPLE = 100 * NS_PER_MS
_MOST_SAMPLES = 600
"""of one silence: a minute of it says all"""


class StreamLike(Protocol):
    """What is read of a stream."""

    seq: int
    state: Any
    max_age: int

    def age(self, now: int) -> int: ...


@dataclass(slots=True)
class Sent:
    """One order of the run."""

    intent: Intent
    seen: Seen | None
    t: int
    acked: bool = False
    closed: bool = False
    fills: dict[str, Fill] = field(default_factory=dict)
    """by trade id"""
    earlier: frozenset[str] = frozenset()
    """trade ids that an earlier run booked"""


@dataclass(slots=True)
class ExchangeCount:
    """Counts of one exchange; offset and uncertainty of its clock in ns."""

    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    unknown: int = 0
    canceled: int = 0
    reconnects: int = 0
    gaps: int = 0
    offset: int | None = None
    uncertainty: int | None = None


@dataclass(slots=True)
class StreamCount:
    """Samples of one stream: its age, and how often it was not live."""

    ages: Histogram = field(default_factory=Histogram)
    samples: int = 0
    stale: int = 0


class Collector:
    """Gathers the figures of one run; `stages` may be handed to the host."""

    def __init__(
        self,
        plan: Plan,
        instruments: Mapping[str, Instrument],
        books: Mapping[str, BookView],
        streams: Mapping[str, StreamLike],
    ) -> None:
        self.plan = plan
        self.instruments = instruments
        self.books = books
        self.streams = streams
        self.stages = StageClock()
        self.acks = Histogram()
        """decision to acknowledgement, ns: what there is where no wire measures the stage"""
        self.rules = {
            name: RuleMoney(name, quotes=rule.quote is not None)
            for name, rule in plan.rules.items()
        }
        self.exchanges = {name: ExchangeCount() for name in plan.exchanges}
        self.samples = {key: StreamCount() for key in streams}
        self.orders: dict[str, Sent] = {}
        self.refusals: dict[str, Counter[str]] = {rule: Counter() for rule in plan.rules}
        self.states: list[RunState] = []
        self.notices: Counter[str] = Counter()
        self.notes: list[str] = []
        """what the figures leave out, found while running"""
        self._externals: set[tuple[str, str, str, str]] = set()
        self.strangers = 0
        """fills of orders that this run did not send"""
        self.first: tuple[int, int] | None = None
        self.last = (0, 0)
        """(monotonic, wall) ns of the first and the last event"""
        self._sample_at = 0
        self._ups: Counter[str] = Counter()
        self._by_event: dict[type[Event], Callable[[Any], None]] = {
            Ack: self._ack,
            Reject: self._reject,
            Unknown: self._unknown,
            Fill: self._fill,
            Done: self._done,
            Reconciled: self._reconciled,
            External: self._external,
            Feed: self._feed,
            ClockReading: self._clock,
        }
        self._by_command: dict[type[Command], Callable[[Any, int], None]] = {
            Send: self._send,
            Amend: self._amend,
            Trace: self._trace,
            Resync: self._resync,
            RunState: lambda state, _: self.states.append(state),
            Notify: self._notify,
            Record: self._record,
        }

    # -- the observer

    def event(self, event: Event) -> None:
        """See an event, before the engine does."""
        if event.t >= self._sample_at:
            self._sample(event)
        take = self._by_event.get(type(event))
        if take is not None:
            take(event)

    def command(self, command: Command, t: int) -> None:
        """See a command, before it is carried out."""
        take = self._by_command.get(type(command))
        if take is not None:
            take(command, t)

    def expect(self, intent: Intent, earlier: Iterable[str]) -> None:
        """Take over an order of an earlier run, which booked the fills `earlier` (trade ids)."""
        sent = Sent(intent, None, 0, acked=True, earlier=frozenset(earlier))
        self.orders.setdefault(intent.cid, sent)

    def leave_streams(self) -> None:
        """Sample no more: the market has ended, only our own orders are still to settle."""
        self._sample_at = FAR

    def end(self, t: int, wall: int) -> None:
        """Note when the run ended."""
        self.last = (max(t, self.last[0]), max(wall, self.last[1]))

    # -- streams

    def _sample(self, event: Event) -> None:
        if self.first is None:
            self.first = (event.t, event.wall)
            self._sample_at = event.t
        self.last = (event.t, event.wall)
        steps = min((event.t - self._sample_at) // SAMPLE + 1, _MOST_SAMPLES)
        for key, stream in self.streams.items():
            count, max_age = self.samples[key], stream.max_age
            state = str(stream.state)
            if state == "waiting":
                continue  # not there yet is not stale
            live = state == "live"
            for step in range(steps):
                age = stream.age(self._sample_at + step * SAMPLE)
                count.samples += 1
                if not live or age > max_age:
                    count.stale += 1
                if stream.seq:
                    count.ages.record(age)
        self._sample_at = event.t + SAMPLE

    # -- orders

    def _send(self, command: Send, t: int) -> None:
        for approved in command.orders:
            intent = approved.intent
            self.orders[intent.cid] = Sent(intent, self._seen(intent, t), t)
            money = self.rules.get(intent.rule)
            if money is None:
                money = self.rules[intent.rule] = RuleMoney(intent.rule)
            money.decided(intent)
            self.exchanges[intent.exchange].sent += 1

    def _amend(self, command: Amend, t: int) -> None:
        """Price a change as a decision of its own: what fills from now on was decided here."""
        intent = command.order.intent
        sent = self.orders.get(intent.cid)
        if sent is not None:
            sent.seen = self._seen(intent, t)

    def _seen(self, intent: Intent, t: int) -> Seen | None:
        """Price an order against the book at its decision; None without a valid book."""
        view, instrument = self.books[intent.market], self.instruments[intent.market]
        if not view.valid(t):
            return None
        best = touch(view, intent.side.opposite, instrument)
        takes = walk(view, instrument, intent.side, intent.lots, None)
        if best is None or not takes:
            return None
        lots = sum(take.lots for take in takes)
        average = instrument.tick * sum(take.ticks * take.lots for take in takes) / lots
        return Seen(instrument.price(best), average)

    def _ack(self, event: Ack) -> None:
        sent = self.orders.get(event.cid)
        if sent is not None and not sent.acked:
            sent.acked = True
            self.exchanges[sent.intent.exchange].accepted += 1
            self.acks.record(event.t - sent.t)

    def _reject(self, event: Reject) -> None:
        sent = self.orders.get(event.cid)
        if sent is not None and not sent.closed:
            sent.closed = True
            self.exchanges[sent.intent.exchange].rejected += 1

    def _unknown(self, event: Unknown) -> None:
        sent = self.orders.get(event.cid)
        if sent is not None:
            self.exchanges[sent.intent.exchange].unknown += 1

    def _done(self, event: Done) -> None:
        sent = self.orders.get(event.cid)
        if sent is not None and not sent.closed:
            sent.closed = True
            if event.end is End.CANCELED:
                self.exchanges[sent.intent.exchange].canceled += 1

    def _fill(self, fill: Fill) -> None:
        sent = self.orders.get(fill.cid)
        if sent is None:
            self.strangers += 1
            return
        intent = sent.intent
        instrument = self.instruments[intent.market]
        money = self.rules.setdefault(intent.rule, RuleMoney(intent.rule))
        if fill.trade_id in sent.earlier:
            return
        known = sent.fills.get(fill.trade_id)
        if known is None:
            money.fill(intent, instrument, fill, sent.seen)
        elif known.fee is None and fill.fee is not None:
            # Binance tells a trade twice: at once without its fee, then with it.
            money.correct_fee(instrument, known, fill)
        else:
            return
        sent.fills[fill.trade_id] = fill

    def _reconciled(self, event: Reconciled) -> None:
        for fill in event.fills:
            if fill.cid in self.orders:
                self._fill(fill)
        for external in event.externals:
            self._external(external)

    def _external(self, event: External) -> None:
        """Share funding among the holders of a market, by what they hold; book what was taken.

        A stream and a picture tell the same: each is booked once.
        """
        if event.id and event.key in self._externals:
            return
        self._externals.add(event.key)
        if event.what in FORCED:
            self._taken(event)
        if event.what != "funding":
            return
        holders = [
            (money, abs(money.legs[event.market].lots))
            for money in self.rules.values()
            if event.market in money.legs and money.legs[event.market].lots
        ]
        total = sum(lots for _, lots in holders)
        for money, lots in holders:
            money.fund(Decimal(repr(event.amount)) * lots / total)

    def _taken(self, event: External) -> None:
        """The exchange closed something itself: it goes to those who held the other side."""
        left = event.lots
        for money in self.rules.values():
            leg = money.legs.get(event.market)
            if leg is None or leg.lots * left >= 0:
                continue
            lots = min(abs(left), abs(leg.lots)) * (1 if left > 0 else -1)
            money.taken(event.market, lots, Decimal(repr(event.price)))
            left -= lots

    # -- exchanges

    def _feed(self, event: Feed) -> None:
        count = self.exchanges.get(event.exchange)
        if count is None:
            return
        if event.state is SocketState.UP:
            self._ups[f"{event.exchange}/{event.socket}"] += 1
            count.reconnects += self._ups[f"{event.exchange}/{event.socket}"] > 1

    def _clock(self, event: ClockReading) -> None:
        count = self.exchanges.get(event.exchange)
        if count is not None and event.ok:
            count.offset, count.uncertainty = event.offset, event.uncertainty

    def _resync(self, command: Resync, _: int) -> None:
        market = self.plan.markets.get(command.market)
        if market is not None and command.reason not in _FIRST_SNAPSHOT:
            self.exchanges[market.exchange].gaps += 1

    # -- rules and the run

    def _trace(self, trace: Trace, _: int) -> None:
        if trace.refusal:
            self.refusals.setdefault(trace.rule, Counter())[_code(trace.refusal)] += 1
        if trace.before == "entering" and trace.after == "leaving" and trace.rule in self.rules:
            self.rules[trace.rule].failing = True

    def _record(self, command: Record, _: int) -> None:
        """The engine's own word on an order: what a query proved comes with no `Done`."""
        if command.kind != "order" or command.fields.get("state") not in _ENDS:
            return
        sent = self.orders.get(str(command.fields.get("cid")))
        if sent is not None and not sent.closed:
            sent.closed = True
            if command.fields["state"] == OrderState.CANCELED.value:
                self.exchanges[sent.intent.exchange].canceled += 1

    def _notify(self, command: Notify, _: int) -> None:
        self.notices[command.level] += 1

    # -- the end

    def unresolved(self) -> list[str]:
        """Return the client ids of orders that never ended."""
        return sorted(cid for cid, sent in self.orders.items() if not sent.closed)

    def exit_price(self, market: str, lots: int, now: int) -> tuple[Decimal | None, str]:
        """Return the average price of closing `lots` (signed) now, and a note when unsure."""
        view, instrument = self.books[market], self.instruments[market]
        side = Side.SELL if lots > 0 else Side.BUY
        if view.valid(now):
            takes = walk(view, instrument, side, abs(lots), None)
            found = sum(take.lots for take in takes)
            if found:
                value = sum(take.ticks * take.lots for take in takes)
                short = found < abs(lots)
                note = f"{market}: valued beyond the known depth" if short else ""
                return instrument.tick * value / found, note
        stream = self.streams.get(f"{market}.book")
        last = getattr(stream, "last_bid" if side is Side.SELL else "last_ask", None)
        if isinstance(last, float) and last == last:
            return Decimal(repr(last)), f"{market}: no valid book at the end, last price used"
        return None, f"{market}: no price at the end, valued at its entry"


def _code(refusal: str) -> str:
    """Return the code of a refusal's text: what stands before the colon, or its first word."""
    return refusal.split(":", 1)[0] if ":" in refusal else refusal.split(" ", 1)[0]
