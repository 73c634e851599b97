"""The plan of the limits: what an order, a position, the account and a day may come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from runner.lang.tree import Expr
from runner.spec.parts import FIRINGS, Quantity, Rate


@dataclass(frozen=True, slots=True)
class DailyLoss:
    """The loss at which the day is over; `day_start_ns` is the offset of the day from 00:00 UTC."""

    amount: Quantity
    then: str = "halt"
    day_start_ns: int = 0


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The loss from the highest value that trips the run; `rest_ns` ends a pause by itself."""

    amount: Quantity
    then: str = "halt"
    rest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class LosingStreak:
    """So many losing trades in a row trip the run."""

    trades: int
    then: str = "pause"
    rest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class BreakerPlan:
    """A condition that trips the run when it is definitely true for `for_ns`."""

    when: Expr
    when_text: str
    for_ns: int = 0
    then: str = "pause"
    rest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Spend:
    """What purchases on spot may cost within `per_ns`, whenever that begins."""

    amount: Quantity
    per_ns: int


@dataclass(frozen=True, slots=True)
class RiskPlan:
    """The limits. Maps are by market name, `max_net_position` by base asset."""

    max_order: Quantity | None
    max_order_by_market: Mapping[str, Quantity]
    max_position: Mapping[str, Quantity]
    max_orders: Rate | None
    max_daily_loss: DailyLoss | None
    max_net_position: Mapping[str, Decimal]
    max_exposure: Mapping[str, Quantity]
    """by `all`, an exchange's or a base asset's name"""
    max_open_orders: Mapping[str, int]
    price_collar: float = 0.01
    max_firings: Rate = FIRINGS
    same_order_within_ns: int = 50_000_000
    max_drawdown: Drawdown | None = None
    max_losing_streak: LosingStreak | None = None
    breakers: tuple[BreakerPlan, ...] = ()
    max_leverage: Mapping[str, float] = field(default_factory=dict)
    """by exchange: the largest exposure of its perpetuals over its equity"""
    min_free_margin: float | None = None
    max_spend: Spend | None = None
    max_open_trades: int | None = None
