"""What is said of our orders: each event moves the order, then its rule hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.engine import checks_risk
from runner.engine.cancels import send_cancel, still_open
from runner.engine.commands import Query, Topic
from runner.engine.events import (
    Ack,
    Amended,
    AmendReply,
    CancelReply,
    Done,
    Fill,
    Found,
    Reject,
    Unknown,
)
from runner.engine.order import Order, OrderState, What
from runner.engine.orders import amend_window_over

if TYPE_CHECKING:
    from runner.engine.desk import Desk

ALIVE = frozenset({"open", "partial"})
"""statuses in which the exchange still works an order"""


def on_ack(desk: Desk, event: Ack) -> None:
    """The exchange has it."""
    order = _find(desk, event.cid, "ack")
    if order is None:
        return
    was = order.state
    order.exchange_id = order.exchange_id or event.exchange_id
    if order.meet(What.ACK):
        _revived(desk, order, was)
        _moved(desk, order)
    elif order.state is OrderState.REJECTED:
        i = order.intent
        desk.record("alarm", code="late", text=f"{i.cid} was rejected, then acknowledged")
        desk.emit(
            Query(
                cid=i.cid,
                exchange=i.exchange,
                market=i.market,
                symbol=i.symbol,
                attempt=1,
                protective=order.protective,
            )
        )


def on_reject(desk: Desk, event: Reject) -> None:
    """A definitive no. Against an order that is known to exist it is asked about instead."""
    order = _find(desk, event.cid, "reject")
    if order is None:
        return
    if order.meet(What.REJECT):
        order.code, order.text = event.code or event.outcome, event.text
        order.by_terms = event.by_terms
        if not event.by_terms:
            desk.limits.on_reject()
        _moved(desk, order)
    elif not order.settled:
        desk.orders.ask(order)


def on_unknown(desk: Desk, event: Unknown) -> None:
    """It may or may not exist."""
    order = _find(desk, event.cid, "unknown")
    if order is None:
        return
    if order.meet(What.UNKNOWN):
        order.text = event.why
        _moved(desk, order)
        _unknowns(desk)
    elif not order.settled and order.immediate:
        desk.orders.ask(order)


def on_fill(desk: Desk, event: Fill) -> None:
    """Apply an execution exactly once, in any state."""
    order = desk.orders.all.get(event.cid)
    if order is None:
        _foreign_fill(desk, event)
        return
    intent = order.intent
    key = fill_key(event)
    was, over = order.state, order.filled + event.lots > order.most
    if key in desk.orders.seen_fills or not order.take(event):
        return
    desk.orders.seen_fills[key] = None
    ledger = desk.ledgers.book(intent.rule, intent.market, intent.side, event, desk.price_of)
    desk.spending.book(desk, intent, event)
    desk.rules.last_fill[intent.market] = desk.now
    asset, amount = checks_risk.need(desk, intent, event.price)
    if not intent.reduce_only:
        taken = amount * event.lots / intent.lots
        desk.venues[intent.exchange].spend(asset, taken, desk.now)
    desk.record(
        "fill", key=key, cid=event.cid, rule=intent.rule, market=intent.market,
        side=intent.side.value, lots=event.lots, price=event.price, fee=event.fee,
        fee_asset=event.fee_asset, maker=event.maker, source=event.source, position=ledger.lots,
    )  # fmt: skip
    if over:
        text = f"overfill: {intent.cid} filled {order.filled} / {order.most} lots"
        desk.record("alarm", code="overfill", text=text)
        desk.tell("page", text, Topic.ACCOUNT)
    _revived(desk, order, was)
    _moved(desk, order, filled=True)
    desk.limits.evaluate()


def fill_key(event: Fill) -> str:
    """Return what names an execution for ever: client ids are unique over all runs."""
    return f"{event.cid}:{event.trade_id}"


def on_done(desk: Desk, event: Done) -> None:
    """The exchange says that it is over."""
    order = _find(desk, event.cid, "done")
    if order is None:
        return
    was = order.state
    if order.end(event.end, event.filled_lots, event.code):
        if order.state is OrderState.REJECTED:
            desk.limits.on_reject()
        _revived(desk, order, was)
        _moved(desk, order)


def on_found(desk: Desk, event: Found) -> None:
    """The answer to a query."""
    order = _find(desk, event.cid, "found")
    if order is None:
        return
    if event.order is None:
        if not order.terminal:
            desk.orders.not_found(order)
        return
    was = order.state
    if order.see(event.order):
        if order.state is OrderState.REJECTED:
            order.code = order.code or "rejected"
        _revived(desk, order, was)
        _moved(desk, order)
    if event.order.status in ALIVE:
        if order.amend_doubt and amend_window_over(order, desk.now):
            order.keep()  # shown as it was, and nothing of the change is on its way any more
            amended(desk, order)
        if order.state is OrderState.REJECTED:
            undead(desk, order)
        still_open(desk, order)


def on_cancel_reply(desk: Desk, event: CancelReply) -> None:
    """Accepted: the end comes by itself. Refused: the order is asked about, never assumed gone."""
    order = _find(desk, event.cid, "cancel_reply")
    if order is not None and not event.ok and not order.settled:
        desk.orders.ask(order)


def on_amend_reply(desk: Desk, event: AmendReply) -> None:
    """Taken: the exchange's word on the order follows. Refused: it stays as it was, and is asked
    about, for it may be over. Anything else: it may have happened."""
    order = _find(desk, event.cid, "amend_reply")
    if order is None or order.pending is None:
        return
    if event.ok:
        return
    if event.outcome == "unknown":
        desk.orders.doubt_amendment(order)
        return
    order.keep()
    desk.record("amend_refused", cid=event.cid, code=event.code, text=event.text)
    desk.rules.amend_answered(order, False)
    if not order.settled and event.code != "not_sent":
        desk.orders.ask(order)
    desk.rules.on_order(order, filled=False)


def on_amended(desk: Desk, event: Amended) -> None:
    """The exchange shows an order with a price and a quantity."""
    order = _find(desk, event.cid, "amended")
    if order is not None and not order.terminal and order.show(event.lots, event.ticks, event.ts):
        amended(desk, order)


def amended(desk: Desk, order: Order) -> None:
    """Let everybody know that an order is another now."""
    desk.orders.changed(order)
    desk.record("changed", cid=order.intent.cid, lots=order.lots, ticks=order.ticks)
    desk.rules.amend_answered(order, True)
    desk.rules.on_order(order, filled=False)


def silent(desk: Desk, order: Order) -> None:
    """Nothing was heard of it in time: its rule must know that it is in doubt."""
    run = desk.rules.runs.get(order.intent.rule)
    if run is None or not desk.rules.known_to_all(run):
        return
    _unknowns(desk)
    desk.rules.on_order(order, filled=False)


def undead(desk: Desk, order: Order) -> None:
    """The exchange shows an order open that it said was over: nobody waits for it, end it."""
    if not order.undead:
        order.undead = True
        text = f"{order.intent.cid} was {order.state} and is open at the exchange: cancelled"
        desk.record("alarm", code="undead", text=text)
        desk.tell("page", text, Topic.UNKNOWN)
    send_cancel(desk, order)


def lost(desk: Desk, order: Order) -> None:
    """It never arrived, proven: the rule hears of it as of a reject."""
    desk.record("order", cid=order.intent.cid, state=order.state.value, code=order.code)
    desk.rules.on_order(order, filled=False)


def _find(desk: Desk, cid: str, what: str) -> Order | None:
    order = desk.orders.all.get(cid)
    if order is None:
        desk.record("stray", cid=cid, what=what)
    return order


def _moved(desk: Desk, order: Order, filled: bool = False) -> None:
    desk.orders.changed(order)
    desk.record(
        "order", cid=order.intent.cid, state=order.state.value, filled=order.filled, cum=order.cum,
        code=order.code,
    )  # fmt: skip
    desk.rules.on_order(order, filled)


def _unknowns(desk: Desk) -> None:
    desk.limits.on_unknown(sum(o.state is OrderState.UNKNOWN for o in desk.orders.open.values()))


def _revived(desk: Desk, order: Order, was: OrderState) -> None:
    if was in (OrderState.LOST, OrderState.REJECTED) and order.state is not was:
        text = f"{order.intent.cid} was {was} and is {order.state}: adopted"
        desk.record("alarm", code="late", text=text)
        desk.tell("page", text, Topic.UNKNOWN)


def _foreign_fill(desk: Desk, event: Fill) -> None:
    """A fill of no order we know: an earlier run's that its journal does not hold, or not ours."""
    if fill_key(event) in desk.orders.seen_fills:
        return
    for prefix in desk.prefixes.values():
        if event.cid.startswith(prefix):
            desk.orders.seen_fills[fill_key(event)] = None  # told once, whatever pictures repeat
            desk.record("alarm", code="orphan_fill", text=f"{event.cid} {event.trade_id}")
            text = f"fill {event.trade_id} of the unknown order {event.cid}"
            desk.tell("page", text, Topic.ACCOUNT)
            return
    desk.record("stray", cid=event.cid, what="fill")
