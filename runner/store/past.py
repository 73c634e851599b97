"""What a restart reads from the journal: open intents, fills, states, once-keys (R-26)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from runner.engine.commands import Intent
from runner.engine.events import Fill

_INTENT_COLUMNS: Final = (
    "run, cid, rule, grp, leg, attempt, purpose, exchange, market, symbol, side, type, tif, lots,"
    " ticks, qty, price, reduce_only, window_ns, t, wall, refs"
)
_TRIGGER_COLUMNS: Final = "trigger_kind, trigger_ticks, trigger_price"
_FILL_COLUMNS: Final = (
    "cid, trade_id, lots, price, fee, fee_asset, maker, ts, source, t, wall, run, seq"
)
_STATE_COLUMNS: Final = "run, seq, wall, value"

UNREADABLE: Final = (sqlite3.Error, msgspec.DecodeError, UnicodeDecodeError)
"""what reading raises where bytes are damaged inside of rows: SQLite checks only its pages"""

LATELY: Final = 100
"""so many orders that have ended stay known over a restart, for a fill that comes late"""

_decode_refs = msgspec.json.Decoder(tuple[tuple[str, int, int], ...]).decode


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run that has begun here; `ended` is None when it was killed."""

    run: str
    started: int
    mode: str
    sha: str
    ended: int | None
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class PastIntent:
    """An intent of an earlier (or this) run, and the run that decided it."""

    run: str
    intent: Intent


@dataclass(frozen=True, slots=True)
class PastFill:
    """A fill in the order of journaling; `seq` can be compared with a state's."""

    seq: int
    run: str
    fill: Fill


@dataclass(frozen=True, slots=True)
class SavedState:
    """A value kept by `Journal.save`: true as of row `seq`."""

    run: str
    seq: int
    wall: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Past:
    """All that a start needs to know of what happened before it."""

    runs: tuple[RunRow, ...]
    open: tuple[PastIntent, ...]
    """intents without a terminal state: ask the exchange about each, never resend"""
    states: Mapping[str, SavedState]
    groups: Mapping[str, int]
    """run -> highest group ordinal used"""
    last_seq: int


def read_past(db: sqlite3.Connection) -> Past:
    """Read everything but fills and events; `UNREADABLE` passes through."""
    runs = db.execute(
        "SELECT run, started, mode, sha, ended, exit_code FROM runs ORDER BY started, rowid"
    )
    opened = db.execute(f"{_select(db)} WHERE ended IS NULL ORDER BY seq")
    states = db.execute(f"SELECT key, {_STATE_COLUMNS} FROM state")
    groups = db.execute("SELECT run, max(grp) FROM intents GROUP BY run")
    (last,) = db.execute(
        "SELECT max(coalesce((SELECT max(seq) FROM intents), 0),"
        " coalesce((SELECT max(seq) FROM events), 0))"
    ).fetchone()
    return Past(
        runs=tuple(RunRow(*row) for row in runs),
        open=tuple(_intent(row) for row in opened),
        states={key: _state(row) for key, *row in states},
        groups=dict(groups.fetchall()),
        last_seq=last,
    )


def read_fills(db: sqlite3.Connection, since_seq: int = 0) -> list[PastFill]:
    """Return the fills first journaled after row `since_seq`, each trade once."""
    rows = db.execute(f"SELECT {_FILL_COLUMNS} FROM fills WHERE seq > ? ORDER BY seq", (since_seq,))
    return [_fill(row) for row in rows]


def read_intents(db: sqlite3.Connection, run: str | None = None) -> list[PastIntent]:
    """Return all intents (of one run), open or not, in the order of decision."""
    where, values = ("WHERE run=?", (run,)) if run is not None else ("", ())
    rows = db.execute(f"{_select(db)} {where} ORDER BY seq", values)
    return [_intent(row) for row in rows]


def read_ended(db: sqlite3.Connection, most: int = LATELY) -> list[Intent]:
    """Return the youngest intents with a terminal state, the oldest first."""
    rows = db.execute(
        f"{_select(db)} WHERE ended IS NOT NULL ORDER BY seq DESC LIMIT ?", (most,)
    ).fetchall()
    return [_intent(row).intent for row in reversed(rows)]


