"""The synthetic market: correlated prices, a basis per exchange, dislocations, bars.

Theory of operation. Each symbol has one latent log price: a market factor they share plus its own
noise. An exchange's price is the latent price plus a slow basis of a few bps. On top, a seeded
schedule moves one exchange at a time away by 35-60 bps for one to three seconds, in alternating
directions, so that a two-exchange spread opens and closes again within seconds. Everything is
drawn per step of 50 ms, never from the clock: the same seed gives the same path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

from runner.base.rng import seeded
from runner.sim.bars import Bar, make_bars, merge_bars
from runner.sim.catalogue import START_PRICE
from runner.sim.past import Past

STEP_MS = 50
STEPS_PER_S = 1000 // STEP_MS
HISTORY_MINUTES = 2_000
_POINTS_PER_MINUTE = 2
_SIGMA_S = 0.00003  # per square root of a second, market factor; the own noise is half of it
_BETA = {"BTCUSDT": 1.0, "ETHUSDT": 1.3, "SOLUSDT": 1.6}
_BASIS = {"binance_usdm": -0.0003, "bybit_linear": 0.0, "binance_spot": 0.0002}
_MOVED = ("binance_usdm", "bybit_linear")  # spot follows the latent price


@dataclass(slots=True)
class Shift:
    """A move of one exchange's price away from the others, until a step."""

    exchange: str
    amount: float
    until: int


@dataclass(slots=True)
class Dislocations:
    """The seeded schedule of one symbol: quiet, away, quiet, away the other way, ..."""

    rng: Random
    step_at: int
    turn: int = 0
    shift: Shift | None = None

    def advance(self, step: int) -> None:
        """Begin or end a dislocation when its step has come."""
        if self.shift is not None:
            if step >= self.shift.until:
                self.shift = None
                self.step_at = step + int(self.rng.uniform(2.0, 3.0) * STEPS_PER_S)
        elif step >= self.step_at:
            sign = 1.0 if self.turn % 4 < 2 else -1.0
            amount = sign * self.rng.uniform(0.0038, 0.0058)
            seconds = self.rng.uniform(1.2, 2.5)
            exchange = _MOVED[self.turn % 2]
            self.shift = Shift(exchange, amount, step + int(seconds * STEPS_PER_S))
            self.turn += 1


@dataclass(slots=True)
class Latent:
    """One symbol: its log price, its bars of the past, its dislocations, scripted shifts."""

    symbol: str
    log_price: float
    bars: list[Bar]
    dislocations: Dislocations
    basis: dict[str, float]
    faded: list[Bar] = field(default_factory=list)
    """hours whose minutes are no longer kept"""
    origin: tuple[int, float] = (0, 0.0)
    """second and price of the first minute"""
    scripted: list[Shift] = field(default_factory=list)

    def price(self, exchange: str) -> float:
        """Return the present price on an exchange."""
        log = self.log_price + self.basis[exchange]
        shift = self.dislocations.shift
        if shift is not None and shift.exchange == exchange:
            log += shift.amount
        for scripted in self.scripted:
            if scripted.exchange == exchange:
                log += scripted.amount
        return math.exp(log)


class Market:
    """All latent prices, advanced by steps of `STEP_MS`.

    `dislocations=False` makes a quiet market, for tests that script their own moves.
    """

    def __init__(self, seed: int, now_s: int, dislocations: bool = True) -> None:
        self.step = 0
        self.dislocations = dislocations
        self._rng = seeded("sim-market", seed)
        self._past = Past(seed, _SIGMA_S, _BETA)
        factor = self._history_factor()
        self.latents = {
            symbol: self._latent(seed, symbol, now_s, factor, i)
            for i, symbol in enumerate(START_PRICE)
        }

    def _history_factor(self) -> list[float]:
        sigma = _SIGMA_S * math.sqrt(60 / _POINTS_PER_MINUTE)
        count = HISTORY_MINUTES * _POINTS_PER_MINUTE
        return [self._rng.gauss(0.0, sigma) for _ in range(count)]

    def _latent(
        self, seed: int, symbol: str, now_s: int, factor: list[float], index: int
    ) -> Latent:
        rng = seeded("sim-latent", seed, symbol)
        log_end = math.log(START_PRICE[symbol] * (1 + rng.uniform(-0.002, 0.002)))
        sigma = 0.5 * _SIGMA_S * math.sqrt(60 / _POINTS_PER_MINUTE)
        steps = [_BETA[symbol] * move + rng.gauss(0.0, sigma) for move in factor]
        basis = {name: mean + rng.gauss(0.0, 0.00005) for name, mean in _BASIS.items()}
        first = (2.5 + 1.1 * index) * STEPS_PER_S
        schedule = Dislocations(seeded("sim-dislocation", seed, symbol), int(first), turn=index)
        start = now_s - now_s % 60 - 60 * (HISTORY_MINUTES - 1)
        bars = make_bars(steps, _POINTS_PER_MINUTE, log_end, start, 60, rng)
        origin = (start, bars[0].open)
        return Latent(symbol, log_end, bars, schedule, basis, origin=origin)

    def advance(self, now_s: int) -> None:
        """Move every price by one step; `now_s` decides which minute's bar it enters."""
        self.step += 1
        rng = self._rng
        sigma = _SIGMA_S * math.sqrt(STEP_MS / 1000)
        move = rng.gauss(0.0, sigma)
        for symbol, latent in self.latents.items():
            latent.log_price += _BETA[symbol] * move + rng.gauss(0.0, 0.5 * sigma)
            for name, mean in _BASIS.items():
                pull = 0.0005 * (mean - latent.basis[name])
                latent.basis[name] += pull + rng.gauss(0.0, 0.000001)
            if self.dislocations:
                latent.dislocations.advance(self.step)
            if latent.scripted:
                latent.scripted = [s for s in latent.scripted if s.until > self.step]
            _extend(latent, math.exp(latent.log_price), now_s, rng)

    def bars(self, symbol: str, minutes: int, count: int) -> list[Bar]:
        """Return the last `count` bars of `minutes`; from hours on they reach back `DAYS` days."""
        latent = self.latents[symbol]
        bars = latent.bars[-(count + 1) * minutes :]
        if minutes >= 60 and (count + 1) * minutes > len(bars):
            bars = [*self._past.hours(symbol, *latent.origin), *latent.faded, *bars]
        return merge_bars(bars, minutes)[-count:]

    def quiet(self, quiet: bool) -> None:
        """Stop the seeded dislocations, or let them go on."""
        self.dislocations = not quiet
        for latent in self.latents.values():
            latent.dislocations.shift = None

    def move(self, exchange: str, symbol: str, bps: float, for_s: float) -> None:
        """Move one exchange's price by `bps` for `for_s` seconds."""
        until = self.step + max(1, int(for_s * STEPS_PER_S))
        self.latents[symbol].scripted.append(Shift(exchange, bps / 10_000, until))


def _extend(latent: Latent, price: float, now_s: int, rng: Random) -> None:
    bars, start = latent.bars, now_s - now_s % 60
    if bars[-1].start_s < start:
        bars.append(Bar(start, bars[-1].close, price, price, price, 0.0, 0))
        if len(bars) > HISTORY_MINUTES + 200:
            latent.faded = merge_bars([*latent.faded, *bars[:200]], 60)
            del bars[:200]
    bar = bars[-1]
    bar.add(price)
    bar.volume += rng.random() * 0.03
    bar.trades += 1
