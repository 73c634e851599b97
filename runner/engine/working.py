"""The leg that goes first: it rests clip by clip, is repriced, is given up; the others follow it.

Theory of operation. A trade with a *lead* sends only the lead's order; `first_then_rest` names the
first leg, `thin_first` the one with the thinner book, as an immediate order. From then on

    a fill of the lead     the other legs are sent for exactly what makes their shares equal, in
                           the same pass (`follow`); while the gate refuses that it is tried again,
                           and nothing more of the lead rests than `max_gap` allows
    a clip is filled       the next one rests once the legs are even, until the leg is whole
    `reprice_every`        the resting order is moved to its price as it is now; where the exchange
                           changes nothing in place, it is cancelled and placed anew
    `give_up`              the resting order is cancelled; when its end is proven, what the leg
                           still lacks goes once as the immediate order of `then`

The gate may refuse the rest of a given-up order for a moment (a stale book, a rate): it is tried
again for `THEN_WITHIN`, no longer, because the decision grows old. What is left after that, or was
below the exchange's minimum, is dropped and told. Legs that do not match when all is settled are
repaired as those of any group (`groups`); a run that is not active places no further clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Final

from runner.engine.amending import Change, amend, can_amend
from runner.engine.cancels import cancel_order
from runner.engine.codes import Refusal, Why
from runner.engine.commands import Purpose, Tif, Topic
from runner.engine.cut_off import cut_off
from runner.engine.limits import Mode
from runner.engine.order import Order, OrderState
from runner.engine.passes import Pass, send
from runner.engine.sizing import TIFS, TYPES, Draft, leg_price, too_small
from runner.engine.timers import MS, SECOND
from runner.spec.rule_plan import LegPlan, OrderPlan, RulePlan

if TYPE_CHECKING:
    from runner.engine.desk import Desk, Listed
    from runner.engine.rule import RuleRun
    from runner.engine.trade import Leg, Trade

RETRY: Final = 250 * MS
THEN_WITHIN: Final = 60 * SECOND
NEXT_CLIP: Final = 1 * SECOND
"""between an order that ended unfilled and the next one"""
NO_LEAD: Final = -1


def lead_of(rule: RulePlan, drafts: Sequence[Draft], markets: dict[str, Listed]) -> int:
    """Return which leg goes first; NO_LEAD when all go together."""
    hedge = rule.trade.hedge if rule.trade is not None else None
    if hedge is not None and hedge.policy == "first_then_rest":
        return 0
    if hedge is not None and hedge.policy == "thin_first":
        return min(range(len(drafts)), key=lambda i: _depth(drafts[i], markets[drafts[i].market]))
    order = rule.legs[0].order
    worked = order.give_up is not None or _continues(order)
    return 0 if worked and len(rule.legs) == 1 else NO_LEAD


def first_draft(rule: RulePlan, drafts: Sequence[Draft], lead: int, listed: Listed) -> Draft:
    """Return the first order of the lead: a clip of it, or all."""
    draft, order = drafts[lead], rule.legs[lead].order
    lots = min(draft.lots, _clip_lots(order, draft.price, listed, draft.lots))
    return Draft(
        draft.leg, draft.market, draft.side, draft.type, draft.tif, lots, draft.ticks, draft.price
    )


class Working:
    """The leads of all rules."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def watch(self, run: RuleRun) -> None:
        """Set the times at which the leg that rests is repriced and given up."""
        trade = run.trade
        assert trade is not None
        leg = _lead(trade)
        if leg is None:
            return
        give_up = leg.plan.order.give_up
        if give_up is not None and not trade.given_up:
            due = max(trade.t + give_up.after_ns, self.desk.now)
            self.desk.timers.at(due, self._over, (run, trade))
        self._reprice_later(run, trade, leg)

    # -- the others follow

    def follow(self, run: RuleRun, *, at_once: bool = True) -> None:
        """Send what the other legs lack against the lead, or look again in a moment."""
        trade = run.trade
        lead = _lead(trade) if trade is not None else None
        if trade is None or lead is None or len(trade.legs) < 2 or self._repairing(run):
            return
        drafts: list[Draft] = []
        whole = True
        for leg in trade.legs:
            if leg is lead:
                continue
            lacking = self._lacking(run, lead, leg)
            draft = self._hedge(leg, lacking) if lacking > 0 else None
            if draft is None:
                whole = whole and lacking <= 0
            elif too_small(draft, leg.listed, reduce_only=False) is None:
                drafts.append(draft)
        if drafts:
            if self.desk.limits.mode is not Mode.ACTIVE:
                self.desk.rules.groups.cancel_resting(run)
            whole = at_once and self._send_hedges(run, trade, drafts) and whole
        if not whole and not trade.following:
            trade.following = True
            self.desk.timers.at(self.desk.now + RETRY, self._follow_again, (run, trade))

    def end_leads(self, rule: str, market: str) -> None:
        """Let leads that are cancelled on purpose not be placed anew: what they lack is dropped."""
        rules = self.desk.rules
        for name, run in rules.runs.items():
            trade = run.trade
            lead = _lead(trade) if trade is not None and rules.is_entering(run) else None
            if trade is None or lead is None:
                continue
            if rule in ("", name) and market in ("", lead.market):
                trade.given_up = trade.then_sent = True
                trade.given_up_at = self.desk.now
                rules.touch(name)

    def call_back(self) -> None:
        """Cancel the leads that rest: no partner could follow a fill now."""
        rules = self.desk.rules
        for run in rules.runs.values():
            trade = run.trade
            if trade is None or not rules.is_entering(run) or len(trade.legs) < 2:
                continue
            if _lead(trade) is not None:
                rules.groups.cancel_resting(run)

    def _repairing(self, run: RuleRun) -> bool:
        unsettled = self.desk.rules.groups.unsettled(run)
        return any(o.intent.purpose is Purpose.REPAIR for o in unsettled)

    def _send_hedges(self, run: RuleRun, trade: Trade, drafts: list[Draft]) -> bool:
        legs = [trade.legs[d.leg] for d in drafts]
        trade.attempt += 1
        wanted = Pass(
            rule=run.plan,
            purpose=Purpose.ENTRY,
            drafts=drafts,
            parents=[leg.planned - leg.taken - self._under_way(run, leg) for leg in legs],
            attempt=trade.attempt,
            streams=[leg.listed.book.key for leg in legs if leg.listed.book is not None],
            continues=True,
            evens=self.desk.limits.mode is not Mode.ACTIVE and cut_off(self.desk, trade, legs),
        )
        refusal = send(self.desk, wanted)
        if refusal is not None:
            self.desk.traces.refused(run.plan.name, run.state, refusal)
        return refusal is None

    def _hedge(self, leg: Leg, lots: int) -> Draft | None:
        order = leg.plan.order
        price, ticks = leg_price(leg.plan, None, leg.listed)
        if not isfinite(price):
            return None
        kind, tif = TYPES[order.type], TIFS[order.tif]
        return Draft(leg.index, leg.market, leg.side, kind, tif, lots, ticks, price)

    def _follow_again(self, subject: tuple[RuleRun, Trade]) -> None:
        run, trade = subject
        trade.following = False
        if run.trade is not trade or not self.desk.rules.is_entering(run):
            return
        self.follow(run)
        self.desk.rules.groups.look(run)

    def _lacking(self, run: RuleRun, lead: Leg, leg: Leg) -> int:
        """Return what a leg needs to be level with the lead, beside what is on its way."""
        return int(lead.share * leg.planned + 1e-6) - leg.filled - self._under_way(run, leg)

    def _under_way(self, run: RuleRun, leg: Leg) -> int:
        return sum(
            o.open_lots
            for o in self.desk.rules.groups.unsettled(run)
            if o.intent.leg == leg.index and o.intent.side is leg.side
        )

    def exposed(self, run: RuleRun, trade: Trade) -> bool:
        """Whether the legs are too far apart even if all hedges under way fill."""
        lead = _lead(trade)
        if lead is None:
            return not trade.within_gap()
        more = {leg.index: self._under_way(run, leg) for leg in trade.legs if leg is not lead}
        return not trade.within_gap(more)

    def uneven(self, run: RuleRun, trade: Trade) -> bool:
        """Whether a lead that rests no more is ahead by what the exchange would trade.

        `max_gap` bounds what may be open while the legs go; at the end such a rest is evened too.
        """
        lead = _lead(trade)
        if lead is None or len(trade.legs) < 2:
            return False
        if any(not o.immediate for o in self.desk.rules.groups.unsettled(run)):
            return False
        for leg in trade.legs:
            lacking = self._lacking(run, lead, leg)
            if leg is not lead and lacking > 0 and _tradeable(leg, lacking):
                return True
        return False

    # -- clips

    def go_on(self, run: RuleRun, trade: Trade) -> bool:
        """Take the next step of a settled entry; False when there is none left to take."""
        leg = _lead(trade)
        if leg is None or trade.incompletable:
            return False
        if trade.given_up:
            return self._rest_of(run, trade, leg)
        lacking = leg.planned - leg.taken
        if not _continues(leg.plan.order) or lacking <= 0 or trade.rejected:
            return False
        if self.desk.limits.mode is not Mode.ACTIVE or not trade.within_gap():
            return False
        if self.uneven(run, trade):
            return False  # evened first: two clips without their hedges would pass `max_gap`
        return self._next_clip(run, trade, leg, lacking)

    def _next_clip(self, run: RuleRun, trade: Trade, leg: Leg, lacking: int) -> bool:
        if self.desk.now < trade.next_clip_at:
            self.desk.timers.at(trade.next_clip_at, self._again, (run, trade))
            return True
        price, ticks = self._price(run, leg)
        order = leg.plan.order
        refusal: Refusal | None = Refusal(Why.MISSING_PRICE, f"missing {leg.market}.price")
        if ticks > 0:
            lots = min(lacking, _clip_lots(order, price, leg.listed, lacking))
            kind, tif = TYPES[order.type], TIFS[order.tif]
            draft = Draft(leg.index, leg.market, leg.side, kind, tif, lots, ticks, price)
            refusal = too_small(draft, leg.listed, reduce_only=False)
            if refusal is not None:
                self._drop(run, trade, leg, f": {refusal.text}")
                return False
            refusal = self._send_clip(run, trade, draft, lacking)
        trade.next_clip_at = self.desk.now + NEXT_CLIP
        if refusal is not None:
            self.desk.traces.refused(run.plan.name, run.state, refusal)
            self.desk.timers.at(trade.next_clip_at, self._again, (run, trade))
        else:
            self._reprice_later(run, trade, leg)
        return True

    def _send_clip(self, run: RuleRun, trade: Trade, draft: Draft, parent: int) -> Refusal | None:
        trade.attempt += 1
        wanted = Pass(
            rule=run.plan,
            purpose=Purpose.ENTRY,
            drafts=[draft],
            parents=[parent],
            attempt=trade.attempt,
            streams=run.entry_streams,
            continues=True,
        )
        return send(self.desk, wanted)

    def _price(self, run: RuleRun, leg: Leg) -> tuple[float, int]:
        """Return the lead's price now; what would take joins our own side's best."""
        written = run.program.prices[leg.index]
        value = written(self.desk.now) if written is not None else None
        price, ticks = leg_price(leg.plan, value, leg.listed)
        far, own = leg.listed.touch(leg.side), leg.listed.touch(leg.side.opposite)
        if not isfinite(price) or not isfinite(far) or not isfinite(own):
            return price, 0
        tick = leg.listed.instrument.tick_f
        if leg.plan.order.tif == Tif.POST_ONLY and (price - far) * leg.side.sign > -tick / 2:
            ticks = round(own / tick)
        return ticks * tick, ticks

    def _again(self, subject: tuple[RuleRun, Trade]) -> None:
        run, trade = subject
        groups = self.desk.rules.groups
        waiting = run.trade is trade and self.desk.rules.is_entering(run)
        if waiting and not groups.unsettled(run):
            groups.judge(run)

    # -- repricing

    def _reprice_later(self, run: RuleRun, trade: Trade, leg: Leg) -> None:
        every = leg.plan.order.reprice_ns
        if every is not None and not trade.repricing:
            trade.repricing = True
            self.desk.timers.at(self.desk.now + every, self._reprice, (run, trade))

    def _reprice(self, subject: tuple[RuleRun, Trade]) -> None:
        run, trade = subject
        trade.repricing = False
        leg = _lead(trade)
        if run.trade is not trade or leg is None or not self.desk.rules.is_entering(run):
            return
        if trade.given_up:
            return
        for order in self.desk.rules.groups.unsettled(run):
            open_now = order.state in (OrderState.OPEN, OrderState.PARTIAL)
            rests = order.intent.purpose is Purpose.ENTRY and not order.immediate
            if order.intent.leg == leg.index and rests and open_now and not order.cancel_asked:
                self._move(run, leg, order)
        self._reprice_later(run, trade, leg)

    def _move(self, run: RuleRun, leg: Leg, order: Order) -> None:
        _, ticks = self._price(run, leg)
        if order.pending is not None or ticks == order.ticks:
            return
        if ticks <= 0 or not can_amend(self.desk, order):
            cancel_order(self.desk, order)  # placed anew, where its price is known, once it ended
            return
        refusal = amend(self.desk, Change(run.plan, order, order.lots, ticks, run.entry_streams))
        if refusal is not None:
            self.desk.traces.refused(run.plan.name, run.state, refusal)
            cancel_order(self.desk, order)

    # -- giving up

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

    def _rest_of(self, run: RuleRun, trade: Trade, leg: Leg) -> bool:
        """Send what a given-up leg lacks, or drop it; False when nothing more comes of it."""
        plan = leg.plan.order.give_up
        if leg.taken >= leg.planned or trade.dropped:
            return False
        if plan is None or plan.then is None or trade.then_sent:
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
        self.desk.timers.at(self.desk.now + RETRY, self._again, (run, trade))
        return True

    def _send_rest(self, run: RuleRun, trade: Trade, leg: Leg) -> Refusal | None:
        """Send what the parent still lacks, once."""
        give_up = leg.plan.order.give_up
        assert give_up is not None and give_up.then is not None
        then = give_up.then
        price, ticks = leg_price(LegPlan(leg.market, leg.side, None, then), None, leg.listed)
        if price != price:
            return Refusal(Why.MISSING_PRICE, f"missing {leg.market}.book")
        lots = leg.planned - leg.taken
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
        lots = leg.planned - leg.taken
        if lots <= 0:
            return
        base = f"{leg.base(lots):.8g} {leg.listed.instrument.base}"
        self.desk.record("dropped", rule=run.plan.name, group=trade.ordinal, lots=lots, text=why)
        text = f"{run.plan.name}: {base} of {leg.market} were given up{why}"
        self.desk.tell("warn", text, Topic.RULE)


