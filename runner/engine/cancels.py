"""Cancelling: an order whose end is wanted is cancelled until it has ended (R-20).

A cancel is answered by the order's own end. One that was refused, or of which nothing is heard,
leads to questions; when an answer or a picture shows the order open, it is cancelled again, after
waits that double up to 10 s. After the third cancel a person is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.engine.commands import Cancel, Topic
from runner.engine.timers import MS, SECOND

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.engine.order import Order

FIRST_WAIT: Final = 250 * MS
LONGEST_WAIT: Final = 10 * SECOND
TELL_AFTER: Final = 3

Subject = tuple["Desk", "Order", int]


def cancel_order(desk: Desk, order: Order) -> None:
    """Ask for the end of an order; when nothing is heard of it, it is queried."""
    order.cancel_asked = True
    order.cancels += 1
    order.cancelled_at = desk.now
    desk.rules.touch(order.intent.rule)
    send_cancel(desk, order)
    desk.timers.at(desk.now + SECOND, _silent, (desk, order, order.cancels))


def send_cancel(desk: Desk, order: Order) -> None:
    """Send one cancel, whatever becomes of it."""
    i = order.intent
    desk.emit(
        Cancel(
            cid=i.cid,
            exchange=i.exchange,
            market=i.market,
            symbol=i.symbol,
            protective=order.protective,
        )
    )


def still_open(desk: Desk, order: Order) -> None:
    """The exchange shows an order open; if its end is wanted, cancel it again in due time."""
    if not order.cancel_asked or order.terminal:
        return
    wait = min(FIRST_WAIT << min(order.cancels - 1, 10), LONGEST_WAIT)
    due = max(order.cancelled_at + wait, desk.now)
    desk.timers.at(due, _again, (desk, order, order.cancels))


def _again(subject: Subject) -> None:
    desk, order, count = subject
    if order.terminal or order.cancels != count:
        return
    if count == TELL_AFTER:
        text = f"{order.intent.cid} is still open after {count} cancels; going on"
        desk.tell("page", text, Topic.UNKNOWN)
    cancel_order(desk, order)


def _silent(subject: Subject) -> None:
    desk, order, count = subject
    if not order.settled and order.cancels == count:
        desk.orders.ask(order)
