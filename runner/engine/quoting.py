"""The verb `quote`: two resting sides kept where the file wants them, and the inventory they make.

Theory of operation. While a rule quotes (its state is `active`) each side is looked at whenever
something that it reads moves:

    wanted, nothing rests            place it, at most every `at_most_every`
    wanted elsewhere, or as another  change it in place; where the exchange cannot, cancel it, and
    quantity                         place it anew once its end is proven
    not wanted (a value is missing,  cancel it, at once
    it would cross and `skip`, no
    room in the inventory, run not
    active)

A side whose order is under way, in doubt, being changed or being cancelled waits. A change that the
gate refuses ends in a cancel: a quote that may not follow its price must not rest. The side that
the market runs towards is moved first.

Leaving (`until`, a halt, flatten, inventory too old or losing too much) cancels both sides. What is
held then goes by `on_leave`: `passive` keeps one reducing order at the touch, everything else, and
what was too old or lost too much, closes as a trade does (`closing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Final

from runner.engine.amending import Change, amend, can_amend
from runner.engine.cancels import cancel_order
from runner.engine.codes import Refusal, Why
from runner.engine.commands import OrderType, Purpose, Tif, Topic
from runner.engine.desk import Desk
from runner.engine.limits import Mode, closing_price
from runner.engine.order import Order, OrderState
from runner.engine.passes import Pass, send
from runner.engine.quote_exit import QuoteExits, Wanted, quote_of
from runner.engine.sizing import Draft, too_small
from runner.engine.timers import MS, SECOND
from runner.engine.trade import Trade, new_trade
from runner.market.instruments import Side
from runner.spec.rule_plan import QuotePlan, QuoteSide

if TYPE_CHECKING:
    from runner.engine.rule import RuleRun

RETRY: Final = 250 * MS
HELD_LOOK: Final = 1 * SECOND
IN_A_ROW: Final = 3
SLACK: Final = 1e-9
_PASSING: Final = frozenset({Why.SELF_CROSS, Why.NOT_OPEN})
"""refusals of a change that the other side's own change will lift"""


@dataclass(slots=True)
class SideRun:
    """What is remembered of one side. Times monotonic ns."""

    next_at: int = 0
    """not changed before this"""
    look_at: int = -1
    """a timer is set for then"""
    rejected: int = 0
    """orders in a row that the exchange refused, but for their own terms"""
    refused: int = 0
    """changes in a row that it refused"""
    no: Refusal | None = None
    """what the gate said last, until it says yes"""


