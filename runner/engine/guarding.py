"""Keeping one protective order in line with what its trade holds (R-77, R-78).

Theory of operation. `keep` compares what the trade holds with the order that stands for it, and
does the next of these until they agree:

    nothing stands            -> place one for all that is held, `GATHER` after the first fill, so
                                 that the fills of one order make one stop
    it stands for less        -> place a successor, cancel the old one when that is confirmed
    it stands for more        -> the same, once a part was closed, or while an exit rests where
                                 others hold that side: what is too much would close the position
                                 of another; the larger one guards on if that fails
    not confirmed             -> place another once, half of `confirm_within` after the fill
    refused by the exchange   -> a stop: `if_refused`, close the trade (or keep it, and tell);
                                 a target: as not confirmed, but one refused twice is given up
    still not confirmed after `confirm_within`, or ended by others a second time
                              -> a stop: close the trade; under the operator's halt, which keeps it,
                                 tell and try on. A target: tell, the trade goes on without it
                                 until its exchange is back (`Guards.back`)

Two of a kind for one position do no harm, both being reduce-only; no stop does. Frozen, nothing is
sent and no time runs out: it begins anew when the freeze is over (`Guards.thawed`). What the host
did not send was refused by nobody: it counts as not confirmed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.engine.cancels import cancel_order
from runner.engine.commands import OrderType, Purpose, Tif, Topic, Trigger
from runner.engine.desk import Desk
from runner.engine.events import Readiness
from runner.engine.guard_room import full
from runner.engine.limits import Mode
from runner.engine.order import Order, OrderState
from runner.engine.passes import Pass, send
from runner.engine.positions import shared
from runner.engine.rule import RuleState
from runner.engine.sizing import Draft
from runner.engine.timers import MS, SECOND
from runner.engine.trade import Guard, Trade
from runner.spec.rule_plan import GuardKind, GuardPlan

if TYPE_CHECKING:
    from runner.engine.rule import RuleRun

GATHER: Final = 20 * MS
RETRY: Final = 100 * MS
SHRINK_EVERY: Final = 1 * SECOND
KEPT_RETRY: Final = 2 * SECOND
"""between tries to place a stop for what the operator's halt keeps"""
MOST_TRIES: Final = 2
CHANCES: Final = 5
"""how often a trade's target that was given up is tried again, each time its exchange is back"""
REFUSED: Final = "stop refused"
MISSING: Final = "stop missing"
_STANDING: Final = frozenset({OrderState.OPEN, OrderState.PARTIAL})
_TYPES: Final = {GuardKind.STOP: OrderType.STOP, GuardKind.TARGET: OrderType.TARGET}

Subject = tuple["RuleRun", Trade, Guard, int]
"""a timer's: with the `since` of the uncovered time that it belongs to"""


