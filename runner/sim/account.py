"""One account: wallet, positions, margin; money in integers of 1e-8 USDT.

Cross margin in one-way mode. The initial margin of a symbol is its worst case (position plus all
buys, or minus all sells) at the mark price over the leverage; an order is refused when the sum
would exceed the equity.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.sim.catalogue import MONEY, Instrument
from runner.sim.matching import Side

START_BALANCE = 10_000 * MONEY
DEFAULT_LEVERAGE = 20


@dataclass(slots=True, frozen=True)
class Terms:
    """What an account begins with, and by how much the exchange's rate limits are widened.

    `limit_factor` is for campaigns that send more than an exchange would ever take.
    """

    balance: int = START_BALANCE
    leverage: int = DEFAULT_LEVERAGE
    limit_factor: int = 1


@dataclass(slots=True)
class Position:
    """Signed lots, what they cost (unsigned money), and what they have earned."""

    instrument: Instrument
    lots: int = 0
    cost: int = 0
    realised: int = 0
    leverage: int = DEFAULT_LEVERAGE
    isolated: bool = False
    open_buys: int = 0
    open_sells: int = 0
    updated_ms: int = 0

    @property
    def side(self) -> Side | None:
        """The side of the position, None when flat."""
        if self.lots == 0:
            return None
        return Side.BUY if self.lots > 0 else Side.SELL

    def entry(self, decimals: int = 8) -> str:
        """Write the average entry price, "0" when flat."""
        if self.lots == 0:
            return "0"
        scale = 10**decimals
        tick_scaled = int(self.instrument.tick * scale)
        scaled = self.cost * tick_scaled // (abs(self.lots) * self.instrument.value)
        whole, rest = divmod(scaled, scale)
        return f"{whole}.{rest:0{decimals}d}".rstrip("0").rstrip(".")

    def notional(self, mark: int) -> int:
        """Signed value at a mark price in ticks."""
        return self.lots * mark * self.instrument.value

    def unrealised(self, mark: int) -> int:
        """Profit at a mark price in ticks."""
        if self.lots == 0:
            return 0
        value = self.notional(mark)
        return value - self.cost if self.lots > 0 else value + self.cost

    def position_margin(self, mark: int) -> int:
        """Initial margin of the position alone."""
        return abs(self.notional(mark)) // self.leverage

    def worst_margin(self, mark: int, buys: int = 0, sells: int = 0) -> int:
        """Initial margin of the worst case, with `buys` and `sells` more lots working."""
        long = abs(self.lots + self.open_buys + buys)
        short = abs(self.lots - self.open_sells - sells)
        return max(long, short) * mark * self.instrument.value // self.leverage

    def reducible(self, side: Side) -> int:
        """Lots an order of `side` could close."""
        return abs(self.lots) if self.lots * side < 0 else 0

    def apply(self, side: Side, lots: int, tick: int) -> tuple[int, int]:
        """Book a fill; returns (realised money, lots closed)."""
        value = self.instrument.value
        closed = min(lots, self.reducible(side))
        realised = 0
        if closed:
            part = self.cost * closed // abs(self.lots)
            realised = (part - closed * tick * value) * side
            self.cost -= part
        self.cost += (lots - closed) * tick * value
        self.lots += side * lots
        self.realised += realised
        return realised, closed


@dataclass(slots=True)
class Account:
    """Wallet and positions of the one account of an exchange."""

    positions: dict[str, Position]
    wallet: int = START_BALANCE
    fees: int = 0
    funding: int = 0
    marks: dict[str, int] = field(default_factory=dict)

    def unrealised(self) -> int:
        """Profit of all positions at their marks."""
        return sum(p.unrealised(self.marks[s]) for s, p in self.positions.items() if p.lots)

    def equity(self) -> int:
        """Wallet plus unrealised profit."""
        return self.wallet + self.unrealised()

    def position_margin(self) -> int:
        """Initial margin of all positions."""
        return sum(p.position_margin(self.marks[s]) for s, p in self.positions.items() if p.lots)

    def margin(self) -> int:
        """Initial margin of all positions and orders at their worst."""
        return sum(
            p.worst_margin(self.marks[s])
            for s, p in self.positions.items()
            if p.lots or p.open_buys or p.open_sells
        )

    def available(self) -> int:
        """Money free for new orders."""
        return max(0, self.equity() - self.margin())

    def affords(self, symbol: str, side: Side, lots: int, price: int, fee_ppm: int) -> bool:
        """Tell whether an order fits the margin, its fee included."""
        position = self.positions[symbol]
        mark = self.marks[symbol]
        before = position.worst_margin(mark)
        buys, sells = (lots, 0) if side is Side.BUY else (0, lots)
        after = position.worst_margin(max(mark, price), buys, sells)
        if after <= before:
            return True
        fee = lots * price * position.instrument.value * fee_ppm // 1_000_000
        return self.margin() - before + after + fee <= self.equity()
