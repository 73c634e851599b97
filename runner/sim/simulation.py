"""All exchanges of a run: one market, one clock, one set of faults, one step every 50 ms."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

from runner.base.clock import NS_PER_MS, Clock
from runner.sim import catalogue
from runner.sim.account import Terms
from runner.sim.binance_rest import Key
from runner.sim.binance_spot.dialect import RULES as SPOT_RULES
from runner.sim.binance_spot.dialect import BinanceSpot
from runner.sim.binance_usdm.dialect import RULES as USDM_RULES
from runner.sim.binance_usdm.dialect import BinanceUsdm
from runner.sim.bybit.dialect import RULES as BYBIT_RULES
from runner.sim.bybit.dialect import BybitLinear
from runner.sim.faults import Faults
from runner.sim.feed import Feed
from runner.sim.prices import STEP_MS, Market
from runner.sim.rules import Rules
from runner.sim.venue import STANDARD, Venue
from runner.sim.wire import Dialect, Wire

EXCHANGES = ("binance_usdm", "bybit_linear", "binance_spot")


class Exchange(Dialect, Protocol):
    """A dialect as the simulation drives it."""

    venue: Venue
    wire: Wire
    feed: Feed

    def endpoints(self, rest: str, sockets: str) -> dict[str, str]:
        """Name the URLs and keys."""
        ...

    def step(self, step: int, now_ms: int) -> None:
        """Publish what is due."""
        ...


_RULES: dict[str, tuple[dict[str, catalogue.Instrument], Rules]] = {
    "binance_usdm": (catalogue.BINANCE_USDM, USDM_RULES),
    "bybit_linear": (catalogue.BYBIT_LINEAR, BYBIT_RULES),
    "binance_spot": (catalogue.BINANCE_SPOT, SPOT_RULES),
}


def make_key(seed: int, exchange: str) -> Key:
    """Derive the key pair of an exchange from the seed."""
    digest = hashlib.sha512(f"sim-key {seed} {exchange}".encode()).hexdigest()
    return Key(digest[:32], digest[32:96])


class Simulation:
    """The exchanges of a run; `open` makes them reachable, `close` ends them."""

    def __init__(
        self,
        clock: Clock,
        seed: int = 7,
        exchanges: Sequence[str] = EXCHANGES,
        dislocations: bool = True,
        terms: Terms = STANDARD,
    ) -> None:
        self._terms = terms
        self.seed = seed
        self.skew_ms = 0
        self._clock = clock
        self.faults = Faults(tuple(exchanges))
        self.market = Market(seed, self.now_ms() // 1000, dislocations)
        self.exchanges: dict[str, Exchange] = {name: self._make(name) for name in exchanges}
        self.urls: dict[str, dict[str, str]] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._due = 0.0

    def now_ms(self) -> int:
        """Return the exchanges' time: the machine's plus the skew."""
        return self._clock.wall() // NS_PER_MS + self.skew_ms

    def _make(self, name: str) -> Exchange:
        instruments, rules = _RULES[name]
        venue = Venue(name, instruments, rules, self.market, self.seed, self.now_ms, self._terms)
        makers: dict[str, Callable[[], Exchange]] = {
            "binance_usdm": lambda: BinanceUsdm(venue, make_key(self.seed, name), self.faults),
            "bybit_linear": lambda: BybitLinear(venue, make_key(self.seed, name), self.faults),
            "binance_spot": lambda: BinanceSpot(venue, self.faults),
        }
        return makers[name]()

    async def open(self) -> dict[str, dict[str, str]]:
        """Listen on free ports and begin to step; returns the endpoints of each exchange."""
        for name, exchange in self.exchanges.items():
            self.urls[name] = exchange.endpoints(*await exchange.wire.open())
        loop = asyncio.get_running_loop()
        self._due = loop.time()
        self._tick()
        return self.urls

    def _tick(self) -> None:
        """Step, then sleep until the next step is due; a late loop skips no step for long."""
        loop = asyncio.get_running_loop()
        self._due = max(self._due + STEP_MS / 1000, loop.time() - 1.0)
        self._ticking = loop.call_at(self._due, self._tick)
        self.step()

    def step(self) -> None:
        """Advance the market by one step and publish."""
        now = self.now_ms()
        self.market.advance(now // 1000)
        for exchange in self.exchanges.values():
            venue = exchange.venue
            working = {order.instrument.symbol for order in venue.open.values()}
            held = {s for s, p in venue.account.positions.items() if p.lots}
            for symbol in exchange.feed.symbols() | working | held:
                venue.refresh(symbol)
            venue.pay_funding_when_due()
            exchange.step(self.market.step, now)

    async def close(self) -> None:
        """Stop stepping and listening."""
        if self._ticking is not None:
            self._ticking.cancel()
        for exchange in self.exchanges.values():
            await exchange.wire.close()
