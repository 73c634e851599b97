"""The control socket: how a running strategy is spoken to (interfaces.md, section 6).

A Unix socket, mode 0600, one JSON object a line: `{"id", "cmd", "rule", "who", "why"}` gives
`{"id", "ok", ...}`. The peer's uid must be ours. It is bound only under the strategy's lock, so
a socket file that is in the way belongs to a process that died, and is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.base.errors import WorldError
from runner.base.ids import fingerprint
from runner.store.state_dir import StateDir

Answer = Mapping[str, Any]
Ask = Callable[[str, Mapping[str, Any]], Answer]
_MAX_LINE = 64 * 1024
_PATH_LIMIT = 100  # a Unix path of 108 bytes or more fails; leave room for a suffix


def socket_path(runtime: Path, identity: str) -> Path:
    """Return the socket's path under `runtime`; WorldError when it would be too long."""
    path = runtime / f"{identity}.sock"
    if len(os.fsencode(path)) > _PATH_LIMIT:
        raise WorldError(f"the control socket's path is too long ({path}); set XDG_RUNTIME_DIR")
    return path


def control_path(state: StateDir) -> Path:
    """Return where a strategy's control socket is: the runtime directory, or the state's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "runner" if runtime else state.path
    return socket_path(folder, fingerprint(str(state.path)))


class ControlServer:
    """Answers commands on the trading loop; each is one short synchronous call."""

    def __init__(self, path: Path, ask: Ask) -> None:
        self.path = path
        self._ask = ask
        self._server: asyncio.AbstractServer | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Bind the socket, readable and writable by its owner alone."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        old = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, path=self.path, limit=_MAX_LINE
            )
        except OSError as error:
            raise WorldError(f"cannot bind the control socket {self.path}: {error}") from error
        finally:
            os.umask(old)

    async def close(self) -> None:
        """Stop answering and remove the socket."""
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._writers):
                writer.close()
            await self._server.wait_closed()
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if not _is_ours(writer.get_extra_info("socket")):
                return
            while line := await reader.readline():
                writer.write(msgspec.json.encode(self._answer(line)) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.IncompleteReadError):
            return  # the client left, or sent a line past the limit: nothing is owed to it
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError as error:
            return {"ok": False, "error": f"not a JSON object: {error}"}
        identity = request.get("id")
        try:
            return {"id": identity, "ok": True, **self._ask(str(request.get("cmd")), request)}
        except (ValueError, KeyError) as error:
            return {"id": identity, "ok": False, "error": str(error)}


def _is_ours(peer: socket.socket) -> bool:
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return bool(uid == os.getuid())


def ask(path: Path, command: str, **fields: Any) -> dict[str, Any]:
    """Send one command to a running strategy and return its answer.

    Raises WorldError when nobody answers there within two seconds.
    """
    request = msgspec.json.encode({"id": 1, "cmd": command, **fields}) + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(2.0)
        try:
            client.connect(os.fspath(path))
            client.sendall(request)
            return msgspec.json.decode(_read_line(client), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            raise WorldError(f"no answer from {path}: {error}") from error


def _read_line(client: socket.socket) -> bytes:
    chunks = bytearray()
    while not chunks.endswith(b"\n"):
        chunk = client.recv(65536)
        if not chunk:
            raise ConnectionResetError("the connection was closed")
        chunks += chunk
    return bytes(chunks)
