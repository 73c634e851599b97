"""The order side of `start`: each command goes to the link of its exchange."""

from __future__ import annotations

from collections.abc import Mapping

from runner.app.order_link import OrderLink
from runner.base.crash import crash_point
from runner.engine.commands import Cancel, CancelAll, Purpose, Query, Reconcile
from runner.engine.proof import Journaled

_BEFORE = {Purpose.REPAIR: "repair_before_send", Purpose.CLOSE: "leaving_before_send"}
_AFTER = {Purpose.REPAIR: "repair_after_send", Purpose.CLOSE: "leaving_after_send"}


class LiveOrders:
    """Fulfils the host's `Orders` with one link per exchange."""

    def __init__(self, links: Mapping[str, OrderLink]) -> None:
        self._links = dict(links)

    def send(self, orders: list[Journaled], t: int, wall: int) -> None:
        """Sign and send all orders of a group in one pass, or none of them."""
        purpose = orders[0].intent.purpose
        if purpose in _BEFORE:
            crash_point(_BEFORE[purpose])
        why = self._admit(orders)
        if why:
            for order in orders:
                self._links[order.intent.exchange].refuse(order, why)
            return
        for number, order in enumerate(orders):
            self._links[order.intent.exchange].send(order, t, wall)
            if number == 0:
                crash_point("after_first_leg_sent")
        crash_point("after_last_leg_sent")
        if purpose in _AFTER:
            crash_point(_AFTER[purpose])
        for order in orders:
            self._links[order.intent.exchange].sent()

    def amend(self, order: Journaled, t: int, wall: int) -> None:
        """Sign and send a change of one order."""
        self._links[order.intent.exchange].amend(order)

    def cancel(self, command: Cancel, t: int, wall: int) -> None:
        self._links[command.exchange].cancel(command)

    def cancel_all(self, command: CancelAll, t: int, wall: int) -> None:
        self._links[command.exchange].cancel_all(command)

    def query(self, command: Query, t: int, wall: int) -> None:
        self._links[command.exchange].query(command)

    def reconcile(self, command: Reconcile, t: int, wall: int) -> None:
        self._links[command.exchange].reconcile()

    def _admit(self, orders: list[Journaled]) -> str:
        """Return why the group must not leave; one leg alone would be worse than none."""
        first = orders[0].intent.exchange
        if len(orders) == 1 or all(order.intent.exchange == first for order in orders):
            return self._links[first].admit(orders)
        by_exchange: dict[str, list[Journaled]] = {}
        for order in orders:
            by_exchange.setdefault(order.intent.exchange, []).append(order)
        for name, legs in by_exchange.items():
            why = self._links[name].admit(legs)
            if why:
                return f"{name}: {why}"
        return ""
