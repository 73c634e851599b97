"""The control socket answers its owner, one line a command."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.app.control import ControlServer, address, ask, runs_elsewhere
from runner.base.errors import WorldError


def answer(command: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if command != "status":
        raise ValueError(f"unknown command {command!r}")
    return {"state": "active", "echo": fields.get("rule", ""), "state_dir": "/elsewhere/arb"}


def served(path: Path, *calls: Any) -> list[Any]:
    async def main() -> list[Any]:
        server = ControlServer(path, answer)
        await server.start()
        try:
            return [await asyncio.to_thread(call) for call in calls]
        finally:
            await server.close()

    return asyncio.run(main())


def test_a_command_gets_its_answer_and_the_socket_is_private(tmp_path: Path) -> None:
    path = tmp_path / "run" / "a.sock"
    got, mode = served(
        path, lambda: ask(path, "status", rule="a"), lambda: stat.S_IMODE(path.stat().st_mode)
    )
    assert got == {"id": 1, "ok": True, **answer("status", {"rule": "a"})}
    assert mode == 0o600
    assert not path.exists(), "it is removed at the end"


def test_nonsense_gets_an_error_and_the_server_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"

    def garbage(line: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            with address(path) as short:
                client.connect(short)
            client.sendall(line + b"\n")
            return client.recv(4096)

    first, also, second, third = served(
        path, lambda: garbage(b"\xff\xfe not json"), lambda: garbage(b'{"cmd":"\xff"}'),
        lambda: ask(path, "explode"), lambda: ask(path, "status"),
    )  # fmt: skip
    assert b'"ok":false' in first and b"not a JSON object" in also
    assert second["ok"] is False and "explode" in second["error"]
    assert third["ok"] is True


def test_a_dead_socket_file_is_replaced_and_nobody_there_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead, address(path) as short:
        dead.bind(short)
    with pytest.raises(WorldError, match="no answer"):
        ask(path, "status")
    (got,) = served(path, lambda: ask(path, "status"))
    assert got["ok"] is True


def test_a_path_longer_than_an_address_can_hold_is_served_too(tmp_path: Path) -> None:
    path = tmp_path / ("deep" * 30) / "a.sock"
    assert len(str(path)) > 107
    (got,) = served(path, lambda: ask(path, "status"))
    assert got["ok"] is True and not path.exists()


def test_a_folder_that_is_not_there_is_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="no answer"):
        ask(tmp_path / "nowhere" / "a.sock", "status")


def test_a_run_with_another_state_directory_is_found_by_its_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runner").mkdir()
    path, dead = tmp_path / "runner" / "a.sock", tmp_path / "runner" / "b.sock"
    with socket.socket(socket.AF_UNIX) as left, address(dead) as short:
        left.bind(short)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    elsewhere, own = served(path, lambda: runs_elsewhere(()), lambda: runs_elsewhere([path]))
    assert [each["state_dir"] for each in elsewhere] == ["/elsewhere/arb"]
    assert own == [], "what is known already is not asked"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runs_elsewhere(()) == []
