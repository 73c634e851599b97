"""Cells: what generated code reads besides the market streams.

The engine owns and fills them; `lang` only says where a name of the file is found. A number that
is not known is NaN. Ratios are plain floats (15 bps is 0.0015), durations seconds, `now` is the
engine's monotonic nanoseconds.
"""

from __future__ import annotations

from math import nan


class AccountCell:
    """`account.X.*`; `margin_used` is maintenance margin / margin balance."""

    __slots__ = ("equity", "margin_used")

    def __init__(self) -> None:
        self.equity = nan
        self.margin_used = nan


class PositionCell:
    """`position.M.*` of this strategy: base amount signed, entry price.

    `account_qty` is the account's own position there, whoever made it.
    """

    __slots__ = ("account_qty", "entry", "open_orders", "qty")

    def __init__(self) -> None:
        self.qty = 0.0
        self.entry = nan
        self.account_qty = nan
        self.open_orders = 0.0

    def notional(self, now: int) -> float:
        """Value of the position at the price that would close it; NaN when the book is missing."""
        return nan

    def liq_gap(self, now: int) -> float:
        """Distance of the mid to the liquidation price, as a ratio; NaN without one or without a
        live book."""
        return nan

    def pnl(self, now: int) -> float:
        """Unrealised profit at the price that would close it, in quote."""
        return nan


class RuleCell:
    """`this.*` and `rule.R.*`: the trade a rule holds; methods give NaN when it holds none."""

    __slots__ = ("active", "cost", "entered")

    def __init__(self) -> None:
        self.active = False
        self.cost = nan
        """fees of opening and closing all legs, as a ratio of one leg's notional"""
        self.entered: list[float] = []
        """values of the rule's `entered(x)` expressions, frozen when the trade was approved"""

    def age(self, now: int) -> float:
        """Seconds since the entry was approved."""
        return nan

    def qty(self, now: int) -> float:
        """Base amount held on the first leg, unsigned."""
        return nan

    def pnl(self, now: int) -> float:
        """Profit of the rule today, realised and unrealised, net of fees, in quote."""
        return nan

    def exit_pnl(self, now: int) -> float:
        """What closing now would leave of this trade, net of all fees and funding, in quote."""
        return nan

    def exit_return(self, now: int) -> float:
        """`exit_pnl` as a ratio of one leg's notional at entry."""
        return nan


class ClockCell:
    """The wall time of the present event, ns since the epoch; 0 while it is not known."""

    __slots__ = ("wall",)

    def __init__(self) -> None:
        self.wall = 0


class PnlCell:
    """`pnl.day`: profit of the day of the whole strategy, in quote."""

    __slots__ = ()

    def day(self, now: int) -> float:
        return nan
