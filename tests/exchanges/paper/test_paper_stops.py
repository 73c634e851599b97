"""Stops and targets on paper: armed, fired by the right price, refused where exchanges refuse."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from runner.engine.commands import OrderType, Purpose, Tif, Trigger
from runner.engine.events import Ack, Done, End, Event, Fill, Mark, OrderEvent, Reject, Trade
from runner.market.instruments import Side
from tests.exchanges.paper.paperlab import Lab, ListBook, instrument


def lab(type: str = "binance_usdm") -> Lab:
    """A long position of 100 lots at 100.1, and a book of 100.0 / 100.1."""
    lab = Lab(ListBook(), instrument=instrument(type=type))
    lab.send("buy", 100)
    lab.run()
    return lab


def stop(lab: Lab, price: str, side: str = "sell", lots: int = 100, **changes: Any) -> str:
    ticks = int(Decimal(price) / lab.instrument.tick)
    fields = {"type": OrderType.STOP, "purpose": Purpose.PROTECT, "reduce_only": True} | changes
    return lab.send(side, lots, tif=Tif.GTC, trigger_ticks=ticks, trigger_text=price, **fields)


def kinds(events: list[Event], cid: str) -> list[type]:
    return [type(e) for e in events if isinstance(e, OrderEvent) and e.cid == cid]


def mark(lab: Lab, price: float) -> list[Event]:
    lab.now += 1
    lab.paper.on_market(Mark(market="m", price=price, t=lab.now, wall=lab.now))
    return lab.run()


def test_a_stop_waits_for_the_mark_and_then_walks_the_book() -> None:
    it = lab()
    cid = stop(it, "99.5")
    assert kinds(it.run(), cid) == [Ack]
    assert mark(it, 99.6) == []
    it.book.bids = [(99.4, 0.06), (99.3, 1.0)]
    events = mark(it, 99.5)
    assert kinds(events, cid) == [Fill, Fill, Done]
    fills = [e for e in events if isinstance(e, Fill)]
    assert [(f.lots, f.price) for f in fills] == [(60, 99.4), (40, 99.3)]
    assert it.paper.venue.account.position("BTCUSDT") == 0


def test_a_stop_by_the_last_price_does_not_look_at_the_mark() -> None:
    it = lab()
    cid = stop(it, "99.5", trigger=Trigger.LAST)
    it.run()
    assert mark(it, 90.0) == []
    it.now += 1
    print_ = Trade(market="m", price=99.5, qty=1.0, taker=Side.SELL, id="1", t=it.now, wall=it.now)
    it.paper.on_market(print_)
    assert kinds(it.run(), cid) == [Fill, Done]


@pytest.mark.parametrize(
    ("side", "price", "short"), [("sell", "100.5", 100.4), ("buy", "99.5", 99.6)]
)
def test_a_target_waits_for_the_other_side(side: str, price: str, short: float) -> None:
    it = lab()
    if side == "buy":
        it.send("sell", 200)
        it.run()
    cid = stop(it, price, side, type=OrderType.TARGET)
    assert kinds(it.run(), cid) == [Ack]
    assert mark(it, short) == []
    assert kinds(mark(it, float(price)), cid) == [Fill, Done]
    assert it.paper.venue.account.position("BTCUSDT") == 0


@pytest.mark.parametrize(
    ("type", "side", "code"),
    [
        ("binance_usdm", "sell", "-2021"),
        ("bybit_linear", "sell", "110092"),
        ("bybit_linear", "buy", "110093"),
    ],
)
def test_a_target_whose_price_is_past_already_is_refused(type: str, side: str, code: str) -> None:
    it = lab(type)
    mark(it, 100.0)
    cid = stop(it, "99.5" if side == "sell" else "100.5", side, type=OrderType.TARGET)
    reject = next(e for e in it.run() if isinstance(e, Reject))
    assert (reject.cid, reject.code) == (cid, code)


@pytest.mark.parametrize(
    ("type", "side", "code"),
    [
        ("binance_usdm", "sell", "-2021"),
        ("bybit_linear", "sell", "110093"),
        ("bybit_linear", "buy", "110092"),
    ],
)
def test_a_stop_whose_price_is_past_already_is_refused(type: str, side: str, code: str) -> None:
    it = lab(type)
    mark(it, 100.0)
    cid = stop(it, "100.5" if side == "sell" else "99.5", side)
    events = it.run()
    assert kinds(events, cid) == [Reject]
    assert next(e for e in events if isinstance(e, Reject)).code == code


def test_cancel_all_leaves_a_stop_and_a_cancel_by_name_ends_it() -> None:
    it = lab()
    cid = stop(it, "99.5")
    it.run()
    it.paper.cancel_all("BTCUSDT", it.now)
    it.run()
    assert [o.cid for o in it.paper.venue.shown()] == [cid]
    it.paper.cancel(cid, "BTCUSDT", it.now)
    done = next(e for e in it.run() if isinstance(e, Done))
    assert done.end is End.CANCELED and it.paper.venue.shown() == []
    assert mark(it, 90.0) == []


def test_a_stop_without_a_position_ends_without_a_fill_when_it_fires() -> None:
    it = lab()
    cid = stop(it, "99.5")
    it.run()
    it.send("sell", 100, reduce_only=True)
    it.run()
    events = mark(it, 99.0)
    assert kinds(events, cid) == [Done]
    assert it.paper.venue.account.position("BTCUSDT") == 0


def test_a_stop_that_fires_into_a_blind_market_is_done_when_the_book_is_back() -> None:
    it = lab()
    cid = stop(it, "99.5")
    it.run()
    it.book.ok = False
    assert mark(it, 99.0) == []
    it.now += 10_000_000_000
    assert it.run() == [], "it is not given up"
    it.book.ok = True
    it.changed()
    assert kinds(it.run(), cid) == [Fill, Done]


@pytest.mark.parametrize(
    ("type", "most", "code"), [("bybit_linear", 10, "110009"), ("binance_usdm", 200, "-4045")]
)
def test_only_so_many_stops_stand_on_a_symbol(type: str, most: int, code: str) -> None:
    it = lab(type)
    first, *_ = [stop(it, "99.5") for _ in range(most)]
    it.run()
    no = stop(it, "99.5")
    (reject,) = [e for e in it.run() if isinstance(e, Reject)]
    assert (reject.cid, reject.code) == (no, code)
    it.paper.cancel(first, "BTCUSDT", it.now)
    it.run()
    again = stop(it, "99.5")
    assert kinds(it.run(), again) == [Ack]
