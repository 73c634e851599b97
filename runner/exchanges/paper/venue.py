"""The paper exchange's own truth: markets, orders, account, and how they meet.

Theory of operation. A `Venue` acts at once and knows no delays; `exchange.py` decides when. Each
method returns, or hands to `tell`, what a private stream would say, in its order.

    arrive   refused, or matched against the book as it is now; what is left ends or rests
    WAITING  arrived without a valid book: judged when it is valid again, else refused (R-48)
    ARMED    a stop that waits for its trigger (`stops`); no cancel-all touches it (R-77)
    OPEN     fills, as maker at its own price, when a trade prints beyond its price, when one at its
             price reaches its turn (`queue`), or when the other side's book reaches it: never more
             than was printed or is shown (R-45)

Other traders do not react to us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from runner.engine.commands import Intent, OrderType, Tif
from runner.engine.events import (
    Account,
    End,
    Event,
    External,
    Fill,
    Reject,
    Trade,
)
from runner.exchanges.paper.account import PaperAccount
from runner.exchanges.paper.books import BookView, Take, walk
from runner.exchanges.paper.checks import Case, by_book, case_of, refuse
from runner.exchanges.paper.funding import Payment
from runner.exchanges.paper.market import Market
from runner.exchanges.paper.orders import PaperOrder, Stage
from runner.exchanges.paper.queue import PROB, QueueModel
from runner.exchanges.paper.rules import RULES, STALE, Refusal, VenueRules, Why
from runner.exchanges.paper.told import (
    account_changed,
    account_whole,
    ack,
    amend_refused,
    amend_taken,
    amended,
    ended,
)
from runner.market.instruments import Instrument, Kind, Side


class How(StrEnum):
    """How a fill came about: the model's rules by name, for the report."""

    WALKED = "walked the book"
    THROUGH = "traded through"
    QUEUE = "its turn came"
    CROSSED = "crossed by the book"


Tell = Callable[[PaperOrder, int, Sequence[Event]], None]


