"""The control API of the simulator, on its own port of loopback: faults, clock, market, oracle.

`GET /ledger` is what a test compares a runner's books with: every order ever accepted by client
id, every request that reached an order route, positions and balances.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from aiohttp import web

from runner.sim.account import Account
from runner.sim.catalogue import money_text
from runner.sim.faults import FaultSpec, UnknownFault
from runner.sim.matching import Side
from runner.sim.orders import Fill, Kind, Order, Refusal, Tif
from runner.sim.simulation import Exchange, Simulation
from runner.sim.venue import Venue
from runner.sim.wire import LOOPBACK, SHUTDOWN_S


class Move(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One line of a market script.

    It moves a price for a while, pays funding now, or does by another hand what a runner must
    notice: `cancel` the open order with a client id, `trade` a signed quantity at the market.
    """

    exchange: str
    symbol: str = ""
    move_bps: float = 0.0
    for_s: float = 1.0
    funding: bool = False
    cancel: str = ""
    trade: str = ""


class Script(msgspec.Struct, forbid_unknown_fields=True):
    """What POST /market takes. `dislocations` switches the seeded ones on and off."""

    script: list[Move] = []
    dislocations: bool | None = None


class Skew(msgspec.Struct, forbid_unknown_fields=True):
    """What POST /clock takes."""

    skew_ms: int


class BadRequest(Exception):
    """The control API cannot read a request."""


class Control:
    """Answer the control API of one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._by_hand = 0
        self._runner: web.AppRunner | None = None

    async def open(self, port: int = 0) -> str:
        """Listen; returns the base URL."""
        app = web.Application()
        app.router.add_post("/fault", self._add_fault)
        app.router.add_get("/fault", self._list_faults)
        app.router.add_delete("/fault/{key}", self._end_fault)
        app.router.add_get("/orders", self._orders)
        app.router.add_get("/ledger", self._ledger)
        app.router.add_post("/clock", self._clock)
        app.router.add_post("/market", self._market)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, port).start()
        return f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            spec = msgspec.json.decode(await request.read(), type=FaultSpec)
            return _json({"id": self._simulation.faults.add(spec)})
        except (msgspec.MsgspecError, UnknownFault) as error:
            return _json({"error": str(error)}, 400)

    async def _list_faults(self, request: web.Request) -> web.Response:
        active = self._simulation.faults.active
        return _json(
            {key: {"name": f.spec.name, "matched": f.matched, "hits": f.hits}
             for key, f in active.items()}
        )  # fmt: skip

    async def _end_fault(self, request: web.Request) -> web.Response:
        found = self._simulation.faults.remove(request.match_info["key"])
        return _json({"ended": found}, 200 if found else 404)

    async def _orders(self, request: web.Request) -> web.Response:
        cid = request.query.get("cid", "")
        return _json(
            {name: [order_row(order) for order in exchange.venue.by_cid.get(cid, [])]
             for name, exchange in self._simulation.exchanges.items()}
        )  # fmt: skip

    async def _ledger(self, request: web.Request) -> web.Response:
        exchanges = self._simulation.exchanges
        return _json({name: ledger_of(exchange) for name, exchange in exchanges.items()})

    async def _clock(self, request: web.Request) -> web.Response:
        try:
            skew = msgspec.json.decode(await request.read(), type=Skew)
        except msgspec.MsgspecError as error:
            return _json({"error": str(error)}, 400)
        self._simulation.skew_ms = skew.skew_ms
        return _json({"skew_ms": skew.skew_ms})

    async def _market(self, request: web.Request) -> web.Response:
        try:
            script = msgspec.json.decode(await request.read(), type=Script)
            for move in script.script:
                self._move(move)
        except (msgspec.MsgspecError, BadRequest) as error:
            return _json({"error": str(error)}, 400)
        if script.dislocations is not None:
            self._simulation.market.quiet(not script.dislocations)
        return _json({"step": self._simulation.market.step})

    def _move(self, move: Move) -> None:
        exchange = self._simulation.exchanges.get(move.exchange)
        if exchange is None:
            raise BadRequest(f"no exchange {move.exchange!r}")
        if move.funding:
            exchange.venue.pay_funding()
            return
        if move.cancel:
            self._cancel(exchange.venue, move.cancel)
            return
        if move.symbol not in exchange.venue.instruments:
            raise BadRequest(f"no symbol {move.symbol!r}")
        if move.trade:
            self._trade(exchange.venue, move.symbol, move.trade)
            return
        self._simulation.market.move(move.exchange, move.symbol, move.move_bps, move.for_s)

    @staticmethod
    def _cancel(venue: Venue, cid: str) -> None:
        try:
            venue.cancel(venue.find(None, cid))
        except Refusal:
            raise BadRequest(f"no open order {cid!r}") from None

    def _trade(self, venue: Venue, symbol: str, signed: str) -> None:
        """Trade on the account by another hand; its orders are named `web-1`, `web-2`, ..."""
        instrument = venue.instruments[symbol]
        try:
            qty = Decimal(signed)
            lots = instrument.lots(abs(qty))
        except (InvalidOperation, ValueError, OverflowError):
            lots = None
        if not lots:
            raise BadRequest(f"no quantity of {symbol}: {signed!r}")
        self._by_hand += 1
        name = f"web-{self._by_hand}"
        side = Side.BUY if qty > 0 else Side.SELL
        order = Order(name, instrument, side, Kind.MARKET, Tif.IOC, 0, lots, external_id=name)
        try:
            venue.place(order)
        except Refusal as refusal:
            raise BadRequest(f"refused: {refusal.why.value}") from None


def _json(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json")


def ledger_of(exchange: Exchange) -> dict[str, Any]:
    """Return all that ever happened on an exchange's account."""
    venue = exchange.venue
    return {
        "requests": {
            cid: [{"route": r.route, "ts": r.ts_ms, "outcome": r.outcome} for r in requests]
            for cid, requests in venue.requests.items()
        },
        "orders": {cid: [order_row(o) for o in orders] for cid, orders in venue.by_cid.items()},
        "fills": [fill_row(fill) for fill in venue.fills],
        "waiting": venue.waiting(),
        "positions": _positions(venue.account),
        "balances": {"USDT": money_text(venue.account.wallet)},
        "fees": money_text(venue.account.fees),
        "funding": money_text(venue.account.funding),
    }


