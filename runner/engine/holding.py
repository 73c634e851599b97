"""Watching by timers: `max_hold`, stops, an `until` that stays missing, conditions on ages."""

from __future__ import annotations

from typing import Final

from runner.engine.commands import Topic
from runner.engine.desk import Desk
from runner.engine.limits import CLOSES, Mode
from runner.engine.losses import LOOK
from runner.engine.reading import cell_streams
from runner.engine.rule import RuleRun
from runner.engine.setbacks import moved_outside
from runner.engine.timers import MS, SECOND
from runner.engine.trade import Trade
from runner.market.streams import StreamState

BEAT: Final = 10 * MS
"""how often a condition that changes by time alone is looked at"""
MISSING_LOOK: Final = 10 * SECOND
MISSING_AFTER: Final = 300 * SECOND
TELL_MISSING_AFTER: Final = 30 * SECOND


class Holding:
    """The timers of all active trades."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._told: dict[str, int] = {}
        """rule -> since when its `until` was missing when that was told"""

    def start_beat(self) -> None:
        """Look regularly at the rules whose conditions change by time alone."""
        for run in self.desk.rules.runs.values():
            if run.clocked_when or run.clocked_until:
                self._beat(run)

    def _beat(self, run: RuleRun) -> None:
        clocked = run.clocked_until if run.stays else run.clocked_when
        if clocked:
            self.desk.program.look(self.desk.now)
        if clocked and run.test(self.desk.now):
            self.desk.rules.step(run)
        self.desk.timers.at(self.desk.now + BEAT, self._beat, run)

    def take_up(self, run: RuleRun) -> None:
        """Go on with a trade of an earlier run: leave it, even its legs, or watch it."""
        trade, limits = run.trade, self.desk.limits
        assert trade is not None
        if limits.mode in CLOSES:
            self.desk.trades.leave(run, limits.code)
        elif not trade.failed and not trade.within_gap():
            moved_outside(self.desk, run, "legs apart at the start")
        else:
            self.watch(run)
            self.desk.rules.guards.look(run)
        if run.plan.quote is not None and run.trade is trade:
            self.desk.rules.quoting.watch(run, trade)
            self.desk.rules.look(run)

    def watch(self, run: RuleRun) -> None:
        """Set the timers of an active trade."""
        trade, plan = run.trade, run.plan
        assert trade is not None
        run.missing_since = -1
        if plan.max_hold_ns is not None:
            due = max(trade.t + plan.max_hold_ns, self.desk.now)
            self.desk.timers.at(due, self._held_too_long, (run, trade))
        if plan.until is not None:
            self.desk.timers.at(self.desk.now + MISSING_LOOK, self._look_missing, (run, trade))
        if run.stop is not None:
            run.stop.begin()
            self.desk.timers.at(self.desk.now + LOOK, self._look_stop, (run, trade))

    def _look_stop(self, subject: tuple[RuleRun, Trade]) -> None:
        """Look at a stop while no book brings it news."""
        run, trade = subject
        if run.trade is not trade or not run.held:
            return
        if run.test(self.desk.now):
            self.desk.rules.step(run)
        self.desk.timers.at(self.desk.now + LOOK, self._look_stop, subject)

    def _held_too_long(self, subject: tuple[RuleRun, Trade]) -> None:
        run, trade = subject
        if run.trade is not trade or not run.stays:
            return
        if self.desk.limits.mode in (Mode.KEPT, Mode.FROZEN):
            self.desk.timers.at(self.desk.now + MISSING_LOOK, self._held_too_long, subject)
        else:
            self.desk.trades.leave(run, "max_hold")

    def _look_missing(self, subject: tuple[RuleRun, Trade]) -> None:
        run, trade = subject
        until = run.program.until
        if run.trade is not trade or not run.stays or until is None:
            return
        now = self.desk.now
        if self.desk.rules.triggers.until_known(run):
            run.missing_since = -1
        elif run.missing_since < 0:
            run.missing_since = now
        elif self.desk.limits.mode in (Mode.KEPT, Mode.FROZEN):
            run.missing_since = now  # positions are kept: what follows waits for `resume`
        elif now - run.missing_since >= MISSING_AFTER and run.plan.on_missing != "hold":
            text = f"{run.plan.name}: `until` missing for {MISSING_AFTER // SECOND}s"
            self.desk.tell("page", text, Topic.MARKET)
            if run.plan.on_missing == "halt":
                self.desk.limits.add(f"missing:{run.plan.name}", Mode.HALTED, "missing", text)
            else:
                self.desk.trades.leave(run, "missing")
            return
        elif now - run.missing_since >= TELL_MISSING_AFTER:
            self._tell_missing(run)
        self.desk.timers.at(now + MISSING_LOOK, self._look_missing, subject)

    def _tell_missing(self, run: RuleRun) -> None:
        """Tell, once per outage, that nobody can say whether a trade is to be left."""
        if self._told.get(run.plan.name) == run.missing_since:
            return
        self._told[run.plan.name] = run.missing_since
        streams = self.desk.rules.streams
        keys = (*run.program.until_streams, *cell_streams(self.desk.plan, run.plan))
        away = [f"{k} {streams[k].state}" for k in dict.fromkeys(keys)
                if streams[k].state is not StreamState.LIVE]  # fmt: skip
        why = ", ".join(away) or "a value is missing"
        seconds = TELL_MISSING_AFTER // SECOND
        text = f"{run.plan.name} holds a trade and its `until` is not known for {seconds}s: {why}"
        self.desk.tell("warn", text, Topic.MARKET)
