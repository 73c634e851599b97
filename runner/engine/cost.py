"""The cells that generated code reads of accounts, positions and trades: `this.*`, `position.*`.

`this.cost` is what opening and closing all legs costs in fees, as a ratio of one leg's notional:
two taker legs at 5 and 5.5 bps are 21 bps. `exit_pnl` walks the books on the closing side.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from runner.engine.desk import Desk, Listed
from runner.engine.limits import closing_price
from runner.lang.cells import PnlCell, PositionCell, RuleCell
from runner.market.instruments import Instrument
from runner.spec.rule_plan import OrderPlan, RulePlan

if TYPE_CHECKING:
    from runner.engine.ledger import Ledger
    from runner.engine.rule import RuleRun


def open_fee(order: OrderPlan, instrument: Instrument) -> float:
    """Return the fee ratio an entry order pays: maker when it only posts, else taker."""
    return instrument.fees.maker if order.tif == "post_only" else instrument.fees.taker


def round_trip(rule: RulePlan, markets: dict[str, Listed], weights: list[float]) -> float:
    """Return the fees of opening and closing all legs as a ratio of the first leg's notional."""
    total = 0.0
    for i, (leg, weight) in enumerate(zip(rule.legs, weights, strict=True)):
        instrument = markets[leg.market].instrument
        fee = open_fee(leg.order, instrument)
        if rule.quote is not None:
            fee += open_fee(leg.order, instrument)
        if rule.trade is not None:
            passive = rule.trade.close.tif == "post_only" and i == 0  # the others follow at once
            fee += instrument.fees.maker if passive else instrument.fees.taker
        total += fee * weight / weights[0]
    return total


class TradeCell(RuleCell):
    """`this.*` and `rule.R.*` of one rule."""

    __slots__ = ("_desk", "_rule", "day_base", "run")

    def __init__(self, desk: Desk, rule: RulePlan) -> None:
        super().__init__()
        self._desk = desk
        self._rule = rule
        self.run: RuleRun | None = None
        self.day_base = 0.0

    def price_fees(self, now: int) -> None:
        """Compute `cost` anew; a leg without a known weight counts 1."""
        weights = [1.0] * len(self._rule.legs)
        if self.run is not None:
            for i, weight in enumerate(self.run.program.weights):
                value = weight(now) if weight is not None else 1.0
                weights[i] = value if value > 0 else 1.0
        self.cost = round_trip(self._rule, self._desk.markets, weights)

    def age(self, now: int) -> float:
        trade = self.run.trade if self.run is not None else None
        return nan if trade is None else (now - trade.t) / 1e9

    def qty(self, now: int) -> float:
        trade = self.run.trade if self.run is not None else None
        return nan if trade is None else trade.legs[0].base(abs(trade.legs[0].filled))

    def pnl(self, now: int) -> float:
        total = -self.day_base
        for leg in self._rule.legs:
            ledger = self._desk.ledgers.of(self._rule.name, leg.market)
            total += ledger.settled_pnl + _closed(self._desk.markets[leg.market], ledger)
        return total

    def exit_pnl(self, now: int) -> float:
        trade = self.run.trade if self.run is not None else None
        if trade is None:
            return nan
        total = -trade.baseline
        for leg in trade.legs:
            total += leg.ledger.settled_pnl + _closed(leg.listed, leg.ledger)
        return total

    def exit_return(self, now: int) -> float:
        pnl = self.exit_pnl(now)
        if pnl != pnl or self.run is None or self.run.trade is None:
            return nan
        notional = self.run.trade.notional
        return pnl / notional if notional > 0 else nan


class HeldCell(PositionCell):
    """`position.M.*`."""

    __slots__ = ("_desk", "_liquidation", "_listed")

    def __init__(self, desk: Desk, listed: Listed) -> None:
        super().__init__()
        self._desk = desk
        self._listed = listed
        self._liquidation = nan

    def refresh(self) -> None:
        """Take quantity, entry and open orders from the ledgers."""
        market = self._listed.name
        lots = self._desk.ledgers.lots(market)
        self.qty = lots * self._listed.instrument.lot_base_f
        self.entry = nan
        if lots:
            held = [x for x in self._desk.ledgers.by_market[market] if x.lots]
            self.entry = sum(x.entry * x.lots for x in held) / lots
        self.open_orders = float(len(self._desk.orders.working(market)))
        venue = self._desk.venue_of(market)
        told = venue.held.get(self._listed.instrument.symbol)
        self.account_qty = nan
        if venue.heard and self._listed.perpetual:
            lots_there = told.lots if told is not None else 0
            self.account_qty = lots_there * self._listed.instrument.lot_base_f
        at = told.liquidation if told is not None else 0.0
        self._liquidation = at if at > 0 else nan

    def liq_gap(self, now: int) -> float:
        return abs(self._liquidation / self._listed.mid() - 1)

    def notional(self, now: int) -> float:
        lots = self._desk.ledgers.lots(self._listed.name)
        return abs(self.qty) * closing_price(self._listed, lots) if lots else 0.0

    def pnl(self, now: int) -> float:
        total = 0.0
        for ledger in self._desk.ledgers.by_market.get(self._listed.name, ()):
            if ledger.lots:
                price = closing_price(self._listed, ledger.lots)
                total += ledger.unrealised(price, self._listed.instrument.lot_base_f)
        return total


class DayCell(PnlCell):
    """`pnl.day`."""

    __slots__ = ("_desk",)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def day(self, now: int) -> float:
        limits = self._desk.limits
        return limits.value - limits.day_start


def _closed(listed: Listed, ledger: Ledger) -> float:
    """Return what closing a ledger now adds, after the closing fee; NaN without a live book."""
    if ledger.lots == 0:
        return 0.0
    return closed_at(closing_price(listed, ledger.lots), listed, ledger)


def closed_at(price: float, listed: Listed, ledger: Ledger) -> float:
    """Return what closing a ledger at a price adds, after the closing fee."""
    lot_base = listed.instrument.lot_base_f
    fee = abs(ledger.lots) * lot_base * price * listed.instrument.fees.taker
    return ledger.unrealised(price, lot_base) - fee
