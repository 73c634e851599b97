"""One private or trade socket of an exchange: login, subscription, frames.

Theory of operation. A socket serves only when the exchange has said yes to everything it was asked:

    DOWN --connected--> LOGIN --login_ok--> SUBSCRIBING --all subscribed--> READY
         (no login needed: at once)         (nothing to subscribe to: at once)
    LOGIN, SUBSCRIBING --no--> REFUSED --a wait that grows--> DOWN

What is not READY in time is connected anew. The owner is told of a refusal, which freezes the
exchange until a later attempt is READY. Every connection of a private socket that needs a listen
key begins with a fresh one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, Protocol

from runner.app.readiness import SocketFacts
from runner.base.clock import NS_PER_S, Clock
from runner.base.errors import Down
from runner.engine.events import Event, SocketState
from runner.exchanges.api import Decoded, OrderCodec, Outcome, SocketKind, SocketSpec
from runner.net.websocket import Listener, SocketOptions, WebSocket

READY_WITHIN: Final = 5 * NS_PER_S
_LONGEST_WAIT: Final = 60 * NS_PER_S
FAR: Final = 1 << 62


class Step(StrEnum):
    """How far a connection has come."""

    DOWN = "down"
    LOGIN = "login"
    SUBSCRIBING = "subscribing"
    READY = "ready"
    REFUSED = "refused"


class Wire(Protocol):
    """What is needed of a `WebSocket`."""

    conn: int
    connects: int
    last_failure: str

    def send(self, message: bytes) -> None: ...
    def kick(self, reason: str) -> None: ...
    def close(self) -> None: ...
    async def run(self) -> None: ...


Source = Callable[[], Awaitable[SocketSpec]]
Opener = Callable[[Source, Listener, SocketOptions, Callable[[], bool]], Wire]


class Owner(Protocol):
    """What a socket tells its order link."""

    async def spec_for(self, socket: PrivateSocket) -> SocketSpec: ...
    def may_replace(self, socket: PrivateSocket) -> bool: ...
    def told(self, event: Event) -> None: ...
    def on_reply(self, request_id: str, outcome: Outcome, events: list[Event]) -> None: ...
    def on_counters(self, told: list[tuple[str, int, int, int]]) -> None: ...
    def socket_changed(self, socket: PrivateSocket, state: SocketState, reason: str) -> None: ...
    def login_failed(self, text: str) -> None: ...
    def notice(self, text: str) -> None: ...


class PrivateSocket:
    """See the module."""

    def __init__(
        self,
        owner: Owner,
        codec: OrderCodec,
        spec: SocketSpec,
        clock: Clock,
        now_ms: Callable[[], int],
        options: SocketOptions,
        opener: Opener = WebSocket,
    ) -> None:
        self.spec = spec
        self.reconciled = False
        self.stale_key = spec.kind is SocketKind.PRIVATE
        self.refused = ""
        self.unrecognised = 0
        self.step = Step.DOWN
        self._owner = owner
        self._codec = codec
        self._clock = clock
        self._now_ms = now_ms
        self._out = Decoded()
        self._missing = 0
        self._deadline = FAR
        self._refusals = 0
        self.wire = opener(
            lambda: owner.spec_for(self), self, options, lambda: owner.may_replace(self)
        )

    @property
    def ready(self) -> bool:
        """Whether the exchange has said yes to everything on this connection."""
        return self.step is Step.READY

    @property
    def facts(self) -> SocketFacts:
        """What readiness is judged by."""
        return SocketFacts(self.spec.id, self.ready, self.reconciled, self.refused)

    def look(self, now: int) -> None:
        """Connect anew when a connection does not become ready in time."""
        if now >= self._deadline:
            step, self._deadline = self.step, FAR
            if step is not Step.REFUSED:
                self._owner.notice(f"the {self.spec.id} socket got no answer to its {step}")
            self.wire.kick(f"not ready in time: {step}")

    def refuse(self, text: str) -> None:
        """Note that the exchange did not let us in; the next attempt comes later each time."""
        self.refused, self.step = text, Step.REFUSED
        self._refusals += 1
        wait = min(READY_WITHIN << min(self._refusals, 8), _LONGEST_WAIT)
        self._deadline = self._clock.mono() + wait

    # -- what the wire calls

    def on_up(self, conn: int) -> None:
        """Log in, or go on to the subscriptions where no login is needed."""
        self.step, self._deadline = Step.LOGIN, self._clock.mono() + READY_WITHIN
        frames = self._codec.login(self.spec.id, self._now_ms())
        for frame in frames:
            self.wire.send(frame)
        if not frames:
            self._subscribe()

    def on_down(self, conn: int, reason: str) -> None:
        """Forget what was agreed on this connection."""
        self.step, self._deadline = Step.DOWN, FAR
        self.reconciled = False
        self.stale_key = self.spec.kind is SocketKind.PRIVATE
        self._owner.socket_changed(self, SocketState.DOWN, reason)

    def on_frame(self, message: bytes, more: bool, conn: int) -> None:
        """Decode a frame and hand its parts on, before this call returns."""
        owner, out = self._owner, self._out
        t, wall = self._clock.mono(), self._clock.wall()
        self._codec.decode(self.spec.id, message, t, wall, conn, more, out)
        if out.events:
            events, out.events = out.events, []
            for event in events:
                owner.told(event)
        if out.replies:
            replies, out.replies = out.replies, []
            for request_id, outcome, said in replies:
                owner.on_reply(request_id, outcome, said)
        if out.budgets:
            counters, out.budgets = out.budgets, []
            owner.on_counters(counters)
        if out.notices or out.unrecognised:
            self._rest(out)

    # -- what follows from it

    def _rest(self, out: Decoded) -> None:
        if out.unrecognised and not self.unrecognised:
            self._owner.notice(f"the {self.spec.id} socket sent a frame of an unknown kind")
        self.unrecognised += out.unrecognised
        out.unrecognised = 0
        notices, out.notices = out.notices, []
        for notice in notices:
            self._noticed(notice)

    def _noticed(self, notice: str) -> None:
        if notice == "login_ok":
            if self.step is Step.LOGIN:
                self._try_to_subscribe()
        elif notice == "subscribed":
            self._subscribed()
        elif notice == "listen_key_expired":
            self.stale_key = True
            self.wire.kick("the listen key expired")
        elif notice == "closing":
            self.wire.kick("the exchange announced that it closes the socket")
        elif notice.startswith("login_failed"):
            self.refuse(notice)
            self._owner.login_failed(notice)
        elif notice.startswith("refused"):
            self._on_refusal(notice)
        else:
            self._owner.notice(f"{self.spec.id} socket: {notice}")

    def _on_refusal(self, notice: str) -> None:
        """Without its subscriptions a private socket would be silent and look alive."""
        self._owner.notice(f"{self.spec.id} socket: {notice}")
        if self.step is Step.SUBSCRIBING:
            self.refuse(f"the {self.spec.id} subscription was {notice}")
            self._owner.login_failed(self.refused)

    def _try_to_subscribe(self) -> None:
        try:
            self._subscribe()
        except Down as error:  # lost meanwhile; `on_down` follows
            self.wire.kick(str(error))

    def _subscribe(self) -> None:
        frames = self._codec.after_login(self.spec.id)
        self.step, self._missing = Step.SUBSCRIBING, len(frames)
        for frame in frames:
            self.wire.send(frame)
        if not frames:
            self._is_ready()

    def _subscribed(self) -> None:
        self._missing -= 1
        if self.step is Step.SUBSCRIBING and self._missing <= 0:
            self._is_ready()

    def _is_ready(self) -> None:
        self.step, self._deadline = Step.READY, FAR
        self.refused, self._refusals = "", 0
        self._owner.socket_changed(self, SocketState.UP, "")
