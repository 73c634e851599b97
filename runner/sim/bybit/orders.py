"""Orders of Bybit linear: create, amend, cancel, batches, queries, executions.

A reply to create tells only that the order was accepted; what became of it comes on the private
socket. The handlers serve REST and the trade socket alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from runner.sim.bybit.checks import (
    check_value,
    lots_of,
    number,
    order_of,
    refused,
    tick_of,
)
from runner.sim.bybit.errors import RetError, bad_parameter
from runner.sim.bybit.market import Params, instrument_of, need_linear, side_text, whole
from runner.sim.bybit.rest import Answer
from runner.sim.catalogue import money_text
from runner.sim.orders import Fill, Kind, Order, Refusal, Status, Tif
from runner.sim.stops import By
from runner.sim.venue import Venue

STATUS = {
    Status.UNTRIGGERED: "Untriggered",
    Status.NEW: "New",
    Status.PARTIAL: "PartiallyFilled",
    Status.FILLED: "Filled",
    Status.CANCELED: "Cancelled",
    Status.EXPIRED: "Cancelled",
    Status.EXPIRED_IN_MATCH: "Cancelled",
    Status.POST_ONLY_WOULD_TAKE: "Cancelled",
}
_REJECT = {
    Status.EXPIRED: "EC_NoImmediateQtyToFill",
    Status.EXPIRED_IN_MATCH: "EC_SelfTrade",
    Status.POST_ONLY_WOULD_TAKE: "EC_PostOnlyWillTakeLiquidity",
    Status.CANCELED: "EC_PerCancelRequest",
}
TRIGGER_BY = {By.MARK: "MarkPrice", By.LAST: "LastPrice"}
TIF = {Tif.GTC: "GTC", Tif.IOC: "IOC", Tif.FOK: "FOK", Tif.POST: "PostOnly"}
MAX_BATCH = 20


def cid_text(order: Order) -> str:
    """Write the client id; an order without one has none to show."""
    return "" if order.cid.startswith("\0") else order.cid


def _status(order: Order) -> str:
    """Write the status; what was cancelled before its trigger is Deactivated."""
    if order.trigger is not None and order.status is Status.CANCELED and not order.fired:
        return "Deactivated"
    return STATUS[order.status]


def _money(money: int) -> str:
    text = money_text(money).rstrip("0").rstrip(".")
    return text or "0"


def order_row(order: Order) -> dict[str, Any]:
    """Write an order as queries and the order topic show it."""
    instrument = order.instrument
    left = order.left if order.status.open or order.status is Status.UNTRIGGERED else 0
    average = order.average if order.filled else ""
    market = order.kind is Kind.MARKET
    price = instrument.price(order.tick) if order.tick else "0"
    ended = order.status in _REJECT
    return {
        "category": "linear",
        "symbol": instrument.symbol,
        "orderId": order.external_id,
        "orderLinkId": cid_text(order),
        "blockTradeId": "",
        "side": side_text(order.side),
        "positionIdx": 0,
        "orderStatus": _status(order),
        "cancelType": "CancelByUser" if order.status is Status.CANCELED else "UNKNOWN",
        "rejectReason": _REJECT[order.status] if ended else "EC_NoError",
        "timeInForce": "IOC" if market else TIF[order.tif],
        "isLeverage": "",
        "price": price,
        "qty": instrument.qty(order.lots),
        "avgPrice": average,
        "leavesQty": instrument.qty(left),
        "leavesValue": _money(left * order.tick * instrument.value),
        "cumExecQty": instrument.qty(order.filled),
        "cumExecValue": _money(order.quote),
        "cumExecFee": _money(order.fee),
        "cumFeeDetail": {"USDT": _money(order.fee)} if order.fee else {},
        "closedPnl": "0",
        "feeCurrency": "",
        "orderType": "Market" if market else "Limit",
        "stopOrderType": "Stop" if order.trigger else "",
        "orderIv": "",
        "triggerPrice": instrument.price(order.trigger.tick) if order.trigger else "",
        "takeProfit": "",
        "stopLoss": "",
        "triggerBy": TRIGGER_BY[order.trigger.by] if order.trigger else "",
        "tpTriggerBy": "",
        "slTriggerBy": "",
        "tpLimitPrice": "0",
        "slLimitPrice": "0",
        "tpslMode": "",
        "triggerDirection": (1 if order.trigger.rising else 2) if order.trigger else 0,
        "placeType": "",
        "lastPriceOnCreated": "",
        "closeOnTrigger": False,
        "reduceOnly": order.reduce_only,
        "smpGroup": 0,
        "smpType": "None",
        "smpOrderId": "",
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
    }


def execution_row(fill: Fill, maker_ppm: int, taker_ppm: int) -> dict[str, Any]:
    """Write a fill as queries and the execution topic show it."""
    order, instrument = fill.order, fill.order.instrument
    rate = (maker_ppm if fill.maker else taker_ppm) / 1_000_000
    return {
        "category": "linear",
        "symbol": instrument.symbol,
        "execId": exec_id(fill),
        "orderId": order.external_id,
        "orderLinkId": cid_text(order),
        "side": side_text(order.side),
        "orderPrice": instrument.price(order.tick) if order.tick else "0",
        "orderQty": instrument.qty(order.lots),
        "leavesQty": instrument.qty(order.lots - fill.filled_after),
        "createType": "CreateByUser",
        "orderType": "Market" if order.kind is Kind.MARKET else "Limit",
        "stopOrderType": "UNKNOWN",
        "execFee": _money(fill.fee),
        "feeCurrency": "",
        "execPrice": instrument.price(fill.tick),
        "execQty": instrument.qty(fill.lots),
        "execPnl": _money(fill.realised),
        "execType": "Trade",
        "execValue": _money(fill.quote),
        "execTime": str(fill.ts_ms),
        "isMaker": fill.maker,
        "feeRate": f"{rate:.6f}".rstrip("0"),
        "tradeIv": "",
        "markIv": "",
        "markPrice": instrument.price(fill.tick),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": instrument.qty(fill.closed),
        "seq": fill.trade_id,
        "extraFees": "",
    }


def exec_id(fill: Fill) -> str:
    """Return the id of an execution: the two sides of a self-trade have their own."""
    return _uuid(f"exec {fill.trade_id} {fill.order.oid}")


def _uuid(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    parts = (digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32])
    return "-".join(parts)


class BybitOrders:
    """The order handlers over one venue."""

    def __init__(self, venue: Venue, stem: str) -> None:
        self.venue = venue
        self._stem = stem
        self._made = 0

    # -- one order

    def create(self, params: Params) -> Any:
        """order/create: accepted, not yet done."""
        self._made += 1
        order = order_of(self.venue, params, _uuid(f"order {self._stem} {self._made}"))
        try:
            if order.trigger is not None:
                self.venue.arm(order)
            else:
                self.venue.place(order)
        except Refusal as refusal:
            raise refused(refusal, order) from None
        return _ids(order)

    def amend(self, params: Params) -> Any:
        """order/amend: price and quantity."""
        need_linear(params)
        instrument = instrument_of(self.venue, params)
        order = self._named(params)
        if order is None or not order.status.open:
            raise RetError(110001, "order not exists or too late to replace")
        lots, tick = None, None
        if params.get("qty"):
            lots = lots_of(instrument, number(params, "qty"), market=False)
        if params.get("price"):
            tick = tick_of(self.venue, instrument, order.side, number(params, "price"))
        check_value(instrument, tick or order.tick, lots or order.lots, order.reduce_only)
        try:
            return _ids(self.venue.amend(order, tick, lots))
        except Refusal as refusal:
            raise refused(refusal) from None

    def cancel(self, params: Params) -> Any:
        """order/cancel by orderId or orderLinkId."""
        need_linear(params)
        instrument_of(self.venue, params)
        try:
            return _ids(self.venue.cancel(self._named(params)))
        except Refusal as refusal:
            raise refused(refusal) from None

    def _named(self, params: Params) -> Order | None:
        symbol = params.get("symbol")
        if params.get("orderId"):
            order = self.venue.lookup.get(str(params["orderId"]))
        elif params.get("orderLinkId"):
            order = self.venue.find(None, str(params["orderLinkId"]))
        else:
            raise bad_parameter("orderId or orderLinkId is required")
        return order if order and symbol in (None, "", order.instrument.symbol) else None

    # -- many orders

    def cancel_all(self, params: Params) -> Any:
        """order/cancel-all of a symbol, a base or a settle coin."""
        need_linear(params)
        if not any(params.get(name) for name in ("symbol", "baseCoin", "settleCoin")):
            raise bad_parameter("symbol, baseCoin or settleCoin is required")
        chosen = [order for order in self._working(params) if _matches(order, params)]
        ended = [_ids(self.venue.cancel(order)) for order in chosen]
        return {"list": ended, "success": "1"}

    def create_batch(self, params: Params) -> Answer:
        """order/create-batch: items stand alone, their codes are in retExtInfo."""
        return self._batch(params, self.create, created=True)

    def amend_batch(self, params: Params) -> Answer:
        """order/amend-batch."""
        return self._batch(params, self.amend)

    def cancel_batch(self, params: Params) -> Answer:
        """order/cancel-batch."""
        return self._batch(params, self.cancel)

    def _batch(self, params: Params, run: Callable[[Params], Any], created: bool = False) -> Answer:
        need_linear(params)
        items = params.get("request")
        if not isinstance(items, list) or not 0 < len(items) <= MAX_BATCH:
            raise bad_parameter("request must hold 1 to 20 orders")
        rows, codes = [], []
        if not all(isinstance(item, dict) for item in items):
            raise bad_parameter("request must hold objects")
        for item in items:
            names = ("category", "symbol", "orderId", "orderLinkId")
            out = {name: str(item.get(name, "")) for name in names} | {"category": "linear"}
            code = {"code": 0, "msg": "OK"}
            try:
                out |= run({**item, "category": "linear"})
            except RetError as error:
                code = {"code": error.code, "msg": error.msg}
            if created:
                out["createAt"] = str(self.venue.now_ms()) if code["code"] == 0 else ""
            rows.append(out)
            codes.append(code)
        return Answer({"list": rows}, {"list": codes})

    # -- queries

    def realtime(self, params: Params) -> Any:
        """order/realtime: working orders; by id, closed ones too; openOnly=1: closed ones."""
        need_linear(params)
        by_id = params.get("orderId") or params.get("orderLinkId")
        if not by_id and not any(params.get(n) for n in ("symbol", "baseCoin", "settleCoin")):
            raise bad_parameter("symbol, baseCoin or settleCoin is required")
        every = list(self.venue.orders.values()) if by_id else self._working(params)
        if not by_id and str(params.get("openOnly", "0")) == "1":
            every = [o for o in self.venue.orders.values() if not o.status.open][-500:]
        chosen = [order for order in reversed(every) if _matches(order, params)]
        return _page([order_row(order) for order in chosen], params, 50)

    def history(self, params: Params) -> Any:
        """order/history: closed orders, newest first."""
        need_linear(params)
        every = reversed(list(self.venue.orders.values()))
        alive = {**self.venue.open, **self.venue.armed}
        chosen = [o for o in every if o.oid not in alive and _matches(o, params)]
        return _page([order_row(order) for order in chosen], params, 50)

    def _working(self, params: Params) -> list[Order]:
        """Return the orders that work or wait for their trigger, as `orderFilter` says."""
        wanted = params.get("orderFilter") or ""
        plain = [] if wanted == "StopOrder" else list(self.venue.open.values())
        return plain if wanted == "Order" else [*plain, *self.venue.armed.values()]

    def executions(self, params: Params) -> Any:
        """execution/list: fills, newest first."""
        need_linear(params)
        since = whole(params, "startTime", 0, 1 << 60)
        until = whole(params, "endTime", 1 << 60, 1 << 60)
        rules = self.venue.rules
        rows = [
            execution_row(fill, rules.maker_ppm, rules.taker_ppm)
            for fill in reversed(self.venue.fills)
            if since <= fill.ts_ms <= until and _matches(fill.order, params)
        ]
        return _page(rows, params, 100)


def _ids(order: Order) -> dict[str, Any]:
    return {"orderId": order.external_id, "orderLinkId": cid_text(order)}


def _matches(order: Order, params: Params) -> bool:
    instrument = order.instrument
    return (
        params.get("symbol") in (None, "", instrument.symbol)
        and params.get("baseCoin") in (None, "", instrument.base)
        and params.get("settleCoin") in (None, "", "USDT")
        and params.get("orderId") in (None, "", order.external_id)
        and params.get("orderLinkId") in (None, "", order.cid)
    )


def _page(rows: list[dict[str, Any]], params: Params, most: int) -> dict[str, Any]:
    """Cut one page; the cursor is where the next one begins."""
    first = whole(params, "cursor", 0, 1 << 40)
    limit = max(1, whole(params, "limit", 20 if most == 50 else 50, most))
    more = first + limit < len(rows)
    cursor = str(first + limit) if more else ""
    return {"category": "linear", "list": rows[first : first + limit], "nextPageCursor": cursor}
