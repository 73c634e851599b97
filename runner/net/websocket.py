"""A socket that stays: connects, watches, reconnects, and replaces itself before it is cut.

Theory of operation. `run` is one task, owned by the host; it ends only by `close`, by a callback
that raises (a bug: the host's task group halts the run), or by cancellation.

    WAITING --backoff over, connection budget free--> CONNECTING --handshake--> UP
    CONNECTING --failed--> WAITING          UP --link ended--> WAITING
    UP --max_age reached and `may_replace()`--> UP on a fresh link (connected before the old ends)

On each connection the spec's `hello` is sent, unless it needs a login first: then the host sends
the login and what follows it from `on_up`. The backoff is reset only by a link that received
a message, so that a server which accepts and drops is not hammered. At any time one link is live;
each has a number of its own (`conn`), and `on_down` of the old one always comes before `on_up` of
the next.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from runner.base.errors import Down, ExchangeError, RateLimited
from runner.exchanges.api import SocketSpec
from runner.net.backoff import Backoff, ConnectionBudget
from runner.net.doors import tls_context
from runner.net.link import MAX_MESSAGE, Link, connect

_S: Final = 1_000_000_000
_REPLACE_LOOK_S: Final = 1.0

Source = SocketSpec | Callable[[], Awaitable[SocketSpec]]
"""What to open; a coroutine function is asked before each attempt (listen keys)."""


class Listener(Protocol):
    """What a socket tells its owner; all calls come on the event loop, none may block."""

    def on_up(self, conn: int) -> None:
        """A connection is up; send logins from here."""
        ...

    def on_frame(self, message: bytes, more: bool, conn: int) -> None:
        """Take one whole message; `more`: newer frames of the same read wait behind it."""
        ...

    def on_down(self, conn: int, reason: str) -> None:
        """The connection `conn` has ended; requests in flight on it are of unknown outcome."""
        ...


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """How sockets of one exchange are opened. `allowed`: hosts of this exchange and network."""

    tls: ssl.SSLContext
    budget: ConnectionBudget
    numbers: Iterator[int]
    """connection numbers, shared by all sockets of the run"""
    rng: random.Random
    allowed: frozenset[str] | None = None
    max_message: int = MAX_MESSAGE

    @staticmethod
    def make(
        numbers: Iterator[int], rng: random.Random, allowed: frozenset[str] | None = None
    ) -> SocketOptions:
        """Return options with a verifying TLS context and a budget of their own."""
        return SocketOptions(tls_context(), ConnectionBudget(), numbers, rng, allowed)


class WebSocket:
    """One socket of the plan. `await run()` in a task; `send` while `up`."""

    def __init__(
        self,
        source: Source,
        listener: Listener,
        options: SocketOptions,
        may_replace: Callable[[], bool] = lambda: True,
    ) -> None:
        self._source = source
        self._listener = listener
        self._options = options
        self._may_replace = may_replace
        self._backoff = Backoff(options.rng)
        self._closing = asyncio.Event()
        self._link: Link | None = None
        self._tried = False
        self.conn = 0
        """number of the live connection, else of the last"""
        self.connects = 0
        """connections that came up; reconnects are one fewer"""
        self.last_failure = ""

    @property
    def up(self) -> bool:
        """Whether a connection is live."""
        return self._link is not None

    def send(self, message: bytes) -> None:
        """Put a message on the wire; Down when it surely was not sent."""
        if self._link is None:
            raise Down("the socket is not connected")
        self._link.send(message)

    def kick(self, reason: str) -> None:
        """End the live connection; a fresh one follows after the backoff."""
        if self._link is not None:
            self._link.end(reason)

    def close(self) -> None:
        """End for good: `run` returns after `on_down`."""
        self._closing.set()
        self.kick("closed by us")

    async def run(self) -> None:
        """Keep the socket connected until `close`; raises what a callback raised."""
        link: Link | None = None
        try:
            while not self._closing.is_set():
                if link is None:
                    link = await self._attempt()
                else:
                    link = await self._live(link)
        finally:
            for each in (link, self._link):
                if each is not None:
                    each.end("closed by us")
            self._link = None

    async def _live(self, link: Link) -> Link | None:
        """Own a link from `on_up` to `on_down`; return the one that replaces it, if any."""
        self._up(link)
        fresh = await self._watch(link)
        self._link = None
        if link.proved:
            self._backoff.reset()
        self._listener.on_down(link.conn, link.ended.result())
        await link.gone()
        if link.error is not None:
            raise link.error
        return fresh

    def _up(self, link: Link) -> None:
        self._link = link
        self.conn = next(self._options.numbers)
        self.connects += 1
        try:
            if not self._spec.needs_login:
                for frame in self._spec.hello:
                    link.send(frame)
            self._listener.on_up(self.conn)
        except Down as error:
            link.end(str(error))
        link.open(self._listener.on_frame, self.conn)

    async def _watch(self, link: Link) -> Link | None:
        """Wait until the link ends, by itself or because it is old and a fresh one is there."""
        await asyncio.wait((link.ended,), timeout=self._spec.max_age_ns / _S)
        while not link.ended.done():
            fresh = await self._replacement(link) if self._may_replace() else None
            if fresh is not None:
                link.end("replaced before the exchange cuts it")
                return fresh
            await asyncio.wait((link.ended,), timeout=_REPLACE_LOOK_S)
        return None

    async def _replacement(self, link: Link) -> Link | None:
        """Connect beside a live link; given up at once when that link ends meanwhile."""
        connecting = asyncio.create_task(self._connect())
        try:
            await asyncio.wait((link.ended, connecting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not connecting.done():
                connecting.cancel()
        await asyncio.wait((connecting,))
        return None if connecting.cancelled() else connecting.result()

    async def _attempt(self) -> Link | None:
        """Wait out the backoff (none before the first attempt), then connect; None: it failed."""
        delay = self._backoff.next() if self._tried else 0.0
        self._tried = True
        if await self._pause(delay):
            return None
        return await self._connect()

    async def _connect(self) -> Link | None:
        loop = asyncio.get_running_loop()
        if await self._pause(self._options.budget.book(loop.time())):
            return None
        try:
            self._spec = await self._ask()
            return await connect(
                self._spec.url,
                self._spec.keepalive,
                self._options.tls,
                self._options.allowed,
                self._options.max_message,
            )
        except RateLimited as error:
            self.last_failure = str(error)
            await self._pause(error.retry_after)
        except ExchangeError as error:
            self.last_failure = str(error)
        return None

    async def _ask(self) -> SocketSpec:
        if isinstance(self._source, SocketSpec):
            return self._source
        return await self._source()

    async def _pause(self, seconds: float) -> bool:
        """Sleep; True when closed meanwhile."""
        if seconds > 0 and not self._closing.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._closing.wait()
            except TimeoutError:
                return False
        return self._closing.is_set()
