"""Protective orders: a stop that rests at the exchange while its trade is open (R-77, R-78).

Theory of operation. The stop's price is fixed when the entry is approved; without it there is no
entry. From the first fill on `look` compares what the trade holds with the stop that stands for it,
and does the next of these until they agree:

    nothing stands            -> place one for all that is held, `GATHER` after the first fill, so
                                 that the fills of one order make one stop
    it stands for less        -> place a successor, cancel the old one when that is confirmed
    it stands for more        -> the same, once a part was closed: what is too much would close the
                                 position of another; the larger one guards on if that fails
    not confirmed             -> place another once, half of `confirm_within` after the fill
    refused by the exchange   -> `if_refused`: close the trade (or keep it, and tell)
    still not confirmed after `confirm_within`, or ended by others a second time
                              -> close the trade; under the operator's halt, which keeps it, tell
                                 and try on

Two stops for one position do no harm, both being reduce-only; none does. A stop that fires closes
its trade as `stop`. While a trade leaves, its stop stays (and is looked after while only a part of
it is closed); when nothing is left, every stop of it is
cancelled until it has ended, and its rule does not enter again before that is proven. Nothing else
cancels one: halts, kills and watchdogs cancel entries. A trade of several legs has no stop at the
exchange: it would part what must leave together (R-76).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from runner.engine.cancels import cancel_order
from runner.engine.codes import Refusal, Why
from runner.engine.commands import OrderType, Purpose, Tif, Topic, Trigger
from runner.engine.desk import Desk
from runner.engine.limits import Mode
from runner.engine.order import Order, OrderState
from runner.engine.passes import Pass, send
from runner.engine.rule import RuleState
from runner.engine.sizing import Draft
from runner.engine.timers import MS, SECOND
from runner.engine.trade import Guard, Trade
from runner.market.instruments import Side
from runner.spec.rule_plan import GuardPlan

if TYPE_CHECKING:
    from runner.engine.rule import RuleRun

GATHER: Final = 20 * MS
RETRY: Final = 100 * MS
FIRING: Final = 500 * MS
"""how long a stop that has begun to fill may take before the rest is closed by ourselves"""
KEPT_RETRY: Final = 2 * SECOND
"""between tries to place a stop for what the operator's halt keeps"""
MOST_TRIES: Final = 2
_STANDING: Final = frozenset({OrderState.OPEN, OrderState.PARTIAL})


