"""R-41, R-43, R-46: paper and the exchange simulator answer the same order in the same way.

The simulator's venue has its own matching engine, filters and account, in integers, and shares no
code with paper. Both get the same orders on the same books, one after the other; codes, fills,
how the order ended, positions and money must agree all along.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from runner.base.rng import seeded
from runner.base.secret import Secret
from runner.engine.commands import Tif
from runner.engine.events import Account, Ack, Done, Event, Fill, Reject
from runner.exchanges.api import Credentials, Decoded, MarketBinding
from runner.exchanges.binance_usdm.orders import BinanceUsdmOrders
from runner.exchanges.bybit_linear.orders import BybitLinearOrders
from runner.market.instruments import Fees, Instrument, Kind
from runner.sim.matching import Side as SimSide
from tests.exchanges.paper.paperlab import Lab, ListBook
from tests.sim.sim_client import Quiet

TIFS = {Tif.GTC: "GTC", Tif.IOC: "IOC", Tif.FOK: "FOK", Tif.POST_ONLY: ("GTX", "PostOnly")}
LEVERAGE = 20


@dataclass(frozen=True)
class Answer:
    """What became of an order: the refusal's code, fills by tick, how it ended ("" rests)."""

    code: str
    fills: dict[int, int]
    end: str


class Twins:
    """One exchange of the simulator and its double on paper."""

    def __init__(self, type: str) -> None:
        self.type = type
        self.quiet = Quiet()
        self.venue = self.quiet.sim.exchanges[type].venue
        self.listed = self.venue.instruments["BTCUSDT"]
        rules = self.venue.rules
        self.lab = Lab(
            ListBook(),
            instrument=Instrument(
                exchange_type=type,
                symbol="BTCUSDT",
                kind=Kind.PERPETUAL,
                base="BTC",
                quote="USDT",
                tick=self.listed.tick,
                lot=self.listed.lot,
                min_qty=self.listed.lot * self.listed.min_lots,
                max_qty=self.listed.lot * self.listed.max_lots,
                min_notional=Decimal(self.listed.min_notional) / 10**8,
                fees=Fees(rules.maker_ppm / 10**6, rules.taker_ppm / 10**6),
                reduce_only_exempt_from_min=type == "binance_usdm",
            ),
            leverage={"BTCUSDT": LEVERAGE},
        )
        self.count = 0
        self.frames: list[str] = []
        self.told: list[Event] = []
        """what paper told of the last order"""
        self._listen()
        self.settle()

    def _listen(self) -> None:
        """Hear the private stream of the simulator, as its clients do."""
        exchange: Any = self.quiet.sim.exchanges[self.type]

        class Wire:
            def push(_, session: Any, name: str, text: str) -> None:
                self.frames.append(text)

        class Session:
            tag, combined, conn_id = "", False, "c"
            topics = frozenset({"order", "execution", "wallet", "position"})

        if self.type == "binance_usdm":
            exchange.user._wire = Wire
            exchange.user.sessions.add(Session())
        else:
            exchange._private._wire = Wire
            exchange._private._sessions.add(Session())

    def live(self, place: tuple[int, bytes]) -> list[Event]:
        """Return what the live adapter makes of the answer to `place` and of the stream."""
        instrument = self.lab.instrument
        binding = MarketBinding("m", "BTCUSDT", instrument)
        key = Credentials(Secret("key-of-the-twins"), Secret("secret-of-the-twins"))
        urls = dict.fromkeys(("rest", "private", "trade"), "http://localhost")
        codec: Any
        if self.type == "binance_usdm":
            codec = BinanceUsdmOrders("sim", [binding], key, urls, "http", "x", "r")
        else:
            codec = BybitLinearOrders([binding], key, urls, "http", "x", "r")
        cid = f"r{self.count:027d}"
        status, body = place
        _, events = codec.reply(cid, "place", status, {}, body, 0, 0)
        heard = list(events)
        for frame in self.frames:
            out = Decoded()
            codec.decode("private", frame.encode(), 0, 0, 1, False, out)
            assert not out.unrecognised, frame
            heard += out.events
        self.frames.clear()
        return heard

    def settle(self) -> None:
        """Let the market move on and stand; show paper the simulator's book."""
        self.quiet.pass_ms(200)
        self.venue.refresh("BTCUSDT")
        book = self.venue.books["BTCUSDT"]
        tick, lot = float(self.listed.tick), float(self.listed.lot)
        for mine, side in ((self.lab.book.bids, SimSide.BUY), (self.lab.book.asks, SimSide.SELL)):
            mine[:] = [(ticks * tick, lots * lot) for ticks, lots in book.top(side, 10_000)]
        market = self.lab.paper.venue.markets["m"]
        market.mark = self.listed.tick * self.venue.mark("BTCUSDT")
        # The simulator's book does without what was taken: nothing of ours is left to remember.
        market.own.clear()

    def touch(self, side: str, ticks: int = 0) -> str:
        """Return the price an order of `side` takes, moved by `ticks`."""
        price = self.lab.book.asks[0][0] if side == "buy" else self.lab.book.bids[0][0]
        return str(Decimal(repr(round(price, 1))) + ticks * self.listed.tick)

    def place(
        self, side: str, qty: str, price: str | None, tif: Tif = Tif.IOC, **more: Any
    ) -> tuple[Answer, Answer]:
        """Send the same order to both; return (simulator's answer, paper's answer)."""
        self.count += 1
        cid = f"r{self.count:027d}"
        reduce_only = more.get("reduce_only", False)
        ask = self._binance if self.type == "binance_usdm" else self._bybit
        theirs = ask(cid, side, qty, price, tif, reduce_only)
        lots = int(Decimal(qty) / self.listed.lot)
        told = self.lab.trade(
            side, lots, price, tif=tif, qty_text=qty, reduce_only=reduce_only, cid=cid
        )
        self.told = told
        return theirs, self._paper(told)

    def _binance(
        self, cid: str, side: str, qty: str, price: str | None, tif: Tif, reduce_only: bool
    ) -> Answer:
        params = {
            "symbol": "BTCUSDT",
            "side": side.upper(),
            "quantity": qty,
            "newClientOrderId": cid,
            "reduceOnly": "true" if reduce_only else "false",
        }
        if price is None:
            params["type"] = "MARKET"
        else:
            name = TIFS[tif] if isinstance(TIFS[tif], str) else TIFS[tif][0]
            params |= {"type": "LIMIT", "price": price, "timeInForce": name}
        body = self.quiet.binance("POST", "/fapi/v1/order", **params)
        self.reply = (400 if "code" in body else 200, json.dumps(body).encode())
        return self._sim(cid, str(body["code"]) if "code" in body else "")

    def _bybit(
        self, cid: str, side: str, qty: str, price: str | None, tif: Tif, reduce_only: bool
    ) -> Answer:
        params: dict[str, Any] = {
            "category": "linear",
            "symbol": "BTCUSDT",
            "qty": qty,
            "side": side.title(),
            "orderLinkId": cid,
            "reduceOnly": reduce_only,
        }
        if price is None:
            params["orderType"] = "Market"
        else:
            name = TIFS[tif] if isinstance(TIFS[tif], str) else TIFS[tif][1]
            params |= {"orderType": "Limit", "price": price, "timeInForce": name}
        body = self.quiet.bybit("POST", "/v5/order/create", **params)
        self.reply = (200, json.dumps(body).encode())
        return self._sim(cid, str(body["retCode"]) if body["retCode"] else "")

    def _sim(self, cid: str, code: str) -> Answer:
        if code:
            return Answer(code, {}, "rejected")
        order = self.venue.by_cid[cid][-1]
        fills: dict[int, int] = {}
        for fill in self.venue.fills:
            if fill.order is order:
                fills[fill.tick] = fills.get(fill.tick, 0) + fill.lots
        end = "" if order.status.open else order.status.value
        if end == "post_only_would_take":
            return Answer("", fills, "ended")
        return Answer("", fills, "ended" if end == "expired" else end)

    def _paper(self, told: list[Any]) -> Answer:
        fills: dict[int, int] = {}
        for fill in (e for e in told if isinstance(e, Fill)):
            ticks = round(fill.price / float(self.listed.tick))
            fills[ticks] = fills.get(ticks, 0) + fill.lots
        last = told[-1] if told else None
        done = next((e for e in told if isinstance(e, Done)), None)
        if isinstance(last, Reject):
            return Answer(last.code, fills, "rejected")
        if done is None:
            return Answer("", fills, "")
        return Answer("", fills, "filled" if done.end.value == "filled" else "ended")


