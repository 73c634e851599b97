"""What Bybit checks of a linear order before it looks at the account, with its codes."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

from runner.sim.bybit.errors import RetError, bad_parameter
from runner.sim.bybit.market import Params, instrument_of, need_linear
from runner.sim.catalogue import Instrument
from runner.sim.matching import Side
from runner.sim.orders import Kind, Order, Refusal, Stp, Tif, Why
from runner.sim.stops import By, Trigger
from runner.sim.venue import Venue

_CID = re.compile(r"^[a-zA-Z0-9_-]{1,36}$")
_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
_KINDS = {"Limit": Kind.LIMIT, "Market": Kind.MARKET}
_TIFS = {"GTC": Tif.GTC, "IOC": Tif.IOC, "FOK": Tif.FOK, "PostOnly": Tif.POST}
_STPS = {"None": Stp.NONE, "": Stp.NONE, "CancelTaker": Stp.EXPIRE_TAKER,
         "CancelMaker": Stp.EXPIRE_MAKER, "CancelBoth": Stp.EXPIRE_BOTH}  # fmt: skip
_TRIGGER_BY = {"MarkPrice": By.MARK, "LastPrice": By.LAST}
_PRICE_BAND = Decimal("0.05")

REFUSALS: dict[Why, tuple[int, str]] = {
    Why.MARGIN: (110007, "ab not enough for new order"),
    Why.REDUCE_ONLY: (110017, "current position is zero, cannot fix reduce-only order qty"),
    Why.POST_ONLY: (110079, "post-only order will be fulfilled immediately"),
    Why.FOK: (110079, "order would not be filled"),
    Why.DUPLICATE: (110072, "OrderLinkedID is duplicate"),
    Why.TOO_MANY_OPEN: (110020, "not allowed to have more than 500 active orders"),
    Why.TOO_MANY_STOPS: (110009, "The number of stop orders exceeds the maximum allowable limit"),
    Why.SAME: (10001, "The order remains unchanged as the parameters entered match the existing "
                      "ones."),
    Why.TRIGGERED: (110092, "expect Rising, but trigger_price <= current"),
    Why.NO_ORDER: (110001, "order not exists or too late to cancel"),
}  # fmt: skip


def refused(refusal: Refusal, order: Order | None = None) -> RetError:
    """Return the error of a venue's refusal."""
    if refusal.why is Why.TRIGGERED and order is not None and order.trigger is not None:
        if order.trigger.rising:
            return RetError(110092, "expect Rising, but trigger_price <= current")
        return RetError(110093, "expect Falling, but trigger_price >= current")
    return RetError(*REFUSALS[refusal.why])


def number(params: Params, name: str) -> Decimal:
    """Return a decimal parameter, which Bybit wants as text."""
    text = params.get(name)
    if text in (None, ""):
        raise bad_parameter(f"{name} is required")
    if not isinstance(text, str):
        raise bad_parameter(f"{name} must be a string")
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value <= 0 or "e" in text.lower():
        raise bad_parameter(f"{name} invalid")
    return value


def lots_of(instrument: Instrument, qty: Decimal, market: bool) -> int:
    """Return a quantity in lots: 10001 off the step or out of bounds."""
    lots = instrument.lots(qty)
    if lots is None:
        raise RetError(10001, "Qty invalid")
    if lots < instrument.min_lots:
        raise RetError(10001, "The number of contracts is below minimum limit allowed")
    if lots > (instrument.max_market_lots if market else instrument.max_lots):
        raise RetError(10001, "The number of contracts exceeds maximum limit allowed: too large")
    return lots


def tick_of(venue: Venue, instrument: Instrument, side: Side, price: Decimal) -> int:
    """Return a price in ticks: 10001 between ticks, 110003 too far from the mark."""
    tick = instrument.ticks(price)
    if tick is None:
        raise RetError(10001, "Price invalid")
    mark = Decimal(venue.mark(instrument.symbol))
    high, low = mark * (1 + _PRICE_BAND), mark * (1 - _PRICE_BAND)
    if (side is Side.BUY and tick > high) or (side is Side.SELL and tick < low):
        raise RetError(110003, "Order price exceeds the allowable range.")
    return tick


def check_value(instrument: Instrument, tick: int, lots: int, reduce_only: bool) -> None:
    """Refuse an order under the minimum value: 110094."""
    if not reduce_only and tick * lots * instrument.value < instrument.min_notional:
        raise RetError(110094, "Order does not meet minimum order value 5USDT")


def choice(params: Params, name: str, choices: dict[str, Any], default: str = "") -> Any:
    """Return one of a parameter's values: 10001 for any other."""
    text = params.get(name) or default
    if not isinstance(text, str) or text not in choices:
        raise bad_parameter(f"{name} invalid")
    return choices[text]


def order_of(venue: Venue, params: Params, external_id: str) -> Order:
    """Build the order a request describes, checked against the symbol's filters."""
    need_linear(params)
    instrument = instrument_of(venue, params)
    venue.refresh(instrument.symbol)
    side: Side = choice(params, "side", _SIDES)
    kind: Kind = choice(params, "orderType", _KINDS)
    if str(params.get("positionIdx", 0)) not in ("0", ""):
        raise RetError(10001, "position idx not match position mode")
    cid = params.get("orderLinkId") or ""
    if cid and not (isinstance(cid, str) and _CID.match(cid)):
        raise bad_parameter("orderLinkId invalid")
    reduce_only = params.get("reduceOnly", False)
    if not isinstance(reduce_only, bool):
        raise bad_parameter("reduceOnly must be a boolean")
    lots = lots_of(instrument, number(params, "qty"), kind is Kind.MARKET)
    tif, tick = Tif.IOC, 0
    if kind is Kind.LIMIT:
        tif = choice(params, "timeInForce", _TIFS, "GTC")
        tick = tick_of(venue, instrument, side, number(params, "price"))
    check_value(instrument, tick or venue.mark(instrument.symbol), lots, reduce_only)
    stp: Stp = choice(params, "smpType", _STPS)
    return Order(
        cid or f"\0{external_id}", instrument, side, kind, tif, tick, lots, reduce_only, stp,
        external_id=external_id, trigger=_trigger(params, instrument),
    )  # fmt: skip


def _trigger(params: Params, instrument: Instrument) -> Trigger | None:
    """Read what makes an order conditional: triggerPrice, triggerDirection, triggerBy."""
    if not params.get("triggerPrice"):
        return None
    tick = instrument.ticks(number(params, "triggerPrice"))
    if tick is None:
        raise RetError(10001, "TriggerPrice invalid")
    direction = str(params.get("triggerDirection", ""))
    if direction not in ("1", "2"):
        raise bad_parameter("triggerDirection invalid")
    by: By = choice(params, "triggerBy", _TRIGGER_BY, "LastPrice")
    return Trigger(tick, by, direction == "1")
