"""Triggers: rules that a message starts, and trades that a message ends.

Theory of operation. An event exists in the instant it arrives. A rule with `trigger` is asked then:

    `when` false                     not for this rule
    holding a trade, done, disabled  refused, dropped
    else                             it waits (`inbox`) and is tried

It is tried until it is entered, `when` is definitely false, a newer message takes its place, or it
is over: then it was lost, which is recorded and told. Reasons that pass (a stale book, a rest, an
opposing trade, a limit) keep it waiting; each try shows its fields again.

`until` may read an event too. What would end a trade but cannot be judged yet (a book is missing,
the entry is still under way, the run is halted) waits in the trade's `outbox` in the same way.
Both survive a restart in the rule's row of the journal.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from runner.engine.codes import Refusal, Why
from runner.engine.commands import Topic
from runner.engine.rule import HOLDING, RuleRun, RuleState
from runner.engine.sources import Pending, Sources
from runner.engine.timers import MS
from runner.lang import tree
from runner.market.streams import StreamState
from runner.spec.source_plan import SourceType

if TYPE_CHECKING:
    from runner.engine.desk import Desk

LOOK_AGAIN: Final = 250 * MS
MOST_WAITING: Final = 16
_OVER: Final = frozenset({RuleState.DONE, RuleState.DISABLED})
_FOR_GOOD: Final = frozenset({Why.KEY_USED})
"""refusals that do not pass"""


def _over() -> None:
    """Stand among what follows the event, so that the instant ends (`Engine._run_after`)."""


class Triggers:
    """The messages that wait, rule by rule."""

    def __init__(self, desk: Desk, sources: Sources) -> None:
        self.desk = desk
        self.sources = sources
        self._starting: dict[str, list[RuleRun]] = {}
        self._ending: dict[str, list[RuleRun]] = {}

    def bind(self) -> None:
        """Sort the rules by the sources they wait for."""
        for run in self.desk.rules.runs.values():
            if run.plan.trigger is not None:
                self._starting.setdefault(run.plan.trigger.source, []).append(run)
            for name in self._events_in(run.plan.until):
                self._ending.setdefault(name, []).append(run)

    def _events_in(self, expr: Any) -> list[str]:
        if not isinstance(expr, tree.Node):
            return []
        keys = tree.streams_of(expr)  # type: ignore[arg-type]
        streams = self.sources.streams
        return [key for key in keys if key in streams and streams[key].event]

    def arrived(self, pending: Pending, late: bool) -> None:
        """A message was accepted: first what it ends, then what it starts."""
        self._show(pending)
        for run in self._ending.get(pending.source, ()):
            self._end(run, pending)
        if late:
            return
        for run in self._starting.get(pending.source, ()):
            self._offer(run, pending)

    def _show(self, pending: Pending) -> None:
        self.sources.show(pending)
        self.desk.after.append(_over)

    # -- starting

    def _offer(self, run: RuleRun, pending: Pending) -> None:
        if run.program.when.false(self.desk.now):
            if run.state not in HOLDING:  # else it speaks of the end, as a close does
                self._refused(run, pending, Refusal(Why.WHEN_FALSE, "`when` is false"))
        elif run.state in HOLDING and run.plan.order is None:
            self._refused(run, pending, Refusal(Why.IN_TRADE, f"{run.plan.name} holds a trade"))
        elif run.state in _OVER:
            self._refused(run, pending, Refusal(Why.RULE_OVER, f"rule is {run.state}"))
        else:
            if run.inbox is not None:
                self._lose(run, run.inbox, f"{pending.id} came after it")
            run.inbox = pending
            self.desk.rules.touch(run.plan.name)
            self._try(run, pending)

    def _try(self, run: RuleRun, pending: Pending) -> None:
        desk, trigger = self.desk, run.plan.trigger
        assert trigger is not None
        refusal = self._attempt(run, pending)
        if run.inbox is not pending:
            return  # entered, or dropped
        assert refusal is not None
        pending.why = refusal.text
        self._refused(run, pending, refusal)
        if refusal.code is Why.MAX_FIRINGS:
            desk.rules.disable(run, refusal.text)
        if refusal.code in _FOR_GOOD or refusal.code is Why.MAX_FIRINGS:
            self._lose(run, pending, refusal.text)
            return
        due = min(desk.now + trigger.retry.every_ns, self._over(run, pending) + 1)
        desk.timers.at(due, self._again, (run, pending))

    def _over(self, run: RuleRun, pending: Pending) -> int:
        """Return the last instant at which a message may start this rule."""
        assert run.plan.trigger is not None
        within = pending.base + run.plan.trigger.retry.within_ns
        if self.sources.streams[pending.source].plan.type is SourceType.SCHEDULE:
            return within  # nobody's word that gets old
        return min(pending.until, within)

    def _again(self, subject: tuple[RuleRun, Pending]) -> None:
        run, pending = subject
        if run.inbox is not pending:
            return
        if self.desk.now > self._over(run, pending):
            self._lose(run, pending, pending.why)
            return
        self._show(pending)
        self._try(run, pending)

    def _attempt(self, run: RuleRun, pending: Pending) -> Refusal | None:
        """Try to enter on a message that is shown; the refusal when that was not possible."""
        rules, now = self.desk.rules, self.desk.now
        if run.state is RuleState.WARMING:
            rules.step(run)
        if run.state is RuleState.WARMING:
            return Refusal(Why.WARMING, "the rule is warming")
        if run.state is RuleState.COOLDOWN:
            left = max(0, run.cooldown_until - now) // MS
            return Refusal(Why.COOLDOWN, f"cooldown, {left}ms left")
        if run.state in HOLDING:
            refusal = Refusal(Why.IN_TRADE, f"{run.plan.name} holds a trade")
            if run.plan.order is None:  # a single order is soon over
                self._drop(run, pending, refusal)
            return refusal
        when = run.program.when
        if when.false(now):
            refusal = Refusal(Why.WHEN_FALSE, "`when` is false")
            self._drop(run, pending, refusal)
            return refusal
        if not when.true(now):
            missing = ", ".join(self.desk.program.missing(run.plan.name, now))
            return Refusal(Why.WHEN_MISSING, f"missing {missing or 'a value'}")
        if run.state is RuleState.IDLE:
            self.desk.traces.funnels[run.plan.name].true += 1
            rules.begin(run, f"{pending.source} {pending.id}")
        return rules.attempt(run)

    def _refused(self, run: RuleRun, pending: Pending, refusal: Refusal) -> None:
        text = f"{pending.source} {pending.id}: {refusal.text}"
        told = replace(refusal, text=text)
        self.desk.traces.refused(run.plan.name, run.state, told, pending.id)

    def _drop(self, run: RuleRun, pending: Pending, refusal: Refusal) -> None:
        """A message turned out not to be for this rule."""
        self._refused(run, pending, refusal)
        self._clear(run)

    def _lose(self, run: RuleRun, pending: Pending, why: str) -> None:
        """A message's time is over and nothing came of it."""
        desk = self.desk
        self.sources.counts[pending.source].lost += 1
        desk.record(
            "signal_lost", source=pending.source, id=pending.id, rule=run.plan.name, why=why
        )
        text = f"{run.plan.name}: {pending.source} {pending.id} was lost: {why}"
        desk.tell("warn", text, Topic.RULE)
        self._clear(run)

    def _clear(self, run: RuleRun) -> None:
        run.inbox = None
        if run.state is RuleState.PENDING:
            self.desk.rules.unbegin(run)
        self.desk.rules.touch(run.plan.name)

    # -- ending

    def _end(self, run: RuleRun, pending: Pending) -> None:
        """Let a message that is shown end a rule's trade, now or when it can be judged."""
        until, now = run.program.until, self.desk.now
        assert until is not None
        if run.stays:
            self.desk.rules.step(run)
        if run.stays or run.state is RuleState.ENTERING:
            if not until.false(now) and now <= pending.ends:
                self._keep(run, pending)
        elif run.inbox is not None and run.inbox is not pending and until.true(now):
            self._lose(run, run.inbox, f"{pending.id} would end it")

    def _keep(self, run: RuleRun, pending: Pending) -> None:
        if pending not in run.outbox:
            run.outbox = [*run.outbox, pending][-MOST_WAITING:]
            self.desk.rules.touch(run.plan.name)
        self.desk.timers.at(self.desk.now + LOOK_AGAIN, self._look_end, run)

    def _look_end(self, run: RuleRun) -> None:
        """Look again at the messages that may end a trade."""
        if run.outbox and (run.stays or run.state is RuleState.ENTERING):
            self.activated(run)
            if run.outbox:
                self.desk.timers.at(self.desk.now + LOOK_AGAIN, self._look_end, run)

    def activated(self, run: RuleRun) -> None:
        """A trade is active: do what was said while it was entered, or could not be judged."""
        until = run.program.until
        for pending in list(run.outbox):
            if not run.stays or until is None:
                return
            self._show(pending)
            if self.desk.now > pending.ends:
                self._forget(run, pending)
                text = f"{run.plan.name}: {pending.source} {pending.id} could not be judged in time"
                self.desk.tell("warn", text, Topic.RULE)
            elif until.false(self.desk.now):
                self._forget(run, pending)
            else:
                self.desk.rules.step(run)

    def _forget(self, run: RuleRun, pending: Pending) -> None:
        run.outbox = [p for p in run.outbox if p is not pending]
        self.desk.rules.touch(run.plan.name)

    def until_known(self, run: RuleRun) -> bool:
        """Whether `until` can be judged: a healthy source that says nothing says no."""
        until, now = run.program.until, self.desk.now
        assert until is not None
        if until.true(now) or until.false(now):
            return True
        if not self._events_in(run.plan.until):
            return False
        streams = self.desk.rules.streams
        return all(streams[k].state is StreamState.LIVE for k in run.program.until_streams)

    # -- restart

    def take_up(self, run: RuleRun) -> None:
        """Go on with the messages that waited when an earlier run ended."""
        if run.inbox is not None:
            self._again((run, run.inbox))
        if run.outbox:
            self._look_end(run)
