"""The exchange's dead-man switch: it cancels our orders when it has not heard from us (R-37).

Theory of operation. Each traded symbol has a countdown at the exchange, set anew four times in its
length and at least every 30 s. It runs out when the process hangs or dies, or the network does:
then the symbol's plain orders are cancelled, protective ones stay (R-77). A clean stop turns it
off, else it would cancel what a person or `on_stop: keep` leaves there. A stop that leaves orders
unresolved leaves it armed. While the exchange refuses our key it is not set anew: it may refuse our
cancels too, and this one is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from runner.app.rest import Rest
from runner.base.clock import NS_PER_MS, NS_PER_S, Clock
from runner.base.errors import ExchangeError
from runner.exchanges.api import HttpRequest, OrderCodec
from runner.net.budget import Priority

REFRESH_EVERY: Final = 30 * NS_PER_S
_AGAIN: Final = 5 * NS_PER_S


class DeadMan:
    """See the module. `length_ns` None: the file does not ask for it."""

    def __init__(
        self,
        codec: OrderCodec,
        rest: Rest,
        now_ms: Callable[[], int],
        clock: Clock,
        symbols: Sequence[str],
        length_ns: int | None,
        notice: Callable[[str], None],
    ) -> None:
        self._codec = codec
        self._rest = rest
        self._now_ms = now_ms
        self._clock = clock
        self._symbols = tuple(symbols)
        self._length_ns = length_ns or 0
        self._notice = notice
        self._next = 0
        self._busy = False
        self._told = False

    def due(self, now: int) -> bool:
        """Whether it is to be set anew; the next call says no until that has been done."""
        if not self._length_ns or self._busy or now < self._next:
            return False
        self._busy = True
        return True

    async def refresh(self) -> None:
        """Set every countdown anew; what fails is told once and tried again soon."""
        self._next = self._clock.mono() + min(REFRESH_EVERY, self._length_ns // 4)
        try:
            await self._set(self._length_ns // NS_PER_MS)
            self._told = False
        except ExchangeError as error:
            self._next = self._clock.mono() + min(_AGAIN, self._length_ns // 4)
            if not self._told:
                self._told = True
                self._notice(f"the dead-man switch could not be set: {error}")
        finally:
            self._busy = False

    async def disarm(self) -> None:
        """Turn it off; nothing when it was never asked for."""
        if not self._length_ns:
            return
        self._busy = True
        try:
            await self._set(0)
        except ExchangeError as error:
            seconds = self._length_ns // NS_PER_S
            why = f"the dead-man switch could not be turned off: {error}"
            self._notice(f"{why}; within {seconds} s the exchange cancels what rests there")

    async def _set(self, ms: int) -> None:
        for symbol in self._symbols:
            answer = await self._rest.ask(partial(self._request, symbol, ms), Priority.CANCEL)
            if answer.status != 200:
                raise self._rest.refusal("dead_man", answer)

    def _request(self, symbol: str, ms: int) -> HttpRequest:
        request = self._codec.dead_man(symbol, ms, self._now_ms())
        assert request is not None  # E0512 elsewhere
        return request
