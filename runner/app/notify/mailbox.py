"""One sink's letters in turn: a slow or dead sink delays its own and nobody else's."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final

from runner.app.notify.letter import Letter
from runner.app.notify.sinks import Sink
from runner.base.errors import ExchangeError, RateLimited
from runner.net.backoff import Backoff

TRIES: Final = 3
MOST: Final = 64
"""letters that may wait; the oldest gives way and is counted"""
_LONGEST_WAIT_S: Final = 30.0


class Mailbox:
    """Letters that wait for one sink. `notice` writes a line to the run's log."""

    def __init__(self, sink: Sink, rng: random.Random, notice: Callable[[str], None]) -> None:
        self.sink = sink
        self.sent = 0
        self.failed = 0
        self.dropped = 0
        self.last_failure = ""
        self._letters: deque[Letter] = deque()
        self._rng = rng
        self._notice = notice
        self._filled = asyncio.Event()

    def put(self, letter: Letter) -> None:
        """Let a letter wait for its turn."""
        if len(self._letters) >= MOST:
            self._letters.popleft()
            self.dropped += 1
        self._letters.append(letter)
        self._filled.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self.drain()
            self._filled.clear()
            await self._filled.wait()

    async def drain(self) -> None:
        """Deliver what waits now; a letter leaves the box when it was sent or given up."""
        while self._letters:
            letter = self._letters[0]
            await self._hand(letter)
            if self._letters and self._letters[0] is letter:
                self._letters.popleft()

    async def _hand(self, letter: Letter) -> None:
        backoff = Backoff(self._rng, base=1.0)
        for attempt in range(1, TRIES + 1):
            try:
                await self.sink.send(letter)
            except ExchangeError as error:
                self.last_failure = str(error)
                if attempt < TRIES:
                    wait = error.retry_after if isinstance(error, RateLimited) else 0.0
                    await asyncio.sleep(min(max(wait, backoff.next()), _LONGEST_WAIT_S))
            else:
                self.sent += 1
                return
        self.failed += 1
        self._notice(f"a message about {letter.topic} was not taken: {self.last_failure}")
