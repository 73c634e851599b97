"""From a plan to what codecs and market state want to know."""

from __future__ import annotations

from runner.exchanges.api import MarketBinding, Want
from runner.spec.plan import Plan


def bindings_of(plan: Plan, exchange: str) -> list[MarketBinding]:
    """Return the markets of one exchange with their symbols."""
    return [
        MarketBinding(market.name, market.symbol, market.instrument)
        for market in plan.markets.values()
        if market.exchange == exchange
    ]


def wants_of(plan: Plan, exchange: str) -> list[Want]:
    """Return the streams to subscribe at one exchange."""
    return [
        Want(
            market=stream.market,
            symbol=plan.markets[stream.market].symbol,
            kind=stream.kind.value,
            depth=stream.depth,
            every_ns=stream.every_ns,
        )
        for stream in plan.streams.values()
        if plan.markets[stream.market].exchange == exchange
    ]
