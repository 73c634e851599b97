"""Private frames and answers of Binance USD-M (binance-usdm.md, sections 6 to 9).

Field names are the wire's; quantities and prices that become lots or ticks stay text.
"""

from __future__ import annotations

import msgspec

from runner.exchanges.wire import Id, Millis, Num, Signed


class Failure(msgspec.Struct):
    """An error of REST and the inner part of one of the WebSocket API."""

    code: int = 0
    msg: str = ""


class Order(msgspec.Struct):
    """An order as place, cancel, query and lists show it."""

    symbol: str
    orderId: Id
    clientOrderId: str
    status: str
    side: str = ""
    origQty: str = ""
    executedQty: str = ""
    price: str = ""
    avgPrice: str = ""
    reduceOnly: bool = False
    updateTime: Millis = 0


class RateLimit(msgspec.Struct):
    """One line of `rateLimits`."""

    rateLimitType: str = ""
    interval: str = ""
    intervalNum: int = 0
    limit: int = 0
    count: int = 0


class Reply(msgspec.Struct):
    """An answer on the trade socket."""

    id: str | int | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw(b"")
    error: Failure | None = None
    rateLimits: list[RateLimit] = []


class Peek(msgspec.Struct):
    """The part of a frame that says what it is."""

    e: str = ""
    id: str | int | None = None
    status: int = 0


class OrderPart(msgspec.Struct):
    """The `o` of ORDER_TRADE_UPDATE; letters as in the documents."""

    s: str
    c: str
    S: str
    x: str
    X: str
    i: Id
    q: str = ""
    p: str = ""
    l: str = ""  # noqa: E741
    z: str = ""
    L: str = ""
    N: str = ""
    n: str = ""
    t: Id = 0
    m: bool = False
    R: bool = False


class OrderUpdate(msgspec.Struct):
    """ORDER_TRADE_UPDATE; `T` is the matching engine's time."""

    E: Millis
    T: Millis
    o: OrderPart


class Algo(msgspec.Struct):
    """A conditional order as place, query and lists show it; a cancel answers with its ids."""

    algoId: Id
    clientAlgoId: str
    symbol: str = ""
    side: str = ""
    quantity: str = ""
    algoStatus: str = ""
    actualOrderId: str = ""
    reduceOnly: bool = False
    updateTime: Millis = 0


class AlgoPart(msgspec.Struct):
    """The `o` of ALGO_UPDATE: `ai` is the order id in the matching engine, `rm` why it failed."""

    caid: str
    aid: Id
    s: str
    X: str
    ai: str = ""
    rm: str = ""


class AlgoUpdate(msgspec.Struct):
    """ALGO_UPDATE."""

    T: Millis
    o: AlgoPart


class BalancePart(msgspec.Struct):
    """A balance that changed; `bc` is the change but for PnL and fees."""

    a: str
    wb: Signed
    bc: Signed = 0.0


class PositionPart(msgspec.Struct):
    """A position that changed."""

    s: str
    pa: str
    ep: Num = 0.0
    ps: str = "BOTH"


class AccountPart(msgspec.Struct):
    """The `a` of ACCOUNT_UPDATE; `m` is the reason."""

    m: str = ""
    B: list[BalancePart] = []
    P: list[PositionPart] = []


class AccountUpdate(msgspec.Struct):
    """ACCOUNT_UPDATE: only what changed."""

    E: Millis
    T: Millis
    a: AccountPart


class LeveragePart(msgspec.Struct):
    s: str = ""
    l: int = 0  # noqa: E741


class ConfigUpdate(msgspec.Struct):
    """ACCOUNT_CONFIG_UPDATE."""

    E: Millis
    ac: LeveragePart | None = None


class ListenKey(msgspec.Struct):
    """POST listenKey."""

    listenKey: str


class UserTrade(msgspec.Struct):
    """One row of GET userTrades; it names the order by the exchange's id only."""

    symbol: str
    id: Id
    orderId: Id
    price: Num
    qty: str
    commission: Signed = 0.0
    commissionAsset: str = ""
    time: Millis = 0
    maker: bool = False
    side: str = ""


class Asset(msgspec.Struct):
    """One asset of GET account."""

    asset: str
    walletBalance: Signed
    availableBalance: Signed = 0.0


class AccountPosition(msgspec.Struct):
    """One position of GET account."""

    symbol: str
    positionAmt: str
    notional: Signed = 0.0
    positionSide: str = "BOTH"


class AccountAnswer(msgspec.Struct):
    """GET v3/account."""

    totalMarginBalance: Signed
    totalMaintMargin: Signed
    assets: list[Asset]
    positions: list[AccountPosition] = []


class PositionRisk(msgspec.Struct):
    """One row of GET v3/positionRisk."""

    symbol: str
    positionAmt: str
    entryPrice: Num = 0.0
    markPrice: Num = 0.0
    liquidationPrice: Signed = 0.0
    positionSide: str = "BOTH"


class Commission(msgspec.Struct):
    """GET commissionRate."""

    makerCommissionRate: Signed
    takerCommissionRate: Signed


class PositionMode(msgspec.Struct):
    """GET positionSide/dual."""

    dualSidePosition: bool


class SymbolConfig(msgspec.Struct):
    """One row of GET symbolConfig."""

    symbol: str
    marginType: str
    leverage: int


class Restrictions(msgspec.Struct):
    """GET sapi/v1/account/apiRestrictions."""

    ipRestrict: bool = False
    enableFutures: bool = False
    enableWithdrawals: bool = False
    enableInternalTransfer: bool = False
    permitsUniversalTransfer: bool = False
    tradingAuthorityExpirationTime: Millis = 0
