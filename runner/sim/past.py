"""The days before a simulation: hours of each symbol, drawn only when somebody asks for them.

They end where the minutes of `prices` begin and have the same market factor and noise, so that a
mean over 200 days stands near the price but not on it. Some 50 ms and 2 MB a symbol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import Final

from runner.base.rng import seeded
from runner.sim.bars import Bar, make_bars

DAYS: Final = 250
_HOUR_S: Final = 3_600
_HOURS: Final = DAYS * 24
_POINTS: Final = 3
"""prices in an hour"""


class Past:
    """The hours before each symbol's first minute; the same seed gives the same.

    sigma: of the market factor, per square root of a second; betas: of each symbol to it.
    """

    def __init__(self, seed: int, sigma: float, betas: Mapping[str, float]) -> None:
        self._seed, self._sigma, self._betas = seed, sigma, betas
        self._factor: list[float] = []
        self._hours: dict[str, list[Bar]] = {}

    def hours(self, symbol: str, end_s: int, price: float) -> list[Bar]:
        """Return the hours of a symbol up to the one that holds `end_s`, where it cost `price`."""
        if symbol not in self._hours:
            self._hours[symbol] = self._drawn(symbol, end_s, price)
        return self._hours[symbol]

    def _drawn(self, symbol: str, end_s: int, price: float) -> list[Bar]:
        sigma = self._sigma * math.sqrt(_HOUR_S / _POINTS)
        if not self._factor:
            self._factor = _moves(seeded("sim-past", self._seed), sigma)
        rng = seeded("sim-past", self._seed, symbol)
        own = _moves(rng, sigma / 2)
        steps = [
            self._betas[symbol] * both + alone
            for both, alone in zip(self._factor, own, strict=True)
        ]
        first = end_s - end_s % _HOUR_S - _HOUR_S * (_HOURS - 1)
        return make_bars(steps, _POINTS, math.log(price), first, _HOUR_S, rng)


def _moves(rng: Random, sigma: float) -> list[float]:
    return [rng.gauss(0.0, sigma) for _ in range(_HOURS * _POINTS)]


def kept(minutes: int) -> int:
    """Return how many bars of `minutes` there may be."""
    return (DAYS * 1440 if minutes >= 60 else 2500) // minutes + 1
