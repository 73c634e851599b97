"""Bybit's private side read: orders, executions, positions, wallets, and verdicts on requests.

HTTP 200 says nothing: the verdict is `retCode`. A place that is accepted may still be rejected by
the matching engine (post-only that would take, for one); that comes as a pushed order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

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
    External,
    Fill,
    OrderView,
    Position,
    Reject,
    Unknown,
)
from runner.exchanges.api import AccountSetup, KeyFacts, MarketBinding, Outcome
from runner.exchanges.bybit_linear import private, wire
from runner.exchanges.bybit_linear.errors import ERRORS, NO_ORDER, UNCHANGED
from runner.exchanges.wire import FOREIGN, MS, T, is_ours, lots, number, parse, ticks

STATUSES: Final[Mapping[str, str]] = {
    "New": "open",
    "Untriggered": "open",
    "Triggered": "open",
    "PartiallyFilled": "partial",
    "Filled": "filled",
    "Cancelled": "canceled",
    "PartiallyFilledCanceled": "canceled",
    "Deactivated": "canceled",
    "Rejected": "rejected",
}
ENDS: Final[Mapping[str, End]] = {
    "Filled": End.FILLED,
    "Cancelled": End.CANCELED,
    "PartiallyFilledCanceled": End.CANCELED,
    "Deactivated": End.CANCELED,
    "Rejected": End.REJECTED,
}
"""Terminal statuses; any other is still open, as far as we know."""
_FIGURES: Final = 4096
_NO_REASON: Final = frozenset((None, "", "EC_NoError", "EC_PerCancelRequest"))
KINDS: Final = frozenset(("Trade", "Funding", "BlockTrade", "MovePosition", "FutureSpread"))
"""Kinds of execution that move what they say; those of `_FORCED` are told by their own name."""
_FORCED: Final[Mapping[str, str]] = {
    "AdlTrade": "adl",
    "BustTrade": "liquidation",
    "Settle": "settlement",
    "Delivery": "settlement",
    "SessionSettlePnL": "settlement",
}
_OF_MONEY: Final = frozenset(("Funding", "SessionSettlePnL"))
"""kinds that move money and no position"""


def is_known(row: private.Order | private.Execution) -> bool:
    """Whether the documents have a row's status or kind."""
    if isinstance(row, private.Order):
        return row.orderStatus in STATUSES
    return row.execType in KINDS or row.execType in _FORCED


def is_forced(row: private.Execution) -> bool:
    """Whether an execution is of no order: the exchange itself took or paid something."""
    return row.execType in _FORCED or row.execType == "Funding"


