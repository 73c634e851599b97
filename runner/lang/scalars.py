"""What a plain scalar means: YAML 1.2 numbers, booleans and nulls, and nothing that is a trap.

YAML 1.1 reads `no` as false, `0123` as 83, `12:30` as 750 and `2024-01-01` as a date. Here each of
these is a `Trap` that says how to write what was probably meant. Everything else is text, and text
in a value place is an expression.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

Value = str | int | float | bool | None

LONGEST_NUMBER = 40
"""characters; a longer run of digits is a mistake or an attack, never a price"""

_CONSTANTS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_NUMBER = re.compile(
    r"-?(?:0|[1-9][0-9]*(?:_[0-9]+)*)(?:\.[0-9]+(?:_[0-9]+)*)?(?:[eE][+-]?[0-9]+)?\Z"
)
_DIGITS = re.compile(r"-?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9]+)?\Z")
_WORD = re.compile(r"(?i:yes|no|on|off)\Z")
_BASE = re.compile(r"[-+]?0[xXoObB][0-9a-fA-F_]+\Z")
_CLOCK = re.compile(r"[-+]?[0-9]{1,3}(?::[0-9]{2})+(?:\.[0-9]*)?\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?\Z")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")


@dataclass(frozen=True, slots=True)
class Trap:
    """A plain scalar that readers of YAML understand differently: what it is, what to write."""

    what: str
    help: str


def read_plain(text: str) -> Value | Trap:
    """Return the value of a plain (unquoted) scalar, or the `Trap` it is."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    first = text[0]
    if not (first.isdigit() or first in "-+.yYnNoO"):
        return text
    if _WORD.match(text):
        truth = "true" if text.lower() in ("yes", "on") else "false"
        return Trap(
            f"`{text}` is a boolean to some YAML readers and text to others",
            f'write `{truth}`, or `"{text}"` for the word',
        )
    if _SPECIAL.match(text):
        return Trap(f"`{text}` is not a value a strategy can have", f'quote it: `"{text}"`')
    if len(text) > LONGEST_NUMBER:
        if _DIGITS.match(text):
            return Trap("a number with too many digits", f"at most {LONGEST_NUMBER} characters")
        return text
    return _number(text)


def _number(text: str) -> Value | Trap:
    if _NUMBER.match(text):
        digits = text.replace("_", "")
        if digits.lstrip("-").isdigit():
            return int(digits)
        value = float(digits)
        if math.isfinite(value):
            return value
        return Trap(f"`{text}` is larger than any number we can hold", f'quote it: `"{text}"`')
    if _CLOCK.match(text):
        return Trap(
            f"`{text}` is a time to you, a number in base 60 to other YAML readers",
            f'quote it: `"{text}"`',
        )
    if _DATE.match(text):
        return Trap(f"`{text}` is a date to some YAML readers", f'quote it: `"{text}"`')
    if _BASE.match(text) or (_DIGITS.match(text) and text.lstrip("-").startswith("0")):
        return Trap(
            f"`{text}` has a leading zero: octal to some YAML readers, decimal to others",
            f'write the number without it, or quote it: `"{text}"`',
        )
    return text
