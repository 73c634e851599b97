"""Fills are read without a hole: page after page, week after week, from before the last picture."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from runner.app.account_reader import LOOK_BACK_MS
from runner.base.errors import Down
from runner.engine.events import Fill, Found, Reconciled
from runner.exchanges.api import HttpRequest
from tests.app.linklab import BINANCE, BYBIT, Lab, ok, query

WEEK_MS = 7 * 86_400_000
TRADES = {BINANCE: "GET /fapi/v1/userTrades", BYBIT: "GET /v5/execution/list"}


class Trades:
    """An exchange with trades at given times (ms): pages as the documents say."""

    def __init__(self, kind: str, times: list[int]) -> None:
        self.kind = kind
        self.times = times
        self.asked: list[dict[str, int]] = []

    def __call__(self, request: HttpRequest) -> str:
        given = parse_qs(urlsplit(request.url).query)
        query = {name: int(of[0]) for name, of in given.items() if name in ("startTime", "endTime")}
        self.asked.append(query)
        since = query["startTime"]
        until = query.get("endTime", since + WEEK_MS)
        rows = [(n, at) for n, at in enumerate(self.times) if since <= at <= until]
        if self.kind == BINANCE:
            return json.dumps([self._trade(n, at) for n, at in rows[:1000]])
        return ok({"list": [self._execution(n, at) for n, at in rows[::-1][:100]]})

    def _trade(self, n: int, at: int) -> dict[str, object]:
        return {"symbol": "BTCUSDT", "id": n, "orderId": 1, "price": "1", "qty": "0.001",
                "time": at}  # fmt: skip

    def _execution(self, n: int, at: int) -> dict[str, object]:
        return {"symbol": "BTCUSDT", "execId": str(n), "orderId": "1", "orderLinkId": "c",
                "execPrice": "1", "execQty": "0.001", "execTime": str(at)}  # fmt: skip


def read(kind: str, times: list[int], last_fill_ms: int = 0) -> tuple[Trades, list[str]]:
    """Return what was asked, and the trade ids of the picture."""

    async def run() -> tuple[Trades, list[str]]:
        lab = Lab(kind)
        trades = Trades(kind, [lab.sync.now_ms() - each for each in times])
        lab.http.says[TRADES[kind]] = trades
        async with lab.running(ready=False):
            if last_fill_ms:
                lab.link.last_fill_ms = lab.sync.now_ms() - last_fill_ms
            await lab.until(lambda: bool(lab.all(Reconciled)))
            (picture, *_) = lab.all(Reconciled)
        return trades, [fill.trade_id for fill in picture.fills]

    return asyncio.run(run())


@pytest.mark.parametrize(("kind", "page"), [(BINANCE, 1000), (BYBIT, 100)])
def test_more_than_a_page_of_fills_is_read_whole(kind: str, page: int) -> None:
    count = 2 * page + 7
    times = [30_000 - n // 3 for n in range(count)]  # three trades in each millisecond
    trades, ids = read(kind, times)
    assert {int(each) for each in ids} == set(range(count))
    assert len(trades.asked) >= 3


@pytest.mark.parametrize("kind", [BINANCE, BYBIT])
def test_one_page_is_asked_for_once(kind: str) -> None:
    trades, ids = read(kind, [1000, 500])
    assert sorted(ids) == ["0", "1"] and len(trades.asked) == 1


@pytest.mark.parametrize("kind", [BINANCE, BYBIT])
def test_after_three_weeks_of_rest_every_week_is_read(kind: str) -> None:
    times = [20 * 86_400_000, 10 * 86_400_000, 1000]
    _, ids = read(kind, times, last_fill_ms=21 * 86_400_000)
    assert sorted(ids) == ["0", "1", "2"]


def test_more_than_a_page_of_open_orders_is_read_whole() -> None:
    """What a page leaves out would look ended, and the stops of others would not be counted."""
    asked: list[dict[str, list[str]]] = []

    def page(request: HttpRequest) -> str:
        given = parse_qs(urlsplit(request.url).query)
        asked.append(given)
        first, most = int(given.get("cursor", ["p:0"])[0].split(":")[1]), int(given["limit"][0])
        rows = [
            {"symbol": "BTCUSDT", "orderId": f"o{n}", "orderLinkId": "", "side": "Sell",
             "orderStatus": "Untriggered" if n % 2 else "New", "qty": "0.001"}
            for n in range(117)
        ]  # fmt: skip
        cursor = f"p%3A{first + most}" if first + most < len(rows) else ""
        return ok({"list": rows[first : first + most], "nextPageCursor": cursor})

    async def run() -> Reconciled:
        lab = Lab(BYBIT)
        lab.http.says["GET /v5/order/realtime"] = page
        async with lab.running(ready=False):
            await lab.until(lambda: bool(lab.all(Reconciled)))
            return lab.all(Reconciled)[0]

    picture = asyncio.run(run())
    assert [view.exchange_id for view in picture.open_orders] == [f"o{n}" for n in range(117)]
    assert [view.waits for view in picture.open_orders[:3]] == [False, True, False]
    assert [each.get("cursor") for each in asked[:3]] == [None, ["p:50"], ["p:100"]]


def test_what_the_exchange_did_since_the_run_began_is_in_a_picture() -> None:
    async def run() -> None:
        lab = Lab(BYBIT)
        began = lab.sync.now_ms()
        row = {"symbol": "BTCUSDT", "orderId": "1", "side": "Buy", "execPrice": "1",
               "execQty": "0.001", "execFee": "0.1"}  # fmt: skip
        rows = [
            row | {"execId": "old", "execType": "AdlTrade", "execTime": str(began - 1)},
            row | {"execId": "adl", "execType": "AdlTrade", "execTime": str(began + 4_000)},
            row | {"execId": "paid", "execType": "Funding", "execTime": str(began + 4_500)},
            row | {"execId": "hand", "execType": "Trade", "execTime": str(began + 4_500)},
        ]
        shown: list[dict[str, str]] = rows[:1]
        lab.http.says[TRADES[BYBIT]] = lambda _request: ok({"list": shown})
        async with lab.running():
            lab.link.reconcile()
            await lab.until(lambda: bool(lab.all(Reconciled)))
            assert lab.all(Reconciled)[0].externals == (), "its position shows it"
            shown.extend(rows[1:])
            for _ in range(2):
                lab.clock.advance(5_000_000_000)
                count = len(lab.all(Reconciled))
                lab.link.reconcile()
                await lab.until(lambda count=count: len(lab.all(Reconciled)) > count)  # type: ignore[misc]
            told = [[(e.what, e.id) for e in p.externals] for p in lab.all(Reconciled)]
            assert told[-1] == [("adl", "adl"), ("funding", "paid")] == told[-2]

    asyncio.run(run())


def test_reading_begins_a_minute_before_the_last_picture_and_a_failed_one_does_not_count() -> None:
    async def run() -> None:
        lab = Lab(BYBIT)
        trades = Trades(BYBIT, [])
        lab.http.says[TRADES[BYBIT]] = trades
        async with lab.running():
            first = lab.sync.now_ms()
            lab.clock.advance(5_000_000_000)
            works = lab.http.says["GET /v5/position/list"]
            lab.http.says["GET /v5/position/list"] = Down("502")
            lab.link.reconcile()
            await lab.until(lambda: len(trades.asked) == 2)
            await lab.settle()
            lab.http.says["GET /v5/position/list"] = works
            await lab.until(lambda: len(trades.asked) == 3)
            since = [each["startTime"] for each in trades.asked]
            assert since[1:] == [first - LOOK_BACK_MS] * 2

    asyncio.run(run())


def test_a_binance_trade_is_named_by_the_orders_that_were_asked_before() -> None:
    async def run() -> None:
        lab = Lab(BINANCE)
        lab.http.says[TRADES[BINANCE]] = Trades(BINANCE, [lab.sync.now_ms() - 10])
        order = {"orderId": 1, "clientOrderId": "mine", "symbol": "BTCUSDT", "status": "FILLED",
                 "side": "BUY", "origQty": "0.001", "executedQty": "0.001", "price": "1",
                 "avgPrice": "1", "updateTime": 1}  # fmt: skip
        lab.http.says["GET /fapi/v1/allOrders"] = json.dumps([order])
        async with lab.running(ready=False):
            await lab.until(lambda: bool(lab.all(Reconciled)))
            (fill,) = lab.all(Reconciled)[0].fills
        assert isinstance(fill, Fill) and fill.cid == "mine"

    asyncio.run(run())


@pytest.mark.parametrize("newest_first", [False, True])
def test_the_names_of_more_than_a_page_of_orders_are_learnt(newest_first: bool) -> None:
    """Which end of a full page the exchange leaves out is not relied upon."""
    count = 2_500

    async def run() -> None:
        lab = Lab(BINANCE)
        now = lab.sync.now_ms()
        asked: list[str] = []

        def at(n: int) -> int:
            return now - 30_000 + n

        def orders(request: HttpRequest) -> str:
            asked.append(request.url)
            query = {k: int(v[0]) for k, v in parse_qs(urlsplit(request.url).query).items()
                     if k in ("startTime", "endTime")}  # fmt: skip
            until = query.get("endTime", now)
            found = [n for n in range(count) if query["startTime"] <= at(n) <= until]
            page = found[-1000:] if newest_first else found[:1000]
            return json.dumps([order(n) for n in page])

        def order(n: int) -> dict[str, object]:
            return {"orderId": n + 1, "clientOrderId": f"mine{n}", "symbol": "BTCUSDT",
                    "status": "FILLED", "side": "BUY", "origQty": "0.001", "price": "1",
                    "executedQty": "0.001", "avgPrice": "1", "updateTime": at(n)}  # fmt: skip

        def trades(request: HttpRequest) -> str:
            one = {"symbol": "BTCUSDT", "price": "1", "qty": "0.001", "time": now - 10}
            return json.dumps([one | {"id": n, "orderId": n + 1} for n in (0, 1_250, count - 1)])

        lab.http.says["GET /fapi/v1/allOrders"] = orders
        lab.http.says[TRADES[BINANCE]] = trades
        async with lab.running(ready=False):
            await lab.until(lambda: bool(lab.all(Reconciled)))
            fills = lab.all(Reconciled)[0].fills
        assert [fill.cid for fill in fills] == ["mine0", "mine1250", f"mine{count - 1}"]
        assert len(asked) < 60 and len(set(asked)) == len(asked)

    asyncio.run(run())


def test_a_fill_whose_order_had_no_name_at_the_first_picture_is_found_with_the_order() -> None:
    """A resting order that filled while we were down: openOrders and allOrders do not show it."""

    async def run() -> None:
        lab = Lab(BINANCE)
        trades = Trades(BINANCE, [lab.sync.now_ms() - 3_600_000])
        lab.http.says[TRADES[BINANCE]] = trades
        order = {"orderId": 1, "clientOrderId": "mine", "symbol": "BTCUSDT", "status": "FILLED",
                 "side": "BUY", "origQty": "0.001", "executedQty": "0.001", "price": "1",
                 "avgPrice": "1", "updateTime": lab.sync.now_ms() - 3_600_000}  # fmt: skip
        lab.http.says["GET /fapi/v1/order"] = json.dumps(order)
        lab.link.last_fill_ms = lab.sync.now_ms() - 7_200_000
        async with lab.running():
            lab.link.query(query("mine"))
            await lab.until(lambda: bool(lab.all(Found)))
            assert [fill.cid for fill in lab.all(Fill)] == ["mine"]

    asyncio.run(run())