class Reader:
    """Turns private rows into events of one account."""

    __slots__ = ("_by_symbol", "_exchange", "_figures", "_prefix")

    def __init__(self, exchange: str, by_symbol: Mapping[str, MarketBinding], prefix: str) -> None:
        self._exchange = exchange
        self._by_symbol = by_symbol
        self._prefix = prefix
        self._figures: dict[str, tuple[int, int]] = {}
        """client id of an open order -> whole quantity and price as last pushed"""

    def order(self, row: private.Order, t: int, wall: int) -> list[Event]:
        """Return what a pushed order says; nothing for orders of others and unknown statuses."""
        binding = self._by_symbol.get(row.symbol)
        cid, ts = row.orderLinkId or "", row.updatedTime * MS
        if binding is None or row.category != "linear" or not is_ours(cid, self._prefix):
            return []
        if row.orderStatus not in STATUSES:
            return []
        end = ENDS.get(row.orderStatus)
        if end is None:
            figures = lots(binding.instrument, row.qty), ticks(binding.instrument, row.price)
            if self._new_figures(cid, figures):
                size, limit = figures
                return [Amended(cid=cid, lots=size, ticks=limit, ts=ts, t=t, wall=wall)]
            return [Ack(cid=cid, exchange_id=row.orderId, ts=ts, t=t, wall=wall)]
        self._figures.pop(cid, None)
        code = "" if row.rejectReason in _NO_REASON else row.rejectReason or ""
        filled = lots(binding.instrument, row.cumExecQty)
        return [Done(cid=cid, end=end, filled_lots=filled, code=code, ts=ts, t=t, wall=wall)]

    def _new_figures(self, cid: str, figures: tuple[int, int]) -> bool:
        """Note an open order's figures; True when they are others than pushed before."""
        before = self._figures.get(cid)
        if before is None and len(self._figures) >= _FIGURES:
            del self._figures[next(iter(self._figures))]
        self._figures[cid] = figures
        return before is not None and before != figures

    def execution(self, row: private.Execution, t: int, wall: int) -> list[Event]:
        """Return the fill of an own order, or what others, funding or liquidation did."""
        if row.category != "linear":
            return []
        binding = self._by_symbol.get(row.symbol)
        own = is_ours(row.orderLinkId or "", self._prefix)
        if binding is not None and own and not is_forced(row):
            return [self.fill(row, binding, "stream", t, wall)]
        if row.execType == "Funding":
            what = "funding"
        else:
            what = _FORCED.get(row.execType, "fill")
        if row.execType in _OF_MONEY:
            size = 0
        else:
            size = lots(binding.instrument, row.execQty) if binding is not None else 1
        asset = row.feeCurrency or (binding.instrument.quote if binding is not None else "")
        return [
            External(exchange=self._exchange, what=what, price=number(row.execPrice),
                     market=binding.market if binding is not None else "",
                     lots=size if row.side == "Buy" else -size, amount=-number(row.execFee),
                     asset=asset, id=row.execId, ts=row.execTime * MS, t=t, wall=wall)
        ]  # fmt: skip

    def fill(
        self, row: private.Execution, binding: MarketBinding, source: str, t: int, wall: int
    ) -> Fill:
        """Return an execution as a fill."""
        return Fill(
            cid=row.orderLinkId or "",
            trade_id=row.execId,
            lots=lots(binding.instrument, row.execQty),
            price=number(row.execPrice),
            fee=number(row.execFee) if row.execFee else None,
            fee_asset=row.feeCurrency or binding.instrument.quote,
            maker=row.isMaker,
            ts=row.execTime * MS,
            source=source,
            t=t,
            wall=wall,
        )

    def positions(self, rows: Sequence[private.PositionRow]) -> tuple[Position, ...]:
        """Return positions in signed lots; of a foreign symbol whole units, at least one."""
        return tuple(self._position(row) for row in rows if row.category == "linear")

    def account(
        self,
        wallets: Sequence[private.Wallet],
        rows: Sequence[private.PositionRow],
        full: bool,
        t: int,
        wall: int,
    ) -> Account:
        """Return wallets and positions as one account event."""
        balances: list[Balance] = []
        equity = used = None
        for wallet in wallets:
            balances.extend(_balance(coin) for coin in wallet.coin)
            equity = number(wallet.totalEquity)
            margin = number(wallet.totalMarginBalance)
            used = number(wallet.totalMaintenanceMargin) / margin if margin > 0 else 0.0
        return Account(
            exchange=self._exchange,
            balances=tuple(balances),
            positions=self.positions(rows),
            equity=equity,
            margin_used=used,
            full=full,
            source="rest" if full else "stream",
            t=t,
            wall=wall,
        )

    def view(self, row: private.Order) -> OrderView:
        """Show an order; ExchangeError for a status of no known meaning.

        An order on a symbol that is not bound is shown with one lot: its steps are not known.
        """
        status = STATUSES.get(row.orderStatus)
        if status is None:
            raise ExchangeError(f"bybit_linear: an order's status is {row.orderStatus[:40]!r}")
        binding = self._by_symbol.get(row.symbol)
        instrument = binding.instrument if binding is not None else None
        return OrderView(
            cid=row.orderLinkId or "",
            exchange_id=row.orderId,
            symbol=row.symbol,
            side=(row.side or "").lower(),
            lots=lots(instrument, row.qty) if instrument else 1,
            filled_lots=lots(instrument, row.cumExecQty) if instrument else 0,
            status=status,
            price_ticks=ticks(instrument, row.price) if instrument else 0,
            avg_price=number(row.avgPrice),
            reduce_only=row.reduceOnly,
            ts=row.updatedTime * MS,
            waits=row.orderStatus == "Untriggered",
        )

    def _position(self, row: private.PositionRow) -> Position:
        binding = self._by_symbol.get(row.symbol)
        if binding is not None:
            size = lots(binding.instrument, row.size)
        else:
            amount = number(row.size)
            size = int(amount) or int(amount > 0)
        return Position(
            symbol=row.symbol,
            lots=-size if row.side == "Sell" else size,
            entry=number(row.entryPrice or row.avgPrice),
            mark=number(row.markPrice),
            liquidation=number(row.liqPrice),
        )


def _balance(coin: private.Coin) -> Balance:
    """Read one asset; open losses are not free, open profits are not counted."""
    total = number(coin.walletBalance)
    bound = number(coin.locked) + number(coin.totalOrderIM) + number(coin.totalPositionIM)
    bound -= min(number(coin.unrealisedPnl), 0.0)
    return Balance(asset=coin.coin, total=total, free=max(total - bound, 0.0))


