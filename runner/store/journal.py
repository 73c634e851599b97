"""The journal: what was decided, written before it is done (SQLite, WAL).

Theory of operation. One connection, one thread. `commit` puts the intents of a group, and all that
was buffered before them, into one transaction and only then returns the `Journaled` orders that a
sender takes (R-64, I-4). Everything else is appended to a list (`event`, `record`, `save`) and
written by the host's `flush` within 20 ms. A row gets its number when it is given, so the file
shows the order in which things happened.

When a write fails, nothing is lost and nothing is half written: the transaction is rolled back, the
buffer stays in memory, `fault` is set and JournalError is raised. Entries are then not sent. A
group that only closes or repairs is still released (trading.md, section 6: exits go on, kept in
memory); its intents join the buffer and reach the file with the next write that succeeds.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from runner.base.clock import Clock
from runner.base.crash import crash_point
from runner.base.secret import redact
from runner.engine.commands import Intent, Purpose
from runner.engine.events import Done, Event, Fill, Found, OrderEvent, Reconciled, Reject
from runner.engine.proof import Approved, Journaled, _journaled
from runner.store.checkpoint import Checkpointer
from runner.store.past import UNREADABLE, Past, read_past
from runner.store.schema import (
    INTENT_ROW,
    DuplicateIntent,
    Durability,
    JournalError,
    check_integrity,
    journal_error,
    settle,
)

Scalar = str | int | float | bool | None
Row = tuple[object, ...]
Statement = tuple[str, Row]

_GUARD: Final = f"INSERT INTO intents VALUES ({','.join('?' * 23)},NULL,?,?,?)"
"""of a stop or a target: what it waits for comes last"""
_EVENT: Final = "INSERT INTO events VALUES (?,?,?,?,?,?,?)"
_ENDED: Final = "UPDATE intents SET ended=? WHERE cid=? AND ended IS NULL"
_FILL: Final = (
    "INSERT INTO fills VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (cid, trade_id) DO UPDATE "
    "SET fee=excluded.fee, fee_asset=excluded.fee_asset, maker=excluded.maker WHERE fee IS NULL"
)
_ONCE: Final = "INSERT OR IGNORE INTO once VALUES (?,?,?)"
_STATE: Final = (
    "INSERT INTO state VALUES (?,?,?,?,?) ON CONFLICT (key) DO UPDATE SET run=excluded.run, "
    "seq=excluded.seq, wall=excluded.wall, value=excluded.value"
)
_RUN: Final = "INSERT INTO runs VALUES (?,?,?,?,?,?,?,?,NULL,NULL,NULL)"
_RUN_ENDED: Final = "UPDATE runs SET ended=?, exit_code=?, reason=? WHERE run=?"

ENDING_RECORDS: Final = frozenset({"done", "reject", "never_arrived"})
"""Records whose `cid` is known to be terminal, besides the events Done, Reject and Found."""
_TERMINAL_STATUS: Final = frozenset({"filled", "canceled", "expired", "rejected"})
_BUSY_S: Final = 0.25
_WRITE_ERRORS: Final = (sqlite3.Error, OverflowError, UnicodeEncodeError)

_encode = msgspec.json.Encoder().encode


class RunHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What every row of a run is to be read with (R-22, R-60)."""

    run: str
    mode: str
    strategy: str
    sha: str
    limits_sha: str
    versions: Mapping[str, str]
    config: str = ""
    """the strategy's text with parameters, redacted when written"""


class _Record(msgspec.Struct, frozen=True):
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
class _Rows:
    """Rows of one transaction, by statement."""

    kept: list[Statement] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    fills: list[Row] = field(default_factory=list)
    ended: list[Row] = field(default_factory=list)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S, cached_statements=64)


