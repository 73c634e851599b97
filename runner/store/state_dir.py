"""Where a run lives, and the word that outlives it: the `halted` file.

`--state`, else `$RUNNER_STATE`, else `$XDG_STATE_HOME/runner`, else `~/.local/state/runner`; below
it one folder per strategy (`NAME/`, a dry-run's `NAME.paper/`). All folders are 0700 and all files
0600: they hold positions and orders.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from runner.base.crash import crash_point
from runner.base.errors import WorldError
from runner.base.secret import redact

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PAPER: Final = ".paper"
_JOURNAL: Final = "journal.db"


class Halted(msgspec.Struct, frozen=True, kw_only=True):
    """Why the strategy must not trade until a person says `resume`."""

    code: str
    why: str = ""
    who: str = ""
    wall: int = 0


def state_root(option: str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of all strategies; it need not exist.

    WorldError for the folder of one strategy: what is in it, a halt too, would not be seen.
    """
    said = option or environ.get("RUNNER_STATE")
    if said:
        root = Path(said).expanduser().absolute()
        if (root / _JOURNAL).is_file():
            raise WorldError(f"{root} is the folder of one strategy; name the one above it")
        return root
    base = environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser().absolute() / "runner"


def private_folder(path: Path) -> Path:
    """Make a folder (and its parents) for the owner alone; WorldError when it cannot be."""
    try:
        missing = [each for each in (path, *path.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise WorldError(f"cannot use the folder {path}: {error.strerror}") from error
    return path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file as a whole (0600): a reader sees the old one or the new one."""
    draft = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class RunDir:
    """The files of one run."""

    path: Path

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def recording(self) -> Path:
        return self.path / "recording"


@dataclass(frozen=True, slots=True)
class StateDir:
    """The folder of one strategy. Made by `StateDir.make`; only paths are computed here."""

    path: Path
    name: str

    @staticmethod
    def at(root: Path, strategy: str, paper: bool) -> StateDir:
        """Name the folder without making it; WorldError for a name that is no plain file name."""
        if not _NAME.fullmatch(strategy):
            raise WorldError(f"{strategy!r} cannot name a folder of the state directory")
        name = strategy + PAPER if paper else strategy
        return StateDir(root / name, name)

    @staticmethod
    def make(root: Path, strategy: str, paper: bool) -> StateDir:
        """Make the folder for the owner alone."""
        state = StateDir.at(root, strategy, paper)
        private_folder(state.path)
        return state

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def journal(self) -> Path:
        return self.path / _JOURNAL

    @property
    def halted_file(self) -> Path:
        return self.path / "halted"

    def run(self, run_id: str) -> RunDir:
        """Make the folder of a run."""
        private_folder(self.path / "runs")
        return RunDir(private_folder(self.path / "runs" / run_id))

    def runs(self) -> list[RunDir]:
        """Return the runs so far, oldest first (run ids sort by time)."""
        folder = self.path / "runs"
        if not folder.is_dir():
            return []
        return [RunDir(each) for each in sorted(folder.iterdir()) if each.is_dir()]

    def halted(self) -> Halted | None:
        """Return why the next start must begin halted; a file that cannot be read halts too."""
        try:
            content = self.halted_file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return Halted(code="unreadable", why=str(error.strerror))
        try:
            return msgspec.json.decode(content, type=Halted)
        except ValueError:
            return Halted(code="unreadable", why=f"{self.halted_file} is not what halt writes")

    def halt(self, word: Halted) -> None:
        """Write the word; it holds, run after run, until `resume`."""
        plain = msgspec.structs.replace(word, why=redact(word.why))
        private_folder(self.path)
        write_private(self.halted_file, msgspec.json.encode(plain) + b"\n")

    def resume(self) -> bool:
        """Take the word back; False when there was none."""
        try:
            self.halted_file.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise WorldError(f"cannot remove {self.halted_file}: {error.strerror}") from error
        crash_point("resume_written")
        return True


def strategies(root: Path) -> list[StateDir]:
    """Return the folders of all strategies that ever ran under `root`, by name."""
    if not root.is_dir():
        return []
    found = [each for each in root.iterdir() if (each / "lock").is_file()]
    return [StateDir(each, each.name) for each in sorted(found)]
