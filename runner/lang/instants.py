"""The reference evaluator's part for conditions of time: held, edges, the time of the day."""

from __future__ import annotations

from collections.abc import Sequence

from runner.lang.calendar import DAY, time_of_day
from runner.market.edges import Change, Crossing, Held


def told(
    function: str, window: Held | Crossing | Change, inputs: Sequence[object], now: int
) -> bool | None:
    """Return what a watcher says at `now`, its inputs being these now."""
    if isinstance(window, Held):
        return _held(window, inputs[0], now)
    if any(value is None for value in inputs):
        return None
    if isinstance(window, Change):
        seen, at = window.before is not None, window.at
    else:
        seen = window.before == window.before
        at = window.above if function == "crosses_above" else window.below
    if now == at:
        return True
    return False if seen and now != window.blind else None


def _held(window: Held, condition: object, now: int) -> bool | None:
    if condition is not True:
        return False if condition is False else None
    if now >= window.at:
        return True
    return False if window.sure else None


def of_the_day(wall: int, start: str, end: str) -> bool | None:
    """Return whether the time of the day lies from `start` to before `end`; None without one."""
    first, last = time_of_day(start), time_of_day(end)
    if wall <= 0 or first is None or last is None:
        return None
    return (wall % DAY - first) % DAY < (last - first) % DAY
