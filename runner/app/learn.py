"""Ask an exchange for instruments that the catalogue does not have: public, without any key."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal

from runner.app.pacing import Pace
from runner.app.rest import Rest
from runner.base.clock import NS_PER_S, Clock
from runner.base.errors import ExchangeError, UsageError, WorldError
from runner.engine.events import InstrumentFacts
from runner.exchanges.api import MarketBinding
from runner.exchanges.registry import market_codec
from runner.market.instruments import Fees, Instrument
from runner.net.doors import tls_context
from runner.net.http import HttpSession
from runner.spec import catalogue
from runner.spec.learned import Row

QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY")
"""what a symbol may end with, so that base and quote can be told apart"""


async def learn(
    exchange_type: str,
    symbols: Sequence[str],
    network: str,
    clock: Clock,
    endpoints: Mapping[str, str] | None = None,
) -> dict[str, Row]:
    """Return a catalogue row for each symbol.

    UsageError for a symbol whose quote cannot be told, WorldError when the exchange does not list
    one or cannot be asked.
    """
    bindings = [MarketBinding(s, s, _asked(exchange_type, s)) for s in symbols]
    codec = market_codec(exchange_type, network, bindings, endpoints)
    http = HttpSession(tls_context(), codec.hosts)
    try:
        requests = codec.instruments(symbols)
        bodies = await Rest(exchange_type, http, Pace(exchange_type, clock)).fetch_all(requests)
        facts = {fact.market: fact for fact in codec.parse_instruments(bodies)}
    except ExchangeError as error:
        raise WorldError(
            f"{exchange_type} {network}: cannot read the instruments: {error}"
        ) from error
    finally:
        await http.close()
    absent = [symbol for symbol in symbols if symbol not in facts]
    if absent:
        raise WorldError(f"{exchange_type} {network} does not list {', '.join(absent)}")
    day = datetime.datetime.fromtimestamp(clock.wall() / NS_PER_S, datetime.UTC).date().isoformat()
    source = f"{requests[0].method} {requests[0].url.partition('?')[0]}"
    return {
        symbol: {"row": _row(symbol, facts[symbol]), "date": day, "source": source}
        for symbol in symbols
    }


def split(symbol: str) -> tuple[str, str]:
    """Return base and quote. UsageError when they cannot be told apart."""
    for quote in QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol.removesuffix(quote), quote
    raise UsageError(f"{symbol}: what it is quoted in is not known ({', '.join(QUOTES)} are)")


def _asked(exchange_type: str, symbol: str) -> Instrument:
    """Return what stands for an instrument whose facts are being asked for."""
    base, quote = split(symbol)
    one = Decimal(1)
    kind = catalogue.kind(exchange_type)
    return Instrument(exchange_type, symbol, kind, base, quote, one, one, one, one, Fees(0, 0))


def _row(symbol: str, fact: InstrumentFacts) -> str:
    steps = (fact.tick, fact.lot, fact.min_qty)
    most = fact.max_qty if Decimal(fact.max_qty) else "-"
    return " ".join([*split(symbol), *steps, most, fact.min_notional, "-"])
