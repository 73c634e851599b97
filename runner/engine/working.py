"""What rests until it is given up, and how the rest goes then.

Theory of operation. At `give_up.after` the resting order is cancelled; when its end is proven, what
the parent still lacks goes once as the immediate order of `then`. The gate may refuse that for a
moment (a stale book, a rate): it is tried again for `THEN_WITHIN`, no longer, because the decision
grows old. What is left after that, or was below the exchange's minimum, is dropped and told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.engine.cancels import cancel_order
from runner.engine.codes import Refusal, Why
from runner.engine.commands import Purpose, Topic
from runner.engine.passes import Pass, send
from runner.engine.sizing import TIFS, TYPES, Draft, leg_price, too_small
from runner.engine.timers import MS, SECOND
from runner.spec.plan import LegPlan

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.engine.rule import RuleRun
    from runner.engine.trade import Leg, Trade

THEN_RETRY: Final = 250 * MS
THEN_WITHIN: Final = 60 * SECOND


class Working:
    """The resting entries of all rules."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def watch(self, run: RuleRun) -> None:
        """Set the time at which the leg that rests is given up."""
        trade = run.trade
        assert trade is not None
        give_up = run.plan.legs[0].order.give_up
        if give_up is not None and not trade.given_up:
            due = max(trade.t + give_up.after_ns, self.desk.now)
            self.desk.timers.at(due, self._over, (run, trade))

    def _over(self, subject: tuple[RuleRun, Trade]) -> None:
        run, trade = subject
        if run.trade is not trade or not self.desk.rules.is_entering(run) or trade.given_up:
            return
        trade.given_up = True
        trade.given_up_at = self.desk.now
        self.desk.rules.touch(run.plan.name)
        orders = self.desk.rules.groups.unsettled(run)
        for order in orders:
            if not order.immediate and not order.cancel_asked and not order.terminal:
                cancel_order(self.desk, order)
        if not orders:
            self.desk.rules.groups.judge(run)

    def go_on(self, run: RuleRun, trade: Trade) -> bool:
        """Take the next step of a settled entry; False when there is none left to take."""
        if not trade.given_up or trade.then_sent:
            if trade.then_sent and not trade.dropped:
                self._drop(run, trade, trade.legs[0], "")
            return False
        leg = trade.legs[0]
        plan = leg.plan.order.give_up
        if leg.filled >= leg.planned:
            return False
        if plan is None or plan.then is None:
            self._drop(run, trade, leg, "")
            return False
        refusal = self._send_rest(run, trade, leg)
        if refusal is None:
            return True
        small = refusal.code in (Why.MIN_QTY, Why.MIN_NOTIONAL, Why.SIZE_ZERO)
        if small or self.desk.now - trade.given_up_at >= THEN_WITHIN:
            self._drop(run, trade, leg, f": {refusal.text}")
            return False
        self.desk.traces.refused(run.plan.name, run.state, refusal)
        self.desk.timers.at(self.desk.now + THEN_RETRY, self._again, (run, trade))
        return True

    def _again(self, subject: tuple[RuleRun, Trade]) -> None:
        run, trade = subject
        groups = self.desk.rules.groups
        waiting = run.trade is trade and self.desk.rules.is_entering(run)
        if waiting and not groups.unsettled(run):
            groups.judge(run)

    def _send_rest(self, run: RuleRun, trade: Trade, leg: Leg) -> Refusal | None:
        """Send what the parent still lacks, once."""
        give_up = leg.plan.order.give_up
        assert give_up is not None and give_up.then is not None
        then = give_up.then
        price, ticks = leg_price(LegPlan(leg.market, leg.side, None, then), None, leg.listed)
        if price != price:
            return Refusal(Why.MISSING_PRICE, f"missing {leg.market}.book")
        lots = leg.planned - leg.filled
        kind, tif = TYPES[then.type], TIFS[then.tif]
        draft = Draft(leg.index, leg.market, leg.side, kind, tif, lots, ticks, price)
        small = too_small(draft, leg.listed, reduce_only=False)
        if small is not None:
            return small
        wanted = Pass(
            rule=run.plan,
            purpose=Purpose.ENTRY,
            drafts=[draft],
            parents=[lots],
            attempt=trade.attempt + 1,
            streams=[leg.listed.book.key] if leg.listed.book is not None else [],
            continues=True,
        )
        return send(self.desk, wanted, lambda: _sent(trade))

    def _drop(self, run: RuleRun, trade: Trade, leg: Leg, why: str) -> None:
        trade.dropped = True
        lots = leg.planned - leg.filled
        if lots <= 0:
            return
        base = f"{leg.base(lots):.8g} {leg.listed.instrument.base}"
        self.desk.record("dropped", rule=run.plan.name, group=trade.ordinal, lots=lots, text=why)
        text = f"{run.plan.name}: {base} of {leg.market} were given up{why}"
        self.desk.tell("warn", text, Topic.RULE)


def _sent(trade: Trade) -> None:
    trade.attempt += 1
    trade.then_sent = True
