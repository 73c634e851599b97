"""Small parts that several plans share: a reference to a secret, an amount, a rate."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is: an environment variable or a file; `line` for messages."""

    env: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a currency: 500 USDT, 0.002 BTC."""

    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so long."""

    count: int
    per_ns: int


FIRINGS: Final = Rate(20, 60_000_000_000)
"""how often a rule may fire, where the file does not say"""
MESSAGES: Final = Rate(60, 60_000_000_000)
"""how many messages a source takes, where the file does not say"""
