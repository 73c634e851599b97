"""The run's state and the loss of the day (trading.md, section 5; R-38, R-39).

Theory of operation. The state is the gravest of its causes, each under a key of its own:

    ACTIVE < REDUCING < PAUSED < KEPT < HALTED < FLATTENED < FROZEN

REDUCING goes when its cause goes, PAUSED by `resume` or after its rest, the others by `resume`.
KEPT is the operator's halt: positions stay. HALTED and FLATTENED close all trades, paired. All of
them but PAUSED cancel our own working entries. FROZEN cancels all that rests, stops and targets
excepted, for nobody would follow it, and sends nothing else. A lead that rests is cancelled by
PAUSED too: its partners could not follow.

Loss of the day = value at the day's start - value now; value = all that is realised, less fees,
with funding, and what closing everything that is open would bring now, after fees. It is computed
on every fill and on every book or mark event of a market that is held. A leg without a live book is
valued by its partner's move since both were last live together; alone it keeps its last price and
the loss is uncertain: no new risk, and no halt by it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf, nan
from typing import TYPE_CHECKING, Any, Final

from runner.engine.cancels import cancel_order
from runner.engine.commands import RunState, Topic
from runner.engine.timers import NEVER, SECOND

if TYPE_CHECKING:
    from runner.engine.desk import Desk, Listed
    from runner.engine.ledger import Ledger

DAY: Final = 86_400 * SECOND
TELL_UNCERTAIN: Final = 10 * SECOND
REJECTS_PER_MINUTE: Final = 10
UNKNOWNS: Final = 5


class Mode(StrEnum):
    """The run's state, in order of gravity."""

    ACTIVE = "active"
    REDUCING = "reducing"
    PAUSED = "paused"
    KEPT = "halted_kept"
    HALTED = "halted"
    FLATTENED = "flattened"
    FROZEN = "frozen"

    @property
    def shown(self) -> str:
        """The name the operator knows."""
        return "halted" if self is Mode.KEPT else self.value


