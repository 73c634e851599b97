"""R-05 over random lives of a feed: values are there if and only if everything vouches for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, isnan

import pytest

from runner.base.rng import seeded
from runner.market.events import ClockReading, Depth, Feed, Level, SocketState, Top
from runner.market.state import MarketState, StreamWant
from runner.market.streams import BookStream, StreamState

MS = 1_000_000
SECOND = 1_000 * MS
WALL = 1_700_000_000 * SECOND
AGE = 300 * MS


@dataclass
class Exchange:
    """A true book, its numbered differences, and a feed that loses, delays and garbles them."""

    seed: int
    deep: bool
    t: int = 0
    u: int = 100
    conn: int = 0
    up: bool = False
    bids: dict[float, float] = field(default_factory=lambda: {99.0: 1.0, 98.0: 2.0})
    asks: dict[float, float] = field(default_factory=lambda: {101.0: 1.0, 102.0: 2.0})

    def __post_init__(self) -> None:
        self.random = seeded("feed", self.seed)
        self.state = MarketState([StreamWant("m.book", "m", "x", "book", AGE, deep=self.deep)])
        stream = self.state.streams["m.book"]
        assert isinstance(stream, BookStream)
        self.stream = stream

    def step(self) -> None:
        """Let time pass, then one thing happen."""
        self.t += self.random.choice([0, MS, 20 * MS, 100 * MS, 400 * MS, 4 * SECOND])
        while self.t >= self.state.due:
            due = self.state.due
            self.state.on_timer(due)
            self.check(due)
            assert self.state.due > due
        happening = self.random.choices(
            [self.change, self.lose, self.top, self.late_top, self.crossed_top, self.snapshot,
             self.drop, self.open, self.sync],
            [12, 1, 8, 1, 0.5, 3, 0.5, 2, 0.5],
        )[0]  # fmt: skip
        happening()
        self.check(self.t)

    def check(self, now: int) -> None:
        stream = self.stream
        values = (stream.bid, stream.ask, stream.bid_qty, stream.ask_qty)
        if stream.state is not StreamState.LIVE:
            assert all(isnan(value) for value in values)
            assert isnan(stream.fill_price(True, 0.5, float("nan")))
            return
        assert all(isfinite(value) and value > 0 for value in values)
        assert stream.bid < stream.ask
        assert (stream.bid, stream.ask) == (stream.last_bid, stream.last_ask)
        assert 0 <= stream.age(now) <= AGE and stream.lag >= 0
        assert self.up and stream.link.id == self.conn
        assert now < self.state.due <= stream.t + AGE - stream.lag + 1
        if stream.deep:
            assert stream.book.in_step and not stream.gap
            assert now >= stream.link.warm_at()

    def change(self, lost: bool = False) -> None:
        bids: list[Level] = []
        asks: list[Level] = []
        for side, out, base in ((self.bids, bids, 95), (self.asks, asks, 101)):
            price = float(base + self.random.randrange(5))
            qty = float(self.random.choice([0, 1, 2, 3]))
            if qty or len(side) > 1:
                out.append((price, qty))
                side[price] = qty
                if not qty:
                    del side[price]
        first, self.u = self.u + 1, self.u + self.random.randint(1, 3)
        if self.up and not lost:
            self.state.apply(
                Depth(market="m", snapshot=False, bids=bids, asks=asks, first=first, last=self.u,
                      t=self.t, wall=WALL + self.t, ts=WALL + self.t - 3 * MS, conn=self.conn)
            )  # fmt: skip

    def lose(self) -> None:
        self.change(lost=True)

    def top(self, late: int = 0, crossed: bool = False) -> None:
        if not self.up:
            return
        bid, ask = max(self.bids), min(self.asks)
        if crossed:
            bid, ask = ask, bid
        self.state.apply(
            Top(market="m", bid=bid, ask=ask, bid_qty=1.0, ask_qty=1.0, u=self.u, t=self.t,
                wall=WALL + self.t, ts=WALL + self.t - 3 * MS - late, conn=self.conn)
        )  # fmt: skip

    def late_top(self) -> None:
        self.top(late=self.random.choice([10 * MS, 200 * MS, 2 * SECOND]))

    def crossed_top(self) -> None:
        self.top(crossed=True)

    def snapshot(self) -> None:
        self.state.apply(
            Depth(market="m", snapshot=True, bids=list(self.bids.items()),
                  asks=list(self.asks.items()), first=self.u, last=self.u, t=self.t,
                  wall=WALL + self.t)
        )  # fmt: skip

    def feed(self, what: SocketState) -> None:
        self.state.on_feed(
            Feed(exchange="x", socket="public", kind="public", state=what, conn=self.conn,
                 markets=("m",), t=self.t, wall=WALL + self.t)
        )  # fmt: skip

    def drop(self) -> None:
        if self.up:
            self.up = False
            self.feed(SocketState.DOWN)

    def open(self) -> None:
        if not self.up:
            self.up, self.conn = True, self.conn + 1
            self.feed(SocketState.UP)

    def sync(self) -> None:
        offset = self.random.randint(-2, 2) * MS
        self.state.on_clock(ClockReading(exchange="x", offset=offset, uncertainty=5 * MS, t=self.t))


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    "lives", [60, pytest.param(3_000, marks=pytest.mark.campaign)], ids=["few", "many"]
)
def test_a_live_book_is_fresh_uncrossed_in_step_and_connected(deep: bool, lives: int) -> None:
    live = 0
    for seed in range(lives):
        exchange = Exchange(seed, deep)
        for _ in range(150):
            exchange.step()
            live += exchange.stream.state is StreamState.LIVE
    assert live > lives * 10  # the walk does reach what it is about


@pytest.mark.parametrize("lives", [60])
def test_levels_of_a_book_in_step_are_the_exchanges(lives: int) -> None:
    compared = 0
    for seed in range(lives):
        exchange = Exchange(seed, True)
        for _ in range(150):
            exchange.step()
            book = exchange.stream.book
            if book.in_step and book.last == exchange.u:
                compared += 1
                assert (book.bids, book.asks) == (exchange.bids, exchange.asks)
    assert compared > lives * 10