def _sent(trade: Trade) -> None:
    trade.attempt += 1
    trade.then_sent = True


def _lead(trade: Trade) -> Leg | None:
    return trade.legs[trade.lead] if trade.lead >= 0 else None


def _continues(order: OrderPlan) -> bool:
    """Whether a leg goes on when one of its orders has ended."""
    return order.clip is not None or order.reprice_ns is not None


def _clip_lots(order: OrderPlan, price: float, listed: Listed, whole: int) -> int:
    clip = order.clip
    if clip is None:
        return whole
    value = float(clip.value)
    base = value if clip.unit == listed.instrument.base else value / price
    return listed.instrument.lots_for_base(base)


def _tradeable(leg: Leg, lots: int) -> bool:
    price, order = leg.listed.last_mid(), leg.plan.order
    kind, tif = TYPES[order.type], TIFS[order.tif]
    draft = Draft(leg.index, leg.market, leg.side, kind, tif, lots, 0, price)
    return too_small(draft, leg.listed, reduce_only=False) is None


def _depth(draft: Draft, listed: Listed) -> float:
    """Return how often a leg's book could fill it at the touch."""
    book = listed.book
    if book is None:
        return 0.0
    there = book.ask_qty if draft.side.sign > 0 else book.bid_qty
    base = draft.lots * listed.instrument.lot_base_f
    return there / base if there == there else 0.0
