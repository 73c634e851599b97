"""The journal's tables, their version, and the one door for sqlite3's exceptions.

`seq` counts every journaled row (intents and events together) without a hole, so that a repair can
say how many rows are lost and where. `fills` is keyed by (client id, trade id): the same trade told
twice is one row, and two own orders that met each other are two. The file carries its version in
`user_version` and our mark in `application_id`; a version number is never used for another shape.

Version 2 added what sets a stop or a target off (other orders have NULL there), and has no index of
events by order any more: nobody asked it, and each journaled answer paid for it.

Intents have one B-tree and no index: client ids of a run ascend, so a commit touches one page, and
each page is two writes on the hot path. A start scans the table instead, as its integrity check
does anyway.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from runner.base.errors import WorldError
from runner.base.secret import redact

SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0x72756E72

TABLES: Final = """
CREATE TABLE runs (
  run TEXT PRIMARY KEY, started INTEGER NOT NULL, mode TEXT NOT NULL, strategy TEXT NOT NULL,
  sha TEXT NOT NULL, limits_sha TEXT NOT NULL, versions TEXT NOT NULL, config TEXT NOT NULL,
  ended INTEGER, exit_code INTEGER, reason TEXT);
CREATE TABLE intents (
  cid TEXT PRIMARY KEY, seq INTEGER NOT NULL, run TEXT NOT NULL, rule TEXT NOT NULL,
  grp INTEGER NOT NULL, leg INTEGER NOT NULL, attempt INTEGER NOT NULL, purpose TEXT NOT NULL,
  exchange TEXT NOT NULL, market TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
  type TEXT NOT NULL, tif TEXT NOT NULL, lots INTEGER NOT NULL, ticks INTEGER NOT NULL,
  qty TEXT NOT NULL, price TEXT NOT NULL, reduce_only INTEGER NOT NULL, window_ns INTEGER NOT NULL,
  t INTEGER NOT NULL, wall INTEGER NOT NULL, refs TEXT NOT NULL, ended INTEGER,
  trigger_kind TEXT, trigger_ticks INTEGER, trigger_price TEXT)
  WITHOUT ROWID;
CREATE TABLE events (
  seq INTEGER PRIMARY KEY, run TEXT NOT NULL, t INTEGER NOT NULL, wall INTEGER NOT NULL,
  kind TEXT NOT NULL, cid TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE fills (
  cid TEXT NOT NULL, trade_id TEXT NOT NULL, seq INTEGER NOT NULL, run TEXT NOT NULL,
  lots INTEGER NOT NULL, price REAL NOT NULL, fee REAL, fee_asset TEXT NOT NULL,
  maker INTEGER NOT NULL, ts INTEGER NOT NULL, source TEXT NOT NULL, t INTEGER NOT NULL,
  wall INTEGER NOT NULL, PRIMARY KEY (cid, trade_id)) WITHOUT ROWID;
CREATE TABLE once (key TEXT PRIMARY KEY, run TEXT NOT NULL, wall INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE state (
  key TEXT PRIMARY KEY, run TEXT NOT NULL, seq INTEGER NOT NULL, wall INTEGER NOT NULL,
  value BLOB NOT NULL) WITHOUT ROWID;
"""

_NOT_TEXT: Final = "Could not decode to UTF-8"
"""what sqlite3 says, as an OperationalError, of a text whose bytes are damaged"""

INTENT_ROW: Final = f"INSERT INTO intents VALUES ({','.join('?' * 23)},NULL,NULL,NULL,NULL)"
"""of any order that waits for nothing: neither a stop nor a target"""

MIGRATIONS: Final[Mapping[int, str]] = {
    1: "DROP INDEX IF EXISTS events_cid;"
    "ALTER TABLE intents ADD COLUMN trigger_kind TEXT;"
    "ALTER TABLE intents ADD COLUMN trigger_ticks INTEGER;"
    "ALTER TABLE intents ADD COLUMN trigger_price TEXT"
}
"""Statements that bring version n to n + 1: columns come at the end, and may be NULL."""


class Durability(StrEnum):
    """What a commit survives: NORMAL a kill, FULL a power failure too (R-65)."""

    NORMAL = "normal"
    FULL = "full"


class JournalError(WorldError):
    """The journal cannot be written or read; the host halts new risk. `path` is the file."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class DamagedJournal(JournalError):
    """The journal is not a whole database any more; only `--repair` opens it."""


class DuplicateIntent(JournalError):
    """A client order id is in the journal already: an order is never sent twice."""


def journal_error(path: Path, doing: str, error: Exception) -> JournalError:
    """Map an exception of sqlite3 (or of binding) to ours; the only place that does."""
    text = redact(str(error))
    if isinstance(error, sqlite3.IntegrityError):
        return DuplicateIntent(f"{path}: {doing}: {text}", path)
    if isinstance(error, sqlite3.OperationalError) and _NOT_TEXT not in text:
        return JournalError(f"{path}: {doing}: {text}", path)
    if isinstance(error, sqlite3.DatabaseError | msgspec.DecodeError | UnicodeDecodeError):
        return damaged(path, text)
    return JournalError(f"{path}: {doing}: {text}", path)


def damaged(path: Path, said: str) -> DamagedJournal:
    """Return what a start is told of a journal that is not whole."""
    return DamagedJournal(
        f"the journal {path} is damaged ({said}): "
        "start with --repair, which puts it aside and says what is lost",
        path,
    )


def create(db: sqlite3.Connection) -> None:
    """Make the tables of the newest version in an empty database."""
    db.executescript(
        f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id={APPLICATION_ID};"
        f"PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
    )


def settle(
    db: sqlite3.Connection,
    path: Path,
    target: int = SCHEMA_VERSION,
    migrations: Mapping[int, str] = MIGRATIONS,
) -> None:
    """Create, migrate or refuse, so that the file has version `target` afterwards.

    JournalError when the file is newer than this program or is another program's database.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (mark,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables:
        create(db)
        version = SCHEMA_VERSION
    elif mark != APPLICATION_ID:
        raise JournalError(f"{path} is a database of another program; move it away", path)
    if version > target:
        raise JournalError(
            f"{path} has journal version {version}, this runner knows {target}: "
            "use the newer runner that wrote it",
            path,
        )
    for step in range(version, target):
        db.executescript(
            f"BEGIN IMMEDIATE; {migrations[step]}; PRAGMA user_version={step + 1}; COMMIT;"
        )


def check_integrity(db: sqlite3.Connection, path: Path) -> None:
    """Raise DamagedJournal when SQLite finds a fault in the file (R-66)."""
    try:
        faults = [str(row[0]) for row in db.execute("PRAGMA integrity_check(3)")]
    except sqlite3.DatabaseError as error:
        faults = [str(error)]
    if faults != ["ok"]:
        said = "; ".join("; ".join(faults).splitlines())
        raise damaged(path, said)
