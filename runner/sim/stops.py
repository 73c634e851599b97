"""Conditional orders: what sets them off, in no exchange's dialect."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from runner.sim.catalogue import Instrument


class By(enum.Enum):
    """Which price is compared with the trigger."""

    MARK = "mark"
    LAST = "last"


@dataclass(slots=True, frozen=True)
class Trigger:
    """A price in ticks, and whether it is reached by rising or by falling to it."""

    tick: int
    by: By
    rising: bool

    def reached(self, price: int) -> bool:
        """Tell whether a price sets it off."""
        return price >= self.tick if self.rising else price <= self.tick


class Prices(Protocol):
    """Where the two prices of a symbol come from."""

    def mark(self, symbol: str) -> int: ...
    def last(self, symbol: str) -> int: ...


def is_reached(trigger: Trigger, instrument: Instrument, prices: Prices) -> bool:
    """Tell whether a trigger's price is reached now."""
    symbol = instrument.symbol
    price = prices.mark(symbol) if trigger.by is By.MARK else prices.last(symbol)
    return trigger.reached(price)
