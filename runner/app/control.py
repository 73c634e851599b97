"""The control socket: how a running strategy is spoken to (interfaces.md, section 6).

A Unix socket, mode 0600, one JSON object a line: `{"id", "cmd", "rule", "who", "why"}` gives
`{"id", "ok", ...}`. The peer's uid must be ours. It is bound only under the strategy's lock, so
a socket file that is in the way belongs to a process that died, and is replaced. A Unix address
holds 107 bytes and a state directory may be deeper, so the address goes by an open folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Container, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.base.errors import WorldError
from runner.base.ids import fingerprint
from runner.store.state_dir import StateDir

Answer = Mapping[str, Any]
Ask = Callable[[str, Mapping[str, Any]], Answer]
FOLLOW = "follow"
"""a key of an answer: an asynchronous iterator of lists of rows, written one JSON object a line"""
_MAX_LINE = 64 * 1024
_GLANCE_S = 0.5
"""how long one looks at a run that may not be the one that is meant"""


def control_path(state: StateDir) -> Path:
    """Return where a strategy's control socket is: the runtime directory, or the state's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "runner" if runtime else state.path
    return folder / f"{fingerprint(str(state.path))}.sock"


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """Give an address for a socket's path, however long the path is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _bound(path: Path) -> socket.socket:
    """Bind a socket that only its owner may use, in place of one that a dead process left."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        with address(path) as short:
            door.bind(short)
    except OSError:
        door.close()
        raise
    finally:
        os.umask(old)
    return door


class ControlServer:
    """Answers commands on the trading loop; each is one short synchronous call."""

    def __init__(self, path: Path, ask: Ask) -> None:
        self.path = path
        self._ask = ask
        self._server: asyncio.AbstractServer | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Bind the socket, readable and writable by its owner alone."""
        try:
            door = _bound(self.path)
        except OSError as error:
            why = error.strerror or error
            raise WorldError(f"cannot bind the control socket {self.path}: {why}") from error
        self._server = await asyncio.start_unix_server(self._serve, sock=door, limit=_MAX_LINE)

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
                answer = self._answer(line)
                rows = answer.pop(FOLLOW, None)
                writer.write(msgspec.json.encode(answer) + b"\n")
                await writer.drain()
                if rows is not None:
                    await _follow(rows, reader, writer)
        except (ConnectionError, ValueError, asyncio.IncompleteReadError):
            return  # the client left, or sent a line past the limit: nothing is owed to it
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
        except ValueError as error:
            return {"ok": False, "error": f"not a JSON object: {error}"}
        identity = request.get("id")
        try:
            return {"id": identity, "ok": True, **self._ask(str(request.get("cmd")), request)}
        except (ValueError, KeyError) as error:
            return {"id": identity, "ok": False, "error": str(error)}


async def _follow(
    rows: AsyncGenerator[list[Any]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Write rows until the client leaves; only this connection waits when it reads slowly."""
    async with contextlib.aclosing(rows):
        async for found in rows:
            if reader.at_eof() or writer.is_closing():
                return
            if found:
                writer.write(b"".join(msgspec.json.encode(row) + b"\n" for row in found))
                await writer.drain()


def _is_ours(peer: socket.socket) -> bool:
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return bool(uid == os.getuid())


def ask(path: Path, command: str, within_s: float = 2.0, **fields: Any) -> dict[str, Any]:
    """Send one command to a running strategy and return its answer.

    Raises WorldError when nobody answers there in time.
    """
    request = msgspec.json.encode({"id": 1, "cmd": command, **fields}) + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(within_s)
        try:
            with address(path) as short:
                client.connect(short)
            client.sendall(request)
            return msgspec.json.decode(_read_line(client), type=dict[str, Any])
        except (OSError, ValueError) as error:
            raise WorldError(f"no answer from {path}: {error}") from error


def runs_elsewhere(own: Container[Path]) -> list[dict[str, Any]]:
    """Return the status of each run that listens in the runtime directory but is not in `own`.

    `own`: sockets. Without a runtime directory sockets stand beside journals and cannot be found.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    found = []
    for path in sorted((Path(runtime) / "runner").glob("*.sock")) if runtime else ():
        if path not in own:
            with contextlib.suppress(WorldError):  # left by a process that died
                found.append(ask(path, "status", _GLANCE_S))
    return [each for each in found if each.get("ok") and "state_dir" in each]


def follow(path: Path, command: str, **fields: Any) -> Generator[dict[str, Any]]:
    """Send a command whose answer does not end, and yield the answer, then row after row.

    Raises WorldError when nobody answers there; ends when the strategy does.
    """
    request = msgspec.json.encode({"id": 1, "cmd": command, **fields}) + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            with address(path) as short:
                client.connect(short)
            client.sendall(request)
            with client.makefile("rb") as lines:
                for line in lines:
                    yield msgspec.json.decode(line, type=dict[str, Any])
        except (OSError, ValueError) as error:
            raise WorldError(f"no answer from {path}: {error}") from error


def _read_line(client: socket.socket) -> bytes:
    chunks = bytearray()
    while not chunks.endswith(b"\n"):
        chunk = client.recv(65536)
        if not chunk:
            raise ConnectionResetError("the connection was closed")
        chunks += chunk
    return bytes(chunks)
