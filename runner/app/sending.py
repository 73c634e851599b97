"""Orders and cancels on their way to one exchange, and the answers to them.

Theory of operation. A request that was begun is in one of these states, and each has its event:

    surely not sent    Reject(not_sent), CancelReply(not_sent): the engine decides anew
    answered           what the codec makes of the answer: Ack, Reject, Done, CancelReply, Unknown
    in doubt           Unknown, CancelReply(unknown): no answer in `ANSWER_WITHIN`, connection lost
                       with the request on it, or an answer that does not say

An answer that comes after its request was given up is still an answer: it is handed on. One that
comes twice is too; the engine takes it as old news. What the rates forbid is not sent: orders are
refused here before they leave (`admit`), cancels wait for their turn and are signed after it.

An order leaves once: a client id that left before is a fault of the program and stops the run.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runner.app.errands import Errands
from runner.app.private_socket import PrivateSocket
from runner.app.rest import Rest
from runner.base.clock import NS_PER_MS, NS_PER_S, Clock, stopwatch_ns
from runner.base.crash import crash_point
from runner.base.errors import Down, UnknownOutcome
from runner.engine.commands import Cancel, CancelAll, Purpose
from runner.engine.events import AmendReply, CancelReply, Event, OrderEvent, Reject, Unknown
from runner.engine.proof import Journaled
from runner.exchanges.api import HttpRequest, OrderCodec, Outcome, Request, SocketRequest
from runner.exchanges.errors import KEY_REFUSED
from runner.net.budget import Cost, Priority
from runner.net.doors import REFUSING
from runner.net.timesync import TimeSync

ANSWER_WITHIN: Final = 3 * NS_PER_S
_REMEMBERED: Final = 16_384
_BY_SOCKET: Final = SocketRequest("", b"", counts_order=True)
_BY_HTTP: Final = HttpRequest("POST", "", counts_order=True)

_ANSWERS: Final = (Reject, CancelReply, AmendReply)
_WHAT: Final = {Reject: "an order", CancelReply: "a cancel", AmendReply: "a change of an order"}

Stages = Callable[[str, int], None]


@dataclass(slots=True)
class Pending:
    """A request that has no answer yet. `sent`: monotonic ns."""

    cid: str
    operation: str
    sent: int


class Sender:
    """See the module. `tell` takes the events; `trade` is set once there is a trade socket."""

    def __init__(
        self,
        codec: OrderCodec,
        by_rest: OrderCodec,
        rest: Rest,
        sync: TimeSync,
        clock: Clock,
        errands: Errands,
        tell: Callable[[Event], None],
        notice: Callable[[str], None],
        stages: Stages | None = None,
        key_refused: Callable[[str], None] = lambda why: None,
    ) -> None:
        self.trade: PrivateSocket | None = None
        self._key_refused = key_refused
        self._codec = codec
        self._by_rest = by_rest
        self._rest = rest
        self._sync = sync
        self._clock = clock
        self._errands = errands
        self._tell = tell
        self._notice = notice
        self._stages = stages
        self._pending: dict[str, Pending] = {}
        self._sent: dict[str, None] = {}
        self._cancelling: set[str] = set()
        self._costs = rest.pace.cost(_BY_HTTP), rest.pace.cost(_BY_SOCKET)
        """of one order, by whether it goes by the socket"""
        self._count = 0

    @property
    def in_flight(self) -> int:
        """Requests on the trade socket that wait for an answer."""
        return len(self._pending)

    # -- orders

    def admit(self, orders: Sequence[Journaled]) -> str:
        """Count orders that leave now; return why they must not, "" when they may."""
        entry = orders[0].intent.purpose is Purpose.ENTRY
        by_socket = self._socket_up()
        if entry and self.trade is not None and not by_socket:
            return "the trade socket is down"
        cost = self._costs[by_socket]
        if len(orders) > 1:
            cost = {name: n * len(orders) for name, n in cost.items()}
        wait = self._rest.pace.take(cost, Priority.ENTRY if entry else Priority.REDUCE, by_socket)
        return f"the rate budget has no room for {wait // NS_PER_MS} ms" if wait else ""

    def send(self, order: Journaled) -> None:
        """Sign and send one order now. RuntimeError when its client id has left before."""
        cid = order.intent.cid
        if cid in self._sent:
            raise RuntimeError(f"order {cid} was to be sent a second time")
        if len(self._sent) >= _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        self._sent[cid] = None
        codec = self._codec if self._socket_up() else self._by_rest
        start = stopwatch_ns()
        request = codec.place(order, self._sync.now_ms(), cid)
        signed = stopwatch_ns()
        try:
            self._dispatch(request, Pending(cid, "place", self._clock.mono()))
        except Down as error:
            self.refuse(order, str(error))
        if self._stages is not None:
            self._stages("sign", signed - start)
            self._stages("send", stopwatch_ns() - signed)

    def refuse(self, order: Journaled, why: str) -> None:
        """Say of an order that it was surely not sent."""
        self._tell(_not_sent(order.intent.cid, why))

    # -- changes

    def amend(self, order: Journaled) -> None:
        """Sign and send a change of an order now, or say that it was not sent.

        RuntimeError when this change has left before.
        """
        intent = order.intent
        name = f"{intent.cid}.{intent.revision}"
        if name in self._sent:
            raise RuntimeError(f"change {intent.revision} of {intent.cid} was to be sent again")
        self._sent[name] = None
        codec = self._codec if self._socket_up() else self._by_rest
        request = codec.amend(order, self._sync.now_ms(), self._id("m"))
        by_socket = isinstance(request, SocketRequest)
        priority = Priority.ENTRY if intent.purpose is Purpose.ENTRY else Priority.REDUCE
        wait = self._rest.pace.take(self._rest.pace.cost(request), priority, by_socket)
        if wait:
            why = f"the rate budget has no room for {wait // NS_PER_MS} ms"
            self._tell(_not_changed(intent.cid, "not_sent", why))
            return
        try:
            self._dispatch(request, Pending(intent.cid, "amend", self._clock.mono()))
        except Down as error:
            self._tell(_not_changed(intent.cid, "not_sent", str(error)))

    # -- cancels

    def cancel(self, command: Cancel) -> None:
        """Ask to cancel, in turn; the engine may repeat it."""
        codec = self._codec if self._socket_up() else self._by_rest
        request = self._cancel_request(codec, command)
        by_socket = isinstance(request, SocketRequest)
        cost = self._rest.pace.cost(request, cancel=True)
        if self._rest.pace.take(cost, Priority.CANCEL, by_socket) == 0:
            self._cancel_now(command, request)
        elif command.cid not in self._cancelling:
            self._cancelling.add(command.cid)
            if not self._errands.start(self._cancel_in_turn(command, cost)):
                self._cancelling.discard(command.cid)
                self._tell(_cancel_failed(command.cid, "not_sent", "too much is in flight"))

    def cancel_all(self, command: CancelAll) -> None:
        """Ask to cancel all plain orders of a symbol; how they end comes with the orders."""
        request = self._by_rest.cancel_all(command.symbol, self._sync.now_ms(), self._id("a"))
        self._rest.pace.take(self._rest.pace.cost(request, cancel=True), Priority.CANCEL)
        self._dispatch(request, Pending("", "cancel_all", self._clock.mono()))

    async def _cancel_in_turn(self, command: Cancel, cost: Cost) -> None:
        try:
            await self._rest.pace.turn(cost, Priority.CANCEL)
        finally:
            self._cancelling.discard(command.cid)
        codec = self._codec if self._socket_up() else self._by_rest
        self._cancel_now(command, self._cancel_request(codec, command))

    def _cancel_now(self, command: Cancel, request: Request) -> None:
        pending = Pending(command.cid, "cancel", self._clock.mono())
        try:
            self._dispatch(request, pending)
        except Down:  # it was not sent by the socket; a cancel may go another way
            self._dispatch(self._cancel_request(self._by_rest, command), pending)

    def _cancel_request(self, codec: OrderCodec, command: Cancel) -> Request:
        now_ms, protective = self._sync.now_ms(), command.protective
        return codec.cancel(command.symbol, command.cid, now_ms, self._id("c"), protective)

    # -- the way out

    def _socket_up(self) -> bool:
        return self.trade is not None and self.trade.ready

    def _id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _dispatch(self, request: Request, pending: Pending) -> None:
        """Send; Down when a socket surely did not."""
        if isinstance(request, SocketRequest):
            assert self.trade is not None
            self.trade.wire.send(request.frame)
            self._pending[request.id] = pending
        else:
            work: Coroutine[Any, Any, None] = self._by_http(request, pending)
            if not self._errands.start(work):
                self._never_left(pending, "too much is in flight")

    async def _by_http(self, request: HttpRequest, pending: Pending) -> None:
        try:
            answer = await self._rest.http.send(request)
        except Down as error:
            self._never_left(pending, str(error))
            return
        except UnknownOutcome as error:
            self._lost(pending, str(error))
            return
        pace = self._rest.pace
        cancels = pending.operation in ("cancel", "cancel_all")
        pace.heard(pace.cost(request, cancel=cancels), answer)
        t, wall = self._clock.mono(), self._clock.wall()
        outcome, events = self._codec.reply(
            pending.cid, pending.operation, answer.status, answer.headers, answer.body, t, wall
        )
        if outcome is Outcome.RATE_LIMITED and answer.status not in REFUSING:
            pace.limited()
        self._answered(pending, outcome, events)

    # -- the way back

    def on_reply(self, request_id: str, outcome: Outcome, events: list[Event]) -> None:
        """Take an answer from the trade socket, also a late or a repeated one."""
        if outcome is Outcome.RATE_LIMITED:
            self._rest.pace.limited()
        pending = self._pending.pop(request_id, None)
        if pending is None:
            for event in events:
                if not isinstance(event, OrderEvent) or event.cid:
                    self._tell(event)
            return
        if self._stages is not None and pending.operation == "place":
            self._stages("ack", self._clock.mono() - pending.sent)
        self._answered(pending, outcome, events)

    def expire(self, now: int) -> None:
        """Give up what has had no answer for too long; its late answer still counts."""
        if self._pending:
            late = [key for key, each in self._pending.items() if now - each.sent > ANSWER_WITHIN]
            for key in late:
                self._lost(self._pending.pop(key), "timeout")

    def disconnected(self, reason: str) -> None:
        """The trade socket is gone: what was in flight on it is in doubt."""
        pending, self._pending = self._pending, {}
        for each in pending.values():
            self._lost(each, f"disconnect: {reason}")

    def _answered(self, pending: Pending, outcome: Outcome, events: list[Event]) -> None:
        crash_point("after_ack_received")
        if outcome is Outcome.CLOCK:
            self._sync.again()
        for event in events:
            if isinstance(event, OrderEvent) and not event.cid:
                event.cid = pending.cid
            self._tell(event)
            if isinstance(event, _ANSWERS) and event.code in KEY_REFUSED:
                what = _WHAT[type(event)]
                self._key_refused(f"{what} was refused for the key: {event.code} {event.text}")
        if pending.operation == "cancel_all" and outcome is not Outcome.ACCEPTED:
            self._notice(f"cancelling all orders was not accepted: {outcome}")
        elif not events and outcome is not Outcome.ACCEPTED:
            self._lost(pending, "the exchange did not say what became of it")

    def _lost(self, pending: Pending, why: str) -> None:
        if pending.operation == "place":
            self._tell(Unknown(cid=pending.cid, why=why))
        elif pending.operation == "amend":
            self._tell(_not_changed(pending.cid, "unknown", why))
        elif pending.operation == "cancel":
            self._tell(_cancel_failed(pending.cid, "unknown", why))
        else:
            self._notice(f"whether all orders were cancelled is not known: {why}")

    def _never_left(self, pending: Pending, why: str) -> None:
        if pending.operation == "place":
            self._tell(_not_sent(pending.cid, why))
        elif pending.operation == "amend":
            self._tell(_not_changed(pending.cid, "not_sent", why))
        elif pending.operation == "cancel":
            self._tell(_cancel_failed(pending.cid, "not_sent", why))
        else:
            self._notice(f"cancelling all orders was not sent: {why}")


def _not_sent(cid: str, why: str) -> Event:
    return Reject(cid=cid, outcome="rejected", code="not_sent", text=why)


def _not_changed(cid: str, code: str, why: str) -> Event:
    outcome = "unknown" if code == "unknown" else "rejected"
    return AmendReply(cid=cid, ok=False, outcome=outcome, code=code, text=why)


def _cancel_failed(cid: str, code: str, why: str) -> Event:
    return CancelReply(cid=cid, ok=False, code=code, text=why)