def _positions(account: Account) -> dict[str, dict[str, str]]:
    return {
        symbol: {"qty": p.instrument.qty(p.lots), "entry": p.entry(),
                 "realised": money_text(p.realised)}
        for symbol, p in account.positions.items()
    }  # fmt: skip


def order_row(order: Order) -> dict[str, Any]:
    """Write one order, in no dialect."""
    instrument = order.instrument
    return {
        "cid": order.cid,
        "id": order.external_id or str(order.oid),
        "symbol": instrument.symbol,
        "side": order.side.name.lower(),
        "type": order.kind.value,
        "tif": order.tif.value,
        "price": instrument.price(order.tick),
        "qty": instrument.qty(order.lots),
        "filled": instrument.qty(order.filled),
        "average": order.average,
        "fee": money_text(order.fee),
        "reduce_only": order.reduce_only,
        "status": order.status.value,
        "created_ms": order.created_ms,
        "updated_ms": order.updated_ms,
    }


def fill_row(fill: Fill) -> dict[str, Any]:
    """Write one fill, in no dialect."""
    instrument = fill.order.instrument
    return {
        "id": str(fill.trade_id),
        "cid": fill.order.cid,
        "symbol": instrument.symbol,
        "side": fill.order.side.name.lower(),
        "price": instrument.price(fill.tick),
        "qty": instrument.qty(fill.lots),
        "fee": money_text(fill.fee),
        "realised": money_text(fill.realised),
        "maker": fill.maker,
        "ts_ms": fill.ts_ms,
    }
