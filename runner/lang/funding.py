"""Funding in expressions: when it is next paid, what it makes in a year, what a position pays.

Times of payment are wall ns, intervals ns, 0 where they are not known; a rate is NaN while the
stream is not live. Whatever depends on something unknown is NaN.
"""

from __future__ import annotations

from math import inf, nan

YEAR = 365 * 86_400_000_000_000


def next_in(rate: float, next_at: int, wall: int) -> float:
    """Return the seconds to the next payment, 0 when it is due and no new time has come."""
    if not (-inf < rate < inf and next_at > 0 and wall > 0):
        return nan
    return max(0, next_at - wall) * 1e-9


def interval(rate: float, ns: int) -> float:
    """Return the seconds between two payments."""
    return ns * 1e-9 if -inf < rate < inf and ns > 0 else nan


def yearly(rate: float, ns: int) -> float:
    """Return the rate of a year at this rate."""
    return rate * (YEAR / ns) if -inf < rate < inf and ns > 0 else nan


def carry_cost(rate: float, next_at: int, ns: int, wall: int, sell: bool, seconds: float) -> float:
    """Return what a position of one side pays from `wall` on for that long, of its notional.

    Only whole payments count: none when the next is later than that. Without a known interval only
    the time before the next payment can be told.
    """
    wait = next_in(rate, next_at, wall)
    if not (wait == wait and 0.0 <= seconds < inf):
        return nan
    if seconds < wait:
        return 0.0
    if ns <= 0:
        return nan
    cost = rate * (1 + (seconds - wait) // (ns * 1e-9))
    return -cost if sell else cost
