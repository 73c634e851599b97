"""Conditional orders of Binance USD-M: the algo service, apart from the matching engine.

An algo order is a thing of its own with its own two ids. When its trigger is reached it puts an
ordinary market order into the engine, under an order id (and a client id) that the user never
chose: ALGO_UPDATE names that order id (`ai`), and comes after the order's own first events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.sim.binance_errors import ApiError, illegal, missing
from runner.sim.binance_public import Params, instrument_of, side_of
from runner.sim.binance_usdm.checks import client_id, lots_of, number, refused
from runner.sim.catalogue import Instrument
from runner.sim.matching import Side
from runner.sim.orders import Kind, Order, Refusal, Tif, Why
from runner.sim.stops import By, Trigger, is_reached
from runner.sim.venue import Venue

_TYPES = ("STOP_MARKET", "TAKE_PROFIT_MARKET")
_BY = {"MARK_PRICE": By.MARK, "CONTRACT_PRICE": By.LAST}
_NO_ALGO = (-2013, "Order does not exist.")
_UNKNOWN = (-2011, "Unknown order sent.")
MOST = 200

Tell = Callable[["Algo"], None]


@dataclass(slots=True, eq=False)
class Algo:
    """One conditional order. `status` is the algo service's own word."""

    algo_id: int
    cid: str
    instrument: Instrument
    side: Side
    kind: str
    lots: int
    trigger: Trigger
    reduce_only: bool
    created_ms: int
    updated_ms: int
    status: str = "NEW"
    order: Order | None = None
    triggered_ms: int = 0
    reason: str = ""


class Algos:
    """The algo service of one venue; `tell` takes every change."""

    def __init__(self, venue: Venue, tell: Tell) -> None:
        self.venue = venue
        self._tell = tell
        self.by_id: dict[int, Algo] = {}
        venue.apart.append(lambda: [algo.cid for algo in self._waiting(None)])

    # -- requests

    def place(self, params: Params) -> Any:
        """POST algoOrder; -2021 when it would trigger at once."""
        algo = self._read(params)
        venue = self.venue
        venue.refresh(algo.instrument.symbol)
        if any(a.cid == algo.cid and a.status == "NEW" for a in self.by_id.values()):
            raise refused(Refusal(Why.DUPLICATE))
        if sum(a.status == "NEW" for a in self.by_id.values()) >= MOST:
            raise refused(Refusal(Why.TOO_MANY_STOPS))
        if is_reached(algo.trigger, algo.instrument, venue):
            raise ApiError(-2021, "Order would immediately trigger.")
        self.by_id[algo.algo_id] = algo
        self._tell(algo)
        return row(algo)

    def cancel(self, params: Params) -> Any:
        """DELETE algoOrder by algoId or clientAlgoId; -2011 for one that waits no more."""
        algo = self._named(params)
        if algo is None or algo.status != "NEW":
            raise ApiError(*_UNKNOWN)
        self._end(algo, "CANCELED")
        return {
            "algoId": algo.algo_id,
            "clientAlgoId": algo.cid,
            "code": "200",
            "msg": "success",
        }

    def query(self, params: Params) -> Any:
        """GET algoOrder; -2013 for one that never was."""
        algo = self._named(params)
        if algo is None:
            raise ApiError(*_NO_ALGO)
        return row(algo)

    def open(self, params: Params) -> Any:
        """GET openAlgoOrders, of one symbol or of all."""
        symbol = instrument_of(self.venue, params).symbol if "symbol" in params else None
        return [row(algo) for algo in self._waiting(symbol)]

    def cancel_all(self, params: Params) -> Any:
        """DELETE algoOpenOrders of a symbol."""
        for algo in self._waiting(instrument_of(self.venue, params).symbol):
            self._end(algo, "CANCELED")
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    # -- time

    def tick(self) -> None:
        """Send off the orders whose trigger is reached."""
        for algo in self._waiting(None):
            self.venue.refresh(algo.instrument.symbol)
            if is_reached(algo.trigger, algo.instrument, self.venue):
                self._fire(algo)

    def _fire(self, algo: Algo) -> None:
        algo.triggered_ms = self.venue.now_ms()
        self._end(algo, "TRIGGERING")
        order = Order(
            f"x-algo{algo.algo_id}", algo.instrument, algo.side, Kind.MARKET, Tif.IOC, 0, algo.lots,
            algo.reduce_only,
        )  # fmt: skip
        algo.order = order
        try:
            self.venue.place(order)
        except Refusal as refusal:
            algo.order, algo.reason = None, refused(refusal).msg
            self._end(algo, "REJECTED")
            return
        self._end(algo, "TRIGGERED")
        self._end(algo, "FINISHED")

    def _end(self, algo: Algo, status: str) -> None:
        algo.status, algo.updated_ms = status, self.venue.now_ms()
        self._tell(algo)

    # -- reading

    def _waiting(self, symbol: str | None) -> list[Algo]:
        return [
            a
            for a in self.by_id.values()
            if a.status == "NEW" and symbol in (None, a.instrument.symbol)
        ]

    def _named(self, params: Params) -> Algo | None:
        number_text, cid = params.get("algoId"), params.get("clientAlgoId")
        if number_text:
            if not number_text.isdecimal():
                raise illegal("algoId")
            return self.by_id.get(int(number_text))
        if cid:
            found = [a for a in self.by_id.values() if a.cid == cid]
            return found[-1] if found else None
        raise ApiError(-1102, "Either 'algoId' or 'clientAlgoId' must be sent.")

    def _read(self, params: Params) -> Algo:
        if not params.get("algoType"):
            raise missing("algoType")
        if params["algoType"] != "CONDITIONAL":
            raise ApiError(-1130, "Data sent for parameter 'algoType' is not valid.")
        instrument, side = instrument_of(self.venue, params), side_of(params)
        kind = params.get("type")
        if not kind:
            raise missing("type")
        if kind not in _TYPES:
            raise ApiError(-1116, "Invalid orderType.")
        by = _BY.get(params.get("workingType", "CONTRACT_PRICE"))
        if by is None:
            raise ApiError(-1130, "Data sent for parameter 'workingType' is not valid.")
        reduce = params.get("reduceOnly", "false")
        if reduce not in ("true", "false"):
            raise ApiError(-1130, "Data sent for parameter 'reduceOnly' is not valid.")
        tick = instrument.ticks(number(params, "triggerPrice"))
        if tick is None or tick <= 0:
            raise ApiError(-4014, "Price not increased by tick size.")
        lots = lots_of(instrument, number(params, "quantity"), market=True)
        rising = (side is Side.BUY) == (kind == "STOP_MARKET")
        algo_id, now = 2_000_000 + len(self.by_id) + 1, self.venue.now_ms()
        cid = client_id(params, "clientAlgoId", f"auto-algo-{algo_id}")
        trigger = Trigger(tick, by, rising)
        return Algo(algo_id, cid, instrument, side, kind, lots, trigger, reduce == "true", now, now)


