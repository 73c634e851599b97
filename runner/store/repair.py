"""Repair of a damaged journal: put it aside, save what can be read, say what is lost (R-66).

The damaged file is never changed. Its rows are read in both directions up to the damage and
written to a fresh journal; row numbers have no holes, so the missing ones are the lost ones.
Afterwards the exchange is asked, as after every start: its open orders, fills and positions stand
above whatever the journal says.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from runner.base.clock import Clock
from runner.store.past import senseless
from runner.store.schema import JournalError, create, journal_error
from runner.store.state_dir import private_folder
from runner.store.tail import is_damaged

_TABLES: Final = {
    "runs": "run",
    "intents": "cid",
    "events": "seq",
    "fills": "cid, trade_id",
    "once": "key",
    "state": "key",
}
_NUMBERED: Final = ("intents", "events")


@dataclass(slots=True)
class RepairReport:
    """What a repair did. `lost` are ranges (first, last) of row numbers that are gone."""

    quarantine: Path
    kept: dict[str, int] = field(default_factory=dict)
    lost: list[tuple[int, int]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """tables of which not every row could be read"""
    senseless: list[str] = field(default_factory=list)
    """rows that could be read and not understood: table and key"""

    def text(self) -> str:
        """Say it in one paragraph."""
        kept = ", ".join(f"{count} {table}" for table, count in self.kept.items())
        count = sum(last - first + 1 for first, last in self.lost)
        ranges = ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in self.lost)
        lost = f"{count} rows are lost (numbers {ranges})" if count else "no numbered row is lost"
        tail = f"; not wholly readable: {', '.join(self.unreadable)}" if self.unreadable else ""
        if self.senseless:
            tail += f"; damaged inside and left out: {', '.join(self.senseless)}"
        return (
            f"the damaged journal is kept in {self.quarantine}; saved: {kept}; {lost}, rows after "
            f"the last saved one may be missing too{tail}. Open orders, fills and positions are "
            "asked of the exchange before anything is traded"
        )


def repair(path: Path, clock: Clock) -> RepairReport:
    """Quarantine the journal at `path` and leave a sound one in its place.

    The caller holds the strategy's lock. JournalError when there is none, or no disk for it.
    """
    if not path.is_file():
        raise JournalError(f"there is no journal {path} to repair", path)
    try:
        folder = private_folder(path.parent / "quarantine" / f"{clock.wall() // 1_000_000}")
        for suffix in ("", "-wal", "-shm", *(("-tail",) if is_damaged(path) else ())):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(folder / part.name)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise JournalError(f"cannot repair {path}: {error.strerror}", path) from error
    report = RepairReport(folder)
    fresh = sqlite3.connect(path, isolation_level=None)
    try:
        create(fresh)
        _save(folder / path.name, fresh, report)
        _leave_out(fresh, report)
        report.lost = _holes(fresh)
    except (sqlite3.Error, OSError) as error:
        raise journal_error(path, "repairing", error) from error
    finally:
        fresh.close()
    return report


def _save(damaged: Path, fresh: sqlite3.Connection, report: RepairReport) -> None:
    """Copy what can be read, from a working copy: even reading a WAL database changes its files."""
    with TemporaryDirectory(dir=damaged.parent) as scratch:
        for part in damaged.parent.glob(damaged.name + "*"):
            shutil.copyfile(part, Path(scratch) / part.name)
        _save_from(Path(scratch) / damaged.name, fresh, report)


def _save_from(copy: Path, fresh: sqlite3.Connection, report: RepairReport) -> None:
    old = sqlite3.connect(copy, isolation_level=None)
    # Makes SQLite read a file that is shorter than its header says.
    old.execute("PRAGMA writable_schema=ON")
    old.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    try:
        for table, key in _TABLES.items():
            width = len(fresh.execute(f"PRAGMA table_info({table})").fetchall())
            insert = f"INSERT OR IGNORE INTO {table} VALUES ({','.join('?' * width)})"
            fresh.execute("BEGIN")
            whole = _copy(old, f"SELECT * FROM {table}", insert, fresh)
            if not whole:
                report.unreadable.append(table)
                order = ", ".join(f"{each.strip()} DESC" for each in key.split(","))
                _copy(old, f"SELECT * FROM {table} ORDER BY {order}", insert, fresh)
            fresh.execute("COMMIT")
    finally:
        old.close()


def _leave_out(fresh: sqlite3.Connection, report: RepairReport) -> None:
    """Delete what no start could read back, and count what is kept."""
    for table, key in list(senseless(fresh)):
        where = " AND ".join(f"{each.strip()}=?" for each in _TABLES[table].split(","))
        fresh.execute(f"DELETE FROM {table} WHERE {where}", key)
        if table not in _NUMBERED:  # of the others the holes in their numbers tell
            report.senseless.append(f"{table} {' '.join(map(str, key))}")
    for table in _TABLES:
        (report.kept[table],) = fresh.execute(f"SELECT count(*) FROM {table}").fetchone()


def _copy(old: sqlite3.Connection, select: str, insert: str, fresh: sqlite3.Connection) -> bool:
    """Copy rows until the damage, but for those with broken text; True when all could be read."""
    whole = True
    for row in _rows(old, select):
        if row is None:
            return False
        try:
            older = (None,) * (insert.count("?") - len(row))  # columns that it did not have
            fresh.execute(insert, row + older)
        except UnicodeEncodeError:
            whole = False
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError):
            return False
    return whole


def _rows(old: sqlite3.Connection, select: str) -> Iterator[tuple[object, ...] | None]:
    """Yield rows, and None at the place where reading fails."""
    try:
        yield from old.execute(select)
    except (sqlite3.Error, UnicodeDecodeError):
        yield None


def _holes(fresh: sqlite3.Connection) -> list[tuple[int, int]]:
    union = " UNION ".join(f"SELECT seq FROM {table}" for table in _NUMBERED)
    holes, expected = [], 1
    for (seq,) in fresh.execute(f"{union} ORDER BY seq"):
        if seq > expected:
            holes.append((expected, seq - 1))
        expected = seq + 1
    return holes