def rejections(twins: Twins) -> list[tuple[Any, ...]]:
    """Orders that every exchange refuses, near the limits of what it takes."""
    buy, sell = twins.touch("buy"), twins.touch("sell")
    high = [str((Decimal(buy) * Decimal(f)).quantize(Decimal("0.1"))) for f in ("1.06", "1.2", "9")]
    low = [
        str((Decimal(sell) * Decimal(f)).quantize(Decimal("0.1"))) for f in ("0.94", "0.5", "0.1")
    ]
    cases: list[tuple[Any, ...]] = []
    for side, price in (("buy", buy), ("sell", sell)):
        for qty in ("0", "-0.01", "0.0005", "0.0105", "0.01000001", "5000"):
            cases.append((side, qty, price))
        for off in ("0.05", "0.01", "0.07"):
            cases.append((side, "0.01", str(Decimal(price) + Decimal(off))))
        for nothing in ("0", "-1"):
            cases.append((side, "0.01", nothing))
        cases.append((side, "0.01", price, Tif.IOC, True))
        cases.append((side, "0.01", None, Tif.IOC, True))
        cases.append((side, "4", price, Tif.IOC))
        cases.append((side, "3.9", None, Tif.IOC))
        cases.append((side, "4", price, Tif.GTC))
        for tif in (Tif.GTC, Tif.POST_ONLY, Tif.FOK):
            cases.append((side, "0.0001", price, tif))
    cases += [("buy", "0.01", price) for price in high]
    cases += [("sell", "0.01", price) for price in low]
    if twins.type == "binance_usdm":
        cases += [(side, "0.001", twins.touch(side)) for side in ("buy", "sell")]
        cases.append(("buy", "0.01", twins.touch("buy", 900), Tif.POST_ONLY))
        cases.append(("sell", "0.01", twins.touch("sell", -900), Tif.POST_ONLY))
        cases += [(side, "3", twins.touch(side, -9), Tif.FOK) for side in ("buy",)]
    return cases


