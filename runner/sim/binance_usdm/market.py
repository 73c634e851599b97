"""USD-M market data over REST beyond what spot has too: catalogue, mark prices, funding."""

from __future__ import annotations

from typing import Any

from runner.sim.binance_public import Params, instrument_of, whole
from runner.sim.binance_streams import funding_rate
from runner.sim.catalogue import MONEY, Instrument
from runner.sim.venue import FUNDING_EVERY_S, Venue

WEIGHT_PER_MINUTE = 2400
ORDERS_PER_10S = 300
ORDERS_PER_MINUTE = 1200
_MAX_TICKS = 10_000_000


def rate_limits(factor: int) -> list[dict[str, Any]]:
    """Return the limits as the catalogue tells them."""
    limits = (
        ("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_PER_MINUTE),
        ("ORDERS", "MINUTE", 1, ORDERS_PER_MINUTE),
        ("ORDERS", "SECOND", 10, ORDERS_PER_10S),
    )
    return [
        {"rateLimitType": kind, "interval": interval, "intervalNum": n, "limit": limit * factor}
        for kind, interval, n, limit in limits
    ]  # fmt: skip


def exchange_info(venue: Venue, params: Params) -> Any:
    """GET exchangeInfo."""
    return {
        "timezone": "UTC",
        "serverTime": venue.now_ms(),
        "futuresType": "U_MARGINED",
        "rateLimits": rate_limits(venue.terms.limit_factor),
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_symbol(instrument) for instrument in venue.instruments.values()],
    }


def _symbol(instrument: Instrument) -> dict[str, Any]:
    tick = str(instrument.tick)
    return {
        "symbol": instrument.symbol,
        "pair": instrument.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": instrument.price_decimals,
        "quantityPrecision": instrument.qty_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": _filters(instrument, tick),
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT",
                       "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }  # fmt: skip


def _filters(instrument: Instrument, tick: str) -> list[dict[str, Any]]:
    step = instrument.qty(1)
    least = instrument.qty(instrument.min_lots)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "tickSize": tick,
         "maxPrice": instrument.price(_MAX_TICKS)},
        {"filterType": "LOT_SIZE", "stepSize": step, "minQty": least,
         "maxQty": instrument.qty(instrument.max_lots)},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": step, "minQty": least,
         "maxQty": instrument.qty(instrument.max_market_lots)},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
        {"filterType": "MIN_NOTIONAL", "notional": str(instrument.min_notional // MONEY)},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
         "multiplierDecimal": "4"},
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE",
         "notionalLimit": "0"},
    ]  # fmt: skip


def premium_index(venue: Venue, params: Params) -> Any:
    """GET premiumIndex, of one symbol or of all."""

    def one(instrument: Instrument) -> dict[str, Any]:
        venue.refresh(instrument.symbol)
        mark = instrument.price(venue.mark(instrument.symbol))
        return {
            "symbol": instrument.symbol,
            "markPrice": mark,
            "indexPrice": mark,
            "estimatedSettlePrice": mark,
            "lastFundingRate": funding_rate(),
            "interestRate": "0.00010000",
            "nextFundingTime": venue.next_funding_ms(),
            "time": venue.now_ms(),
        }

    if "symbol" in params:
        return one(instrument_of(venue, params))
    return [one(instrument) for instrument in venue.instruments.values()]


def funding_info(venue: Venue, params: Params) -> Any:
    """GET fundingInfo."""
    return [
        {"symbol": symbol, "adjustedFundingRateCap": "0.02000000",
         "adjustedFundingRateFloor": "-0.02000000", "fundingIntervalHours": 8,
         "disclaimer": False}
        for symbol in venue.instruments
    ]  # fmt: skip


def funding_rates(venue: Venue, params: Params) -> Any:
    """GET fundingRate: the last payments of a symbol, oldest first."""
    symbol = instrument_of(venue, params).symbol
    mark = venue.instruments[symbol].price(venue.mark(symbol))
    last = venue.next_funding_ms()
    count, start = whole(params, "limit", 100, 1000), int(params.get("startTime", "0"))
    times = [last - k * FUNDING_EVERY_S * 1000 for k in range(1000, 0, -1)]
    times = [time for time in times if time >= start][:count] if start else times[-count:]
    return [
        {"symbol": symbol, "fundingTime": time, "fundingRate": funding_rate(), "markPrice": mark}
        for time in times
    ]  # fmt: skip
