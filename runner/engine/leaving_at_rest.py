"""A close that rests: one reducing order at its own side's touch, for a time; then it takes.

Theory of operation. `close: {tif: post_only | gtc, give_up: ..}`. What leaves by `until` or
`max_hold` has time; of several legs the first rests, clip by clip, and the others follow each of
its fills (`leaving_in_pairs`). While it rests each look does the first of these that applies:

    nothing is left             the trade has left
    the run is frozen           what rests is cancelled, for nobody would follow it; nothing else
                                is sent
    positions are kept (halt),  what rests is cancelled, nothing else is placed
    or the run ends
    `give_up` is over           it takes, as any close does (`closing`): a fresh decision, from
                                whose mid `worst` counts
    another leg could not       what rests is cancelled, nothing else is placed
    follow a fill now
    nothing rests               place what is left, or a clip of it, at the touch of its own side
    its book is away, or less   cancel it: what rests without a price to follow must not fill
    is held than it is for
    others stand before it      move it to the touch, at most every `reprice_every`; where the
                                exchange changes nothing in place, cancel it and place it anew

It never moves away from the market, and no second order is placed before the end of the first is
proven: what rests and what takes are together never more than what is held. A rest of it that the
exchange would not take anew is left where it is until `give_up`.

Whatever is graver than `until` and `max_hold` (a stop, a halt that closes, flatten, a failure)
makes it take at once, as soon as the end of what rests is proven. Meanwhile the trade is guarded
as one that is held: its stops are watched, and the one at the exchange stays.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final

from runner.engine.amending import Change, amend, can_amend
from runner.engine.cancels import cancel_order
from runner.engine.commands import OrderType, Purpose
from runner.engine.leaving_in_pairs import LEAD, Partners
from runner.engine.limits import CLOSES, STOP, Mode
from runner.engine.order import TERMINAL, Order, OrderState
from runner.engine.passes import Pass, send
from runner.engine.positions import covered, exit_misfit
from runner.engine.sizing import TIFS, Draft
from runner.engine.timers import SECOND
from runner.engine.trade import Leaving, Leg, Trade
from runner.spec.rule_plan import ClosePlan, RestPlan

if TYPE_CHECKING:
    from runner.engine.closing import Closing
    from runner.engine.desk import Desk
    from runner.engine.rule import RuleRun

AT_LEISURE: Final = frozenset({"until", "max_hold"})
"""reasons to leave that have time"""
LOOK: Final = 1 * SECOND
_OPEN: Final = frozenset({OrderState.OPEN, OrderState.PARTIAL})
_ENDED: Final = TERMINAL - {OrderState.FILLED}


def may_rest(trade: Trade) -> bool:
    """Whether the close that a trade begins may rest at the touch first."""
    leaving, verb = trade.leaving, trade.rule.trade
    assert leaving is not None
    if verb is None or verb.close.rest is None or leaving.commanded or leaving.keep is not None:
        return False
    return leaving.reason in AT_LEISURE and not leaving.only


def rested(order: Order) -> bool:
    """Whether an order is a close that rests."""
    return order.intent.purpose is Purpose.CLOSE and not order.immediate


class ExitsAtRest:
    """The closes of all rules that rest before they take."""

    def __init__(self, desk: Desk, closing: Closing) -> None:
        self.desk = desk
        self.closing = closing
        self.partners = Partners(desk, closing)

    def step(self, run: RuleRun) -> None:
        """Take the next step of a close that rests."""
        trade = run.trade
        if trade is None or trade.leaving is None or not self.desk.rules.known_to_all(run):
            return
        orders = self.desk.rules.groups.unsettled(run)
        if not orders and not self.closing.left_of(trade):
            self.desk.trades.left(run)
            return
        leaving = trade.leaving
        if self.desk.limits.mode is not Mode.FROZEN:
            self._act(run, trade, leaving, orders)
        else:
            self._withdraw(orders)
        if run.trade is trade and trade.leaving is leaving:
            self._look_later(run, trade, leaving)

    def _act(self, run: RuleRun, trade: Trade, leaving: Leaving, orders: list[Order]) -> None:
        together = self.partners.follow(run, trade, leaving, orders)
        if self._withdrawn():
            self._withdraw(orders)
        elif self.partners.parted(trade, leaving, orders):
            self._take(run, leaving.reason, "legs do not leave together")
        elif self._over(trade, leaving) and self.partners.even(leaving, orders):
            self._take(run, leaving.reason, "rested for long enough")
        elif not together:
            self._withdraw(orders)
        elif orders:
            self._tend(run, trade, leaving, orders)
        elif not self.desk.rules.groups.unsettled(run):  # what follows has not gone just now
            self._place(run, trade, leaving)

    def _tend(self, run: RuleRun, trade: Trade, leaving: Leaving, orders: list[Order]) -> None:
        for order in orders:
            if not rested(order):
                _cancel(self.desk, order)  # what was under way before: first its end
            elif order.state in _OPEN and order.pending is None and not order.cancel_asked:
                self._follow(run, trade, leaving, order)

    def _withdraw(self, orders: list[Order]) -> None:
        for order in orders:
            _cancel(self.desk, order)

    def _over(self, trade: Trade, leaving: Leaving) -> bool:
        """Whether its time is over, or the run closes everything."""
        over = self.desk.now >= leaving.since + _rest(trade).give_up_ns
        return over or self.desk.limits.mode in CLOSES

    def _withdrawn(self) -> bool:
        """Whether nothing may rest: positions are kept, or the run ends and nobody follows it."""
        limits = self.desk.limits
        return limits.mode is Mode.KEPT or (
            STOP in limits.causes and limits.mode is not Mode.PAUSED
        )

    def on_order(self, run: RuleRun, order: Order | None) -> None:
        """Its order changed: what ended without our asking is not followed by another at once."""
        trade = run.trade
        assert trade is not None and trade.leaving is not None
        if order is not None and not rested(order):
            self.partners.missed(trade, trade.leaving, order)
        elif order is not None and order.state in _ENDED and not order.cancel_asked:
            trade.leaving.next_at = self.desk.now + _close(trade).retry_ns
        self.step(run)

    def unmoved(self, order: Order) -> None:
        """The exchange did not take a change: the order is placed anew instead."""
        _cancel(self.desk, order)

    def at_once(self, run: RuleRun, reason: str) -> None:
        """Something graver than what it leaves by: it takes."""
        self._take(run, reason, reason)

    def _take(self, run: RuleRun, reason: str, cause: str) -> None:
        self.desk.traces.moved(run.plan.name, cause, run.state, run.state, False)
        self.desk.rules.touch(run.plan.name)
        self.closing.begin(run, reason, at_once=True)

    # -- what rests

    def _place(self, run: RuleRun, trade: Trade, leaving: Leaving) -> None:
        desk, leg = self.desk, trade.legs[LEAD]
        if desk.now < max(leaving.next_at, trade.refused_until):
            return
        ticks, lots = self._touch(leg), self.closing.closable(leg)
        if not ticks or lots <= 0 or not desk.venue_of(leg.market).takes_orders:
            return  # it waits; `give_up` ends that
        draft = self._clip(trade, self._draft(trade, lots, ticks))
        if draft is None:
            self._take(run, leaving.reason, "a clip is under the exchange's minimum")
            return
        trade.attempt += 1
        close = _close(trade)
        refusal = send(
            desk,
            Pass(
                rule=run.plan,
                purpose=Purpose.CLOSE,
                drafts=[draft],
                parents=[abs(leg.ledger.lots)],
                attempt=trade.attempt,
                streams=_streams(leg),
                mids=[leg.listed.mid()],
                worst=close.worst,
                cover=[covered(desk, leg, draft.lots)],
            ),
        )
        leaving.moved_at = desk.now
        if refusal is not None:
            leaving.refusal = refusal.text
            leaving.next_at = desk.now + close.retry_ns
            desk.traces.refused(run.plan.name, run.state, refusal)

    def _follow(self, run: RuleRun, trade: Trade, leaving: Leaving, order: Order) -> None:
        """Keep what rests at the touch, or take it back."""
        leg, ticks = trade.legs[LEAD], self._touch(trade.legs[LEAD])
        held = self.closing.closable(leg) if leg.listed.perpetual else abs(leg.ledger.lots)
        if not ticks or order.open_lots > held:
            leaving.next_at = self.desk.now + _close(trade).retry_ns
            _cancel(self.desk, order)
            return
        behind = (ticks - order.ticks) * order.intent.side.sign > 0
        if behind and self.desk.now >= leaving.moved_at + _rest(trade).reprice_ns:
            self._move(run, trade, leaving, order, ticks)

    def _move(self, run: RuleRun, trade: Trade, leaving: Leaving, order: Order, ticks: int) -> None:
        leg, now = trade.legs[LEAD], self.desk.now
        if not self.desk.venue_of(leg.market).takes_orders:
            return
        leaving.moved_at = now
        if not can_amend(self.desk, order):
            if not self._small(trade, self._draft(trade, order.lots - order.filled, ticks)):
                _cancel(self.desk, order)
            return
        change = Change(
            run.plan, order, order.lots, ticks, _streams(leg), leg.listed.mid(),
            _close(trade).worst,
        )  # fmt: skip
        refusal = amend(self.desk, change)
        if refusal is not None:  # it stays where it is, behind the touch
            leaving.refusal = refusal.text
            self.desk.traces.refused(run.plan.name, run.state, refusal)

    def _touch(self, leg: Leg) -> int:
        """Return the best price of the side that the exit rests on, in ticks; 0 without a book."""
        side = leg.exit_side
        own, far = leg.listed.touch(side.opposite), leg.listed.touch(side)
        if not isfinite(own) or not isfinite(far):
            return 0
        return round(own / leg.listed.instrument.tick_f)

    def _draft(self, trade: Trade, lots: int, ticks: int) -> Draft:
        leg = trade.legs[LEAD]
        price, tif = ticks * leg.listed.instrument.tick_f, TIFS[_close(trade).tif]
        return Draft(leg.index, leg.market, leg.exit_side, OrderType.LIMIT, tif, lots, ticks, price)

    def _clip(self, trade: Trade, whole: Draft) -> Draft | None:
        """Return a clip of an exit; all of it where a part would be too small to trade.

        With several legs a clip is what may be unmatched: None where it is too small.
        """
        clip, listed = _rest(trade).clip, trade.legs[LEAD].listed
        if clip is None:
            return whole
        value = float(clip.value)
        base = value if clip.unit == listed.instrument.base else value / whole.price
        lots = listed.instrument.lots_for_base(base)
        if lots >= whole.lots:
            return whole
        draft = self._draft(trade, lots, whole.ticks)
        rest = self._draft(trade, whole.lots - lots, whole.ticks)
        if len(trade.legs) > 1:
            return None if self._small(trade, draft) else draft
        return whole if self._small(trade, draft) or self._small(trade, rest) else draft

    def _small(self, trade: Trade, draft: Draft) -> bool:
        return exit_misfit(self.desk, trade.legs[LEAD], draft.lots, draft.price) is not None

    # -- times

    def _look_later(self, run: RuleRun, trade: Trade, leaving: Leaving) -> None:
        """Set the timer of the next look: books and orders bring others."""
        now, rest = self.desk.now, _rest(trade)
        times = [leaving.next_at, leaving.follow_at, trade.refused_until]
        times += [leaving.moved_at + rest.reprice_ns, leaving.since + rest.give_up_ns]
        if leaving.apart_since >= 0:
            times.append(leaving.apart_since + trade.repair_within)
        due = min([now + LOOK, *(t for t in times if t > now)])
        if now < leaving.look_at <= due:
            return
        leaving.look_at = due
        self.desk.timers.at(due, self._look, (run, trade, leaving))

    def _look(self, subject: tuple[RuleRun, Trade, Leaving]) -> None:
        run, trade, leaving = subject
        if run.trade is trade and trade.leaving is leaving and run.resting:
            self.desk.rules.step(run)


def told(desk: Desk, run: RuleRun) -> str:
    """Say how a close that rests is going: what rests where, and for how long yet."""
    trade = run.trade
    assert trade is not None and trade.leaving is not None
    leg, leaving = trade.legs[LEAD], trade.leaving
    left = max(leaving.since + _rest(trade).give_up_ns - desk.now, 0)
    takes = f"takes in {left / SECOND:.1f}s"
    for order in filter(rested, desk.rules.groups.unsettled(run)):
        base = f"{leg.base(order.lots - order.filled):.8g} {leg.listed.instrument.base}"
        price = leg.listed.instrument.price_text(order.ticks)
        return f"by {leaving.reason}: {base} rest at {price}, {takes}"
    why = f" ({leaving.refusal})" if leaving.refusal else ""
    if leaving.apart_since >= 0:
        why = " (the other legs follow)"
    return f"by {leaving.reason}: nothing rests{why}, {takes}"


def _cancel(desk: Desk, order: Order) -> None:
    if not order.cancel_asked and not order.terminal and not order.immediate:
        cancel_order(desk, order)


def _streams(leg: Leg) -> list[str]:
    return [leg.listed.book.key] if leg.listed.book is not None else []


def _close(trade: Trade) -> ClosePlan:
    assert trade.rule.trade is not None
    return trade.rule.trade.close


def _rest(trade: Trade) -> RestPlan:
    """How long it rests; not at all where the file says nothing any more (`--adopt`)."""
    return _close(trade).rest or RestPlan(0)
