"""Protective orders: a stop and a target that rest at the exchange while a trade is open (R-77).

Theory of operation. Their prices are fixed when the entry is approved; without them there is no
entry. From the first fill on `look` keeps each in line with what the trade holds (`guarding`), the
stop first: a target is placed when the stop stands, never instead of it. One that fires closes its
trade, as `stop` or `target`; what has filled of it shrinks the other.

While a trade leaves, both stay (and are looked after while only a part of it is closed, or while
its close is held); when nothing is left, every one of them is cancelled until it has ended, and the
rule does not enter again before that is proven. Nothing else cancels one: halts, kills and
watchdogs cancel entries, and a close that must not meet them takes them away itself (`clearing`). A
trade of several legs has none at the exchange: it would part what must leave together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from runner.engine.cancels import cancel_order
from runner.engine.codes import Refusal, Why
from runner.engine.desk import Desk
from runner.engine.guard_room import no_room
from runner.engine.guarding import CHANCES, GATHER, Guarding, held, orders_of, watched
from runner.engine.order import Order
from runner.engine.rule import RuleState
from runner.engine.timers import MS
from runner.engine.trade import Guard, Trade
from runner.market.instruments import Side
from runner.spec.rule_plan import GuardKind

if TYPE_CHECKING:
    from runner.engine.rule import RuleRun

FIRING: Final = 500 * MS
"""how long one that has begun to fill may take before the rest is closed by ourselves"""


class Guards:
    """The protective orders of all rules."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.guarding = Guarding(desk)

    def fix(self, run: RuleRun) -> list[Guard] | Refusal:
        """Fix the prices of an entry; a refusal when one is missing or on the wrong side."""
        trade, program = run.plan.trade, run.program
        guards: list[Guard] = []
        for plan in trade.guards if trade is not None else ():
            price = program.stop if plan.kind is GuardKind.STOP else program.target
            assert price is not None
            guard = self._fix(run, plan.kind, price)
            if isinstance(guard, Refusal):
                return guard
            guards.append(guard)
        return guards

    def _fix(
        self, run: RuleRun, kind: GuardKind, price_at: Callable[[int], float]
    ) -> Guard | Refusal:
        leg = run.plan.legs[0]
        listed = self.desk.markets[leg.market]
        value, mid = price_at(self.desk.now), listed.mid()
        if not (math.isfinite(value) and value > 0 and math.isfinite(mid)):
            return Refusal(Why.MISSING_PRICE, f"missing {kind}")
        ticks = listed.instrument.ticks_for(value, leg.side.opposite)
        price = ticks * listed.instrument.tick_f
        below = (leg.side is Side.BUY) == (kind is GuardKind.STOP)
        if (price < mid) if below else (price > mid):
            return Guard(kind, ticks)
        code = Why.STOP_SIDE if kind is GuardKind.STOP else Why.TARGET_SIDE
        where = "below" if below else "above"
        return Refusal(code, f"{kind} {price:.10g} is not {where} {mid:.10g}")

    def standing(self, run: RuleRun) -> Refusal | None:
        """Refuse an entry while a stop or target of an earlier trade may still be there.

        Or where its exchange would not take those of another.
        """
        for order in orders_of(self.desk, run):
            i = order.intent
            return Refusal(Why.STOP_OPEN, f"{i.type} {i.cid} of the last trade is not ended")
        trade = run.plan.trade
        if trade is None or (trade.guard is None and trade.target is None):
            return None
        return no_room(self.desk, trade.legs[0].market, len(trade.guards))

    # -- what happens

    def on_order(self, run: RuleRun, order: Order, filled: bool) -> None:
        """A protective order changed."""
        trade = run.trade
        if trade is None or not trade.guards:
            return
        leaving = trade.leaving
        if run.state is RuleState.LEAVING and not run.held:
            if filled or (leaving is not None and leaving.clearing_since >= 0):
                self.desk.rules.closing.on_order(run)
            self.look(run)
        elif filled and watched(run):
            self._fired(run, trade, order)
        else:
            self.look(run)

    def _fired(self, run: RuleRun, trade: Trade, order: Order) -> None:
        """One of them fills: when it is over the trade is; until then the other shrinks."""
        reason = order.intent.type.value
        if order.settled or not held(trade):
            self.desk.trades.leave(run, reason)
            return
        self.desk.timers.at(self.desk.now + FIRING, self._firing, (run, trade, reason))
        self.desk.timers.at(self.desk.now + GATHER, self._even, (run, trade))

    def look(self, run: RuleRun) -> None:
        """Bring each of them in line with what the trade holds."""
        trade = run.trade
        if trade is None or not watched(run):
            return
        if trade.guards and not held(trade):  # taken from outside: they would close another's
            self.release(run)
            return
        for guard in trade.guards:
            if run.trade is not trade or not watched(run):
                return
            self.guarding.keep(run, trade, guard)
            if not guard.given_up and not self.guarding.in_line(trade, guard):
                return

    def thawed(self) -> None:
        """A freeze is over: what it kept from being placed gets its time, and a try, anew."""
        for run in self.desk.rules.runs.values():
            for guard in run.trade.guards if run.trade is not None else ():
                guard.since = -1
            self.look(run)

    def back(self, exchange: str) -> None:
        """An exchange is ready and was read: targets that it did not answer get another chance."""
        for run in self.desk.rules.runs.values():
            trade = run.trade
            if trade is None or not trade.guards or not watched(run) or not held(trade):
                continue
            if trade.legs[0].listed.plan.exchange != exchange:
                continue
            for guard in trade.guards:
                if guard.given_up and guard.late and guard.chances < CHANCES:
                    self.guarding.another_chance(run, guard)
            self.look(run)

    def release(self, run: RuleRun, kind: GuardKind | None = None) -> None:
        """The trade is over, or goes on without them (or one): cancel whatever stands for it."""
        for order in orders_of(self.desk, run, kind):
            if not order.cancel_asked:
                cancel_order(self.desk, order)

    # -- times

    def _firing(self, subject: tuple[RuleRun, Trade, str]) -> None:
        run, trade, reason = subject
        if run.trade is trade and watched(run):
            self.desk.trades.leave(run, reason)

    def _even(self, subject: tuple[RuleRun, Trade]) -> None:
        run, trade = subject
        if run.trade is trade:
            self.look(run)
