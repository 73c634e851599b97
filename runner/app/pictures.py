"""Reading the account again and again: when somebody asks, and before it is too long ago.

Theory of operation. One task, one picture at a time. `want` asks for one that is begun after the
call: asked for while one is being read, another follows it, because what happened meanwhile may not
be in it. A reading that fails is tried again, later each time, until it succeeds; a failure is told
to the owner, for whom an old picture is no picture.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, Protocol, TypeVar

from runner.base.clock import NS_PER_S, Clock
from runner.base.errors import ExchangeError
from runner.engine.events import Reconciled

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
Seen = TypeVar("Seen")
Read = Callable[[], Awaitable[Reconciled]]


class Subject(Protocol[Seen]):
    """Whose account it is. `Seen` is what a picture vouches for: noted when it is begun."""

    def picture_every(self) -> int | None:
        """Return after how many ns a picture is too old; None: only when asked."""
        ...

    def begun(self) -> Seen:
        """A picture is begun."""
        ...

    def pictured(self, picture: Reconciled, seen: Seen) -> None:
        """A picture is complete."""
        ...

    def no_picture(self, error: ExchangeError, since: int) -> None:
        """A picture failed; the last good one was begun at `since` (monotonic ns)."""
        ...


class Pictures(Generic[Seen]):
    """See the module."""

    def __init__(self, subject: Subject[Seen], read: Read, clock: Clock) -> None:
        self._subject = subject
        self._read = read
        self._clock = clock
        self._wanted = asyncio.Event()
        self._last = 0

    def want(self) -> None:
        """Ask for a picture that is begun from now on."""
        self._wanted.set()

    async def run(self) -> None:
        """Read as it becomes due; ends by cancellation."""
        pause = FIRST_PAUSE_S
        while True:
            await self._until_due()
            self._wanted.clear()
            at, seen = self._clock.mono(), self._subject.begun()
            try:
                picture = await self._read()
            except ExchangeError as error:
                self._subject.no_picture(error, self._last)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                self._wanted.set()
                continue
            pause = FIRST_PAUSE_S
            self._last = at
            self._subject.pictured(picture, seen)

    async def _until_due(self) -> None:
        every = self._subject.picture_every()
        left = None if every is None else (self._last + every - self._clock.mono()) / NS_PER_S
        if left is not None and left <= 0:
            return
        try:
            async with asyncio.timeout(left):
                await self._wanted.wait()
        except TimeoutError:
            return
