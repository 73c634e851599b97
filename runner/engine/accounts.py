"""What we know of each exchange: readiness, clock, balances, positions, rate budgets.

The exchange's positions are compared with the ledgers at quiescent points only: no order of the
symbol unsettled, and `GRACE` passed since the last fill and the last word of the exchange, because
the two travel on different roads. A difference that stands is asked about (`Reconcile`); one that
a whole picture confirms makes the symbol REDUCING, and after `FREEZE_AFTER` freezes the run (R-39).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from runner.engine.events import (
    Account,
    Balance,
    Budget,
    ClockReading,
    Position,
    Readiness,
    Ready,
)
from runner.engine.timers import MS, SECOND
from runner.lang.cells import AccountCell

CLOCK_UNCERTAINTY: Final = 100 * MS
CLOCK_STEP: Final = 250 * MS
CLOCK_MAX_AGE: Final = 300 * SECOND
GRACE: Final = 1 * SECOND
FREEZE_AFTER: Final = 60 * SECOND
NO_TIME: Final = -(1 << 62)


@dataclass(slots=True)
class ExchangeClock:
    """The last time sync of an exchange (R-06). Times in ns."""

    offset: int = 0
    uncertainty: int = 0
    at: int = NO_TIME
    stepped: int = 0
    """by how much the last reading moved against the one before"""
    ok: bool = False
    """whether who measures relies on it: until the next reading that he does, nobody may"""

    def read(self, reading: ClockReading) -> None:
        """Take a reading; one that is not good leaves the time of the last good one as it was."""
        self.stepped = abs(reading.offset - self.offset) if self.at != NO_TIME else 0
        self.offset, self.uncertainty, self.ok = reading.offset, reading.uncertainty, reading.ok
        if reading.ok:
            self.at = reading.t


@dataclass(slots=True)
class Held:
    """A position as the exchange told it, in lots, and when."""

    lots: int = 0
    at: int = NO_TIME
    entry: float = float("nan")
    liquidation: float = 0.0


_NOTHING: Final = Held()


@dataclass(slots=True)
class Venue:
    """One exchange of the file."""

    name: str
    cell: AccountCell
    state: Readiness = Readiness.STARTING
    reason: str = ""
    was_ready: bool = False
    ready_at: int = NO_TIME
    """when it was last known to be ready"""
    outage_told: int = NO_TIME
    """`ready_at` of the outage that was told last"""
    facts: set[str] = field(default_factory=set)
    """markets whose facts the exchange has told"""
    clock: ExchangeClock = field(default_factory=ExchangeClock)
    free: dict[str, float] = field(default_factory=dict)
    bound: dict[str, float] = field(default_factory=dict)
    """what of a balance was not free: margin, orders, open losses"""
    totals: dict[str, float] = field(default_factory=dict)
    """balances, what orders hold back included"""
    told_at: int = NO_TIME
    """when balances were last told"""
    spent: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """when and how much margin and money fills took since the exchange last told the balance"""
    held: dict[str, Held] = field(default_factory=dict)
    """by symbol"""
    heard: bool = False
    """an account picture has come"""
    full_at: int = NO_TIME
    """when the last whole picture of the account was asked for: what it did not name is zero"""
    others_wait: Mapping[str, int] = field(default_factory=dict)
    """symbol -> stops and targets of others, in the last whole picture"""
    budgets: dict[str, Budget] = field(default_factory=dict)
    picture_at: int = NO_TIME
    """when the last whole picture (`Reconciled`) was begun"""

    @property
    def takes_orders(self) -> bool:
        """Whether a reducing order may be sent: the channel is up, books perhaps still merging."""
        return self.state in (Readiness.READY, Readiness.RECONCILING) and self.was_ready

    def on_ready(self, event: Ready) -> None:
        """Change readiness."""
        if self.state is Readiness.READY or event.state is Readiness.READY:
            self.ready_at = event.t
        self.was_ready = self.was_ready or event.state is Readiness.READY
        self.state, self.reason = event.state, event.reason

    def on_account(
        self, event: Account, margin: Callable[[Position], tuple[str, float]], at: int | None = None
    ) -> None:
        """Take balances and positions; in a full picture what is absent is zero.

        `at` is when the question left, for an answer: what was filled since may not be in it.
        `margin` gives (asset, what one lot of a position takes of it), for streams that do not tell
        what is free of a balance.
        """
        at = event.t if at is None else at
        self.heard = True
        if event.full:
            self.full_at = at
            self.free.clear()
            self.bound.clear()
            self.totals.clear()
            for symbol, held in self.held.items():
                self.held[symbol] = Held(0, at, held.entry)
        self.told_at = max(self.told_at, at)
        for told in [] if event.full else event.positions:
            asset, each = margin(told)
            more = abs(told.lots) - abs(self.held.get(told.symbol, _NOTHING).lots)
            self.bound[asset] = self.bound.get(asset, 0.0) + more * each
        for balance in event.balances:
            self._on_balance(balance, at)
        for told in event.positions:
            self.held[told.symbol] = Held(told.lots, at, told.entry, told.liquidation)
        if event.equity is not None:
            self.cell.equity = event.equity
        if event.margin_used is not None:
            self.cell.margin_used = event.margin_used

    def _on_balance(self, balance: Balance, at: int) -> None:
        """Take one balance. What was bound of it stays bound where the word does not say.

        What was spent since `at` may not be in it.
        """
        asset, total = balance.asset, balance.total
        self.totals[asset] = total
        if balance.free is not None:
            self.free[asset], self.bound[asset] = balance.free, total - balance.free
        elif asset in self.free:
            self.free[asset] = total - self.bound[asset]
        else:
            return  # never told: nothing is free
        later = [each for each in self.spent.pop(asset, ()) if each[0] > at]
        if later:
            self.spent[asset] = later

    def position(self, symbol: str) -> Held | None:
        """Return the exchange's last word on a position; None when it has not spoken yet."""
        held = self.held.get(symbol)
        if held is None and self.full_at != NO_TIME:
            held = Held(0, self.full_at)
        return held

    def available(self, asset: str) -> float | None:
        """Return what is free of an asset for new orders; None when the exchange never told."""
        free = self.free.get(asset)
        if free is None:
            return 0.0 if self.heard else None
        return free - sum(amount for _, amount in self.spent.get(asset, ()))

    def spend(self, asset: str, amount: float, t: int) -> None:
        """Count what a fill took at `t` until the exchange tells a younger balance."""
        self.spent.setdefault(asset, []).append((t, amount))
