"""The life of a trade: entered, active, leaving, left; and what its rule does after it.

Theory of operation. The gate approves a group and the trade exists: `entered`. Settled and matched
it is `activate`d; `leave` begins its close, and `left` tells that nothing remains but residuals. An
entry that ends with nothing is `nothing_held`. In either end the rule rests, armed or not (the
table stands in `rules`). `take_up` goes on with what an earlier run left.
"""

from __future__ import annotations

from typing import Final

from runner.engine import caretaking
from runner.engine.desk import Desk
from runner.engine.guarding import MISSING, REFUSED
from runner.engine.leaving_at_rest import AT_LEISURE
from runner.engine.limits import CLOSES, Mode
from runner.engine.rule import HOLDING, RuleRun, RuleState
from runner.engine.rules import Rules
from runner.engine.setbacks import forget_refusals, moved_outside
from runner.engine.timers import MS
from runner.engine.trade import Trade, missed, new_trade

TAKE_UP_LOOK: Final = 100 * MS
REJECTS_IN_A_ROW: Final = 3


class Trades:
    """All trades of a strategy, each held by its rule."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        self.desk = desk
        self.rules = rules

    def entered(self, run: RuleRun, trade: Trade) -> None:
        """The gate approved a group: the trade exists from now on."""
        run.trade = trade
        run.inbox, run.outbox = None, []
        run.cell.entered = trade.entered
        if run.stop is not None:
            run.stop.begin()
        self.rules.move(run, RuleState.ENTERING, "approved")

    def quoting_began(self, run: RuleRun, trade: Trade) -> None:
        """The gate approved the first quote of a rule."""
        run.trade = trade
        run.inbox, run.outbox = None, []
        run.cell.entered, run.cell.active = trade.entered, True
        self.desk.traces.funnels[run.plan.name].entries += 1
        self.rules.move(run, RuleState.ACTIVE, "quoting")
        self.rules.holding.watch(run)

    def activate(self, run: RuleRun, cause: str) -> None:
        """The legs are settled and match (or are kept as they are)."""
        trade = run.trade
        assert trade is not None
        trade.doubt_since = -1
        run.rejects = 0
        if run.state is RuleState.ENTERING and trade.leaving is None:
            self.desk.traces.funnels[run.plan.name].entries += 1
        closing = self.desk.limits.mode in (Mode.HALTED, Mode.FLATTENED)
        if run.plan.order is not None and (run.plan.keeps or not closing):
            self._rest(run, "filled", armed=True)
            return
        run.cell.active = run.plan.order is None
        self.rules.move(run, RuleState.ACTIVE, cause)
        if closing:
            self.leave(run, self.desk.limits.code)
            return
        self.rules.holding.watch(run)
        self.rules.guards.look(run)  # the exchange may have taken a part while it was entering
        self.rules.go_on_holding(run, hold=False)
        if run.outbox:
            self.rules.triggers.activated(run)
        if trade.owed:
            self.rules.deeds.pay(run, trade)

    def again_entering(self, run: RuleRun, cause: str) -> None:
        """An active trade lost its match: its legs are evened as those of an entry."""
        self.rules.move(run, RuleState.ENTERING, cause)

    def leave(self, run: RuleRun, reason: str, *, commanded: bool = False, only: str = "") -> None:
        """Begin to close a trade; the operator's word renews a close that is going on."""
        if run.trade is None or run.plan.keeps:
            return
        if run.state is RuleState.LEAVING and not commanded and not run.reducing:
            if reason not in AT_LEISURE:
                self._hasten(run, reason)
            return
        if run.state is not RuleState.LEAVING or run.reducing:
            run.cell.active = False
            self.rules.move(run, RuleState.LEAVING, reason)
        rules = self.rules
        begin = rules.closing.begin if run.plan.quote is None else rules.quoting.exits.leave
        begin(run, reason, commanded=commanded, only=only)

    def _hasten(self, run: RuleRun, reason: str) -> None:
        """What leaves by an order at the touch goes at once, for a graver reason."""
        if run.plan.quote is not None:
            self.rules.quoting.exits.hasten(run, reason)
        elif run.resting:
            self.rules.closing.at_rest.at_once(run, reason)

    def go_on_leaving(self, run: RuleRun) -> None:
        """Take the next step of a rule that is leaving."""
        if run.plan.quote is None:
            self.rules.closing.step(run)
        else:
            self.rules.quoting.exits.step(run)

    def reduce(self, run: RuleRun, reason: str, keep: tuple[int, ...]) -> None:
        """Close a part of an active trade, down to these lots of each leg's ledger."""
        self.rules.move(run, RuleState.LEAVING, reason)
        self.rules.closing.begin(run, reason, keep=keep)

    def _reduced(self, run: RuleRun, trade: Trade, reason: str) -> None:
        """A part is closed: the trade is held on, evened if it must be."""
        trade.leaving = None
        self.desk.record(
            "reduced", rule=run.plan.name, group=trade.ordinal, reason=reason,
            lots=" ".join(str(leg.filled) for leg in trade.legs),
        )  # fmt: skip
        self.rules.move(run, RuleState.ACTIVE, reason)
        if self.desk.limits.mode in CLOSES:
            self.leave(run, self.desk.limits.code)
        elif not trade.failed and not trade.within_gap():
            moved_outside(self.desk, run, "legs apart after a part was closed")
        else:
            self.rules.guards.look(run)
            self.rules.go_on_holding(run, hold=False)

    def done(self, run: RuleRun) -> None:
        """A rule has done what it says; it holds nothing."""
        run.inbox = None
        self._rest(run, "done", armed=False)

    def leave_all(self, reason: str) -> None:
        """Close all trades (halt, flatten)."""
        for run in self.rules.runs.values():
            self.reopen(run)
            if run.state in HOLDING:
                self.leave(run, reason, commanded=reason == "flatten")

    def reopen(self, run: RuleRun) -> None:
        """Make what an `order` of `keep: false` bought a trade again, so that it can be closed."""
        if run.trade is not None or run.plan.order is None or run.plan.keeps:
            return
        lots = self.desk.ledgers.of(run.plan.name, run.plan.legs[0].market).lots
        if lots:
            run.trade = new_trade(self.desk, run.plan, [abs(lots)], [])
            run.trade.legs[0].start = 0
            run.trade.failed = True  # `when` must become false before the next one
            self.rules.move(run, RuleState.ACTIVE, "reopened")

    def left(self, run: RuleRun) -> None:
        """Nothing is left of a trade but residuals."""
        trade = run.trade
        assert trade is not None and trade.leaving is not None
        leaving = trade.leaving
        if leaving.keep is not None and any(leg.filled for leg in trade.legs):
            self._reduced(run, trade, leaving.reason)
            return
        if leaving.only and any(leg.filled for leg in trade.legs):
            trade.leaving = None
            trade.failed = True  # one leg alone, as the operator wanted: nothing to even
            run.cell.active = True
            self.rules.move(run, RuleState.ACTIVE, f"closed {leaving.only} alone")
            self.rules.holding.watch(run)
            return
        self.desk.traces.funnels[run.plan.name].exits += 1
        pnl = sum(leg.ledger.settled_pnl for leg in trade.legs) - trade.baseline
        self.desk.record(
            "trade", rule=run.plan.name, group=trade.ordinal, reason=leaving.reason, pnl=pnl
        )
        armed = leaving.reason == "until" and not trade.failed
        run.unguarded = run.unguarded + 1 if leaving.reason in (REFUSED, MISSING) else 0
        self._rest(run, leaving.reason, armed=armed)
        self.desk.trips.closed(trade, pnl)
        if run.unguarded >= REJECTS_IN_A_ROW:
            why = f"{run.unguarded} trades in a row closed for want of a stop: {leaving.reason}"
            self.rules.disable(run, why)

    def nothing_held(self, run: RuleRun) -> None:
        """An entry ended with nothing: no fill, rejected, or trimmed away again."""
        trade = run.trade
        assert trade is not None
        funnel = self.desk.traces.funnels[run.plan.name]
        unwound = trade.attempt > 0 or trade.incompletable
        if trade.rejected:
            funnel.rejected += 1
            run.rejects += 1
            reason = f"rejected {trade.rejected}"
        else:
            run.rejects = 0
            reason = "unwound" if unwound else "no fill"
        if unwound:
            funnel.undone += 1
        else:
            funnel.no_fill += 1
        by = "; ".join(missed(trade))
        self.desk.record(
            "no_fill", rule=run.plan.name, group=trade.ordinal, reason=reason, missed=by
        )
        self._rest(run, reason, armed=not unwound)
        if unwound:
            pnl = sum(leg.ledger.settled_pnl for leg in trade.legs) - trade.baseline
            self.desk.trips.closed(trade, pnl)
        if run.rejects >= REJECTS_IN_A_ROW:
            self.rules.disable(run, f"{run.rejects} rejects in a row, the last {trade.rejected}")

    def _rest(self, run: RuleRun, reason: str, *, armed: bool) -> None:
        now = self.desk.now
        once = run.plan.once and reason not in ("no fill",) and not reason.startswith("rejected")
        run.armed = armed or run.plan.rearm == "level" or run.plan.trigger is not None
        run.outbox = []
        if run.trade is not None:
            forget_refusals(self.desk, run, run.trade)
            self.rules.guards.release(run)
        run.last_trade, run.trade = run.trade, None
        run.cell.active = False
        self.desk.limits.drop(f"unknown:{run.plan.name}")
        self.desk.limits.drop(f"unmatched:{run.plan.name}")
        caretaking.over(self.desk, run)
        if once or run.disabled_why:
            self.rules.move(run, RuleState.DISABLED if run.disabled_why else RuleState.DONE, reason)
            return
        run.cooldown_until = now + run.plan.cooldown_ns
        self.rules.move(run, RuleState.COOLDOWN, reason)
        self.desk.timers.at(run.cooldown_until, self.cooled, run)

    def cooled(self, run: RuleRun) -> None:
        """The rest of a rule is over."""
        if run.state is RuleState.COOLDOWN and self.desk.now >= run.cooldown_until:
            self.rules.move(run, RuleState.IDLE, "rested", quiet=True)
            self.rules.look(run)

    def take_up(self, run: RuleRun) -> None:
        """Go on with what an earlier run left: its trade once its exchanges are there, its rest."""
        late = self.rules.late.get(run.plan.name)
        if (run.state in HOLDING or late) and not self.rules.known_to_all(run):
            self.desk.timers.at(self.desk.now + TAKE_UP_LOOK, self.take_up, run)
            return
        if late and run.trade is None:
            moved_outside(self.desk, run, f"late fill of {late}")
            return
        if run.plan.orphan is not None:
            caretaking.take_up(self.desk, run)
            return
        self.rules.triggers.take_up(run)
        if self.desk.plan.run.on_restart == "flatten":
            self.reopen(run)
            if run.state in HOLDING:
                self.leave(run, "restart")
                return
        if run.state is RuleState.ENTERING:
            self.rules.groups.watch_doubt(run)
            self.rules.groups.watch_ttl(run)
            self.rules.groups.working.watch(run)
            self.rules.groups.working.follow(run)
            self.rules.guards.look(run)
            if not self.rules.groups.unsettled(run):
                self.rules.groups.judge(run)
        elif run.state is RuleState.ACTIVE:
            self.rules.holding.take_up(run)
            if run.trade is not None:
                self.rules.deeds.pay(run, run.trade)
        elif run.state is RuleState.LEAVING:
            self.rules.groups.watch_doubt(run)
            if run.held:
                self.rules.holding.watch(run)
                self.rules.guards.look(run)
            self.go_on_leaving(run)
        elif run.state is RuleState.COOLDOWN:
            self.desk.timers.at(max(run.cooldown_until, self.desk.now), self.cooled, run)
