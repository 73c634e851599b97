"""The door: bytes or a decoded message in, typed fields or the reason why not. Pure.

What passes here is of the type, among the words and within the bounds that the file declares;
NaN, infinities, absurd numbers, texts of any length and control characters do not (R-74). Whether
a message is known, late or out of order is for the engine to say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from runner.engine.events import SignalValue
from runner.engine.sources import LONGEST_TEXT, fits
from runner.spec.source_plan import FieldKind, FieldPlan, Pointer, SourcePlan, TimeFormat

LARGEST: Final = 65_536
"""bytes of one message"""
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?\Z")
_EARLIEST, _LATEST = 946_684_800_000_000_000, 7_258_118_400_000_000_000
"""wall ns of the years 2000 and 2200"""


class Flaw(StrEnum):
    """Why a message does not pass."""

    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    ABSENT = "absent"
    WRONG_TYPE = "wrong_type"
    NOT_A_WORD = "not_a_word"
    OUT_OF_RANGE = "out_of_range"
    NO_TIME = "no_time"


class Refused(Exception):
    """A message that does not pass; `flaw` is the reason, the text names the field."""

    def __init__(self, flaw: Flaw, text: str) -> None:
        super().__init__(text)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that passed; `sent_at` wall ns, 0 where it says nothing of its time."""

    id: str
    fields: dict[str, SignalValue]
    sent_at: int


def parse(body: bytes, largest: int = LARGEST) -> object:
    """Decode a message's JSON; raises Refused."""
    if len(body) > largest:
        raise Refused(Flaw.TOO_LARGE, f"{len(body)} bytes / {largest}")
    try:
        found: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise Refused(Flaw.NOT_JSON, "the message is no JSON") from None
    return found


def read(plan: SourcePlan, message: object, otherwise: str = "") -> Accepted:
    """Type a decoded message by the plan; raises Refused.

    `otherwise` is the id of a message whose source has no `dedupe`.
    """
    fields: dict[str, SignalValue] = {}
    for name, each in plan.fields.items():
        if each.derived:
            continue
        fields[name] = value_of(each, message)
    if plan.dedupe is not None:
        otherwise = _id(fields[plan.dedupe.by])
    return Accepted(otherwise, fields, _sent_at(plan, message))


def value_of(plan: FieldPlan, message: object) -> SignalValue:
    """Return one field of a message, None when it is optional and absent; raises Refused."""
    raw = at(message, plan.pointer)
    if raw is None:
        if plan.optional:
            return None
        raise Refused(Flaw.ABSENT, f"`{plan.name}` is absent")
    value = _typed(plan, raw)
    if not fits(plan, value):
        if plan.kind is FieldKind.ENUM:
            raise Refused(Flaw.NOT_A_WORD, f"`{plan.name}` is not one of its values")
        raise Refused(Flaw.OUT_OF_RANGE, f"`{plan.name}` is out of its range")
    return value


def at(message: object, pointer: Pointer) -> object | None:
    """Return what a JSON pointer points at, None when nothing is there."""
    found = message
    for part in pointer:
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, list) and part.isdecimal() and len(part) < 6:
            found = found[int(part)] if int(part) < len(found) else None
        else:
            return None
    return found


def _typed(plan: FieldPlan, raw: object) -> SignalValue:
    wrong = Refused(Flaw.WRONG_TYPE, f"`{plan.name}` is no {plan.kind}")
    match plan.kind:
        case FieldKind.BOOL:
            if not isinstance(raw, bool):
                raise wrong
            return raw
        case FieldKind.TEXT | FieldKind.ENUM:
            if isinstance(raw, int) and not isinstance(raw, bool) and plan.kind is FieldKind.TEXT:
                raw = str(raw) if abs(raw) < 1 << 63 else raw
            if not isinstance(raw, str):
                raise wrong
            if len(raw) > LONGEST_TEXT or not raw.isprintable():
                raise Refused(Flaw.OUT_OF_RANGE, f"`{plan.name}` is too long, or not printable")
            return raw
    number = _number(raw)
    if number is None:
        raise wrong
    return number * plan.scale


def _number(raw: object) -> float | None:
    """Return a finite number: of JSON, or a decimal in a text."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    if isinstance(raw, str) and _NUMBER.match(raw) is None:
        return None
    try:
        number = float(raw)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _id(value: SignalValue) -> str:
    if isinstance(value, float):
        return f"{value:.17g}"
    return str(value)


def _sent_at(plan: SourcePlan, message: object) -> int:
    if plan.sent_at is None:
        return 0
    found = time_of(at(message, plan.sent_at.pointer), plan.sent_at.format)
    if found is None:
        raise Refused(Flaw.NO_TIME, "the message does not say when it was sent")
    return found


def time_of(raw: object, format: TimeFormat) -> int | None:
    """Return a sender's time as wall ns (a time without a zone is UTC); None when it is none."""
    if format is TimeFormat.ISO:
        if not isinstance(raw, str) or len(raw) > 40:
            return None
        try:
            moment = datetime.fromisoformat(raw)
        except ValueError:
            return None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        seconds: float | None = moment.timestamp()
    else:
        seconds = _number(raw)
        if seconds is not None and format is TimeFormat.UNIX_MS:
            seconds /= 1000
    if seconds is None:
        return None
    found = round(seconds * 1e6) * 1000
    return found if _EARLIEST <= found <= _LATEST else None


def stamp_of(text: str) -> int | None:
    """Return the time in a header, Unix seconds or milliseconds (13 digits), as wall ns."""
    whole = text.split(".")[0]
    return time_of(text, TimeFormat.UNIX_MS if len(whole) >= 13 else TimeFormat.UNIX)
