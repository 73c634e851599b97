"""One exchange without its dialect: books, the background market, orders, the account.

A dialect checks what its exchange checks on the wire (signature, parameters, filters), then calls
`place`, `amend` or `cancel`; what happens is told to the `Listener`, in the order in which it
happens. Nothing here knows a socket.
"""

from __future__ import annotations

from collections.abc import Callable

from runner.sim.account import Account, Position, Terms
from runner.sim.catalogue import Instrument
from runner.sim.floor import Floor
from runner.sim.matching import Side, Trade, Verdict
from runner.sim.orders import (
    Fill,
    Happening,
    Kind,
    Order,
    Refusal,
    Status,
    Stp,
    Tif,
    Why,
)
from runner.sim.prices import Market
from runner.sim.rules import Listener, Request, Rules
from runner.sim.stops import is_reached

STANDARD = Terms()
MARKET_BAND = 0.05
"""A market order goes no further than this from the touch."""

MOST_CONDITIONAL = 10
"""conditional orders of a symbol (bybit.md, section 6)"""
FUNDING_RATE_PPM = 100
FUNDING_EVERY_S = 8 * 3600


class Venue(Floor):
    """The books and the account of one exchange."""

    def __init__(
        self,
        name: str,
        instruments: dict[str, Instrument],
        rules: Rules,
        market: Market,
        seed: int,
        now_ms: Callable[[], int],
        terms: Terms = STANDARD,
    ) -> None:
        super().__init__(name, instruments, market, seed, now_ms)
        self.rules = rules
        self.terms = terms
        positions = {s: Position(i, leverage=terms.leverage) for s, i in instruments.items()}
        self.account = Account(positions, wallet=terms.balance)
        self.orders: dict[int, Order] = {}
        self.by_cid: dict[str, list[Order]] = {}
        self.open: dict[int, Order] = {}
        self.armed: dict[int, Order] = {}
        """conditional orders that wait for their trigger"""
        self.apart: list[Callable[[], list[str]]] = []
        """who else keeps waiting orders, by client id: an algo service"""
        self.fills: list[Fill] = []
        self.requests: dict[str, list[Request]] = {}
        self.listeners: list[Listener] = []
        self.on_touch: list[Callable[[str], None]] = []
        self.lookup: dict[str, Order] = {}
        self._next_order = self.start_id
        self._funded_at = now_ms() // 1000 // FUNDING_EVERY_S
        for symbol in instruments:
            self.refresh(symbol)

    # -- funding

    def next_funding_ms(self) -> int:
        """Return when funding is next paid."""
        now_s = self.now_ms() // 1000
        return (now_s // FUNDING_EVERY_S + 1) * FUNDING_EVERY_S * 1000

    def pay_funding_when_due(self) -> None:
        """Pay funding once the hour has come."""
        period = self.now_ms() // 1000 // FUNDING_EVERY_S
        if period > self._funded_at:
            self._funded_at = period
            self.pay_funding()

    def pay_funding(self) -> None:
        """Exchange the funding payments of all positions at their mark price."""
        for symbol, position in self.account.positions.items():
            if position.lots:
                self.refresh(symbol)
                paid = position.notional(self.mark(symbol)) * FUNDING_RATE_PPM // 1_000_000
                self.account.wallet -= paid
                self.account.funding -= paid
                for listener in self.listeners:
                    listener.account("FUNDING_FEE", symbol, paid)

    # -- orders

    def note(self, cid: str, route: str, outcome: str) -> None:
        """Write a request into the ledger: it came, and this is what became of it."""
        self.requests.setdefault(cid, []).append(Request(route, self.now_ms(), outcome))

    def place(self, order: Order) -> Order:
        """Accept an order and match it; raises `Refusal`."""
        symbol = order.instrument.symbol
        self.refresh(symbol)
        self._check_cid(order)
        position = self.account.positions[symbol]
        if order.reduce_only:
            order.lots = min(order.lots, position.reducible(order.side))
            if order.lots == 0:
                raise Refusal(Why.REDUCE_ONLY)
        if sum(o.instrument.symbol == symbol for o in self.open.values()) >= self.rules.max_open:
            raise Refusal(Why.TOO_MANY_OPEN)
        limit = self._limit(order)
        price = limit if order.kind is Kind.LIMIT else self.mark(symbol)
        taker_ppm = self.rules.taker_ppm
        if not order.reduce_only and not self.account.affords(
            symbol, order.side, order.lots, price, taker_ppm
        ):
            raise Refusal(Why.MARGIN)
        book = self.books[symbol]
        kill = order.tif is Tif.POST and book.crosses(order.side, limit)
        if kill and self.rules.post_only_refuses:
            raise Refusal(Why.POST_ONLY)
        if order.tif is Tif.FOK and book.fillable(order.side, limit) < order.lots:
            if self.rules.post_only_refuses:
                raise Refusal(Why.FOK)
            kill = True
        self._register(order)
        if kill:
            post = order.tif is Tif.POST
            self._end(order, Status.POST_ONLY_WOULD_TAKE if post else Status.EXPIRED)
            return order
        self._match(order, limit)
        self._touched(symbol)
        return order

    def _check_cid(self, order: Order) -> None:
        used = self.by_cid.get(order.cid, [])
        if used and (self.rules.cid_unique or any(o.status.open for o in used)):
            raise Refusal(Why.DUPLICATE)

    def _limit(self, order: Order) -> int:
        """Return the tick an order may trade to."""
        if order.kind is Kind.LIMIT:
            return order.tick
        best = self.books[order.instrument.symbol].best(order.side.other)
        reference = best if best is not None else self.mark(order.instrument.symbol)
        return int(reference * (1 + MARKET_BAND * order.side))

    def arm(self, order: Order) -> Order:
        """Accept a conditional order; raises `Refusal` when its trigger is reached already."""
        symbol = order.instrument.symbol
        self.refresh(symbol)
        self._check_cid(order)
        if sum(o.instrument.symbol == symbol for o in self.armed.values()) >= MOST_CONDITIONAL:
            raise Refusal(Why.TOO_MANY_STOPS)
        assert order.trigger is not None
        if is_reached(order.trigger, order.instrument, self):
            raise Refusal(Why.TRIGGERED)
        order.status = Status.UNTRIGGERED
        self._name(order)
        self.armed[order.oid] = order
        self._tell(order, Happening.NEW, None)
        return order

    def waiting(self) -> list[str]:
        """Return the client ids of all orders that wait for a trigger."""
        return [o.cid for o in self.armed.values()] + [c for each in self.apart for c in each()]

    def fire_due(self) -> None:
        """Send the conditional orders whose trigger is reached into the market."""
        for order in list(self.armed.values()):
            assert order.trigger is not None
            self.refresh(order.instrument.symbol)
            if is_reached(order.trigger, order.instrument, self):
                self._fire(order)

    def _fire(self, order: Order) -> None:
        symbol = order.instrument.symbol
        del self.armed[order.oid]
        order.fired, order.status, order.updated_ms = True, Status.NEW, self.now_ms()
        self.open[order.oid] = order
        self._work(order, order.lots)
        self._tell(order, Happening.TRIGGERED, None)
        if order.reduce_only:
            order.lots = min(order.lots, self.account.positions[symbol].reducible(order.side))
        if order.lots == 0:
            self._end(order, Status.EXPIRED)
            return
        self._match(order, self._limit(order))
        self._touched(symbol)

    def _name(self, order: Order) -> None:
        """Give an order its id and keep it under all its names."""
        self._next_order += 1
        order.oid = self._next_order
        order.created_ms = order.updated_ms = self.now_ms()
        self.orders[order.oid] = order
        self.by_cid.setdefault(order.cid, []).append(order)
        if order.external_id:
            self.lookup[order.external_id] = order

    def _register(self, order: Order) -> None:
        self._name(order)
        self.open[order.oid] = order
        self._work(order, order.lots)
        self._tell(order, Happening.NEW, None)

    def _work(self, order: Order, lots: int) -> None:
        """Count `lots` as working (negative: no longer)."""
        if order.reduce_only:
            return
        position = self.account.positions[order.instrument.symbol]
        if order.side is Side.BUY:
            position.open_buys += lots
        else:
            position.open_sells += lots

    def _match(self, order: Order, limit: int) -> None:
        symbol = order.instrument.symbol
        book = self.books[symbol]

        def judge(owner: object, lots: int) -> Verdict:
            assert isinstance(owner, Order)
            return self._self_trade(order, owner, lots)

        def settle(trade: Trade) -> None:
            number = self._print(symbol, order.side, trade)
            self._fill(order, trade, number, maker=False)
            if isinstance(trade.maker, Order):
                self._fill(trade.maker, trade, self._next_trade, maker=True)

        stopped = book.match(order.side, limit, order.left, judge, settle)
        if order.left == 0:
            return
        if stopped:
            self._end(order, Status.EXPIRED_IN_MATCH)
        elif order.kind is Kind.MARKET or order.tif in (Tif.IOC, Tif.FOK):
            self._end(order, Status.EXPIRED)
        else:
            order.resting = book.rest(order.side, order.tick, order.left, order)

    def _self_trade(self, taker: Order, maker: Order, lots: int) -> Verdict:
        if taker.stp is Stp.NONE:
            return Verdict(self._maker_part(maker, lots))
        if taker.stp is not Stp.EXPIRE_TAKER:
            self._withdraw(maker, Status.EXPIRED_IN_MATCH)
        return Verdict(0, stop=taker.stp is not Stp.EXPIRE_MAKER)

    def _maker_part(self, maker: Order, lots: int) -> int:
        """Return how much of a resting order may trade; one that can reduce nothing leaves."""
        if not maker.reduce_only:
            return lots
        position = self.account.positions[maker.instrument.symbol]
        part = min(lots, position.reducible(maker.side))
        if part == 0:
            self._withdraw(maker, Status.EXPIRED)
        return part

    def _fill(self, order: Order, trade: Trade, number: int, maker: bool) -> None:
        symbol = order.instrument.symbol
        position = self.account.positions[symbol]
        quote = trade.lots * trade.tick * order.instrument.value
        fee = quote * (self.rules.maker_ppm if maker else self.rules.taker_ppm) // 1_000_000
        realised, closed = position.apply(order.side, trade.lots, trade.tick)
        self._work(order, -trade.lots)
        self.account.wallet += realised - fee
        self.account.fees += fee
        order.filled += trade.lots
        order.quote += quote
        order.fee += fee
        order.updated_ms = position.updated_ms = self.now_ms()
        order.status = Status.FILLED if order.left == 0 else Status.PARTIAL
        if order.left == 0:
            self.open.pop(order.oid, None)
            order.resting = None
        fill = Fill(number, order, trade.tick, trade.lots, quote, fee, maker, realised, closed,
                    order.updated_ms, order.filled)  # fmt: skip
        self.fills.append(fill)
        self._tell(order, Happening.TRADE, fill)
        for listener in self.listeners:
            listener.account("ORDER", symbol)

    def _end(self, order: Order, status: Status) -> None:
        self._work(order, -order.left)
        self.open.pop(order.oid, None)
        order.status = status
        order.updated_ms = self.now_ms()
        canceled = status is Status.CANCELED
        self._tell(order, Happening.CANCELED if canceled else Happening.EXPIRED, None)

    def _withdraw(self, order: Order, status: Status) -> None:
        """Take a resting order out of its queue and end it."""
        if order.resting is not None:
            book = self.books[order.instrument.symbol]
            book.shrink(order.side, order.tick, order.resting, order.resting.lots)
            order.resting = None
        self._end(order, status)

    def _touched(self, symbol: str) -> None:
        """A user's order changed a book: real-time streams show it at once."""
        self.books[symbol].ts_ms = self.now_ms()
        for tell in self.on_touch:
            tell(symbol)

    def _tell(self, order: Order, happening: Happening, fill: Fill | None) -> None:
        for listener in self.listeners:
            listener.order(order, happening, fill)

    def cancel(self, order: Order | None) -> Order:
        """Cancel a working order; raises `Refusal` when there is none."""
        if order is not None and self.armed.pop(order.oid, None) is not None:
            order.status, order.updated_ms = Status.CANCELED, self.now_ms()
            self._tell(order, Happening.CANCELED, None)
            return order
        if order is None or not order.status.open:
            raise Refusal(Why.NO_ORDER)
        self._withdraw(order, Status.CANCELED)
        self._touched(order.instrument.symbol)
        return order

    def cancel_all(self, symbol: str | None) -> list[Order]:
        """Cancel all working orders, of one symbol or of all."""
        chosen = [o for o in self.open.values() if symbol in (None, o.instrument.symbol)]
        return [self.cancel(order) for order in chosen]

    def amend(self, order: Order | None, tick: int | None, lots: int | None) -> Order:
        """Change price and quantity; only a smaller quantity keeps the turn in the queue."""
        if order is None or not order.status.open or order.resting is None:
            raise Refusal(Why.NO_ORDER)
        tick = order.tick if tick is None else tick
        lots = order.lots if lots is None else lots
        if tick == order.tick and lots == order.lots:
            raise Refusal(Why.SAME)
        symbol = order.instrument.symbol
        book = self.books[symbol]
        if order.tif is Tif.POST and book.crosses(order.side, tick):
            return self._end_by_change(order)
        more = lots - order.lots
        if more > 0 and not self.account.affords(
            symbol, order.side, more, tick, self.rules.taker_ppm
        ):
            raise Refusal(Why.MARGIN)
        if lots <= order.filled:
            return self.cancel(order)
        self._work(order, more)
        if tick == order.tick and more < 0:
            book.shrink(order.side, tick, order.resting, -more)
            order.lots = lots
        else:
            book.shrink(order.side, order.tick, order.resting, order.resting.lots)
            order.tick, order.lots, order.resting = tick, lots, None
        order.updated_ms = self.now_ms()
        self._tell(order, Happening.AMENDED, None)
        if order.resting is None:
            self._match(order, tick)
        self._touched(symbol)
        return order

    def _end_by_change(self, order: Order) -> Order:
        """End a post-only order that a change would have made take: both exchanges cancel it."""
        self._withdraw(order, Status.POST_ONLY_WOULD_TAKE)
        self._touched(order.instrument.symbol)
        return order

    def find(self, symbol: str | None, cid: str) -> Order | None:
        """Return the latest order with a client id."""
        used = [o for o in self.by_cid.get(cid, []) if symbol in (None, o.instrument.symbol)]
        return used[-1] if used else None
