"""The thread that moves the journal's WAL into its database, so that no commit ever has to.

Theory of operation: the journal's own connection has `wal_autocheckpoint=0`. Once a second this
thread, with a connection of its own, runs a PASSIVE checkpoint, which never blocks a writer and
stays in C without the GIL. PASSIVE cannot shrink the file; when it has grown past a bound, TRUNCATE
runs, which holds the writer's lock for some milliseconds, and therefore only while the host says
that no order is in flight (`quiet`).

A checkpoint that emptied the log makes the next write begin it anew, and SQLite syncs the new
header to the disk: milliseconds, which the next order would pay. This thread pays them: it writes
first, an unchanged version number. A log that nobody else has written to is left alone.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Final

from runner.base.crash import crash_point

EVERY_S: Final = 1.0
TRUNCATE_ABOVE: Final = 64 * 1024 * 1024


class Checkpointer:
    """Checkpoints one database until `stop`; `failure` holds the last error's text, or ""."""

    def __init__(
        self, path: Path, every_s: float = EVERY_S, truncate_above: int = TRUNCATE_ABOVE
    ) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._every_s = every_s
        self._truncate_above = truncate_above
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._version = -1
        self.quiet = False
        self.failure = ""
        self.passes = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; safe to call twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=0.1)
        try:
            db.execute("PRAGMA wal_autocheckpoint=0")
            while not self._stop.wait(self._every_s):
                self._pass(db)
        finally:
            db.close()

    def _pass(self, db: sqlite3.Connection) -> None:
        try:
            crash_point("checkpoint")
            if self._changed(db):
                busy, log, done = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if not busy and log == done:
                    _begin_log(db)
            if self.quiet and self._size() > self._truncate_above:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.failure = ""
        except sqlite3.Error as error:
            self.failure = f"{self._path}: checkpoint: {error}"
        self.passes += 1

    def _changed(self, db: sqlite3.Connection) -> bool:
        """Whether another connection has written since the last look."""
        (version,) = db.execute("PRAGMA data_version").fetchone()
        seen, self._version = self._version, int(version)
        return seen != self._version

    def _size(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0


def _begin_log(db: sqlite3.Connection) -> None:
    """Write one page, so that the log's new header reaches the disk now and from this thread."""
    db.execute("BEGIN IMMEDIATE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        db.execute(f"PRAGMA user_version={version:d}")
        db.execute("COMMIT")
    except sqlite3.Error:
        db.execute("ROLLBACK")
        raise
