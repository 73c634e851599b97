"""Types and small readers that all wire structs share.

A number of the wire is finite and within bounds or the whole frame is refused: msgspec checks the
bounds while it parses, and NaN and infinity lie outside. Statuses are `str` (a new value must not
cost a frame); decimals that become lots or ticks stay text until they are made exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Annotated, Final, TypeVar

import msgspec

from runner.base.errors import ExchangeError
from runner.market.instruments import Instrument

T = TypeVar("T")

Num = Annotated[float, msgspec.Meta(ge=0, lt=1e18)]
"""A price or a quantity."""
Signed = Annotated[float, msgspec.Meta(gt=-1e18, lt=1e18)]
Millis = Annotated[int, msgspec.Meta(ge=0, lt=10**14)]
"""Milliseconds since the epoch."""
Id = Annotated[int, msgspec.Meta(ge=-(10**18), lt=10**18)]
Pairs = list[tuple[Num, Num]]
"""Levels of a book: price and quantity."""

MS: Final = 1_000_000
"""ns of a millisecond"""

FOREIGN: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
"""What parsing foreign bytes may raise (UnicodeDecodeError is a ValueError)."""


def parse(body: bytes, type: type[T], what: str) -> T:
    """Parse a body that must have a shape; ExchangeError when it has another."""
    try:
        return msgspec.json.decode(body, type=type, strict=False)
    except FOREIGN as error:
        raise ExchangeError(f"{what}: the answer makes no sense ({error})") from None


def number(text: str | None) -> float:
    """Read a decimal; "" and null are 0, ExchangeError when it is none or not finite."""
    if not text:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        raise ExchangeError(f"{text[:40]!r} is not a number") from None
    if not -1e18 < value < 1e18:
        raise ExchangeError(f"{text[:40]!r} is out of range")
    return value


def units(text: str | None, step: Decimal) -> int:
    """Return how many `step` a decimal of the wire is, to the nearest; "" and null are 0.

    Fills and positions are counted even when the exchange changed its grid under us: the nearest
    whole number is then off by less than one step, where refusing would lose a fill.
    """
    if not text:
        return 0
    try:
        value = Decimal(text)
        if not value.is_finite() or abs(value) > Decimal("1e18"):
            raise ExchangeError(f"{text[:40]!r} is out of range")
        return int((value / step).to_integral_value(ROUND_HALF_EVEN))
    except InvalidOperation:
        raise ExchangeError(f"{text[:40]!r} is not a number") from None


def lots(instrument: Instrument, text: str | None) -> int:
    """Return a quantity of the wire in lots."""
    return units(text, instrument.lot)


def ticks(instrument: Instrument, text: str | None) -> int:
    """Return a price of the wire in ticks."""
    return units(text, instrument.tick)


def header_int(headers: Mapping[str, str], name: str) -> int | None:
    """Return a header (names in any case) as an integer; None when absent or no number."""
    text = headers.get(name) or headers.get(name.lower())
    return int(text) if text is not None and text.isdigit() else None


def is_ours(cid: str, prefix: str) -> bool:
    """Whether a client order id is of this program (base/ids.py) and of this owner.

    An empty prefix means: any strategy of ours.
    """
    return len(cid) == 28 and cid[0] == "r" and cid.isalnum() and cid.startswith(prefix)
