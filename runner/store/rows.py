"""The journal's rows: each statement that writes one, by number, and what is made of each event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import msgspec

from runner.base.secret import redact
from runner.engine.commands import Intent
from runner.engine.events import Done, Event, Fill, Found, OrderEvent, Reconciled, Reject
from runner.store.schema import INTENT_ROW

Scalar = str | int | float | bool | None
Row = Sequence[object]


class Put(IntEnum):
    """What a row is put with. The numbers are in the tail's file: never give one twice."""

    INTENT = 0
    GUARD = 1
    """a stop or a target: what it waits for comes last"""
    EVENT = 2
    FILL = 3
    ENDED = 4
    ONCE = 5
    STATE = 6
    RUN = 7
    RUN_ENDED = 8
    KEPT = 9
    """an intent that was released while the file could not be written: it may be there after all"""
    KEPT_GUARD = 10
    KEPT_EVENT = 11


Statement = tuple[int, Row]

_GUARD: Final = f"INSERT INTO intents VALUES ({','.join('?' * 23)},NULL,?,?,?)"
_EVENT: Final = "INSERT INTO events VALUES (?,?,?,?,?,?,?)"
SQL: Final[Mapping[int, str]] = {
    Put.INTENT: INTENT_ROW,
    Put.GUARD: _GUARD,
    Put.EVENT: _EVENT,
    Put.FILL: (
        "INSERT INTO fills VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (cid, trade_id) DO "
        "UPDATE SET fee=excluded.fee, fee_asset=excluded.fee_asset, maker=excluded.maker "
        "WHERE fee IS NULL"
    ),
    Put.ENDED: "UPDATE intents SET ended=? WHERE cid=? AND ended IS NULL",
    Put.ONCE: "INSERT OR IGNORE INTO once VALUES (?,?,?)",
    Put.STATE: (
        "INSERT INTO state VALUES (?,?,?,?,?) ON CONFLICT (key) DO UPDATE SET run=excluded.run, "
        "seq=excluded.seq, wall=excluded.wall, value=excluded.value"
    ),
    Put.RUN: "INSERT INTO runs VALUES (?,?,?,?,?,?,?,?,NULL,NULL,NULL)",
    Put.RUN_ENDED: "UPDATE runs SET ended=?, exit_code=?, reason=? WHERE run=?",
    Put.KEPT: INTENT_ROW.replace("INSERT", "INSERT OR IGNORE"),
    Put.KEPT_GUARD: _GUARD.replace("INSERT", "INSERT OR IGNORE"),
    Put.KEPT_EVENT: _EVENT.replace("INSERT", "INSERT OR IGNORE"),
}
AGAIN: Final[Mapping[int, Put]] = {
    Put.INTENT: Put.KEPT,
    Put.GUARD: Put.KEPT_GUARD,
    Put.EVENT: Put.KEPT_EVENT,
}
"""the same row where it may be there already"""
INTENTS: Final = frozenset({Put.INTENT, Put.GUARD, Put.KEPT, Put.KEPT_GUARD})
"""rows of intents, whose first value is the client id"""

ENDING_RECORDS: Final = frozenset({"done", "reject", "never_arrived"})
"""Records whose `cid` is known to be terminal, besides the events Done, Reject and Found."""
_TERMINAL_STATUS: Final = frozenset({"filled", "canceled", "expired", "rejected"})

_encode = msgspec.json.Encoder().encode


class Record(msgspec.Struct, frozen=True):
    """A row of any kind that is not an event of the engine."""

    kind: str
    cid: str
    t: int
    wall: int
    fields: Mapping[str, Scalar]


class _Tags(dict[type[Event], str]):
    """The name of each kind of event, looked up once."""

    def __missing__(self, kind: type[Event]) -> str:
        self[kind] = tag = str(kind.__struct_config__.tag)
        return tag


_TAGS: Final = _Tags()


@dataclass(slots=True)
class Rows:
    """What a run's events and records become, in the order in which they must be written.

    An order's end comes after its intent, which an earlier statement wrote.
    """

    run: str
    events: list[Statement] = field(default_factory=list)
    fills: list[Statement] = field(default_factory=list)
    ended: list[Statement] = field(default_factory=list)

    def add(self, seq: int, thing: Event | Record) -> None:
        """Add the rows of one thing; `seq` is its row number."""
        if isinstance(thing, Record):
            kind, cid, data = thing.kind, thing.cid, _text(thing.fields)
            if cid and kind in ENDING_RECORDS:
                self.ended.append((Put.ENDED, (seq, cid)))
        else:
            kind, data = _TAGS[type(thing)], _text(thing)
            cid = thing.cid if isinstance(thing, OrderEvent) else ""
            for fill in _fills_in(thing):
                self.fills.append((Put.FILL, self._fill(seq, fill)))
            if _ends(thing):
                self.ended.append((Put.ENDED, (seq, cid)))
        self.events.append((Put.EVENT, (seq, self.run, thing.t, thing.wall, kind, cid, data)))

    def _fill(self, seq: int, f: Fill) -> Row:
        head = (f.cid, f.trade_id, seq, self.run, f.lots, f.price, f.fee, f.fee_asset)
        return (*head, f.maker, f.ts, f.source, f.t, f.wall)


def intent_row(seq: int, run: str, i: Intent) -> Statement:
    """Return the row of an intent; a change of an order is a row of its events."""
    if i.revision:
        return Put.EVENT, (seq, run, i.t, i.wall, "amend", i.cid, _encode(i).decode())
    # `_value_`, because `value` is a property in Python and this row is on the way of an order
    row = (
        i.cid, seq, run, i.rule, i.group, i.leg, i.attempt, i.purpose._value_,
        i.exchange, i.market, i.symbol, i.side._value_, i.type._value_, i.tif._value_,
        i.lots, i.ticks, i.qty_text, i.price_text, i.reduce_only, i.window_ns, i.t, i.wall,
        _encode(i.refs).decode(),
    )  # fmt: skip
    if not i.trigger_ticks:
        return Put.INTENT, row
    return Put.GUARD, (*row, i.trigger._value_, i.trigger_ticks, i.trigger_text)


def _fills_in(event: Event) -> Sequence[Fill]:
    if isinstance(event, Fill):
        return (event,)
    return event.fills if isinstance(event, Reconciled) else ()


def _ends(event: Event) -> bool:
    if isinstance(event, Found):
        return event.order is not None and event.order.status in _TERMINAL_STATUS
    return isinstance(event, Done | Reject)


def _text(value: object) -> str:
    """Encode a row's payload, redacted; what cannot be encoded is kept as its repr."""
    try:
        return redact(_encode(value).decode())
    except (TypeError, ValueError):
        return redact(_encode({"unencodable": ascii(value)}).decode())
