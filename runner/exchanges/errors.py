"""Error codes as data: what a code says of the request, why, and what to do.

Each adapter has one table. A code that is not in it decides nothing: a place that got it is
UNKNOWN and is asked about by its client id (R-16).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from runner.exchanges.api import Outcome

KEY_REFUSED: Final = frozenset("-1022 -2014 -2015 10003 10004 10005 10010 33004".split())
"""codes, of whatever exchange, that say of the key itself that it is not accepted"""


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """One code. `outcome` is what it means for a place."""

    code: str
    outcome: Outcome
    cause: str
    action: str


class ErrorTable:
    """The codes of one exchange."""

    __slots__ = ("_by_code",)

    def __init__(self, entries: Iterable[ErrorEntry]) -> None:
        self._by_code = {entry.code: entry for entry in entries}

    def find(self, code: str) -> ErrorEntry | None:
        """Return the entry of a code; None when the documents do not have it."""
        return self._by_code.get(code)

    def outcome(self, code: str) -> Outcome:
        """Return what a code says of a place; UNKNOWN when it is not documented."""
        entry = self._by_code.get(code)
        return Outcome.UNKNOWN if entry is None else entry.outcome

    def codes(self) -> list[str]:
        """Return all codes."""
        return list(self._by_code)


def entries(outcome: Outcome, *rows: tuple[str, str, str]) -> list[ErrorEntry]:
    """Make entries of one outcome from (codes separated by spaces, cause, action)."""
    return [
        ErrorEntry(code, outcome, cause, action)
        for codes, cause, action in rows
        for code in codes.split()
    ]