class Guarding:
    """The steps of all protective orders."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def keep(self, run: RuleRun, trade: Trade, guard: Guard) -> None:
        """Take the next step for one of a trade that is watched and holds something."""
        order = self.desk.orders.all.get(guard.cid)
        if order is not None and _guards(trade, order):
            guard.given_up = False
            self._confirmed(run, guard)
            self._shrink(run, trade, guard, order)
        elif self._larger(run, trade, guard, order) or guard.given_up:
            return
        elif guard.since < 0:
            self._uncovered(run, trade, guard)
        elif order is not None and _refused(guard, order):
            self._refused(run, guard, order)
        elif self._due(run, trade, guard, order):
            self._place(run, trade, guard)

    def in_line(self, trade: Trade, guard: Guard) -> bool:
        """Whether a confirmed order stands for all that is held."""
        order = self.desk.orders.all.get(guard.cid)
        return order is not None and _guards(trade, order)

    # -- steps

    def _uncovered(self, run: RuleRun, trade: Trade, guard: Guard) -> None:
        """Something is held without it: the clock runs."""
        guard.since, guard.tries = self.desk.now, 0
        within = _plan(run, guard).confirm_within_ns
        subject = (run, trade, guard, guard.since)
        self.desk.timers.at(self.desk.now + GATHER, self._again, subject)
        self.desk.timers.at(self.desk.now + within // 2, self._again, subject)
        self.desk.timers.at(self.desk.now + within, self._too_late, subject)
        if not self.desk.rules.groups.unsettled(run):
            self.keep(run, trade, guard)

    def _due(self, run: RuleRun, trade: Trade, guard: Guard, order: Order | None) -> bool:
        """Whether to place one now."""
        waited = self.desk.now - guard.since
        late = waited >= _plan(run, guard).confirm_within_ns // 2
        if order is None or guard.tries == 0:
            return waited >= GATHER or not self.desk.rules.groups.unsettled(run)
        if order.state is OrderState.REJECTED:
            return late and guard.tries < MOST_TRIES
        if not _covers(trade, order):
            return guard.tries < MOST_TRIES or not order.terminal
        return guard.tries < MOST_TRIES and late

    def _place(self, run: RuleRun, trade: Trade, guard: Guard) -> None:
        desk, leg = self.desk, trade.legs[0]
        if desk.limits.mode is Mode.FROZEN:
            return
        type_, ticks, lots = _TYPES[guard.kind], guard.ticks, held(trade)
        price = ticks * leg.listed.instrument.tick_f
        draft = Draft(
            leg.index, leg.market, leg.side.opposite, type_, Tif.GTC, lots, 0, price, ticks
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
            trigger=Trigger(_plan(run, guard).trigger),
        )
        cid = desk.cid(leg.listed.plan.exchange, leg.index, trade.attempt)
        refusal = send(desk, wanted, lambda: _placed(guard, cid))
        if refusal is not None:
            desk.traces.refused(run.plan.name, run.state, refusal)
            wait = RETRY if guard.since >= 0 else SECOND
            desk.timers.at(desk.now + wait, self._again, (run, trade, guard, guard.since))

    def _confirmed(self, run: RuleRun, guard: Guard) -> None:
        """It stands for all that is held: predecessors go."""
        if guard.told:
            topic = Topic.STOP_MISSING if guard.kind is GuardKind.STOP else Topic.RULE
            self.desk.tell("warn", f"{run.plan.name}: its {guard.kind} stands again", topic)
        guard.since, guard.tries, guard.told, guard.late = -1, 0, False, False
        for order in orders_of(self.desk, run, guard.kind):
            if order.intent.cid != guard.cid and not order.cancel_asked:
                cancel_order(self.desk, order)

    def _shrink(self, run: RuleRun, trade: Trade, guard: Guard, order: Order) -> None:
        """Replace one for more than is held, when nothing moves that."""
        if order.intent.lots - order.filled <= held(trade):
            return
        if (run.resting or run.reducing) and shared(self.desk, trade.legs[0]):
            due = order.sent_at + SHRINK_EVERY  # what leaves fills in parts
            if self.desk.now < due:
                self.desk.timers.at(due, self._again, (run, trade, guard, guard.since))
                return
        elif self._moves(run):
            return
        if full(self.desk, trade.legs[0].market):  # the larger one guards on meanwhile
            due = self.desk.now + SHRINK_EVERY
            self.desk.timers.at(due, self._again, (run, trade, guard, guard.since))
            return
        self._place(run, trade, guard)

    def _moves(self, run: RuleRun) -> bool:
        """Whether what is held changes just now."""
        rests = run.state is RuleState.ACTIVE or stuck(run)
        return not rests or bool(self.desk.rules.groups.unsettled(run))

    def _larger(self, run: RuleRun, trade: Trade, guard: Guard, order: Order | None) -> bool:
        """Whether another of the kind covers it; it is taken when its successor has ended."""
        for other in orders_of(self.desk, run, guard.kind):
            if other is not order and _guards(trade, other):
                guard.since, guard.tries = -1, 0
                if order is None or order.terminal:
                    guard.cid, guard.given_up = other.intent.cid, False
                return True
        return False

    # -- what does not come

    def _refused(self, run: RuleRun, guard: Guard, order: Order) -> None:
        text = f"{run.plan.name}: its {guard.kind} was refused: {order.code} {order.text}".rstrip()
        if guard.kind is GuardKind.TARGET:
            self._go_on(guard, f"{text}; the trade goes on without it")
        elif _plan(run, guard).if_refused == "keep":
            guard.given_up = guard.told = True
            self.desk.tell("page", f"{text}; the trade is kept", Topic.STOP_MISSING)
        else:
            self._give_up(run, guard, text, REFUSED)

    def _too_late(self, subject: Subject) -> None:
        run, trade, guard, _ = subject
        if not self._stands(subject) or self.desk.limits.mode is Mode.FROZEN:
            return
        within = _plan(run, guard).confirm_within_ns // MS
        text = f"{run.plan.name}: no {guard.kind} was confirmed within {within}ms"
        if guard.kind is GuardKind.STOP:
            self._give_up(run, guard, text, MISSING)
            return
        guard.late = True
        venue = self.desk.venue_of(trade.legs[0].market)
        text += "; the trade goes on without it"
        if guard.chances < CHANCES and venue.state is not Readiness.READY:
            text += f" until {venue.name}, which is {venue.state}, is back"
        self._go_on(guard, text)

    def _go_on(self, guard: Guard, text: str) -> None:
        """A trade goes on without its target."""
        guard.given_up, guard.since, guard.told = True, -1, True
        self.desk.tell("page", text, Topic.RULE)

    def another_chance(self, run: RuleRun, guard: Guard) -> None:
        """Try one again that nobody answered in time: its exchange is back.

        A price that has passed it meanwhile closes the trade, as it would have done.
        """
        trade, chances = run.trade, guard.chances + 1
        assert trade is not None
        guard.given_up = guard.late = False
        guard.since, guard.chances = -1, chances
        venue = self.desk.venue_of(trade.legs[0].market).name
        cause = f"{venue} is back: its {guard.kind} is tried again, {chances} / {CHANCES}"
        self.desk.traces.moved(run.plan.name, cause, run.state, run.state, False)
        self.desk.rules.touch(run.plan.name)
        if self._passed(trade, guard) and self.desk.limits.mode not in (Mode.KEPT, Mode.FROZEN):
            self.desk.trades.leave(run, guard.kind.value)

    def _passed(self, trade: Trade, guard: Guard) -> bool:
        """Whether closing now would take a target's price or a better one."""
        leg = trade.legs[0]
        touch = leg.listed.touch(leg.exit_side)
        beyond = (touch - guard.ticks * leg.listed.instrument.tick_f) * leg.side.sign
        return guard.kind is GuardKind.TARGET and beyond >= 0

    def _give_up(self, run: RuleRun, guard: Guard, text: str, reason: str) -> None:
        """Close a trade without a stop; while its position cannot be closed, try on instead."""
        kept = self.desk.limits.mode is Mode.KEPT
        if not kept and not stuck(run):
            self.desk.tell("page", f"{text}; the trade is closed", Topic.STOP_MISSING)
            self.desk.trades.leave(run, reason)
            return
        if not guard.told:
            guard.told = True
            text += "; halted: the position is kept" if kept else "; its close is held"
            self.desk.tell("page", f"{text}, its stop is tried again", Topic.STOP_MISSING)
        guard.since, guard.cid = -1, ""
        due = self.desk.now + KEPT_RETRY
        assert run.trade is not None
        self.desk.timers.at(due, self._again, (run, run.trade, guard, -1))

    # -- times

    def _again(self, subject: Subject) -> None:
        if self._stands(subject):
            self.desk.rules.guards.look(subject[0])

    def _stands(self, subject: Subject) -> bool:
        """Whether a timer's uncovered time still goes on."""
        run, trade, guard, since = subject
        if run.trade is not trade or guard.since != since or guard.given_up:
            return False
        return watched(run) and held(trade) > 0


