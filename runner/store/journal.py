"""The journal: what was decided, written before it is done (SQLite, WAL).

Theory of operation. One connection, one thread. `commit` puts the intents of a group, and all that
was buffered before them, into one transaction and only then returns the `Journaled` orders that a
sender takes (R-64, I-4). Everything else is appended to a list (`event`, `record`, `save`) and
written by the host's `flush` within 20 ms. A row gets its number when it is given, so the file
shows the order in which things happened.

A run on sockets calls `write_ahead`. Then a commit is one record of the tail, a file beside the
database (`tail`), and the next flush brings it into the database: an order waits a tenth as long.
Rows are in one of three places, and `open` brings the second into the third:

    given                 `_pending`, `_states`, `_once`: lost by a kill, and asked of the exchange
    bound, in the tail    `_bound[:_ahead]`: survives a kill
    in the database

When a write fails, nothing is lost and nothing is half written: the transaction is rolled back, the
buffer stays in memory, `fault` is set and JournalError is raised. Entries are then not sent. A
group that only closes or repairs is still released (trading.md, section 6: exits go on, kept in
memory, and in the tail where that can be written); its intents join the buffer and reach the
database with the next write that succeeds. A tail that cannot be written is not used again.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from runner.base.clock import Clock
from runner.base.crash import crash_point
from runner.base.secret import redact
from runner.engine.commands import Intent, Purpose
from runner.engine.events import Event
from runner.engine.proof import Approved, Journaled, _journaled
from runner.store.checkpoint import Checkpointer
from runner.store.past import UNREADABLE, Past, read_past
from runner.store.rows import AGAIN, INTENTS, SQL, Put, Record, Rows, Scalar, Statement, intent_row
from runner.store.schema import (
    DuplicateIntent,
    Durability,
    JournalError,
    check_integrity,
    journal_error,
    settle,
)
from runner.store.tail import Tail, left_in, put_aside

_BUSY_S: Final = 0.25
_WRITE_ERRORS: Final = (sqlite3.Error, OverflowError, UnicodeEncodeError)


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


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S, cached_statements=64)


class Journal:
    """The open journal of one strategy. Not thread-safe; made by `Journal.open`."""

    __slots__ = (
        "_ahead",
        "_bound",
        "_checkpointer",
        "_claimed",
        "_db",
        "_durability",
        "_group",
        "_once",
        "_pending",
        "_run",
        "_seq",
        "_states",
        "_tail",
        "before_write",
        "fault",
        "path",
    )

    def __init__(
        self, db: sqlite3.Connection, path: Path, durability: Durability = Durability.NORMAL
    ) -> None:
        self._db = db
        self._durability = durability
        self.path = path
        self._run = ""
        self._pending: list[tuple[int, Event | Record]] = []
        self._bound: list[Statement] = []
        """rows that the database has not got, in their order; the tail has the first `_ahead`"""
        self._ahead = 0
        self._tail: Tail | None = None
        self._group = 0
        """the highest group of this run that was committed"""
        self._claimed: set[str] = set()
        """once-keys that the database has not got"""
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
            journal = cls(db, path, durability)
            journal._catch_up()
            return journal
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
        self._write([(Put.RUN, row + rest)])
        self._run = header.run

    def write_ahead(self) -> None:
        """Commit by the tail from now on; after `begin_run`. JournalError without a disk for it."""
        self._tail = Tail(self.path, self._run, self._durability)

    def end_run(self, code: int, reason: str, clock: Clock) -> None:
        """Write all that is buffered, and how the run ended."""
        self.before_write()
        self._write([(Put.RUN_ENDED, (clock.wall(), code, redact(reason), self._run))])

    def commit(self, approved: Sequence[Approved]) -> list[Journaled]:
        """Commit the intents of a group with all that is buffered, then release them.

        JournalError (nothing written, nothing may be sent) when the write fails and one of the
        orders takes new risk. DuplicateIntent when a client id was ever used before.
        """
        crash_point("before_intent")
        intents = [each.intent for each in approved]
        rows = self._rows_of(intents)
        if not self._in_tail(intents, rows):
            self._in_database(intents, rows)
        crash_point("after_intent")
        return [_journaled(each) for each in approved]

    def event(self, event: Event) -> None:
        """Buffer one event of the engine; order events find their intent by client id."""
        self._append(event)

    def record(self, kind: str, fields: Mapping[str, Scalar], t: int, wall: int) -> None:
        """Buffer a row of any other kind; a field `cid` links it to its order."""
        self._append(Record(kind, str(fields.get("cid") or ""), t, wall, dict(fields)))

    def save(self, key: str, value: bytes, wall: int) -> None:
        """Buffer a value (JSON) to be found again after a restart; the last one of a key counts."""
        self._states[key] = (self._seq, wall, value)

    def claim(self, key: str, wall: int) -> bool:
        """Take a once-key: True the first time ever, False ever after.

        It reaches the file with the next write, hence before any order that depends on it.
        """
        if key in self._claimed:
            return False
        try:
            found = self._db.execute("SELECT 1 FROM once WHERE key=?", (key,)).fetchone()
        except _WRITE_ERRORS as error:
            raise journal_error(self.path, "reading a once-key", error) from error
        if found is not None:
            return False
        self._once[key] = wall
        self._claimed.add(key)
        return True

    def rest(self, quiet: bool) -> None:
        """Say whether no order is in flight: only then may the log be cut short (R-64)."""
        if self._checkpointer is not None:
            self._checkpointer.quiet = quiet

    @property
    def pending(self) -> int:
        """Rows that the database has not got yet."""
        return len(self._bound) + len(self._pending) + len(self._states) + len(self._once)

    def flush(self) -> None:
        """Write all that is buffered in one transaction; JournalError keeps it buffered."""
        self.before_write()
        if self.pending:
            self._write([])

    def past(self) -> Past:
        """Read back what a restart needs (open intents, states), as far as it is written."""
        if self._ahead:
            self._write([])
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
            if self._tail is not None:
                self._tail.close(empty=not self.pending)
            self._db.close()

    def _catch_up(self) -> None:
        """Bring into the database what a kill left in the tail."""
        run, records = left_in(self.path)
        if not self._db.execute("SELECT 1 FROM runs WHERE run=?", (run,)).fetchone():
            if records:
                put_aside(self.path, run)
            return
        for seq, rows in records:
            if seq > self._seq:
                self._bound += [(AGAIN.get(put, put), row) for put, row in rows]
        if self._bound:
            self._write([])
            self._seq = self._last_seq()

    def _in_tail(self, intents: Sequence[Intent], rows: list[Statement]) -> bool:
        """Commit a group by the tail; False when the database has to do it.

        That is so without a tail or room in it, after a failure, and where a client id may have
        been used before: the database's key knows. Within a run ids differ as their groups do.
        """
        if self._tail is None or self.fault is not None or not self._newer(intents):
            return False
        self._bind()
        if not self._to_tail(self._seq + len(rows), [*self._bound[self._ahead :], *rows]):
            return False
        self._bound += rows
        self._ahead = len(self._bound)
        self._committed(intents)
        return True

    def _newer(self, intents: Sequence[Intent]) -> bool:
        """Whether no id of a group can have been journaled; a change of an order brings no id."""
        newest = self._group
        for each in intents:
            if not each.revision and each.group <= newest:
                return False
        return len(intents) == 1 or len({each.cid for each in intents}) == len(intents)

    def _to_tail(self, seq: int, rows: Sequence[Statement]) -> bool:
        """Append to the tail, and give it up when that fails."""
        assert self._tail is not None
        try:
            return self._tail.append(seq, rows)
        except (JournalError, *_WRITE_ERRORS):
            self._tail.close(empty=False)
            self._tail = None
            return False

    def _in_database(self, intents: Sequence[Intent], rows: list[Statement]) -> None:
        """Commit a group in a transaction; exits are kept in memory when it fails."""
        try:
            self._write(rows)
            self._committed(intents)
        except DuplicateIntent:
            raise
        except JournalError:
            if any(each.purpose is Purpose.ENTRY or each.revision for each in intents):
                raise
            self._keep(intents)

    def _committed(self, intents: Sequence[Intent]) -> None:
        """Count the rows of a group that is written."""
        self._seq += len(intents)
        self._group = max(self._group, *(each.group for each in intents))

    def _rows_of(self, intents: Sequence[Intent]) -> list[Statement]:
        """Return the next rows, one for each intent."""
        first, run = self._seq + 1, self._run
        return [intent_row(first + i, run, intent) for i, intent in enumerate(intents)]

    def _keep(self, intents: Sequence[Intent]) -> None:
        """Hold the intents of exits in memory, and in the tail, while there is no database."""
        kept = {row[0] for put, row in self._bound if put in INTENTS}
        for intent in intents:
            if intent.cid in kept or self._known(intent.cid):
                raise DuplicateIntent(f"{self.path}: {intent.cid} was used before", self.path)
        self._bound += [(AGAIN[put], row) for put, row in self._rows_of(intents)]
        self._seq += len(intents)
        if self._tail is not None and self._to_tail(self._seq, self._bound[self._ahead :]):
            self._ahead = len(self._bound)

    def _known(self, cid: str) -> bool:
        try:
            row = self._db.execute("SELECT 1 FROM intents WHERE cid=?", (cid,)).fetchone()
        except sqlite3.Error:
            # The disk does not even read: the gate's own check of used ids has to suffice.
            return False
        return row is not None

    def _append(self, thing: Event | Record) -> None:
        self._seq += 1
        self._pending.append((self._seq, thing))

    def _last_seq(self) -> int:
        (last,) = self._db.execute(
            "SELECT max(coalesce((SELECT max(seq) FROM intents), 0),"
            " coalesce((SELECT max(seq) FROM events), 0))"
        ).fetchone()
        return int(last)

    def _bind(self) -> None:
        """Make rows of all that was given."""
        run = self._run
        if self._pending:
            rows = Rows(run)
            for seq, thing in self._pending:
                rows.add(seq, thing)
            self._pending.clear()
            self._bound += rows.events
            self._bound += rows.fills
            self._bound += rows.ended
        if self._once:
            self._bound += [(Put.ONCE, (key, run, wall)) for key, wall in self._once.items()]
            self._once.clear()
        if self._states:
            self._bound += [(Put.STATE, (key, run, *rest)) for key, rest in self._states.items()]
            self._states.clear()

    def _write(self, last: list[Statement]) -> None:
        """Bring all rows and then `last` into the database in one transaction, or none of them."""
        self._bind()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            fills = self._put([*self._bound, *last])
            if fills:
                crash_point("before_fill_journaled")
            self._db.execute("COMMIT")
        except _WRITE_ERRORS as error:
            self._roll_back()
            mapped = journal_error(self.path, "writing", error)
            if not isinstance(error, sqlite3.IntegrityError):
                self.fault = mapped
            raise mapped from error
        self._bound.clear()
        self._ahead = 0
        self._claimed.clear()
        self.fault = None
        if self._tail is not None:
            self._tail.restart()
        if fills:
            crash_point("after_fill_journaled")

    def _put(self, rows: Sequence[Statement]) -> bool:
        """Execute statements in their order; return whether fills were among them."""
        fills = False
        for put, same in groupby(rows, key=itemgetter(0)):
            if put == Put.FILL:
                fills = True
                crash_point("mid_fill_batch")
            self._db.executemany(SQL[put], [row for _, row in same])
        return fills

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            # SQLite has rolled back by itself after a full disk or an I/O error; the next write
            # begins anew and reports what is still wrong.
            return
