"""The order side of a dry-run: every exchange of the plan on paper, behind the host's `Orders`.

There is no codec, no signer and no socket in here; what cannot be built cannot send (R-41).
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.engine.commands import Cancel, CancelAll, Query, Reconcile
from runner.engine.events import Event, MarketEvent
from runner.engine.proof import Journaled
from runner.exchanges.paper.exchange import PaperExchange


class PaperOrders:
    """Routes by exchange and by market."""

    def __init__(
        self, exchanges: Mapping[str, PaperExchange], exchange_of: Mapping[str, str]
    ) -> None:
        self._exchanges = dict(exchanges)
        self._all = tuple(exchanges.values())
        self._of_market = {
            market: exchanges[name] for market, name in exchange_of.items() if name in exchanges
        }

    @property
    def due(self) -> int:
        """Monotonic ns of the next thing to happen at any exchange."""
        return min(exchange.due for exchange in self._all)

    def on_timer(self, now: int, wall: int) -> list[Event]:
        """Return what reaches us by `now`."""
        return [
            event for each in self._all if each.due <= now for event in each.on_timer(now, wall)
        ]

    def on_market(self, event: Event) -> None:
        """Let the exchange of the event's market follow it."""
        if isinstance(event, MarketEvent):
            exchange = self._of_market.get(event.market)
            if exchange is not None:
                exchange.on_market(event)

    def send(self, orders: list[Journaled], t: int, wall: int) -> None:
        """Hand each order to its exchange, in order."""
        for order in orders:
            self._exchanges[order.intent.exchange].send((order,), t, wall)

    def cancel(self, command: Cancel, t: int, wall: int) -> None:
        self._exchanges[command.exchange].cancel(command.cid, command.symbol, t)

    def cancel_all(self, command: CancelAll, t: int, wall: int) -> None:
        self._exchanges[command.exchange].cancel_all(command.symbol, t)

    def query(self, command: Query, t: int, wall: int) -> None:
        self._exchanges[command.exchange].query(command.cid, command.symbol, command.attempt, t)

    def reconcile(self, command: Reconcile, t: int, wall: int) -> None:
        self._exchanges[command.exchange].reconcile(t)
