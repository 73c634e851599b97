"""Leaving: tries until the ledger is empty, the legs of a trade together (trading.md, 3; R-76).

Theory of operation. Each try asks every leg with something left what it can do now:

    GO       a limit at the far touch plus collar (the collar doubles with each try up to `worst`,
             counted from the mid at the decision), or a reduce-only market order where the file
             says `then: market` or the book stayed away for `repair_within`
    WAIT     its book is away, but not for long yet: the whole trade waits
    BLOCKED  its exchange cannot take orders, or the price is past `worst`

When all can go, all of what is left goes in one pass. When one is blocked, the others keep what
matches it and only their surplus is reduced: the trade is *held*, and told. Under the operator's
halt every leg counts as blocked, so that positions stay and only a gap is closed.

Where others hold the same side, stop and target are taken away before the first try (`clearing`).

A close that the exchange refuses is not thrown at it again and again (`setbacks`); that nothing
could be sent for long, for whatever reason, is told.

A close that rests before it takes (`close: {tif: post_only | gtc}`) is `leaving_at_rest`'s.

What is below the exchange's minimum stays in the ledger as a residual and does not hold up the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from runner.engine.cancels import cancel_order
from runner.engine.clearing import clear, stalled
from runner.engine.commands import OrderType, Purpose, Tif, Topic
from runner.engine.desk import Desk
from runner.engine.leaving_at_rest import ExitsAtRest, may_rest, rested
from runner.engine.limits import Mode
from runner.engine.netting import net_out
from runner.engine.order import Order
from runner.engine.passes import Pass, send
from runner.engine.positions import base_free, covered, exit_misfit, told, too_little
from runner.engine.sizing import Draft
from runner.engine.timers import MS, SECOND
from runner.engine.trade import Leaving, Leg, Trade
from runner.market.instruments import Side
from runner.spec.rule_plan import ClosePlan

if TYPE_CHECKING:
    from runner.engine.rule import RuleRun

WAIT_FOR_BOOK: Final = 50 * MS
HELD_LOOK: Final = 1 * SECOND
STUCK_AFTER: Final = 10 * SECOND


class Can(StrEnum):
    """What a leg can do now."""

    GO = "go"
    WAIT = "wait"
    BLOCKED = "blocked"


@dataclass(slots=True)
class Offer:
    """A leg's answer: at which price it would close, or why not."""

    leg: Leg
    side: Side
    lots: int
    can: Can
    type: OrderType = OrderType.LIMIT
    ticks: int = 0
    price: float = math.nan
    why: str = ""


