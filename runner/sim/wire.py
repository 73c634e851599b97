"""Carry requests and sockets between the network and a dialect; apply the faults on the way.

A dialect is synchronous: `rest(call)` returns a `Reply`, `message(session, text)` may send. All
waiting, cutting and losing happens here, the same for every exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from aiohttp import web
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from runner.sim.faults import Fault, Faults

LOOPBACK = "127.0.0.1"
SHUTDOWN_S = 0.2
"""How long a request in progress may hold up the end."""
_SLOW_BYTES = 8 * 1024 * 1024


_TASKS: set[asyncio.Future[None]] = set()


def _spawn(work: Awaitable[None]) -> None:
    """Run work beside everything else; the loop alone would let it be collected."""
    task = asyncio.ensure_future(work)
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)


@dataclass(slots=True, frozen=True)
class Call:
    """One request, byte for byte: `query` and `body` are as they came."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def label(self) -> str:
        """Name the request for faults and the ledger."""
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Reply:
    """An answer: HTTP status, body, headers."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Encode a value as an answer."""
    return Reply(status, msgspec.json.encode(value), headers or {})


@dataclass(slots=True, eq=False)
class Session:
    """One socket: what kind, what it asked for, whether it may hear private things."""

    kind: str
    path: str
    query: dict[str, str]
    conn_id: str
    socket: ServerConnection
    topics: set[str] = field(default_factory=set)
    combined: bool = False
    authed: bool = False
    stalled: bool = False
    tag: str = ""
    arrivals: list[int] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    def send(self, text: str) -> None:
        """Send a text frame, without waiting; a client that does not read is cut."""
        if self.stalled:
            return
        transport = self.socket.transport
        if transport.get_write_buffer_size() > _SLOW_BYTES:
            transport.abort()
            return
        broadcast((self.socket,), text)

    def close(self, code: int = 1001, reason: str = "") -> None:
        """Begin to close the socket."""
        _spawn(self.socket.close(code, reason))

    def cut(self) -> None:
        """Drop the TCP connection without a word."""
        self.socket.transport.abort()


class Dialect(Protocol):
    """What a dialect gives to the network."""

    name: str
    ping_s: float | None
    pong_s: float | None

    def kind_of(self, path: str) -> str | None:
        """Return the kind of socket served at a path, None for none."""
        ...

    def rest(self, call: Call) -> Reply:
        """Answer a REST request."""
        ...

    def opened(self, session: Session) -> None:
        """Take a new socket."""
        ...

    def message(self, session: Session, text: str) -> None:
        """Take a text frame."""
        ...

    def closed(self, session: Session) -> None:
        """Forget a socket."""
        ...

    def noted(self, call: Call, outcome: str) -> None:
        """Write a request that a fault kept from being processed into the ledger."""
        ...

    def fault_reply(self, fault: Fault) -> Reply:
        """Build the REST answer of the faults reject, 429, 418 and unavailable."""
        ...


_ANSWERED = ("reject", "429", "418")


async def through_faults(
    faults: Faults,
    dialect: Dialect,
    label: str,
    run: Callable[[], Reply],
    note: Callable[[str], None],
) -> Reply | None:
    """Process a request with what the faults do to it; None means: cut the connection.

    `note` is told the outcome of a request that came and was not processed.
    """
    name = dialect.name
    if faults.hit("disconnect", name, label):
        note("disconnect")
        return None
    if fault := faults.hit("delay_request", name, label):
        await asyncio.sleep(fault.number("ms", 100.0) / 1000)
    reply: Reply | None = None
    for answer in _ANSWERED:
        if fault := faults.hit(answer, name, label):
            reply = dialect.fault_reply(fault)
            note(answer)
            break
    if reply is None and (fault := faults.hit("unavailable", name, label)):
        if fault.spec.args.get("executed"):
            run()
        else:
            note("unavailable")
        reply = dialect.fault_reply(fault)
    if reply is None:
        reply = run()
        if faults.hit("accepted_but_lost", name, label):
            return None
    if fault := faults.hit("delay_response", name, label):
        await asyncio.sleep(fault.number("ms", 100.0) / 1000)
    return reply


