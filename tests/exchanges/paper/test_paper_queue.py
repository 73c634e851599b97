"""R-44: what rests on paper waits for its turn, as it would in a matching engine.

The simulator's book matches the same flow of others twice: with our order in the queue, which is
the truth, and without it, which is all that paper sees of a market.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

import pytest

from runner.engine.commands import Tif
from runner.engine.events import Fill, Trade
from runner.exchanges.paper.queue import QueueKind, QueueModel
from runner.market.instruments import Side
from runner.sim.matching import Book, Resting, Verdict
from runner.sim.matching import Side as SimSide
from runner.sim.matching import Trade as SimTrade
from tests.exchanges.paper.paperlab import MS, Lab, ListBook, instrument

TICK, LOT = 0.1, 0.001
FREE = instrument(min_notional=Decimal(0))


def rested(lab: Lab, lots: int = 10, price: str = "100.0") -> str:
    cid = lab.send("buy", lots, price, tif=Tif.GTC)
    lab.run()
    return cid


def print_(lab: Lab, price: float, lots: int, taker: str = "sell") -> int:
    """Let a trade print; return the lots that it filled of ours."""
    lab.now += MS
    lab.market(Trade(market="m", price=price, qty=lots * LOT, taker=taker))
    return sum(e.lots for e in lab.run() if isinstance(e, Fill))


def show(lab: Lab, lots: int) -> None:
    lab.now += MS
    lab.changed(lambda book: setattr(book, "bids", [(100.0, lots * LOT), (99.9, 1.0)]))


def lab_of(kind: QueueKind = QueueKind.PROB, ahead: int = 50) -> Lab:
    bids = [(100.0, ahead * LOT), (99.9, 1.0)]
    return Lab(ListBook(bids, [(100.1, 1.0)]), queue=QueueModel(kind), instrument=FREE)


def test_trades_at_the_price_serve_first_who_was_first() -> None:
    lab = lab_of()
    rested(lab)
    assert print_(lab, 100.0, 49) == 0
    assert print_(lab, 100.0, 4) == 3
    assert print_(lab, 100.0, 100) == 7


def test_a_trade_beyond_the_price_fills_at_once_but_never_more_than_it_printed() -> None:
    lab = lab_of()
    rested(lab)
    assert print_(lab, 99.9, 6) == 6


def test_a_buyer_does_not_serve_bids() -> None:
    lab = lab_of()
    rested(lab)
    assert print_(lab, 100.0, 1000, taker="buy") == 0


@pytest.mark.parametrize(
    ("kind", "filled"),
    [(QueueKind.PROB, 10), (QueueKind.PESSIMISTIC, 0), (QueueKind.THROUGH, 0)],
)
def test_what_is_cancelled_ahead_is_a_matter_of_the_model(kind: QueueKind, filled: int) -> None:
    """50 stood ahead and 50 came behind; 40 are cancelled, 20 of them ahead by proportion."""
    lab = lab_of(kind)
    rested(lab)
    show(lab, 100)
    show(lab, 60)
    lab.now += 200 * MS  # no trade has explained it
    assert print_(lab, 100.0, 40) == filled


def test_a_decrease_that_a_trade_explains_is_not_counted_twice() -> None:
    for trade_first in (True, False):
        lab = lab_of()
        rested(lab)
        show(lab, 100)
        if trade_first:
            assert print_(lab, 100.0, 30) == 0
            show(lab, 70)
        else:
            show(lab, 70)
            assert print_(lab, 100.0, 30) == 0
        assert print_(lab, 100.0, 19) == 0  # of 50 ahead 30 were served: 20 are left
        assert print_(lab, 100.0, 3) == 2


def test_our_own_orders_share_one_queue() -> None:
    lab = lab_of()
    first, second = rested(lab, 5), rested(lab, 5)
    print_(lab, 100.0, 57)
    filled = {e.cid: e.lots for e in lab.events if isinstance(e, Fill)}
    assert filled == {first: 5, second: 2}


def test_a_price_beyond_the_known_depth_gets_its_place_when_it_is_seen() -> None:
    lab = lab_of()
    rested(lab, 10, "99.5")
    assert print_(lab, 99.5, 10) == 0  # nobody knows what stands there
    lab.now += MS
    lab.changed(lambda book: setattr(book, "bids", [(99.5, 20 * LOT), (99.0, 1.0)]))
    assert print_(lab, 99.5, 19) == 0
    assert print_(lab, 99.5, 2) == 1


# -- against a matching engine


class OverBook(ListBook):
    """The market without us, as paper reads it."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self.book = book

    def levels(self, side: Side) -> list[tuple[float, float]]:
        theirs = SimSide.BUY if side is Side.BUY else SimSide.SELL
        return [(tick * TICK, lots * LOT) for tick, lots in self.book.top(theirs, 8)]


