"""Five fields of cron, read and checked; what they mean is computed elsewhere (`sources/`).

Weekdays are written out as names, because libraries disagree whether 0 is Sunday or Monday: here
0 and 7 are Sunday, as in cron. A day of the month together with a weekday is refused: cron takes
either, most readers expect both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ITEM = re.compile(r"(\*|[a-z0-9]{1,3})(?:-([a-z0-9]{1,3}))?(?:/([0-9]{1,2}))?\Z")


@dataclass(frozen=True, slots=True)
class Cron:
    """The fields as lists of numbers and `*`, weekdays as lists of names."""

    minute: str
    hour: str
    day: str
    month: str
    weekday: str


def parse_cron(text: str) -> Cron:
    """Read the five fields; ValueError says what is wrong."""
    parts = text.lower().split()
    if len(parts) != 5:
        raise ValueError(f"five fields are needed, found {len(parts)}")
    minute = _field(parts[0], "minute", 0, 59)
    hour = _field(parts[1], "hour", 0, 23)
    day = _field(parts[2], "day of the month", 1, 31)
    month = _field(parts[3], "month", 1, 12, {name: i + 1 for i, name in enumerate(_MONTHS)})
    weekday = _field(parts[4], "weekday", 0, 7, {name: i for i, name in enumerate(_DAYS)})
    if day is not None and weekday is not None:
        raise ValueError("a day of the month together with a weekday is ambiguous: give one")
    longest = max(_LONGEST[i - 1] for i in month or range(1, 13))
    if day is not None and min(day) > longest:
        raise ValueError(f"no such month has a day {min(day)}: it would never come")
    return Cron(_text(minute), _text(hour), _text(day), _text(month), _names(weekday))


def _text(numbers: list[int] | None) -> str:
    return "*" if numbers is None else ",".join(map(str, numbers))


def _names(numbers: list[int] | None) -> str:
    if numbers is None:
        return "*"
    return ",".join(_DAYS[i] for i in sorted({i % 7 for i in numbers}))


def _field(
    text: str, what: str, low: int, high: int, names: dict[str, int] | None = None
) -> list[int] | None:
    """Return the numbers a field stands for; None for all."""
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.match(item)
        if match is None:
            raise ValueError(f"`{item[:20]}` is no {what}")
        first, last, step = match.groups()
        if first == "*":
            if last is not None:
                raise ValueError(f"`{item[:20]}` is no {what}")
            start, end = low, high if high != 7 else 6
        else:
            start = _number(first, what, low, high, names)
            end = start if last is None else _number(last, what, low, high, names)
            if step is not None and last is None:
                end = high if high != 7 else 6
        every = int(step) if step is not None else 1
        if every < 1 or start > end:
            raise ValueError(f"`{item[:20]}` is no {what}: it holds nothing")
        found.update(range(start, end + 1, every))
    everything = len(found) == high - low + 1 - (high == 7)
    return None if everything else sorted(found)


def _number(word: str, what: str, low: int, high: int, names: dict[str, int] | None) -> int:
    if names is not None and word in names:
        return names[word]
    if not word.isdecimal() or not low <= int(word) <= high:
        raise ValueError(f"`{word}` is no {what} ({low} to {high})")
    return int(word)