# -- what there is


def held(trade: Trade) -> int:
    """Return the lots that a trade of one leg holds, in its own direction."""
    return max(trade.legs[0].filled, 0)


def watched(run: RuleRun) -> bool:
    """Whether something of its trade is held on, or comes in."""
    return run.held or run.state is RuleState.ENTERING or stuck(run)


def stuck(run: RuleRun) -> bool:
    """Whether the close of its trade is held: what it holds may stay for long."""
    leaving = run.trade.leaving if run.trade is not None else None
    return run.state is RuleState.LEAVING and leaving is not None and leaving.held


def orders_of(desk: Desk, run: RuleRun, kind: GuardKind | None = None) -> list[Order]:
    """Return the protective orders of a rule that have not ended, of one kind or of both."""
    name, type_ = run.plan.name, None if kind is None else _TYPES[kind]
    return [
        order
        for order in desk.orders.guards.values()
        if order.intent.rule == name and type_ in (None, order.intent.type)
    ]


def _placed(guard: Guard, cid: str) -> None:
    guard.cid = cid
    guard.tries += 1


def _refused(guard: Guard, order: Order) -> bool:
    """Whether the exchange has refused one, and it is not tried again: a target is, once."""
    if order.state is not OrderState.REJECTED or order.unsent:
        return False
    return guard.kind is not GuardKind.TARGET or guard.tries >= MOST_TRIES


def _guards(trade: Trade, order: Order) -> bool:
    """Whether an order stands for all that is held."""
    return order.state in _STANDING and _covers(trade, order)


def _covers(trade: Trade, order: Order) -> bool:
    """Whether an order, if it stands, is for all that is held."""
    if order.terminal or order.cancel_asked:
        return False
    return order.intent.lots - order.filled >= held(trade)


def _plan(run: RuleRun, guard: Guard) -> GuardPlan:
    """Return what the file says of it; what a trade was opened with stands without it too."""
    for plan in run.plan.trade.guards if run.plan.trade is not None else ():
        if plan.kind is guard.kind:
            return plan
    return GuardPlan(kind=guard.kind)
