"""A value that does not show itself, and the filter that keeps it out of every output.

R-69: str, repr, format, pickle, copy and JSON of a `Secret` are `***`; only `reveal()` gives the
text, and it is called by signers alone. What was ever made a `Secret` is also cut out of any
text that goes through `redact`.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

_MASK = "***"
_known: set[str] = set()
_pattern: re.Pattern[str] | None = None
_HEADERS = re.compile(
    r"(?i)(signature=|X-MBX-APIKEY['\"]?\s*[:=]\s*['\"]?|X-BAPI-(?:API-KEY|SIGN)['\"]?\s*[:=]\s*['\"]?"
    r"|OK-ACCESS-[A-Z]+['\"]?\s*[:=]\s*['\"]?|listenKey['\"]?\s*[:=]\s*['\"]?)([^&'\"\s,}]+)"
)


_MARKS = ("signature=", "x-mbx-apikey", "x-bapi-", "ok-access-", "listenkey")
"""what `_HEADERS` finds something in holds one of them; to look for them costs a tenth"""


class Secret:
    """Text that prints as `***` everywhere."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        _remember(text)

    def reveal(self) -> str:
        """Return the text; for signers only."""
        return self._text

    def __str__(self) -> str:
        return _MASK

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled or copied")

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self


def _remember(text: str) -> None:
    global _pattern
    if len(text) >= 6 and text not in _known:
        _known.add(text)
        _pattern = re.compile("|".join(re.escape(t) for t in sorted(_known, key=len, reverse=True)))


def redact(text: str) -> str:
    """Return `text` without any known secret, signature or key header."""
    for known in _known:
        if known in text and _pattern is not None:
            text = _pattern.sub(_MASK, text)
            break
    folded = text.casefold()
    for mark in _MARKS:
        if mark in folded:
            return _HEADERS.sub(_masked, text)
    return text


def _masked(found: re.Match[str]) -> str:
    return found.group(1) + _MASK
