"""What a codec remembers between a request and its answer, and between an order's two names.

Both are bounded: an answer that never comes must not keep its request for ever, and an order id is
needed only as long as fills of it may arrive.
"""

from __future__ import annotations

from typing import Final

_REQUESTS: Final = 4_096
_NAMES: Final = 65_536


class Pending:
    """Requests on the trade socket that wait for an answer: id -> (operation, client id)."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str, str]] = {}

    def add(self, request_id: str, operation: str, cid: str) -> None:
        """Note a request; the oldest goes when there are too many."""
        if len(self._waiting) >= _REQUESTS:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[request_id] = (operation, cid)

    def take(self, request_id: str) -> tuple[str, str]:
        """Return (operation, client id) of an answered request; ("", "") when unknown."""
        return self._waiting.pop(request_id, ("", ""))


class Names:
    """Client ids by the exchange's order id."""

    __slots__ = ("_by_exchange_id",)

    def __init__(self) -> None:
        self._by_exchange_id: dict[str, str] = {}

    def learn(self, exchange_id: str, cid: str) -> None:
        """Note both names of an order."""
        if not exchange_id or not cid:
            return
        if len(self._by_exchange_id) >= _NAMES:
            del self._by_exchange_id[next(iter(self._by_exchange_id))]
        self._by_exchange_id[exchange_id] = cid

    def cid(self, exchange_id: str) -> str:
        """Return the client id; "" when it was never told."""
        return self._by_exchange_id.get(exchange_id, "")