def row(algo: Algo) -> dict[str, Any]:
    """Write an algo order as its replies show it."""
    instrument, order = algo.instrument, algo.order
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.cid,
        "algoType": "CONDITIONAL",
        "orderType": algo.kind,
        "symbol": instrument.symbol,
        "side": algo.side.name,
        "positionSide": "BOTH",
        "timeInForce": "GTC",
        "quantity": instrument.qty(algo.lots),
        "algoStatus": algo.status,
        "actualOrderId": str(order.oid) if order is not None else "",
        "actualPrice": order.average if order is not None and order.filled else "0.00000",
        "triggerPrice": instrument.price(algo.trigger.tick),
        "price": "0.00",
        "icebergQuantity": None,
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
        "selfTradePreventionMode": "NONE",
        "workingType": _working(algo),
        "priceMatch": "NONE",
        "closePosition": False,
        "priceProtect": False,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.triggered_ms,
        "goodTillDate": 0,
    }


def update(algo: Algo, now: int) -> dict[str, Any]:
    """Write ALGO_UPDATE."""
    instrument, order = algo.instrument, algo.order
    placed = order is not None and algo.status in ("TRIGGERED", "FINISHED")
    part: dict[str, Any] = {
        "caid": algo.cid, "aid": algo.algo_id, "at": "CONDITIONAL", "o": algo.kind,
        "s": instrument.symbol, "S": algo.side.name, "ps": "BOTH", "f": "GTC",
        "q": instrument.qty(algo.lots), "X": algo.status,
        "ai": str(order.oid) if placed and order is not None else "",
        "tp": instrument.price(algo.trigger.tick), "p": "0", "V": "NONE", "wt": _working(algo),
        "pm": "NONE", "cp": False, "pP": False, "R": algo.reduce_only, "tt": algo.triggered_ms,
        "gtd": 0, "rm": algo.reason,
    }  # fmt: skip
    if placed and order is not None:
        part |= {"ap": order.average, "aq": instrument.qty(order.filled), "act": "MARKET"}
    return {"e": "ALGO_UPDATE", "E": now, "T": now, "o": part}


def _working(algo: Algo) -> str:
    return "MARK_PRICE" if algo.trigger.by is By.MARK else "CONTRACT_PRICE"
