"""What trips the run besides the loss of the day: drawdown, losing streaks, breakers.

Theory of operation (trading.md, section 5). A trip adds a cause to `limits`, whose mode says what
follows. Each counts anew when its cause is lifted, by `resume` or by the end of a `rest`:

    drawdown   the highest value seen is forgotten at the trip; the first certain value after the
               lifting is the new highest
    streak     the count is zero again at the trip
    breaker    while its condition stays true it trips again at once; a rest is over only when the
               condition is not true any more

Only certain values make or trip a drawdown; only a definite true trips a breaker. A breaker is
looked at before the rules on every event of the streams it reads, so that it comes first.
"""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, Any, Final

from runner.engine.limits import MODES, Mode
from runner.engine.reading import breaker_key
from runner.engine.timers import MS, NEVER
from runner.lang.api import Condition
from runner.spec.risk_plan import BreakerPlan

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.engine.trade import Trade

DAILY_LOSS: Final = "max_daily_loss"
DRAWDOWN: Final = "max_drawdown"
STREAK: Final = "max_losing_streak"
BEAT: Final = 10 * MS
SAVE_PEAK: Final = 0.01
"""of the limit: a rise of the highest value that is worth a row of the journal"""


class Breaker:
    """One condition that trips the run."""

    __slots__ = ("clocked", "condition", "key", "plan", "since", "test")

    def __init__(self, index: int, plan: BreakerPlan, condition: Condition, clocked: bool) -> None:
        self.plan = plan
        self.key = breaker_key(index)
        self.condition = condition
        self.test = condition.true
        self.clocked = clocked
        self.since = -1
        """since when the condition is true; -1: it is not"""


def is_trip(key: str) -> bool:
    """Whether a cause is a limit that tripped; those outlive the process, pauses too."""
    return key in (DAILY_LOSS, DRAWDOWN, STREAK) or key.startswith("breaker:")


class Trips:
    """Drawdown, losing streak and breakers of one strategy."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        risk = desk.plan.risk
        self.peak = 0.0
        """the highest value; NaN: the next certain value begins it anew"""
        self._journaled = 0.0
        """the highest value as the journal has it, within `SAVE_PEAK` of the limit"""
        self.streak = 0
        self.breakers: list[Breaker] = []
        self._drawdown = inf if risk.max_drawdown is None else float(risk.max_drawdown.amount.value)

    @property
    def drawdown(self) -> float:
        """Loss from the highest value; NaN while it is counted anew."""
        return self.peak - self.desk.limits.value

    def bind(self, clocked: dict[str, bool]) -> None:
        """Take the compiled conditions; `clocked` says which change by time alone."""
        for i, plan in enumerate(self.desk.plan.risk.breakers):
            key = breaker_key(i)
            condition = self.desk.program.conditions[key]
            self.breakers.append(Breaker(i, plan, condition, clocked[key]))

    # -- drawdown

    def valued(self, value: float) -> None:
        """Take a certain value of the strategy; trip when it is too far below the highest."""
        plan = self.desk.plan.risk.max_drawdown
        if plan is None or DRAWDOWN in self.desk.limits.causes:
            return
        if not value <= self.peak:  # higher, or the first after a trip was lifted
            self.peak = value
            if not value - self._journaled < SAVE_PEAK * self._drawdown:
                self._journaled = value
                self.desk.rules.touch_run()
        elif self.peak - value >= self._drawdown:
            amount = plan.amount
            text = f"loss from the highest value {self.drawdown:.8g} / {amount.value} {amount.unit}"
            self.peak = self._journaled = nan
            self._trip(DRAWDOWN, DRAWDOWN, plan.then, plan.rest_ns, text)

    def lifted(self) -> None:
        """Begin the highest value anew at what we are worth now, if that is known."""
        limits = self.desk.limits
        if self.peak != self.peak and not limits.uncertain:
            self.valued(limits.value)

    # -- losing streak

    def closed(self, trade: Trade, pnl: float) -> None:
        """Count a trade that ended with something filled; each once, whatever comes late."""
        plan = self.desk.plan.risk.max_losing_streak
        if plan is None or trade.counted:
            return
        trade.counted = True
        self.streak = self.streak + 1 if pnl < 0 else 0
        self.desk.rules.touch_run()
        if self.streak >= plan.trades:
            text = f"losing trades in a row: {self.streak} / {plan.trades}"
            self.streak = 0
            self._trip(STREAK, STREAK, plan.then, plan.rest_ns, text)

    # -- breakers

    def look_all(self) -> None:
        """Look at every breaker: something that no stream tells has changed."""
        for breaker in self.breakers:
            self.look(breaker)

    def look(self, breaker: Breaker) -> None:
        """Follow a breaker's condition; trip when it was true for long enough."""
        now = self.desk.now
        if not breaker.test(now):
            breaker.since = -1
            return
        if breaker.since < 0:
            breaker.since = now
            if breaker.plan.for_ns:
                self.desk.timers.at(now + breaker.plan.for_ns, self._held, breaker)
        if now - breaker.since >= breaker.plan.for_ns:
            self._break(breaker)

    def _held(self, breaker: Breaker) -> None:
        self.look(breaker)

    def _break(self, breaker: Breaker) -> None:
        plan = breaker.plan
        if breaker.key not in self.desk.limits.causes:
            text = f"breaker: {plan.when_text}"
            self._trip(breaker.key, "breaker", plan.then, plan.rest_ns, text)

    def rest_again(self, key: str) -> int | None:
        """Return how long a rest that is over must go on: its breaker's condition is still true."""
        for breaker in self.breakers:
            if breaker.key == key and breaker.test(self.desk.now):
                return breaker.plan.rest_ns
        return None

    def start_beat(self) -> None:
        """Look regularly at the breakers whose conditions change by time alone."""
        if any(breaker.clocked for breaker in self.breakers):
            self._beat(None)

    def _beat(self, _: Any) -> None:
        for breaker in self.breakers:
            if breaker.clocked:
                self.look(breaker)
        self.desk.timers.at(self.desk.now + BEAT, self._beat)

    # -- what outlives the process

    def saved(self) -> dict[str, Any]:
        """Return what the run's row keeps."""
        return {"peak": self.peak, "streak": self.streak}

    def restore(self, row: dict[str, Any]) -> None:
        """Take back what a run's row kept; rows of older versions know nothing of it."""
        peak = row.get("peak", 0.0)
        self.peak = self._journaled = nan if peak is None else peak
        self.streak = row.get("streak", 0)

    def _trip(self, key: str, code: str, then: str, rest: int | None, text: str) -> None:
        mode = MODES[then]
        until = NEVER
        if mode is Mode.PAUSED and rest is not None:
            until = self.desk.now + rest
        self.desk.record("trip", key=key, code=code, mode=mode.value, text=text)
        self.desk.limits.add(key, mode, code, text, until)
