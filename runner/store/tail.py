"""The journal's tail: rows that are committed and have not reached the database yet.

Theory of operation. An order waits until its intent is written, and a transaction of a database
costs many times what writing to a file does. So a commit appends its rows to this file, beside the
database, as one record; the next flush, some milliseconds later, brings them into the database, and
the file is begun anew from its start. A kill leaves what the kernel has: the next start first
carries out what the file holds beyond the database's last row. What a power failure may take is as
with the database: with durability `normal` the youngest rows, with `full` nothing.

A record is its length, a checksum, the number of its last row and the rows. Records are read as
long as they are whole and their numbers ascend: what follows is older, or was cut short. The head
names the run, and only a tail whose run the database knows is carried out: a database that was put
in another's place gets nothing of it, and the tail is put aside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from mmap import mmap
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

import msgspec

from runner.store.rows import Statement
from runner.store.schema import DamagedJournal, Durability, JournalError, damaged

SIZE: Final = 256 * 1024
"""bytes; some hundred orders, and a flush comes every few milliseconds"""
_KIND: Final = b"runtail"
_MAGIC: Final = _KIND + b"1"
_HEAD: Final = Struct("<8s24s")
_RECORD: Final = Struct("<IIQ")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, list[object]]]).decode


class Tail:
    """The open tail of one run; one writer, which also owns the database.

    The file is mapped: a record is copied into the kernel's pages without a call. It is filled with
    zeros first, so that all of it has its place on the disk and no copy can fail.
    """

    __slots__ = ("_at", "_fd", "_map", "_path", "_sync")

    def __init__(self, journal: Path, run: str, durability: Durability) -> None:
        """Begin the tail of a run; what an earlier one left must be in the database by now.

        JournalError when the file cannot be written.
        """
        self._path = path_of(journal)
        self._sync = durability is Durability.FULL
        self._at = _HEAD.size
        self._fd = -1
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            os.fchmod(self._fd, 0o600)
            if os.pwrite(self._fd, bytes(SIZE), 0) != SIZE:
                text = f"{self._path}: written in part only: is the disk full?"
                raise JournalError(text, self._path)
            self._map = mmap(self._fd, SIZE)
            self._map[: _HEAD.size] = _HEAD.pack(_MAGIC, run.encode())
        except OSError as error:
            self._shut()
            raise self._failed(error) from error
        except JournalError:
            self._shut()
            raise

    def append(self, seq: int, rows: Sequence[Statement]) -> bool:
        """Write rows as one record; False when there is no room. `seq`: the last row's number.

        JournalError when the disk does not take it (`full`); OverflowError and UnicodeEncodeError
        for values that no row can hold. Nothing counts as written then.
        """
        body = _encode(rows)
        end = self._at + _RECORD.size + len(body)
        if end > SIZE:
            return False
        self._map[self._at : end] = _RECORD.pack(len(body), _sum(seq, body), seq) + body
        if self._sync:
            try:
                self._map.flush()
            except OSError as error:
                raise self._failed(error) from error
        self._at = end
        return True

    def restart(self) -> None:
        """Begin anew: all that was appended is in the database."""
        self._at = _HEAD.size

    def close(self, empty: bool) -> None:
        """Close the file; `empty`: all is in the database, nothing needs to be found here."""
        if empty:
            self._map[_HEAD.size : _HEAD.size + _RECORD.size] = bytes(_RECORD.size)
        self._map.close()
        self._shut()

    def _failed(self, error: OSError) -> JournalError:
        return JournalError(f"{self._path}: {error.strerror}", self._path)

    def _shut(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def path_of(journal: Path) -> Path:
    """Return where the tail of a journal is."""
    return journal.with_name(f"{journal.name}-tail")


def left_in(journal: Path) -> tuple[str, list[tuple[int, list[Statement]]]]:
    """Return what a tail holds: its run, and (last row's number, rows) of each whole record.

    ("", []) when there is none. JournalError when it cannot be read, or is of another version,
    DamagedJournal when it is no tail at all.
    """
    path = path_of(journal)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return "", []
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}", path) from error
    if len(raw) < _HEAD.size or not any(raw[: _HEAD.size]):
        return "", []
    magic, run = _HEAD.unpack_from(raw)
    if not magic.startswith(_KIND):
        raise damaged(path, "it is no journal's tail")
    if magic != _MAGIC:
        raise JournalError(f"{path} is of another version of runner: start that one once", path)
    return run.rstrip(b"\0").decode("ascii", "replace"), list(_records(raw))


def is_damaged(journal: Path) -> bool:
    """Whether a journal has a tail that is none."""
    try:
        left_in(journal)
    except DamagedJournal:
        return True
    except JournalError:
        return False  # a start says what is wrong with it
    return False


def put_aside(journal: Path, run: str) -> None:
    """Rename a tail that belongs to another database: it is kept for whoever looks for it.

    JournalError when that is not possible.
    """
    path = path_of(journal)
    try:
        path.rename(path.with_name(f"{path.name}-{run}"))
    except OSError as error:
        raise JournalError(f"cannot move {path}: {error.strerror}", path) from error


def _records(raw: bytes) -> Iterator[tuple[int, list[Statement]]]:
    at, newest = _HEAD.size, 0
    while at + _RECORD.size <= len(raw):
        length, checksum, seq = _RECORD.unpack_from(raw, at)
        at += _RECORD.size
        body = raw[at : at + length]
        if seq <= newest or len(body) < length or _sum(seq, body) != checksum:
            return
        try:
            yield seq, list(_decode(body))
        except ValueError:
            return
        at, newest = at + length, seq


def _sum(seq: int, body: bytes) -> int:
    return crc32(body, (seq ^ seq >> 32) & 0xFFFFFFFF)
