"""Both halves of each codec against the simulator, which shares no code with them.

Carried by aiohttp and websockets: this is about bytes, not about our own network floor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from math import nan

import aiohttp
import msgspec
import pytest
import websockets
from yarl import URL

from runner.base.clock import SystemClock
from runner.base.ids import client_id
from runner.engine.commands import Intent, OrderType, Purpose, Tif
from runner.engine.events import (
    Account,
    Ack,
    Amended,
    AmendReply,
    CancelReply,
    ClockReading,
    Done,
    End,
    Event,
    External,
    Fill,
    OrderView,
)
from runner.exchanges.api import (
    Decoded,
    HttpRequest,
    MarketBinding,
    MarketCodec,
    OrderCodec,
    Outcome,
    Request,
    SocketSpec,
    Want,
)
from runner.exchanges.registry import market_codec, order_codec
from runner.market.instruments import Side
from runner.market.state import MarketState, StreamWant
from runner.market.streams import BookStream, StreamState
from runner.sim.launch import Running, launch
from tests.exchanges.captures import instrument
from tests.exchanges.orders import credentials, journaled
from tests.patience import PATIENCE_S

TYPES = ["binance_usdm", "bybit_linear"]
CLOCK = SystemClock()
MINUTE = 60_000_000_000
DAY = 1440 * MINUTE


@pytest.fixture(scope="module")
def sim() -> Iterator[Running]:
    with launch(seed=11) as running:
        yield running


def now_ms() -> int:
    return CLOCK.wall() // 1_000_000


@dataclass
class Wire:
    """Sockets and HTTP of one exchange, and everything they brought."""

    type: str
    urls: dict[str, str]
    http: aiohttp.ClientSession
    stack: AsyncExitStack
    market: MarketCodec
    orders: OrderCodec
    binding: MarketBinding
    state: MarketState
    sockets: dict[str, websockets.ClientConnection] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    replies: dict[str, tuple[Outcome, list[Event]]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    unrecognised: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, request: HttpRequest | None) -> tuple[int, bytes, dict[str, str]]:
        assert request is not None
        async with self.http.request(
            request.method, URL(request.url, encoded=True), headers=dict(request.headers),
            data=request.body or None, skip_auto_headers={"Content-Type"},
        ) as answer:  # fmt: skip
            return answer.status, await answer.read(), dict(answer.headers)

    async def body(self, request: HttpRequest | None) -> bytes:
        status, body, _ = await self.ask(request)
        assert status == 200, body
        return body

    async def open(self, spec: SocketSpec) -> None:
        socket = await self.stack.enter_async_context(websockets.connect(spec.url))
        self.sockets[spec.id] = socket
        codec = self.orders if spec.kind in ("private", "trade") else self.market
        self.tasks.append(asyncio.create_task(self.read(spec.id, socket, codec)))
        if spec.needs_login:
            for frame in self.orders.login(spec.id, now_ms()):
                await socket.send(frame.decode())
            await self.until(lambda: "login_ok" in self.notices, "login")
            self.notices.remove("login_ok")
            for frame in self.orders.after_login(spec.id):
                await socket.send(frame.decode())
        for frame in spec.hello:
            await socket.send(frame.decode())

    async def read(
        self, id: str, socket: websockets.ClientConnection, codec: MarketCodec | OrderCodec
    ) -> None:
        conn = len(self.sockets)
        while True:
            try:
                message = await socket.recv()
            except websockets.ConnectionClosed:
                return
            data = message.encode() if isinstance(message, str) else message
            out = Decoded()
            codec.decode(id, data, CLOCK.mono(), CLOCK.wall(), conn, False, out)
            if out.unrecognised:
                self.unrecognised.append(data.decode()[:300])
            self.notices += out.notices
            self.replies.update((rid, (outcome, events)) for rid, outcome, events in out.replies)
            for event in out.events:
                self.events.append(event)
                self.state.apply(event)
            self.came.set()

    async def until(
        self, condition: Callable[[], object], what: str, within: float = PATIENCE_S
    ) -> None:
        """Wait for what only the other process can bring about."""
        try:
            async with asyncio.timeout(within):
                while not condition():
                    self.came.clear()
                    await self.came.wait()
        except TimeoutError:
            raise AssertionError(
                f"{self.type}: no {what}; notices {self.notices}, replies {self.replies},"
                f" unrecognised {self.unrecognised[:3]}"
            ) from None

    async def do(self, operation: str, cid: str, request: Request) -> tuple[Outcome, list[Event]]:
        """Send over the socket or HTTP and return the verdict."""
        if isinstance(request, HttpRequest):
            status, body, headers = await self.ask(request)
            return self.orders.reply(cid, operation, status, headers, body, 0, 0)
        await self.sockets["trade"].send(request.frame.decode())
        await self.until(lambda: request.id in self.replies, f"reply to {request.frame!r}")
        return self.replies.pop(request.id)

    @property
    def book(self) -> BookStream:
        stream = self.state.streams["m.book"]
        assert isinstance(stream, BookStream)
        return stream

    def of(self, kind: type[Event], cid: str) -> list[Event]:
        return [e for e in self.events if isinstance(e, kind) and getattr(e, "cid", "") == cid]


def order(
    cid: str, market: MarketBinding, side: Side, lots: int, price: float, tif: Tif,
    reduce_only: bool = False, type: OrderType = OrderType.LIMIT,
) -> Intent:  # fmt: skip
    ticks = market.instrument.ticks_for(price, side)
    return Intent(
        cid=cid, rule="r", group=1, leg=0, attempt=0, purpose=Purpose.ENTRY, exchange="x",
        market="m", symbol=market.symbol, side=side, type=type, tif=tif, lots=lots, ticks=ticks,
        qty_text=market.instrument.qty_text(lots),
        price_text=market.instrument.price_text(ticks) if type is OrderType.LIMIT else "",
        reduce_only=reduce_only, window_ns=5_000_000_000, t=0, wall=0,
    )  # fmt: skip


async def connect(
    sim: Running, type: str, stack: AsyncExitStack, order_entry: str, trade: bool = True
) -> Wire:
    urls = sim.endpoints[type]
    http = await stack.enter_async_context(aiohttp.ClientSession())
    probe = MarketBinding("m", "BTCUSDT", instrument(type, "BTCUSDT"))
    codec = market_codec(type, "sim", [probe], urls)
    async with http.get(codec.instruments(["BTCUSDT"])[0].url) as answer:
        (facts,) = codec.parse_instruments([await answer.read()])
    assert facts.status == "trading" and Decimal(facts.min_notional) > 0
    market = MarketBinding("m", "BTCUSDT", instrument(type, "BTCUSDT", facts.tick, facts.lot))
    keys = credentials(urls.get("key", "k" * 8), urls.get("secret", "s" * 8))
    wants = ["book", "trades", "bars"] + (["mark", "funding"] if trade else [])
    streams = [StreamWant(f"m.{k}", "m", "x", k, 10**10, MINUTE) for k in wants]
    codec = market_codec(type, "sim", [market], urls)
    wire = Wire(
        type, urls, http, stack, codec,
        order_codec(type if trade else "binance_usdm", "sim", [market], keys,
                    urls if trade else sim.endpoints["binance_usdm"], order_entry, exchange="x"),
        market, MarketState(streams),
    )  # fmt: skip
    stack.push_async_callback(finish, wire)
    for spec in codec.sockets(
        [Want("m", "BTCUSDT", k, every_ns=MINUTE if k == "bars" else None) for k in wants]
    ):
        await wire.open(spec)
    request = codec.snapshot("m")
    if request is not None:
        await wire.until(lambda: wire.state.resyncs, "difference of the book")
        body = await wire.body(request)
        wire.state.apply(codec.parse_snapshot("m", body, CLOCK.mono(), CLOCK.wall()))
    await wire.until(lambda: wire.book.book.in_step and wire.book.whole, "book")
    return wire


async def finish(wire: Wire) -> None:
    for task in wire.tasks:
        task.cancel()
    await asyncio.gather(*wire.tasks, return_exceptions=True)


@pytest.mark.parametrize("type", [*TYPES, "binance_spot"])
def test_market_data_of_the_simulator(sim: Running, type: str) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            wire = await connect(sim, type, stack, "rest", trade=type in TYPES)
            codec, streams = wire.market, wire.state.streams
            asked = CLOCK.mono()
            offset = codec.parse_time(await wire.body(codec.time())) - CLOCK.wall()
            assert abs(offset) < 5_000_000_000
            trip = CLOCK.mono() - asked
            reading = ClockReading(exchange="x", offset=offset, uncertainty=trip, t=asked + trip)
            wire.state.on_clock(reading)
            bars = codec.parse_bars("m", MINUTE, await wire.body(codec.bars("m", MINUTE, 50)))
            assert len(bars) == 50
            opened = [bar.open_at for bar in bars]  # type: ignore[attr-defined]
            assert opened == list(range(opened[0], opened[0] + 50 * MINUTE, MINUTE))
            if type in TYPES:
                body = await wire.body(codec.mark("m"))
                assert len(codec.parse_mark("m", body, 0, 0)) == 2
                asked_paid = codec.payments("m", (CLOCK.wall() - 3 * DAY) // 1_000_000)
                assert asked_paid is not None
                paid = codec.parse_payments("m", await wire.body(asked_paid))
                assert len(paid) >= 9 and CLOCK.wall() - paid[-1][0] < DAY // 3 + MINUTE
                assert {b - a for (a, _), (b, _) in pairwise(paid)} == {DAY // 3}
                await wire.until(lambda: streams["m.mark"].seq > 0, "mark price")
                await wire.until(lambda: streams["m.funding"].seq > 0, "funding rate")
            else:
                assert codec.payments("m", 0) is None
            await wire.until(lambda: streams["m.trades"].seq > 0, "trade", 20)
            book = wire.book
            assert book.state is StreamState.LIVE and book.bid < book.ask
            assert book.fill_price(True, float(wire.binding.instrument.lot_f), nan) >= book.ask
            start = book.seq
            await wire.until(lambda: book.seq > start + 20, "more frames of the book")
            assert book.state is StreamState.LIVE
            assert not wire.unrecognised

    asyncio.run(scenario())


@pytest.mark.parametrize("order_entry", ["websocket", "rest"])
@pytest.mark.parametrize("type", TYPES)
def test_the_life_of_orders_on_the_simulator(sim: Running, type: str, order_entry: str) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            wire = await connect(sim, type, stack, order_entry)
            orders, market = wire.orders, wire.binding
            key = orders.listen_key()
            listen = orders.parse_listen_key(await wire.body(key)) if key else None
            for spec in orders.private_sockets(listen):
                await wire.open(spec)
            await rests_and_is_cancelled(wire)
            await is_changed_in_place(wire)
            await fills_and_is_closed(wire, sim)
            await refusals(wire)
            setup = orders.parse_setup(
                [await wire.body(r) for r in orders.setup(["BTCUSDT"], now_ms())]
            )
            assert setup.position_mode == "one_way" and setup.leverage["BTCUSDT"] >= 1
            for request in (
                orders.set_leverage("BTCUSDT", setup.leverage["BTCUSDT"], now_ms()),
                orders.set_position_mode("one_way", now_ms()),
                orders.set_margin_mode("BTCUSDT", setup.margin_mode["BTCUSDT"], now_ms()),
            ):
                status, body, _ = await wire.ask(request)
                orders.parse_set(status, body)
            maker, taker = orders.parse_fees(await wire.body(orders.fees("BTCUSDT", now_ms())))
            assert 0 < maker < taker < 0.01
            facts = orders.parse_key_facts(await wire.body(orders.key_facts(now_ms())))
            assert facts.can_trade and not facts.can_withdraw
            assert market.symbol == "BTCUSDT" and not wire.unrecognised

    asyncio.run(scenario())


def new_cid(wire: Wire, n: int) -> str:
    entry = "w" if "trade" in wire.sockets else "h"
    return client_id("rabcde", f"{wire.type[:4]}{entry}00000", n, 0, 0)


async def rests_and_is_cancelled(wire: Wire) -> None:
    orders, market = wire.orders, wire.binding
    cid = new_cid(wire, 1)
    price = wire.book.last_bid * 0.98
    lots = market.instrument.lots_for_base(200 / price)
    intent = order(cid, market, Side.BUY, lots, price, Tif.POST_ONLY)
    outcome, events = await wire.do("place", cid, orders.place(journaled(intent), now_ms(), "a"))
    assert outcome is Outcome.ACCEPTED, events
    assert isinstance(events[0], Ack) and events[0].exchange_id
    await wire.until(lambda: wire.of(Ack, cid), "order on the user stream")
    answers = [await wire.body(request) for request in orders.open_orders(now_ms())]
    (view,) = [v for body in answers for v in orders.parse_open_orders(body) if v.cid == cid]
    assert (view.lots, view.filled_lots, view.status) == (lots, 0, "open")
    assert (view.price_ticks, view.side) == (intent.ticks, "buy")
    outcome, events = await wire.do("cancel", cid, orders.cancel("BTCUSDT", cid, now_ms(), "b"))
    assert outcome is Outcome.ACCEPTED, events
    assert isinstance(events[0], CancelReply) and events[0].ok
    await wire.until(lambda: wire.of(Done, cid), "end of the order")
    (done,) = wire.of(Done, cid)
    assert isinstance(done, Done) and (done.end, done.filled_lots) == (End.CANCELED, 0)
    verdict, view_ = await asked(wire, cid)
    assert verdict is Outcome.ACCEPTED and view_ is not None and view_.status == "canceled"
    outcome, events = await wire.do("cancel", cid, orders.cancel("BTCUSDT", cid, now_ms(), "c"))
    assert outcome is not Outcome.ACCEPTED
    assert isinstance(events[0], CancelReply) and not events[0].ok


async def is_changed_in_place(wire: Wire) -> None:
    orders, market = wire.orders, wire.binding
    cid = new_cid(wire, 9)
    price = wire.book.last_bid * 0.98
    lots = market.instrument.lots_for_base(400 / price)
    intent = order(cid, market, Side.BUY, lots, price, Tif.POST_ONLY)
    await wire.do("place", cid, orders.place(journaled(intent), now_ms(), "m1"))
    await wire.until(lambda: wire.of(Ack, cid), "order on the user stream")

    change = changed(intent, market, 1, lots // 2, price * 0.999)
    outcome, events = await wire.do("amend", cid, orders.amend(journaled(change), now_ms(), "m2"))
    assert outcome is Outcome.ACCEPTED, events
    assert isinstance(events[0], AmendReply) and events[0].ok
    await wire.until(lambda: wire.of(Amended, cid), "change on the user stream")
    shown = wire.of(Amended, cid)[-1]
    assert isinstance(shown, Amended) and (shown.lots, shown.ticks) == (lots // 2, change.ticks)
    _, view = await asked(wire, cid)
    assert isinstance(view, OrderView)
    assert (view.lots, view.price_ticks, view.status) == (lots // 2, change.ticks, "open")

    again = orders.amend(journaled(changed(change, market, 2, lots // 2, price * 0.999)),
                         now_ms(), "m3")  # fmt: skip
    outcome, events = await wire.do("amend", cid, again)
    assert outcome is not Outcome.ACCEPTED  # nothing would be another
    assert isinstance(events[0], AmendReply) and not events[0].ok

    through = changed(change, market, 3, lots // 2, wire.book.last_ask * 1.001)
    await wire.do("amend", cid, orders.amend(journaled(through), now_ms(), "m4"))
    await wire.until(lambda: wire.of(Done, cid), "end of an order that would have taken")
    (done,) = wire.of(Done, cid)
    assert isinstance(done, Done) and done.filled_lots == 0 and done.end is not End.FILLED

    outcome, events = await wire.do(
        "amend", cid, orders.amend(journaled(changed(change, market, 4, lots, price)), now_ms(),
                                   "m5")
    )  # fmt: skip
    assert outcome is not Outcome.ACCEPTED
    assert isinstance(events[0], AmendReply)
    assert (events[0].ok, events[0].outcome) == (False, "rejected")


def changed(
    before: Intent, market: MarketBinding, revision: int, lots: int, price: float
) -> Intent:
    ticks = market.instrument.ticks_for(price, before.side)
    return msgspec.structs.replace(
        before, revision=revision, lots=lots, ticks=ticks,
        qty_text=market.instrument.qty_text(lots),
        price_text=market.instrument.price_text(ticks),
    )  # fmt: skip


async def asked(wire: Wire, cid: str) -> tuple[Outcome, object]:
    verdict: tuple[Outcome, object] = (Outcome.UNKNOWN, None)
    for request in wire.orders.query("BTCUSDT", cid, now_ms()):
        status, body, _ = await wire.ask(request)
        verdict = wire.orders.parse_query(cid, status, body)
        if verdict[0] is Outcome.ACCEPTED:
            break
    return verdict


async def fills_and_is_closed(wire: Wire, sim: Running) -> None:
    orders, market = wire.orders, wire.binding
    lots = market.instrument.lots_for_base(300 / wire.book.last_ask)
    for n, side in ((2, Side.BUY), (3, Side.SELL)):
        cid = new_cid(wire, n)
        price = wire.book.last_ask * (1.01 if side is Side.BUY else 0.99)
        intent = order(cid, market, side, lots, price, Tif.IOC, reduce_only=side is Side.SELL)
        request = orders.place(journaled(intent), now_ms(), f"f{n}")
        outcome, events = await wire.do("place", cid, request)
        assert outcome is Outcome.ACCEPTED, events
        await wire.until(lambda cid=cid: wire.of(Done, cid), "end of the order")
        fills = {f.trade_id: f for f in wire.of(Fill, cid)}  # type: ignore[attr-defined]
        assert sum(fill.lots for fill in fills.values()) == lots
        fees = [f.fee for f in wire.of(Fill, cid) if f.fee is not None]  # type: ignore[attr-defined]
        assert len(fees) == len(fills) and all(fee > 0 for fee in fees)
        bodies = [await wire.body(r) for r in orders.account(now_ms())]
        account = orders.parse_account(bodies, 0, 0)
        (usdt,) = [b for b in account.balances if b.asset == "USDT"]
        assert usdt.total > 1_000 and account.equity is not None
        held = {p.symbol: p.lots for p in account.positions}.get("BTCUSDT", 0)
        assert held == (lots if side is Side.BUY else 0)
        if held:
            await pays_funding(wire, sim, held)
        history = orders.parse_fills(await wire.body(orders.fills("BTCUSDT", 0, now_ms())))
        assert {f.trade_id for f in history if f.cid == cid} == set(fills)
        since = orders.fills("BTCUSDT", now_ms() - 60_000, now_ms())
        assert {f.trade_id for f in orders.parse_fills(await wire.body(since))} >= set(fills)
    await wire.until(lambda: any(isinstance(e, Account) for e in wire.events), "account push")


async def pays_funding(wire: Wire, sim: Running, lots: int) -> None:
    """Of a cross position Binance names no market: the codec knows what is held."""
    sim.market({"exchange": wire.type, "funding": True})
    await wire.until(
        lambda: any(isinstance(e, External) and e.what == "funding" for e in wire.events), "funding"
    )
    (paid,) = [e for e in wire.events if isinstance(e, External) and e.what == "funding"]
    notional = wire.binding.instrument.base_qty(lots) * Decimal(wire.book.last_ask)
    assert paid.market == wire.binding.market and paid.asset in ("USDT", "")
    assert -paid.amount == pytest.approx(float(notional) * 1e-4, rel=0.05)


async def refusals(wire: Wire) -> None:
    orders, market = wire.orders, wire.binding
    verdict = await asked(wire, new_cid(wire, 99))
    assert verdict == (Outcome.REJECTED, None)
    cid = new_cid(wire, 4)
    tiny = order(cid, market, Side.BUY, 1, wire.book.last_bid * 0.01, Tif.GTC)
    outcome, events = await wire.do("place", cid, orders.place(journaled(tiny), now_ms(), "t"))
    assert outcome is Outcome.REJECTED, events
    cid = new_cid(wire, 5)
    old = order(cid, market, Side.BUY, 100, wire.book.last_bid * 0.98, Tif.GTC)
    if wire.type == "binance_usdm" or "trade" not in wire.sockets:
        request = orders.place(journaled(old), now_ms() - 60_000, "o")
        outcome, events = await wire.do("place", cid, request)
        assert outcome is Outcome.CLOCK, events
    if wire.type == "bybit_linear":
        await asyncio.sleep(1.0)  # ten orders a second is its limit, and the simulator keeps to it
    cid = new_cid(wire, 6)
    for n, expected in enumerate((Outcome.ACCEPTED, Outcome.UNKNOWN)):
        twice = order(cid, market, Side.BUY, 100, wire.book.last_bid * 0.98, Tif.GTC)
        request = orders.place(journaled(twice), now_ms(), f"d{n}")
        outcome, events = await wire.do("place", cid, request)
        assert outcome is expected, events
    request = orders.cancel_all("BTCUSDT", now_ms(), "all")
    outcome, _ = await wire.do("cancel_all", "", request)
    assert outcome is Outcome.ACCEPTED
    await wire.until(lambda: wire.of(Done, cid), "end of the order")
