"""Feeds over WebSocket: connect, subscribe, read, and again with a growing pause when it ends.

Every frame and every answer to our ping is a sign of life. The library is `websockets`, not the one
that exchanges are read with: what comes here is rare, and is nobody's hot path.
"""

from __future__ import annotations

import asyncio
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException

from runner.base.secret import Secret, redact
from runner.net.backoff import Backoff
from runner.sources.api import Listener
from runner.sources.door import Flaw, Refused, parse
from runner.sources.feeds import Intake, counts, items_of
from runner.spec.source_plan import SourcePlan, WebSocketPlan

LARGEST_FRAME: Final = 1 << 20
PING_S: Final = 20.0
OPEN_S: Final = 10.0


class Feed:
    """One WebSocket source; `run` never returns."""

    def __init__(
        self, plan: SourcePlan, token: Secret | None, listener: Listener, backoff: Backoff
    ) -> None:
        assert isinstance(plan.options, WebSocketPlan)
        self._plan, self._options, self._listener = plan, plan.options, listener
        self._token = token
        self._backoff = backoff
        self._intake = Intake(plan, listener)

    async def run(self) -> None:
        """Keep the connection up."""
        while True:
            try:
                await self._once()
                reason = "the connection was closed"
            except (OSError, WebSocketException, InvalidURI, InvalidHandshake, TimeoutError) as e:
                reason = redact(f"{type(e).__name__}: {e}")[:200]
            self._listener.pulse(self._plan.name, False, reason)
            await asyncio.sleep(self._backoff.next())

    async def _once(self) -> None:
        headers = {}
        auth = self._options.auth
        if auth is not None and self._token is not None:
            bearer = auth.header.lower() == "authorization"
            headers[auth.header] = ("Bearer " if bearer else "") + self._token.reveal()
        async with connect(
            self._options.url,
            additional_headers=headers,
            max_size=LARGEST_FRAME,
            open_timeout=OPEN_S,
            ping_interval=None,
            close_timeout=1,
        ) as socket:
            token = "" if self._token is None else self._token.reveal()
            for text in self._options.subscribe:
                await socket.send(text.replace("{token}", token))
            self._listener.pulse(self._plan.name, True)
            ping = asyncio.create_task(self._ping(socket))
            try:
                async for frame in socket:
                    self._frame(frame)
            finally:
                ping.cancel()
                await asyncio.gather(ping, return_exceptions=True)

    async def _ping(self, socket: ClientConnection) -> None:
        """Ask for signs of life; a peer that gives none is left."""
        while True:
            await asyncio.sleep(PING_S)
            try:
                async with asyncio.timeout(PING_S):
                    await (await socket.ping())
            except (TimeoutError, WebSocketException):
                await socket.close()
                return
            self._listener.pulse(self._plan.name, True)

    def _frame(self, frame: str | bytes) -> None:
        body = frame.encode() if isinstance(frame, str) else frame
        self._backoff.reset()
        self._listener.pulse(self._plan.name, True)
        try:
            message = parse(body)
        except Refused as flaw:
            self._listener.flawed(self._plan.name, flaw)
            return
        if not counts(message, self._options.only):
            return
        found = items_of(message, self._options.items)
        if not found and self._options.only is not None:
            text = "nothing stands where `items` points"
            self._listener.flawed(self._plan.name, Refused(Flaw.ABSENT, text))
        self._intake.take(found)
