"""The thread that moves the journal's WAL into its database, so that no commit ever has to.

Theory of operation: the journal's own connection has `wal_autocheckpoint=0`. Once a second this
thread, with a connection of its own, runs a PASSIVE checkpoint, which never blocks a writer and
stays in C without the GIL. PASSIVE cannot shrink the file; when it has grown past a bound, TRUNCATE
runs, which holds the writer's lock for some milliseconds, and therefore only while the host says
that no order is in flight (`quiet`).
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
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if self.quiet and self._size() > self._truncate_above:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.failure = ""
        except sqlite3.Error as error:
            self.failure = f"{self._path}: checkpoint: {error}"
        self.passes += 1

    def _size(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0
