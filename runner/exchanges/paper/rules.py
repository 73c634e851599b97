"""Each exchange's refusals and habits, as data (R-46).

Codes are the exchange's own, from its error documentation; `late` marks what an exchange accepts
first and ends afterwards (Bybit's post-only and fill-or-kill), so that paper tells the same story
as the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from runner.engine.events import End


class Why(StrEnum):
    """Why an order or a cancel is refused."""

    SYMBOL = "symbol"
    CLOSED = "closed"
    DUPLICATE = "duplicate"
    PRICE_LOW = "price_low"
    PRICE_STEP = "price_step"
    QTY_ZERO = "qty_zero"
    QTY_STEP = "qty_step"
    MIN_QTY = "min_qty"
    MAX_QTY = "max_qty"
    MIN_NOTIONAL = "min_notional"
    BAND_HIGH = "band_high"
    BAND_LOW = "band_low"
    BALANCE = "balance"
    REDUCE_ONLY = "reduce_only"
    POST_ONLY = "post_only"
    FOK = "fok"
    MAX_OPEN = "max_open"
    MAX_ARMED = "max_armed"
    TRIGGERED_FALLING = "triggered_falling"
    TRIGGERED_RISING = "triggered_rising"
    NO_ORDER = "no_order"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The code and words of one refusal; `late`: the order is acknowledged, then ended."""

    code: str
    text: str
    late: bool = False


STALE = Refusal("stale_market", "the paper exchange has no valid book of this market")
"""Paper's own: no exchange says this. It never fills on a book that cannot be trusted (R-48)."""


@dataclass(frozen=True, slots=True)
class VenueRules:
    """How one exchange type judges orders.

    `ioc_end`, `ioc_code`: what becomes of an immediate order's rest. `band`: how far past the mark
    a price may be, and how far a market order walks; a ratio. `max_open`: resting orders per
    symbol; `max_armed`: its stops and targets. `reduce_only`: False where the exchange knows no
    such flag. `tier_step`: by how much a fee of the next worse tier is higher, a ratio of the fee,
    for the haircut.
    """

    refusals: Mapping[Why, Refusal]
    ioc_end: End
    ioc_code: str
    band: Decimal
    max_open: int
    max_armed: int = 200
    reduce_only: bool = True
    amends: bool = True
    """price and quantity can be changed in place"""
    amend_keeps_turn: bool = False
    """a change to less at the same price keeps the order's turn"""
    reduce_only_exempt_from_min: bool = False
    maintenance: Decimal = Decimal("0.005")
    tier_step: Decimal = Decimal("0.25")


_BINANCE_USDM = VenueRules(
    refusals={
        Why.SYMBOL: Refusal("-1121", "Invalid symbol."),
        Why.CLOSED: Refusal("-4108", "Symbol is on delivering or delivered or settling or closed."),
        Why.DUPLICATE: Refusal("-4116", "ClientOrderId is duplicated."),
        Why.PRICE_LOW: Refusal("-4013", "Price less than min price."),
        Why.QTY_ZERO: Refusal("-4003", "Quantity less than or equal to zero."),
        Why.PRICE_STEP: Refusal("-4014", "Price not increased by tick size."),
        Why.QTY_STEP: Refusal("-1111", "Precision is over the maximum defined for this asset."),
        Why.MIN_QTY: Refusal("-4004", "Quantity less than min quantity."),
        Why.MAX_QTY: Refusal("-4005", "Quantity greater than max quantity."),
        Why.MIN_NOTIONAL: Refusal("-4164", "Order's notional is too small."),
        Why.BAND_HIGH: Refusal("-4016", "Limit price can't be higher than the price band."),
        Why.BAND_LOW: Refusal("-4024", "Limit price can't be lower than the price band."),
        Why.BALANCE: Refusal("-2019", "Margin is insufficient."),
        Why.REDUCE_ONLY: Refusal("-2022", "ReduceOnly Order is rejected."),
        Why.POST_ONLY: Refusal("-5022", "Post Only order will be rejected."),
        Why.FOK: Refusal("-5021", "FOK order could not be filled immediately."),
        Why.MAX_OPEN: Refusal("-2025", "Reach max open order limit."),
        Why.MAX_ARMED: Refusal("-4045", "Reach max stop order limit."),
        Why.TRIGGERED_FALLING: Refusal("-2021", "Order would immediately trigger."),
        Why.TRIGGERED_RISING: Refusal("-2021", "Order would immediately trigger."),
        Why.NO_ORDER: Refusal("-2011", "Unknown order sent."),
    },
    ioc_end=End.EXPIRED,
    ioc_code="EXPIRED",
    band=Decimal("0.05"),
    max_open=200,
    reduce_only_exempt_from_min=True,
)