class Quoting:
    """The quotes of all rules."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._sides: dict[tuple[str, Side], SideRun] = {}
        self.exits = QuoteExits(desk, self)

    def side(self, rule: str, side: Side) -> SideRun:
        """Return what is remembered of a side."""
        return self._sides.setdefault((rule, side), SideRun())

    # -- beginning

    def begin(self, run: RuleRun) -> Refusal | None:
        """Place the first quotes of a rule; the refusal when none may be placed."""
        self._sides[run.plan.name, Side.BUY] = SideRun()
        self._sides[run.plan.name, Side.SELL] = SideRun()
        refusal: Refusal | None = None
        for side in (Side.BUY, Side.SELL):
            wanted = self.wanted(run, side, None)
            if isinstance(wanted, Refusal):
                refusal = refusal or wanted
            else:
                refused = self._place(run, side, wanted)
                refusal = refusal or refused
        return None if run.trade is not None else refusal

    def _start(self, run: RuleRun) -> None:
        limit = self._limit_lots(run.plan.legs[0].market, quote_of(run))
        trade = new_trade(self.desk, run.plan, [max(limit, 1)], run.program.enter(self.desk.now))
        trade.legs[0].start = 0
        self.desk.trades.quoting_began(run, trade)
        self._hold(run, trade)

    # -- keeping them

    def step(self, run: RuleRun) -> None:
        """Bring both sides where they should be."""
        trade = run.trade
        if trade is None or not self.desk.rules.known_to_all(run):
            return
        if self.desk.limits.mode is not Mode.ACTIVE:
            self._withdraw(run)
            return
        if self.too_much_lost(run, trade):
            self.desk.trades.leave(run, "inventory stop")
            return
        for side in self._in_order(run):
            self._side(run, side)

    def _in_order(self, run: RuleRun) -> tuple[Side, Side]:
        """Return the side first that rests nearer to the market than it should."""
        ask = self.resting(run, Side.SELL)
        if ask is not None:
            wanted = self.wanted(run, Side.SELL, ask)
            if isinstance(wanted, Refusal) or wanted.ticks > ask.ticks:
                return Side.SELL, Side.BUY
        return Side.BUY, Side.SELL

    def _side(self, run: RuleRun, side: Side) -> None:
        order = self.resting(run, side)
        wanted = self.wanted(run, side, order)
        state = self.side(run.plan.name, side)
        if order is None:
            if not isinstance(wanted, Refusal) and self.may_change(run, state):
                refusal = self._place(run, side, wanted)
                if refusal is not None:
                    self.refused(run, state, refusal)
            return
        if order.cancel_asked or order.terminal:
            return
        if isinstance(wanted, Refusal):
            self.desk.traces.refused(run.plan.name, run.state, wanted)
            cancel_order(self.desk, order)
        elif self.differs(run, order, wanted) and self.may_change(run, state):
            self._move(run, state, order, wanted)

    def differs(self, run: RuleRun, order: Order, wanted: Wanted) -> bool:
        """Whether a resting order is to become another, and can be changed now."""
        if order.pending is not None or order.state not in (OrderState.OPEN, OrderState.PARTIAL):
            return False
        apart = abs(wanted.ticks / order.ticks - 1)
        moved = wanted.ticks != order.ticks and apart >= quote_of(run).when_moved * (1 - SLACK)
        left = order.lots - order.filled
        grown = wanted.lots - left >= max(1, wanted.lots // 10)
        return moved or wanted.lots < left or grown

    def _move(self, run: RuleRun, state: SideRun, order: Order, wanted: Wanted) -> None:
        state.next_at = self.desk.now + quote_of(run).at_most_every_ns
        if not can_amend(self.desk, order):
            cancel_order(self.desk, order)
            return
        change = Change(
            run.plan, order, order.filled + wanted.lots, wanted.ticks, run.entry_streams
        )
        refusal = state.no = amend(self.desk, change)
        if refusal is None:
            return
        if refusal.code not in _PASSING:
            cancel_order(self.desk, order)
        self.refused(run, state, refusal)

    def _place(self, run: RuleRun, side: Side, wanted: Wanted) -> Refusal | None:
        quote, trade = quote_of(run), run.trade
        tif = Tif.POST_ONLY if quote.post_only else Tif.GTC
        draft = self.draft(quote.leg.market, side, tif, wanted)
        pass_ = Pass(
            rule=run.plan,
            purpose=Purpose.ENTRY,
            drafts=[draft],
            parents=[wanted.lots],
            attempt=0,
            streams=run.entry_streams,
            continues=trade is not None,
        )
        refusal = send(self.desk, pass_, None if trade is not None else lambda: self._start(run))
        state = self._sides[run.plan.name, side]
        state.no = refusal
        if refusal is None:
            state.next_at = self.desk.now + quote.at_most_every_ns
        return refusal

    def draft(self, market: str, side: Side, tif: Tif, wanted: Wanted) -> Draft:
        """Return the order that a side wants."""
        price = wanted.ticks * self.desk.instruments[market].tick_f
        return Draft(0, market, side, OrderType.LIMIT, tif, wanted.lots, wanted.ticks, price)

    def refused(self, run: RuleRun, state: SideRun, refusal: Refusal) -> None:
        """Wait a moment after a refusal of the gate."""
        self.desk.traces.refused(run.plan.name, run.state, refusal)
        state.next_at = max(state.next_at, self.desk.now + RETRY)
        self._look_at(run, state)

    def may_change(self, run: RuleRun, state: SideRun) -> bool:
        """Whether a side may be changed now; a timer looks again when it may."""
        if self.desk.now >= state.next_at:
            return True
        self._look_at(run, state)
        return False

    def _look_at(self, run: RuleRun, state: SideRun) -> None:
        if state.look_at < state.next_at:
            state.look_at = state.next_at
            self.desk.timers.at(state.next_at, self.desk.rules.look, run)

    def _withdraw(self, run: RuleRun) -> None:
        for order in self.desk.rules.groups.unsettled(run):
            if not order.immediate and not order.cancel_asked and not order.terminal:
                cancel_order(self.desk, order)

    def resting(self, run: RuleRun, side: Side) -> Order | None:
        """Return the side's order that is not over yet, the youngest."""
        found = None
        for order in self.desk.rules.groups.unsettled(run):
            if order.intent.side is side and order.intent.purpose is Purpose.ENTRY:
                found = order
        return found

    # -- what is wanted

    def wanted(self, run: RuleRun, side: Side, order: Order | None) -> Wanted | Refusal:
        """Return where a side should rest now, or why it should not."""
        quote, now = quote_of(run), self.desk.now
        written = quote.bid if side is Side.BUY else quote.ask
        if written is None:
            return Refusal(Why.MISSING_PRICE, f"no {_name(side)} is written")
        i = 0 if side is Side.BUY else 2
        price_of, qty_of = run.program.quotes[i], run.program.quotes[i + 1]
        assert price_of is not None and qty_of is not None
        price, qty = price_of(now), qty_of(now)
        if not isfinite(price) or price <= 0:
            return Refusal(Why.MISSING_PRICE, f"missing {_name(side)}.price")
        if not isfinite(qty):
            return Refusal(Why.MISSING_SIZE, f"missing {_name(side)}.qty")
        ticks = self._passive(quote, side, price)
        if isinstance(ticks, Refusal):
            return ticks
        return self._sized(run, side, written, qty, ticks, order)

    def _passive(self, quote: QuotePlan, side: Side, price: float) -> int | Refusal:
        """Return the limit in ticks, or why the side must not rest."""
        listed = self.desk.markets[quote.leg.market]
        far, own = listed.touch(side), listed.touch(side.opposite)
        if not isfinite(far) or not isfinite(own):
            return Refusal(Why.MISSING_PRICE, f"no book of {quote.leg.market} to rest in")
        ticks = listed.instrument.ticks_for(price, side)
        tick = listed.instrument.tick_f
        crosses = (ticks * tick - far) * side.sign > -tick / 2
        if quote.post_only and crosses:
            if not quote.join:
                text = f"{_name(side)}: {price:.10g} / {far:.10g}"
                return Refusal(Why.WOULD_CROSS, text)
            ticks = round(own / tick)
        return ticks if ticks > 0 else Refusal(Why.MISSING_PRICE, f"{_name(side)}: no price")

    def _sized(
        self, run: RuleRun, side: Side, written: QuoteSide, qty: float, ticks: int,
        order: Order | None,
    ) -> Wanted | Refusal:  # fmt: skip
        quote = quote_of(run)
        market = quote.leg.market
        listed = self.desk.markets[market]
        instrument = listed.instrument
        base = qty if written.unit == instrument.base else qty / (ticks * instrument.tick_f)
        room = self._room(run, side, order)
        lots = min(instrument.lots_for_base(base), room)
        wanted = Wanted(ticks, max(lots, 0))
        draft = self.draft(market, side, Tif.POST_ONLY, wanted)
        small = too_small(draft, listed, reduce_only=False)
        if small is not None and lots == room:
            left = f"{instrument.qty_text(max(room, 0))} {instrument.base} of room"
            limit = quote.inventory.limit
            return Refusal(Why.INVENTORY, f"{_name(side)}: {left} / {limit.value} {limit.unit}")
        return wanted if small is None else Refusal(small.code, f"{_name(side)}: {small.text}")

    def _room(self, run: RuleRun, side: Side, order: Order | None) -> int:
        """Return by how many lots a side may rest within the inventory's limit."""
        quote = quote_of(run)
        market = quote.leg.market
        held = self.desk.ledgers.of(run.plan.name, market).lots * side.sign
        others = sum(
            o.open_lots
            for o in self.desk.rules.groups.unsettled(run)
            if o is not order and o.intent.side is side
        )
        return self._limit_lots(market, quote) - held - others

    def _limit_lots(self, market: str, quote: QuotePlan) -> int:
        limit, listed = quote.inventory.limit, self.desk.markets[market]
        value = float(limit.value)
        if limit.unit != listed.instrument.base:
            mid = listed.last_mid()
            value = value / mid if mid > 0 else 0.0
        return listed.instrument.lots_for_base(value)

    # -- what the exchange says

    def on_order(self, run: RuleRun, order: Order, filled: bool) -> None:
        """An order of a quote changed: remember what it says, look again when cells are fresh."""
        trade, side = run.trade, order.intent.side
        if trade is None:
            return
        state = self.side(run.plan.name, side)
        if filled:
            self._hold(run, trade)
        if order.state is OrderState.REJECTED and not order.filled:
            self._rejected(run, state, order)
        elif order.state in (OrderState.OPEN, OrderState.PARTIAL):
            state.rejected = 0
        if run.trade is trade and trade.leaving is not None:
            if trade.leaving.passive:
                self.exits.step(run)
            else:
                self.desk.rules.closing.on_order(run)

    def amend_answered(self, run: RuleRun, order: Order, taken: bool) -> None:
        """A change was taken, or not; after the third no in a row the quote is withdrawn."""
        state = self.side(run.plan.name, order.intent.side)
        if taken:
            state.refused = 0
            return
        state.refused += 1
        state.next_at = max(state.next_at, self.desk.now + RETRY)
        if state.refused >= IN_A_ROW and not order.cancel_asked and not order.terminal:
            state.refused = 0
            cancel_order(self.desk, order)
        self._look_at(run, state)

    def _rejected(self, run: RuleRun, state: SideRun, order: Order) -> None:
        state.next_at = max(state.next_at, self.desk.now + quote_of(run).at_most_every_ns)
        self._look_at(run, state)
        if order.by_terms or order.intent.purpose is not Purpose.ENTRY:
            return
        state.rejected += 1
        if state.rejected >= IN_A_ROW and not run.disabled_why:
            why = f"{state.rejected} quotes rejected in a row, the last {order.code}"
            run.disabled_why = why
            self.desk.tell("page", f"rule {run.plan.name} disabled: {why}", Topic.RULE)
            self.desk.trades.leave(run, "rejected")

    # -- the inventory

    def _hold(self, run: RuleRun, trade: Trade) -> None:
        """Note since when there is inventory on this side, and watch its age."""
        lots = trade.legs[0].ledger.lots
        sign = (lots > 0) - (lots < 0)
        if sign == trade.held_sign:
            return
        self.desk.traces.funnels[run.plan.name].trips += trade.held_sign != 0
        trade.held_sign, trade.held_since = sign, self.desk.now
        self.watch(run, trade)

    def watch(self, run: RuleRun, trade: Trade) -> None:
        """Set the timer of the inventory's age."""
        age = quote_of(run).inventory.max_age_ns
        if age is not None and trade.held_sign:
            due = max(trade.held_since + age, self.desk.now)
            self.desk.timers.at(due, self._aged, (run, trade, trade.held_since))

    def _aged(self, subject: tuple[RuleRun, Trade, int]) -> None:
        run, trade, since = subject
        if run.trade is not trade or trade.held_since != since or not trade.held_sign:
            return
        if self.desk.limits.mode in (Mode.KEPT, Mode.FROZEN):
            self.desk.timers.at(self.desk.now + HELD_LOOK, self._aged, subject)
        elif trade.leaving is None:
            self.desk.trades.leave(run, "inventory max_age")
        elif trade.leaving.passive:
            self.exits.at_once(run, trade, "inventory max_age")

    def too_much_lost(self, run: RuleRun, trade: Trade) -> bool:
        """Whether closing the inventory now would lose more than `stop`; unknown: no."""
        stop, leg = quote_of(run).inventory.stop, trade.legs[0]
        lots = leg.ledger.lots
        if stop is None or not lots:
            return False
        price = closing_price(leg.listed, lots)
        loss = (leg.ledger.entry - price) * leg.base(lots)
        loss += abs(leg.base(lots)) * price * leg.listed.instrument.fees.taker
        return loss >= stop


def _name(side: Side) -> str:
    return "bid" if side is Side.BUY else "ask"
