"""R-43: what a taker gets on paper is what a matching engine that knew us would have given.

The same flow of orders of others goes through two books, kept order by order: `apart`, which never
sees us and is what an exchange would show, and `true`, where our orders take for real. Paper sees
the first only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from runner.engine.events import Fill
from runner.market.instruments import Side
from tests.exchanges.paper.paperlab import Lab, ListBook

TICK = 0.1
LOT = 0.001


@dataclass
class OrderBook:
    """Price-time matching by brute force: lists of [id, lots] by price, nothing clever."""

    sides: dict[Side, dict[int, list[list[int]]]] = field(
        default_factory=lambda: {Side.BUY: {}, Side.SELL: {}}
    )

    def best(self, side: Side) -> int | None:
        prices = self.sides[side]
        if not prices:
            return None
        return max(prices) if side is Side.BUY else min(prices)

    def add(self, side: Side, price: int, id: int, lots: int) -> None:
        self.sides[side].setdefault(price, []).append([id, lots])

    def cancel(self, id: int) -> None:
        for prices in self.sides.values():
            for price, queue in list(prices.items()):
                prices[price] = [order for order in queue if order[0] != id]
                if not prices[price]:
                    del prices[price]

    def take(self, side: Side, lots: int) -> list[tuple[int, int]]:
        """Take lots from the other side; return (price, lots) taken."""
        taken = []
        while lots and (best := self.best(side.opposite)) is not None:
            queue = self.sides[side.opposite][best]
            part = min(lots, queue[0][1])
            queue[0][1] -= part
            lots -= part
            taken.append((best, part))
            if not queue[0][1]:
                queue.pop(0)
            if not queue:
                del self.sides[side.opposite][best]
        return taken

    def shown(self, side: Side) -> list[tuple[float, float]]:
        prices = sorted(self.sides[side].items(), reverse=side is Side.BUY)
        return [(p * TICK, sum(lots for _, lots in queue) * LOT) for p, queue in prices]


class Flow:
    """Others: they add near a wandering price, cancel, and take."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.apart, self.true = OrderBook(), OrderBook()
        self.mid = 1000.0
        self.ids: list[int] = []
        for _ in range(300):
            self.add()

    def add(self) -> None:
        side = self.rng.choice((Side.BUY, Side.SELL))
        distance = 1 + int(self.rng.expovariate(0.5))
        price = round(self.mid - side.sign * distance)
        other = self.apart.best(side.opposite)
        if other is not None and (price - other) * side.sign >= 0:
            price = other - side.sign
        id = len(self.ids)
        self.ids.append(id)
        lots = self.rng.randint(20, 200)
        for book in (self.apart, self.true):
            book.add(side, price, id, lots)

    def step(self) -> None:
        self.mid += self.rng.gauss(0, 0.08)
        self.add()
        live = [o[0] for s in self.apart.sides.values() for q in s.values() for o in q]
        if self.rng.random() < len(live) / 400:
            id = self.rng.choice(live)
            self.apart.cancel(id)
            self.true.cancel(id)
        if self.rng.random() < 0.25:
            side, lots = self.rng.choice((Side.BUY, Side.SELL)), self.rng.randint(20, 300)
            self.apart.take(side, lots)
            self.true.take(side, lots)


def errors(seed: int, probes: int, every: int = 12, clip: int = 250) -> list[float]:
    """Return the price errors in ticks, paper less truth, positive when paper paid too much."""
    flow = Flow(seed)
    lab = Lab(ListBook(), balance=10**12)
    found = []
    for probe in range(probes):
        for _ in range(every):
            flow.step()
            lab.book.bids = flow.apart.shown(Side.BUY)
            lab.book.asks = flow.apart.shown(Side.SELL)
            lab.changed()
        side = Side.BUY if probe % 5 < 3 else Side.SELL
        price = f"{flow.mid * TICK * (1.04 if side is Side.BUY else 0.96):.1f}"
        fills = [e for e in lab.trade(str(side), clip, price) if isinstance(e, Fill)]
        true = flow.true.take(side, clip)
        if sum(f.lots for f in fills) == sum(lots for _, lots in true) == clip:
            paper = sum(f.price / TICK * f.lots for f in fills) / clip
            real = sum(price * lots for price, lots in true) / clip
            found.append((paper - real) * side.sign)
    assert len(found) > 0.9 * probes
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_price_errors_are_small_and_have_no_side(seed: int) -> None:
    found = errors(seed, 150)
    assert sum(map(abs, found)) / len(found) <= 0.15
    assert abs(sum(found)) / len(found) <= 0.1


def test_a_first_taker_gets_exactly_what_the_engine_gives() -> None:
    """Nothing of ours has been taken before: no error at all, level by level."""
    for seed in range(30):
        flow = Flow(seed)
        for _ in range(20):
            flow.step()
        book = ListBook(flow.apart.shown(Side.BUY), flow.apart.shown(Side.SELL))
        side = Side.BUY if seed % 2 else Side.SELL
        price = f"{flow.mid * TICK * (1.04 if side is Side.BUY else 0.96):.1f}"
        told = Lab(book).trade(str(side), 700, price)
        levels: dict[int, int] = {}
        for ticks, lots in flow.true.take(side, 700):
            levels[ticks] = levels.get(ticks, 0) + lots
        got = {round(f.price / TICK): f.lots for f in told if isinstance(f, Fill)}
        assert got == levels


@pytest.mark.campaign
def test_price_errors_over_many_markets() -> None:
    found = [error for seed in range(40) for error in errors(seed, 400)]
    mean, bias = sum(map(abs, found)) / len(found), sum(found) / len(found)
    print(f"{len(found)} probes: mean |error| {mean:.3f} tick, bias {bias:+.3f} tick")  # noqa: T201
    assert mean <= 0.15 and abs(bias) <= 0.1