_BYBIT_LINEAR = VenueRules(
    refusals={
        Why.SYMBOL: Refusal("10001", "params error: symbol invalid"),
        Why.CLOSED: Refusal("110023", "Only closing orders are allowed."),
        Why.DUPLICATE: Refusal("110072", "OrderLinkedID is duplicate"),
        Why.PRICE_LOW: Refusal("10001", "params error: price invalid"),
        Why.QTY_ZERO: Refusal("10001", "params error: qty invalid"),
        Why.PRICE_STEP: Refusal("10001", "params error: Price invalid"),
        Why.QTY_STEP: Refusal("10001", "params error: Qty invalid"),
        Why.MIN_QTY: Refusal("10001", "The number of contracts is below the minimum limit."),
        Why.MAX_QTY: Refusal("10001", "The number of contracts exceeds the maximum limit."),
        Why.MIN_NOTIONAL: Refusal("110094", "Order does not meet minimum order value"),
        Why.BAND_HIGH: Refusal("110003", "Order price exceeds the allowable range."),
        Why.BAND_LOW: Refusal("110003", "Order price exceeds the allowable range."),
        Why.BALANCE: Refusal("110007", "ab not enough for new order"),
        Why.REDUCE_ONLY: Refusal("110017", "current position is zero or same side, reduce-only"),
        Why.POST_ONLY: Refusal("EC_PostOnlyWillTakeLiquidity", "", late=True),
        Why.FOK: Refusal("EC_NoImmediateQtyToFill", "", late=True),
        Why.MAX_OPEN: Refusal("110020", "Not allowed to have more than 500 active orders"),
        Why.MAX_ARMED: Refusal("110009", "The number of stop orders exceeds the maximum limit"),
        Why.TRIGGERED_FALLING: Refusal("110093", "expect Falling, but trigger_price >= current"),
        Why.TRIGGERED_RISING: Refusal("110092", "expect Rising, but trigger_price <= current"),
        Why.NO_ORDER: Refusal("110001", "order not exists or too late to cancel"),
    },
    ioc_end=End.CANCELED,
    ioc_code="EC_NoImmediateQtyToFill",
    band=Decimal("0.05"),
    max_open=500,
    max_armed=10,
    amend_keeps_turn=True,
)

_BINANCE_SPOT = VenueRules(
    refusals={
        Why.SYMBOL: Refusal("-1121", "Invalid symbol."),
        Why.CLOSED: Refusal("-2010", "Market is closed."),
        Why.DUPLICATE: Refusal("-2010", "Duplicate order sent."),
        Why.PRICE_LOW: Refusal("-1013", "Filter failure: PRICE_FILTER"),
        Why.QTY_ZERO: Refusal("-1013", "Filter failure: LOT_SIZE"),
        Why.PRICE_STEP: Refusal("-1013", "Filter failure: PRICE_FILTER"),
        Why.QTY_STEP: Refusal("-1013", "Filter failure: LOT_SIZE"),
        Why.MIN_QTY: Refusal("-1013", "Filter failure: LOT_SIZE"),
        Why.MAX_QTY: Refusal("-1013", "Filter failure: LOT_SIZE"),
        Why.MIN_NOTIONAL: Refusal("-1013", "Filter failure: NOTIONAL"),
        Why.BAND_HIGH: Refusal("-1013", "Filter failure: PERCENT_PRICE_BY_SIDE"),
        Why.BAND_LOW: Refusal("-1013", "Filter failure: PERCENT_PRICE_BY_SIDE"),
        Why.BALANCE: Refusal("-2010", "Account has insufficient balance for requested action."),
        Why.REDUCE_ONLY: Refusal("-1106", "Parameter 'reduceOnly' sent when not required."),
        Why.POST_ONLY: Refusal("-2010", "Order would immediately match and take."),
        Why.FOK: Refusal("EXPIRED", "", late=True),
        Why.MAX_OPEN: Refusal("-1013", "Filter failure: MAX_NUM_ORDERS"),
        Why.MAX_ARMED: Refusal("-1013", "Filter failure: MAX_NUM_ALGO_ORDERS"),
        Why.TRIGGERED_FALLING: Refusal("-2010", "Stop price would trigger immediately."),
        Why.TRIGGERED_RISING: Refusal("-2010", "Stop price would trigger immediately."),
        Why.NO_ORDER: Refusal("-2011", "Unknown order sent."),
    },
    ioc_end=End.EXPIRED,
    ioc_code="EXPIRED",
    band=Decimal("0.2"),
    max_open=200,
    reduce_only=False,
    amends=False,
)

RULES: Mapping[str, VenueRules] = {
    "binance_usdm": _BINANCE_USDM,
    "binance_spot": _BINANCE_SPOT,
    "bybit_linear": _BYBIT_LINEAR,
}
