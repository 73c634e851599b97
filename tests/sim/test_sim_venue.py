"""Orders and money of a venue, in virtual time and without a dialect."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from runner.base.rng import seeded
from runner.sim.account import START_BALANCE
from runner.sim.matching import Side
from runner.sim.orders import Fill, Happening, Kind, Order, Refusal, Status, Stp, Tif, Why
from tests.sim.sim_client import Quiet


class Heard:
    """A listener that writes down."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Happening, Status]] = []

    def order(self, order: Order, happening: Happening, fill: Fill | None) -> None:
        self.events.append((order.cid, happening, order.status))

    def account(self, reason: str, symbol: str, paid: int = 0) -> None:
        pass


def make(quiet: Quiet, cid: str, side: Side, lots: int, away: int = 0, **more: Any) -> Order:
    """Make a limit order `away` ticks into the market from the opposite touch (market: None)."""
    venue = quiet.usdm
    venue.refresh("BTCUSDT")
    touch = venue.books["BTCUSDT"].best(side.other)
    assert touch is not None
    kind = more.pop("kind", Kind.LIMIT)
    tif = more.pop("tif", Tif.GTC)
    tick = touch + side * away if kind is Kind.LIMIT else 0
    return Order(cid, venue.instruments["BTCUSDT"], side, kind, tif, tick, lots, **more)


def test_a_taker_takes_the_quantity_that_was_shown_and_the_maker_refills() -> None:
    quiet = Quiet()
    book = quiet.usdm.books["BTCUSDT"]
    quiet.pass_ms(50)
    quiet.usdm.refresh("BTCUSDT")
    before = dict(book.top(Side.SELL, 3))
    order = quiet.usdm.place(make(quiet, "a", Side.BUY, 10))
    assert order.status is Status.FILLED
    touch = min(before)
    assert book.lots(Side.SELL, touch) == before[touch] - 10
    quiet.pass_ms(100)
    assert book.best(Side.SELL) is not None


@pytest.mark.parametrize(
    ("tif", "away", "status"),
    [
        (Tif.IOC, -5, Status.EXPIRED),
        (Tif.IOC, 5, Status.FILLED),
        (Tif.FOK, 5, Status.FILLED),
        (Tif.POST, -50, Status.NEW),
        (Tif.GTC, -50, Status.NEW),
    ],
)
def test_times_in_force(tif: Tif, away: int, status: Status) -> None:
    quiet = Quiet()
    assert quiet.usdm.place(make(quiet, "a", Side.BUY, 5, away, tif=tif)).status is status


def test_an_ioc_larger_than_what_is_there_fills_in_part_and_expires() -> None:
    quiet = Quiet()
    quiet.usdm.account.wallet *= 1000
    order = quiet.usdm.place(make(quiet, "a", Side.BUY, 100_000, 0, tif=Tif.IOC))
    assert order.status is Status.EXPIRED and 0 < order.filled < order.lots


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        (Why.POST_ONLY, {"tif": Tif.POST, "away": 0}),
        (Why.FOK, {"tif": Tif.FOK, "away": -1, "lots": 50}),
        (Why.REDUCE_ONLY, {"reduce_only": True}),
        (Why.MARGIN, {"lots": 4_000}),
    ],
)
def test_refusals(why: Why, changes: dict[str, Any]) -> None:
    quiet = Quiet()
    lots = changes.pop("lots", 5)
    with pytest.raises(Refusal) as caught:
        quiet.usdm.place(make(quiet, "a", Side.BUY, lots, **changes))
    assert caught.value.why is why
    assert not quiet.usdm.orders


def test_a_client_id_is_free_again_after_its_order_on_binance_and_never_on_bybit() -> None:
    quiet = Quiet()
    quiet.usdm.place(make(quiet, "same", Side.BUY, 5, -100))
    with pytest.raises(Refusal):
        quiet.usdm.place(make(quiet, "same", Side.BUY, 5, -100))
    quiet.usdm.cancel(quiet.usdm.find(None, "same"))
    quiet.usdm.place(make(quiet, "same", Side.BUY, 5, -100))
    assert len(quiet.usdm.by_cid["same"]) == 2
    assert quiet.bybit_venue.rules.cid_unique


def test_a_reduce_only_order_is_cut_to_the_position() -> None:
    quiet = Quiet()
    quiet.usdm.place(make(quiet, "a", Side.BUY, 5, 5))
    order = quiet.usdm.place(make(quiet, "b", Side.SELL, 9, 5, reduce_only=True))
    assert (order.lots, order.status) == (5, Status.FILLED)
    assert quiet.usdm.account.positions["BTCUSDT"].lots == 0


def test_a_resting_reduce_only_order_leaves_when_there_is_nothing_left_to_reduce() -> None:
    quiet = Quiet()
    quiet.usdm.place(make(quiet, "a", Side.BUY, 5, 5))
    resting = quiet.usdm.place(make(quiet, "b", Side.SELL, 5, -30, reduce_only=True))
    quiet.usdm.place(make(quiet, "c", Side.SELL, 5, 5))
    quiet.sim.market.move("binance_usdm", "BTCUSDT", 30, 5)
    quiet.pass_ms(200)
    assert resting.status is Status.EXPIRED and resting.filled == 0


def test_the_price_moving_through_a_resting_order_fills_it_as_maker() -> None:
    quiet = Quiet()
    order = quiet.usdm.place(make(quiet, "a", Side.SELL, 5, -60))
    quiet.sim.market.move("binance_usdm", "BTCUSDT", 30, 5)
    quiet.pass_ms(100)
    assert order.status is Status.FILLED
    (fill,) = quiet.usdm.fills
    assert fill.maker and fill.tick == order.tick
    assert fill.fee == fill.quote * 200 // 1_000_000