class Journal:
    """The open journal of one strategy. Not thread-safe; made by `Journal.open`."""

    __slots__ = (
        "_checkpointer",
        "_db",
        "_once",
        "_pending",
        "_run",
        "_seq",
        "_states",
        "before_write",
        "fault",
        "path",
    )

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self.path = path
        self._run = ""
        self._pending: list[tuple[int, Event | Intent | _Record]] = []
        self._states: dict[str, tuple[int, int, bytes]] = {}
        self._once: dict[str, int] = {}
        self._checkpointer: Checkpointer | None = None
        self.fault: JournalError | None = None
        self.before_write: Callable[[], None] = lambda: None
        """called when the buffer is about to be written, to `save` what lasts as it is by now;
        a commit does without: what its group needs was saved before it"""
        self._seq = self._last_seq()

    @classmethod
    def open(
        cls,
        path: Path,
        durability: Durability = Durability.NORMAL,
        connect: Callable[[Path], sqlite3.Connection] = _connect,
    ) -> Journal:
        """Open or create the journal at `path` (0600 in a 0700 directory).

        DamagedJournal when the file is not whole, JournalError when it cannot be used otherwise
        (version, permissions, disk). `connect` is there for tests that break the disk.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
        except OSError as error:
            raise JournalError(f"cannot open the journal {path}: {error.strerror}", path) from error
        try:
            db = connect(path)
        except sqlite3.Error as error:
            raise journal_error(path, "opening", error) from error
        try:
            check_integrity(db, path)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={durability.upper()}")
            db.execute("PRAGMA wal_autocheckpoint=0")
            settle(db, path)
            return cls(db, path)
        except _WRITE_ERRORS as error:
            db.close()
            raise journal_error(path, "opening", error) from error
        except JournalError:
            db.close()
            raise

    @classmethod
    def in_memory(cls) -> Journal:
        """Open a journal that is gone when it closes: for tests of strategies."""
        db = sqlite3.connect(":memory:", isolation_level=None)
        path = Path(":memory:")
        settle(db, path)
        return cls(db, path)

    def checkpoint_in_background(self, checkpointer: Checkpointer | None = None) -> Checkpointer:
        """Start the checkpoint thread; set its `quiet` while no order is in flight."""
        self._checkpointer = checkpointer or Checkpointer(self.path)
        self._checkpointer.start()
        return self._checkpointer

    def begin_run(self, header: RunHeader, clock: Clock) -> None:
        """Write the run's header at once; rows given from now on belong to it."""
        versions = json.dumps(dict(header.versions), sort_keys=True)
        row = (header.run, clock.wall(), header.mode, header.strategy, header.sha)
        rest = (header.limits_sha, versions, redact(header.config))
        self._write([(_RUN, row + rest)])
        self._run = header.run

    def end_run(self, code: int, reason: str, clock: Clock) -> None:
        """Write all that is buffered, and how the run ended."""
        self.before_write()
        self._write([(_RUN_ENDED, (clock.wall(), code, redact(reason), self._run))])

    def commit(self, approved: Sequence[Approved]) -> list[Journaled]:
        """Commit the intents of a group with all that is buffered, then release them.

        JournalError (nothing written, nothing may be sent) when the write fails and one of the
        orders takes new risk. DuplicateIntent when a client id was ever used before.
        """
        crash_point("before_intent")
        intents = [each.intent for each in approved]
        rows = [self._statement(self._seq + 1 + i, intent) for i, intent in enumerate(intents)]
        try:
            self._write(rows)
            self._seq += len(rows)
        except DuplicateIntent:
            raise
        except JournalError:
            if any(each.purpose is Purpose.ENTRY or each.revision for each in intents):
                raise
            self._keep(intents)
        crash_point("after_intent")
        return [_journaled(each) for each in approved]

    def event(self, event: Event) -> None:
        """Buffer one event of the engine; order events find their intent by client id."""
        self._append(event)

    def record(self, kind: str, fields: Mapping[str, Scalar], t: int, wall: int) -> None:
        """Buffer a row of any other kind; a field `cid` links it to its order."""
        self._append(_Record(kind, str(fields.get("cid") or ""), t, wall, dict(fields)))

    def save(self, key: str, value: bytes, wall: int) -> None:
        """Buffer a value (JSON) to be found again after a restart; the last one of a key counts."""
        self._states[key] = (self._seq, wall, value)

    def claim(self, key: str, wall: int) -> bool:
        """Take a once-key: True the first time ever, False ever after.

        It reaches the file with the next write, hence before any order that depends on it.
        """
        if key in self._once:
            return False
        try:
            found = self._db.execute("SELECT 1 FROM once WHERE key=?", (key,)).fetchone()
        except _WRITE_ERRORS as error:
            raise journal_error(self.path, "reading a once-key", error) from error
        if found is not None:
            return False
        self._once[key] = wall
        return True

    def rest(self, quiet: bool) -> None:
        """Say whether no order is in flight: only then may the log be cut short (R-64)."""
        if self._checkpointer is not None:
            self._checkpointer.quiet = quiet

    @property
    def pending(self) -> int:
        """Rows given and not yet written."""
        return len(self._pending) + len(self._states) + len(self._once)

    def flush(self) -> None:
        """Write all that is buffered in one transaction; JournalError keeps it buffered."""
        self.before_write()
        if self._pending or self._states or self._once:
            self._write([])

    def past(self) -> Past:
        """Read back what a restart needs (open intents, fills, states)."""
        try:
            return read_past(self._db)
        except UNREADABLE as error:
            raise journal_error(self.path, "reading", error) from error

    def close(self) -> None:
        """Write what is buffered, stop the checkpoint thread and close; JournalError as `flush`."""
        try:
            self.flush()
        finally:
            if self._checkpointer is not None:
                self._checkpointer.stop()
            self._db.close()

    def _statement(self, seq: int, intent: Intent) -> Statement:
        """Return the row of an intent; a change of an order is a row of its events."""
        if not intent.revision:
            row = self._intent_row(seq, intent)
            if not intent.trigger_ticks:
                return INTENT_ROW, row
            waits = (intent.trigger._value_, intent.trigger_ticks, intent.trigger_text)
            return _GUARD, row + waits
        data = _encode(intent).decode()
        return _EVENT, (seq, self._run, intent.t, intent.wall, "amend", intent.cid, data)

    def _keep(self, intents: list[Intent]) -> None:
        """Hold the intents of exits in memory while the file cannot be written."""
        kept = {thing.cid for _, thing in self._pending if isinstance(thing, Intent)}
        for intent in intents:
            if intent.cid in kept or self._known(intent.cid):
                raise DuplicateIntent(f"{self.path}: {intent.cid} was used before", self.path)
        for intent in intents:
            self._append(intent)

    def _known(self, cid: str) -> bool:
        try:
            row = self._db.execute("SELECT 1 FROM intents WHERE cid=?", (cid,)).fetchone()
        except sqlite3.Error:
            # The disk does not even read: the gate's own check of used ids has to suffice.
            return False
        return row is not None

    def _append(self, thing: Event | Intent | _Record) -> None:
        self._seq += 1
        self._pending.append((self._seq, thing))

    def _last_seq(self) -> int:
        (last,) = self._db.execute(
            "SELECT max(coalesce((SELECT max(seq) FROM intents), 0),"
            " coalesce((SELECT max(seq) FROM events), 0))"
        ).fetchone()
        return int(last)

    def _write(self, last: list[Statement]) -> None:
        """Write the buffer and then `last` in one transaction; all of it or nothing."""
        execute = self._db.execute
        fills = False
        try:
            execute("BEGIN IMMEDIATE")
            if self._pending:
                fills = self._write_pending()
            for key, wall in self._once.items():
                execute(_ONCE, (key, self._run, wall))
            for key, (seq, wall, value) in self._states.items():
                execute(_STATE, (key, self._run, seq, wall, value))
            for statement, row in last:
                execute(statement, row)
            if fills:
                crash_point("before_fill_journaled")
            execute("COMMIT")
        except _WRITE_ERRORS as error:
            self._roll_back()
            mapped = journal_error(self.path, "writing", error)
            if not isinstance(error, sqlite3.IntegrityError):
                self.fault = mapped
            raise mapped from error
        self._pending.clear()
        self._once.clear()
        self._states.clear()
        self.fault = None
        if fills:
            crash_point("after_fill_journaled")

    def _write_pending(self) -> bool:
        """Write the buffered rows, table by table; return whether fills were among them."""
        rows = _Rows()
        for seq, thing in self._pending:
            self._bind(seq, thing, rows)
        many = self._db.executemany
        for statement, row in rows.kept:
            self._db.execute(statement.replace("INSERT", "INSERT OR IGNORE"), row)
        many(_EVENT, rows.events)
        if rows.fills:
            crash_point("mid_fill_batch")
            many(_FILL, rows.fills)
        if rows.ended:
            many(_ENDED, rows.ended)
        return bool(rows.fills)

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            # SQLite has rolled back by itself after a full disk or an I/O error; the next write
            # begins anew and reports what is still wrong.
            return

    def _intent_row(self, seq: int, i: Intent) -> tuple[object, ...]:
        # `_value_`, because `value` is a property in Python and this row is on the way of an order
        return (
            i.cid, seq, self._run, i.rule, i.group, i.leg, i.attempt, i.purpose._value_,
            i.exchange, i.market, i.symbol, i.side._value_, i.type._value_, i.tif._value_,
            i.lots, i.ticks, i.qty_text, i.price_text, i.reduce_only, i.window_ns, i.t, i.wall,
            _encode(i.refs).decode(),
        )  # fmt: skip

    def _bind(self, seq: int, thing: Event | Intent | _Record, rows: _Rows) -> None:
        if isinstance(thing, _Record):
            data = _text(thing.fields)
            rows.events.append((seq, self._run, thing.t, thing.wall, thing.kind, thing.cid, data))
            if thing.cid and thing.kind in ENDING_RECORDS:
                rows.ended.append((seq, thing.cid))
            return
        if isinstance(thing, Intent):
            rows.kept.append(self._statement(seq, thing))
            return
        cid = thing.cid if isinstance(thing, OrderEvent) else ""
        kind = _TAGS[type(thing)]
        rows.events.append((seq, self._run, thing.t, thing.wall, kind, cid, _text(thing)))
        for fill in _fills_in(thing):
            rows.fills.append(self._fill_row(seq, fill))
        if _ends(thing):
            rows.ended.append((seq, cid))

    def _fill_row(self, seq: int, f: Fill) -> tuple[object, ...]:
        head = (f.cid, f.trade_id, seq, self._run, f.lots, f.price, f.fee, f.fee_asset)
        return (*head, f.maker, f.ts, f.source, f.t, f.wall)


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