def result(body: bytes, type: type[T], what: str) -> T:
    """Return the result of an answer; ExchangeError with its code when it is a refusal."""
    failed = parse(body, wire.Failed, f"bybit_linear {what}")
    if failed.retCode:
        raise ExchangeError(f"bybit_linear {what}: {failed.retCode} {failed.retMsg}")
    return parse(body, wire.Envelope[type], f"bybit_linear {what}").result  # type: ignore[valid-type]


def failure_of(body: bytes) -> wire.Failed | None:
    """Read code and text of an answer; None when the body is no answer of Bybit."""
    try:
        return parse(body, wire.Failed, "bybit_linear")
    except ExchangeError:
        return None


def verdict(status: int, code: int | None, operation: str) -> Outcome:
    """Judge an answer: by its code, and by the HTTP status where there is none.

    "No such order" leaves a place open to doubt, but answers a change or a cancel.
    """
    if code is None:
        return Outcome.RATE_LIMITED if status == 403 else Outcome.UNKNOWN
    if code in NO_ORDER and operation in ("amend", "cancel"):
        return Outcome.REJECTED
    if code:
        return ERRORS.outcome(str(code))
    return Outcome.ACCEPTED if status == 200 else Outcome.UNKNOWN


def events(
    operation: str,
    cid: str,
    outcome: Outcome,
    code: str,
    text: str,
    placed: private.Placed,
    t: int,
    wall: int,
) -> list[Event]:
    """Return the events that tell an order of an answer."""
    if operation == "cancel" and cid:
        ok = outcome is Outcome.ACCEPTED
        code, text = ("", "") if ok else (code, text)
        return [CancelReply(cid=cid, ok=ok, code=code, text=text, t=t, wall=wall)]
    if operation == "amend" and cid:
        ok = outcome is Outcome.ACCEPTED  # what it is then comes with the pushed order
        code, text = ("", "") if ok else (code, text)
        return [
            AmendReply(cid=cid, ok=ok, outcome=outcome.value, code=code, text=text, t=t, wall=wall)
        ]
    if operation != "place" or not cid:
        return []
    if outcome is Outcome.ACCEPTED:
        return [Ack(cid=cid, exchange_id=placed.orderId, t=t, wall=wall)]
    if outcome is Outcome.UNKNOWN:
        return [Unknown(cid=cid, why=f"{code} {text}".strip(), t=t, wall=wall)]
    return [Reject(cid=cid, outcome=outcome.value, code=code, text=text, t=t, wall=wall)]


def placed_in(raw: bytes) -> private.Placed:
    """Read the ids of a place or cancel; empty where there are none."""
    try:
        return parse(raw, private.Placed, "bybit_linear")
    except ExchangeError:
        return private.Placed()


def setup(bodies: Sequence[bytes]) -> AccountSetup:
    """Read account/info, then position/list of each symbol. The margin mode is the account's."""
    if not bodies:
        raise ExchangeError("bybit_linear setup: no answer")
    info = result(bodies[0], private.AccountInfo, "account/info")
    mode = "isolated" if info.marginMode == "ISOLATED_MARGIN" else "cross"
    rows = [
        row
        for body in bodies[1:]
        for row in result(body, wire.Listing[private.PositionRow], "position/list").rows
    ]
    return AccountSetup(
        position_mode="hedge" if any(row.positionIdx for row in rows) else "one_way",
        leverage={row.symbol: round(number(row.leverage)) for row in rows if row.leverage},
        margin_mode={row.symbol: mode for row in rows},
    )


def done(status: int, body: bytes) -> None:
    """Accept the answer to a setting; Rejected with the code unless it is so now."""
    failed = failure_of(body)
    if failed is None:
        raise Rejected(f"bybit_linear: HTTP {status} without an answer", f"http {status}")
    if failed.retCode == 0 or failed.retCode in UNCHANGED:
        return
    code = str(failed.retCode)
    entry = ERRORS.find(code)
    hint = f": {entry.cause}; {entry.action}" if entry else ""
    raise Rejected(f"bybit_linear {code} {failed.retMsg}{hint}", code)


def key_facts(body: bytes) -> KeyFacts:
    """Read user/query-api; a key that can move funds to others counts as one that withdraws."""
    key = result(body, private.ApiKey, "query-api")
    wallet = set(key.permissions.get("Wallet", []))
    trade = set(key.permissions.get("ContractTrade", []))
    return KeyFacts(
        can_trade=not key.readOnly and "Order" in trade,
        can_withdraw=bool(wallet & {"Withdraw", "SubMemberTransfer"}),
        ip_bound=bool(key.ips) and "*" not in key.ips,
        expires_ms=_millis(key.expiredAt),
    )


def _millis(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000) if text else 0
    except FOREIGN:
        return 0
