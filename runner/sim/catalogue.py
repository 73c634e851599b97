"""The instruments of the simulator: BTCUSDT, ETHUSDT and SOLUSDT in each dialect.

Prices are integer ticks and quantities integer lots everywhere inside; money is an integer of
1e-8 USDT (`MONEY`). Only this module knows how they are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

MONEY = 100_000_000
"""Units of money in one USDT."""


def decimal_text(units: int, decimals: int) -> str:
    """Write `units` of 10^-decimals with exactly that many decimals."""
    sign, units = ("-", -units) if units < 0 else ("", units)
    if decimals == 0:
        return f"{sign}{units}"
    whole, rest = divmod(units, 10**decimals)
    return f"{sign}{whole}.{rest:0{decimals}d}"


def money_text(money: int) -> str:
    """Write money (1e-8 USDT) with eight decimals."""
    return decimal_text(money, 8)


@dataclass(slots=True, frozen=True)
class Instrument:
    """One symbol of one exchange: steps, bounds, how its numbers are written, how deep it is.

    `grid` is the distance, in ticks, of the background levels; `depth` the typical size of one
    of them in base units.
    """

    symbol: str
    base: str
    tick: Decimal
    lot: Decimal
    price_decimals: int
    qty_decimals: int
    min_lots: int
    max_lots: int
    max_market_lots: int
    min_notional: int
    grid: int
    depth: float
    quote: str = "USDT"
    max_leverage: int = 100

    @property
    def value(self) -> int:
        """Money of one lot at one tick."""
        return int(self.tick * self.lot * MONEY)

    def price(self, ticks: int) -> str:
        """Write a price of `ticks`."""
        return decimal_text(int(ticks * self.tick.scaleb(self.price_decimals)), self.price_decimals)

    def qty(self, lots: int) -> str:
        """Write a quantity of `lots`."""
        return decimal_text(int(lots * self.lot.scaleb(self.qty_decimals)), self.qty_decimals)

    def ticks(self, price: Decimal) -> int | None:
        """Return a price in ticks, or None when it lies between two of them."""
        ticks = price / self.tick
        return int(ticks) if ticks == int(ticks) else None

    def lots(self, qty: Decimal) -> int | None:
        """Return a quantity in lots, or None when it lies between two of them."""
        lots = qty / self.lot
        return int(lots) if lots == int(lots) else None

    def nearest_tick(self, price: float) -> int:
        """Return the tick next to a price of the synthetic market."""
        return round(price / float(self.tick))


def _make(
    base: str,
    tick: str,
    lot: str,
    decimals: tuple[int, int],
    bounds: tuple[str, str, str],
    min_notional: int,
    shape: tuple[int, float],
    max_leverage: int,
) -> Instrument:
    step = Decimal(lot)
    least, most, most_market = (int(Decimal(text) / step) for text in bounds)
    return Instrument(
        symbol=f"{base}USDT",
        base=base,
        tick=Decimal(tick),
        lot=step,
        price_decimals=decimals[0],
        qty_decimals=decimals[1],
        min_lots=least,
        max_lots=most,
        max_market_lots=most_market,
        min_notional=min_notional * MONEY,
        grid=shape[0],
        depth=shape[1],
        max_leverage=max_leverage,
    )


def _index(*instruments: Instrument) -> dict[str, Instrument]:
    return {instrument.symbol: instrument for instrument in instruments}


BINANCE_USDM = _index(
    _make("BTC", "0.10", "0.001", (2, 3), ("0.001", "1000", "120"), 100, (10, 1.2), 125),
    _make("ETH", "0.01", "0.001", (2, 3), ("0.001", "10000", "2000"), 20, (6, 12.0), 100),
    _make("SOL", "0.01", "1", (4, 0), ("1", "1000000", "50000"), 5, (1, 220.0), 75),
)
BYBIT_LINEAR = _index(
    _make("BTC", "0.10", "0.001", (2, 3), ("0.001", "1190", "119"), 5, (10, 0.9), 100),
    _make("ETH", "0.01", "0.01", (2, 2), ("0.01", "7240", "724"), 5, (6, 9.0), 100),
    _make("SOL", "0.01", "0.1", (3, 1), ("0.1", "79770", "7977"), 5, (1, 160.0), 75),
)
BINANCE_SPOT = _index(
    _make("BTC", "0.01", "0.00001", (8, 8), ("0.00001", "9000", "100"), 5, (100, 0.7), 1),
    _make("ETH", "0.01", "0.0001", (8, 8), ("0.0001", "9000", "1600"), 5, (6, 7.0), 1),
    _make("SOL", "0.01", "0.001", (8, 8), ("0.001", "90000", "16000"), 5, (1, 120.0), 1),
)
START_PRICE = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "SOLUSDT": 150.0}
