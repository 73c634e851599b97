"""The verb `do`: commands that a rule gives: cancel, reduce, flatten, halt, notify.

Theory of operation. A `do` holds nothing. It waits and fires as any rule does (`for`, `cooldown`,
`max_firings`; armed again by a definite false of `when`, or at once with `rearm: level`), and then
does all its commands in their order. Before the first, all are looked at: while one of them cannot
be given (the run is frozen, positions are kept by the operator's halt, a trade is being reduced
already) none is, and the rule is refused and tried again like an entry.

`reduce` closes a share of what each trade of its subject holds, the legs together in matched
quantities, by the trade's own `close` (`Leaving.keep`). The coarsest leg is rounded so that less is
closed, never more, and sets the share of the others. While it goes on, the trade's `until`, stop
and `max_hold` are watched, and any of them, a halt or a flatten, makes it a close of all.

A trade that is still entering takes nothing more: what rests of it is cancelled, no clip follows,
legs that do not match are only trimmed. When all that is in flight has ended, its share is closed
(`Trade.owed`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from runner.engine.cancels import cancel_order
from runner.engine.checks_order import firing
from runner.engine.codes import Refusal, Why
from runner.engine.commands import Topic
from runner.engine.limits import Mode
from runner.engine.positions import too_little
from runner.engine.rule import HOLDING, RuleState
from runner.engine.timers import SECOND
from runner.spec.rule_plan import Deed, DeedPlan

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.engine.rule import RuleRun
    from runner.engine.trade import Trade

EPSILON = 1e-9
_CLOSES = frozenset({Deed.REDUCE, Deed.FLATTEN})


class Deeds:
    """The commands of all rules with the verb `do`."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def act(self, run: RuleRun) -> Refusal | None:
        """Do all that a rule says, in order; or nothing, with the refusal."""
        desk, plan = self.desk, run.plan
        for deed in plan.do:
            refusal = self._not_now(run, deed)
            if refusal is not None:
                return refusal
        refusal = firing(desk.gate, plan)
        if refusal is not None:
            return refusal
        desk.gate.firings[plan.name].append(desk.now)
        for deed in plan.do:
            done = self._do(run, deed)
            subject = deed.rule or deed.market
            desk.record("did", rule=plan.name, what=deed.what.value, subject=subject, text=done)
        desk.trades.done(run)
        return None

    def _not_now(self, run: RuleRun, deed: DeedPlan) -> Refusal | None:
        limits = self.desk.limits
        if limits.mode is Mode.FROZEN and deed.what not in (Deed.NOTIFY, Deed.HALT):
            return Refusal(Why.FROZEN, f"frozen: {limits.reason}; {deed.what} waits")
        if limits.mode is Mode.KEPT and deed.what in _CLOSES:
            return Refusal(Why.HALTED, f"halted: {limits.reason}; positions are kept")
        if deed.what is Deed.REDUCE:
            for subject in self._subjects(deed):
                owed = subject.trade is not None and run.plan.name in subject.trade.owed
                if owed or subject.reducing:
                    text = f"{subject.plan.name} is {subject.state}; reduce waits"
                    return Refusal(Why.BUSY, text)
        return None

    def _do(self, run: RuleRun, deed: DeedPlan) -> str:
        """Give one command; return what came of it, in words."""
        match deed.what:
            case Deed.CANCEL:
                return self._cancel(deed)
            case Deed.REDUCE:
                return self._reduce(run, deed)
            case Deed.FLATTEN:
                return self._flatten(run, deed)
            case Deed.HALT:
                name = run.plan.name
                text = deed.text or f"halted by the rule {name}"
                self.desk.limits.add(f"do:{name}", Mode.KEPT, "do", text)
                return text
            case Deed.NOTIFY:
                text = self.desk.program.words(deed.parts, run.plan.name, self.desk.now)
                self.desk.tell("page", text, Topic.NOTE)
                return text

    def _subjects(self, deed: DeedPlan) -> Iterator[RuleRun]:
        """Yield the rules with a trade that a command is about."""
        for run in self.desk.rules.runs.values():
            if deed.rule and run.plan.name != deed.rule:
                continue
            if deed.market and all(leg.market != deed.market for leg in run.plan.legs):
                continue
            if run.trade is not None and run.state in HOLDING:
                yield run

    def _cancel(self, deed: DeedPlan) -> str:
        count = 0
        self.desk.rules.groups.working.end_leads(deed.rule, deed.market)
        for order in list(self.desk.orders.entries()):
            intent = order.intent
            if deed.rule not in ("", intent.rule) or deed.market not in ("", intent.market):
                continue
            if not order.terminal and not order.cancel_asked:
                cancel_order(self.desk, order)
                count += 1
        return f"{count} entries cancelled"

    def _flatten(self, run: RuleRun, deed: DeedPlan) -> str:
        rules, name = self.desk.rules, run.plan.name
        if not deed.rule and not deed.market:
            text = f"flattened by the rule {name}"
            self.desk.limits.add(f"do:{name}", Mode.FLATTENED, "flatten", text)
            return text
        for other in rules.runs.values():
            if deed.rule in ("", other.plan.name):
                self.desk.trades.reopen(other)
        subjects = list(self._subjects(deed))
        for subject in subjects:
            self.desk.trades.leave(subject, f"flattened by {name}")
        return f"closing {', '.join(s.plan.name for s in subjects) or 'nothing'}"

    # -- reducing

    def _reduce(self, run: RuleRun, deed: DeedPlan) -> str:
        said = []
        for subject in list(self._subjects(deed)):
            trade = subject.trade
            if trade is None or subject.plan.trade is None or subject.state is RuleState.LEAVING:
                continue
            if subject.state is RuleState.ENTERING:
                trade.owed[run.plan.name] = deed.by
                self.desk.rules.touch(subject.plan.name)
                self.desk.rules.groups.stop_entering(subject)
                said.append(f"{subject.plan.name} enters no further, then by {deed.by:.4g}")
            else:
                said.append(self._close_part(subject, trade, run.plan.name, deed.by))
        return "; ".join(said) or "nothing to reduce"

    def _close_part(self, subject: RuleRun, trade: Trade, who: str, by: float) -> str:
        """Close a share of what a trade holds; return what came of it, in words."""
        name, keep = subject.plan.name, self._kept(trade, by)
        if isinstance(keep, str):
            self.desk.tell("warn", f"{who}: reduce {name}: {keep}", Topic.RULE)
            return f"{name}: {keep}"
        self.desk.trades.reduce(subject, f"reduced by {who}", keep)
        return f"{name} by {by:.4g}"

    def pay(self, run: RuleRun, trade: Trade) -> None:
        """An entry that was stopped has ended: close what was asked for meanwhile."""
        if run.trade is not trade or run.state is not RuleState.ACTIVE or not trade.owed:
            return
        if self.desk.limits.mode in (Mode.KEPT, Mode.FROZEN):
            self.desk.timers.at(self.desk.now + SECOND, self._pay_later, (run, trade))
            return
        by = 1 - math.prod(1 - share for share in trade.owed.values())
        who, trade.owed = ", ".join(trade.owed), {}
        self._close_part(run, trade, who, by)

    def _pay_later(self, subject: tuple[RuleRun, Trade]) -> None:
        self.pay(*subject)

    def _kept(self, trade: Trade, by: float) -> tuple[int, ...] | str:
        """Return the lots of each leg's ledger that stay; or why nothing can be closed."""
        shares = targets(trade, by)
        keep = []
        for leg, target in zip(trade.legs, shares, strict=True):
            taken = leg.filled - target
            if taken <= 0:
                return f"a share of {by:.4g} of {leg.market} is less than a lot"
            if too_little(self.desk, leg, taken):
                return f"a share of {by:.4g} of {leg.market} is under the exchange's minimum"
            keep.append(abs(leg.ledger.lots) - taken)
        return tuple(keep)


def targets(trade: Trade, by: float) -> list[int]:
    """Return the lots that each leg holds when a share of a trade was closed, in step."""
    least = min(leg.share for leg in trade.legs)
    coarse = min(trade.legs, key=lambda leg: leg.planned)
    stays = math.ceil(least * (1 - by) * coarse.planned - EPSILON)
    ratio = stays / coarse.planned
    return [min(leg.filled, round(ratio * leg.planned)) for leg in trade.legs]
