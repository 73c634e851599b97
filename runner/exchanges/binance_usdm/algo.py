"""Stops and targets on Binance USD-M: conditional orders of the algo service (binance-usdm.md, 6).

An algo order is a thing of its own. When its trigger is reached it puts an ordinary order into the
matching engine, under an order id that ALGO_UPDATE and the query name (`actualOrderId`), and a
client id that is not ours. `Algos` keeps that link, so that fills of the ordinary order are told
under the stop's own client id. The order's first events may come before the link is known: what
may be of a triggered stop is held back until ALGO_UPDATE names it, or for `HOLD`; then it counts
as others'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from runner.base.errors import ExchangeError
from runner.engine.commands import Intent, OrderType, Trigger
from runner.engine.events import Ack, CancelReply, Done, End, Event, OrderView
from runner.exchanges.api import HttpRequest, MarketBinding
from runner.exchanges.binance_usdm import wire
from runner.exchanges.binance_usdm.sign import Signer
from runner.exchanges.wire import FOREIGN, MS, is_ours, lots
from runner.market.instruments import Side

PATH: Final = "/fapi/v1/algoOrder"
HOLD: Final = 2_000_000_000
MOST_HELD: Final = 64
MOST_LINKS: Final = 4_096
_ENDS: Final[Mapping[str, End]] = {
    "CANCELED": End.CANCELED,
    "EXPIRED": End.EXPIRED,
    "REJECTED": End.REJECTED,
}
_STATUSES: Final[Mapping[str, str]] = {
    "NEW": "open",
    "TRIGGERING": "open",
    "TRIGGERED": "open",
    "CANCELED": "canceled",
    "EXPIRED": "expired",
    "REJECTED": "rejected",
}
_WAITING: Final = frozenset(("NEW", "TRIGGERING", "TRIGGERED"))
_WORKING: Final[Mapping[Trigger, str]] = {
    Trigger.MARK: "MARK_PRICE",
    Trigger.LAST: "CONTRACT_PRICE",
}
_TYPES: Final[Mapping[OrderType, str]] = {
    OrderType.STOP: "STOP_MARKET",
    OrderType.TARGET: "TAKE_PROFIT_MARKET",
}
_algo = msgspec.json.Decoder(wire.Algo, strict=False)
_update = msgspec.json.Decoder(wire.AlgoUpdate, strict=False)


def place_http(signer: Signer, intent: Intent, now_ms: int) -> HttpRequest:
    """Return POST algoOrder of a stop or a target."""
    if not intent.trigger_text:
        raise ExchangeError(f"{intent.cid}: a {intent.type} without a trigger price")
    side = "BUY" if intent.side is Side.BUY else "SELL"
    query = (
        f"algoType=CONDITIONAL&symbol={intent.symbol}&side={side}&type={_TYPES[intent.type]}"
        f"&quantity={intent.qty_text}&triggerPrice={intent.trigger_text}"
        f"&workingType={_WORKING[intent.trigger]}"
        f"{'&reduceOnly=true' if intent.reduce_only else ''}&clientAlgoId={intent.cid}"
    )
    window = intent.window_ns // MS
    return signer.signed("POST", PATH, query, now_ms, window_ms=window, weight=0, counts_order=True)


def read_algo(body: bytes) -> wire.Algo | None:
    """Read a single algo order; None when the body is none."""
    try:
        return _algo.decode(body)
    except FOREIGN:
        return None


def is_algo(body: bytes) -> bool:
    """Tell whether a body is of conditional orders."""
    return b'"algoId"' in body


class Algos:
    """The stops and targets of one account, and the ordinary orders that they became."""

    __slots__ = ("_by_symbol", "_held", "_links", "_prefix", "_symbols")

    def __init__(self, by_symbol: Mapping[str, MarketBinding], prefix: str) -> None:
        self._by_symbol = by_symbol
        self._prefix = prefix
        self._links: dict[str, str] = {}
        """order id in the matching engine -> the stop's client id"""
        self._symbols: dict[str, str] = {}
        """client id of a stop that may still fire -> symbol"""
        self._held: list[tuple[str, bytes, int]] = []

    def cid(self, order_id: str) -> str:
        """Return the stop that an ordinary order comes from; "" for none."""
        return self._links.get(order_id, "")

    def actual(self, cid: str) -> str:
        """Return the order id that a stop became; "" while it has not fired."""
        return next((oid for oid, name in self._links.items() if name == cid), "")

    # -- frames

    def update(self, frame: bytes, t: int, wall: int) -> list[Event]:
        """Decode ALGO_UPDATE of an own stop."""
        update = _update.decode(frame)
        part, ts = update.o, update.T * MS
        binding = self._by_symbol.get(part.s)
        if binding is None or not is_ours(part.caid, self._prefix):
            return []
        self._note(part.caid, part.s, part.X, part.ai)
        end = _ENDS.get(part.X)
        if end is not None:
            code = part.rm if end is End.REJECTED else ""
            return [Done(cid=part.caid, end=end, filled_lots=0, code=code, ts=ts, t=t, wall=wall)]
        if part.X == "NEW":
            return [_ack(part.caid, part.aid, ts, t, wall)]
        return []

    def holds(self, order_id: str, symbol: str, reduce_only: bool, frame: bytes, t: int) -> bool:
        """Keep back a frame of an unknown order that may be of a stop; False: it is not."""
        if not reduce_only or symbol not in self._symbols.values():
            return False
        if len(self._held) >= MOST_HELD:
            return False
        self._held.append((order_id, frame, t))
        return True

    def released(self, t: int) -> list[bytes]:
        """Return the frames that can be told now: their stop is known, or nobody claimed them."""
        if not self._held:
            return []
        ready = [h for h in self._held if h[0] in self._links or t - h[2] >= HOLD]
        if ready:
            self._held = [h for h in self._held if h not in ready]
        return [frame for _, frame, _ in ready]

    # -- answers

    def placed(self, algo: wire.Algo, t: int, wall: int) -> list[Event]:
        """Return what an answer to a place tells."""
        self._note(algo.clientAlgoId, algo.symbol, algo.algoStatus or "NEW", algo.actualOrderId)
        return [_ack(algo.clientAlgoId, algo.algoId, algo.updateTime * MS, t, wall)]

    def cancelled(self, cid: str, t: int, wall: int) -> list[Event]:
        """Return what an answer to a cancel tells; the end comes by ALGO_UPDATE or a query."""
        return [CancelReply(cid=cid, ok=True, t=t, wall=wall)]

    def view(self, algo: wire.Algo) -> OrderView | None:
        """Show a stop; None when only its ordinary order tells what became of it.

        ExchangeError for a status of no known meaning.
        """
        self._note(algo.clientAlgoId, algo.symbol, algo.algoStatus, algo.actualOrderId)
        if algo.actualOrderId and algo.algoStatus not in _ENDS:
            return None
        status = _STATUSES.get(algo.algoStatus)
        if status is None:
            raise ExchangeError(f"binance_usdm: an algo order is {algo.algoStatus[:40]!r}")
        binding = self._by_symbol.get(algo.symbol)
        return OrderView(
            cid=algo.clientAlgoId,
            exchange_id=f"algo{algo.algoId}",
            symbol=algo.symbol,
            side=algo.side.lower(),
            lots=lots(binding.instrument, algo.quantity) if binding is not None else 1,
            filled_lots=0,
            status=status,
            reduce_only=algo.reduceOnly,
            ts=algo.updateTime * MS,
            waits=status == "open",
        )

    def _note(self, cid: str, symbol: str, status: str, order_id: str) -> None:
        if status in _WAITING:
            self._symbols[cid] = symbol
        else:
            self._symbols.pop(cid, None)
        if order_id and order_id != "0":
            if len(self._links) >= MOST_LINKS:
                del self._links[next(iter(self._links))]
            self._links[order_id] = cid


def _ack(cid: str, algo_id: int | str, ts: int, t: int, wall: int) -> Ack:
    return Ack(cid=cid, exchange_id=f"algo{algo_id}", ts=ts, t=t, wall=wall)
