"""Recorded lines back into events, by the codecs that decoded them the first time."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from runner.app.bindings import bindings_of, wants_of
from runner.engine.events import Event, Feed, SocketState
from runner.exchanges.api import Decoded, MarketCodec
from runner.exchanges.registry import market_codec
from runner.spec.plan import Plan
from runner.store.lines import AnyLine, Close, Ev, Http, In, Open

_OFFLINE = {name: f"ws://127.0.0.1/{name}" for name in ("public", "market", "private", "trade")}
_ENDPOINTS = {"rest": "http://127.0.0.1", **_OFFLINE}


class Connection:
    """A recorded connection and who reads it: the exchanges of the plan with that adapter."""

    __slots__ = ("decoders", "kind", "markets", "names", "socket")

    def __init__(
        self, socket: str, names: list[str], codecs: list[MarketCodec], markets: tuple[str, ...]
    ) -> None:
        self.socket = socket
        self.kind = socket.partition("-")[0].partition(".")[0] or "public"
        self.names = names
        self.decoders = [codec.decode for codec in codecs]
        self.markets = markets


class FrameReader:
    """Turns lines into events. `feed` gets every event, `before` the time of each line first."""

    def __init__(
        self, plan: Plan, feed: Callable[[Event], None], before: Callable[[int, int], None]
    ) -> None:
        self._plan = plan
        self._feed = feed
        self._before = before
        self._codecs = {
            name: market_codec(exchange.type, "sim", bindings_of(plan, name), _ENDPOINTS)
            for name, exchange in plan.exchanges.items()
        }
        for name, codec in self._codecs.items():
            codec.sockets(wants_of(plan, name))  # a codec learns here which streams it decodes
        self._connections: dict[int, Connection] = {}
        self._out = Decoded()
        self.frames = 0
        self.unrecognised = 0
        self.ignored: dict[str, int] = {}
        """frames of adapters that the plan does not use, by adapter"""
        self._foreign: dict[int, str] = {}

    def line(self, line: AnyLine) -> None:
        """Take one line; events of the recording itself (`ev`) are the caller's."""
        if type(line) is In:
            self.frame(line)
        elif isinstance(line, Open):
            self._open(line)
        elif isinstance(line, Close):
            self._close(line)
        elif isinstance(line, Http):
            self._http(line)
        else:
            assert not isinstance(line, Ev)

    def frame(self, line: In) -> None:
        """Decode a frame and hand on its events."""
        connection = self._connections.get(line.c)
        if connection is None:
            kind = self._foreign.get(line.c, "unknown connection")
            self.ignored[kind] = self.ignored.get(kind, 0) + 1
            return
        t, wall = line.t, line.w
        self._before(t, wall)
        self.frames += 1
        out = self._out
        payload = line.payload
        for decode in connection.decoders:
            decode(connection.socket, payload, t, wall, line.c, line.m == 1, out)
            events = out.events
            if events:
                out.events = []
                feed = self._feed
                for event in events:
                    feed(event)
        if out.unrecognised:
            self.unrecognised += out.unrecognised
            out.unrecognised = 0
        if out.notices:
            out.notices = []

    def connect(self, line: Open) -> Connection | None:
        """Remember who reads a connection, telling nobody."""
        names = [n for n, x in self._plan.exchanges.items() if x.type == line.type]
        if line.exchange in names:
            names = [line.exchange]
        if not names or line.socket == "rest":
            self._foreign[line.c] = line.type
            if not names:
                return None
        markets = tuple(m.name for m in self._plan.markets.values() if m.exchange in names)
        codecs = [self._codecs[name] for name in names]
        connection = Connection(line.socket, names, codecs, markets)
        self._connections[line.c] = connection
        return connection

    def _open(self, line: Open) -> None:
        connection = self.connect(line)
        if connection is not None and line.socket != "rest":
            self._tell(connection, SocketState.UP, line.c, line.t, line.w)

    def _close(self, line: Close) -> None:
        connection = self._connections.pop(line.c, None)
        if connection is not None:
            self._tell(connection, SocketState.DOWN, line.c, line.t, line.w)

    def _tell(self, connection: Connection, state: SocketState, c: int, t: int, w: int) -> None:
        self._before(t, w)
        for name in connection.names:
            self._feed(
                Feed(
                    exchange=name,
                    socket=connection.socket,
                    kind=connection.kind if connection.kind == "market" else "public",
                    state=state,
                    conn=c,
                    markets=connection.markets,
                    t=t,
                    wall=w,
                )
            )

    def _http(self, line: Http) -> None:
        """A REST answer that matters to a replay is a book snapshot."""
        connection = self._connections.get(line.c)
        target = line.req.partition(" ")[2]
        parts = urlsplit(target)
        if connection is None or line.status != 200 or not parts.path.endswith("/depth"):
            return
        symbol = parse_qs(parts.query).get("symbol", [""])[0]
        for market in self._plan.markets.values():
            if market.exchange in connection.names and market.symbol == symbol:
                self._before(line.t, line.w)
                codec = self._codecs[market.exchange]
                self._feed(codec.parse_snapshot(market.name, line.d.encode(), line.t, line.w))
