"""Where the profit of a rule went, from the edge it saw to the net it kept (trading.md, 8).

Every fill is split at the moment of its decision:

    touch    the best price on the side it would take, when it was decided
    walk     what taking all of the order would have cost then, less the touch
    latency  what it cost more when the order met the book

A position is kept per rule and market at the *touches* of its decisions. What is closed realises
the difference of two touches: that is the edge. What a repair adds or undoes, and all that is
closed after an entry failed, goes to the failed legs instead. What is still open is valued at the
price that would close it. A quote's order is decided anew with each change, and one trade of a
quote is a round trip of its inventory: from nothing held to nothing held again. So

    edge + walk + latency + fees + failed + funding + open = net

holds by construction, and `net` is computed a second way, from cash alone, to show it.
All amounts are Decimal in the quote currency; costs are negative.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal

from msgspec import structs

from runner.engine.commands import Intent, Purpose
from runner.engine.events import Fill
from runner.market.instruments import Instrument, Side

ZERO = Decimal(0)
TOLERANCE = Decimal("1e-8")


@dataclass(slots=True)
class Pieces:
    """The pieces of a rule's result, signed: what was earned is positive."""

    edge: Decimal = ZERO
    walk: Decimal = ZERO
    latency: Decimal = ZERO
    fees: Decimal = ZERO
    failed: Decimal = ZERO
    funding: Decimal = ZERO
    open: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        """The sum of all pieces."""
        return sum((getattr(self, piece.name) for piece in fields(self)), ZERO)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the book offered an order when it was decided: best price, and average of all of it."""

    touch: Decimal
    average: Decimal


@dataclass(slots=True)
class Leg:
    """What a rule holds on one market.

    `touch_cost` is the signed sum of touch x base held, `cash` all that was received less all that
    was paid, fees and funding apart. `paid` is the same as touch_cost at the prices of the fills.
    """

    instrument: Instrument
    lots: int = 0
    touch_cost: Decimal = ZERO
    paid: Decimal = ZERO
    cash: Decimal = ZERO
    realised: Decimal = ZERO
    entry_touch: Decimal | None = None

    @property
    def base(self) -> Decimal:
        """Signed base amount held."""
        return self.instrument.base_qty(self.lots)

    def trade(self, side: Side, lots: int, price: Decimal, touch: Decimal) -> Decimal:
        """Book an execution; return what closing realised between touches."""
        change, gained = lots * side.sign, ZERO
        self.cash -= self.instrument.base_qty(change) * price
        if self.lots * change < 0:
            closed = min(lots, abs(self.lots)) * side.sign
            gained = self._release(closed, price, touch)
            change -= closed
        self.lots += change
        self.touch_cost += self.instrument.base_qty(change) * touch
        self.paid += self.instrument.base_qty(change) * price
        return gained

    def _release(self, closed: int, price: Decimal, touch: Decimal) -> Decimal:
        part = Decimal(abs(closed)) / abs(self.lots)
        touch_cost, paid = self.touch_cost * part, self.paid * part
        self.touch_cost -= touch_cost
        self.paid -= paid
        self.lots += closed
        base = self.instrument.base_qty(closed)
        self.realised -= base * price + paid
        return -base * touch - touch_cost


@dataclass(slots=True)
class RuleMoney:
    """The money of one rule."""

    name: str
    quotes: bool = False
    """its verb is `quote`: a trade is a round trip of the inventory"""
    trips: int = 0
    """inventories of a quote that were opened and are closed again"""
    pieces: Pieces = field(default_factory=Pieces)
    legs: dict[str, Leg] = field(default_factory=dict)
    failing: bool = False
    """an entry failed; what is closed from here on undoes it"""
    volume: Decimal = ZERO
    fills: int = 0
    blind: int = 0
    """fills of orders that were decided without a valid book: split nowhere"""
    other_fees: dict[str, Decimal] = field(default_factory=dict)
    group: int | None = None
    trades: list[Decimal] = field(default_factory=list)
    """the result of each trade but the running one, fees and funding counted"""
    _before: Decimal = ZERO
    _begun: int | None = None
    """the group that began the newest trade; it may fill nothing, its later tries and clips do"""

    # -- events

    def decided(self, intent: Intent) -> None:
        """Note which trade the entries from now on belong to; later clips and hedges go on."""
        if intent.purpose is Purpose.ENTRY and not intent.attempt:
            self._begun = intent.group

    def fill(self, intent: Intent, instrument: Instrument, fill: Fill, seen: Seen | None) -> None:
        """Book one execution of an order of this rule."""
        leg = self.legs.setdefault(intent.market, Leg(instrument))
        self.fills += 1
        self.blind += seen is None
        if not self.quotes:
            begins = intent.purpose is Purpose.ENTRY and self._begun is not None
            if begins and self._begun != self.group:
                self._next_trade(self._begun)
            self._book(intent, leg, fill, seen)
            return
        held = leg.lots * -intent.side.sign
        crosses = 0 < held < fill.lots
        for part in _split(fill, held) if crosses else (fill,):
            if not leg.lots or self.group is None:
                self._next_trade(intent.group)
            self._book(intent, leg, part, seen)
            self.trips += not leg.lots

    def _book(self, intent: Intent, leg: Leg, fill: Fill, seen: Seen | None) -> None:
        price = Decimal(repr(fill.price))
        seen = seen or Seen(price, price)
        signed = leg.instrument.base_qty(fill.lots) * intent.side.sign
        self.volume += abs(signed) * price
        self.pieces.walk -= signed * (seen.average - seen.touch)
        self.pieces.latency -= signed * (price - seen.average)
        self._position(intent, leg, fill.lots, price, seen.touch)
        self._fee(leg.instrument, fill, price)

    def correct_fee(self, instrument: Instrument, before: Fill, after: Fill) -> None:
        """Take the fee from the second word on an execution (its first came without)."""
        price = Decimal(repr(before.price))
        self._fee(instrument, before, price, undo=True)
        self._fee(instrument, after, price)

    def take_over(self, market: str, instrument: Instrument, lots: int, entry: float) -> Leg:
        """Open with what an earlier run left, as if it were bought at its average entry now."""
        leg = self.legs[market] = Leg(instrument, lots)
        price = Decimal(repr(entry))
        leg.touch_cost = leg.paid = leg.base * price
        leg.cash = -leg.paid
        leg.entry_touch = price
        return leg

    def taken(self, market: str, lots: int, price: Decimal) -> None:
        """Book what the exchange closed by itself (signed lots): a leg that failed."""
        side = Side.BUY if lots > 0 else Side.SELL
        self.pieces.failed += self.legs[market].trade(side, abs(lots), price, price)

    def fund(self, amount: Decimal) -> None:
        """Book funding received (+) or paid (-)."""
        self.pieces.funding += amount

    def value_open(self, market: str, price: Decimal | None) -> None:
        """Value what is held on a market at the price that closes it (None: at its entry)."""
        leg = self.legs[market]
        if leg.lots and price is not None:
            self.pieces.open += leg.base * price - leg.touch_cost
        elif leg.lots:
            self.pieces.open += leg.paid - leg.touch_cost

    # -- figures

    @property
    def realised(self) -> Decimal:
        """Profit of what was closed, at average entry, before fees and funding."""
        return sum((leg.realised for leg in self.legs.values()), ZERO)

    def results(self) -> list[Decimal]:
        """Return the result of each trade, the running one last."""
        return [*self.trades, self._settled() - self._before] if self.group is not None else []

    def net_from_cash(self, exits: dict[str, Decimal]) -> Decimal:
        """Compute the net a second way: cash, fees, funding, holdings at `exits` by market."""
        held = sum((leg.base * exits[m] for m, leg in self.legs.items() if leg.lots), ZERO)
        cash = sum((leg.cash for leg in self.legs.values()), ZERO)
        return cash + held + self.pieces.fees + self.pieces.funding

    # -- inside

    def _settled(self) -> Decimal:
        return self.realised + self.pieces.fees + self.pieces.funding

    def _next_trade(self, group: int | None) -> None:
        if self.group is not None:
            self.trades.append(self._settled() - self._before)
        self._before = self._settled()
        self.group = group
        self.failing = False

    def _position(
        self, intent: Intent, leg: Leg, lots: int, price: Decimal, touch: Decimal
    ) -> None:
        repair = intent.purpose is Purpose.REPAIR
        opens = leg.lots * intent.side.sign >= 0
        if intent.purpose is Purpose.ENTRY:
            leg.entry_touch = touch
        reference = touch
        if repair and opens and leg.entry_touch is not None:
            # A repair that completes: the edge was seen at the entry, the delay is the failure's.
            reference = leg.entry_touch
            base = leg.instrument.base_qty(lots * intent.side.sign)
            self.pieces.failed -= base * (touch - reference)
        gained = leg.trade(intent.side, lots, price, reference)
        if repair or (self.failing and intent.purpose is Purpose.CLOSE):
            self.pieces.failed += gained
        else:
            self.pieces.edge += gained

    def _fee(self, instrument: Instrument, fill: Fill, price: Decimal, undo: bool = False) -> None:
        if fill.fee is None:
            rate = instrument.fees.maker if fill.maker else instrument.fees.taker
            fee = instrument.base_qty(fill.lots) * price * Decimal(repr(rate))
        else:
            fee = Decimal(repr(fill.fee))
            if fill.fee_asset == instrument.base:
                fee *= price
            elif fill.fee_asset not in ("", instrument.quote):
                assert not undo, "a fee without an asset is in the quote"
                before = self.other_fees.get(fill.fee_asset, ZERO)
                self.other_fees[fill.fee_asset] = before + fee
                return
        self.pieces.fees += fee if undo else -fee


def _split(fill: Fill, lots: int) -> tuple[Fill, Fill]:
    """Cut an execution in two, the first of `lots`; the fee goes by quantity."""
    first = None if fill.fee is None else fill.fee * lots / fill.lots
    rest = None if fill.fee is None or first is None else fill.fee - first
    return (
        structs.replace(fill, lots=lots, fee=first),
        structs.replace(fill, lots=fill.lots - lots, fee=rest),
    )
