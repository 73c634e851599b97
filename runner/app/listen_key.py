"""The listen key of a user stream: fetched for each connection, kept alive, replaced when lost.

Binance lets a key live for 60 minutes after it was fetched or kept; it is kept every 25, so that
one failure costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runner.app.rest import Rest
from runner.base.clock import NS_PER_S, Clock
from runner.base.errors import ExchangeError, Rejected
from runner.exchanges.api import OrderCodec
from runner.net.budget import Priority

KEEP_EVERY: Final = 25 * 60 * NS_PER_S
_AGAIN: Final = 60 * NS_PER_S


class ListenKey:
    """See the module. `lost` is called when the exchange does not know the key any more."""

    def __init__(
        self,
        codec: OrderCodec,
        rest: Rest,
        clock: Clock,
        lost: Callable[[], None],
        notice: Callable[[str], None],
    ) -> None:
        self.needed = codec.listen_key(None) is not None
        self._codec = codec
        self._rest = rest
        self._clock = clock
        self._lost = lost
        self._notice = notice
        self._key: str | None = None
        self._keep_at = 0
        self._keeping = False

    async def fetch(self) -> str:
        """Return a key for a new connection; ExchangeError (Rejected: a person must act)."""
        request = self._codec.listen_key(None)
        assert request is not None
        self._key = self._codec.parse_listen_key(await self._rest.fetch(request, Priority.CANCEL))
        self._keep_at = self._clock.mono() + KEEP_EVERY
        return self._key

    def due(self, now: int) -> bool:
        """Whether the key should be kept now; the next call says no until that has been done."""
        if self._key is None or self._keeping or now < self._keep_at:
            return False
        self._keeping = True
        return True

    async def keep(self) -> None:
        """Have the key live on."""
        request = self._codec.listen_key(self._key)
        assert request is not None
        self._keep_at = self._clock.mono() + KEEP_EVERY
        try:
            await self._rest.fetch(request, Priority.CANCEL)
        except Rejected:
            self._lost()
        except ExchangeError as error:
            self._keep_at = self._clock.mono() + _AGAIN
            self._notice(f"keeping the listen key: {error}")
        finally:
            self._keeping = False
