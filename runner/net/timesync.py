"""How far the exchange's clock is from ours, and whether that may be relied on (R-06).

Theory of operation. A measurement asks the exchange for its time at least five times and believes
the answer with the shortest round trip: its stamp was taken somewhere within that trip, so half of
it is the uncertainty. Requests are signed with local wall time + offset. The clock is good unless
the uncertainty is above 100 ms, the offset moved by more than 250 ms since the measurement before
(the next one that agrees clears it), or the last good measurement is older than 5 min. A large but
stable offset is only worth a warning. A step of the local wall clock, seen against the monotonic
clock once a second, causes a measurement at once, as does a clock reject (`again`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from runner.base.clock import NS_PER_MS, NS_PER_S, Clock
from runner.base.errors import ExchangeError
from runner.engine.events import ClockReading

MAX_UNCERTAINTY: Final = 100 * NS_PER_MS
MAX_MOVE: Final = 250 * NS_PER_MS
MAX_AGE: Final = 300 * NS_PER_S
LARGE_OFFSET: Final = 5 * NS_PER_S
REFRESH_NS: Final = 30 * NS_PER_S
SAMPLES: Final = 5
_ATTEMPTS: Final = 8
_LOOK_S: Final = 1.0

Ask = Callable[[], Awaitable[int]]
"""Fetch the exchange's wall clock in ns; ExchangeError when it gives none."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One question: the offset it suggests, and how long the answer took (ns)."""

    offset: int
    round_trip: int


class TimeSync:
    """The clock of one exchange. `emit` gets a ClockReading after each measurement or trip."""

    def __init__(
        self, exchange: str, ask: Ask, clock: Clock, emit: Callable[[ClockReading], None]
    ) -> None:
        self._exchange = exchange
        self._ask = ask
        self._clock = clock
        self._emit = emit
        self._wanted = asyncio.Event()
        self._measured_at: int | None = None
        self._origin = clock.wall() - clock.mono()
        self._next = 0
        self.offset = 0
        self.uncertainty = 0
        self.ok = False
        self.why = "never measured"
        """why the clock is not good, or a warning"""

    def now_ms(self) -> int:
        """Return the exchange's time in ms, as far as we know it: what requests are signed with."""
        return (self._clock.wall() + self.offset) // NS_PER_MS

    def again(self) -> None:
        """Measure at once: the exchange refused a time stamp."""
        self._wanted.set()

    async def run(self) -> None:
        """Measure now, every 30 s and when asked or stepped; ends by cancellation."""
        while True:
            self._wanted.clear()
            await self.measure()
            while not self._due():
                try:
                    async with asyncio.timeout(_LOOK_S):
                        await self._wanted.wait()
                    break
                except TimeoutError:
                    self.look()

    async def measure(self) -> bool:
        """Take one measurement; False (and nothing changed but `ok`) when it did not succeed."""
        self._next = self._clock.mono() + REFRESH_NS
        self._origin = self._clock.wall() - self._clock.mono()
        samples: list[Sample] = []
        for _ in range(_ATTEMPTS):
            try:
                samples.append(await self._sample())
            except ExchangeError as error:
                self.why = f"time request failed: {error}"
            if len(samples) == SAMPLES:
                self._take(min(samples, key=lambda each: each.round_trip))
                return True
        self.look()
        return False

    def look(self) -> None:
        """Notice a measurement grown old and a stepped local clock."""
        now = self._clock.mono()
        if abs(self._clock.wall() - now - self._origin) > MAX_MOVE:
            self._trip("the local clock was set")
            self.again()
        elif self._measured_at is None or now - self._measured_at > MAX_AGE:
            self._trip("no good measurement for 5 min")

    def _due(self) -> bool:
        return self._clock.mono() >= self._next or self._wanted.is_set()

    async def _sample(self) -> Sample:
        wall, start = self._clock.wall(), self._clock.mono()
        theirs = await self._ask()
        round_trip = self._clock.mono() - start
        return Sample(theirs - (wall + round_trip // 2), round_trip)

    def _take(self, best: Sample) -> None:
        self.uncertainty = best.round_trip // 2
        if self.uncertainty > MAX_UNCERTAINTY:
            if self._measured_at is None:
                self.offset = best.offset  # better than none; an earlier good one is better still
            self._say(False, f"uncertain by {self.uncertainty / NS_PER_MS:.0f} ms")
            return
        step = best.offset - self.offset if self._measured_at is not None else 0
        self.offset, self._measured_at = best.offset, self._clock.mono()
        if abs(step) > MAX_MOVE:
            self._say(False, f"the offset moved by {step / NS_PER_MS:+.0f} ms")
            self.again()
        elif abs(self.offset) > LARGE_OFFSET:
            self._say(True, f"warning: the offset is {self.offset / NS_PER_S:.1f} s")
        else:
            self._say(True, "")

    def _trip(self, why: str) -> None:
        if self.ok:
            self._say(False, why)

    def _say(self, ok: bool, why: str) -> None:
        self.ok, self.why = ok, why
        self._emit(
            ClockReading(
                t=self._clock.mono(),
                wall=self._clock.wall(),
                exchange=self._exchange,
                offset=self.offset,
                uncertainty=self.uncertainty,
                ok=ok,
            )
        )
