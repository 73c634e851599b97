"""Types of expressions: bool, text, one-of, and numbers with a vector of dimensions.

A dimension is `s`, `bars` or a currency; `500 USDT / bin.ask` is {USDT:1} / {USDT:1, BTC:-1} =
{BTC:1}, an amount. A ratio is a number without dimension that says so (`15bps`, price / price).
The mark of a ratio outlives a detour: `yearly * 21d / 365d` is a ratio again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

Dims = tuple[tuple[str, int], ...]
"""(dimension, exponent), sorted by name, no zero exponents"""

SECONDS = "s"
BARS = "bars"


class Sort(StrEnum):
    """The families of types."""

    BOOL = "bool"
    TEXT = "text"
    NUMERIC = "numeric"
    STREAM = "stream"
    SIDE = "side"
    UNKNOWN = "unknown"
    """stands where a mistake was already reported; fits everything"""


@dataclass(frozen=True, slots=True)
class Type:
    """A type. `dims` and `ratio` belong to numbers, `choices` to one-of texts."""

    sort: Sort
    dims: Dims = ()
    ratio: bool = False
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        return name_of(self)

    @property
    def numeric(self) -> bool:
        """Whether arithmetic makes sense (an unknown counts)."""
        return self.sort in (Sort.NUMERIC, Sort.UNKNOWN)

    @property
    def unknown(self) -> bool:
        return self.sort is Sort.UNKNOWN

    @property
    def plain(self) -> bool:
        """Whether it is a number without dimension that is not a ratio."""
        return self.sort is Sort.NUMERIC and not self.dims and not self.ratio

    @property
    def is_ratio(self) -> bool:
        return self.sort is Sort.NUMERIC and not self.dims and self.ratio

    @property
    def is_price(self) -> bool:
        """Whether it is one currency per another."""
        return len(self.dims) == 2 and _exponents(self) == [-1, 1] and _currencies_only(self)

    @property
    def currency(self) -> str | None:
        """The currency of an amount or a notional; None for anything else."""
        if len(self.dims) == 1 and self.dims[0][1] == 1 and _currencies_only(self):
            return self.dims[0][0]
        return None


def _exponents(type_: Type) -> list[int]:
    return sorted(exponent for _, exponent in type_.dims)


def _currencies_only(type_: Type) -> bool:
    return all(name not in (SECONDS, BARS) for name, _ in type_.dims)


def _sorted(dims: Mapping[str, int]) -> Dims:
    return tuple(sorted((name, power) for name, power in dims.items() if power))


BOOL = Type(Sort.BOOL)
TEXT = Type(Sort.TEXT)
NUMBER = Type(Sort.NUMERIC)
RATIO = Type(Sort.NUMERIC, ratio=True)
DURATION = Type(Sort.NUMERIC, ((SECONDS, 1),))
COUNT = Type(Sort.NUMERIC, ((BARS, 1),))
STREAM = Type(Sort.STREAM)
SIDE = Type(Sort.SIDE)
UNKNOWN = Type(Sort.UNKNOWN)


def one_of(choices: Iterable[str]) -> Type:
    """Return the type of a text that is one of `choices`."""
    return Type(Sort.TEXT, choices=tuple(choices))


def amount(currency: str) -> Type:
    """Return the type of an amount of `currency`."""
    return Type(Sort.NUMERIC, ((currency, 1),))


def price(quote: str, base: str) -> Type:
    """Return the type of a price, `quote` per `base`."""
    return multiply(amount(quote), power(amount(base), -1))


def power(type_: Type, exponent: int) -> Type:
    """Return the type of a number to an integer power."""
    return Type(Sort.NUMERIC, _sorted({n: p * exponent for n, p in type_.dims}), ratio=type_.ratio)


def multiply(left: Type, right: Type) -> Type:
    """Return the type of a product; ratio x anything keeps the mark of the ratio."""
    if left.unknown or right.unknown:
        return UNKNOWN
    dims = dict(left.dims)
    for name, exponent in right.dims:
        dims[name] = dims.get(name, 0) + exponent
    return Type(Sort.NUMERIC, _sorted(dims), ratio=left.ratio or right.ratio)


def divide(left: Type, right: Type) -> Type:
    """Return the type of a quotient; prices of one unit give a ratio, ratio / ratio a number."""
    if left.unknown or right.unknown:
        return UNKNOWN
    dims = dict(left.dims)
    for name, exponent in right.dims:
        dims[name] = dims.get(name, 0) - exponent
    ratio = left.ratio and not right.ratio
    if left.is_price and left.dims == right.dims:
        ratio = True
    return Type(Sort.NUMERIC, _sorted(dims), ratio=ratio)


def same(left: Type, right: Type) -> bool:
    """Return whether values of the two types can be added and compared.

    An unknown fits all; where there is a dimension, the mark of a ratio does not matter.
    """
    if left.unknown or right.unknown:
        return True
    if left.sort is not right.sort or left.dims != right.dims:
        return False
    return bool(left.dims) or left.ratio == right.ratio


def join(left: Type, right: Type) -> Type:
    """Return the type of a value that is one of two of the same type."""
    if left.unknown:
        return right
    if right.unknown:
        return left
    if left.sort is Sort.TEXT:
        return left if left == right else TEXT
    return Type(left.sort, left.dims, ratio=left.ratio and right.ratio)


def root(type_: Type) -> Type | None:
    """Return the type of a square root; None when an exponent is odd."""
    if any(exponent % 2 for _, exponent in type_.dims):
        return None
    return Type(Sort.NUMERIC, tuple((n, e // 2) for n, e in type_.dims), ratio=type_.ratio)


def unit_of(type_: Type) -> str:
    """Write the unit: `USDT/BTC`, `BTC`, `USDT/BTC/s`; empty without one."""
    above = [_factor(name, power) for name, power in type_.dims if power > 0]
    below = [_factor(name, -power) for name, power in type_.dims if power < 0]
    below.sort(key=lambda name: (name.split("^")[0] in (SECONDS, BARS), name))
    if not above and not below:
        return ""
    return "/".join(["*".join(above) or "1", *below])


def _factor(name: str, exponent: int) -> str:
    return name if exponent == 1 else f"{name}^{exponent}"


def name_of(type_: Type) -> str:
    """Name a type as messages do: `price in USDT/BTC`, `ratio`, `duration`."""
    if type_.sort is not Sort.NUMERIC:
        if type_.choices:
            return "one of " + ", ".join(type_.choices)
        return str(type_.sort)
    if not type_.dims:
        return "ratio" if type_.ratio else "number"
    if type_.dims == DURATION.dims:
        return "duration"
    if type_.dims == COUNT.dims:
        return "count of bars"
    return f"{_noun(type_)} in {unit_of(type_)}"


def _noun(type_: Type) -> str:
    if type_.currency is not None:
        return "amount"
    if type_.is_price:
        return "price"
    powers = dict(type_.dims)
    if powers.pop(SECONDS, 0) == -1 and Type(Sort.NUMERIC, _sorted(powers)).is_price:
        return "speed"
    return "quantity"