def read_once(db: sqlite3.Connection) -> list[str]:
    """Return all once-keys ever claimed."""
    return [str(key) for (key,) in db.execute("SELECT key FROM once ORDER BY key")]


def read_heard(db: sqlite3.Connection, since: int) -> list[tuple[str, str, int]]:
    """Return the messages that sources were heard to say since `since`: (source, id, wall ns)."""
    rows = db.execute(
        "SELECT data, wall FROM events WHERE kind='heard' AND wall>=? ORDER BY seq", (since,)
    )
    found = ((msgspec.json.decode(data), wall) for data, wall in rows)
    return [(str(row["source"]), str(row["id"]), wall) for row, wall in found]


def read_traces(db: sqlite3.Connection, run: str, most: int) -> Iterator[tuple[int, int, str]]:
    """Yield (monotonic ns, wall ns, JSON) of the youngest traces of a run, the oldest first."""
    rows = db.execute(
        "SELECT json_extract(data, '$.t'), json_extract(data, '$.wall'),"
        " json_extract(data, '$.trace') FROM events"
        " WHERE run=? AND kind='trace' ORDER BY seq DESC LIMIT ?",
        (run, most),
    ).fetchall()
    yield from ((t, wall, text) for t, wall, text in reversed(rows) if text)


def read_only(path: Path) -> sqlite3.Connection:
    """Open the journal of a running strategy beside it, for `why` and `status`."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)


def senseless(db: sqlite3.Connection) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield (table, its key) of every row of a newest-version file that cannot be read back."""
    tests: tuple[tuple[str, int, str, Callable[[tuple[Any, ...]], object]], ...] = (
        ("intents", 1, f"SELECT cid, {_TRIGGER_COLUMNS}, {_INTENT_COLUMNS} FROM intents", _intent),
        ("fills", 2, f"SELECT cid, trade_id, {_FILL_COLUMNS} FROM fills", _fill),
        ("events", 1, "SELECT seq, data FROM events", lambda row: msgspec.json.decode(row[0])),
        ("state", 1, f"SELECT key, {_STATE_COLUMNS} FROM state", _state),
    )
    for table, width, select, read in tests:
        for row in db.execute(select):
            try:
                read(row[width:])
            except (*UNREADABLE, ValueError, TypeError):
                yield table, row[:width]


def _select(db: sqlite3.Connection) -> str:
    """Begin the query of intents; a file that no start has brought up to date knows no triggers."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    triggers = _TRIGGER_COLUMNS if version > 1 else "NULL, NULL, NULL"
    return f"SELECT {triggers}, {_INTENT_COLUMNS} FROM intents"


def _intent(row: tuple[object, ...]) -> PastIntent:
    kind, ticks, price = row[:3]
    values = dict(zip(_INTENT_COLUMNS.replace(" ", "").split(","), row[3:], strict=True))
    if kind is not None:
        values |= {"trigger": kind, "trigger_ticks": ticks, "trigger_text": price}
    run = str(values.pop("run"))
    values["group"] = values.pop("grp")
    values["qty_text"] = values.pop("qty")
    values["price_text"] = values.pop("price")
    values["reduce_only"] = bool(values["reduce_only"])
    values["refs"] = _decode_refs(str(values["refs"]))
    return PastIntent(run, msgspec.convert(values, Intent))


def _state(row: Sequence[Any]) -> SavedState:
    run, seq, wall, value = row
    msgspec.json.decode(value)  # raises where its bytes are damaged
    return SavedState(run, seq, wall, value)


def _fill(row: tuple[object, ...]) -> PastFill:
    values = dict(zip(_FILL_COLUMNS.replace(" ", "").split(","), row, strict=True))
    seq, run = values.pop("seq"), values.pop("run")
    values["maker"] = bool(values["maker"])
    return PastFill(int(str(seq)), str(run), msgspec.convert(values, Fill))
