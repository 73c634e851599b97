"""The paper accounts: what is owned, what is reserved, what another order may cost.

All money is Decimal, so that profit equals an independent calculation to the last digit (R-47).
Perpetuals are one-way and cross. The initial margin of a symbol is its worst case, the position
with all resting buys or with all resting sells, at the mark over the leverage. Spot knows no
borrowing: a buy needs the quote, a sell the base; the fee of a buy is taken from the base
received, as on Binance and Bybit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from runner.engine.events import Balance, Position
from runner.market.instruments import Instrument, Kind, Side

ZERO = Decimal(0)
Marks = Callable[[str], Decimal | None]
"""The mark price of a symbol, None while there is none."""


@dataclass(slots=True)
class Holding:
    """A one-way position: signed lots, and the signed sum of price x base they were opened at."""

    instrument: Instrument
    lots: int = 0
    cost: Decimal = ZERO

    @property
    def entry(self) -> Decimal:
        """Average entry price, 0 when flat."""
        return self.cost / self.instrument.base_qty(self.lots) if self.lots else ZERO

    def value(self, price: Decimal) -> Decimal:
        """Signed value at `price`."""
        return self.instrument.base_qty(self.lots) * price

    def fill(self, side: Side, price: Decimal, lots: int) -> Decimal:
        """Apply a fill; return the profit realised by the part that closed."""
        change = lots * side.sign
        realised = ZERO
        if self.lots * change < 0:
            closed = min(lots, abs(self.lots))
            share = self.cost * closed / abs(self.lots)
            realised = -self.instrument.base_qty(closed * side.sign) * price - share
            self.cost -= share
            self.lots += closed * side.sign
            change -= closed * side.sign
        if change:
            self.lots += change
            self.cost += self.instrument.base_qty(change) * price
        if not self.lots:
            self.cost = ZERO
        return realised


@dataclass(frozen=True, slots=True)
class Charge:
    """A fee as taken: positive when paid."""

    amount: Decimal
    asset: str


@dataclass(frozen=True, slots=True)
class Resting:
    """What a resting order may still do: signed lots on a perpetual, an asset locked on spot."""

    symbol: str
    lots: int
    locked: Charge | None


@dataclass(slots=True)
class PaperAccount:
    """Balances, positions and resting orders of one exchange; `wallet` holds every asset."""

    marks: Marks
    leverage: Mapping[str, int]
    maintenance: Decimal
    wallet: dict[str, Decimal] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    resting: dict[str, Resting] = field(default_factory=dict)
    """by client id; reduce-only orders are not in it"""

    # -- what an order may cost

    def affords(self, instrument: Instrument, side: Side, lots: int, price: Decimal) -> bool:
        """Tell whether an order of `lots` at `price` is covered, its taker fee included."""
        if instrument.kind is Kind.SPOT:
            need = _spot_need(instrument, side, lots, price)
            return need.amount <= self.free(need.asset)
        held = self.holdings.get(instrument.symbol) or Holding(instrument)
        mark = self.marks(instrument.symbol) or price
        before = self._worst(held, 0) * mark
        after = self._worst(held, lots * side.sign) * max(mark, price)
        if after <= before:
            return True
        fee = instrument.base_qty(lots) * price * max(ZERO, Decimal(repr(instrument.fees.taker)))
        margin = self._margin(instrument.quote) + after - before
        return margin + fee <= self._equity_of(instrument.quote)

    def rest(self, cid: str, instrument: Instrument, side: Side, lots: int, price: Decimal) -> None:
        """Reserve what a resting order may cost."""
        spot = instrument.kind is Kind.SPOT
        locked = _spot_need(instrument, side, lots, price) if spot else None
        if not spot:
            self.holdings.setdefault(instrument.symbol, Holding(instrument))
        self.resting[cid] = Resting(instrument.symbol, lots * side.sign, locked)

    def leave(self, cid: str) -> None:
        """Release what a resting order had reserved."""
        self.resting.pop(cid, None)

    def free(self, asset: str) -> Decimal:
        """Return what is free of an asset: equity less initial margin, and less what is locked."""
        locks = (r.locked for r in self.resting.values() if r.locked is not None)
        locked = sum((lock.amount for lock in locks if lock.asset == asset), ZERO)
        return self._equity_of(asset) - self._margin(asset) - locked

    def _equity_of(self, asset: str) -> Decimal:
        return self.wallet.get(asset, ZERO) + self.unrealised(asset)

    def _margin(self, asset: str) -> Decimal:
        margins = (
            self._worst(held, 0) * self._mark(held)
            for held in self.holdings.values()
            if held.instrument.quote == asset
        )
        return sum(margins, ZERO)

    def _worst(self, held: Holding, more: int) -> Decimal:
        """Return the largest base amount a symbol may come to, over its leverage."""
        symbol = held.instrument.symbol
        orders = [r.lots for r in self.resting.values() if r.symbol == symbol] + [more]
        long = abs(held.lots + sum(lots for lots in orders if lots > 0))
        short = abs(held.lots + sum(lots for lots in orders if lots < 0))
        return held.instrument.base_qty(max(long, short)) / self.leverage.get(symbol, 1)

    def _mark(self, held: Holding) -> Decimal:
        mark = self.marks(held.instrument.symbol)
        return held.entry if mark is None else mark

    def unrealised(self, asset: str) -> Decimal:
        """Return the profit of open positions quoted in `asset`, at the mark."""
        return sum(
            (
                held.value(self._mark(held)) - held.cost
                for held in self.holdings.values()
                if held.lots and held.instrument.quote == asset
            ),
            ZERO,
        )

    # -- what happens

    def position(self, symbol: str) -> int:
        """Return the signed lots held of a perpetual."""
        held = self.holdings.get(symbol)
        return held.lots if held is not None else 0

    def fill(
        self, instrument: Instrument, side: Side, price: Decimal, lots: int, rate: Decimal
    ) -> Charge:
        """Apply a fill and its fee; return the fee."""
        base = instrument.base_qty(lots)
        if instrument.kind is Kind.SPOT:
            return self._fill_spot(instrument, side, base, base * price, rate)
        held = self.holdings.setdefault(instrument.symbol, Holding(instrument))
        fee = Charge(base * price * rate, instrument.quote)
        self.add(instrument.quote, held.fill(side, price, lots) - fee.amount)
        return fee

    def _fill_spot(
        self, instrument: Instrument, side: Side, base: Decimal, quote: Decimal, rate: Decimal
    ) -> Charge:
        self.add(instrument.base, base * side.sign)
        self.add(instrument.quote, -quote * side.sign)
        if side is Side.BUY:
            fee = Charge(base * rate, instrument.base)
        else:
            fee = Charge(quote * rate, instrument.quote)
        self.add(fee.asset, -fee.amount)
        return fee

    def add(self, asset: str, amount: Decimal) -> None:
        """Change a balance."""
        self.wallet[asset] = self.wallet.get(asset, ZERO) + amount

    # -- what is told

    def balances(self) -> tuple[Balance, ...]:
        """Return all balances, sorted by asset."""
        return tuple(
            Balance(asset=asset, total=float(total), free=float(self.free(asset)))
            for asset, total in sorted(self.wallet.items())
        )

    def positions(self) -> tuple[Position, ...]:
        """Return all positions ever held, flat ones as 0, sorted by symbol."""
        return tuple(
            Position(
                symbol=symbol,
                lots=held.lots,
                entry=float(held.entry),
                mark=float(self._mark(held)),
                liquidation=float(self.liquidation(held)),
            )
            for symbol, held in sorted(self.holdings.items())
        )

    def equity(self, quote: str) -> Decimal:
        """Return the value of the account in `quote`: wallet, open profit, spot at its mark."""
        return self._equity_of(quote) + sum(
            (amount * (self.marks(asset) or ZERO) for asset, amount in self.wallet.items()), ZERO
        )

    def margin_used(self, quote: str) -> Decimal:
        """Return maintenance margin / margin balance; 1 is liquidation."""
        need = sum((abs(h.value(self._mark(h))) for h in self.holdings.values() if h.lots), ZERO)
        equity = self._equity_of(quote)
        if not need:
            return ZERO
        return need * self.maintenance / equity if equity > 0 else Decimal(1)

    def liquidation(self, held: Holding) -> Decimal:
        """Return the price at which this position alone would use up the balance; 0 when none."""
        if not held.lots:
            return ZERO
        base = held.instrument.base_qty(held.lots)
        spare = self.wallet.get(held.instrument.quote, ZERO)
        # wallet + base * (p - entry) = maintenance * |base| * p
        slope = base - self.maintenance * abs(base)
        return max(ZERO, (held.cost - spare) / slope)


def _spot_need(instrument: Instrument, side: Side, lots: int, price: Decimal) -> Charge:
    """Return the asset an order on spot gives away, at its price."""
    base = instrument.base_qty(lots)
    if side is Side.BUY:
        return Charge(base * price, instrument.quote)
    return Charge(base, instrument.base)
