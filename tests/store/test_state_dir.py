"""Where a run lives: folders for the owner alone, and the `halted` word."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runner.base.errors import WorldError
from runner.base.secret import Secret
from runner.store.state_dir import (
    Halted,
    StateDir,
    private_folder,
    state_root,
    strategies,
    write_private,
)
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("option", "environ", "root"),
    [
        ("/a/b", {"RUNNER_STATE": "/c", "XDG_STATE_HOME": "/d"}, "/a/b"),
        (None, {"RUNNER_STATE": "/c", "XDG_STATE_HOME": "/d"}, "/c"),
        (None, {"XDG_STATE_HOME": "/d"}, "/d/runner"),
        (None, {}, str(Path("~/.local/state/runner").expanduser())),
    ],
)
def test_the_root_is_the_option_then_the_environment(
    option: str | None, environ: dict[str, str], root: str
) -> None:
    assert state_root(option, environ) == Path(root)


def test_the_folder_of_one_strategy_is_no_root(tmp_path: Path) -> None:
    """A halt that stands in it would not be seen by a start one folder deeper."""
    state = StateDir.make(tmp_path, "arb", paper=False)
    assert state_root(str(state.path), {}) == state.path, "nothing ran in it yet"
    state.journal.touch()
    for option, environ in ((str(state.path), {}), (None, {"RUNNER_STATE": str(state.path)})):
        with pytest.raises(WorldError, match="folder of one strategy"):
            state_root(option, environ)


def test_folders_are_for_the_owner_alone_even_under_a_loose_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        state = StateDir.make(tmp_path / "state", "arb", paper=True)
        run = state.run("0123456789")
        state.halt(Halted(code="operator"))
    finally:
        os.umask(old)
    for path in (state.path, run.path, state.path / "runs", tmp_path / "state"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert stat.S_IMODE(state.halted_file.stat().st_mode) == 0o600
    assert state.path.name == "arb.paper"
    assert run.recording == state.path / "runs" / "0123456789" / "recording"


def test_a_folder_left_open_is_closed(tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir(mode=0o755)
    assert stat.S_IMODE(private_folder(loose).stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 65, "a\0b"])
def test_a_strategy_name_cannot_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(WorldError):
        StateDir.at(tmp_path, name, paper=False)


def test_the_halted_word_stands_until_resume(tmp_path: Path) -> None:
    state = StateDir.make(tmp_path, "arb", paper=False)
    assert state.halted() is None and not state.resume()
    secret = Secret("canary-halt-77")
    state.halt(Halted(code="loss", why=f"lost {secret.reveal()}", who="gate", wall=5))
    assert state.halted() == Halted(code="loss", why="lost ***", who="gate", wall=5)
    state.halt(Halted(code="operator"))
    assert StateDir.at(tmp_path, "arb", paper=False).halted() == Halted(code="operator")
    assert state.resume() and state.halted() is None


def test_a_halted_file_that_cannot_be_read_halts(tmp_path: Path) -> None:
    state = StateDir.make(tmp_path, "arb", paper=False)
    for content in (b"please stop", b'{"code":"\xff"}'):
        state.halted_file.write_bytes(content)
        word = state.halted()
        assert word is not None and word.code == "unreadable"
    state.halted_file.unlink()
    state.halted_file.mkdir()
    word = state.halted()
    assert word is not None and word.code == "unreadable"


def test_a_private_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_private(path, b"old")
    write_private(path, b"new")
    assert path.read_bytes() == b"new" and [p.name for p in tmp_path.iterdir()] == ["report.json"]
    with pytest.raises(WorldError, match="cannot write"):
        write_private(tmp_path / "no" / "report.json", b"")


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldError, match="cannot use the folder"):
        StateDir.make(tmp_path / "file", "arb", paper=False)


def test_strategies_and_runs_are_found(tmp_path: Path) -> None:
    assert strategies(tmp_path / "none") == []
    for name in ("b", "a"):
        StateDir.make(tmp_path, name, paper=False).lock.write_text("")
    (tmp_path / "stray").mkdir()
    assert [each.name for each in strategies(tmp_path)] == ["a", "b"]
    state = StateDir.at(tmp_path, "a", paper=False)
    assert state.runs() == []
    for run in ("b123456789", "a123456789"):
        state.run(run)
    assert [each.path.name for each in state.runs()] == ["a123456789", "b123456789"]


def test_a_kill_right_after_resume_leaves_it_resumed(tmp_path: Path) -> None:
    state = StateDir.make(tmp_path, "arb", paper=False)
    state.halt(Halted(code="operator"))
    code = (
        "import sys; from pathlib import Path; from runner.store.state_dir import StateDir;"
        "StateDir.at(Path(sys.argv[1]), 'arb', False).resume()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RUNNER_CRASH": "resume_written"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == -signal.SIGKILL
    assert state.halted() is None
