"""One rule at work: its state, its trade, and the one test that a tick calls."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from runner.engine.cost import TradeCell
from runner.engine.losses import LossStop
from runner.engine.reading import entered_keys, reads_time
from runner.engine.sources import Pending
from runner.engine.trade import Trade
from runner.lang.api import RuleProgram
from runner.spec.rule_plan import RulePlan, excludes


class RuleState(StrEnum):
    """Where a rule is."""

    WARMING = "warming"
    IDLE = "idle"
    PENDING = "pending"
    ENTERING = "entering"
    ACTIVE = "active"
    LEAVING = "leaving"
    COOLDOWN = "cooldown"
    DONE = "done"
    DISABLED = "disabled"


HOLDING: Final = frozenset({RuleState.ENTERING, RuleState.ACTIVE, RuleState.LEAVING})
Test = Callable[[int], bool]


def _always(_: int) -> bool:
    return True


def _never(_: int) -> bool:
    return False


class RuleRun:
    """One rule at work."""

    __slots__ = (
        "armed", "cell", "clocked_until", "clocked_when", "cooldown_until", "disabled_why",
        "entered_keys", "entry_streams",
        "identity", "inbox", "last_trade", "missing_since", "opposed", "outbox", "pending_since",
        "plan", "program", "rejects", "retry_at", "state", "stop", "test", "trade", "unguarded",
        "warm_at",
    )  # fmt: skip

    def __init__(self, plan: RulePlan, program: RuleProgram, cell: TradeCell) -> None:
        self.plan = plan
        self.program = program
        self.cell = cell
        self.state = RuleState.WARMING
        self.armed = True
        self.test: Test = _always
        self.trade: Trade | None = None
        self.last_trade: Trade | None = None
        self.pending_since = 0
        self.retry_at = 0
        self.cooldown_until = 0
        self.rejects = 0
        self.unguarded = 0
        """trades in a row that were closed because their stop did not come"""
        self.disabled_why = ""
        self.warm_at = 0
        self.missing_since = -1
        self.stop: LossStop | None = None
        self.opposed: list[RuleRun] = []
        self.entry_streams: tuple[str, ...] = program.when_streams
        """what an entry rests on: all that `when`, size and prices read, and the legs' books"""
        self.clocked_when = reads_time(plan.when)
        self.clocked_until = reads_time(plan.until)
        self.entered_keys = entered_keys(plan)
        self.inbox: Pending | None = None
        """the message it is tried to enter on (`triggers.py`)"""
        self.outbox: list[Pending] = []
        """messages that may end its trade"""
        self.identity = ""
        """how it enters and leaves, for the trades of a later run (`reading.identity`)"""

    def watch(self) -> None:
        """Choose the test of the present state."""
        state, when = self.state, self.program.when
        if self.plan.quote is not None and state in (RuleState.ACTIVE, RuleState.LEAVING):
            self.test = _always
        elif self.plan.trigger is not None and state in (RuleState.IDLE, RuleState.PENDING):
            self.test = _never  # only its trigger starts it
        elif state is RuleState.IDLE:
            self.test = when.true if self.armed else when.false
        elif state in (RuleState.WARMING, RuleState.PENDING):
            self.test = _always
        elif state is RuleState.ACTIVE or self.reducing:
            self.test = self._leaves()
        elif self.resting:
            self.test = _always
        elif state is RuleState.ENTERING and self.stop is not None:
            self.test = self.stop.hit  # what rests may fill for long before it is active
        elif state is RuleState.COOLDOWN and not self.armed:
            self.test = when.false
        else:
            self.test = _never

    @property
    def reducing(self) -> bool:
        """Whether a part of its trade is being closed; the rest stays."""
        leaving = self.trade.leaving if self.trade is not None else None
        return self.state is RuleState.LEAVING and leaving is not None and leaving.keep is not None

    @property
    def resting(self) -> bool:
        """Whether the close of its trade rests at the touch (`leaving_at_rest`)."""
        leaving = self.trade.leaving if self.trade is not None else None
        passive = leaving is not None and leaving.passive
        return self.state is RuleState.LEAVING and passive and self.plan.quote is None

    @property
    def held(self) -> bool:
        """Whether what it holds is guarded on: it stays, or only rests on its way out."""
        return self.stays or self.resting

    @property
    def stays(self) -> bool:
        """Whether its trade is held, and watched: active, or reduced just now."""
        return self.state is RuleState.ACTIVE or self.reducing

    def _leaves(self) -> Test:
        """Return the test of a trade that is held: its `until`, its stop, either."""
        until, stop = self.program.until, self.stop
        if stop is None:
            return until.true if until is not None else _never
        if until is None:
            return stop.hit
        hit, true = stop.hit, until.true
        return lambda now: hit(now) or true(now)


def opposed(a: RuleRun, b: RuleRun) -> bool:
    """Whether two rules can hold opposite sides of one market (language.md, section 4)."""
    return excludes(a.plan, b.plan)
