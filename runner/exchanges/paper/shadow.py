"""Haircuts: the same decisions once more under worse conditions (trading.md, section 8).

A `Shadow` gets every order that was sent and fills it on its own account: later, or only with what
is still there a while after it arrives, or at higher fees. It walks books at those moments only.
Its takings are remembered as the exchange's are, but looked at only when it trades, so a level
that went and came back still counts as taken (pessimistic). Orders that rest are not repeated:
their real fills are taken over.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Protocol

from runner.base.clock import NS_PER_MS
from runner.engine.commands import Intent, Purpose, Tif
from runner.engine.events import Fill
from runner.exchanges.paper.books import BookView, Consumption, Take, ladder, walk
from runner.exchanges.paper.funding import NEVER
from runner.exchanges.paper.latency import LatencyModel
from runner.market.instruments import Instrument

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Haircut:
    """One set of worse conditions. `stays_ns`: what must still be there so long after arrival."""

    name: str
    text: str
    latency_factor: int = 1
    stays_ns: int = 0
    fee_step: Decimal = ZERO


SLOWER = Haircut("latency_x3", "all delays three times as long", latency_factor=3)
CONTESTED = Haircut(
    "contested", "only what is still there 50 ms after arrival", stays_ns=50 * NS_PER_MS
)


class _Act(Protocol):
    def __call__(self, at: int) -> None: ...


@dataclass(slots=True)
class Held:
    """What a shadow's rule holds on one market."""

    lots: int = 0
    cash: Decimal = ZERO
    """received less paid, fees counted"""
    filled: int = 0
    asked: int = 0


@dataclass(slots=True)
class Shadow:
    """One haircut on one exchange."""

    haircut: Haircut
    instruments: Mapping[str, Instrument]
    books: Mapping[str, BookView]
    latency: LatencyModel
    seed: str
    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    _own: dict[str, Consumption] = field(default_factory=dict)
    _agenda: list[tuple[int, int, _Act]] = field(default_factory=list)
    _count: int = 0

    @property
    def due(self) -> int:
        """Monotonic ns of the next look at a book."""
        return self._agenda[0][0] if self._agenda else NEVER

    def send(self, intent: Intent, now: int) -> None:
        """Repeat a decision."""
        if intent.purpose is not Purpose.PROTECT:  # asks for nothing until it is set off
            self._holding(intent).asked += intent.lots
        if rests(intent) or self._copies:
            return
        delay = self.latency.draw_entry(self.seed, (intent.cid,)) * self.haircut.latency_factor
        self._later(now + delay, partial(self._arrive, intent))

    def filled(self, intent: Intent, fill: Fill) -> None:
        """Hear of a real fill: taken over where the shadow does not trade by itself."""
        if intent.purpose is Purpose.PROTECT:
            self._holding(intent).asked += fill.lots
        if rests(intent) or self._copies:
            ticks = round(fill.price / self.instruments[intent.market].tick_f)
            self._book(intent, [Take(ticks, fill.lots)], fill.maker)

    def on_timer(self, now: int) -> None:
        """Do what is due."""
        while self._agenda and self._agenda[0][0] <= now:
            at, _, act = heapq.heappop(self._agenda)
            act(at=at)

    def net(self, rule: str, market: str, exit_price: Decimal | None) -> Decimal:
        """Return the result of a rule on a market, what is open at the price that closes it."""
        held = self.held.get((rule, market))
        if held is None:
            return ZERO
        base = self.instruments[market].base_qty(held.lots)
        return held.cash + base * (exit_price or ZERO)

    @property
    def _copies(self) -> bool:
        """Whether only the fees differ: then fills are the real ones."""
        return self.haircut.latency_factor == 1 and not self.haircut.stays_ns

    def _holding(self, intent: Intent) -> Held:
        return self.held.setdefault((intent.rule, intent.market), Held())

    def _later(self, at: int, act: _Act) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (at, self._count, act))

    def _arrive(self, intent: Intent, at: int) -> None:
        takes = self._walk(intent, at)
        if takes and self.haircut.stays_ns:
            stays = partial(self._confirm, intent, takes)
            self._later(at + self.haircut.stays_ns, stays)
        else:
            self._book(intent, takes, maker=False)

    def _confirm(self, intent: Intent, before: list[Take], at: int) -> None:
        """Keep of the takings what their levels still show."""
        view, instrument = self.books[intent.market], self.instruments[intent.market]
        resting, own = intent.side.opposite, self._own[intent.market]
        shown = dict(ladder(view, resting, instrument)) if view.valid(at) else {}
        kept = []
        for take in before:
            lots = min(take.lots, own.left(resting, take.ticks, shown.get(take.ticks, 0)))
            if lots:
                kept.append(Take(take.ticks, lots))
        self._book(intent, kept, maker=False)

    def _walk(self, intent: Intent, at: int) -> list[Take]:
        view, instrument = self.books[intent.market], self.instruments[intent.market]
        if not view.valid(at):
            return []
        own = self._own.setdefault(intent.market, Consumption(instrument))
        own.refresh(view)
        wanted = intent.lots
        if intent.purpose is Purpose.CLOSE:
            # The shadow may hold less than the run: a close never opens the other side.
            wanted = min(wanted, max(0, -self._holding(intent).lots * intent.side.sign))
        limit = intent.ticks if intent.ticks else None
        takes = walk(view, instrument, intent.side, wanted, limit, own)
        if intent.tif is Tif.FOK and sum(take.lots for take in takes) < wanted:
            return []
        return takes

    def _book(self, intent: Intent, takes: list[Take], maker: bool) -> None:
        instrument, held = self.instruments[intent.market], self._holding(intent)
        own = self._own.setdefault(intent.market, Consumption(instrument))
        if not maker:
            own.take(intent.side.opposite, takes)
        rate = Decimal(repr(instrument.fees.maker if maker else instrument.fees.taker))
        rate += abs(rate) * self.haircut.fee_step
        for take in takes:
            value = instrument.base_qty(take.lots) * instrument.price(take.ticks)
            held.lots += take.lots * intent.side.sign
            held.cash -= value * intent.side.sign + value * rate
            held.filled += take.lots


def rests(intent: Intent) -> bool:
    """Tell whether an order may rest, so that its fills are not ours to decide."""
    return intent.tif in (Tif.GTC, Tif.POST_ONLY)