@pytest.mark.parametrize("type", ["binance_usdm", "bybit_linear"])
def test_both_refuse_with_the_same_code(type: str) -> None:
    twins = Twins(type)
    different, seen = [], 0
    for case in rejections(twins):
        side, qty, price, *rest = case
        tif = rest[0] if rest else Tif.IOC
        theirs, ours = twins.place(side, qty, price, tif, reduce_only=len(rest) > 1)
        assert theirs.code, f"the simulator takes {case}"
        seen += 1
        if theirs != ours:
            different.append((case, theirs, ours))
        twins.settle()
    assert different == []
    assert seen >= 40


@pytest.mark.parametrize("type", ["binance_usdm", "bybit_linear"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_fill_the_same_orders_at_the_same_prices(type: str, seed: int) -> None:
    twins, rng = Twins(type), seeded("twins", seed)
    filled = 0
    for _ in range(60):
        side = rng.choice(("buy", "sell"))
        tif = rng.choice((Tif.IOC, Tif.IOC, Tif.FOK, Tif.POST_ONLY))
        qty = str(Decimal(rng.randint(2, 900)) * twins.listed.lot)
        market = rng.random() < 0.3
        price = (
            None
            if market
            else twins.touch(side, rng.randint(-3, 30) * (1 if side == "buy" else -1))
        )
        if tif is Tif.POST_ONLY and not market:
            price = twins.touch(side)  # it would take: resting orders are not compared
        theirs, ours = twins.place(
            side, qty, price, Tif.IOC if market else tif, reduce_only=rng.random() < 0.2
        )
        assert theirs == ours
        filled += bool(ours.fills)
        position = twins.venue.account.positions["BTCUSDT"]
        assert twins.lab.paper.venue.account.position("BTCUSDT") == position.lots
        twins.settle()
    assert filled >= 20
    theirs_money = Decimal(twins.venue.account.wallet) / 10**8
    ours_money = twins.lab.paper.venue.account.wallet["USDT"]
    assert abs(theirs_money - ours_money) < Decimal("0.00001")  # it rounds each fee to 1e-8


def story(events: list[Event]) -> list[tuple[Any, ...]]:
    """Tell a sequence without ids and times: an acknowledgement once, an execution once.

    Executions at one price stand together: how many of the others' orders were met is not known
    to paper.
    """
    told: list[tuple[Any, ...]] = []
    seen: set[str] = set()
    for event in events:
        if isinstance(event, Ack) and ("ack",) not in told:
            told.append(("ack",))
        elif isinstance(event, Fill) and event.trade_id not in seen:
            seen.add(event.trade_id)
            if told and told[-1][:2] == ("fill", event.price):
                told[-1] = ("fill", event.price, told[-1][2] + event.lots, event.maker)
            else:
                told.append(("fill", event.price, event.lots, event.maker))
        elif isinstance(event, Done):
            told.append(("done", event.end, event.filled_lots, event.code))
        elif isinstance(event, Reject):
            told.append(("reject", event.outcome, event.code))
    return told


@pytest.mark.parametrize("type", ["binance_usdm", "bybit_linear"])
def test_paper_tells_the_story_that_the_live_adapter_tells(type: str) -> None:
    """R-41: the same events in the same order, over 80 orders of all kinds."""
    twins, rng = Twins(type), seeded("stories", type)
    kinds = set()
    for _ in range(80):
        side = rng.choice(("buy", "sell"))
        tif = rng.choice((Tif.IOC, Tif.IOC, Tif.FOK, Tif.POST_ONLY))
        lots = rng.choice((rng.randint(2, 900), rng.randint(2, 900), 1, 4000))
        qty = str(Decimal(lots) * twins.listed.lot)
        toward = rng.randint(-5, 30) * (1 if side == "buy" else -1)
        price = twins.touch(side) if tif is Tif.POST_ONLY else twins.touch(side, toward)
        twins.frames.clear()
        twins.place(side, qty, price, tif, reduce_only=rng.random() < 0.1)
        live, paper = story(twins.live(twins.reply)), story(twins.told)
        assert paper == live
        kinds.add(tuple(part[0] for part in paper if part[0] != "fill"))
        assert any(isinstance(e, Account) for e in twins.told) == any(
            isinstance(e, Fill) for e in twins.told
        )
        twins.settle()
    assert {("ack", "done"), ("reject",)} <= kinds
