"""The lexer: the text of an expression to tokens, each with its own columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from runner.base.units import DURATIONS, RATIOS

MAX_TOKENS = 1000
KEYWORDS = frozenset("and or not if else in true false".split())


class Kind(StrEnum):
    """What a token is."""

    NUMBER = "number"
    STRING = "string"
    NAME = "name"
    KEYWORD = "keyword"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `unit` belongs to numbers, `unit_start` says where it stands."""

    kind: Kind
    text: str
    start: int
    end: int
    unit: str = ""
    unit_start: int = 0


class Fault(Exception):
    """A mistake in the text of an expression; becomes one diagnostic, never leaves `lang`."""

    def __init__(
        self, code: str, message: str, start: int, end: int, label: str = "", help_: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.start = start
        self.end = end
        self.label = label
        self.help = help_


_SPACE = re.compile(r"\s+")
_NUMBER = re.compile(r"[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+(?![A-Za-z0-9_]))?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRING = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_SIGN = re.compile(r"<=|>=|==|!=|[-+*/<>()\[\],.]")
_CURRENCY = re.compile(r"[A-Z][A-Z0-9]*")
_FOREIGN = {
    "&": ("and", "`and`"), "|": ("or", "`or`"), "!": ("not", "`not`"), "=": ("==", "`==`"),
    "?": ("if", "`x if condition else y`"), "^": ("", "multiplication: there are no powers"),
    "%": ("", "a per cent sign right after a number: `2%`"),
    "$": ("", "a plain name: `params.x`; there is no interpolation"),
    "{": ("", "a plain name: `params.x`; there is no interpolation"),
    ";": ("", "one expression only"),
}  # fmt: skip


def tokens(text: str) -> list[Token]:
    """Split a text into tokens, the last of kind END; raises Fault (E0301, E0302, E0303)."""
    found: list[Token] = []
    at = 0
    while True:
        space = _SPACE.match(text, at)
        if space:
            at = space.end()
        if at >= len(text):
            break
        token = _token(text, at)
        found.append(token)
        if len(found) > MAX_TOKENS:
            raise Fault(
                "E0302",
                f"an expression has at most {MAX_TOKENS} words",
                token.start,
                token.end,
                help_="give its parts names under `signals:`",
            )
        at = token.end
    found.append(Token(Kind.END, "", len(text), len(text)))
    return found


def _token(text: str, at: int) -> Token:
    if "0" <= text[at] <= "9":
        return _number(text, at)
    if name := _NAME.match(text, at):
        kind = Kind.KEYWORD if name.group() in KEYWORDS else Kind.NAME
        return Token(kind, name.group(), at, name.end())
    if string := _STRING.match(text, at):
        return Token(Kind.STRING, string.group()[1:-1], at, string.end())
    if sign := _SIGN.match(text, at):
        return Token(Kind.SIGN, sign.group(), at, sign.end())
    if text[at] in "\"'":
        raise Fault("E0301", "a text in quotes is not closed", at, len(text))
    advice = _FOREIGN.get(text[at])
    raise Fault(
        "E0301",
        f"`{text[at]}` has no meaning in an expression" if text[at].isprintable()
        else f"character U+{ord(text[at]):04X} has no meaning in an expression",
        at,
        at + 1,
        help_=f"write {advice[1]}" if advice else "",
    )  # fmt: skip


def _number(text: str, at: int) -> Token:
    """Read a number and its unit; a currency may stand one space away."""
    match = _NUMBER.match(text, at)
    assert match is not None
    end = match.end()
    digits = match.group()
    if digits.endswith("_") or "_." in digits or "__" in digits:
        raise Fault("E0302", f"`{digits}` is not a number", at, end, help_="digits: 60_180")
    if text[end : end + 1] == "%":
        return Token(Kind.NUMBER, digits, at, end + 1, "%", end)
    if unit := _NAME.match(text, end):
        return Token(Kind.NUMBER, digits, at, unit.end(), _unit(unit.group(), end), end)
    if text[end : end + 1] == " ":
        word = _NAME.match(text, end + 1)
        if word and word.group() not in KEYWORDS:
            if _CURRENCY.fullmatch(word.group()):
                return Token(Kind.NUMBER, digits, at, word.end(), word.group(), end + 1)
            if word.group() in DURATIONS or word.group() in RATIOS or word.group() == "bars":
                raise Fault(
                    "E0303",
                    f"`{word.group()}` must touch its number",
                    at,
                    word.end(),
                    help_=f"write `{digits}{word.group()}`",
                )
    return Token(Kind.NUMBER, digits, at, end)


def _unit(word: str, at: int) -> str:
    if word in DURATIONS or word in RATIOS or word == "bars" or _CURRENCY.fullmatch(word):
        return word
    near = {"sec": "s", "secs": "s", "min": "m", "mins": "m", "hour": "h", "hours": "h",
            "day": "d", "days": "d", "bp": "bps", "bar": "bars", "pct": "%", "percent": "%",
            "ns": "us", "week": "w", "weeks": "w"}.get(word)  # fmt: skip
    raise Fault(
        "E0303",
        f"`{word}` is not a unit",
        at,
        at + len(word),
        f"did you mean `{near}`?" if near else "",
        "units: us ms s m h d w, bps %, bars, or a currency in capitals (500 USDT)",
    )
