"""The rule table: warming, idle, pending, entering, active, leaving, cooldown, done, disabled.

Theory of operation (language.md, section 4, as amended by trading.md):

    warming  -> idle       every input seen, windows full, facts known, exchanges reconciled
    idle     -> pending    `when` definitely true, and armed
    pending  -> idle       `when` false or missing
    pending  -> entering   held for `for` (a timer), the gate approves the group
    pending  -> pending    refused; tried again 250 ms later
    entering -> active     settled, matched;  -> cooldown nothing held;  -> leaving failed, halted
    active   -> leaving    `until`, `max_hold`, `on_missing`, halt, flatten
    leaving  -> cooldown   nothing left but residuals
    cooldown -> idle, done

A rule is armed again by a definite false of `when` after anything but `until` and an entry that
filled nothing (`rearm: level` lifts that). Every state has one `test`, the only thing a tick calls;
the rest of this module runs when it answers true. From entry to rest its trade leads (`trades`). On
an event with newer frames behind it states move, but what would send waits for the last frame
(`deferred`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from runner.engine.closing import Closing
from runner.engine.codes import Refusal, Why
from runner.engine.commands import Topic
from runner.engine.cost import TradeCell
from runner.engine.deeds import Deeds
from runner.engine.desk import Desk
from runner.engine.events import Readiness
from runner.engine.groups import Groups
from runner.engine.guards import Guards
from runner.engine.holding import Holding
from runner.engine.limits import Mode
from runner.engine.losses import LossStop
from runner.engine.order import Order
from runner.engine.quoting import Quoting
from runner.engine.reading import identity
from runner.engine.rule import HOLDING, RuleRun, RuleState, opposed
from runner.engine.setbacks import moved_outside, note_refusal
from runner.engine.sources import Sources
from runner.engine.timers import MS
from runner.engine.trade import Trade
from runner.engine.triggers import Triggers
from runner.market.streams import StreamState

RETRY: Final = 250 * MS
WARM_LOOK: Final = 50 * MS


class Rules:
    """All rules of a strategy."""

    def __init__(
        self,
        desk: Desk,
        streams: Mapping[str, Any],
        cells: Mapping[str, TradeCell],
        sources: Sources,
    ) -> None:
        self.desk = desk
        self.streams = streams
        self.book_keys = {m.book.key for m in desk.markets.values() if m.book is not None}
        self.last_fill: dict[str, int] = {}
        """market -> monotonic ns of our last fill there"""
        self.runs: dict[str, RuleRun] = {}
        self.deferred: dict[str, RuleRun] = {}
        """rules that would have sent on an event with newer frames behind it"""
        self.groups = Groups(desk)
        self.closing = Closing(desk)
        self.holding = Holding(desk)
        self.quoting = Quoting(desk)
        self.guards = Guards(desk)
        self.deeds = Deeds(desk)
        self.triggers = Triggers(desk, sources)
        self.late: dict[str, str] = {}
        """rules of which a fill was booked at the restore that their rows did not know, by cid"""
        self.dirty: dict[str, None] = {}
        """names of rules (and "" for the run) whose lasting state changed since the last flush"""
        self.counted = False
        """the run's row is behind by the ordinal alone, which the intents tell too"""
        self.on_flush: Callable[[list[str]], None] = lambda _names: None
        self._cells = cells

    def bind(self) -> None:
        """Take the generated code; called once, when the program exists."""
        for name, plan in self.desk.plan.rules.items():
            run = RuleRun(plan, self.desk.program.rules[name], self._cells[name])
            run.identity = identity(self.desk.plan, plan)
            books = (self.desk.markets[leg.market].book for leg in plan.legs)
            keys = [*run.program.when_streams, *(b.key for b in books if b is not None)]
            run.entry_streams = tuple(dict.fromkeys(keys))
            self._cells[name].run = run
            if plan.trade is not None and plan.trade.stop_loss is not None:
                run.stop = LossStop(self._cells[name], float(plan.trade.stop_loss.value))
            self.runs[name] = run
        for run in self.runs.values():
            run.opposed = [r for r in self.runs.values() if r is not run and opposed(run, r)]
        self.triggers.bind()

    # -- what a tick or a timer brings

    def step(self, run: RuleRun, hold: bool = False) -> None:
        """Take a rule as far as it goes now; `hold`: nothing may be sent on this event."""
        if run.state is RuleState.WARMING:
            if not self._warm(run):
                return
            self.move(run, RuleState.IDLE, "warm", quiet=True)
        if run.plan.trigger is not None and run.state in (RuleState.IDLE, RuleState.PENDING):
            return
        fresh = run.state is RuleState.IDLE
        if fresh:
            self._idle(run)
        if run.state is RuleState.PENDING:
            self._pending(run, hold, fresh)
        elif run.held:
            self.go_on_holding(run, hold)
        elif run.state is RuleState.ENTERING:
            self._stop_entering(run, hold)
        elif run.state is RuleState.COOLDOWN and not run.armed:
            self._rearm(run)
        elif run.state is RuleState.LEAVING and not hold:
            self._still_leaving(run)

    def step_all(self, hold: bool = False) -> None:
        """Look at every rule: something that no stream tells has changed."""
        for run in self.runs.values():
            if run.test(self.desk.now):
                self.step(run, hold)

    def run_deferred(self) -> None:
        """Do what waited for the last frame of a read."""
        waiting, self.deferred = self.deferred, {}
        for run in waiting.values():
            if run.test(self.desk.now):
                self.step(run)

    def _warm(self, run: RuleRun) -> bool:
        now = self.desk.now
        if now < run.warm_at:
            return False
        for leg in run.plan.legs:
            venue = self.desk.venue_of(leg.market)
            if venue.state is not Readiness.READY or leg.market not in venue.facts:
                return False
        for key in run.program.when_streams:
            if self.streams[key].state is StreamState.WAITING and key not in self.desk.plan.sources:
                return False  # a source may never say anything: that is for the file to judge
        if self.desk.program.warm(run.plan.name):
            return True
        run.warm_at = now + WARM_LOOK
        return False

    def _idle(self, run: RuleRun) -> None:
        now = self.desk.now
        if not run.armed:
            self._rearm(run)
        elif run.program.when.true(now):
            self.desk.traces.funnels[run.plan.name].true += 1
            run.pending_since = now
            run.retry_at = 0
            if run.plan.for_ns:
                self.move(run, RuleState.PENDING, "when", quiet=True)
                self.desk.timers.at(now + run.plan.for_ns, self.look, run)
            else:
                run.state = RuleState.PENDING
                run.watch()
                self.desk.traces.passed(run.plan.name)

    def _pending(self, run: RuleRun, hold: bool, fresh: bool) -> None:
        """Enter when the time has come; `fresh`: `when` has just been found true."""
        now = self.desk.now
        if not fresh and not run.program.when.true(now):
            self.move(run, RuleState.IDLE, "when no longer true", quiet=True)
        elif now >= run.pending_since + run.plan.for_ns and now >= run.retry_at:
            if hold:
                self.deferred[run.plan.name] = run
            else:
                self._enter(run)

    def go_on_holding(self, run: RuleRun, hold: bool) -> None:
        """Close a trade whose `until` or stop says so; bring what rests up to date.

        Of a trade that an earlier run left nothing is decided before its exchanges were asked.
        """
        now, until = self.desk.now, run.program.until
        stopped = run.stop is not None and run.stop.hit(now)
        over = until is not None and not run.resting and until.true(now)
        if not stopped and not over and run.plan.quote is None and not run.resting:
            return
        if hold:
            self.deferred[run.plan.name] = run
        elif (stopped or over) and self.desk.limits.mode not in (Mode.KEPT, Mode.FROZEN):
            if not self.known_to_all(run):
                return
            if stopped:
                self._tell_stop(run)
            self.desk.trades.leave(run, "stop" if stopped else "until")
        elif run.plan.quote is not None:
            self.quoting.step(run)
        elif run.resting:
            self.closing.at_rest.step(run)

    def _stop_entering(self, run: RuleRun, hold: bool) -> None:
        """Watch the stop of what has filled while the rest of an entry still works.

        Legs that are apart are evened first, and an order in doubt is resolved first.
        """
        trade = run.trade
        if run.stop is None or trade is None or trade.empty or not run.stop.hit(self.desk.now):
            return
        if not trade.within_gap() or any(o.uncertain for o in self.groups.unsettled(run)):
            return
        if hold:
            self.deferred[run.plan.name] = run
        elif self.desk.limits.mode not in (Mode.KEPT, Mode.FROZEN):
            self._tell_stop(run)
            self.desk.trades.leave(run, "stop")

    def _tell_stop(self, run: RuleRun) -> None:
        assert run.stop is not None
        result, limit = run.stop.result(self.desk.now), run.stop.limit
        text = f"stop: closing now leaves {result:.8g} / -{limit:.8g}"
        self.desk.record("stop", rule=run.plan.name, result=result, limit=limit)
        self.desk.tell("warn", f"{run.plan.name}: {text}", Topic.RULE)

    def _rearm(self, run: RuleRun) -> None:
        if run.program.when.false(self.desk.now):
            run.armed = True
            run.watch()
            self.touch(run.plan.name)

    def _enter(self, run: RuleRun) -> None:
        refusal = self.attempt(run)
        if refusal is None:
            return
        now = self.desk.now
        self.desk.traces.refused(run.plan.name, run.state, refusal)
        if refusal.code is Why.MAX_FIRINGS:
            self.disable(run, refusal.text)
            return
        run.retry_at = now + RETRY
        self.desk.timers.at(run.retry_at, self.look, run)

    def attempt(self, run: RuleRun) -> Refusal | None:
        """Enter if nothing opposes it and the gate approves; the refusal otherwise."""
        if run.plan.do:
            return self.deeds.act(run)
        enter = self.groups.enter if run.plan.quote is None else self.quoting.begin
        return self._opposing(run) or self.guards.standing(run) or enter(run)

    def _opposing(self, run: RuleRun) -> Refusal | None:
        for other in run.opposed:
            if other.state in HOLDING:
                return Refusal(Why.OPPOSED, f"opposed {other.plan.name}")
        return None

    def look(self, run: RuleRun) -> None:
        """Look at a rule because its time has come."""
        if run.test(self.desk.now):
            self.step(run)

    def _still_leaving(self, run: RuleRun) -> None:
        """Follow the touch with what leaves passively; a close has its own times."""
        if run.trade is not None and run.trade.leaving is not None and run.trade.leaving.passive:
            self.quoting.exits.step(run)

    def begin(self, run: RuleRun, cause: str) -> None:
        """A trigger is being tried."""
        run.pending_since = self.desk.now
        self.move(run, RuleState.PENDING, cause, quiet=True)

    def unbegin(self, run: RuleRun) -> None:
        """Nothing came of a trigger."""
        self.move(run, RuleState.IDLE, "trigger over", quiet=True)

    # -- orders

    def on_order(self, order: Order, filled: bool) -> None:
        """An order of ours changed; its rule decides what that means."""
        run = self.runs.get(order.intent.rule)
        if run is None:
            return
        self.touch(run.plan.name)
        if order.protective and run.trade is not None:
            self.guards.on_order(run, order, filled)
            return
        note_refusal(self.desk, run, order, filled)
        if filled:
            self.guards.look(run)
        if run.plan.quote is not None and run.trade is not None:
            self.quoting.on_order(run, order, filled)
        elif run.state is RuleState.ENTERING:
            self.groups.on_order(run, order)
        elif run.state is RuleState.LEAVING:
            self.closing.on_order(run, order)
        elif filled:
            moved_outside(self.desk, run, f"late fill of {order.intent.cid}")

    def amend_answered(self, order: Order, taken: bool) -> None:
        """The exchange took a change of an order, or did not."""
        run = self.runs.get(order.intent.rule)
        if run is not None and run.plan.quote is not None and run.trade is not None:
            self.quoting.amend_answered(run, order, taken)
        elif run is not None and run.resting and not taken:
            self.closing.at_rest.unmoved(order)

    # -- the operator, and others' questions

    def resume(self, name: str) -> None:
        """Let a disabled rule run again."""
        run = self.runs.get(name)
        if run is None or run.state is not RuleState.DISABLED:
            return
        run.rejects = run.unguarded = 0
        run.disabled_why = ""
        self.desk.gate.firings[name].clear()
        run.armed = run.plan.rearm == "level" or run.plan.trigger is not None
        self.move(run, RuleState.WARMING, "resumed")

    def known_to_all(self, run: RuleRun) -> bool:
        """Whether all exchanges of a rule's legs have been ready in this run."""
        return all(self.desk.venue_of(leg.market).was_ready for leg in run.plan.legs)

    def disabled(self, name: str) -> bool:
        return self.runs[name].state is RuleState.DISABLED

    def is_entering(self, run: RuleRun) -> bool:
        return run.state is RuleState.ENTERING

    def in_flight(self) -> Iterator[Trade]:
        """Yield the trades that are still expected to end as planned."""
        for run in self.runs.values():
            trade = run.trade
            if trade is None or run.state is not RuleState.ENTERING:
                continue
            doubt = trade.doubt_since
            if doubt < 0 or self.desk.now - doubt <= trade.repair_within:
                yield trade

    def disable(self, run: RuleRun, why: str) -> None:
        """Let a rule do nothing until `resume`, and tell."""
        run.disabled_why = why
        self.move(run, RuleState.DISABLED, why)
        self.desk.tell("page", f"rule {run.plan.name} disabled: {why}", Topic.RULE)

    # -- moving and remembering

    def move(self, run: RuleRun, state: RuleState, cause: str, *, quiet: bool = False) -> None:
        """Bring a rule into a state, choose its test, trace it; a quiet move is not journaled."""
        before = run.state
        run.state = state
        run.watch()
        self.desk.traces.moved(run.plan.name, cause, before, state, quiet)
        if not quiet:
            self.touch(run.plan.name)

    def touch(self, name: str) -> None:
        """A rule's lasting state changed: it is journaled with the next flush."""
        self.dirty[name] = None

    def touch_run(self) -> None:
        """The run's lasting state changed."""
        self.dirty[""] = None

    def flush(self, *, whole: bool = False) -> None:
        """Write what changed as journal rows; `whole`: a mere count too."""
        if whole and self.counted:
            self.touch_run()
        if self.dirty:
            names = list(self.dirty)
            self.counted = self.counted and "" not in self.dirty
            self.dirty.clear()
            self.on_flush(names)
