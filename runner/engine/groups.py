"""Entering: the group of an entry, its repair, and what happens when that fails (R-30 to R-34).

Theory of operation. All legs leave in one pass. Nothing is decided while an order of the group is
unsettled: what it did is not known. When all are settled:

    nothing filled                 -> the rule rests ("no_fill" or "rejected CODE")
    legs match within `max_gap`    -> the rule is active
    else                           -> repair: complete the short legs or trim the long ones,
                                      whichever costs less at the books now, until `repair_within`
                                      is over; then `on_failure`

`repair_within` counts from the moment the gap opened or an order came into doubt. If orders are
still in doubt at its end, the run is REDUCING and a person is told with both possible exposures;
when the last is resolved, the repair gets its time anew. While the run is not active nothing is
completed: the legs are only trimmed; but what is ahead where no orders are taken can only be met on
the other side, and is (`cut_off`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from runner.engine import keys
from runner.engine.cancels import cancel_order
from runner.engine.codes import Refusal
from runner.engine.commands import OrderType, Purpose, Tif, Topic
from runner.engine.cut_off import cut_off
from runner.engine.desk import Desk
from runner.engine.limits import Mode
from runner.engine.order import Order, OrderState
from runner.engine.passes import Pass, rehearse, send
from runner.engine.positions import covered
from runner.engine.sizing import Draft, entry_drafts, too_small
from runner.engine.timers import MS
from runner.engine.trade import Guard, Leg, Trade, new_trade
from runner.engine.working import NO_LEAD, Working, first_draft, lead_of
from runner.market.instruments import Side

if TYPE_CHECKING:
    from runner.engine.rule import RuleRun

REPAIR_RETRY: Final = 100 * MS


class Groups:
    """Entries and repairs of all rules."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.working = Working(desk)

    def enter(self, run: RuleRun) -> Refusal | None:
        """Size, judge and send a rule's entry; the refusal when it may not."""
        desk, plan = self.desk, run.plan
        spent = keys.used(desk, plan)
        if spent is not None:
            return spent
        drafts = entry_drafts(plan.legs, run.program, desk.markets, desk.now)
        if isinstance(drafts, Refusal):
            return drafts
        guards = desk.rules.guards.fix(run)
        if isinstance(guards, Refusal):
            return guards
        lead = lead_of(plan, drafts, desk.markets)
        wanted = entry_pass(run, drafts)
        if lead != NO_LEAD:
            refusal = rehearse(desk, wanted)  # all of it must fit, though only a part goes now
            if refusal is not None:
                return refusal
            first = first_draft(plan, drafts, lead, desk.markets[drafts[lead].market])
            at_once = first.tif in (Tif.IOC, Tif.FOK)
            parents = [drafts[lead].lots]
            wanted = replace(wanted, drafts=[first], parents=parents, rehearsed=at_once)
            small = too_small(first, desk.markets[first.market], reduce_only=False)
            if small is not None:
                return small
        refusal = send(desk, wanted, lambda: self._begin(run, drafts, guards, lead))
        if refusal is None:
            self.watch_ttl(run)
            self.working.watch(run)
        return refusal

    def watch_ttl(self, run: RuleRun) -> None:
        """Set the end of resting entry orders (R-21)."""
        for order in self.unsettled(run):
            intent = order.intent
            ttl = run.plan.legs[intent.leg].order.ttl_ns
            if ttl is not None and intent.purpose is Purpose.ENTRY and not order.immediate:
                self.desk.timers.at(max(intent.t + ttl, self.desk.now), self._too_old, order)

    def _too_old(self, order: Order) -> None:
        if not order.terminal and not order.cancel_asked:
            cancel_order(self.desk, order)

    def _begin(self, run: RuleRun, drafts: Sequence[Draft], guards: list[Guard], lead: int) -> None:
        entered = run.program.enter(self.desk.now)
        trade = new_trade(self.desk, run.plan, [d.lots for d in drafts], entered)
        trade.guards = guards
        trade.lead = lead
        keys.claim(self.desk, run.plan)
        self.desk.trades.entered(run, trade)

    def on_order(self, run: RuleRun, order: Order) -> None:
        """Something happened to an order of a group that is entering."""
        trade = run.trade
        assert trade is not None
        if order.state is OrderState.REJECTED and order.filled == 0 and not order.by_terms:
            trade.rejected = order.code or "rejected"
            leg = trade.legs[order.intent.leg]
            follows = trade.lead >= 0 and leg.index != trade.lead
            repairs = order.intent.purpose is Purpose.REPAIR or follows
            if repairs and order.intent.side is leg.side:
                trade.incompletable = True
        if not trade.incompletable:
            self.working.follow(run, at_once=order.intent.leg == trade.lead)
        self.look(run)

    def look(self, run: RuleRun) -> None:
        """See whether the legs are apart, or settled."""
        trade = run.trade
        assert trade is not None
        if self.working.exposed(run, trade):
            self.cancel_resting(run)
        self.watch_doubt(run)
        if not self.unsettled(run):
            self.judge(run)

    def unsettled(self, run: RuleRun) -> list[Order]:
        """Return the orders of a rule that may still change."""
        name = run.plan.name
        return [o for o in self.desk.orders.open.values() if o.intent.rule == name]

    def judge(self, run: RuleRun) -> None:
        """Decide what a settled group has become."""
        trade = run.trade
        if trade is None:
            return
        if self.working.go_on(run, trade):
            return
        if trade.empty:
            self.desk.trades.nothing_held(run)
        elif trade.within_gap() and not self.working.uneven(run, trade):
            self.desk.trades.activate(run, "filled")
        elif 0 <= trade.doubt_since <= self.desk.now - trade.repair_within:
            self._over_time(run, trade)
        else:
            self._repair(run, trade)

    def _over_time(self, run: RuleRun, trade: Trade) -> None:
        """Evening the legs took too long: what is within `max_gap` is kept, and told."""
        if not trade.within_gap():
            self._failed(run, trade)
            return
        text = f"{run.plan.name}: legs stay {trade.gap():.8g} apart, within max_gap"
        self.desk.tell("warn", text, Topic.UNHEDGED)
        self.desk.trades.activate(run, "nearly even")

    # -- doubt: a gap, or an order that may or may not exist

    def watch_doubt(self, run: RuleRun) -> None:
        """Start, stop or renew the clock of `repair_within`."""
        trade = run.trade
        if trade is None:
            return
        open_orders = self.unsettled(run)
        apart = not trade.within_gap() or self.working.uneven(run, trade)
        doubt = apart or any(o.uncertain for o in open_orders)
        if doubt and trade.doubt_since < 0:
            self._start_doubt(run, trade)
        elif not doubt:
            trade.doubt_since = -1
            self.desk.limits.drop(f"unmatched:{run.plan.name}")
        if trade.doubt_told and not any(o.uncertain for o in open_orders):
            trade.doubt_told = False
            self.desk.limits.drop(f"unknown:{run.plan.name}")
            if doubt:
                self._start_doubt(run, trade)

    def _start_doubt(self, run: RuleRun, trade: Trade) -> None:
        trade.doubt_since = self.desk.now
        due = self.desk.now + trade.repair_within
        self.desk.timers.at(due, self._doubt_over, (run, trade, trade.doubt_since))

    def _doubt_over(self, subject: tuple[RuleRun, Trade, int]) -> None:
        run, trade, since = subject
        if run.trade is not trade or trade.doubt_since != since:
            return
        unsettled = self.unsettled(run)
        in_doubt = [o for o in unsettled if o.uncertain]
        if in_doubt:
            self._tell_doubt(run, trade, in_doubt)
        elif not self.desk.rules.is_entering(run):
            self._tell_gap(run, trade)
        elif not unsettled:
            self.judge(run)
        elif not trade.within_gap() and any(not o.immediate for o in unsettled):
            self._tell_gap(run, trade)  # what rests does not end, and is not followed
        elif all(o.immediate for o in unsettled):  # a last try is in flight, or about to be unknown
            self.desk.timers.at(self.desk.now + REPAIR_RETRY, self._doubt_over, subject)

    def _tell_gap(self, run: RuleRun, trade: Trade) -> None:
        """One leg went and not the other for too long: no new risk, and a person knows."""
        legs = ", ".join(f"{x.market} {x.base(x.ledger.lots):.8g}" for x in trade.legs)
        within, leaving = trade.repair_within // MS, trade.leaving is not None
        text = f"{run.plan.name}: legs still apart after {within}ms"
        text += f"{' of leaving' if leaving else ''}: {legs}"
        self.desk.limits.add(f"unmatched:{run.plan.name}", Mode.REDUCING, "unmatched", text)
        self.desk.tell("page", text, Topic.UNHEDGED)

    def _tell_doubt(self, run: RuleRun, trade: Trade, in_doubt: list[Order]) -> None:
        trade.doubt_told = True
        known, other = [], []
        for leg in trade.legs:
            base = leg.listed.instrument.base
            lots = leg.ledger.lots
            maybe = lots + sum(
                o.open_lots * o.intent.side.sign for o in in_doubt if o.intent.market == leg.market
            )
            known.append(f"{leg.market} {leg.base(lots):.8g} {base}")
            other.append(f"{leg.market} {leg.base(maybe):.8g} {base}")
        text = (
            f"{run.plan.name}: {', '.join(o.intent.cid for o in in_doubt)} not known after"
            f" {trade.repair_within // MS}ms; exposure is {', '.join(known)} or {', '.join(other)}"
        )
        self.desk.limits.add(f"unknown:{run.plan.name}", Mode.REDUCING, "unknown", text)
        self.desk.tell("page", text, Topic.UNKNOWN)

    def stop_entering(self, run: RuleRun) -> None:
        """Let an entry take nothing more: what is in flight comes to its end, and is judged."""
        self.working.end_leads(run.plan.name, "")
        self.cancel_resting(run)
        if not self.unsettled(run):
            self.judge(run)

    def cancel_resting(self, run: RuleRun) -> None:
        """Cancel what rests of a rule's orders."""
        for order in self.unsettled(run):
            if not order.immediate and not order.cancel_asked and not order.terminal:
                cancel_order(self.desk, order)

    # -- repair

    def _repair(self, run: RuleRun, trade: Trade) -> None:
        if trade.doubt_since < 0:
            self._start_doubt(run, trade)
        due = max(trade.repair_from, trade.refused_until)
        if self.desk.now < due:
            self.desk.timers.at(due, self._again, (run, trade))
            return
        trade.repair_from = self.desk.now + REPAIR_RETRY
        for leg in trade.legs:
            mid = leg.listed.mid()
            if leg.market not in trade.repair_mids and mid == mid:
                trade.repair_mids[leg.market] = mid
        for drafts in self._options(trade):
            refusal = self._send_repair(run, trade, drafts)
            if refusal is None:
                self.desk.traces.funnels[run.plan.name].repairs += 1
                return
            self.desk.traces.refused(run.plan.name, run.state, refusal)
        self.desk.timers.at(trade.repair_from, self._again, (run, trade))

    def _again(self, subject: tuple[RuleRun, Trade]) -> None:
        run, trade = subject
        if run.trade is trade and self.desk.rules.is_entering(run) and not self.unsettled(run):
            self.judge(run)

    def _options(self, trade: Trade) -> list[list[Draft]]:
        """Return the possible repairs, the better first."""
        hedge = trade.rule.trade.hedge if trade.rule.trade is not None else None
        policy = hedge.repair if hedge is not None else "cheaper"
        active = self.desk.limits.mode is Mode.ACTIVE
        if trade.incompletable or trade.owed or not (active or self._cannot_trim(trade)):
            policy = "unwind"
        complete = self._drafts(trade, completing=True) if policy != "unwind" else []
        unwind = self._drafts(trade, completing=False)
        if policy == "cheaper" and complete and unwind:
            if self._cost(trade, complete) <= self._cost(trade, unwind):
                return [complete, unwind]
            return [unwind, complete]
        return [option for option in (complete, unwind) if option]

    def _cannot_trim(self, trade: Trade) -> bool:
        """Whether the legs that are ahead are where no orders are taken."""
        least = min(leg.share for leg in trade.legs)
        behind = [leg for leg in trade.legs if leg.share <= least]
        return cut_off(self.desk, trade, behind)

    def _drafts(self, trade: Trade, *, completing: bool) -> list[Draft]:
        """Return the orders that would even the legs; empty when one of them is not possible."""
        shares = [leg.share for leg in trade.legs]
        goal = max(shares) if completing else min(shares)
        drafts = []
        for leg in trade.legs:
            target = goal * leg.planned
            lots = int(target - leg.filled + 1e-6) if completing else round(leg.filled - target)
            if lots <= 0:
                continue
            side = leg.side if completing else leg.side.opposite
            draft = self._draft(trade, leg, side, lots)
            exempt = not completing and leg.listed.perpetual
            if draft is None or too_small(draft, leg.listed, reduce_only=exempt) is not None:
                return []
            drafts.append(draft)
        return drafts

    def _draft(self, trade: Trade, leg: Leg, side: Side, lots: int) -> Draft | None:
        touch, mid = leg.listed.touch(side), trade.repair_mids.get(leg.market, nan)
        bound = mid * (1 + side.sign * _worst(trade))
        if not isfinite(touch) or not isfinite(bound) or (touch - bound) * side.sign > 0:
            return None
        ticks = leg.listed.instrument.ticks_for(bound, side)
        price = ticks * leg.listed.instrument.tick_f
        return Draft(leg.index, leg.market, side, OrderType.LIMIT, Tif.IOC, lots, ticks, price)

    def _cost(self, trade: Trade, drafts: Sequence[Draft]) -> float:
        """Return what a repair costs in quote, fees counted.

        Completing costs what the price has run away since the decision; trimming costs what the
        leg loses against its entry. The fees of the fills so far are spent either way.
        """
        cost = 0.0
        for draft in drafts:
            leg = trade.legs[draft.leg]
            base = leg.base(draft.lots)
            buy = draft.side.sign > 0
            book = leg.listed.book
            price = book.fill_price(buy, base, nan) if book is not None else nan
            price = price if price == price else leg.listed.touch(draft.side)
            before = leg.touch if draft.side is leg.side else leg.ledger.entry
            cost += base * ((price - before) * draft.side.sign)
            cost += base * price * leg.listed.instrument.fees.taker
        return cost

    def _send_repair(self, run: RuleRun, trade: Trade, drafts: Sequence[Draft]) -> Refusal | None:
        desk = self.desk
        trade.attempt += 1
        legs = [trade.legs[d.leg] for d in drafts]
        wanted = Pass(
            rule=run.plan,
            purpose=Purpose.REPAIR,
            drafts=drafts,
            parents=[
                leg.planned - leg.filled if d.side is leg.side else abs(leg.ledger.lots)
                for leg, d in zip(legs, drafts, strict=True)
            ],
            attempt=trade.attempt,
            streams=[leg.listed.book.key for leg in legs if leg.listed.book is not None],
            mids=[trade.repair_mids[leg.market] for leg in legs],
            worst=_worst(trade),
            cover=[
                d.side is not leg.side and covered(desk, leg, d.lots)
                for leg, d in zip(legs, drafts, strict=True)
            ],
            evens=cut_off(desk, trade, legs),
        )
        return send(desk, wanted)

    def _failed(self, run: RuleRun, trade: Trade) -> None:
        """The legs could not be evened in time, and every order is settled."""
        hedge = run.plan.trade.hedge if run.plan.trade is not None else None
        policy = hedge.on_failure if hedge is not None else "flatten"
        text = f"{run.plan.name}: legs {trade.gap():.8g} apart after {trade.repair_within // MS}ms"
        self.desk.tell("page", f"{text}; {policy}", Topic.UNHEDGED)
        trade.failed = True
        if policy == "keep":
            self.desk.trades.activate(run, "unhedged, kept")
            return
        self.desk.trades.leave(run, "failure")
        if policy == "halt":
            self.desk.limits.add(f"unhedged:{run.plan.name}", Mode.HALTED, "unhedged", text)


def entry_pass(run: RuleRun, drafts: Sequence[Draft]) -> Pass:
    """Return the pass of a whole entry."""
    return Pass(
        rule=run.plan,
        purpose=Purpose.ENTRY,
        drafts=drafts,
        parents=[d.lots for d in drafts],
        attempt=0,
        streams=run.entry_streams,
    )


def _worst(trade: Trade) -> float:
    hedge = trade.rule.trade.hedge if trade.rule.trade is not None else None
    return hedge.worst if hedge is not None else 0.0
