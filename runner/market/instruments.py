"""What an exchange lists: tick, lot, minimums, fees, and the exact arithmetic on them.

Prices are integer ticks and quantities integer lots from the moment an order is built (R-04);
floats live only in signals. Rounding never makes an order worse than written: a buy's price goes
down, a sell's up, a quantity always down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

_FEW = 1e9
"""steps below which a float quotient is within 1e-6 of the exact one, with room to spare"""


class Side(StrEnum):
    """Direction of an order."""

    sign: int
    """+1 for buy, -1 for sell"""
    opposite: Side

    BUY = "buy"
    SELL = "sell"


# Attributes and not properties: an order asks for them dozens of times.
Side.BUY.sign, Side.SELL.sign = 1, -1
Side.BUY.opposite, Side.SELL.opposite = Side.SELL, Side.BUY


class Kind(StrEnum):
    """What is traded."""

    SPOT = "spot"
    PERPETUAL = "perpetual"


@dataclass(frozen=True, slots=True)
class Fees:
    """Maker and taker fee as ratios of the notional (0.0005 is 5 bps), and where they are from."""

    maker: float
    taker: float
    source: str = "catalogue"


@dataclass(frozen=True, slots=True)
class _Step:
    """A tick or a lot as an integer `units` of 10**-`digits`: multiples are written without
    Decimals, on the way of an order."""

    units: int
    digits: int

    @staticmethod
    def of(step: Decimal) -> _Step:
        digits = max(0, -int(step.normalize().as_tuple().exponent))
        return _Step(int(step.scaleb(digits)), digits)

    def text(self, count: int) -> str:
        """Write `count` steps as `units.plain` writes their Decimal."""
        number = count * self.units
        if not self.digits:
            return str(number)
        sign = "-" if number < 0 else ""
        text = str(abs(number)).zfill(self.digits + 1)
        after = text[-self.digits :].rstrip("0")
        return f"{sign}{text[: -self.digits]}.{after}" if after else sign + text[: -self.digits]


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol of one exchange.

    `lot` and `min_qty` are in the unit orders are sent in; `contract_size` is how much base one
    such unit is (1 where orders are in base, e.g. 0.01 on OKX swaps). `max_qty` 0 = no maximum.
    """

    exchange_type: str
    symbol: str
    kind: Kind
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    min_qty: Decimal
    min_notional: Decimal
    fees: Fees
    max_qty: Decimal = Decimal(0)
    contract_size: Decimal = Decimal(1)
    price_hint: Decimal = Decimal(0)
    source: str = ""
    status: str = "trading"
    reduce_only_exempt_from_min: bool = False
    lot_base: Decimal = field(init=False, default=Decimal(0))
    """one lot as an amount of base, exact; `lot_base_f` the same as a float"""
    tick_f: float = field(init=False, default=0.0)
    lot_f: float = field(init=False, default=0.0)
    lot_base_f: float = field(init=False, default=0.0)
    _tick: _Step = field(init=False, repr=False, compare=False)
    _lot: _Step = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.tick <= 0 or self.lot <= 0 or self.contract_size <= 0:
            raise ValueError(f"{self.symbol}: tick, lot and contract size must be positive")
        put = object.__setattr__
        put(self, "lot_base", self.lot * self.contract_size)
        put(self, "tick_f", float(self.tick))
        put(self, "lot_f", float(self.lot))
        put(self, "lot_base_f", float(self.lot_base))
        put(self, "_tick", _Step.of(self.tick))
        put(self, "_lot", _Step.of(self.lot))

    def price(self, ticks: int) -> Decimal:
        """Return the exact price of `ticks`."""
        return self.tick * ticks

    def qty(self, lots: int) -> Decimal:
        """Return the exact order quantity of `lots`, in the unit orders are sent in."""
        return self.lot * lots

    def base_qty(self, lots: int) -> Decimal:
        """Return the exact amount of base of `lots`."""
        return self.lot_base * lots

    def price_text(self, ticks: int) -> str:
        """Return the price of `ticks` as the wire takes it: no exponent, no trailing zeros."""
        return self._tick.text(ticks)

    def qty_text(self, lots: int) -> str:
        """Return the quantity of `lots` as the wire takes it."""
        return self._lot.text(lots)

    def ticks_for(self, price: float, side: Side) -> int:
        """Round a price to ticks, never worse than written: a buy down, a sell up."""
        steps = price / self.tick_f
        if steps < _FEW:
            # Far enough from where the exact rule below decides, floats say the same, sooner.
            near = round(steps)
            off = abs(steps - near)
            if off < 5e-7:
                return near
            if off > 2e-6:
                return math.floor(steps) if side is Side.BUY else math.ceil(steps)
        exact = Decimal(repr(price)) / self.tick
        rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
        # A float that stands for an exact tick (0.1 + 0.2) must not move by one.
        nearest = exact.to_integral_value()
        if abs(exact - nearest) < Decimal("1e-6"):
            return int(nearest)
        return int(exact.to_integral_value(rounding=rounding))

    def lots_for_base(self, base: float) -> int:
        """Round an amount of base down to lots."""
        if not math.isfinite(base) or base <= 0:
            return 0
        return int(base / self.lot_base_f + 1e-9)