class Wire:
    """The REST server and the socket server of one exchange."""

    def __init__(self, dialect: Dialect, faults: Faults) -> None:
        self.dialect = dialect
        self.sessions: set[Session] = set()
        self._faults = faults
        self._runner: web.ServerRunner | None = None
        self._server: Server | None = None
        self._made = 0
        faults.on_add.append(self._strike)
        faults.on_remove.append(self._relieve)

    async def open(self, rest_port: int = 0, socket_port: int = 0) -> tuple[str, str]:
        """Listen; returns the base URLs for REST and for sockets."""
        self._runner = web.ServerRunner(
            web.Server(self._http, access_log=None), shutdown_timeout=SHUTDOWN_S
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, rest_port).start()
        self._server = await serve(
            self._socket,
            LOOPBACK,
            socket_port,
            compression=None,
            process_request=self._admit,
            ping_interval=self.dialect.ping_s,
            ping_timeout=self.dialect.pong_s,
            max_size=1 << 20,
            logger=None,
        )
        rest = self._runner.addresses[0][1]
        sockets = next(iter(self._server.sockets)).getsockname()[1]
        return f"http://{LOOPBACK}:{rest}", f"ws://{LOOPBACK}:{sockets}"

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        for session in list(self.sessions):
            session.cut()
        if self._server is not None:
            self._server.close(close_connections=False)
            await self._server.wait_closed()
        if self._runner is not None:
            await self._runner.cleanup()

    # -- REST

    async def _http(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        body = await request.read()
        call = Call(request.method, path, query, request.headers, body)
        dialect = self.dialect
        reply: Reply | None
        if self._faults.active:
            reply = await through_faults(
                self._faults,
                dialect,
                call.label,
                lambda: dialect.rest(call),
                lambda outcome: dialect.noted(call, outcome),
            )
        else:
            reply = dialect.rest(call)
        if reply is None:
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError
        headers = {"Content-Type": "application/json;charset=UTF-8", **reply.headers}
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    # -- sockets

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.dialect.kind_of(request.path.partition("?")[0]) is None:
            return Response(404, "Not Found", Headers(), b"")
        return None

    async def _socket(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        path, _, query = socket.request.path.partition("?")
        kind = self.dialect.kind_of(path)
        assert kind is not None
        self._made += 1
        params = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
        session = Session(kind, path, params, f"sim-{kind}-{self._made}", socket)
        if self._faults.hit("disconnect", self.dialect.name, kind):
            session.cut()
            return
        session.stalled = self._faults.hit("stall", self.dialect.name, kind) is not None
        self.sessions.add(session)
        try:
            self.dialect.opened(session)
            async for message in socket:
                if isinstance(message, bytes):
                    message = message.decode("utf-8", "replace")
                if fault := self._faults.hit("delay_message", self.dialect.name, kind):
                    await asyncio.sleep(fault.number("ms", 100.0) / 1000)
                if not session.stalled:
                    self.dialect.message(session, message)
        except ConnectionClosed:
            return
        finally:
            self.sessions.discard(session)
            self.dialect.closed(session)

    def answer(
        self,
        session: Session,
        label: str,
        run: Callable[[], Reply],
        wrap: Callable[[Reply], str],
        note: Callable[[str], None],
    ) -> None:
        """Answer a request that came over a socket, with what the faults do to it."""
        if not self._faults.active:
            session.send(wrap(run()))
            return
        _spawn(self._answer_late(session, label, run, wrap, note))

    async def _answer_late(
        self,
        session: Session,
        label: str,
        run: Callable[[], Reply],
        wrap: Callable[[Reply], str],
        note: Callable[[str], None],
    ) -> None:
        reply = await through_faults(self._faults, self.dialect, label, run, note)
        if reply is None:
            session.cut()
        else:
            session.send(wrap(reply))

    def push(self, session: Session, name: str, text: str, diff: bool = False) -> None:
        """Send a push, with what the faults do to it; `diff` marks streams of differences."""
        faults = self._faults
        if not faults.active:
            session.send(text)
            return
        exchange, label = self.dialect.name, f"{session.kind} {name}"
        if faults.hit("drop", exchange, label) or (diff and faults.hit("gap", exchange, label)):
            return
        if faults.hit("reorder", exchange, label):
            session.held.append(text)
            return
        if fault := faults.hit("late", exchange, label):
            loop = asyncio.get_running_loop()
            loop.call_later(fault.number("ms", 500.0) / 1000, session.send, text)
            return
        if faults.hit("truncated", exchange, label):
            text = text[: len(text) // 2]
        if faults.hit("crossed", exchange, label):
            text = crossed(text)
        session.send(text)
        if faults.hit("duplicate", exchange, label):
            session.send(text)
        while session.held:
            session.send(session.held.pop(0))

    # -- faults that act at once

    def _strike(self, fault: Fault) -> None:
        if fault.spec.name not in ("disconnect", "stall"):
            return
        for session in list(self.sessions):
            if self._faults.hit(fault.spec.name, self.dialect.name, session.kind):
                if fault.spec.name == "disconnect":
                    session.cut()
                else:
                    session.stalled = True
        if fault.spec.name == "stall" and (seconds := fault.number("for_s", 0.0)):
            asyncio.get_running_loop().call_later(seconds, self._relieve, fault)

    def _relieve(self, fault: Fault) -> None:
        if fault.spec.name == "stall" and fault.spec.exchange in (None, self.dialect.name):
            for session in self.sessions:
                session.stalled = False


def crossed(text: str) -> str:
    """Return a book message with its best bid moved above its best ask, others unchanged."""
    message = msgspec.json.decode(text)
    book = message.get("data", message)
    if not isinstance(book, dict) or "b" not in book or "a" not in book:
        return text
    bids, asks = book["b"], book["a"]
    if isinstance(bids, str):
        book["b"], book["a"] = asks, bids
    elif bids and asks:
        size = next((level[1] for level in bids if float(level[1])), "1")
        book["b"] = [[f"{float(asks[0][0]) * 1.002:.2f}", size], *bids]
    return msgspec.json.encode(message).decode()