class Closing:
    """The closes of all rules."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.at_rest = ExitsAtRest(desk, self)

    def begin(
        self,
        run: RuleRun,
        reason: str,
        *,
        commanded: bool = False,
        only: str = "",
        keep: tuple[int, ...] | None = None,
        at_once: bool = False,
    ) -> None:
        """Start to leave a trade, or take a fresh decision on one that is leaving.

        `at_once`: it has rested for long enough.
        """
        trade = run.trade
        assert trade is not None
        if commanded:
            trade.refused_until = 0
        trade.leaving = Leaving(reason, self.desk.now, commanded=commanded, only=only)
        trade.leaving.keep = keep
        trade.leaving.passive = not at_once and may_rest(trade)
        run.watch()
        self.step(run)

    def on_order(self, run: RuleRun, order: Order | None = None) -> None:
        """An order of a leaving trade changed: go on when nothing is in flight."""
        trade = run.trade
        assert trade is not None and trade.leaving is not None
        self.desk.rules.groups.watch_doubt(run)
        if run.resting:
            self.at_rest.on_order(run, order)
            return
        if self._unsettled(run):
            return
        if not self.left_of(trade):
            self.desk.trades.left(run)
            return
        if order is not None and rested(order) and not trade.leaving.tries:
            self.step(run)  # what rested has made room for the first try
            return
        if trade.leaving.clearing_since >= 0:
            self.step(run)
            return
        trade.leaving.tries += 1
        wait = max(_close(trade).retry_ns, trade.refused_until - self.desk.now)
        self._again(run, trade, wait)

    def step(self, run: RuleRun) -> None:
        """Make the next try, if the time for one has come."""
        trade = run.trade
        if trade is None or trade.leaving is None:
            return
        if run.resting:
            self.at_rest.step(run)
            return
        if self.desk.now < trade.refused_until:
            self._again(run, trade, trade.refused_until - self.desk.now)
            return
        unsettled = self._unsettled(run)
        if unsettled:
            for order in unsettled:
                if not order.immediate and not order.cancel_asked and not order.terminal:
                    cancel_order(self.desk, order)
            return
        left = self.left_of(trade)
        if left and trade.leaving.keep is None and net_out(self.desk, run, trade):
            left = self.left_of(trade)
        if not left:
            self.desk.trades.left(run)
        elif self.desk.limits.mode is Mode.FROZEN:
            self._again(run, trade, HELD_LOOK)
        else:
            self._try(run, trade, [self._offer(trade, leg) for leg in left])

    def _try(self, run: RuleRun, trade: Trade, offers: list[Offer]) -> None:
        leaving = trade.leaving
        assert leaving is not None
        blocked = [o for o in offers if o.can is Can.BLOCKED]
        if not blocked and any(o.can is Can.WAIT for o in offers):
            self._again(run, trade, WAIT_FOR_BOOK)
            return
        purpose = Purpose.CLOSE
        if blocked:
            self._hold(run, trade, blocked)
            purpose = Purpose.REPAIR
            keep = max(_share(o) for o in offers if o.can is not Can.GO)
            for offer in offers:
                stays = math.ceil(keep * offer.leg.planned - 1e-9) - _kept(trade, offer.leg)
                offer.lots -= min(offer.lots, max(stays, 0))
        elif leaving.held:
            leaving.held = False
        going = [o for o in offers if o.can is Can.GO and not self.residual(o)]
        wait = clear(self.desk, run, trade) if going else 0
        if wait:
            self._again(run, trade, wait)
            return
        if not going or not self.send(run, trade, purpose, going):
            leaving.tries += 1
            self._stuck(run, trade)
            self._again(run, trade, HELD_LOOK if blocked else _close(trade).retry_ns)

    def _stuck(self, run: RuleRun, trade: Trade) -> None:
        """Nothing could be sent: tell it once, when that lasts."""
        leaving = trade.leaving
        assert leaving is not None
        if leaving.held or leaving.stuck_told:
            return
        if leaving.stuck_since < 0:
            leaving.stuck_since = self.desk.now
        elif self.desk.now - leaving.stuck_since >= STUCK_AFTER:
            leaving.stuck_told = True
            why = leaving.refusal or "what is left is too small for the exchange"
            text = f"{run.plan.name} cannot leave since {STUCK_AFTER // SECOND}s: {why}"
            self.desk.tell("page", text, Topic.HELD)

    def send(self, run: RuleRun, trade: Trade, purpose: Purpose, going: list[Offer]) -> bool:
        """Send what legs offer in one pass, each at once; whether the gate approved it."""
        desk = self.desk
        trade.attempt += 1
        drafts = [
            Draft(o.leg.index, o.leg.market, o.side, o.type, Tif.IOC, o.lots, o.ticks, o.price)
            for o in going
        ]
        assert trade.leaving is not None
        wanted = Pass(
            rule=run.plan,
            purpose=purpose,
            drafts=drafts,
            parents=[abs(o.leg.ledger.lots) for o in going],
            attempt=trade.attempt,
            streams=[o.leg.listed.book.key for o in going if o.leg.listed.book is not None],
            mids=[trade.leaving.mids.get(o.leg.market, math.nan) for o in going],
            worst=_close(trade).worst,
            cover=[covered(desk, o.leg, o.lots) for o in going],
            commanded=trade.leaving.commanded,
        )
        refusal = send(desk, wanted)
        if refusal is not None:
            trade.leaving.refusal = refusal.text
            desk.traces.refused(run.plan.name, run.state, refusal)
        else:
            trade.leaving.stuck_since = -1
        return refusal is None

    def _hold(self, run: RuleRun, trade: Trade, blocked: list[Offer]) -> None:
        leaving = trade.leaving
        assert leaving is not None
        if leaving.held:
            return
        leaving.held = True
        why = "; ".join(f"{o.leg.market}: {o.why}" for o in blocked)
        text = f"{run.plan.name} held, leaving by {leaving.reason}: {why}"
        self.desk.tell("page", text, Topic.HELD)
        self.desk.record("held", rule=run.plan.name, reason=leaving.reason, text=why)
        self.desk.rules.touch(run.plan.name)
        stalled(self.desk, run, trade)

    # -- what a leg can do

    def offer_of(self, leg: Leg, lots: int) -> Offer:
        """Return an offer of a leg that has no price yet."""
        return Offer(leg, leg.exit_side, lots, Can.BLOCKED, price=leg.listed.last_mid())

    def retry(self, trade: Trade) -> int:
        """Return the pause between tries, ns."""
        return _close(trade).retry_ns

    def left_of(self, trade: Trade) -> list[Leg]:
        """Return the legs with something left that can be sold or bought back."""
        only = trade.leaving.only if trade.leaving is not None else ""
        legs = []
        for leg in trade.legs:
            lots = abs(leg.ledger.lots) - _kept(trade, leg)
            if lots <= 0 or (only and leg.market != only):
                continue
            if not too_little(self.desk, leg, lots):
                legs.append(leg)
        return legs

    def residual(self, offer: Offer) -> bool:
        """Whether an offer is too small to trade."""
        return exit_misfit(self.desk, offer.leg, offer.lots, offer.price) is not None

    def _offer(self, trade: Trade, leg: Leg) -> Offer:
        desk, leaving = self.desk, trade.leaving
        assert leaving is not None
        offer = self.offer_of(leg, max(self.closable(leg) - _kept(trade, leg), 0))
        venue = desk.venue_of(leg.market)
        mid = leg.listed.mid()
        if mid == mid:
            leaving.mids.setdefault(leg.market, mid)
        if desk.limits.mode is Mode.KEPT and not leaving.commanded:
            offer.why = "halted by the operator"
        elif not venue.takes_orders:
            offer.why = f"{venue.name} is {venue.state}"
        elif offer.lots <= 0:
            offer.why = "the exchange shows no position to close"
        else:
            self.price(trade, offer)
        return offer

    def price(self, trade: Trade, offer: Offer) -> None:
        """Find the leg's price of this try, or why there is none."""
        leaving, close = trade.leaving, _close(trade)
        assert leaving is not None
        listed, sign = offer.leg.listed, offer.side.sign
        touch = listed.touch(offer.side)
        if touch != touch:
            self._without_book(trade, offer)
            return
        leaving.missing_since.pop(offer.leg.market, None)
        bound = leaving.mids[offer.leg.market] * (1 + sign * close.worst)
        reach = min(close.collar * 2.0 ** min(leaving.tries, 64), close.worst)
        price = touch * (1 + sign * reach)
        if (price - bound) * sign > 0:
            price = bound
        if (touch - price) * sign <= 0:
            offer.can = Can.GO
            offer.ticks = listed.instrument.ticks_for(price, offer.side)
            offer.price = offer.ticks * listed.instrument.tick_f
        elif close.then == "market" and reach >= close.worst and listed.perpetual:
            self._at_market(offer)
        else:
            offer.why = f"price {touch:.10g} past worst {bound:.10g}"

    def _without_book(self, trade: Trade, offer: Offer) -> None:
        leaving = trade.leaving
        assert leaving is not None
        since = leaving.missing_since.setdefault(offer.leg.market, self.desk.now)
        if self.desk.now - since < trade.repair_within:
            offer.can = Can.WAIT
        elif covered(self.desk, offer.leg, offer.lots):
            self._at_market(offer)
        else:
            offer.why = "no book"

    def _at_market(self, offer: Offer) -> None:
        offer.can, offer.type, offer.ticks = Can.GO, OrderType.MARKET, 0
        offer.price = offer.leg.listed.last_mid()

    def closable(self, leg: Leg) -> int:
        """Return what the ledger holds, but never more than the exchange says we hold."""
        lots = abs(leg.ledger.lots)
        if leg.listed.max_lots:
            lots = min(lots, leg.listed.max_lots)
        if not leg.listed.perpetual and leg.ledger.lots > 0:
            free = base_free(self.desk, leg.market)
            lots = lots if free is None else min(lots, free)
        held = told(self.desk, leg.market)
        if held is None or not leg.listed.perpetual or self.desk.plan.rules[leg.ledger.rule].net:
            return lots
        return min(lots, max(0, held * (1 if leg.ledger.lots > 0 else -1)))

    def _unsettled(self, run: RuleRun) -> list[Order]:
        return self.desk.rules.groups.unsettled(run)

    def _again(self, run: RuleRun, trade: Trade, wait: int) -> None:
        self.desk.timers.at(self.desk.now + max(wait, MS), self._look, (run, trade, trade.leaving))

    def _look(self, subject: tuple[RuleRun, Trade, Leaving]) -> None:
        run, trade, leaving = subject
        if run.trade is trade and trade.leaving is leaving:
            self.step(run)


def _kept(trade: Trade, leg: Leg) -> int:
    """Return the lots of a leg that stay while a part of its trade is closed."""
    keep = trade.leaving.keep if trade.leaving is not None else None
    return keep[leg.index] if keep is not None else 0


def _share(offer: Offer) -> float:
    return abs(offer.leg.ledger.lots) / offer.leg.planned


def _close(trade: Trade) -> ClosePlan:
    verb = trade.rule.trade or trade.rule.quote
    return verb.close if verb is not None else ClosePlan()
