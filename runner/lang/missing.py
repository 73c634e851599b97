"""The rare functions of the language on floats where NaN means missing.

Generated code calls them for what is not worth writing out. An argument that is not finite is
missing, and makes the result missing.
"""

from __future__ import annotations

import math
from math import inf, nan


def least(*values: float) -> float:
    """Return the least value; NaN when any is missing."""
    for value in values:
        if not -inf < value < inf:
            return nan
    return min(values)


def greatest(*values: float) -> float:
    """Return the greatest value; NaN when any is missing."""
    for value in values:
        if not -inf < value < inf:
            return nan
    return max(values)


def clamp(value: float, low: float, high: float) -> float:
    """Return the value, but not under `low` nor over `high`; NaN when low > high."""
    if not (-inf < value < inf and -inf < low <= high < inf):
        return nan
    return low if value < low else high if value > high else value


def sign(value: float) -> float:
    """Return -1, 0 or 1."""
    if not -inf < value < inf:
        return nan
    return 1.0 if value > 0.0 else -1.0 if value < 0.0 else 0.0


def kelly(p: float, odds: float) -> float:
    """Return the share to stake, 0 at the least; NaN unless 0 <= p <= 1 and odds > 0."""
    if not (0.0 <= p <= 1.0 and 0.0 < odds < inf):
        return nan
    share = p - (1.0 - p) / odds
    return share if share > 0.0 else 0.0


def round_to(value: float, step: float) -> float:
    """Return the nearest multiple of `step`, a half goes up; NaN unless step > 0."""
    if not (-inf < value < inf and 0.0 < step < inf):
        return nan
    steps = value / step
    return math.floor(steps + 0.5) * step if -inf < steps < inf else nan
