"""The instrument catalogue: what an exchange lists, for checks without a network.

Facts stand in `catalogue.json`, each row with its date and source, a text that is read when its
symbol is asked for. Order of truth: the exchange at start, the header of a recording, what
`runner learn` was told, this catalogue.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from runner.market.instruments import Fees, Instrument, Kind
from runner.spec import learned

_FILE = Path(__file__).with_name("catalogue.json")


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return content


def date() -> str:
    """Return the day the catalogue was put together (`2026-11-01`)."""
    return str(_content()["date"])


def types() -> tuple[str, ...]:
    """Return the exchange types it knows."""
    return tuple(_content()["exchanges"])


def kind(exchange_type: str) -> Kind:
    """Return what an exchange type trades; KeyError for a type it does not know."""
    return Kind(_content()["exchanges"][exchange_type]["kind"])


def max_leverage(exchange_type: str) -> int:
    """Return the largest leverage of an exchange type (1 on spot)."""
    return int(_content()["exchanges"][exchange_type]["max_leverage"])


def fees(exchange_type: str) -> Fees:
    """Return the base fees of an exchange type."""
    facts = _content()["exchanges"][exchange_type]
    return Fees(float(facts["maker"]), float(facts["taker"]))


def symbols(exchange_type: str) -> tuple[str, ...]:
    """Return the symbols it has of an exchange type."""
    return tuple(_content()["exchanges"][exchange_type]["instruments"])


@lru_cache(maxsize=256)
def instrument(exchange_type: str, symbol: str) -> Instrument | None:
    """Return an instrument; None when the catalogue does not have it."""
    facts = _content()["exchanges"].get(exchange_type)
    if facts is None:
        return None
    known = learned.find(exchange_type, symbol)
    if known is not None:
        source = f"learned on {known['date']}: {known['source']}"
        return _instrument(exchange_type, symbol, facts, known["row"], source)
    row = facts["instruments"].get(symbol)
    if row is None:
        return None
    values, _, key = row.rpartition(" ")
    origin = _content()["sources"][key]
    source = f"catalogue of {date()}; row of {origin['date']}: {origin['text']}"
    return _instrument(exchange_type, symbol, facts, values, source)


def _instrument(
    exchange_type: str, symbol: str, facts: dict[str, Any], row: str, source: str
) -> Instrument:
    base, quote, tick, lot, min_qty, max_qty, min_notional, price_hint = row.split()
    return Instrument(
        exchange_type=exchange_type,
        symbol=symbol,
        kind=Kind(facts["kind"]),
        base=base,
        quote=quote,
        tick=Decimal(tick),
        lot=Decimal(lot),
        min_qty=Decimal(min_qty),
        min_notional=Decimal(min_notional),
        fees=fees(exchange_type),
        max_qty=_known(max_qty),
        price_hint=_known(price_hint),
        source=source,
        reduce_only_exempt_from_min=bool(facts["reduce_only_exempt_from_min"]),
    )


def _known(text: str) -> Decimal:
    """Return a number that may be absent from a row; 0 then."""
    return Decimal(0) if text == "-" else Decimal(text)