@pytest.mark.parametrize(
    ("stp", "taker", "maker"),
    [
        (Stp.NONE, Status.FILLED, Status.FILLED),
        (Stp.EXPIRE_TAKER, Status.EXPIRED_IN_MATCH, Status.NEW),
        (Stp.EXPIRE_BOTH, Status.EXPIRED_IN_MATCH, Status.EXPIRED_IN_MATCH),
        (Stp.EXPIRE_MAKER, Status.NEW, Status.EXPIRED_IN_MATCH),
    ],
)
def test_self_trades(stp: Stp, taker: Status, maker: Status) -> None:
    quiet = Quiet()
    venue = quiet.usdm
    venue.refresh("BTCUSDT")
    book = venue.books["BTCUSDT"]
    for _ in range(200):  # a spread of two ticks leaves room for an own order inside
        if book.best(Side.SELL) - book.best(Side.BUY) > 1:  # type: ignore[operator]
            break
        quiet.pass_ms(50)
        venue.refresh("BTCUSDT")
    spread = book.best(Side.SELL) - book.best(Side.BUY)  # type: ignore[operator]
    first = venue.place(make(quiet, "m", Side.SELL, 5, 1 - spread))
    second = venue.place(make(quiet, "t", Side.BUY, 5, 0, stp=stp))
    assert (second.status, first.status) == (taker, maker)


def test_a_smaller_quantity_keeps_the_turn_and_a_new_price_loses_it() -> None:
    quiet = Quiet()
    venue = quiet.usdm
    first = venue.place(make(quiet, "a", Side.BUY, 5, -300))
    second = venue.place(make(quiet, "b", Side.BUY, 5, -300))
    assert second.tick == first.tick
    held = first.resting
    venue.amend(first, None, 3)
    assert first.resting is held and first.resting is not None and first.resting.lots == 3
    venue.amend(first, first.tick - 1, None)
    assert first.resting is not held


def test_what_happens_is_told_in_order() -> None:
    quiet = Quiet()
    heard = Heard()
    quiet.usdm.listeners.append(heard)
    quiet.usdm.place(make(quiet, "a", Side.BUY, 5, 5))
    order = quiet.usdm.place(make(quiet, "b", Side.BUY, 5, -300))
    quiet.usdm.cancel(order)
    kinds = [(cid, happening) for cid, happening, _ in heard.events]
    assert kinds == [
        ("a", Happening.NEW), ("a", Happening.TRADE), ("b", Happening.NEW),
        ("b", Happening.CANCELED),
    ]  # fmt: skip


def test_funding_is_paid_at_the_hour_on_the_mark_price() -> None:
    quiet = Quiet()
    quiet.usdm.place(make(quiet, "a", Side.BUY, 100, 5))
    before = quiet.usdm.account.wallet
    due = quiet.usdm.next_funding_ms() - quiet.sim.now_ms()
    quiet.clock.advance(due * 1_000_000)
    quiet.sim.step()
    quiet.sim.step()
    value = 100 * quiet.usdm.mark("BTCUSDT") * quiet.usdm.instruments["BTCUSDT"].value
    paid = before - quiet.usdm.account.wallet
    assert paid == pytest.approx(value * 0.0001, rel=1e-3)
    assert quiet.usdm.account.funding == -paid


def _random_order(quiet: Quiet, rng: Random, number: int) -> Order:
    side = rng.choice(list(Side))
    kind = rng.choice(list(Kind))
    tif = rng.choice([Tif.GTC, Tif.IOC]) if kind is Kind.LIMIT else Tif.IOC
    return make(quiet, f"r{number}", side, rng.randint(1, 60), rng.randint(-40, 10), kind=kind,
                tif=tif, reduce_only=rng.random() < 0.2)  # fmt: skip


def test_position_and_wallet_equal_the_sum_of_the_fills() -> None:
    """I-5 over random orders, cancels and moves of the price."""
    quiet = Quiet()
    venue, rng = quiet.usdm, seeded("sim-test", 1)
    for number in range(600):
        try:
            venue.place(_random_order(quiet, rng, number))
        except Refusal as refusal:
            assert refusal.why in (Why.REDUCE_ONLY, Why.MARGIN)
        if venue.open and rng.random() < 0.3:
            venue.cancel(rng.choice(list(venue.open.values())))
        if rng.random() < 0.05:
            quiet.sim.market.move("binance_usdm", "BTCUSDT", rng.uniform(-20, 20), 0.3)
        quiet.pass_ms(50)
    position = venue.account.positions["BTCUSDT"]
    assert len(venue.fills) > 300 and any(f.maker for f in venue.fills)
    assert position.lots == sum(f.lots * f.order.side for f in venue.fills)
    cash = sum(-f.quote * f.order.side for f in venue.fills)
    held = position.cost * (1 if position.lots > 0 else -1)
    assert cash + held == position.realised
    fees = sum(f.fee for f in venue.fills)
    assert venue.account.wallet == START_BALANCE + position.realised - fees
    working = [o for o in venue.open.values() if not o.reduce_only]
    assert position.open_buys == sum(o.left for o in working if o.side is Side.BUY)
    assert position.open_sells == sum(o.left for o in working if o.side is Side.SELL)
    for order in venue.orders.values():
        mine = [f for f in venue.fills if f.order is order]
        assert order.filled == sum(f.lots for f in mine) <= order.lots