@dataclass
class World:
    """One market; `other` is the same flow without our order."""

    truth: Book = field(default_factory=Book)
    other: Book = field(default_factory=Book)
    alive: dict[int, tuple[SimSide, int, Resting, Resting]] = field(default_factory=dict)
    filled: int = 0
    count: int = 0

    def add(self, side: SimSide, tick: int, lots: int) -> None:
        """Somebody's order: in the truth it may meet ours first."""
        self.count += 1
        before = self.filled
        self.truth.match(side, tick, lots, self._judge, self._settle)
        rest = lots - (self.filled - before)
        mine = self.truth.rest(side, tick, rest, None) if rest else Resting(0)
        self.alive[self.count] = side, tick, mine, self.other.rest(side, tick, lots, None)

    def cancel(self, which: int) -> None:
        side, tick, one, two = self.alive.pop(which)
        for book, resting in ((self.truth, one), (self.other, two)):
            if resting.lots:
                book.shrink(side, tick, resting, resting.lots)

    def take(self, side: SimSide, lots: int) -> list[SimTrade]:
        """A market order; return what the market without us printed."""
        trades: list[SimTrade] = []
        far = 10**6 if side is SimSide.BUY else 0
        self.truth.match(side, far, lots, self._judge, self._settle)
        self.other.match(side, far, lots, self._judge, trades.append)
        return trades

    def _judge(self, owner: object, lots: int) -> Verdict:
        return Verdict(lots)

    def _settle(self, trade: SimTrade) -> None:
        if trade.maker is not None:
            self.filled += trade.lots


def step(world: World, rng: Random) -> Iterable[SimTrade]:
    """One event of the flow, the same for both books."""
    side = rng.choice((SimSide.BUY, SimSide.SELL))
    what = rng.random()
    thin = [s for s in (SimSide.BUY, SimSide.SELL) if len(world.other.top(s, 4)) < 4]
    if thin or what < 0.5:
        side = thin[0] if thin else side
        best, far = world.other.best(side), world.other.best(side.other)
        if best is None:
            best = (far - int(side)) if far is not None else 1000
        tick = best - int(side) * (rng.choice((-1, 0, 0, 0, 1, 1, 2, 3)))
        if far is not None and (tick - far) * int(side) >= 0:
            tick = best
        world.add(side, tick, rng.randint(1, 6))
    elif what < 0.82 and world.alive:
        world.cancel(rng.choice(list(world.alive)))
    else:
        return world.take(side, rng.randint(1, 9))
    return ()


def probe(seed: int, model: QueueModel) -> tuple[int, int]:
    """Rest an order at the touch in both; return (truly filled, filled on paper)."""
    rng, world = Random(seed), World()
    for _ in range(150):
        step(world, rng)
    lab = Lab(OverBook(world.other), queue=model, instrument=FREE)
    side = rng.choice((Side.BUY, Side.SELL))
    theirs = SimSide.BUY if side is Side.BUY else SimSide.SELL
    tick, lots = world.other.best(theirs), rng.randint(1, 6)
    assert tick is not None
    lab.send(str(side), lots, f"{tick * TICK:.1f}", tif=Tif.GTC)
    lab.run()
    world.truth.rest(theirs, tick, lots, "ours")
    paper = 0
    for _ in range(60):
        lab.now += 200 * MS
        for trade in step(world, rng):
            taker = "sell" if world_taker(world, trade, theirs) is SimSide.SELL else "buy"
            lab.market(Trade(market="m", price=trade.tick * TICK, qty=trade.lots * LOT,
                             taker=taker))  # fmt: skip
        lab.changed()
        paper += sum(e.lots for e in lab.run() if isinstance(e, Fill))
    return world.filled, paper


def world_taker(world: World, trade: SimTrade, ours: SimSide) -> SimSide:
    """Which side took: bids stand below the asks."""
    ask = world.other.best(SimSide.SELL)
    return SimSide.SELL if ask is None or trade.tick < ask else SimSide.BUY


def compare(count: int, model: QueueModel) -> tuple[float, float, float]:
    """Return (ratio of fills, agreement of orders, share of false fills) over so many probes."""
    real = on_paper = same = false = 0
    for seed in range(count):
        truly, paper = probe(seed, model)
        real += truly
        on_paper += paper
        same += (truly > 0) == (paper > 0)
        false += paper > 0 and truly == 0
    return on_paper / real, same / count, false / count


def test_paper_fills_what_a_matching_engine_would() -> None:
    """A sample; the campaign takes 2,000 probes and the figures of R-44."""
    ratio, agreement, false = compare(200, QueueModel())
    assert 0.85 <= ratio <= 1.05
    assert agreement >= 0.93
    assert false <= 0.03


def test_the_pessimistic_model_fills_less() -> None:
    prob, _, _ = compare(80, QueueModel())
    ratio, _, false = compare(80, QueueModel(QueueKind.PESSIMISTIC))
    assert ratio < prob
    assert false <= 0.02


@pytest.mark.campaign
def test_paper_fills_what_a_matching_engine_would_in_2000_probes() -> None:
    ratio, agreement, false = compare(2_000, QueueModel())
    assert 0.90 <= ratio <= 1.02
    assert agreement >= 0.95
    assert false <= 0.02
