"""The compact notation of a test's series: one field's values, one after the other.

    60_120x4        the value, four steps long
    60_000+1x4      60 000, 60 001, 60 002, 60 003
    _x8             no update for eight steps        stalex3   the stream is late beyond its age
    (60_000 60_010)x50                               the group, fifty times

A text becomes a tree of runs that knows its length; only a test that runs writes it out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf, nan
from typing import Final

from runner.base.units import DURATIONS, RATIOS

NO_UPDATE: Final = nan
STALE: Final = inf
LONGEST: Final = 500_000
"""values of one series"""
DEEPEST: Final = 8
DIGITS: Final = 9
"""decimals kept where a step is added: what floats add beyond them is not meant"""

_NUMBER = r"\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?"
_UNIT = r"bps|%|us|ms|[smhdw]|[A-Z][A-Z0-9]+"
_SPACE = re.compile(r"\s*")
_TOKEN = re.compile(
    rf"(?P<open>\()|(?:(?P<word>_|stale)|(?P<close>\))|(?P<value>-?{_NUMBER})\s?(?P<unit>{_UNIT})?"
    rf"(?:(?P<step>[+-]{_NUMBER})(?P<step_unit>{_UNIT})?)?)"
    r"(?:\s?x\s?(?P<times>\d[\d_]*))?(?=[\s()]|$)"
)


@dataclass(frozen=True, slots=True)
class Run:
    """`count` values from `value` on, `step` apart."""

    value: float
    step: float
    count: int

    def write(self, out: list[float]) -> None:
        """Append the values."""
        if self.step:
            out += [round(self.value + i * self.step, DIGITS) for i in range(self.count)]
        else:
            out += [self.value] * self.count


@dataclass(frozen=True, slots=True)
class Group:
    """Parts in a row, `times` over."""

    parts: tuple[Run | Group, ...]
    times: int

    @property
    def count(self) -> int:
        """How many values it is."""
        return self.times * sum(part.count for part in self.parts)

    def write(self, out: list[float]) -> None:
        """Append the values."""
        once: list[float] = []
        for part in self.parts:
            part.write(once)
        out += once * self.times

    def values(self) -> list[float]:
        """Return all values; NaN stands for no update, infinity for stale."""
        out: list[float] = []
        self.write(out)
        return out


class BadSeries(Exception):
    """What is wrong with a text, and where: characters `start..end`."""

    def __init__(self, code: str, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.code = code
        self.start = start
        self.end = max(end, start + 1)


@dataclass(frozen=True, slots=True)
class Units:
    """Which units a series may write, as factors; `bare` says that a bare number is one."""

    factors: dict[str, float]
    bare: bool
    what: str
    """how a value looks, for messages: `60_120`, `0.01%`"""


def units_of_time() -> dict[str, float]:
    """Return the units of durations, in seconds."""
    return {name: ns / 1e9 for name, ns in DURATIONS.items()}


def units_of_ratio() -> dict[str, float]:
    """Return the units of ratios."""
    return dict(RATIOS)


def parse(text: str, units: Units) -> Group:
    """Read a series; BadSeries says what is wrong with it (E0302 form, E0303 unit, E0203 size)."""
    reader = _Reader(text, units)
    at = _SPACE.match(text, 0).end()  # type: ignore[union-attr]
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unread(text, at)
        reader.take(match)
        at = _SPACE.match(text, match.end()).end()  # type: ignore[union-attr]
    return reader.whole()


class _Open:
    """A group that is being read: where it began, its parts, how many values they are."""

    __slots__ = ("count", "parts", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.parts: list[Run | Group] = []
        self.count = 0


class _Reader:
    """Builds groups from tokens with a stack of its own."""

    def __init__(self, text: str, units: Units) -> None:
        self._text = text
        self._units = units
        self._stack = [_Open(0)]

    def take(self, match: re.Match[str]) -> None:
        """Take one token."""
        start, end = match.span()
        times = int((match["times"] or "1").replace("_", "")[:12])
        if not times:
            raise BadSeries("E0203", "a value of a series stands at least once", start, end)
        if match["open"]:
            if len(self._stack) > DEEPEST:
                raise BadSeries("E0302", f"groups nest at most {DEEPEST} deep", start, end)
            self._stack.append(_Open(start))
        elif match["close"]:
            if len(self._stack) == 1 or not self._stack[-1].parts:
                raise BadSeries("E0302", "this closes no group", start, end)
            done = self._stack.pop()
            self._add(Group(tuple(done.parts), times), done.count * times, start, end)
        else:
            self._add(_run(match, times, self._units), times, start, end)

    def whole(self) -> Group:
        """Return all that was read."""
        last = self._stack[-1]
        if len(self._stack) > 1:
            raise BadSeries("E0302", "this group is not closed", last.start, last.start + 1)
        if not last.parts:
            raise BadSeries("E0203", "a series needs at least one value", 0, len(self._text))
        return Group(tuple(last.parts), 1)

    def _add(self, part: Run | Group, count: int, start: int, end: int) -> None:
        top = self._stack[-1]
        top.count += count
        if top.count > LONGEST:
            raise BadSeries("E0203", f"a series has at most {LONGEST} values", start, end)
        top.parts.append(part)


def _run(match: re.Match[str], times: int, units: Units) -> Run:
    start = match.start()
    if match["word"]:
        return Run(NO_UPDATE if match["word"] == "_" else STALE, 0.0, times)
    value = _scaled(match["value"], match["unit"], units, start, match.end())
    step = 0.0
    if match["step"]:
        unit = match["step_unit"] or match["unit"]
        step = _scaled(match["step"], unit, units, start, match.end())
    return Run(value, step, times)


def _scaled(number: str, unit: str | None, units: Units, start: int, end: int) -> float:
    value = float(number.replace("_", ""))
    if unit is None:
        if units.bare or value == 0.0:
            return value
        raise BadSeries("E0303", f"`{number}` needs a unit here", start, end)
    if unit not in units.factors:
        raise BadSeries("E0303", f"`{unit}` is no unit of this field", start, end)
    return float(f"{value * units.factors[unit]:.15g}")


def _unread(text: str, at: int) -> BadSeries:
    word = text[at : at + 41].split()[0]
    return BadSeries("E0302", f"`{word[:40]}` is no value of a series", at, at + len(word))
