"""The paper exchange: takes journaled orders, gives back the events a live exchange would.

Theory of operation. Nothing happens in a call: `send`, `cancel`, `query` and `reconcile` put what
they cause on an agenda, at the time the request would arrive; what the venue then says is put
there again, at the time it would reach us. The host calls `on_timer` when `due` has come, after
all earlier market events went to the engine and to `on_market`, and gives the events to the
engine.

    send --entry latency--> the venue judges and matches --response latency--> events

Events of one order come in the order of a live private stream, Ack Fill* Done or Reject (R-41),
and all events of one exchange in the order they happened, as on one socket. Delays depend on the
seed and the order's client id alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from runner.base.clock import NS_PER_S
from runner.engine.commands import Intent
from runner.engine.events import (
    Account,
    CancelReply,
    Depth,
    Event,
    Fill,
    Found,
    Funding,
    Mark,
    Reconciled,
    Top,
    Trade,
    Unknown,
)
from runner.engine.proof import Journaled
from runner.exchanges.paper.books import BookView
from runner.exchanges.paper.funding import NEVER, FundingClock, Payment
from runner.exchanges.paper.latency import REALISTIC, LatencyModel
from runner.exchanges.paper.orders import NORMAL, Behaviour, PaperOrder, Stage
from runner.exchanges.paper.queue import PROB, QueueModel
from runner.exchanges.paper.rules import Refusal, Why
from runner.exchanges.paper.told import amend_refused
from runner.exchanges.paper.venue import Venue
from runner.market.instruments import Instrument

STALE_WAIT = NS_PER_S
"""How long an order waits for a valid book at most (its receive window when that is shorter)."""

_Act = Callable[[int], Sequence[Event] | None]
_Follow = dict[type[Event], Callable[[Any], None]]
Script = Mapping[str, Behaviour | Sequence[Behaviour]]


class PaperExchange:
    """One exchange on paper; fulfils the host's `Orders` protocol.

    name, type: the exchange's name in the file and its adapter's type (`binance_usdm`).
    instruments, books: by market name, for the markets of this exchange only.
    seed: the run id. balance: of the quote; spot also gets the same value of each base.
    leverage: by symbol, 1 where absent. script: fates by market name, one for all orders or one
    for each in turn (then normal).
    """

    def __init__(
        self,
        name: str,
        type: str,
        instruments: Mapping[str, Instrument],
        books: Mapping[str, BookView],
        seed: str,
        *,
        balance: Decimal = Decimal(10_000),
        leverage: Mapping[str, int] | None = None,
        latency: LatencyModel = REALISTIC,
        script: Script | None = None,
        queue: QueueModel = PROB,
    ) -> None:
        self.name = name
        self.type = type
        self.latency = latency
        self.queue = queue
        self.venue = Venue(
            name, type, instruments, books, balance, dict(leverage or {}), self._tell_order, queue
        )
        self.seed = f"{seed}/{name}"
        self._script = {
            market: fate if isinstance(fate, Behaviour) else list(fate)
            for market, fate in (script or {}).items()
        }
        self._follow: _Follow = {
            Top: self._book_changed,
            Depth: self._book_changed,
            Trade: self._printed,
            Mark: self._marked,
            Funding: self._rate,
        }
        self._funding = FundingClock()
        self._reconciled = 0
        self._agenda: list[tuple[int, int, _Act]] = []
        self._count = 0
        self._told_until = 0

    # -- what the host calls

    @property
    def due(self) -> int:
        """Monotonic ns of the next thing to happen; huge when there is none."""
        at = self._agenda[0][0] if self._agenda else NEVER
        funding = self._funding.due_wall
        return at if funding == NEVER else min(at, funding - self.venue.offset)

    def send(self, orders: Sequence[Journaled], now: int, wall: int) -> None:
        """Send orders in one pass; what becomes of them comes out of `on_timer`."""
        self.venue.offset = wall - now
        for order in orders:
            self._launch(order.intent, now)

    def amend(self, order: Journaled, now: int) -> None:
        """Ask to change a resting order; `AmendReply`, and `Amended` when it was, come back."""
        intent = order.intent
        key = ("amend", intent.cid, intent.revision)
        self._request(key, now, partial(self._amend, intent))

    def cancel(self, cid: str, symbol: str, now: int) -> None:
        """Ask to cancel one order; `CancelReply` comes back."""
        self._request(("cancel", cid, now), now, partial(self._cancel, cid, now))

    def cancel_all(self, symbol: str, now: int) -> None:
        """Ask to cancel every resting order of a symbol."""
        self._request(("cancel_all", symbol, now), now, partial(self._cancel_all, symbol))

    def query(self, cid: str, symbol: str, attempt: int, now: int) -> None:
        """Ask about one order; `Found` comes back, after any fill that had not been told."""
        self._request(("query", cid, attempt), now, partial(self._query, cid, attempt))

    def reconcile(self, now: int) -> None:
        """Ask for the whole picture; `Reconciled` comes back, with the fills since the last."""
        self._request(("reconcile", now), now, partial(self._reconcile, now))

    def on_market(self, event: Event) -> None:
        """Follow the market; call it for this exchange's market events, after the engine.

        Books are read where they are: this only notices that one changed.
        """
        follow = self._follow.get(type(event))
        if follow is not None:
            follow(event)

    def on_timer(self, now: int, wall: int) -> list[Event]:
        """Do what is due at `now`, in order; return the events that reach us."""
        self.venue.offset = wall - now
        for payment in self._funding.come_due(wall):
            at = min(now, payment.at - self.venue.offset)
            self._later(at, partial(self._pay, payment))
        out: list[Event] = []
        while self._agenda and self._agenda[0][0] <= now:
            at, _, act = heapq.heappop(self._agenda)
            for event in act(at) or ():
                event.t, event.wall = now, wall
                out.append(event)
        return out

    def snapshot(self, now: int) -> Account:
        """Return the account as a full answer would show it."""
        return self.venue.snapshot(now)

    # -- the market

    def _book_changed(self, event: Top | Depth) -> None:
        market = self.venue.markets.get(event.market)
        if market is None:
            return
        if market.follows:
            self.venue.book_changed(market, event.t)
        if self.venue.seed_base(market, event.t):
            self._answer(event.t, ("deposit", market.name), [self.venue.snapshot(event.t)])

    def _printed(self, event: Trade) -> None:
        market = self.venue.markets.get(event.market)
        if market is not None and (market.working or market.stops.armed):
            self.venue.printed(market, event)

    def _marked(self, event: Mark) -> None:
        market = self.venue.markets.get(event.market)
        if market is not None and event.price > 0:
            market.mark = Decimal(repr(event.price))
            if market.stops.armed:
                self.venue.now = event.t
                self.venue.fire(market, event.t)

    def _rate(self, event: Funding) -> None:
        if event.market not in self.venue.markets:
            return
        self.venue.offset = event.wall - event.t
        missed = self._funding.tell(event)
        if missed is not None:
            self._later(event.t, partial(self._pay, missed))

    # -- time

    def _later(self, at: int, act: _Act) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (at, self._count, act))

    def _request(self, key: tuple[str | int, ...], now: int, act: _Act) -> None:
        self._later(now + self.latency.draw_entry(self.seed, key), act)

    def _tell(self, at: int, delay: int, events: Sequence[Event]) -> None:
        """Let events reach us after a delay, never before earlier ones."""
        self._told_until = max(self._told_until, at + delay)
        self._later(self._told_until, lambda _: events)

    def _answer(self, at: int, key: tuple[str | int, ...], events: Sequence[Event]) -> None:
        self._tell(at, self.latency.draw_response(self.seed, key), events)

    def _tell_order(self, order: PaperOrder, at: int, events: Sequence[Event]) -> None:
        """Tell of an order, or lose it where that is scripted."""
        if order.behaviour.lose_reply:
            order.untold += [event for event in events if isinstance(event, Fill)]
        elif order.behaviour.after_ns is not None:
            self._tell(at, 0, events)
        else:
            self._answer(at, (order.cid, order.stage, order.filled), events)

    # -- what arrives at the exchange

    def _launch(self, intent: Intent, now: int) -> None:
        fate = self._fate(intent.market)
        orders = self.venue.orders
        instrument = self.venue.markets[intent.market].instrument
        order = PaperOrder(intent, instrument, f"p{len(orders) + 1}", fate)
        first = orders.setdefault(intent.cid, order) is order
        delay = fate.after_ns
        if delay is None:
            delay = self.latency.draw_entry(self.seed, (intent.cid,))
        self._later(now + delay, partial(self._arrive, order, first))

    def _fate(self, market: str) -> Behaviour:
        fate = self._script.get(market, NORMAL)
        if isinstance(fate, Behaviour):
            return fate
        return fate.pop(0) if fate else NORMAL

    def _arrive(self, order: PaperOrder, first: bool, at: int) -> None:
        window = order.intent.window_ns or STALE_WAIT
        if order.behaviour.lose_reply:
            self._later(at + window, partial(self._silent, order))
        if not first:
            self.venue.refuse(order, self.venue.rules.refusals[Why.DUPLICATE], at)
        elif order.behaviour.reject:
            self.venue.refuse(order, Refusal(order.behaviour.reject, "scripted"), at)
        elif not self.venue.arrive(order, at):
            self._later(at + min(STALE_WAIT, window), partial(self._give_up, order))

    def _silent(self, order: PaperOrder, _: int) -> Sequence[Event]:
        return [Unknown(cid=order.cid, why="timeout")]

    def _give_up(self, order: PaperOrder, at: int) -> None:
        self.venue.give_up(order, at)

    def _amend(self, intent: Intent, at: int) -> None:
        order = self.venue.orders.get(intent.cid)
        if order is None or order.stage is not Stage.OPEN or not self.venue.rules.amends:
            no = amend_refused(intent.cid, self.venue.rules.refusals[Why.NO_ORDER])
            self._answer(at, ("amend", intent.cid, intent.revision), [no])
            return
        self.venue.amend(order, intent, at)

    def _cancel(self, cid: str, sent: int, at: int) -> None:
        order = self.venue.orders.get(cid)
        key = ("cancel", cid, sent)
        if order is None or order.stage not in (Stage.OPEN, Stage.WAITING, Stage.ARMED):
            no = self.venue.rules.refusals[Why.NO_ORDER]
            self._answer(at, key, [CancelReply(cid=cid, ok=False, code=no.code, text=no.text)])
            return
        self._answer(at, key, [CancelReply(cid=cid, ok=True, ts=at + self.venue.offset)])
        self.venue.end_resting(order, at)

    def _cancel_all(self, symbol: str, at: int) -> None:
        for order in self.venue.working():
            if order.intent.symbol == symbol:
                self.venue.end_resting(order, at)

    def _query(self, cid: str, attempt: int, at: int) -> None:
        order = self.venue.orders.get(cid)
        events: list[Event] = []
        if order is not None:
            events += [_as_query(fill) for fill in order.untold]
            order.untold.clear()
        view = order.view() if order is not None and order.known else None
        events.append(Found(cid=cid, order=view, ts=at + self.venue.offset))
        self._answer(at, ("query", cid, attempt), events)

    def _reconcile(self, started: int, at: int) -> None:
        fills = self.venue.fills
        picture = Reconciled(
            exchange=self.name,
            open_orders=tuple(order.view() for order in self.venue.shown()),
            fills=tuple(_as_query(fill) for fill in fills[self._reconciled :]),
            account=self.venue.snapshot(at),
            started=started,
        )
        self._reconciled = len(fills)
        self._answer(at, ("reconcile", started), [picture])

    def _pay(self, payment: Payment, at: int) -> None:
        event = self.venue.pay(payment, at)
        if event is not None:
            self._answer(at, ("funding", payment.market, payment.at), [event])


def _as_query(fill: Fill) -> Fill:
    """Return a fill as a query tells it."""
    return Fill(
        cid=fill.cid,
        trade_id=fill.trade_id,
        lots=fill.lots,
        price=fill.price,
        fee=fill.fee,
        fee_asset=fill.fee_asset,
        maker=fill.maker,
        source="query",
        ts=fill.ts,
    )
