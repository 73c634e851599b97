"""Durations and counts on the command line."""

from __future__ import annotations

from runner.base.errors import UsageError
from runner.base.units import DURATIONS


def span(text: str | None, option: str, *, zero: bool = False) -> int | None:
    """Read `30s`, `5m` as ns; UsageError, naming the option, for anything else, and for 0s."""
    if text is None:
        return None
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        found = round(float(number) * DURATIONS[text[len(number) :]])
    except (ValueError, KeyError, OverflowError):
        raise UsageError(f"{option} {text}: write a duration such as 30s, 5m, 2h") from None
    if found < 0 or (found == 0 and not zero):
        raise UsageError(f"{option} {text}: write a duration above zero")
    return found


def at_least(least: int, number: int | None, option: str) -> int | None:
    """Return a count as it is; UsageError, naming the option, for one below the least."""
    if number is not None and number < least:
        raise UsageError(f"{option} {number}: write {least} or more")
    return number
