"""Answers of Binance USD-M judged and read: the verdict on a request, and the private REST bodies.

The verdict has five values (R-16). What is not documented as definitive leaves a place UNKNOWN,
a time-out of the exchange inside an HTTP 200 or 400 included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from runner.base.errors import ExchangeError, Rejected
from runner.engine.events import (
    Account,
    Ack,
    Amended,
    AmendReply,
    Balance,
    CancelReply,
    Done,
    End,
    Event,
    OrderView,
    Position,
    Reject,
    Unknown,
)
from runner.exchanges.api import AccountSetup, KeyFacts, MarketBinding, Outcome
from runner.exchanges.binance_common.errors import NOT_EXECUTED, UNCHANGED, USDM
from runner.exchanges.binance_usdm import wire
from runner.exchanges.binance_usdm.user import ENDS, UserStream
from runner.exchanges.wire import FOREIGN, MS, header_int, lots, number, parse, ticks

STATUSES: Final[Mapping[str, str]] = {
    "NEW": "open",
    "PENDING_NEW": "open",
    "PARTIALLY_FILLED": "partial",
    "FILLED": "filled",
    "CANCELED": "canceled",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
    "REJECTED": "rejected",
}
HEADERS: Final = (
    ("X-MBX-USED-WEIGHT-1M", "weight_1m", 2400),
    ("X-MBX-ORDER-COUNT-10S", "orders_10s", 300),
    ("X-MBX-ORDER-COUNT-1M", "orders_1m", 1200),
)
_INTERVALS: Final = {("ORDERS", "SECOND", 10): "orders_10s", ("ORDERS", "MINUTE", 1): "orders_1m",
                     ("REQUEST_WEIGHT", "MINUTE", 1): "weight_1m"}  # fmt: skip
BY_TERMS: Final = frozenset((-5021, -5022))
"""Refusals that an order asked for itself: fill-or-kill, post-only."""
_order = msgspec.json.Decoder(wire.Order, strict=False)
_failure = msgspec.json.Decoder(wire.Failure, strict=False)


def verdict(status: int, failure: wire.Failure) -> Outcome:
    """Judge an answer that is not a plain success."""
    if failure.code:
        return USDM.outcome(str(failure.code))
    if status == 503 and failure.msg in NOT_EXECUTED:
        return Outcome.REJECTED
    return Outcome.RATE_LIMITED if status in (403, 418) else Outcome.UNKNOWN


def failure_of(status: int, body: bytes) -> wire.Failure:
    """Read the error of a body; one without code when there is none to read."""
    try:
        failure = _failure.decode(body)
    except FOREIGN:
        return wire.Failure(msg=body[:200].decode("utf-8", "replace").strip())
    # "code": 200 is how cancel-all says that all went well
    return wire.Failure(msg=failure.msg) if failure.code > 0 else failure


def refusal(
    operation: str,
    cid: str,
    outcome: Outcome,
    status: int,
    failure: wire.Failure,
    t: int,
    wall: int,
) -> list[Event]:
    """Return the event that tells an order of an answer which is no success."""
    code = str(failure.code) if failure.code else f"http {status}"
    if not cid or operation not in ("place", "amend", "cancel"):
        return []
    if operation == "amend":
        # "No such order" says that nothing was changed; the order itself is asked about.
        gone = failure.code in (-2011, -2013)
        said = Outcome.REJECTED if gone else outcome
        return [
            AmendReply(cid=cid, ok=False, outcome=said.value, code=code, text=failure.msg, t=t,
                       wall=wall)
        ]  # fmt: skip
    if operation == "cancel":
        return [CancelReply(cid=cid, ok=False, code=code, text=failure.msg, t=t, wall=wall)]
    if outcome is Outcome.UNKNOWN:
        return [Unknown(cid=cid, why=f"{code} {failure.msg}".strip(), t=t, wall=wall)]
    return [
        Reject(cid=cid, outcome=outcome.value, code=code, text=failure.msg, t=t, wall=wall,
               by_terms=failure.code in BY_TERMS)
    ]  # fmt: skip


def success(
    operation: str, cid: str, order: wire.Order, binding: MarketBinding | None, t: int, wall: int
) -> list[Event]:
    """Return the events of an order that place, amend or cancel has answered with."""
    ts = order.updateTime * MS
    exchange_id = str(order.orderId)
    events: list[Event] = []
    if operation == "cancel":
        events.append(CancelReply(cid=cid, ok=True, ts=ts, t=t, wall=wall))
    elif operation == "amend":
        events.append(AmendReply(cid=cid, ok=True, ts=ts, t=t, wall=wall))
        if binding is not None and order.status not in ENDS:
            size = lots(binding.instrument, order.origQty)
            limit = ticks(binding.instrument, order.price)
            events.append(Amended(cid=cid, lots=size, ticks=limit, ts=ts, t=t, wall=wall))
    else:
        events.append(Ack(cid=cid, exchange_id=exchange_id, ts=ts, t=t, wall=wall))
    end = ENDS.get(order.status)
    if end is not None and binding is not None:
        filled = lots(binding.instrument, order.executedQty)
        code = "" if end in (End.FILLED, End.CANCELED) else order.status
        events.append(Done(cid=cid, end=end, filled_lots=filled, code=code, ts=ts, t=t, wall=wall))
    return events


def read_order(body: bytes) -> wire.Order | None:
    """Read a single order; None when the body is none."""
    try:
        return _order.decode(body)
    except FOREIGN:
        return None


def view(order: wire.Order, binding: MarketBinding | None) -> OrderView:
    """Show an order as the engine compares it; ExchangeError for a status of no known meaning.

    An order on a symbol that is not bound is shown with one lot: its steps are not known.
    """
    status = STATUSES.get(order.status)
    if status is None:
        raise ExchangeError(f"binance_usdm: an order's status is {order.status[:40]!r}")
    instrument = binding.instrument if binding is not None else None
    return OrderView(
        cid=order.clientOrderId,
        exchange_id=str(order.orderId),
        symbol=order.symbol,
        side=order.side.lower(),
        lots=lots(instrument, order.origQty) if instrument else 1,
        filled_lots=lots(instrument, order.executedQty) if instrument else 0,
        status=status,
        price_ticks=ticks(instrument, order.price) if instrument else 0,
        avg_price=number(order.avgPrice),
        reduce_only=order.reduceOnly,
        ts=order.updateTime * MS,
    )


def account(
    bodies: Sequence[bytes], exchange: str, stream: UserStream, t: int, wall: int
) -> Account:
    """Read GET account, then positionRisk of each bound symbol for entry, mark and liquidation."""
    if not bodies:
        raise ExchangeError("binance_usdm account: no answer")
    answer = parse(bodies[0], wire.AccountAnswer, "binance_usdm account")
    risks = {
        row.symbol: row
        for body in bodies[1:]
        for row in parse(body, list[wire.PositionRisk], "binance_usdm positionRisk")
        if row.positionSide == "BOTH" or number(row.positionAmt)
    }
    amounts = {row.symbol: row.positionAmt for row in answer.positions if number(row.positionAmt)}
    amounts.update((row.symbol, row.positionAmt) for row in risks.values())
    stream.hold({row.symbol: abs(row.notional) for row in answer.positions})
    equity = answer.totalMarginBalance
    return Account(
        exchange=exchange,
        balances=tuple(
            Balance(asset=a.asset, total=a.walletBalance, free=a.availableBalance)
            for a in answer.assets
            if a.walletBalance or a.availableBalance
        ),
        positions=tuple(
            _position(symbol, amount, risks.get(symbol), stream)
            for symbol, amount in amounts.items()
            if number(amount)
        ),
        equity=equity,
        margin_used=answer.totalMaintMargin / equity if equity > 0 else 0.0,
        full=True,
        source="rest",
        t=t,
        wall=wall,
    )


def _position(
    symbol: str, amount: str, risk: wire.PositionRisk | None, stream: UserStream
) -> Position:
    size = stream.position_lots(symbol, amount)
    if risk is None:
        return Position(symbol=symbol, lots=size)
    return Position(
        symbol=symbol,
        lots=size,
        entry=risk.entryPrice,
        mark=risk.markPrice,
        liquidation=max(risk.liquidationPrice, 0.0),
    )


def setup(bodies: Sequence[bytes]) -> AccountSetup:
    """Read positionSide/dual, then symbolConfig of each symbol."""
    if not bodies:
        raise ExchangeError("binance_usdm setup: no answer")
    dual = parse(bodies[0], wire.PositionMode, "binance_usdm positionSide").dualSidePosition
    rows = [
        row
        for body in bodies[1:]
        for row in parse(body, list[wire.SymbolConfig], "binance_usdm symbolConfig")
    ]
    return AccountSetup(
        position_mode="hedge" if dual else "one_way",
        leverage={row.symbol: row.leverage for row in rows},
        margin_mode={
            row.symbol: "isolated" if row.marginType.upper() == "ISOLATED" else "cross"
            for row in rows
        },
    )


def done(status: int, body: bytes) -> None:
    """Accept the answer to a setting; Rejected with the code unless it is so now."""
    failure = failure_of(status, body)
    if status == 200 or failure.code in UNCHANGED:
        return
    entry = USDM.find(str(failure.code))
    hint = f": {entry.cause}; {entry.action}" if entry else ""
    raise Rejected(f"binance_usdm {failure.code} {failure.msg}{hint}", str(failure.code))


def key_facts(body: bytes) -> KeyFacts:
    """Read apiRestrictions; a key that can move funds anywhere counts as one that withdraws."""
    facts = parse(body, wire.Restrictions, "binance_usdm apiRestrictions")
    return KeyFacts(
        can_trade=facts.enableFutures,
        can_withdraw=facts.enableWithdrawals
        or facts.enableInternalTransfer
        or facts.permitsUniversalTransfer,
        ip_bound=facts.ipRestrict,
        expires_ms=facts.tradingAuthorityExpirationTime,
    )


def budgets(headers: Mapping[str, str]) -> list[tuple[str, int, int, int]]:
    """Read the counters of an answer's headers."""
    found = []
    for header, name, limit in HEADERS:
        used = header_int(headers, header)
        if used is not None:
            found.append((name, used, limit, 0))
    return found


def rate_limits(limits: Sequence[wire.RateLimit]) -> list[tuple[str, int, int, int]]:
    """Read the counters of an answer on the trade socket."""
    found = []
    for each in limits:
        name = _INTERVALS.get((each.rateLimitType, each.interval, each.intervalNum))
        if name is not None:
            found.append((name, each.count, each.limit, 0))
    return found
