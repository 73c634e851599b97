"""From a plan to what codecs and market state want to know."""

from __future__ import annotations

from runner.exchanges.api import MarketBinding, Want
from runner.market.state import StreamWant
from runner.spec.plan import Plan, StreamKind


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


def stream_wants(plan: Plan) -> list[StreamWant]:
    """Return the streams the market state keeps."""
    return [
        StreamWant(
            key=stream.key,
            market=stream.market,
            exchange=plan.markets[stream.market].exchange,
            kind=stream.kind.value,
            max_age_ns=stream.max_age_ns,
            every_ns=stream.every_ns,
            deep=stream.kind is StreamKind.BOOK,
        )
        for stream in plan.streams.values()
    ]
