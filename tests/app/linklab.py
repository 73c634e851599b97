"""An order link whose exchange is the test: sockets and REST that follow what the test says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from runner.app.order_link import OrderLink
from runner.app.pacing import Pace
from runner.app.private_socket import Source
from runner.app.rest import Rest
from runner.base.clock import VirtualClock
from runner.base.errors import Down, ExchangeError, UnknownOutcome
from runner.base.rng import seeded
from runner.engine.commands import Cancel, Purpose, Query
from runner.engine.events import Event, Readiness, Ready
from runner.engine.proof import Journaled
from runner.exchanges.api import BudgetRule, HttpRequest
from runner.net.http import TIMEOUT_S, HttpResponse
from runner.net.mock import MockSocket
from runner.net.timesync import TimeSync
from runner.net.websocket import Listener, SocketOptions
from tests.exchanges.orders import codec, intent, journaled
from tests.patience import PATIENCE_S

Said = HttpResponse | ExchangeError | str
BINANCE, BYBIT = "binance_usdm", "bybit_linear"
CIDS = (f"rabcde0123456789{n:012d}" for n in itertools.count())


def ok(result: object) -> str:
    """Return a body of Bybit."""
    return msgspec.json.encode({"retCode": 0, "retMsg": "OK", "result": result}).decode()


EMPTY = ok({"list": [], "category": "linear"})
BODIES: dict[str, Said] = {
    "POST /fapi/v1/listenKey": '{"listenKey": "key"}',
    "PUT /fapi/v1/listenKey": "{}",
    "GET /fapi/v1/openOrders": "[]",
    "GET /fapi/v1/openAlgoOrders": "[]",
    "GET /fapi/v1/allOrders": "[]",
    "GET /fapi/v1/userTrades": "[]",
    "GET /fapi/v3/positionRisk": "[]",
    "GET /fapi/v3/account": (
        '{"totalMarginBalance":"100","totalMaintMargin":"0","assets":[],"positions":[]}'
    ),
    "POST /fapi/v1/countdownCancelAll": "{}",
    "GET /v5/order/realtime": EMPTY,
    "GET /v5/order/history": EMPTY,
    "GET /v5/execution/list": EMPTY,
    "GET /v5/account/wallet-balance": EMPTY,
    "GET /v5/position/list": EMPTY,
}
PICTURE = {BINANCE: "GET /fapi/v1/openOrders", BYBIT: "GET /v5/position/list"}


class Http:
    """Answers by method and path, as `says` has it: a text is a body of a 200."""

    def __init__(self) -> None:
        self.says: dict[str, Said | Callable[[HttpRequest], Said]] = dict(BODIES)
        self.asked: list[str] = []
        self.requests: list[HttpRequest] = []
        self.before: Callable[[str], Awaitable[None]] | None = None

    async def send(self, request: HttpRequest, timeout_s: float = TIMEOUT_S) -> HttpResponse:
        path = request.url.partition("?")[0].partition("://")[2].partition("/")[2]
        key = f"{request.method} /{path}"
        self.asked.append(key)
        self.requests.append(request)
        await asyncio.sleep(0)
        if self.before is not None:
            await self.before(key)
        said = self.says[key]
        answer = said(request) if callable(said) else said
        if isinstance(answer, ExchangeError):
            raise answer
        return (
            answer if isinstance(answer, HttpResponse) else HttpResponse(200, {}, answer.encode())
        )

    async def read(self, request: HttpRequest, timeout_s: float = TIMEOUT_S) -> HttpResponse:
        try:
            return await self.send(request)
        except UnknownOutcome as error:
            raise Down(str(error)) from error


class LabSocket(MockSocket):
    """Connects by itself unless held; Bybit's login and subscription are granted as said."""

    last_failure = ""

    def __init__(self, lab: Lab, source: Source, listener: Listener) -> None:
        super().__init__(listener, lab.numbers)
        self.urls: list[str] = []
        self.broken = False
        """the wire refuses to take anything, though it is up"""
        self._lab = lab
        self._source = source
        self._lost = asyncio.Event()
        self._closed = False

    async def run(self) -> None:
        while not self._closed:
            try:
                self.urls.append((await self._source()).url)
            except ExchangeError as error:
                self.last_failure = str(error)
                await asyncio.sleep(0.005)
                continue
            await self._lab.may_connect.wait()
            self._lost.clear()
            if not self._closed:
                self.connect()
                await self._lost.wait()

    def send(self, message: bytes) -> None:
        if self.broken:
            raise Down("the socket does not drain")
        super().send(message)
        grants = self._lab.grants
        if b'"op":"auth"' in message and "auth" in grants:
            self.later(grants["auth"])
        if b'"op":"subscribe"' in message and "subscribe" in grants:
            self.later(grants["subscribe"])

    def later(self, text: str) -> None:
        asyncio.get_running_loop().call_soon(self.push, text.encode())

    def drop(self, reason: str = "the connection was lost") -> None:
        if self.up:
            super().drop(reason)
        self._lost.set()

    kick = drop

    def close(self) -> None:
        self._closed = True
        self._lab.may_connect.set()
        self.drop("closed by us")


