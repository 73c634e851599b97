"""How a quote ends: its sides are cancelled, what is held leaves at the touch or at once.

`passive` keeps one reducing post-only order at our own side's touch, moved as a quote is. What is
graver than `until`, and inventory that is too old or loses too much, closes as a trade does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from runner.engine.amending import Change, amend, can_amend
from runner.engine.cancels import cancel_order
from runner.engine.commands import Purpose, Tif
from runner.engine.limits import Mode
from runner.engine.passes import Pass, send
from runner.engine.positions import covered
from runner.engine.trade import Leaving, Leg, Trade
from runner.market.instruments import Side
from runner.spec.rule_plan import QuotePlan

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.engine.order import Order
    from runner.engine.quoting import Quoting, SideRun
    from runner.engine.rule import RuleRun


@dataclass(slots=True)
class Wanted:
    """Where a side should rest, and how much of it."""

    ticks: int
    lots: int


class QuoteExits:
    """The ends of all rules' quotes."""

    def __init__(self, desk: Desk, quoting: Quoting) -> None:
        self.desk = desk
        self.quoting = quoting

    def leave(self, run: RuleRun, reason: str, *, commanded: bool, only: str) -> None:
        """Cancel the quotes and get rid of what is held."""
        trade = run.trade
        assert trade is not None
        passive = reason == "until" and quote_of(run).inventory.on_leave == "passive"
        if commanded:
            trade.refused_until = 0
        now = self.desk.now
        trade.leaving = Leaving(reason, now, commanded=commanded, only=only, passive=passive)
        self.step(run)

    def step(self, run: RuleRun) -> None:
        """Take the next step of getting out."""
        trade = run.trade
        if trade is None or trade.leaving is None or not self.desk.rules.known_to_all(run):
            return
        if not trade.leaving.passive:
            self.desk.rules.closing.step(run)
            return
        if self.quoting.too_much_lost(run, trade):
            self.at_once(run, trade, "inventory stop")
            return
        entries = [
            o for o in self.desk.rules.groups.unsettled(run) if o.intent.purpose is Purpose.ENTRY
        ]
        for order in entries:
            if not order.cancel_asked and not order.terminal:
                cancel_order(self.desk, order)
        if not entries:
            self._exit(run, trade, trade.leaving)

    def hasten(self, run: RuleRun, why: str) -> None:
        """What leaves passively goes at once, for a graver reason."""
        trade = run.trade
        if trade is not None and trade.leaving is not None and trade.leaving.passive:
            self.at_once(run, trade, why)

    def at_once(self, run: RuleRun, trade: Trade, why: str) -> None:
        """What was to leave passively goes now."""
        assert trade.leaving is not None
        trade.leaving.passive = False
        self.desk.traces.moved(run.plan.name, why, run.state, run.state, False)
        self.desk.rules.touch(run.plan.name)
        self.desk.rules.closing.step(run)

    def _exit(self, run: RuleRun, trade: Trade, leaving: Leaving) -> None:
        """Keep one reducing order at the touch until nothing is held."""
        leg = trade.legs[0]
        orders = self.desk.rules.groups.unsettled(run)
        if not orders and not self.desk.rules.closing.left_of(trade):
            self.desk.trades.left(run)
            return
        side = leg.exit_side
        order = orders[-1] if orders else None
        wanted = self._exit_wanted(leg, side)
        state = self.quoting.side(run.plan.name, side)
        blocked = self.desk.limits.mode in (Mode.KEPT, Mode.FROZEN) and not leaving.commanded
        if order is None:
            if wanted is not None and not blocked and self.quoting.may_change(run, state):
                self._send_exit(run, trade, state, side, wanted)
        elif order.cancel_asked or order.terminal:
            return
        elif wanted is None or order.intent.side is not side or blocked:
            cancel_order(self.desk, order)
        elif self.quoting.differs(run, order, wanted) and self.quoting.may_change(run, state):
            self._move_exit(run, trade, state, order, wanted)

    def _exit_wanted(self, leg: Leg, side: Side) -> Wanted | None:
        touch = leg.listed.touch(side.opposite)
        if not isfinite(touch):
            return None
        lots = self.desk.rules.closing.closable(leg)
        return Wanted(round(touch / leg.listed.instrument.tick_f), lots) if lots > 0 else None

    def _send_exit(
        self, run: RuleRun, trade: Trade, state: SideRun, side: Side, wanted: Wanted
    ) -> None:
        leg, quote = trade.legs[0], quote_of(run)
        draft = self.quoting.draft(leg.market, side, Tif.POST_ONLY, wanted)
        trade.attempt += 1
        refusal = send(
            self.desk,
            Pass(
                rule=run.plan,
                purpose=Purpose.CLOSE,
                drafts=[draft],
                parents=[abs(leg.ledger.lots)],
                attempt=trade.attempt + 1,
                streams=[leg.listed.book.key] if leg.listed.book is not None else [],
                mids=[leg.listed.mid()],
                worst=quote.close.worst,
                cover=[covered(self.desk, leg, wanted.lots)],
            ),
        )
        state.next_at = self.desk.now + quote.at_most_every_ns
        if refusal is not None:
            self.quoting.refused(run, state, refusal)

    def _move_exit(
        self, run: RuleRun, trade: Trade, state: SideRun, order: Order, wanted: Wanted
    ) -> None:
        leg, quote = trade.legs[0], quote_of(run)
        state.next_at = self.desk.now + quote.at_most_every_ns
        if not can_amend(self.desk, order):
            cancel_order(self.desk, order)
            return
        streams = [leg.listed.book.key] if leg.listed.book is not None else []
        change = Change(
            run.plan, order, order.filled + wanted.lots, wanted.ticks, streams, leg.listed.mid(),
            quote.close.worst,
        )  # fmt: skip
        refusal = amend(self.desk, change)
        if refusal is not None:
            cancel_order(self.desk, order)
            self.quoting.refused(run, state, refusal)


def quote_of(run: RuleRun) -> QuotePlan:
    """Return the quote of a rule that has one."""
    assert run.plan.quote is not None
    return run.plan.quote