class Guards:
    """The protective orders of all rules."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def price(self, run: RuleRun) -> Guard | Refusal | None:
        """Fix the stop of an entry; a refusal when it is missing or on the wrong side."""
        stop = run.program.stop
        if stop is None or run.plan.trade is None:
            return None
        leg = run.plan.legs[0]
        listed = self.desk.markets[leg.market]
        value, mid = stop(self.desk.now), listed.mid()
        if not (math.isfinite(value) and value > 0 and math.isfinite(mid)):
            return Refusal(Why.MISSING_PRICE, "missing stop")
        ticks = listed.instrument.ticks_for(value, leg.side.opposite)
        price = ticks * listed.instrument.tick_f
        if (mid - price) * leg.side.sign <= 0:
            where = "below" if leg.side is Side.BUY else "above"
            return Refusal(Why.STOP_SIDE, f"stop {price:.10g} is not {where} {mid:.10g}")
        return Guard(ticks)

    def standing(self, run: RuleRun) -> Refusal | None:
        """Refuse an entry while a stop of an earlier trade may still be there."""
        for order in self._of(run):
            return Refusal(Why.STOP_OPEN, f"stop {order.intent.cid} of the last trade is not ended")
        return None

    # -- what happens

    def on_order(self, run: RuleRun, order: Order, filled: bool) -> None:
        """A protective order changed."""
        trade = run.trade
        if trade is None or trade.guard is None:
            return
        if filled and _watched(run):
            if order.settled or not self._held(trade):
                self.desk.trades.leave(run, "stop")
            else:
                self.desk.timers.at(self.desk.now + FIRING, self._firing, (run, trade))
        elif run.state is RuleState.LEAVING and not run.held:
            self.desk.rules.closing.on_order(run)
        else:
            self.look(run)

    def look(self, run: RuleRun) -> None:
        """Bring the stop in line with what the trade holds."""
        trade = run.trade
        if trade is None or trade.guard is None or trade.guard.given_up:
            return
        if not _watched(run) or not self._held(trade):
            return
        guard = trade.guard
        order = self.desk.orders.all.get(guard.cid)
        if order is not None and self._guards(trade, order):
            self._confirmed(run, guard)
            self._shrink(run, trade, guard, order)
        elif self._larger(run, trade, guard, order):
            return
        elif guard.since < 0:
            self._uncovered(run, trade, guard)
        elif order is not None and order.state is OrderState.REJECTED:
            self._refused(run, trade, order)
        elif self._due(run, trade, guard, order):
            self._place(run, trade, guard)

    def release(self, run: RuleRun) -> None:
        """The trade is over: cancel whatever stands for it."""
        for order in self._of(run):
            if not order.cancel_asked:
                cancel_order(self.desk, order)

    # -- steps

    def _uncovered(self, run: RuleRun, trade: Trade, guard: Guard) -> None:
        """Something is held without a stop: the clock runs."""
        guard.since, guard.tries = self.desk.now, 0
        within = self._within(run)
        subject = (run, trade, guard.since)
        self.desk.timers.at(self.desk.now + GATHER, self._again, subject)
        self.desk.timers.at(self.desk.now + within // 2, self._again, subject)
        self.desk.timers.at(self.desk.now + within, self._too_late, subject)
        if not self.desk.rules.groups.unsettled(run):
            self.look(run)

    def _due(self, run: RuleRun, trade: Trade, guard: Guard, order: Order | None) -> bool:
        """Whether to place one now."""
        waited = self.desk.now - guard.since
        if order is None or guard.tries == 0:
            return waited >= GATHER or not self.desk.rules.groups.unsettled(run)
        if not self._covers(trade, order):
            return guard.tries < MOST_TRIES or not order.terminal
        return guard.tries < MOST_TRIES and waited >= self._within(run) // 2

    def _place(self, run: RuleRun, trade: Trade, guard: Guard) -> None:
        desk, leg = self.desk, trade.legs[0]
        if desk.limits.mode is Mode.FROZEN:
            return  # nothing is sent; `_too_late` finds it frozen too, and waits
        side = leg.side.opposite
        price = guard.ticks * leg.listed.instrument.tick_f
        lots = self._held(trade)
        draft = Draft(
            leg.index, leg.market, side, OrderType.STOP, Tif.GTC, lots, 0, price, guard.ticks
        )
        trade.attempt += 1
        wanted = Pass(
            rule=run.plan,
            purpose=Purpose.PROTECT,
            drafts=[draft],
            parents=[lots],
            attempt=trade.attempt,
            mids=[leg.listed.last_mid()],
            cover=[True],
            trigger=Trigger(_plan(run).trigger),
        )
        cid = desk.cid(leg.listed.plan.exchange, leg.index, trade.attempt)
        refusal = send(desk, wanted, lambda: self._placed(guard, cid))
        if refusal is not None:
            desk.traces.refused(run.plan.name, run.state, refusal)
            wait = RETRY if guard.since >= 0 else SECOND
            desk.timers.at(desk.now + wait, self._again, (run, trade, guard.since))

    def _placed(self, guard: Guard, cid: str) -> None:
        guard.cid = cid
        guard.tries += 1

    def _confirmed(self, run: RuleRun, guard: Guard) -> None:
        """It stands for all that is held: predecessors go."""
        guard.since, guard.tries, guard.told = -1, 0, False
        for order in self._of(run):
            if order.intent.cid != guard.cid and not order.cancel_asked:
                cancel_order(self.desk, order)

    def _shrink(self, run: RuleRun, trade: Trade, guard: Guard, order: Order) -> None:
        """Replace a stop for more than is held, when nothing moves that."""
        if order.intent.lots - order.filled <= self._held(trade):
            return
        if run.state is RuleState.ACTIVE and not self.desk.rules.groups.unsettled(run):
            self._place(run, trade, guard)

    def _larger(self, run: RuleRun, trade: Trade, guard: Guard, order: Order | None) -> bool:
        """Whether another stop of the trade covers it; it is taken when its successor has ended."""
        for other in self._of(run):
            if other is not order and self._guards(trade, other):
                guard.since, guard.tries = -1, 0
                if order is None or order.terminal:
                    guard.cid = other.intent.cid
                return True
        return False

    def _refused(self, run: RuleRun, trade: Trade, order: Order) -> None:
        assert trade.guard is not None
        text = f"{run.plan.name}: its stop was refused: {order.code} {order.text}".rstrip()
        if _plan(run).if_refused == "keep":
            trade.guard.given_up = True
            self.desk.tell("page", f"{text}; the trade is kept", Topic.STOP_MISSING)
            return
        self._give_up(run, trade.guard, text, "stop refused")

    def _too_late(self, subject: tuple[RuleRun, Trade, int]) -> None:
        run = subject[0]
        if not self._stands(subject):
            return
        if self.desk.limits.mode is Mode.FROZEN:
            self.desk.timers.at(self.desk.now + SECOND, self._too_late, subject)
            return
        within = self._within(run) // MS
        text = f"{run.plan.name}: no stop was confirmed within {within}ms"
        guard = subject[1].guard
        assert guard is not None
        self._give_up(run, guard, text, "stop missing")

    def _give_up(self, run: RuleRun, guard: Guard, text: str, reason: str) -> None:
        """Close a trade without a stop; while its position is kept by a halt, try on instead."""
        if self.desk.limits.mode is not Mode.KEPT:
            self.desk.tell("page", f"{text}; the trade is closed", Topic.STOP_MISSING)
            self.desk.trades.leave(run, reason)
            return
        if not guard.told:
            guard.told = True
            text += "; halted: the position is kept, its stop is tried again"
            self.desk.tell("page", text, Topic.STOP_MISSING)
        guard.since, guard.cid = -1, ""
        self.desk.timers.at(self.desk.now + KEPT_RETRY, self._again, (run, run.trade, -1))

    def _firing(self, subject: tuple[RuleRun, Trade]) -> None:
        run, trade = subject
        if run.trade is trade and _watched(run):
            self.desk.trades.leave(run, "stop")

    def _again(self, subject: tuple[RuleRun, Trade, int]) -> None:
        if self._stands(subject):
            self.look(subject[0])

    def _stands(self, subject: tuple[RuleRun, Trade, int]) -> bool:
        """Whether a timer's uncovered time still goes on."""
        run, trade, since = subject
        guard = trade.guard
        if run.trade is not trade or guard is None or guard.since != since or guard.given_up:
            return False
        return _watched(run) and self._held(trade) > 0

    # -- what there is

    def _held(self, trade: Trade) -> int:
        return max(trade.legs[0].filled, 0)

    def _guards(self, trade: Trade, order: Order) -> bool:
        """Whether an order stands for all that is held."""
        return order.state in _STANDING and self._covers(trade, order)

    def _covers(self, trade: Trade, order: Order) -> bool:
        """Whether an order, if it stands, is for all that is held."""
        if order.terminal or order.cancel_asked:
            return False
        return order.intent.lots - order.filled >= self._held(trade)

    def _of(self, run: RuleRun) -> list[Order]:
        name = run.plan.name
        return [o for o in self.desk.orders.guards.values() if o.intent.rule == name]

    def _within(self, run: RuleRun) -> int:
        return _plan(run).confirm_within_ns


def _watched(run: RuleRun) -> bool:
    """Whether something of its trade is held on, or comes in."""
    return run.held or run.state is RuleState.ENTERING


def _plan(run: RuleRun) -> GuardPlan:
    assert run.plan.trade is not None and run.plan.trade.guard is not None
    return run.plan.trade.guard