_GRAVITY: Final = {mode: i for i, mode in enumerate(Mode)}
CANCELS: Final = frozenset({Mode.REDUCING, Mode.KEPT, Mode.HALTED, Mode.FLATTENED, Mode.FROZEN})
CLOSES: Final = frozenset({Mode.HALTED, Mode.FLATTENED})
AWAY: Final = "exchange:"
"""before an exchange's name: the key of the cause that it takes no new risk"""
STOP: Final = "stop"
"""the cause that is the end of the run by `--for` or a signal"""
STICKY: Final = frozenset({Mode.KEPT, Mode.HALTED, Mode.FLATTENED, Mode.FROZEN})
_TOPICS: Final = {"auth": Topic.AUTH, "journal": Topic.JOURNAL, "disk": Topic.JOURNAL}
"""codes of lasting causes that have a topic of their own"""
MODES: Final = {"halt": Mode.HALTED, "freeze": Mode.FROZEN, "pause": Mode.PAUSED}
"""what `then` of a limit says"""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the run is not active. `until` is monotonic ns."""

    mode: Mode
    code: str
    text: str
    until: int = NEVER


class Hold:
    """One ledger that is not flat, as it is valued."""

    __slots__ = ("common", "ledger", "listed", "live", "lot_base", "mid", "price")

    def __init__(self, ledger: Ledger, listed: Listed) -> None:
        self.ledger = ledger
        self.listed = listed
        self.mid = nan
        """the last live mid"""
        self.common = nan
        """the mid when all markets of the trade were last live together"""
        self.price = nan
        self.live = False
        self.lot_base = listed.instrument.lot_base_f

    def look(self) -> bool:
        """Take the price that closes it now; False when the book is not live."""
        self.price = price = closing_price(self.listed, self.ledger.lots)
        self.live = live = price == price
        if live:
            self.mid = self.listed.mid()
        return live

    def worth(self, price: float) -> float:
        """Return what closing at `price` would bring, after its fee."""
        lots, base = self.ledger.lots, self.lot_base
        fee = abs(lots) * base * price * self.listed.instrument.fees.taker
        return (price - self.ledger.entry) * lots * base - fee


class Limits:
    """Run state and daily loss."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.mode = Mode.ACTIVE
        self.reason = ""
        self.code = ""
        self.causes: dict[str, Cause] = {}
        self.day = 0
        """which day it is, counted from the epoch, by the plan's day start"""
        self.day_start = 0.0
        """value at the start of the day"""
        self.value = 0.0
        self.uncertain = ""
        """markets whose price is not known; empty when the loss is certain"""
        self._uncertain_since = -1
        self._holds: dict[tuple[str, str], Hold] = {}
        self._held: list[list[Hold]] = []
        """what is held now, by rule"""
        self._settled = 0.0
        plan = desk.plan.risk.max_daily_loss
        self._limit = float(plan.amount.value) if plan is not None else inf
        self._rejects: deque[int] = deque()
        self._started = False
        self.carried = 0.0
        """settled by rules that the file does not have any more"""
        self._blind_roll = False
        """the day began while a price was missing: its start is valued when all are known"""

    @property
    def day_loss(self) -> float:
        """Loss of the day, positive when lost, in quote."""
        return self.day_start - self.value

    # -- the state

    def add(self, key: str, mode: Mode, code: str, text: str, until: int = NEVER) -> None:
        """Add a cause (or replace the one of this key) and take its consequences."""
        old = self.causes.get(key)
        if old is not None and (old.mode, old.code) == (mode, code):
            return
        self.causes[key] = Cause(mode, code, text, until)
        self._watch_rest(key, until)
        self.settle()
        if mode in CANCELS:
            self.cancel_entries()
        elif mode is Mode.PAUSED:
            self.desk.rules.groups.working.call_back()
        if mode in CLOSES:
            self.desk.trades.leave_all(code)

    def drop(self, key: str) -> None:
        """Take a cause away."""
        if self.causes.pop(key, None) is not None:
            self.settle()

    def resume(self) -> None:
        """Take away what the operator may: everything but causes that still stand by themselves."""
        for key, cause in list(self.causes.items()):
            if cause.mode in STICKY or cause.mode is Mode.PAUSED:
                del self.causes[key]
        self.settle()
        self.desk.trips.lifted()

    def cancel_entries(self) -> None:
        """Cancel all our working entries."""
        for order in list(self.desk.orders.entries()):
            if not order.terminal and not order.cancel_asked:
                cancel_order(self.desk, order)

    def on_reject(self) -> None:
        """Count a reject; more than ten a minute pause the run (R-39)."""
        now = self.desk.now
        self._rejects.append(now)
        while self._rejects and now - self._rejects[0] > 60 * SECOND:
            self._rejects.popleft()
        if len(self._rejects) > REJECTS_PER_MINUTE:
            text = f"rejects: {len(self._rejects)} / {REJECTS_PER_MINUTE} per minute"
            self.add("rejects", Mode.PAUSED, "rejects", text)

    def on_unknown(self, count: int) -> None:
        """More than five orders in doubt pause the run (R-39)."""
        if count > UNKNOWNS:
            self.add("unknowns", Mode.PAUSED, "unknowns", f"unknown orders: {count} / {UNKNOWNS}")

    def settle(self) -> None:
        """Derive the state from the causes; say so when it changed."""
        gravest = max(self.causes.values(), key=lambda c: _GRAVITY[c.mode], default=None)
        mode = gravest.mode if gravest else Mode.ACTIVE
        code = gravest.code if gravest else ""
        self.reason = gravest.text if gravest else ""
        if (mode, code) == (self.mode, self.code):
            return
        thawed = self.mode is Mode.FROZEN and mode is not Mode.FROZEN
        self.mode, self.code = mode, code
        self.desk.emit(RunState(state=mode.shown, code=code, text=self.reason))
        self.desk.rules.touch_run()
        if mode is Mode.PAUSED and gravest is not None and code != STOP:
            level = "page" if gravest.until == NEVER else "warn"
            self.desk.tell(level, f"paused: {self.reason}", Topic.PAUSE)
        if mode in STICKY and code != STOP:
            topic = _TOPICS.get(code, Topic.FREEZE if mode is Mode.FROZEN else Topic.HALT)
            self.desk.tell("page", f"{mode.shown}: {self.reason}", topic)
        if thawed:
            self.desk.rules.guards.thawed()

    def take_over(self, key: str, cause: Cause) -> None:
        """Take a cause over from an earlier run; a rest goes on where it was."""
        self.causes[key] = cause
        self._watch_rest(key, cause.until)

    def _watch_rest(self, key: str, until: int) -> None:
        if until != NEVER:
            self.desk.timers.at(max(until, self.desk.now), self._rested, key)

    def _rested(self, key: str) -> None:
        cause = self.causes.get(key)
        if cause is None or cause.until > self.desk.now:
            return
        rest = self.desk.trips.rest_again(key)
        if rest is None:
            self.drop(key)
            self.desk.trips.lifted()
            self.desk.rules.touch_run()
        else:
            self.take_over(key, replace(cause, until=self.desk.now + rest))
            self.desk.rules.touch_run()

    # -- the day

    def start_day(self) -> None:
        """Set the timer of the day's end; called with the first event's wall time known."""
        plan = self.desk.plan.risk.max_daily_loss
        offset = plan.day_start_ns if plan is not None else 0
        today = (self.desk.wall - offset) // DAY
        if not self._started:
            self._started = True
            if self.day == 0:
                self.day = today
        if today > self.day:
            self.evaluate()
            self.day = today
            self._begin_day()
        next_day = (today + 1) * DAY + offset
        self.desk.timers.at(self.desk.now + next_day - self.desk.wall, self._day_over, None)

    def _begin_day(self) -> None:
        """Start the day's loss at nothing; without prices, once more when they are there."""
        self._blind_roll = bool(self.uncertain) and not self._blind_roll
        self.day_start = self.value
        self.desk.record("day", day=self.day, start=self.day_start)
        self.desk.rules.touch_run()

    def _day_over(self, _: Any) -> None:
        self.start_day()

    def evaluate(self) -> None:
        """Value everything after fills, fees or funding moved, and halt at the day's limit."""
        held: dict[str, list[Hold]] = {}
        self._settled = self.carried
        for ledger in self.desk.ledgers:
            self._settled += ledger.settled_pnl
            if ledger.lots:
                key = (ledger.rule, ledger.market)
                hold = self._holds.get(key)
                if hold is None:
                    hold = self._holds[key] = Hold(ledger, self.desk.markets[ledger.market])
                hold.lot_base = hold.listed.instrument.lot_base_f
                held.setdefault(ledger.rule, []).append(hold)
        self._held = list(held.values())
        self.revalue()

    def revalue(self) -> None:
        """Value what is held at the prices of this event, and halt at the day's limit."""
        value, uncertain = self._settled, ""
        for holds in self._held:
            live = True
            for hold in holds:
                live = hold.look() and live
            if live:
                for hold in holds:
                    hold.common = hold.mid
            for hold in holds:
                price = hold.price if hold.live else _by_partner(hold, holds)
                if price != price:
                    uncertain = hold.listed.name
                    price = hold.mid if hold.mid == hold.mid else hold.ledger.entry
                value += hold.worth(price)
        self.value = value
        if value != value:
            uncertain = uncertain or "some ledger"
        if self._blind_roll and not uncertain:
            self._begin_day()
        if uncertain or self.uncertain:
            self._note_uncertain(uncertain)
        if uncertain:
            return
        self.desk.trips.valued(value)
        if self._limit <= self.day_start - value:
            self._trip()

    def _trip(self) -> None:
        plan = self.desk.plan.risk.max_daily_loss
        if plan is not None and "max_daily_loss" not in self.causes:
            text = f"loss of the day {self.day_loss:.8g} / {plan.amount.value} {plan.amount.unit}"
            self.add("max_daily_loss", MODES[plan.then], "max_daily_loss", text)

    def _note_uncertain(self, uncertain: str) -> None:
        if uncertain and not self.uncertain:
            self._uncertain_since = self.desk.now
            since = self._uncertain_since
            self.desk.timers.at(since + TELL_UNCERTAIN, self._tell_uncertain, since)
        self.uncertain = uncertain

    def _tell_uncertain(self, since: int) -> None:
        if self.uncertain and self._uncertain_since == since:
            self.desk.tell(
                "page",
                f"loss of the day uncertain for 10s: no price of {self.uncertain}",
                Topic.MARKET,
            )


def _by_partner(hold: Hold, holds: list[Hold]) -> float:
    """Return a dead leg's price by the move of a live one since both were live; NaN alone."""
    for other in holds:
        if other.live and other.common == other.common:
            return hold.common * other.mid / other.common
    return nan


def closing_price(listed: Listed, lots: int) -> float:
    """Return the average price of closing `lots` now: by the levels, else the touch, else NaN."""
    book = listed.book
    if book is None:
        return nan
    buy = lots < 0
    base = abs(lots) * listed.instrument.lot_base_f
    touch, there = (book.ask, book.ask_qty) if buy else (book.bid, book.bid_qty)
    if base <= there or touch != touch:
        return touch
    price = book.fill_price(buy, base, nan)
    return price if price == price else touch
