"""The yardstick of `bench loopback`: what a programmer would write by hand for this one rule.

picows, msgspec, a bytes template, a prepared HMAC. It does the same visible work as ours: parses
the frame, compares, names and prices the order, commits the same row of the same table (with a
journal), signs and sends the same message. It knows no freshness, no limits, no rates, no states
and no second market, and it does not write down what its trade is for a restart, as ours does in a
second row. It commits in the table itself, where ours commits to the journal's tail. It fires on
each heavy top. It is measured, never traded with.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Final

import msgspec
import picows
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from runner.app.bench.setup import CREDENTIALS
from runner.base.clock import NS_PER_MS, SystemClock
from runner.exchanges.hmac_key import HmacKey
from runner.store.schema import INTENT_ROW

_SIGNED: Final = (
    b"%b&newOrderRespType=RESULT&price=%b&quantity=0.002&recvWindow=1000&side=BUY"
    b"&symbol=BTCUSDT&timeInForce=IOC&timestamp=%d&type=LIMIT"
)


class _Top(msgspec.Struct):
    u: int
    E: int
    b: float
    B: float
    a: float
    A: float


class _Frame(msgspec.Struct):
    data: _Top


_decode = msgspec.json.Decoder(_Frame, strict=False).decode


class Client:
    """Feed, rule and orders in one; `db` None: without a journal."""

    def __init__(self, name: str, clock: SystemClock, db: sqlite3.Connection | None) -> None:
        self.fired = 0
        self._name = name
        self._clock = clock
        self._db = db
        self._trade: WSTransport | None = None
        key = CREDENTIALS.key.reveal().encode()
        self._key = HmacKey(CREDENTIALS.secret).after(b"apiKey=" + key + b"&newClientOrderId=")
        self._frame = (
            b'{"id":"%b","method":"order.place","params":{"apiKey":"' + key + b'",'
            b'"newClientOrderId":"%b","newOrderRespType":"RESULT","symbol":"BTCUSDT","side":"BUY",'
            b'"type":"LIMIT","timeInForce":"IOC","price":"%b","quantity":"0.002",'
            b'"recvWindow":1000,"timestamp":%d,"signature":"%b"}}'
        )

    async def connect(self, root: str) -> None:
        """Open both sockets."""
        self._trade, _ = await picows.ws_connect(WSListener, f"{root}/{self._name}/trade")
        await picows.ws_connect(lambda: _Reader(self), f"{root}/{self._name}/public")

    def top(self, payload: memoryview) -> None:
        """Decide on one top of book."""
        top = _decode(payload).data
        if (top.B - top.A) / (top.B + top.A) > 0.5:
            self._fire(top)

    def _fire(self, top: _Top) -> None:
        self.fired += 1
        cid = f"hand{hashlib.sha1(self._name.encode()).hexdigest()[:8]}{self.fired:016d}"
        ticks = int(top.a * 1.0001 * 10)
        price = b"%d.%d" % divmod(ticks, 10)
        wall = self._clock.wall()
        if self._db is not None:
            self._write(cid, ticks, price.decode(), top.u, wall)
        name, now = cid.encode(), wall // NS_PER_MS
        signature = self._key.sign(_SIGNED % (name, price, now)).encode()
        assert self._trade is not None
        self._trade.send(WSMsgType.TEXT, self._frame % (name, name, price, now, signature))

    def _write(self, cid: str, ticks: int, price: str, u: int, wall: int) -> None:
        assert self._db is not None
        row = (
            cid, self.fired, "hand000000", "take", self.fired, 0, 0, "entry", "bin", "m", "BTCUSDT",
            "buy", "limit", "ioc", 2, ticks, "0.002", price, False, 1_000_000_000,
            self._clock.mono(), wall, f'[["m.book",{u},0]]',
        )  # fmt: skip
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        execute(INTENT_ROW, row)
        execute("COMMIT")


class _Reader(WSListener):
    def __init__(self, client: Client) -> None:
        self._client = client

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            self._client.top(frame.get_payload_as_memoryview())
