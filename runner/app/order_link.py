"""The signed order side of one exchange: trade and private sockets, REST, readiness.

Theory of operation. An order leaves on the trade socket in the same pass as the decision, signed at
that moment. Its answer is looked for by request id; what has no answer after `ANSWER_WITHIN`, or
was in flight when the socket went down, is *unknown*, and the engine asks by client id. Nothing is
ever sent twice from here.

Readiness follows from facts and is told to the engine on each change:

    STARTING      nothing is up yet
    RECONCILING   both sockets are up and logged in; open orders, fills, account are being read
    READY         they were read after the sockets came up
    DOWN          one of the sockets is down

Cancels and orders that only reduce go by REST while the trade socket is down; entries do not (the
gate refuses them, since the exchange is not READY).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from runner.app.market_feed import Sink, Stages
from runner.app.rest import Rest
from runner.base.clock import NS_PER_S, Clock, stopwatch_ns
from runner.base.crash import crash_point
from runner.base.errors import Down, ExchangeError, RateLimited, Rejected, UnknownOutcome
from runner.base.ids import new_run_id
from runner.engine.commands import Cancel, CancelAll, Purpose, Query
from runner.engine.events import (
    CancelReply,
    Event,
    Feed,
    Fill,
    Found,
    OrderEvent,
    OrderView,
    Readiness,
    Ready,
    Reconciled,
    Reject,
    SocketState,
    Unknown,
)
from runner.engine.proof import Journaled
from runner.exchanges.api import (
    Decoded,
    HttpRequest,
    OrderCodec,
    Outcome,
    Request,
    SocketKind,
    SocketRequest,
    SocketSpec,
)
from runner.net.timesync import TimeSync
from runner.net.websocket import SocketOptions, WebSocket

ANSWER_WITHIN = 3 * NS_PER_S
_RENEW_KEY_S = 25 * 60.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_LOOK_BACK_MS = 60_000


@dataclass(slots=True)
class _Pending:
    """A request on the trade socket that has no answer yet."""

    cid: str
    operation: str
    sent: int


class OrderLink:
    """Sends and asks for one exchange. Answers go to `sink` as events."""

    def __init__(
        self,
        name: str,
        codec: OrderCodec,
        by_rest: OrderCodec,
        rest: Rest,
        sync: TimeSync,
        clock: Clock,
        sink: Sink,
        symbols: Sequence[str],
        options: SocketOptions,
        notice: Callable[[str, str], None],
        stages: Stages | None = None,
    ) -> None:
        self.name = name
        self.codec = codec
        self.by_rest = by_rest
        self.rest = rest
        self.sync = sync
        self.clock = clock
        self.symbols = tuple(symbols)
        self.readiness = Readiness.STARTING
        self.last_fill_ms = 0
        self.unresolved_reason = ""
        self._sink = sink
        self._notice = notice
        self._stages = stages
        self._options = options
        self._pending: dict[str, _Pending] = {}
        self._sockets: list[_PrivateSocket] = []
        self._trade: _PrivateSocket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._listen_key: str | None = None
        self._reconciling: asyncio.Task[None] | None = None
        self._count = 0
        self._run = new_run_id(clock.wall())
        self._closed = False

    # -- running

    async def run(self) -> None:
        """Open the sockets and keep them until `close`; a bug in a callback ends the run."""
        await self._make_sockets()
        async with asyncio.TaskGroup() as group:
            for socket in self._sockets:
                group.create_task(socket.socket.run())
            group.create_task(self._look_after())
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        """End the sockets; `run` returns."""
        self._closed = True
        for socket in self._sockets:
            socket.socket.close()

    @property
    def reconnects(self) -> int:
        """Connections beyond the first of each socket."""
        return sum(max(0, each.socket.connects - 1) for each in self._sockets)

    async def _make_sockets(self) -> None:
        self._listen_key = await self._fetch_listen_key(None)
        for spec in self.codec.private_sockets(self._listen_key):
            socket = _PrivateSocket(self, spec)
            self._sockets.append(socket)
            if spec.kind is SocketKind.TRADE:
                self._trade = socket

    async def _fetch_listen_key(self, renew: str | None) -> str | None:
        pause = _FIRST_PAUSE_S
        while True:
            request = self.codec.listen_key(renew)
            if request is None:
                return None
            try:
                return self.codec.parse_listen_key(await self.rest.fetch(request)) or renew
            except (Down, RateLimited) as error:
                self._notice(self.name, f"listen key: {error}")
                await asyncio.sleep(getattr(error, "retry_after", pause))
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            except Rejected:
                if renew is None:
                    raise
                renew = None

    async def source_of(self, socket: _PrivateSocket) -> SocketSpec:
        """Return what to open now: a private socket may need a fresh listen key."""
        if socket.spec.kind is SocketKind.PRIVATE and socket.stale_key:
            self._listen_key = await self._fetch_listen_key(None)
            for spec in self.codec.private_sockets(self._listen_key):
                if spec.id == socket.spec.id:
                    socket.spec = spec
            socket.stale_key = False
        return socket.spec

    async def _look_after(self) -> None:
        """Expire requests without an answer, renew the listen key; ends with the sockets."""
        renewed = self.clock.mono()
        while not self._closed:
            await asyncio.sleep(0.05)
            now = self.clock.mono()
            self._expire(now)
            if self._listen_key and now - renewed > _RENEW_KEY_S * NS_PER_S:
                renewed = now
                self._spawn(self._renew())

    async def _renew(self) -> None:
        key = await self._fetch_listen_key(self._listen_key)
        if key != self._listen_key:
            self.on_notice_key_lost()

    def on_notice_key_lost(self) -> None:
        """The user stream's key is gone: reconnect it with a fresh one."""
        for each in self._sockets:
            if each.spec.kind is SocketKind.PRIVATE:
                each.stale_key = True
                each.socket.kick("the listen key expired")

    def _expire(self, now: int) -> None:
        late = [key for key, each in self._pending.items() if now - each.sent > ANSWER_WITHIN]
        for key in late:
            self._lost(self._pending.pop(key), "timeout")

    def _spawn(self, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            await work

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.unresolved_reason = f"{type(task.exception()).__name__}: {task.exception()}"
            for each in self._sockets:
                each.fail(task.exception())

    # -- orders

    def send(self, order: Journaled, t: int, wall: int) -> None:
        """Sign and send one order now."""
        intent = order.intent
        codec = self.codec if self._trade_up() else self.by_rest
        if codec is self.by_rest and intent.purpose is Purpose.ENTRY and self._trade is not None:
            self._tell(_not_sent(intent.cid, "the trade socket is down"))
            return
        start = stopwatch_ns()
        request = codec.place(order, self.sync.now_ms(), intent.cid)
        signed = stopwatch_ns()
        self._dispatch(request, intent.cid, "place")
        if self._stages is not None:
            self._stages("sign", signed - start)
            self._stages("send", stopwatch_ns() - signed)

    def cancel(self, command: Cancel) -> None:
        """Ask to cancel; may be repeated by the engine."""
        codec = self.codec if self._trade_up() else self.by_rest
        request = codec.cancel(
            command.symbol, command.cid, self.sync.now_ms(), self._request_id("c")
        )
        self._dispatch(request, command.cid, "cancel")

    def cancel_all(self, command: CancelAll) -> None:
        """Ask to cancel all plain orders of a symbol."""
        request = self.by_rest.cancel_all(command.symbol, self.sync.now_ms(), self._request_id("a"))
        self._dispatch(request, "", "cancel_all")

    def query(self, command: Query) -> None:
        """Ask about one order by client id; only a definitive answer becomes `Found`."""
        self._spawn(self._query(command))

    def reconcile(self) -> None:
        """Read open orders, fills and account; one at a time, until it succeeds."""
        if self._reconciling is None or self._reconciling.done():
            self._reconciling = asyncio.get_running_loop().create_task(self._reconcile())
            self._tasks.add(self._reconciling)
            self._reconciling.add_done_callback(self._finished)

    def _trade_up(self) -> bool:
        return self._trade is not None and self._trade.ready

    def _request_id(self, prefix: str) -> str:
        """Make an id that no earlier run used either: Bybit refuses one it has seen (20006)."""
        self._count += 1
        return f"{prefix}{self._run}{self._count}"

    def _dispatch(self, request: Request, cid: str, operation: str) -> None:
        if isinstance(request, HttpRequest):
            self._spawn(self._by_http(request, cid, operation))
            return
        self._by_socket(request, cid, operation)

    def _by_socket(self, request: SocketRequest, cid: str, operation: str) -> None:
        assert self._trade is not None
        self._pending[request.id] = _Pending(cid, operation, self.clock.mono())
        try:
            self._trade.socket.send(request.frame)
        except Down as error:
            del self._pending[request.id]
            if operation == "place":
                self._tell(_not_sent(cid, str(error)))

    async def _by_http(self, request: HttpRequest, cid: str, operation: str) -> None:
        pending = _Pending(cid, operation, self.clock.mono())
        try:
            answer = await self.rest.http.send(request)
        except Down as error:
            if operation == "place":
                self._tell(_not_sent(cid, str(error)))
            return
        except UnknownOutcome as error:
            self._lost(pending, str(error))
            return
        t, wall = self.clock.mono(), self.clock.wall()
        outcome, events = self.codec.reply(
            cid, operation, answer.status, answer.headers, answer.body, t, wall
        )
        self._answered(pending, outcome, events)

    def on_reply(self, request_id: str, outcome: Outcome, events: list[Event]) -> None:
        """Take an answer from the trade socket; a late one is still an answer."""
        pending = self._pending.pop(request_id, None)
        if pending is None:
            pending = _Pending(request_id, "place", self.clock.mono())
        elif self._stages is not None and pending.operation == "place":
            self._stages("ack", self.clock.mono() - pending.sent)
        self._answered(pending, outcome, events)

    def _answered(self, pending: _Pending, outcome: Outcome, events: list[Event]) -> None:
        crash_point("after_ack_received")
        if outcome is Outcome.CLOCK:
            self.sync.again()
        for event in events:
            if isinstance(event, OrderEvent) and not event.cid:
                event.cid = pending.cid
            self._tell(event)
        if not events and outcome is Outcome.UNKNOWN:
            self._lost(pending, "the exchange did not say what became of it")

    def _lost(self, pending: _Pending, why: str) -> None:
        if pending.operation == "place":
            self._tell(Unknown(cid=pending.cid, why=why))
        elif pending.operation == "cancel":
            self._tell(CancelReply(cid=pending.cid, ok=False, code="unknown", text=why))

    # -- asking

    async def _query(self, command: Query) -> None:
        view: OrderView | None = None
        for request in self.codec.query(command.symbol, command.cid, self.sync.now_ms()):
            try:
                answer = await self.rest.http.read(request)
            except ExchangeError:
                return  # a network error is never evidence; the engine asks again
            outcome, view = self.codec.parse_query(command.cid, answer.status, answer.body)
            if outcome is Outcome.UNKNOWN:
                return
            if view is not None:
                break
        if view is not None and view.filled_lots:
            await self._tell_fills(command.symbol)
        self._tell(Found(cid=command.cid, order=view))

    async def _tell_fills(self, symbol: str) -> None:
        """Fetch the executions first, so that a filled order's fills are known before its end."""
        try:
            for fill in await self._fills(symbol):
                self._tell(fill)
        except ExchangeError as error:
            self._notice(self.name, f"fills of {symbol}: {error}")

    async def _fills(self, symbol: str) -> list[Fill]:
        since = max(0, (self.last_fill_ms or self.sync.now_ms()) - _LOOK_BACK_MS)
        names = self.codec.recent_orders(symbol, since, self.sync.now_ms())
        if names is not None:
            self.codec.parse_open_orders(await self.rest.fetch(names))
        body = await self.rest.fetch(self.codec.fills(symbol, since, self.sync.now_ms()))
        return self.codec.parse_fills(body)

    async def _reconcile(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                picture = await self._picture()
            except ExchangeError as error:
                self._notice(self.name, f"reconciling: {error}")
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                continue
            self._tell(picture)
            self._set_readiness()
            if self.readiness is not Readiness.RECONCILING:
                return

    async def _picture(self) -> Reconciled:
        crash_point("reconcile_before")
        started = self.clock.mono()
        conns = [each.socket.conn for each in self._sockets if each.ready]
        orders: list[OrderView] = []
        for request in self.codec.open_orders(self.sync.now_ms()):
            orders += self.codec.parse_open_orders(await self.rest.fetch(request))
        crash_point("reconcile_middle")
        fills: list[Fill] = []
        for symbol in self.symbols:
            fills += await self._fills(symbol)
        bodies = [await self.rest.fetch(r) for r in self.codec.account(self.sync.now_ms())]
        t, wall = self.clock.mono(), self.clock.wall()
        account = self.codec.parse_account(bodies, t, wall)
        self.last_fill_ms = self.sync.now_ms()
        for each in self._sockets:  # one that came up meanwhile is not covered by this picture
            each.reconciled = each.ready and each.socket.conn in conns
        return Reconciled(
            exchange=self.name,
            open_orders=tuple(orders),
            fills=tuple(fills),
            account=account,
            started=started,
        )

    # -- readiness

    def socket_changed(self, socket: _PrivateSocket, state: SocketState, reason: str) -> None:
        """Follow a socket: what was in flight on a lost trade socket is of unknown outcome."""
        t, wall = self.clock.mono(), self.clock.wall()
        self._sink(
            Feed(
                exchange=self.name,
                socket=socket.spec.id,
                kind=socket.spec.kind.value,
                state=state,
                conn=socket.socket.conn,
                reason=reason,
                t=t,
                wall=wall,
            )
        )
        if state is SocketState.DOWN and socket is self._trade:
            pending, self._pending = self._pending, {}
            for each in pending.values():
                self._lost(each, f"disconnect: {reason}")
        self._set_readiness(reason)

    def _set_readiness(self, reason: str = "") -> None:
        if not all(each.ready for each in self._sockets):
            state = Readiness.STARTING
            if self.readiness is not Readiness.STARTING:
                state = Readiness.DOWN
        elif all(each.reconciled for each in self._sockets):
            state = Readiness.READY
        else:
            state = Readiness.RECONCILING
        if state is self.readiness:
            return
        self.readiness = state
        self._tell(Ready(exchange=self.name, state=state, reason=reason))
        if state is Readiness.RECONCILING:
            self.reconcile()

    def _tell(self, event: Event) -> None:
        event.t, event.wall = self.clock.mono(), self.clock.wall()
        self._sink(event)


class _PrivateSocket:
    """One private or trade socket: login, subscription, frames."""

    def __init__(self, link: OrderLink, spec: SocketSpec) -> None:
        self.link = link
        self.spec = spec
        self.ready = False
        self.reconciled = False
        self.stale_key = False
        self._out = Decoded()
        self._failure: BaseException | None = None
        self.socket = WebSocket(self._source, self, link._options)

    async def _source(self) -> SocketSpec:
        return await self.link.source_of(self)

    def fail(self, error: BaseException | None) -> None:
        """A task of the link died: let the socket's task raise it, which halts the run."""
        self._failure = error
        self.socket.kick("a task of ours failed")

    def on_up(self, conn: int) -> None:
        frames = self.link.codec.login(self.spec.id, self.link.sync.now_ms())
        for frame in frames:
            self.socket.send(frame)
        if not frames:
            self._logged_in()

    def on_down(self, conn: int, reason: str) -> None:
        self.ready = self.reconciled = False
        if self.spec.kind is SocketKind.PRIVATE:
            self.stale_key = True
        self.link.socket_changed(self, SocketState.DOWN, reason)
        if self._failure is not None:
            raise self._failure

    def on_frame(self, message: bytes, more: bool, conn: int) -> None:
        link, out = self.link, self._out
        t, wall = link.clock.mono(), link.clock.wall()
        link.codec.decode(self.spec.id, message, t, wall, conn, more, out)
        events, replies, notices = out.events, out.replies, out.notices
        if events:
            out.events = []
            for event in events:
                link._sink(event)
        if replies:
            out.replies = []
            for request_id, outcome, said in replies:
                link.on_reply(request_id, outcome, said)
        if notices:
            out.notices = []
            for notice in notices:
                self._noticed(notice)

    def _logged_in(self) -> None:
        for frame in self.link.codec.after_login(self.spec.id):
            self.socket.send(frame)
        self.ready = True
        self.link.socket_changed(self, SocketState.UP, "")

    def _noticed(self, notice: str) -> None:
        if notice == "login_ok":
            self._logged_in()
        elif notice == "listen_key_expired":
            self.link.on_notice_key_lost()
        elif notice == "closing":
            self.socket.kick("the exchange announced that it closes the socket")
        elif notice.startswith("login_failed"):
            self.link._notice(self.link.name, notice)
            self.link._tell(Ready(exchange=self.link.name, state=Readiness.FROZEN, reason=notice))
        elif notice.startswith("refused"):
            self.link._notice(self.link.name, notice)


def _not_sent(cid: str, why: str) -> Event:
    return Reject(cid=cid, outcome="rejected", code="not_sent", text=why)