class Venue:
    """Markets, orders and the account of one exchange; `tell` takes what becomes of an order."""

    def __init__(
        self,
        name: str,
        type: str,
        instruments: Mapping[str, Instrument],
        books: Mapping[str, BookView],
        balance: Decimal,
        leverage: Mapping[str, int],
        tell: Tell,
        queue: QueueModel = PROB,
    ) -> None:
        self.name = name
        self.rules: VenueRules = RULES[type]
        self.markets = {m: Market(m, i, books[m], queue) for m, i in instruments.items()}
        self.by_symbol = {m.instrument.symbol: m for m in self.markets.values()}
        self.quote = next((i.quote for i in instruments.values()), "USDT")
        self.account = PaperAccount(self._mark_of, leverage, self.rules.maintenance)
        self.orders: dict[str, PaperOrder] = {}
        self.fills: list[Fill] = []
        self.fill_kinds: Counter[How] = Counter()
        self.now = 0
        self.offset = 0
        """wall less monotonic time, ns"""
        self._tell = tell
        self._unseeded: dict[str, Decimal] = {}
        self._deposit(balance)

    @property
    def busy(self) -> bool:
        """Tell whether books must be followed: something rests, waits, was taken, is not seeded."""
        return bool(self._unseeded) or any(m.follows for m in self.markets.values())

    # -- an order arrives

    def arrive(self, order: PaperOrder, at: int) -> bool:
        """Judge and match an order; return False when it waits for a valid book."""
        market = self._at(order, at)
        order.arrived, order.ts = at, at + self.offset
        if order.intent.type in (OrderType.STOP, OrderType.TARGET) and not order.acked:
            self._arm(market, order, at)
            return True
        if market.ready(at):
            self._judge(market, order, at)
            return True
        order.stage = Stage.WAITING
        market.working[order.cid] = order
        return False

    def _arm(self, market: Market, order: PaperOrder, at: int) -> None:
        """Let a stop wait for its trigger; refuse one whose trigger is reached already."""
        if market.stops.reached(order, market.reference(at), at):
            why = Why.TRIGGERED_RISING if order.intent.rising else Why.TRIGGERED_FALLING
            self.refuse(order, self.rules.refusals[why], at)
            return
        if len(market.stops.armed) >= self.rules.max_armed:
            self.refuse(order, self.rules.refusals[Why.MAX_ARMED], at)
            return
        order.stage, order.acked = Stage.ARMED, True
        market.stops.armed[order.cid] = order
        self._tell(order, at, [ack(order)])

    def fire(self, market: Market, at: int) -> None:
        """Send off the stops whose price is reached, as market orders; they wait for a book."""
        for order in market.stops.take(market.reference(at), at):
            self.arrive(order, at)

    def give_up(self, order: PaperOrder, at: int) -> None:
        """Refuse an order whose market had no valid book for too long."""
        if order.stage is Stage.WAITING and not order.acked:
            self._leave(self._at(order, at), order)
            self.refuse(order, STALE, at)

    def refuse(self, order: PaperOrder, refusal: Refusal, at: int) -> None:
        """Refuse an order, or take it and end it, as the exchange does."""
        order.ts = at + self.offset
        if refusal.late or order.acked:
            told = [] if order.acked else [ack(order)]
            self._tell(order, at, [*told, ended(order, self.rules, refusal.code)])
            return
        order.stage = Stage.REJECTED
        reject = Reject(
            cid=order.cid,
            outcome="rejected",
            code=refusal.code,
            text=refusal.text,
            ts=order.ts,
            by_terms=refusal in (self.rules.refusals[Why.POST_ONLY], self.rules.refusals[Why.FOK]),
        )
        self._tell(order, at, [reject])

    def _at(self, order: PaperOrder, at: int) -> Market:
        self.now = at
        return self.markets[order.intent.market]

    def _judge(self, market: Market, order: PaperOrder, at: int) -> None:
        reference = market.reference(at)
        assert reference is not None, "ready markets have a reference"
        bound = self._bound(market, order, reference)
        if order.intent.reduce_only:
            # Exchanges cut a reduce-only order down to the position when it arrives.
            order.size = min(order.size, self._reducible(order)) or order.size
        side, lots = order.intent.side, self._allowed(order)
        takes = walk(market.view, market.instrument, side, lots, bound, market.own)
        case = case_of(market, order, takes, self.rules, self.account, reference)
        why = refuse(case) or by_book(order, takes)
        if why is not None:
            self.refuse(order, self.rules.refusals[why], at)
        else:
            self._match(market, order, takes, at)

    def _allowed(self, order: PaperOrder) -> int:
        """Return how many lots may fill: reduce-only never turns a position over."""
        lots = order.left
        if order.behaviour.ratio is not None:
            lots = int(order.size * Decimal(repr(order.behaviour.ratio))) - order.filled
        if order.intent.reduce_only:
            lots = min(lots, self._reducible(order))
        return max(0, lots)

    def _reducible(self, order: PaperOrder) -> int:
        return max(0, -self.account.position(order.intent.symbol) * order.intent.side.sign)

    def _bound(self, market: Market, order: PaperOrder, reference: Decimal) -> int:
        """Return how far an order may walk, in ticks: its limit, else the exchange's band."""
        if order.limit is not None:
            return order.limit
        price = reference * (1 + order.intent.side.sign * self.rules.band)
        return int(price / market.instrument.tick)

    def _match(self, market: Market, order: PaperOrder, takes: list[Take], at: int) -> None:
        market.own.take(order.intent.side.opposite, takes)
        events: list[Event] = [] if order.acked else [ack(order)]
        events += [self._fill(order, take.ticks, take.lots, How.WALKED, at) for take in takes]
        order.stage = Stage.OPEN
        if order.left == 0 or order.immediate or order.behaviour.ratio is not None:
            events.append(ended(order, self.rules))
        else:
            self._rest(market, order)
        if takes:
            events.append(account_changed(self.name, self.account, order.instrument))
        self._tell(order, at, events)

    # -- what rests

    def book_changed(self, market: Market, now: int) -> None:
        """Judge what waits and fill what the book crosses."""
        self.now = now
        if market.stops.armed:
            self.fire(market, now)
        if not market.ready(now):
            return
        if market.own:
            market.own.refresh(market.view)
        market.queues.book_changed(market.view, now)
        for order in list(market.working.values()):
            if order.stage is Stage.WAITING:
                del market.working[order.cid]
                self._judge(market, order, now)
            else:
                self._crossed(market, order, now)

    def printed(self, market: Market, trade: Trade) -> None:
        """Fill what a trade went through, then those whose turn came; never more than it printed.

        An order at a better price than the trade's comes first, as it would have.
        """
        self.now = trade.t
        market.stops.last = market.instrument.tick * round(trade.price / market.instrument.tick_f)
        if market.stops.armed:
            self.fire(market, trade.t)
        left = int(trade.qty / market.instrument.lot_f + 1e-9)
        ticks = round(trade.price / market.instrument.tick_f)
        for order in list(market.working.values()):
            through = (order.ticks - ticks) * order.intent.side.sign > 0
            if order.stage is not Stage.OPEN or trade.taker == order.intent.side or not through:
                continue
            part = min(left, self._allowed(order))
            left -= part
            self._fill_at_rest(market, order, part, How.THROUGH, trade.t)
        resting = Side.SELL if trade.taker == Side.BUY else Side.BUY
        for order, lots in market.queues.traded(resting, ticks, left, trade.t):
            part = min(lots, self._allowed(order))
            self._fill_at_rest(market, order, part, How.QUEUE, trade.t)

    def amend(self, order: PaperOrder, intent: Intent, at: int) -> None:
        """Change a resting order's price and whole quantity, as the exchange would."""
        market = self._at(order, at)
        order.ts = at + self.offset
        if intent.lots <= order.filled:
            self._tell(order, at, [amend_taken(order)])
            self.end_resting(order, at)
            return
        why = self._unchangeable(market, order, intent, at)
        if why is not None:
            no = self.rules.refusals[why]
            self._tell(order, at, [amend_refused(order.cid, no)])
            return
        keeps = self.rules.amend_keeps_turn and intent.ticks == order.ticks
        keeps = keeps and intent.lots <= order.size
        order.size, order.ticks = intent.lots, intent.ticks
        if keeps:
            self._reserve(market, order)
            self._tell(order, at, [amend_taken(order), amended(order)])
            return
        self._leave(market, order)
        self._settle_change(market, order, at)

    def _unchangeable(
        self, market: Market, order: PaperOrder, intent: Intent, at: int
    ) -> Why | None:
        if not market.ready(at):
            return Why.CLOSED
        reference = market.reference(at)
        assert reference is not None, "ready markets have a reference"
        self.account.leave(order.cid)
        price = market.instrument.price(intent.ticks)
        case = Case(intent, market.instrument, self.rules, self.account, reference, price, 0)
        why = refuse(case)
        self._reserve(market, order)
        return why

    def _settle_change(self, market: Market, order: PaperOrder, at: int) -> None:
        """Let a changed order meet the book at the end of its new queue."""
        side, lots = order.intent.side, self._allowed(order)
        takes = walk(market.view, market.instrument, side, lots, order.limit, market.own)
        events: list[Event] = [amend_taken(order), amended(order)]
        if takes and order.intent.tif is Tif.POST_ONLY:
            no = self.rules.refusals[Why.POST_ONLY]
            code = no.code if no.late else self.rules.ioc_code
            self._tell(order, at, [events[0], ended(order, self.rules, code)])
            return
        market.own.take(side.opposite, takes)
        events += [self._fill(order, take.ticks, take.lots, How.WALKED, at) for take in takes]
        if order.left == 0:
            events.append(ended(order, self.rules))
        else:
            self._rest(market, order)
        if takes:
            events.append(account_changed(self.name, self.account, order.instrument))
        self._tell(order, at, events)

    def end_resting(self, order: PaperOrder, at: int) -> None:
        """Cancel an order that rests or waits."""
        events: list[Event] = []
        if order.stage is Stage.WAITING and not order.acked:
            events.append(ack(order))
        self._leave(self._at(order, at), order)
        events.append(ended(order, self.rules, end=End.CANCELED))
        self._tell(order, at, events)

    def working(self) -> list[PaperOrder]:
        """Return all orders that rest or wait, but for the stops."""
        return [order for market in self.markets.values() for order in market.working.values()]

    def shown(self) -> list[PaperOrder]:
        """Return all orders that a list of open orders shows."""
        stops = (o for market in self.markets.values() for o in market.stops.armed.values())
        return [*self.working(), *stops]

    def _crossed(self, market: Market, order: PaperOrder, now: int) -> None:
        """Fill a resting order with what the other side now offers at its price or better."""
        side, lots = order.intent.side, self._allowed(order)
        takes = walk(market.view, market.instrument, side, lots, order.limit, market.own)
        market.own.take(side.opposite, takes)
        lots = sum(take.lots for take in takes)
        self._fill_at_rest(market, order, lots, How.CROSSED, now)

    def _fill_at_rest(
        self, market: Market, order: PaperOrder, lots: int, how: How, now: int
    ) -> None:
        if lots <= 0:
            return
        events: list[Event] = [self._fill(order, order.ticks, lots, how, now)]
        if self._allowed(order) == 0:
            self._leave(market, order)
            events.append(ended(order, self.rules))
        else:
            self._reserve(market, order)
        events.append(account_changed(self.name, self.account, order.instrument))
        self._tell(order, now, events)

    def _rest(self, market: Market, order: PaperOrder) -> None:
        market.working[order.cid] = order
        market.queues.join(order, market.view)
        self._reserve(market, order)

    def _reserve(self, market: Market, order: PaperOrder) -> None:
        """Reserve what a resting order may still cost."""
        if not order.intent.reduce_only:
            instrument = market.instrument
            price = instrument.price(order.ticks)
            self.account.rest(order.cid, instrument, order.intent.side, order.left, price)

    def _leave(self, market: Market, order: PaperOrder) -> None:
        market.working.pop(order.cid, None)
        market.queues.leave(order)
        market.stops.armed.pop(order.cid, None)
        self.account.leave(order.cid)

    # -- what is told

    def _fill(self, order: PaperOrder, ticks: int, lots: int, how: How, at: int) -> Fill:
        """Book one execution and return what is told of it."""
        instrument, maker = order.instrument, how is not How.WALKED
        rate = Decimal(repr(instrument.fees.maker if maker else instrument.fees.taker))
        price = instrument.price(ticks)
        fee = self.account.fill(instrument, order.intent.side, price, lots, rate)
        self.fill_kinds[how] += 1
        order.filled += lots
        order.turnover += ticks * lots
        fill = Fill(
            cid=order.cid,
            trade_id=f"{self.name}-{len(self.fills) + 1}",
            lots=lots,
            price=float(price),
            fee=float(fee.amount),
            fee_asset=fee.asset,
            maker=maker,
            ts=at + self.offset,
        )
        self.fills.append(fill)
        return fill

    def snapshot(self, now: int) -> Account:
        """Return the whole account, as a full answer would show it."""
        self.now = now
        return account_whole(self.name, self.account, self.quote)

    # -- money

    def pay(self, payment: Payment, at: int) -> External | None:
        """Book a funding payment on the position held now; longs pay a positive rate.

        None when there is no position. The price is the mark, else the last mid.
        """
        self.now = at
        market = self.markets[payment.market]
        held = self.account.holdings.get(market.instrument.symbol)
        price = market.reference(at)
        if held is None or not held.lots or price is None:
            return None
        amount = -held.value(price) * payment.rate
        self.account.add(market.instrument.quote, amount)
        return External(
            exchange=self.name,
            what="funding",
            market=payment.market,
            lots=held.lots,
            price=float(price),
            amount=float(amount),
            asset=market.instrument.quote,
            id=f"{self.name}-{payment.market}-{payment.at}",
        )

    def seed_base(self, market: Market, now: int) -> bool:
        """Give a spot account the balance's worth of base at the first valid price, once."""
        instrument = market.instrument
        if instrument.symbol not in self._unseeded or not market.ready(now):
            return False
        price = market.reference(now)
        assert price is not None, "ready markets have a reference"
        worth = self._unseeded.pop(instrument.symbol)
        lots = int(worth / (price * instrument.lot * instrument.contract_size))
        self.account.add(instrument.base, instrument.base_qty(lots))
        return True

    def _deposit(self, balance: Decimal) -> None:
        for market in self.markets.values():
            self.account.wallet[market.instrument.quote] = balance
            if market.instrument.kind is Kind.SPOT:
                self._unseeded[market.instrument.symbol] = balance

    def _mark_of(self, name: str) -> Decimal | None:
        """Return the price of a symbol, or of an asset by its spot market."""
        market = self.by_symbol.get(name)
        if market is None:
            spot = (m for m in self.markets.values() if m.instrument.kind is Kind.SPOT)
            market = next((m for m in spot if m.instrument.base == name), None)
        return market.reference(self.now) if market is not None else None
