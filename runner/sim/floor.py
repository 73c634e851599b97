"""The market of one exchange: its books, who else trades there, prices, prints and bars.

The background makes the books and takes what users have in its way; what becomes of users' orders
is the business of `venue`, which stands on this floor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from runner.base.rng import seeded
from runner.sim.account import Account
from runner.sim.bars import Bar
from runner.sim.catalogue import Instrument
from runner.sim.makers import Quoter
from runner.sim.matching import Book, Side, Trade, Verdict
from runner.sim.orders import Order
from runner.sim.prices import Market
from runner.sim.rules import PublicTrade


class Floor(ABC):
    """Books in step with the market."""

    account: Account
    """set by who stands on the floor; holds the marks"""

    def __init__(
        self,
        name: str,
        instruments: dict[str, Instrument],
        market: Market,
        seed: int,
        now_ms: Callable[[], int],
    ) -> None:
        self.name = name
        self.instruments = instruments
        self.market = market
        self.now_ms = now_ms
        self.start_id = start_id = seeded("sim-ids", seed, name).randint(10**9, 9 * 10**9)
        self.books = {symbol: Book(u=start_id + i * 10**6) for i, symbol in enumerate(instruments)}
        self.trades: dict[str, deque[PublicTrade]] = {s: deque(maxlen=1000) for s in instruments}
        self.on_trade: list[Callable[[str, PublicTrade], None]] = []
        self._quoters = {
            symbol: Quoter(instruments[symbol], book, seeded("sim-quotes", seed, name, symbol))
            for symbol, book in self.books.items()
        }
        self._stepped = dict.fromkeys(instruments, -1)
        self._next_trade = start_id // 3

    @abstractmethod
    def _maker_part(self, maker: Order, lots: int) -> int:
        """Return how much of a fill a user's resting order may take."""

    @abstractmethod
    def _fill(self, order: Order, trade: Trade, number: int, maker: bool) -> None:
        """Fill a user's order."""

    def mark(self, symbol: str) -> int:
        """Return the mark price in ticks."""
        return self.account.marks[symbol]

    def last(self, symbol: str) -> int:
        """Return the price of the last trade in ticks, the mark before the first."""
        trades = self.trades[symbol]
        return trades[-1].tick if trades else self.mark(symbol)

    def refresh(self, symbol: str) -> None:
        """Bring a book to the present step of the market, if it is not there."""
        if self._stepped[symbol] == self.market.step:
            return
        self._stepped[symbol] = self.market.step
        price = self.market.latents[symbol].price(self.name)
        self.account.marks[symbol] = self.instruments[symbol].nearest_tick(price)
        book = self.books[symbol]
        book.ts_ms = self.now_ms()
        book.begin()
        quoter = self._quoters[symbol]
        quoter.step(price, lambda side, limit, lots: self._sweep(symbol, side, limit, lots))
        quoter.trade(self._background_judge, lambda side: self._background_settle(symbol, side))

    def _sweep(self, symbol: str, side: Side, limit: int, lots: int) -> None:
        """Let the background take users' orders the price has moved through."""
        settle = self._background_settle(symbol, side)
        self.books[symbol].match(side, limit, lots, self._background_judge, settle)

    def _background_judge(self, owner: object, lots: int) -> Verdict:
        assert isinstance(owner, Order)
        return Verdict(self._maker_part(owner, lots))

    def _background_settle(self, symbol: str, side: Side) -> Callable[[Trade], None]:
        def settle(trade: Trade) -> None:
            number = self._print(symbol, side, trade)
            if isinstance(trade.maker, Order):
                self._fill(trade.maker, trade, number, maker=True)

        return settle

    def _print(self, symbol: str, taker: Side, trade: Trade) -> int:
        self._next_trade += 1
        public = PublicTrade(self._next_trade, trade.tick, trade.lots, taker, self.now_ms())
        self.trades[symbol].append(public)
        for tell in self.on_trade:
            tell(symbol, public)
        return self._next_trade

    def bars(self, symbol: str, minutes: int, count: int) -> list[Bar]:
        """Return the last `count` bars of `minutes` at this exchange's price, oldest first."""
        factor = 1.0 + self.market.latents[symbol].basis[self.name]
        return [
            Bar(b.start_s, b.open * factor, b.high * factor, b.low * factor, b.close * factor,
                b.volume, b.trades)
            for b in self.market.bars(symbol, minutes, count)
        ]  # fmt: skip
