"""Locks that a dead process cannot hold: one per strategy, one per traded symbol of a key (R-28).

The kernel's `flock` decides; it goes with the process, however that ends. What is written into the
file (pid, boot id, run) only names the holder to people. Symbol locks live in one folder per user
of the host, whatever the state directory, and are taken in sorted order. A lock file is never
deleted: a deleted one could be locked twice.
"""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from runner.base.errors import WorldError
from runner.base.ids import fingerprint
from runner.store.state_dir import private_folder

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_LONGEST: Final = 4096
_ATTEMPTS: Final = 5
_BETWEEN_S: Final = 0.01


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lock, for messages."""

    pid: int
    boot: str = ""
    what: str = ""
    """the strategy or the symbol, in plain words"""
    run: str = ""


class Held(WorldError):
    """Another process holds the lock. `holder` is None when its file could not be read."""

    def __init__(self, message: str, holder: Holder | None) -> None:
        super().__init__(message)
        self.holder = holder


def boot_id() -> str:
    """Return what identifies this boot of the machine; "" where the system tells none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class Lock:
    """An exclusive lock on a file, held until `release` or the end of the process."""

    def __init__(self, path: Path, what: str, run: str = "") -> None:
        self.path = path
        self._holder = Holder(pid=os.getpid(), boot=boot_id(), what=what, run=run)
        self._fd: int | None = None

    def take(self) -> Lock:
        """Take the lock; its holder is not waited for.

        Held when another has it, WorldError when the file cannot be used.
        """
        private_folder(self.path.parent)
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WorldError(f"cannot open the lock {self.path}: {error.strerror}") from error
        try:
            if not _locked(fd):
                raise self._held()
        except BaseException:
            os.close(fd)
            raise
        os.ftruncate(fd, 0)
        os.pwrite(fd, msgspec.json.encode(self._holder) + b"\n", 0)
        self._fd = fd
        return self

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Lock:
        return self if self._fd is not None else self.take()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _held(self) -> Held:
        holder = read_holder(self.path)
        who = f"process {holder.pid}" if holder else "another process"
        run = f" (run {holder.run})" if holder and holder.run else ""
        return Held(f"{self._holder.what} is held by {who}{run}: {self.path}", holder)


def _locked(fd: int) -> bool:
    """Lock exclusively; a few attempts, because `alive` may look in at this very instant."""
    for _ in range(_ATTEMPTS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            select.select((), (), (), _BETWEEN_S)
        except OSError as error:
            raise WorldError(f"this file system does not lock files: {error.strerror}") from error
    return False


def read_holder(path: Path) -> Holder | None:
    """Return who last wrote into a lock file; it may be gone."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_LONGEST), type=Holder)
    except (OSError, ValueError):
        return None


def alive(path: Path) -> Holder | None:
    """Return the holder of a lock that is held at this instant, else None; takes nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A shared lock conflicts with the holder's exclusive one and with nothing of our own.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_holder(path) or Holder(pid=0)
    finally:
        os.close(fd)
    return None


def host_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of this user's symbol locks; the same for every state directory."""
    base = environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser().absolute() / "runner-locks"


def symbol_lock(
    exchange_type: str, network: str, key: str, symbol: str, run: str, folder: Path
) -> Lock:
    """Return the lock (not taken) of a symbol traded with a key; `key` is its fingerprint."""
    what = f"{symbol} on {exchange_type} {network} with key {key}"
    name = fingerprint("\x1f".join((exchange_type, network, key, symbol)))
    return Lock(folder / f"{symbol}-{name}", what, run)


def take_all(locks: Iterable[Lock]) -> ExitStack:
    """Take all locks or none, in the order of their paths; the stack releases them."""
    with ExitStack() as taken:
        for lock in sorted(locks, key=lambda each: each.path):
            taken.enter_context(lock)
        return taken.pop_all()
