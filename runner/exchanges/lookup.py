"""Look up an exchange's error code by the words a person types: `binance -2019`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from runner.exchanges.api import Outcome
from runner.exchanges.binance_common.errors import SPOT, USDM
from runner.exchanges.bybit_linear.errors import ERRORS
from runner.exchanges.errors import ErrorEntry, ErrorTable

TABLES: Final[Mapping[str, ErrorTable]] = {
    "binance_usdm": USDM,
    "binance_spot": SPOT,
    "bybit_linear": ERRORS,
}
_CODE: Final = re.compile(r"-?\d{3,}\Z")
_MEANS: Final[Mapping[Outcome, str]] = {
    Outcome.REJECTED: "the order does not exist",
    Outcome.UNKNOWN: "the order may exist; it is asked about and never sent again",
    Outcome.RATE_LIMITED: "the order does not exist; requests pause",
    Outcome.CLOCK: "the order does not exist; the clock is measured again",
}


def find_error(topic: str) -> list[tuple[str, ErrorEntry]]:
    """Return (exchange type, entry) for `binance -2019`, `bybit_linear 110007` and the like.

    The first word is an exchange's type or its beginning; without it the code is looked up at all,
    as a trace or a report names it. Nothing found gives an empty list.
    """
    name, _, code = topic.strip().lower().partition(" ")
    if _CODE.match(name) and not code:
        name, code = "", name
    if not code.strip():
        return []
    found: list[tuple[str, ErrorEntry]] = []
    for type, table in TABLES.items():
        entry = table.find(code.strip()) if type.startswith(name) else None
        if entry is not None and all(entry != other for _, other in found):
            found.append((type, entry))
    return found


def error_page(topic: str) -> str | None:
    """Return what there is to say of an error code as text; None when nothing is known."""
    parts = [
        f"{type} {entry.code}: {entry.cause}\n\n"
        f"after a place: {_MEANS[entry.outcome]}\nwhat to do:    {entry.action}\n"
        for type, entry in find_error(topic)
    ]
    return "\n".join(parts) or None
