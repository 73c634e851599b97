"""The reference evaluator's plain part: results of functions and windows, None for missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runner.lang.windowing import AnyWindow
from runner.market.tallies import CountWindow, MedianWindow, RsiWindow
from runner.market.windows import (
    Ema,
    ExtremeWindow,
    MomentWindow,
    PairWindow,
    PastWindow,
    ReturnWindow,
)


def finite(value: float) -> float | None:
    """Return a number, None where it is not finite."""
    return value if math.isfinite(value) else None


def arithmetic(op: str, left: float | None, right: float | None) -> float | None:
    """Return `left op right`, None where it cannot be told."""
    if left is None or right is None:
        return None
    if op == "+":
        return finite(left + right)
    if op == "-":
        return finite(left - right)
    if op == "*":
        return finite(left * right)
    return finite(left / right) if right else None


def funding(field: str, rate: float, next_at: int, interval: int, wall: int) -> float | None:
    """Return a field of funding; times are ns, 0 where they are not known."""
    if not math.isfinite(rate):
        return None
    if field == "rate":
        return rate
    if field == "next_in":
        return max(0.0, (next_at - wall) * 1e-9) if next_at > 0 and wall > 0 else None
    if interval <= 0:
        return None
    if field == "interval":
        return interval * 1e-9
    return finite(rate * (365 * 86_400 * 10**9 / interval))


def payments(wait: float, seconds: float, interval: int) -> float | None:
    """Return how often funding is paid within `seconds` when it is next paid after `wait`."""
    if seconds < wait:
        return 0.0
    return 1 + (seconds - wait) // (interval * 1e-9) if interval > 0 else None


def positive_quotient(left: float, right: float) -> float | None:
    """Return `left / right`, None unless the divisor is a positive number."""
    return finite(left / right) if 0.0 < right < math.inf else None


def plain(name: str, args: Sequence[float]) -> float | None:
    """The functions of numbers alone, all known."""
    x = args[0]
    match name:
        case "abs":
            return abs(x)
        case "min":
            return min(args)
        case "max":
            return max(args)
        case "clamp":
            return min(max(x, args[1]), args[2]) if args[1] <= args[2] else None
        case "sign":
            return float((x > 0) - (x < 0))
        case "sqrt":
            return math.sqrt(x) if x >= 0 else None
        case "log":
            return math.log(x) if x > 0 else None
        case "round_to":
            if args[1] <= 0 or not math.isfinite(x / args[1]):
                return None
            return finite(math.floor(x / args[1] + 0.5) * args[1])
        case "gap":
            ratio = arithmetic("/", x, args[1])
            return None if ratio is None else ratio - 1.0
        case "risk_size":
            return positive_quotient(x, abs(args[1] - args[2]))
        case "kelly":
            odds = args[1]
            return max(0.0, x - (1.0 - x) / odds) if 0 <= x <= 1 and odds > 0 else None
    raise TypeError(f"{name} has no value")


def windowed(function: str, window: AnyWindow, inputs: Sequence[float]) -> float | None:
    """Return the result of a window whose inputs are known now."""
    x = inputs[0]
    match window:
        case MomentWindow():
            if function == "sma":
                return finite(window.mean)
            if function == "stdev":
                return finite(window.deviation)
            distance = arithmetic("-", x, finite(window.mean))
            return arithmetic("/", distance, finite(window.deviation))
        case PastWindow():
            return _since(function, x, finite(window.past), window.span_ns)
        case PairWindow():
            return finite(window.beta if function == "beta" else window.corr)
        case ReturnWindow(vol=vol):
            if function == "vol":
                return finite(vol)
            return positive_quotient(x, inputs[1] * vol)
        case ExtremeWindow() | Ema() | MedianWindow() | CountWindow() | RsiWindow():
            return finite(window.value)
    raise TypeError(f"{function} has no value")


def _since(function: str, x: float, past: float | None, span_ns: int) -> float | None:
    """Return what became of a value since a window ago."""
    if function == "ret":
        ratio = arithmetic("/", x, past)
        return None if ratio is None else ratio - 1.0
    moved = arithmetic("-", x, past)
    if function == "delta" or moved is None:
        return moved
    return finite(moved / (span_ns * 1e-9))
