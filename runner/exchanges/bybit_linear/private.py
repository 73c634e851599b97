"""Private frames and answers of Bybit v5 (bybit.md, sections 6 to 10).

Field names are the wire's. Bybit writes "" or null where it has no number, so numbers are read
from text one by one (`runner.exchanges.wire.number`).
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from runner.exchanges.wire import Millis

T = TypeVar("T")


class Peek(msgspec.Struct):
    """The part of a frame that says what it is."""

    topic: str = ""
    op: str = ""
    reqId: str = ""
    retCode: int = 0
    retMsg: str = ""
    success: bool | None = None
    ret_msg: str = ""


class Push(msgspec.Struct, Generic[T]):
    """A push of the private socket."""

    data: list[T]
    creationTime: Millis = 0


class Order(msgspec.Struct):
    """An order, pushed or listed."""

    symbol: str
    orderId: str
    orderLinkId: str | None
    orderStatus: str
    side: str | None = ""
    qty: str | None = ""
    cumExecQty: str | None = ""
    price: str | None = ""
    avgPrice: str | None = ""
    reduceOnly: bool = False
    rejectReason: str | None = ""
    updatedTime: Millis = 0
    category: str = "linear"


class Execution(msgspec.Struct):
    """An execution, pushed or listed; `execFee` is positive when paid."""

    symbol: str
    execId: str
    orderId: str
    orderLinkId: str | None = ""
    side: str | None = ""
    execPrice: str | None = ""
    execQty: str | None = ""
    execFee: str | None = ""
    feeCurrency: str | None = ""
    isMaker: bool = False
    execTime: Millis = 0
    execType: str = "Trade"
    category: str = "linear"


class PositionRow(msgspec.Struct):
    """A position, pushed or listed; `side` is "" when it is flat."""

    symbol: str
    side: str | None = ""
    size: str | None = ""
    positionIdx: int = 0
    entryPrice: str | None = ""
    avgPrice: str | None = ""
    markPrice: str | None = ""
    liqPrice: str | None = ""
    leverage: str | None = ""
    tradeMode: int = 0
    category: str = "linear"


class Coin(msgspec.Struct):
    """One asset of a wallet."""

    coin: str
    walletBalance: str | None = ""
    unrealisedPnl: str | None = ""
    locked: str | None = ""
    totalOrderIM: str | None = ""
    totalPositionIM: str | None = ""


class Wallet(msgspec.Struct):
    """A unified account."""

    coin: list[Coin]
    accountType: str = "UNIFIED"
    totalEquity: str | None = ""
    totalMarginBalance: str | None = ""
    totalMaintenanceMargin: str | None = ""


class Placed(msgspec.Struct):
    """What place and cancel answer with; accepted, not more."""

    orderId: str = ""
    orderLinkId: str = ""


class LimitHeader(msgspec.Struct, rename={
    "limit": "X-Bapi-Limit", "left": "X-Bapi-Limit-Status", "reset": "X-Bapi-Limit-Reset-Timestamp",
}):  # fmt: skip
    """Counters of an answer on the trade socket."""

    limit: int = 0
    left: int = 0
    reset: Millis = 0


class Reply(msgspec.Struct):
    """An answer on the trade socket."""

    reqId: str = ""
    retCode: int = -1
    retMsg: str = ""
    op: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    header: LimitHeader | None = None


class FeeRate(msgspec.Struct):
    """One row of fee-rate."""

    symbol: str
    makerFeeRate: str
    takerFeeRate: str


class AccountInfo(msgspec.Struct):
    """GET account/info."""

    marginMode: str


class ApiKey(msgspec.Struct):
    """GET user/query-api."""

    readOnly: int = 1
    permissions: dict[str, list[str]] = {}
    ips: list[str] = []
    expiredAt: str = ""
