"""Durations on the command line."""

from __future__ import annotations

from runner.base.errors import UsageError
from runner.base.units import DURATIONS


def span(text: str | None, option: str) -> int | None:
    """Read `30s`, `5m` as ns; UsageError, naming the option, for anything else."""
    if text is None:
        return None
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        return round(float(number) * DURATIONS[text[len(number) :]])
    except (ValueError, KeyError):
        raise UsageError(f"{option} {text}: write a duration such as 30s, 5m, 2h") from None
