"""Regular expressions of a file: those that a hostile text could keep busy for hours.

A repetition whose body is little else than a repetition without bound can split a text in
exponentially many ways, and all of them are tried before "no match": `(a+)+$` on thirty letters
stops a process. A strategy must not be stopped by whoever may write in a chat. What parts the
rounds of the outer repetition, a character that must come and that the inner one cannot be, makes
it harmless: `(TP\\d: [0-9.]+\\n)*`.
"""

from __future__ import annotations

from collections.abc import Iterator
from re import _compiler as compiler  # type: ignore[attr-defined]
from re import _constants as words  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_REPEATS = (words.MAX_REPEAT, words.MIN_REPEAT)


def endless(pattern: str) -> bool:
    """Return whether a valid pattern repeats a repetition that nothing parts."""
    return _endless(parser.parse(pattern))


def _endless(part: Any) -> bool:
    for word, value in part:
        if word in _REPEATS and value[1] > 1:
            must = _musts(value[2])
            if any(not _parted(inner, must) for inner in _unbounded(value[2])):
                return True
        if any(_endless(each) for each in _below(word, value)):
            return True
    return False


def _unbounded(part: Any) -> Iterator[Any]:
    """Yield the bodies of all repetitions without bound within a part."""
    for word, value in part:
        if word in _REPEATS and value[1] is words.MAXREPEAT:
            yield value[2]
        for each in _below(word, value):
            yield from _unbounded(each)


def _musts(part: Any) -> list[int]:
    """Return the characters that each round must hold."""
    found = [value for word, value in part if word is words.LITERAL]
    for word, value in part:
        if word is words.SUBPATTERN:
            found += _musts(value[-1])
    return found


def _parted(inner: Any, must: list[int]) -> bool:
    matches = compiler.compile(inner).search
    return any(matches(chr(letter)) is None for letter in must)


def _below(word: Any, value: Any) -> Iterator[Any]:
    """Yield the parts within a repetition, a group, a branch, a look-around."""
    if word is words.BRANCH:
        yield from value[1]
    elif isinstance(value, tuple):
        yield from (each for each in value if isinstance(each, parser.SubPattern))
