"""What Binance USD-M checks of an order before it looks at the account, with its exact codes."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from runner.sim.binance_errors import ApiError, missing
from runner.sim.binance_public import Params, instrument_of, side_of
from runner.sim.catalogue import MONEY, Instrument
from runner.sim.matching import Side
from runner.sim.orders import Kind, Order, Refusal, Stp, Tif, Why
from runner.sim.venue import Venue

_CID = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
_MOVED = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
                    "TRAILING_STOP_MARKET"})  # fmt: skip
_TIFS = {"GTC": Tif.GTC, "IOC": Tif.IOC, "FOK": Tif.FOK, "GTX": Tif.POST, "GTD": Tif.GTC}
_STPS = {"NONE": Stp.NONE, "EXPIRE_TAKER": Stp.EXPIRE_TAKER, "EXPIRE_MAKER": Stp.EXPIRE_MAKER,
         "EXPIRE_BOTH": Stp.EXPIRE_BOTH}  # fmt: skip
_PRICE_BAND = Decimal("0.05")

_POST = ("Due to the order could not be executed as maker, the Post Only order will be rejected. "
         "The order will not be recorded in the order history")  # fmt: skip
_FOK = "Due to the order could not be filled immediately, the FOK order has been rejected."
REFUSALS: dict[Why, tuple[int, str]] = {
    Why.MARGIN: (-2019, "Margin is insufficient."),
    Why.REDUCE_ONLY: (-2022, "ReduceOnly Order is rejected."),
    Why.POST_ONLY: (-5022, _POST),
    Why.FOK: (-5021, _FOK),
    Why.DUPLICATE: (-4116, "ClientOrderId is duplicated."),
    Why.TOO_MANY_OPEN: (-2025, "Reach max open order limit."),
    Why.TOO_MANY_STOPS: (-4045, "Reach max stop order limit."),
    Why.SAME: (-5027, "No need to modify the order."),
    Why.TRIGGERED: (-2021, "Order would immediately trigger."),
    Why.NO_ORDER: (-2011, "Unknown order sent."),
}


def refused(refusal: Refusal) -> ApiError:
    """Return the error of a venue's refusal."""
    return ApiError(*REFUSALS[refusal.why])


def number(params: Params, name: str) -> Decimal:
    """Return a mandatory decimal parameter; -1102, -1100."""
    text = params.get(name)
    if not text:
        raise missing(name)
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or "e" in text.lower():
        raise ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is "
                              "'^([0-9]{1,20})(\\.[0-9]{1,20})?$'.")  # fmt: skip
    return value


def _precise(value: Decimal, decimals: int) -> None:
    if value != round(value, decimals):
        raise ApiError(-1111, "Precision is over the maximum defined for this asset.")


def lots_of(instrument: Instrument, qty: Decimal, market: bool) -> int:
    """Return a quantity in lots; -4003, -1111, -4023, -4004, -4005."""
    if qty <= 0:
        raise ApiError(-4003, "Quantity less than or equal to zero.")
    _precise(qty, instrument.qty_decimals)
    lots = instrument.lots(qty)
    if lots is None:
        raise ApiError(-4023, "Qty not increased by step size.")
    if lots < instrument.min_lots:
        raise ApiError(-4004, "Quantity less than min quantity.")
    if lots > (instrument.max_market_lots if market else instrument.max_lots):
        raise ApiError(-4005, "Quantity greater than max quantity.")
    return lots


def tick_of(venue: Venue, instrument: Instrument, side: Side, price: Decimal) -> int:
    """Return a price in ticks; -4013, -1111, -4014, -4016, -4024."""
    if price <= 0:
        raise ApiError(-4013, "Price less than min price.")
    _precise(price, instrument.price_decimals)
    tick = instrument.ticks(price)
    if tick is None:
        raise ApiError(-4014, "Price not increased by tick size.")
    mark = Decimal(venue.mark(instrument.symbol))
    highest, lowest = mark * (1 + _PRICE_BAND), mark * (1 - _PRICE_BAND)
    if side is Side.BUY and tick > highest:
        text = instrument.price(int(highest))
        raise ApiError(-4016, f"Limit price can't be higher than {text}.")
    if side is Side.SELL and tick < lowest:
        raise ApiError(-4024, f"Limit price can't be lower than {instrument.price(int(lowest))}.")
    return tick


def check_notional(instrument: Instrument, tick: int, lots: int, reduce_only: bool) -> None:
    """Refuse an order under the minimum value: -4164."""
    if not reduce_only and tick * lots * instrument.value < instrument.min_notional:
        least = instrument.min_notional // MONEY
        text = f"Order's notional must be no smaller than {least} (unless you choose reduce only)."
        raise ApiError(-4164, text)


def client_id(params: Params, name: str, generated: str) -> str:
    """Return the client id of a new order; -4015."""
    cid = params.get(name)
    if not cid:
        return generated
    if len(cid) > 36:
        raise ApiError(-4015, "Client order id length should be less than 36 chars")
    if not _CID.match(cid):
        raise ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is "
                              "'^[\\.A-Z\\:/a-z0-9_-]{1,36}$'.")  # fmt: skip
    return cid


def order_of(venue: Venue, params: Params, generated: str) -> Order:
    """Build the order a request describes, checked against the symbol's filters."""
    instrument = instrument_of(venue, params)
    venue.refresh(instrument.symbol)
    side = side_of(params)
    kind = _kind(params)
    if params.get("positionSide", "BOTH") != "BOTH":
        raise ApiError(-4061, "Order's position side does not match user's setting.")
    cid = client_id(params, "newClientOrderId", generated)
    reduce_only = _flag(params, "reduceOnly")
    lots = lots_of(instrument, number(params, "quantity"), kind is Kind.MARKET)
    tif, tick = Tif.IOC, 0
    if kind is Kind.LIMIT:
        tif = _tif(params)
        tick = tick_of(venue, instrument, side, number(params, "price"))
    elif params.get("price") or params.get("timeInForce"):
        name = "price" if params.get("price") else "timeInForce"
        raise ApiError(-1106, f"Parameter '{name}' sent when not required.")
    check_notional(instrument, tick or venue.mark(instrument.symbol), lots, reduce_only)
    stp = _STPS.get(params.get("selfTradePreventionMode", "NONE"))
    if stp is None:
        raise ApiError(-1130, "Data sent for parameter 'selfTradePreventionMode' is not valid.")
    extra = {"tif": params.get("timeInForce", "GTC")}
    return Order(cid, instrument, side, kind, tif, tick, lots, reduce_only, stp, extra=extra)


def _kind(params: Params) -> Kind:
    text = params.get("type")
    if not text:
        raise missing("type")
    if text in _MOVED:
        raise ApiError(-4120, "Order type not supported for this endpoint. Please use the Algo "
                              "Order API endpoints instead.")  # fmt: skip
    if text not in ("LIMIT", "MARKET"):
        raise ApiError(-1116, "Invalid orderType.")
    return Kind[text]


def _tif(params: Params) -> Tif:
    text = params.get("timeInForce")
    if not text:
        raise missing("timeInForce")
    if text not in _TIFS:
        raise ApiError(-1115, "Invalid timeInForce.")
    return _TIFS[text]


def _flag(params: Params, name: str) -> bool:
    text = params.get(name, "false")
    if text not in ("true", "false"):
        raise ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")
    return text == "true"