class Lab:
    """One link, on virtual time; `events` is what the engine would hear."""

    def __init__(
        self,
        type: str = BINANCE,
        entry: str = "websocket",
        rules: tuple[BudgetRule, ...] = (),
        dead_man_ns: int | None = None,
    ) -> None:
        self.type = type
        self.clock = VirtualClock()
        self.http = Http()
        self.events: list[Event] = []
        self.notices: list[str] = []
        self.wires: dict[str, LabSocket] = {}
        self.numbers = itertools.count(1)
        self.may_connect = asyncio.Event()
        self.may_connect.set()
        self.grants = {
            "auth": '{"success":true,"retCode":0,"op":"auth"}',
            "subscribe": '{"success":true,"ret_msg":"","op":"subscribe"}',
        }
        order_codec = codec(type, entry)
        self.pace = Pace(
            "x", self.clock, rules, tell=self.events.append, headers=order_codec.budgets_from
        )
        self.sync = TimeSync("x", self._no_time, self.clock, self.events.append)
        self.link = OrderLink(
            "x",
            order_codec,
            codec(type, "rest"),
            Rest("x", self.http, self.pace),
            self.sync,
            self.clock,
            self.events.append,
            ["BTCUSDT"],
            SocketOptions.make(self.numbers, seeded("x")),
            lambda name, text: self.notices.append(text),
            opener=self._open,
            dead_man_ns=dead_man_ns,
        )

    def _open(self, source: Source, listener: Listener, *rest: Any) -> LabSocket:
        wire = LabSocket(self, source, listener)
        self.wires[listener.spec.id] = wire  # type: ignore[attr-defined]
        return wire

    async def _no_time(self) -> int:
        raise Down("no time")

    @asynccontextmanager
    async def running(self, ready: bool = True) -> AsyncIterator[Lab]:
        """Run the link; nothing of it may be left behind."""
        before = asyncio.all_tasks()
        task = asyncio.create_task(self.link.run())
        await asyncio.sleep(0)
        try:
            if ready:
                await self.until(lambda: self.link.readiness is Readiness.READY)
                self.events.clear()
            yield self
            self.link.close()
            await asyncio.wait_for(task, PATIENCE_S)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert asyncio.all_tasks() == before

    async def until(self, true: Callable[[], bool], within: float = PATIENCE_S) -> None:
        """Wait until something is so."""
        deadline = asyncio.get_running_loop().time() + within
        while not true():
            assert asyncio.get_running_loop().time() < deadline, (self.events, self.notices)
            await asyncio.sleep(0.002)

    async def settle(self) -> None:
        """Let everything that can happen without the passing of time happen."""
        for _ in range(40):
            await asyncio.sleep(0)

    def all(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    @property
    def states(self) -> list[Readiness]:
        return [event.state for event in self.all(Ready)]

    @property
    def trade(self) -> LabSocket:
        return self.wires["trade"]

    @property
    def private(self) -> LabSocket:
        return self.wires["private"]

    def frames(self, part: bytes) -> list[bytes]:
        return [each for each in self.trade.sent if part in each]


def order(purpose: Purpose = Purpose.ENTRY, cid: str = "") -> Journaled:
    made = msgspec.structs.replace(intent(cid or next(CIDS)), purpose=purpose)
    return journaled(made)


def send(lab: Lab, each: Journaled) -> str:
    """Do as `LiveOrders` does with a group of one; return its client id."""
    why = lab.link.admit([each])
    if why:
        lab.link.refuse(each, why)
    else:
        lab.link.send(each, 0, 0)
        lab.link.sent()
    return each.intent.cid


def cancel(cid: str) -> Cancel:
    return Cancel(cid=cid, exchange="x", market="m", symbol="BTCUSDT")


def query(cid: str) -> Query:
    return Query(cid=cid, exchange="x", market="m", symbol="BTCUSDT", attempt=1)
