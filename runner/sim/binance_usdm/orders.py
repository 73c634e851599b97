"""Orders of Binance USD-M: place, modify, cancel, query, batches, fills, dead-man.

The handlers serve REST and the WebSocket API alike; they raise `ApiError`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from runner.sim.binance_errors import ApiError, illegal, missing
from runner.sim.binance_public import Params, instrument_of, side_of, whole
from runner.sim.binance_usdm.checks import (
    check_notional,
    lots_of,
    number,
    order_of,
    refused,
    tick_of,
)
from runner.sim.orders import Fill, Kind, Order, Refusal, Status, Tif
from runner.sim.venue import Venue

STATUS = {
    Status.UNTRIGGERED: "NEW",
    Status.NEW: "NEW",
    Status.PARTIAL: "PARTIALLY_FILLED",
    Status.FILLED: "FILLED",
    Status.CANCELED: "CANCELED",
    Status.EXPIRED: "EXPIRED",
    Status.EXPIRED_IN_MATCH: "EXPIRED_IN_MATCH",
    Status.POST_ONLY_WOULD_TAKE: "EXPIRED",
}
TIF = {Tif.GTC: "GTC", Tif.IOC: "IOC", Tif.FOK: "FOK", Tif.POST: "GTX"}
_NO_ORDER = (-2013, "Order does not exist.")
_MAX_BATCH = 5
_MAX_BATCH_CANCEL = 10


def tif_text(order: Order) -> str:
    """Write the time in force; a market order shows GTC."""
    return "GTC" if order.kind is Kind.MARKET else TIF[order.tif]


def quote_text(money: int) -> str:
    """Write a quote quantity."""
    return f"{money // 100_000_000}.{money % 100_000_000 // 1000:05d}"


def row(order: Order) -> dict[str, Any]:
    """Write an order as its replies show it."""
    instrument = order.instrument
    return {
        "orderId": order.oid,
        "symbol": instrument.symbol,
        "status": STATUS[order.status],
        "clientOrderId": order.cid,
        "price": instrument.price(order.tick) if order.tick else "0.00",
        "avgPrice": order.average if order.filled else "0.00",
        "origQty": instrument.qty(order.lots),
        "executedQty": instrument.qty(order.filled),
        "cumQty": instrument.qty(order.filled),
        "cumQuote": quote_text(order.quote),
        "timeInForce": tif_text(order),
        "type": order.kind.name,
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": order.side.name,
        "positionSide": "BOTH",
        "stopPrice": "0.00",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.kind.name,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE" if order.stp.value == "none" else order.stp.name,
        "goodTillDate": 0,
        "updateTime": order.updated_ms,
    }


def placed(order: Order, params: Params) -> dict[str, Any]:
    """Write the reply to a new order: ACK knows of no fill yet, RESULT does."""
    out = row(order)
    if params.get("newOrderRespType", "ACK") != "RESULT":
        zero = order.instrument.qty(0)
        out |= {"status": "NEW", "executedQty": zero, "cumQty": zero, "cumQuote": "0.00000",
                "avgPrice": "0.00"}  # fmt: skip
    return out


def queried(order: Order) -> dict[str, Any]:
    """Write an order as queries show it."""
    return row(order) | {"time": order.created_ms}


def trade_row(fill: Fill) -> dict[str, Any]:
    """Write a fill as GET userTrades shows it."""
    order, instrument = fill.order, fill.order.instrument
    return {
        "buyer": order.side > 0,
        "commission": f"{fill.fee / 1e8:.8f}",
        "commissionAsset": "USDT",
        "id": fill.trade_id,
        "maker": fill.maker,
        "orderId": order.oid,
        "price": instrument.price(fill.tick),
        "qty": instrument.qty(fill.lots),
        "quoteQty": quote_text(fill.quote),
        "realizedPnl": f"{fill.realised / 1e8:.8f}",
        "side": order.side.name,
        "positionSide": "BOTH",
        "symbol": instrument.symbol,
        "time": fill.ts_ms,
    }


class UsdmOrders:
    """The order handlers over one venue."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self._generated = 0
        self._countdowns: dict[str, int] = {}

    # -- one order

    def place(self, params: Params) -> Any:
        """POST order."""
        self._generated += 1
        order = order_of(self.venue, params, f"auto_{self._generated}")
        try:
            self.venue.place(order)
        except Refusal as refusal:
            raise refused(refusal) from None
        return placed(order, params)

    def modify(self, params: Params) -> Any:
        """PUT order: price and quantity of a working limit order."""
        instrument = instrument_of(self.venue, params)
        side = side_of(params)
        order = self._named(params)
        lots = lots_of(instrument, number(params, "quantity"), market=False)
        tick = tick_of(self.venue, instrument, side, number(params, "price"))
        reduces = order is not None and order.reduce_only
        check_notional(instrument, tick, lots, reduce_only=reduces)
        if order is None or not order.status.open:
            raise ApiError(*_NO_ORDER)
        try:
            return row(self.venue.amend(order, tick, lots))
        except Refusal as refusal:
            raise refused(refusal) from None

    def cancel(self, params: Params) -> Any:
        """DELETE order."""
        instrument_of(self.venue, params)
        try:
            return row(self.venue.cancel(self._named(params)))
        except Refusal as refusal:
            raise refused(refusal) from None

    def query(self, params: Params) -> Any:
        """GET order; one that the venue never had is -2013."""
        instrument_of(self.venue, params)
        order = self._named(params)
        if order is None:
            raise ApiError(*_NO_ORDER)
        return queried(order)

    def open_order(self, params: Params) -> Any:
        """GET openOrder."""
        instrument_of(self.venue, params)
        order = self._named(params)
        if order is None or not order.status.open:
            raise ApiError(*_NO_ORDER)
        return queried(order)

    def _named(self, params: Params) -> Order | None:
        """Return the order a request names by id or client id; -1102 when by neither."""
        symbol = params.get("symbol")
        number_text, cid = params.get("orderId"), params.get("origClientOrderId")
        if number_text:
            if not number_text.isdecimal():
                raise illegal("orderId")
            order = self.venue.orders.get(int(number_text))
            return order if order and order.instrument.symbol == symbol else None
        if cid:
            return self.venue.find(symbol, cid)
        raise ApiError(-1102, "Either 'origClientOrderId' or 'orderId' must be sent.")

    # -- many orders

    def open_orders(self, params: Params) -> Any:
        """GET openOrders, of one symbol or of all."""
        symbol = instrument_of(self.venue, params).symbol if "symbol" in params else None
        chosen = [o for o in self.venue.open.values() if symbol in (None, o.instrument.symbol)]
        return [queried(order) for order in chosen]

    def all_orders(self, params: Params) -> Any:
        """GET allOrders of a symbol, oldest first."""
        symbol = instrument_of(self.venue, params).symbol
        least, since = whole(params, "orderId", 0, 1 << 60), whole(params, "startTime", 0, 1 << 60)
        until = whole(params, "endTime", 1 << 60, 1 << 60)
        chosen = [
            order
            for order in self.venue.orders.values()
            if order.instrument.symbol == symbol and order.oid >= least
            and since <= order.created_ms <= until
        ]  # fmt: skip
        return [queried(order) for order in chosen[-whole(params, "limit", 500, 1000) :]]

    def user_trades(self, params: Params) -> Any:
        """GET userTrades of a symbol, oldest first."""
        symbol = instrument_of(self.venue, params).symbol
        since, until = (
            whole(params, "startTime", 0, 1 << 60),
            whole(params, "endTime", 1 << 60, 1 << 60),
        )
        first, order_id = whole(params, "fromId", 0, 1 << 60), whole(params, "orderId", 0, 1 << 60)
        chosen = [
            fill
            for fill in self.venue.fills
            if fill.order.instrument.symbol == symbol and since <= fill.ts_ms <= until
            and fill.trade_id >= first and order_id in (0, fill.order.oid)
        ]  # fmt: skip
        limit = whole(params, "limit", 500, 1000)
        return [trade_row(fill) for fill in (chosen[:limit] if first else chosen[-limit:])]

    def cancel_all(self, params: Params) -> Any:
        """DELETE allOpenOrders of a symbol."""
        self.venue.cancel_all(instrument_of(self.venue, params).symbol)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def batch_place(self, params: Params) -> Any:
        """POST batchOrders: each item stands alone, the reply is aligned by index."""
        return self._each(params, self.place)

    def batch_modify(self, params: Params) -> Any:
        """PUT batchOrders."""
        return self._each(params, self.modify)

    def _each(self, params: Params, run: Any) -> Any:
        return [_item(run, item) for item in batch_items(params, _MAX_BATCH)]

    def batch_cancel(self, params: Params) -> Any:
        """DELETE batchOrders by orderIdList or origClientOrderIdList."""
        symbol = instrument_of(self.venue, params).symbol
        folded = {name.lower(): text for name, text in params.items()}
        name, texts = "orderId", folded.get("orderidlist")
        if not texts:
            name, texts = "origClientOrderId", folded.get("origclientorderidlist")
        if not texts:
            raise missing("orderIdList")
        try:
            values = msgspec.json.decode(texts, type=list[int | str])
        except msgspec.MsgspecError:
            raise illegal(name + "List") from None
        if len(values) > _MAX_BATCH_CANCEL:
            raise ApiError(-4082, "Invalid number of batch place orders.")
        return [_item(self.cancel, {"symbol": symbol, name: str(value)}) for value in values]

    # -- dead-man

    def countdown(self, params: Params) -> Any:
        """POST countdownCancelAll: cancel a symbol's orders unless asked again in time."""
        symbol = instrument_of(self.venue, params).symbol
        if not re.fullmatch(r"\d+", params.get("countdownTime", "")):
            raise missing("countdownTime")
        length = int(params["countdownTime"])
        if length:
            self._countdowns[symbol] = self.venue.now_ms() + length
        else:
            self._countdowns.pop(symbol, None)
        return {"symbol": symbol, "countdownTime": str(length)}

    def tick(self, now_ms: int) -> None:
        """Cancel what nobody has asked to keep."""
        for symbol, due in list(self._countdowns.items()):
            if now_ms >= due:
                del self._countdowns[symbol]
                self.venue.cancel_all(symbol)


def batch_items(params: Params, most: int) -> list[Params]:
    """Read the parameter batchOrders; -1102, -1130, -4082."""
    text = params.get("batchOrders")
    if not text:
        raise missing("batchOrders")
    try:
        items = msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.MsgspecError:
        raise illegal("batchOrders") from None
    if not 0 < len(items) <= most:
        raise ApiError(-4082, "Invalid number of batch place orders.")
    return [{name: _text(value) for name, value in item.items()} for item in items]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _item(run: Any, params: Params) -> Any:
    try:
        return run(params)
    except ApiError as error:
        return {"code": error.code, "msg": error.msg}
