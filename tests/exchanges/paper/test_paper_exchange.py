"""The paper exchange tells what a live exchange would, in the same order."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import runner.exchanges.paper as package
from runner.base.rng import seeded
from runner.engine.commands import Tif
from runner.engine.events import (
    Account,
    Ack,
    CancelReply,
    Done,
    End,
    Fill,
    Found,
    Reconciled,
    Reject,
    Trade,
    Unknown,
)
from runner.exchanges.paper import Behaviour, Latency, LatencyModel
from runner.market.instruments import Kind
from tests.exchanges.paper.paperlab import MS, WALL, Lab, ListBook, S, instrument, names

SLOW = LatencyModel(Latency.constant(5 * MS), Latency.constant(3 * MS))


def fills(events: list) -> list[tuple[int, float]]:
    return [(e.lots, e.price) for e in events if isinstance(e, Fill)]


def test_an_ioc_order_is_acknowledged_filled_level_by_level_and_done() -> None:
    lab = Lab(ListBook(asks=[(100.1, 0.003), (100.2, 0.004), (100.3, 9.0)]))
    told = lab.trade("buy", 10, "100.2", qty_text="0.01")
    assert names(told) == ["Reject"]  # 1 USDT is under the minimum
    told = lab.trade("buy", 100, "100.2")
    assert names(told) == ["Ack", "Fill", "Fill", "Done"]
    assert fills(told) == [(3, 100.1), (4, 100.2)]
    done = next(e for e in told if isinstance(e, Done))
    assert (done.end, done.filled_lots) == (End.EXPIRED, 7)


def test_bybit_cancels_what_binance_lets_expire() -> None:
    lab = Lab(ListBook(asks=[(100.1, 0.003)]), instrument=instrument(type="bybit_linear"))
    done = next(e for e in lab.trade("buy", 100, "100.2") if isinstance(e, Done))
    assert done.end is End.CANCELED


def test_the_book_at_arrival_decides_not_the_one_at_the_decision() -> None:
    lab = Lab(latency=SLOW)
    lab.send("buy", 100, "101")
    lab.run(4 * MS)
    lab.changed(lambda book: book.asks.__setitem__(0, (100.7, 1.0)))
    told = lab.run()
    assert fills(told) == [(100, 100.7)]
    assert lab.now == 8 * MS
    assert all(event.wall == WALL + 8 * MS for event in told)


def test_the_same_quantity_is_never_taken_twice() -> None:
    lab = Lab(ListBook(asks=[(100.1, 0.1), (100.2, 0.1)]))
    assert fills(lab.trade("buy", 60, "101")) == [(60, 100.1)]
    lab.changed()
    assert fills(lab.trade("buy", 60, "101")) == [(40, 100.1), (20, 100.2)]
    lab.changed(lambda book: book.asks.__setitem__(0, (100.1, 0.05)))
    lab.changed(lambda book: book.asks.__setitem__(0, (100.1, 0.1)))
    assert fills(lab.trade("buy", 60, "101")) == [(50, 100.1), (10, 100.2)]


def test_a_stale_book_is_waited_for_and_never_filled_on() -> None:
    lab = Lab()
    lab.book.ok = False
    lab.send("buy", 100, "101")
    assert lab.run(500 * MS) == []
    lab.changed(lambda book: setattr(book, "ok", True))
    assert names(lab.run()) == ["Ack", "Fill", "Done"]


def test_a_book_that_stays_stale_rejects_by_the_end_of_the_window() -> None:
    lab = Lab()
    lab.book.ok = False
    (reject,) = lab.trade("buy", 100, "101")
    assert isinstance(reject, Reject) and reject.code == "stale_market"
    assert lab.now == S


def test_a_cancel_can_lose_the_race() -> None:
    lab = Lab(latency=SLOW)
    cid = lab.send("buy", 100, "101", tif=Tif.GTC)
    lab.run(2 * MS)
    lab.paper.cancel(cid, "BTCUSDT", lab.now)
    told = lab.run()
    assert names(told) == ["Ack", "Fill", "Done", "CancelReply"]
    assert isinstance(told[-1], CancelReply) and not told[-1].ok and told[-1].code == "-2011"


def test_a_resting_order_is_cancelled_with_what_it_filled() -> None:
    lab = Lab(ListBook(asks=[(100.1, 0.04)]))
    cid = lab.send("buy", 100, "100.1", tif=Tif.GTC)
    assert names(lab.run()) == ["Ack", "Fill"]
    lab.paper.cancel(cid, "BTCUSDT", lab.now)
    told = lab.run()
    assert names(told) == ["CancelReply", "Done"]
    assert isinstance(told[1], Done) and (told[1].end, told[1].filled_lots) == (End.CANCELED, 40)


def test_cancel_all_takes_every_resting_order_of_the_symbol() -> None:
    lab = Lab()
    cids = {lab.send("buy", 100, price, tif=Tif.GTC) for price in ("99.9", "99.8")}
    lab.run()
    lab.paper.cancel_all("BTCUSDT", lab.now)
    assert {e.cid for e in lab.run() if isinstance(e, Done)} == cids


def test_a_resting_order_fills_as_maker_when_a_trade_goes_through_it() -> None:
    lab = Lab()
    lab.trade("buy", 100, "99.9", tif=Tif.POST_ONLY)
    lab.market(Trade(market="m", price=99.9, qty=5.0, taker="sell"))
    assert lab.run() == []  # at its price: its turn in the queue is not known
    lab.market(Trade(market="m", price=99.8, qty=5.0, taker="buy"))
    assert lab.run() == []  # somebody else bought
    lab.market(Trade(market="m", price=99.8, qty=0.03, taker="sell"))
    told = lab.run()
    assert fills(told) == [(30, 99.9)]
    assert isinstance(told[0], Fill) and told[0].maker
    assert told[0].fee == pytest.approx(0.03 * 99.9 * 0.0002)
    lab.market(Trade(market="m", price=99.8, qty=0.5, taker="sell"))
    assert names(lab.run()) == ["Fill", "Done"]


def test_resting_orders_together_never_fill_more_than_was_printed() -> None:
    """R-45."""
    lab = Lab()
    for price in ("99.9", "99.8", "99.7"):
        lab.trade("buy", 100, price, tif=Tif.GTC)
    lab.market(Trade(market="m", price=99.5, qty=0.15, taker="sell"))
    assert sum(lots for lots, _ in fills(lab.run())) == 150


@pytest.mark.parametrize("seed", range(5))
def test_at_rest_no_quantity_is_filled_twice_and_no_lot_is_broken(seed: int) -> None:
    """R-45, over random prints and books: by volume, by price, by whole lots."""
    rng = seeded("rest", seed)
    lab = Lab(balance=10**9)
    sent = printed = offered = 0
    for _ in range(150):
        if rng.random() < 0.4:
            lots = rng.randint(60, 300)
            lab.send("buy", lots, f"{rng.randint(995, 1000) / 10}", tif=Tif.GTC)
            sent += lots
        elif rng.random() < 0.7:
            qty = rng.randint(1, 4000) / 10_000
            lab.market(Trade(market="m", price=99.4, qty=qty, taker="sell"))
            printed += int(qty * 1000 + 1e-9)
        else:
            down = rng.randint(995, 1000) / 10
            lots = rng.randint(1, 90)
            lab.changed(lambda book, p=down: book.bids.__setitem__(0, (p - 0.5, 1.0)))
            lab.changed(lambda book, p=down, n=lots: book.asks.insert(0, (p, n / 1000)))
            offered += lots
            lab.changed(lambda book: book.asks.pop(0))
            lab.changed(lambda book: book.bids.__setitem__(0, (100.0, 1.0)))
        lab.run()
    told = [e for e in lab.events if isinstance(e, Fill)]
    orders = lab.paper.venue.orders
    assert len(told) > 20 and all(fill.maker and fill.lots >= 1 for fill in told)
    assert sum(fill.lots for fill in told) <= min(sent, printed + offered)
    for order in orders.values():
        mine = [fill for fill in told if fill.cid == order.cid]
        assert sum(fill.lots for fill in mine) == order.filled <= order.intent.lots
        assert all(round(fill.price * 10) == order.intent.ticks for fill in mine)


def test_a_resting_order_fills_when_the_other_side_reaches_it_once_per_quantity() -> None:
    lab = Lab()
    lab.trade("buy", 100, "100", tif=Tif.GTC)

    def cross(book: ListBook) -> None:
        book.bids, book.asks = [(99.8, 1.0)], [(99.9, 0.06), (100.2, 1.0)]

    lab.changed(cross)
    assert fills(lab.run()) == [(60, 100.0)]
    lab.changed()
    assert lab.run() == []


def test_a_reduce_only_order_never_turns_a_position_over() -> None:
    lab = Lab()
    lab.trade("buy", 100, "101")
    told = lab.trade("sell", 150, "99", reduce_only=True)
    assert fills(told) == [(100, 100.0)]
    assert lab.paper.venue.account.position("BTCUSDT") == 0


def test_a_lost_reply_is_unknown_until_it_is_asked_for() -> None:
    lab = Lab(script={"m": Behaviour(lose_reply=True)})
    cid = lab.send("buy", 100, "101")
    (unknown,) = lab.run()
    assert isinstance(unknown, Unknown) and unknown.cid == cid and lab.now == S
    lab.paper.query(cid, "BTCUSDT", 1, lab.now)
    fill, found = lab.run()
    assert isinstance(fill, Fill) and fill.source == "query" and fill.lots == 100
    assert isinstance(found, Found) and found.order is not None
    assert (found.order.status, found.order.filled_lots) == ("filled", 100)


def test_an_order_that_never_was_is_definitely_not_found() -> None:
    lab = Lab()
    lab.paper.query("nobody", "BTCUSDT", 1, 0)
    (found,) = lab.run()
    assert isinstance(found, Found) and found.order is None


def test_scripted_fates_take_turns() -> None:
    fates = [Behaviour(reject="110007"), Behaviour(after_ns=7 * MS, ratio=0.5)]
    lab = Lab(script={"m": fates})
    (reject,) = lab.trade("buy", 100, "101")
    assert isinstance(reject, Reject) and reject.code == "110007"
    assert fills(lab.trade("buy", 100, "101")) == [(50, 100.1)] and lab.now == 7 * MS
    assert fills(lab.trade("buy", 100, "101")) == [(100, 100.1)]


def test_reconcile_shows_open_orders_fills_and_the_account() -> None:
    lab = Lab()
    lab.trade("buy", 100, "101")
    cid = lab.send("buy", 100, "99", tif=Tif.GTC)
    lab.run()
    lab.paper.reconcile(lab.now)
    (picture,) = lab.run()
    assert isinstance(picture, Reconciled) and picture.account is not None
    assert [o.cid for o in picture.open_orders] == [cid]
    assert [f.lots for f in picture.fills] == [100] and picture.account.full
    assert picture.account.positions[0].lots == 100


def test_the_same_seed_tells_the_same_story_twice_and_another_seed_another() -> None:
    def story(seed: str) -> list[tuple[str, int]]:
        from runner.exchanges.paper import REALISTIC

        lab = Lab(seed=seed, latency=REALISTIC)
        for i in range(20):
            lab.send("buy" if i % 2 else "sell", 100, "101" if i % 2 else "99")
            lab.run(lab.now + MS)
        lab.run()
        return [(type(e).__name__, e.t) for e in lab.events]

    assert story("a") == story("a")
    assert story("a") != story("b")


def test_events_of_an_order_never_overtake_each_other() -> None:
    from runner.exchanges.paper import REALISTIC

    lab = Lab(latency=REALISTIC)
    for i in range(50):
        lab.send("buy" if i % 2 else "sell", 100, "101" if i % 2 else "99")
        lab.run(lab.now + MS)
    lab.run()
    trades = [int(e.trade_id.split("-")[1]) for e in lab.events if isinstance(e, Fill)]
    assert trades == list(range(1, 21))  # 10 each side are there; told in the order they happened
    for n in range(1, 51):
        told = [e for e in lab.events if getattr(e, "cid", "") == f"c{n}"]
        assert isinstance(told[0], Ack) and isinstance(told[-1], Done)


def test_spot_starts_with_the_same_value_of_base_and_pays_a_buys_fee_in_base() -> None:
    lab = Lab(instrument=instrument(Kind.SPOT, "binance_spot"))
    (deposit,) = lab.events
    assert isinstance(deposit, Account) and deposit.full
    assert deposit.equity == pytest.approx(20_000, rel=1e-4)
    told = lab.trade("buy", 100, "101")
    fill = next(e for e in told if isinstance(e, Fill))
    assert (fill.fee_asset, fill.fee) == ("BTC", 0.1 * 0.0005)
    wallet = lab.paper.venue.account.wallet
    seeded = int(10_000 / 100.05 * 1000) / 1000
    assert float(wallet["BTC"]) == pytest.approx(seeded + 0.1 - 0.00005, abs=1e-12)
    assert float(wallet["USDT"]) == pytest.approx(10_000 - 10.01, abs=1e-12)


def test_paper_sees_no_codec_no_signer_and_no_socket() -> None:
    """R-41, R-75: by the syntax trees of the package."""
    allowed = ("runner.base", "runner.engine", "runner.market", "runner.exchanges.paper")
    for path in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                named = [node.module or ""]
            elif isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            else:
                continue
            for name in named:
                foreign = name.split(".")[0] in {"picows", "aiohttp", "websockets", "socket", "ssl"}
                assert not foreign and "hmac" not in name, (path.name, name)
                if name.startswith("runner"):
                    assert name.startswith(allowed), (path.name, name)
