"""What an exchange checks of an order before it meets the book: one function per rule (R-46).

Each returns a `Why` or None. They judge the texts that would have gone over the wire, not the
integers behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from runner.engine.commands import Intent, OrderType, Tif
from runner.exchanges.paper.account import PaperAccount
from runner.exchanges.paper.books import Take
from runner.exchanges.paper.market import Market
from runner.exchanges.paper.orders import PaperOrder, Stage
from runner.exchanges.paper.rules import VenueRules, Why
from runner.market.instruments import Instrument, Kind


@dataclass(frozen=True, slots=True)
class Case:
    """An order with all that is known when it arrives.

    `reference` is the mark (else the mid), `price` what the order would cost at most per base;
    `resting` counts this symbol's resting orders.
    """

    intent: Intent
    instrument: Instrument
    rules: VenueRules
    account: PaperAccount
    reference: Decimal
    price: Decimal
    resting: int

    @property
    def qty(self) -> Decimal:
        return Decimal(self.intent.qty_text)

    @property
    def reducing(self) -> bool:
        """Tell whether the account holds the opposite of this order."""
        held = self.account.position(self.intent.symbol)
        return held * self.intent.side.sign < 0


def case_of(
    market: Market,
    order: PaperOrder,
    takes: list[Take],
    rules: VenueRules,
    account: PaperAccount,
    reference: Decimal,
) -> Case:
    """Return the case of an order that would take this of the book."""
    instrument = market.instrument
    if order.limit is not None:
        price = instrument.price(order.limit)
    elif takes and instrument.kind is Kind.SPOT:
        price = instrument.price(takes[-1].ticks)
    else:
        price = reference
    resting = sum(o.stage is Stage.OPEN for o in market.working.values())
    return Case(order.intent, instrument, rules, account, reference, price, resting)


def _status(case: Case) -> Why | None:
    return None if case.instrument.status == "trading" else Why.CLOSED


def _price_low(case: Case) -> Why | None:
    if case.intent.type is not OrderType.LIMIT:
        return None
    return Why.PRICE_LOW if Decimal(case.intent.price_text) <= 0 else None


def _price_step(case: Case) -> Why | None:
    if case.intent.type is not OrderType.LIMIT:
        return None
    return Why.PRICE_STEP if Decimal(case.intent.price_text) % case.instrument.tick else None


def _qty_zero(case: Case) -> Why | None:
    return Why.QTY_ZERO if case.qty <= 0 else None


def _qty_step(case: Case) -> Why | None:
    return Why.QTY_STEP if case.qty % case.instrument.lot else None


def _min_qty(case: Case) -> Why | None:
    return Why.MIN_QTY if case.qty < case.instrument.min_qty else None


def _max_qty(case: Case) -> Why | None:
    most = case.instrument.max_qty
    return Why.MAX_QTY if most and case.qty > most else None


def _band(case: Case) -> Why | None:
    if case.intent.type is not OrderType.LIMIT:
        return None
    price, band = Decimal(case.intent.price_text), case.rules.band
    if case.intent.side.sign > 0 and price > case.reference * (1 + band):
        return Why.BAND_HIGH
    if case.intent.side.sign < 0 and price < case.reference * (1 - band):
        return Why.BAND_LOW
    return None


def _min_notional(case: Case) -> Why | None:
    if case.intent.reduce_only and case.rules.reduce_only_exempt_from_min:
        return None
    value = case.qty * case.instrument.contract_size * case.price
    return Why.MIN_NOTIONAL if value < case.instrument.min_notional else None


def _reduce_only(case: Case) -> Why | None:
    if not case.intent.reduce_only:
        return None
    if not case.rules.reduce_only or case.instrument.kind is Kind.SPOT or not case.reducing:
        return Why.REDUCE_ONLY
    return None


def _max_open(case: Case) -> Why | None:
    return Why.MAX_OPEN if case.resting >= case.rules.max_open else None


def _balance(case: Case) -> Why | None:
    if case.intent.reduce_only:
        return None
    intent = case.intent
    covered = case.account.affords(case.instrument, intent.side, intent.lots, case.price)
    return None if covered else Why.BALANCE


CHECKS: tuple[Callable[[Case], Why | None], ...] = (
    _status,
    _qty_zero,
    _qty_step,
    _min_qty,
    _max_qty,
    _price_low,
    _price_step,
    _band,
    _min_notional,
    _reduce_only,
    _max_open,
    _balance,
)


def refuse(case: Case) -> Why | None:
    """Return why the exchange refuses the order, None when it takes it."""
    for check in CHECKS:
        why = check(case)
        if why is not None:
            return why
    return None


def by_book(order: PaperOrder, takes: list[Take]) -> Why | None:
    """Return what the book itself forbids."""
    if order.intent.tif is Tif.POST_ONLY and takes:
        return Why.POST_ONLY
    if order.intent.tif is Tif.FOK and sum(take.lots for take in takes) < order.size:
        return Why.FOK
    return None
