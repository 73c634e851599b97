"""One timer of the event loop for all timers of a run: it rings when the driver's next is due."""

from __future__ import annotations

import asyncio

from runner.app.driver import Driver
from runner.app.host import FAR
from runner.base.clock import NS_PER_S, Clock


class Alarm:
    """Set after each event; moved only when something is due earlier than it would ring."""

    __slots__ = ("_at", "_clock", "_driver", "_handle")

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock
        self._at = FAR
        self._handle: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Make sure that it rings by the time the driver's next timer is due."""
        due = self._driver.due
        if due >= self._at:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._at = due
        delay = max(0, due - self._clock.mono()) / NS_PER_S
        self._handle = asyncio.get_running_loop().call_later(delay, self._ring)

    def cancel(self) -> None:
        """Ring no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _ring(self) -> None:
        self._handle, self._at = None, FAR
        self._driver.advance(self._clock.mono(), self._clock.wall())
        self.set()
