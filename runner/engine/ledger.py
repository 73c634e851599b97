"""What each rule holds on each market, and what it has cost: lots, average entry, money.

Lots are signed integers; on spot they are what was bought less the fees that the exchange kept of
it, so that all of them can be sold (trading.md, section 4). Money is in the quote currency of the
market, as floats (a day of trading sums far below the 1e-8 at which they would matter). A fee in
another asset is valued by a market of the strategy that quotes it, else kept apart and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil, nan
from typing import Final

from runner.engine.events import Fill
from runner.market.instruments import Instrument, Kind, Side

EPSILON: Final = 1e-6


@dataclass(slots=True)
class Ledger:
    """One rule's account on one market."""

    rule: str
    market: str
    lots: int = 0
    entry: float = nan
    """average price of what is held; NaN when flat"""
    realised: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    """received (+) or paid (-)"""
    other_fees: dict[str, float] = field(default_factory=dict)
    volume: float = 0.0
    fills: int = 0
    fee_lots: int = 0
    """lots bought that an exchange kept as its fee (spot): they are not in `lots`"""
    fee_owed: float = 0.0
    """lots of such fees not taken off yet; negative: taken off too much, for want of parts"""

    @property
    def settled_pnl(self) -> float:
        """All that is certain: realised, less fees, with funding."""
        return self.realised - self.fees + self.funding

    def move(self, side: Side, lots: int, price: float, lot_base: float) -> None:
        """Book an execution: open, add, reduce or turn; what is reduced is realised."""
        signed = lots * side.sign
        held = self.lots
        if held == 0 or (held > 0) == (signed > 0):
            total = abs(held) + lots
            before = 0.0 if held == 0 else self.entry * abs(held)
            self.entry = (before + price * lots) / total
        else:
            closing = min(lots, abs(held))
            sign = 1 if held > 0 else -1
            self.realised += (price - self.entry) * closing * lot_base * sign
            if lots > abs(held):
                self.entry = price
            elif lots == abs(held):
                self.entry = nan
        self.lots = held + signed
        self.volume += price * lots * lot_base
        self.fills += 1

    def give_fee(self, lots: float) -> None:
        """Take a fee that was kept in base off what is held: whole lots, never too few."""
        self.fee_owed += lots
        whole = min(max(ceil(self.fee_owed - EPSILON), 0), max(self.lots, 0))
        self.lots -= whole
        self.fee_lots += whole
        self.fee_owed -= whole
        if not self.lots:
            self.entry = nan

    def unrealised(self, price: float, lot_base: float) -> float:
        """Return what closing all of it at `price` would realise, before fees."""
        if self.lots == 0:
            return 0.0
        return (price - self.entry) * self.lots * lot_base


class Ledgers:
    """All ledgers, by rule and market, and their sums."""

    def __init__(self, instruments: dict[str, Instrument]) -> None:
        self._instruments = instruments
        self._by: dict[tuple[str, str], Ledger] = {}
        self.by_market: dict[str, list[Ledger]] = {}
        self.external: dict[str, int] = {}
        """lots of a market's position that are not ours: adopted or made by others"""

    def of(self, rule: str, market: str) -> Ledger:
        """Return the ledger of a rule on a market, a new one if there is none."""
        ledger = self._by.get((rule, market))
        if ledger is None:
            ledger = self._by[rule, market] = Ledger(rule, market)
            self.by_market.setdefault(market, []).append(ledger)
        return ledger

    def __iter__(self) -> Iterator[Ledger]:
        return iter(self._by.values())

    def lots(self, market: str) -> int:
        """Return the strategy's position on a market in lots."""
        lots = 0
        for ledger in self.by_market.get(market, ()):
            lots += ledger.lots
        return lots

    def expected(self, market: str) -> int:
        """Return what the exchange should show: ours and what is known to be others'."""
        return self.lots(market) + self.external.get(market, 0)

    def book(
        self, rule: str, market: str, side: Side, fill: Fill, price_of: Callable[[str, str], float]
    ) -> Ledger:
        """Book one of our fills with its fee; `price_of(asset, quote)` values foreign assets."""
        ledger = self.of(rule, market)
        instrument = self._instruments[market]
        lot_base = instrument.lot_base_f
        ledger.move(side, fill.lots, fill.price, lot_base)
        notional = fill.price * fill.lots * lot_base
        if fill.fee is None:
            fees = instrument.fees
            ledger.fees += notional * (fees.maker if fill.maker else fees.taker)
        elif fill.fee_asset in ("", instrument.quote):
            ledger.fees += fill.fee
        elif fill.fee_asset == instrument.base:
            ledger.fees += fill.fee * fill.price
            if instrument.kind is Kind.SPOT and fill.fee > 0:
                ledger.give_fee(fill.fee / lot_base)
        else:
            self._other_fee(ledger, fill, price_of(fill.fee_asset, instrument.quote))
        return ledger

    def _other_fee(self, ledger: Ledger, fill: Fill, price: float) -> None:
        fee = fill.fee or 0.0
        if price == price:
            ledger.fees += fee * price
        else:
            apart = ledger.other_fees
            apart[fill.fee_asset] = apart.get(fill.fee_asset, 0.0) + fee

    def fund(self, market: str, amount: float) -> None:
        """Share funding received (+) or paid (-) among the holders, by their lots."""
        holders = [x for x in self.by_market.get(market, ()) if x.lots]
        total = sum(abs(x.lots) for x in holders)
        for ledger in holders:
            ledger.funding += amount * abs(ledger.lots) / total
