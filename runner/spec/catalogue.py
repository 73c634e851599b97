"""The instrument catalogue: what an exchange lists, for checks without a network.

Facts stand in `catalogue.json`, each row with its date and source. Order of truth: the exchange at
start, the header of a recording, this catalogue.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from runner.market.instruments import Fees, Instrument, Kind

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
    return tuple(row["symbol"] for row in _content()["exchanges"][exchange_type]["instruments"])


@lru_cache(maxsize=256)
def instrument(exchange_type: str, symbol: str) -> Instrument | None:
    """Return an instrument; None when the catalogue does not have it."""
    facts = _content()["exchanges"].get(exchange_type)
    if facts is None:
        return None
    for row in facts["instruments"]:
        if row["symbol"] == symbol:
            return _instrument(exchange_type, facts, row)
    return None


def _instrument(exchange_type: str, facts: dict[str, Any], row: dict[str, str]) -> Instrument:
    return Instrument(
        exchange_type=exchange_type,
        symbol=row["symbol"],
        kind=Kind(facts["kind"]),
        base=row["base"],
        quote=row["quote"],
        tick=Decimal(row["tick"]),
        lot=Decimal(row["lot"]),
        min_qty=Decimal(row["min_qty"]),
        min_notional=Decimal(row["min_notional"]),
        fees=fees(exchange_type),
        max_qty=Decimal(row["max_qty"]),
        price_hint=Decimal(row.get("price_hint", "0")),
        source=f"catalogue of {date()}; row of {row['date']}: {row['source']}",
        reduce_only_exempt_from_min=bool(facts["reduce_only_exempt_from_min"]),
    )
