"""Quantities with a unit, as a user writes and reads them.

Durations are integers of nanoseconds, ratios are floats (15 bps is 0.0015), money and amounts
are Decimal until they become ticks or lots.
"""

from __future__ import annotations

import math
from decimal import Decimal

DURATIONS: dict[str, int] = {
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
RATIOS: dict[str, float] = {"bps": 1e-4, "%": 1e-2}


def format_duration(ns: int) -> str:
    """Write a duration in its largest exact unit: 250ms, 90s, 2h."""
    sign = "-" if ns < 0 else ""
    ns = abs(ns)
    if ns == 0:
        return "0s"
    for unit in ("w", "d", "h", "m", "s", "ms", "us"):
        size = DURATIONS[unit]
        if ns % size == 0:
            return f"{sign}{ns // size}{unit}"
    return f"{sign}{ns / 1_000_000_000:g}s"


def format_age(ns: int) -> str:
    """Write how long ago something was, rounded down to what is read: 412ms, 20.4s, 12m, 330d."""
    ns = max(0, ns)
    if ns < DURATIONS["s"]:
        return format_duration(ns // DURATIONS["ms"] * DURATIONS["ms"])
    if ns < 100 * DURATIONS["s"]:
        return f"{ns // 100_000_000 / 10:g}s"
    unit = "m" if ns < 100 * DURATIONS["m"] else "h" if ns < 2 * DURATIONS["d"] else "d"
    return f"{ns // DURATIONS[unit]}{unit}"


def format_ratio(value: float) -> str:
    """Write a ratio as a reader of spreads does: in bps below 1 %, else in per cent."""
    if math.isnan(value):
        return "missing"
    if abs(value) < 0.01:
        return f"{value * 1e4:.4g}bps"
    return f"{value * 1e2:.4g}%"


def plain(value: Decimal) -> str:
    """Write a Decimal without exponent and without trailing zeros: the form exchanges take."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text not in ("", "-0") else "0"
