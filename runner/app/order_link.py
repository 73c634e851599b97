"""The signed order side of one exchange: its sockets, its picture of the account, its readiness.

Theory of operation. Orders and cancels go through `sending`, questions through `account_reader`;
this module owns the sockets they use and the tasks that keep them honest:

    each socket     connects, logs in, subscribes, reconnects                   (private_socket)
    look after      what is late, listen key, dead-man switch, the budget's word: 20 times a s
    pictures        open orders, fills and account: when the engine asks, when a socket changed,
                    every 30 s, every 3 s while the private stream is down      (pictures)
    errands         single questions and requests by HTTP                       (errands)

A task that dies ends `run` with its error; after `run` nothing of the link is left running.
Readiness is judged anew after each change of a socket and each picture, and told when it changed. A
picture vouches for the connections that were there when it was begun, and for no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from runner.app.account_reader import AccountReader
from runner.app.dead_man import DeadMan
from runner.app.errands import Errands
from runner.app.listen_key import ListenKey
from runner.app.market_feed import Sink, Stages
from runner.app.pictures import Pictures
from runner.app.private_socket import Opener, PrivateSocket
from runner.app.readiness import BanHold, KeyHold, judge
from runner.app.rest import Rest
from runner.app.sending import Sender
from runner.base.clock import NS_PER_S, Clock
from runner.base.errors import ExchangeError, Rejected
from runner.engine.commands import Cancel, CancelAll, Purpose, Query
from runner.engine.events import Event, Feed, Host, Readiness, Ready, Reconciled, SocketState
from runner.engine.proof import Journaled
from runner.exchanges.api import OrderCodec, Outcome, SocketKind, SocketSpec
from runner.net.timesync import TimeSync
from runner.net.websocket import SocketOptions, WebSocket

PICTURE_EVERY: Final = 30 * NS_PER_S
POLL_EVERY: Final = 3 * NS_PER_S
PICTURE_TOO_OLD: Final = 60 * NS_PER_S
_TELL_DOWN_AFTER: Final = 5 * NS_PER_S
_LOOK_S: Final = 0.05

Connections = list[tuple[PrivateSocket, int]]


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
        opener: Opener = WebSocket,
        dead_man_ns: int | None = None,
    ) -> None:
        self.name = name
        self.codec = codec
        self.rest = rest
        self.sync = sync
        self.clock = clock
        self.readiness = Readiness.STARTING
        self.sockets: list[PrivateSocket] = []
        self.told = sink
        self._notice = notice
        self._options = options
        self._opener = opener
        self._errands = Errands()
        self._sender = Sender(
            codec, by_rest, rest, sync, clock, self._errands, self._tell, self.notice, stages,
            self._key_refused,
        )  # fmt: skip
        self._reader = AccountReader(
            name, codec, rest, sync, clock, symbols, self._tell, self.notice
        )
        self._pictures = Pictures(self, self._picture, clock)
        self._key = ListenKey(codec, rest, clock, self._key_lost, self.notice)
        self._dead_man = DeadMan(codec, rest, sync.now_ms, clock, symbols, dead_man_ns, self.notice)
        self._asking: set[str] = set()
        self._answers = False
        self._refused = ""
        self._hold = KeyHold()
        self._ban = BanHold()
        rest.pace.on_ban = self._banned
        self._complete_once = False
        self._down_since: dict[str, int] = {}
        self._closed = asyncio.Event()

    @property
    def last_fill_ms(self) -> int:
        """Exchange time up to which fills are known; set before `run` from the journal."""
        return self._reader.last_fill_ms

    @last_fill_ms.setter
    def last_fill_ms(self, value: int) -> None:
        self._reader.last_fill_ms = value

    @property
    def reconnects(self) -> int:
        """Connections beyond the first of each socket."""
        return sum(max(0, each.wire.connects - 1) for each in self.sockets)

    # -- running

    async def run(self) -> None:
        """Keep the sockets until `close`; what one of the tasks raises ends it."""
        self._make_sockets()
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._errands.watch())
                pictures = group.create_task(self._pictures.run())
                wires = [group.create_task(each.wire.run()) for each in self.sockets]
                await self._look_after()
                await asyncio.wait(wires)
                watch.cancel()
                pictures.cancel()
        finally:
            await self._errands.end()

    def close(self) -> None:
        """End the sockets; `run` returns."""
        self._closed.set()
        for socket in self.sockets:
            socket.wire.close()

    async def disarm(self) -> None:
        """Turn the dead-man switch off, after a stop that left nothing unresolved."""
        await self._dead_man.disarm()

    def _make_sockets(self) -> None:
        """Make the sockets of the codec; a private one gets its listen key when it connects."""
        for spec in self.codec.private_sockets("" if self._key.needed else None):
            socket = PrivateSocket(
                self, self.codec, spec, self.clock, self.sync.now_ms, self._options, self._opener
            )
            self.sockets.append(socket)
            self._down_since[spec.id] = self.clock.mono()
            if spec.kind is SocketKind.TRADE:
                self._sender.trade = socket

    async def _look_after(self) -> None:
        while not self._closed.is_set():
            now = self.clock.mono()
            self._sender.expire(now)
            if self._hold.over(now):
                self._judge()
            self.rest.pace.tell_changes()
            for socket in self.sockets:
                socket.look(now)
                self._tell_of_outage(socket, now)
            if self._key.due(now):
                self._errands.start(self._key.keep())
            # Frozen, it may take no cancel of ours: let the countdown run out, that one it obeys.
            if self.readiness is not Readiness.FROZEN and self._dead_man.due(now):
                self._errands.start(self._dead_man.refresh())
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._closed.wait()
            except TimeoutError:
                continue

    def _tell_of_outage(self, socket: PrivateSocket, now: int) -> None:
        """Say once per outage why a socket does not come up."""
        since = self._down_since.get(socket.spec.id)
        if since is not None and now - since > _TELL_DOWN_AFTER:
            del self._down_since[socket.spec.id]
            why = socket.refused or socket.wire.last_failure or "no answer"
            self.notice(f"the {socket.spec.id} socket is down: {why}")

    async def spec_for(self, socket: PrivateSocket) -> SocketSpec:
        """Return what to open now; each connection with a listen key begins with a fresh one."""
        if self._key.needed and socket.stale_key:
            try:
                key = await self._key.fetch()
            except Rejected as error:
                socket.refused = f"the listen key was refused: {error}"
                self.login_failed(socket.refused)
                raise
            specs = {each.id: each for each in self.codec.private_sockets(key)}
            socket.spec = specs[socket.spec.id]
            socket.stale_key = False
        return socket.spec

    def _key_lost(self) -> None:
        for each in self.sockets:
            if each.spec.kind is SocketKind.PRIVATE:
                each.stale_key = True
                each.wire.kick("the listen key expired")

    # -- orders and questions

    def admit(self, orders: Sequence[Journaled]) -> str:
        """Make room for orders that leave now; return why they must not, "" when they may."""
        if orders[0].intent.purpose is Purpose.ENTRY and self.readiness is not Readiness.READY:
            return f"the exchange is {self.readiness}"
        return self._sender.admit(orders)

    def send(self, order: Journaled, t: int, wall: int) -> None:
        """Sign and send one order now; its group was admitted."""
        self._sender.send(order)

    def amend(self, order: Journaled) -> None:
        """Sign and send a change of an order now."""
        self._sender.amend(order)

    def refuse(self, order: Journaled, why: str) -> None:
        """Say of an order that it was surely not sent."""
        self._sender.refuse(order, why)

    def sent(self) -> None:
        """A group has left: tell what it took of the budget."""
        self.rest.pace.tell_changes()

    def cancel(self, command: Cancel) -> None:
        """Ask to cancel; may be repeated by the engine."""
        self._sender.cancel(command)

    def cancel_all(self, command: CancelAll) -> None:
        """Ask to cancel all plain orders of a symbol."""
        self._sender.cancel_all(command)

    def query(self, command: Query) -> None:
        """Ask about one order by client id; only a definitive answer becomes `Found`."""
        if command.cid not in self._asking and self._errands.start(self._query(command)):
            self._asking.add(command.cid)

    def reconcile(self) -> None:
        """Read open orders, fills and account, begun after this call."""
        self._pictures.want()

    async def _query(self, command: Query) -> None:
        try:
            await self._reader.query(command)
        finally:
            self._asking.discard(command.cid)

    # -- pictures

    async def _picture(self) -> Reconciled:
        return await self._reader.picture()

    def picture_every(self) -> int | None:
        """Return how old a picture may grow; before the link was ever complete, nobody polls."""
        if not self._complete_once:
            return None
        silent = any(s.spec.kind is SocketKind.PRIVATE and not s.ready for s in self.sockets)
        return POLL_EVERY if silent else PICTURE_EVERY

    def begun(self) -> Connections:
        """Note which connections a picture will vouch for."""
        return [(each, each.wire.conn) for each in self.sockets if each.ready]

    def pictured(self, picture: Reconciled, seen: Connections) -> None:
        """Take a picture: of a connection that came meanwhile it says nothing."""
        self._answers, self._refused = True, ""
        for socket, conn in seen:
            socket.reconciled = socket.ready and socket.wire.conn == conn
        self._tell(picture)
        if self._ban.pictured(self.clock.mono()):
            self._tell(Host(fault=f"ban:{self.name}", ok=True))
        elif self._ban.on:
            self._pictures.want()
        self._judge()

    def no_picture(self, error: ExchangeError, since: int) -> None:
        """Without pictures for long, or with a key that is refused, nothing new is begun."""
        if self._answers or self.readiness is not Readiness.READY:
            self.notice(f"reading the account: {error}")
        self._answers = False
        if isinstance(error, Rejected):
            self._refused = str(error)
        if self.clock.mono() - since > PICTURE_TOO_OLD:
            for each in self.sockets:
                each.reconciled = False
        self._judge()

    # -- what the sockets tell

    def may_replace(self, socket: PrivateSocket) -> bool:
        """Whether an old connection may be replaced now: never under an order."""
        return socket is not self._sender.trade or not self._sender.in_flight

    def on_reply(self, request_id: str, outcome: Outcome, events: list[Event]) -> None:
        """Take an answer from the trade socket."""
        self._sender.on_reply(request_id, outcome, events)

    def on_counters(self, told: list[tuple[str, int, int, int]]) -> None:
        """Take the counters of an answer."""
        self.rest.pace.learn(told)

    def login_failed(self, text: str) -> None:
        """The exchange does not let us in: our clock may be off, or a person must act."""
        self.notice(text)
        self.sync.again()
        self._judge()

    def _key_refused(self, why: str) -> None:
        """A request was refused for the key: a person must act; it is tried again later."""
        known = bool(self._hold.why)
        self._hold.begin(why, self.clock.mono())
        if not known:
            self.notice(why)
        self._judge()

    def _banned(self, status: int) -> None:
        """The exchange shut us out of its HTTP: nothing new anywhere until that is over (R-39)."""
        until = self.rest.pace.banned_until
        if self._ban.begin(until):
            left = (until - self.clock.mono()) // NS_PER_S
            text = f"{self.name}: HTTP {status}, nothing goes by HTTP for {left}s"
            self._tell(Host(fault=f"ban:{self.name}", text=text))

    def socket_changed(self, socket: PrivateSocket, state: SocketState, reason: str) -> None:
        """Follow a socket: what was in flight on a lost trade socket is of unknown outcome."""
        t, wall = self.clock.mono(), self.clock.wall()
        self.told(
            Feed(
                exchange=self.name,
                socket=socket.spec.id,
                kind=socket.spec.kind.value,
                state=state,
                conn=socket.wire.conn,
                reason=reason,
                t=t,
                wall=wall,
            )
        )
        if state is SocketState.DOWN:
            self._down_since[socket.spec.id] = t
            if socket is self._sender.trade:
                self._sender.disconnected(reason)
        else:
            self._down_since.pop(socket.spec.id, None)
        whole = all(each.ready for each in self.sockets)
        if (self._complete_once or whole) and not self._closed.is_set():
            self._pictures.want()
        self._judge()

    def notice(self, text: str) -> None:
        """Tell a person."""
        self._notice(self.name, text)

    def _judge(self) -> None:
        facts = [each.facts for each in self.sockets]
        self._complete_once = self._complete_once or all(each.ready for each in facts)
        state, reason = judge(
            facts, self._complete_once, self._answers, self._hold.why or self._refused
        )
        if state is not self.readiness:
            self.readiness = state
            self._tell(Ready(exchange=self.name, state=state, reason=reason))

    def _tell(self, event: Event) -> None:
        event.t, event.wall = self.clock.mono(), self.clock.wall()
        self.told(event)
