"""What the paper exchange tells of an order or of the account, as a private stream would say it."""

from __future__ import annotations

from runner.engine.events import Account, Ack, Amended, AmendReply, Done, End
from runner.exchanges.paper.account import PaperAccount
from runner.exchanges.paper.orders import PaperOrder, Stage
from runner.exchanges.paper.rules import Refusal, VenueRules
from runner.market.instruments import Instrument


def ack(order: PaperOrder) -> Ack:
    """Tell that an order was taken."""
    return Ack(cid=order.cid, exchange_id=order.exchange_id, ts=order.ts)


def amend_taken(order: PaperOrder) -> AmendReply:
    """Tell that a change was taken."""
    return AmendReply(cid=order.cid, ok=True, ts=order.ts)


def amend_refused(cid: str, no: Refusal) -> AmendReply:
    """Return the refusal of a change."""
    return AmendReply(cid=cid, ok=False, outcome="rejected", code=no.code, text=no.text)


def amended(order: PaperOrder) -> Amended:
    """Tell what an order is after its change."""
    return Amended(cid=order.cid, lots=order.size, ticks=order.ticks, ts=order.ts)


def ended(order: PaperOrder, rules: VenueRules, code: str = "", end: End | None = None) -> Done:
    """End an order and tell it: as filled, else as `end`, else as what did not fill at once."""
    if order.left == 0:
        end, code = End.FILLED, ""
    elif end is None:
        end, code = rules.ioc_end, code or rules.ioc_code
    order.stage = Stage(str(end))
    return Done(cid=order.cid, end=end, filled_lots=order.filled, code=code, ts=order.ts)


def account_changed(exchange: str, account: PaperAccount, instrument: Instrument) -> Account:
    """Return the part of the account that a fill changed."""
    assets = (instrument.base, instrument.quote)
    held = tuple(p for p in account.positions() if p.symbol == instrument.symbol)
    return Account(
        exchange=exchange,
        balances=tuple(b for b in account.balances() if b.asset in assets),
        positions=held,
        equity=float(account.equity(instrument.quote)),
        margin_used=float(account.margin_used(instrument.quote)),
    )


def account_whole(exchange: str, account: PaperAccount, quote: str) -> Account:
    """Return the whole account, as a full answer would show it."""
    return Account(
        exchange=exchange,
        balances=account.balances(),
        positions=account.positions(),
        equity=float(account.equity(quote)),
        margin_used=float(account.margin_used(quote)),
        full=True,
        source="paper",
    )
