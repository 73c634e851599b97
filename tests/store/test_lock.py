"""Locks: one holder, named to people, gone with its process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.base.errors import WorldError
from runner.store.lock import (
    Held,
    Lock,
    alive,
    boot_id,
    host_folder,
    read_holder,
    symbol_lock,
    take_all,
)
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
from pathlib import Path
from runner.store.lock import Lock
lock = Lock(Path(sys.argv[1]), "strategy arb", "0123456789").take()
print("held", flush=True)
sys.stdin.read()
"""


def child(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_and_a_killed_one_holds_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "arb" / "lock"
    with child(path) as other:
        with pytest.raises(Held) as caught:
            Lock(path, "strategy arb").take()
        holder = caught.value.holder
        assert holder is not None
        assert (holder.pid, holder.run, holder.boot) == (other.pid, "0123456789", boot_id())
        assert f"process {other.pid} (run 0123456789)" in str(caught.value)
        assert alive(path) == holder
        other.send_signal(signal.SIGKILL)
        other.wait(PATIENCE_S)
    assert alive(path) is None
    with Lock(path, "strategy arb"):
        assert alive(path) is not None


def test_release_lets_the_next_one_in(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = Lock(path, "x").take()
    with pytest.raises(Held):
        Lock(path, "x").take()
    first.release()
    first.release()
    with Lock(path, "x"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.exists(), "a deleted lock file could be locked twice"


def test_looking_whether_a_lock_is_held_does_not_refuse_a_taker(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    Lock(path, "x").take().release()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            alive(path)
            stop.wait(0.0001)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(50):
            Lock(path, "x").take().release()
    finally:
        stop.set()
        looking.join(PATIENCE_S)
    assert not looking.is_alive(), "it looks for ever"


def test_a_symbol_is_locked_per_exchange_network_and_key(tmp_path: Path) -> None:
    first = symbol_lock("binance_usdm", "live", "k1", "BTCUSDT", "r", tmp_path)
    with first:
        with pytest.raises(Held, match="BTCUSDT on binance_usdm live with key k1"):
            symbol_lock("binance_usdm", "live", "k1", "BTCUSDT", "r", tmp_path).take()
        for other in (
            ("bybit_linear", "live", "k1", "BTCUSDT"),
            ("binance_usdm", "testnet", "k1", "BTCUSDT"),
            ("binance_usdm", "live", "k2", "BTCUSDT"),
            ("binance_usdm", "live", "k1", "ETHUSDT"),
        ):
            symbol_lock(*other, "r", tmp_path).take().release()


def test_all_locks_are_taken_or_none(tmp_path: Path) -> None:
    locks = [symbol_lock("x", "live", "k", symbol, "r", tmp_path) for symbol in ("A", "B", "C")]
    with symbol_lock("x", "live", "k", "B", "other", tmp_path), pytest.raises(Held):
        take_all(locks)
    with take_all(locks):
        for lock in locks:
            assert alive(lock.path) is not None
    for lock in locks:
        assert alive(lock.path) is None


def test_the_hosts_folder_does_not_depend_on_the_state_directory() -> None:
    one = {"RUNNER_STATE": "/a", "XDG_STATE_HOME": "/x"}
    assert host_folder(one) == host_folder({**one, "RUNNER_STATE": "/b"}) == Path("/x/runner-locks")


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(WorldError, match="cannot open the lock"):
        Lock(tmp_path / "lock", "x").take()
    assert alive(tmp_path / "nowhere") is None


def test_a_lock_file_of_broken_text_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b'{"pid":1,"run":"\xff"}')
    assert read_holder(tmp_path / "lock") is None
