"""R-42 and R-47: delays have the distribution they were given, money is counted exactly."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from runner.engine.events import Account, External, Fill, Funding, Mark
from runner.exchanges.paper import REALISTIC, Latency, LatencyModel
from runner.exchanges.paper.account import Holding
from runner.market.instruments import Fees, Kind, Side
from tests.exchanges.paper.paperlab import MS, WALL, Lab, ListBook, S, instrument

HOUR = 3600 * S


def sampled(model: LatencyModel, n: int) -> tuple[list[int], list[int]]:
    entry = sorted(model.draw_entry("run/x", (f"c{i}",)) for i in range(n))
    response = sorted(model.draw_response("run/x", (f"c{i}",)) for i in range(n))
    return entry, response


def near(samples: list[int], share: float, wanted: int, tolerance: float) -> bool:
    return abs(samples[int(share * len(samples))] - wanted) <= tolerance * wanted


def test_sampled_delays_have_the_configured_quantiles() -> None:
    for samples in sampled(REALISTIC, 5_000):
        assert near(samples, 0.5, 5 * MS, 0.06) and near(samples, 0.99, 30 * MS, 0.2)


@pytest.mark.campaign
def test_sampled_delays_are_within_two_per_cent() -> None:
    for samples in sampled(REALISTIC, 400_000):
        assert near(samples, 0.5, 5 * MS, 0.02) and near(samples, 0.99, 30 * MS, 0.02)


def test_a_delay_is_the_quantile_function_at_a_uniform_number() -> None:
    latency = Latency(((0.0, 1000), (0.5, 4000), (1.0, 16000)))
    assert [latency.at(u) for u in (0.0, 0.25, 0.5, 0.75, 1.0)] == [1000, 2000, 4000, 8000, 16000]
    assert Latency.constant(7).at(0.3) == 7
    assert REALISTIC.slower(3).draw_entry("s", ("c",)) == 3 * REALISTIC.draw_entry("s", ("c",))


@pytest.mark.parametrize(
    "points",
    [
        (),
        ((0.0, -1), (1.0, 5)),
        ((0.1, 1), (1.0, 5)),
        ((0.0, 5), (1.0, 1)),
        ((0.0, 1), (0.0, 2), (1.0, 3)),
    ],
)
def test_nonsense_quantiles_are_refused(points: tuple[tuple[float, int], ...]) -> None:
    with pytest.raises(ValueError, match=r"quantile|latency"):
        Latency(points)


@pytest.mark.parametrize("seed", range(10))
def test_the_wallet_of_a_perpetual_equals_an_independent_calculation(seed: int) -> None:
    """Cash flow only: what was sold less what was bought, less fees, with funding, plus value."""
    rng = random.Random(seed)
    fees = Fees(-0.00005, 0.00055)
    lab = Lab(instrument=instrument(fees=fees), balance=Decimal(10**6), latency=REALISTIC)
    for _ in range(80):
        bid = round(100 + rng.random() * 5, 1)
        lab.book.bids = [(round(bid - i / 10, 1), rng.randint(1, 80) / 1000) for i in range(4)]
        lab.book.asks = [
            (round(bid + (i + 1) / 10, 1), rng.randint(1, 80) / 1000) for i in range(4)
        ]
        lab.changed()
        side = rng.choice(("buy", "sell"))
        lab.trade(side, rng.randint(60, 200), "106.5" if side == "buy" else "98.5")
    cash, lots = Decimal(0), 0
    for fill in (e for e in lab.events if isinstance(e, Fill)):
        intent = lab.paper.venue.orders[fill.cid].intent
        value = Decimal(fill.lots) / 1000 * Decimal(repr(fill.price))
        cash -= value * intent.side.sign
        cash -= value * (Decimal("-0.00005") if fill.maker else Decimal("0.00055"))
        lots += fill.lots * intent.side.sign
    account = lab.paper.venue.account
    mark = lab.paper.venue.markets["m"].reference(lab.now)
    assert mark is not None and len([e for e in lab.events if isinstance(e, Fill)]) > 80
    expected = 10**6 + cash + Decimal(lots) / 1000 * mark
    assert abs(account.equity("USDT") - expected) <= Decimal("1e-8")
    assert account.position("BTCUSDT") == lots
    told = [e for e in lab.events if isinstance(e, Account)][-1]
    assert told.positions[0].lots == lots
    assert told.balances[-1].total == float(account.wallet["USDT"])


def test_a_spot_account_equals_an_independent_calculation() -> None:
    rng = random.Random(5)
    lab = Lab(instrument=instrument(Kind.SPOT, "binance_spot"), balance=Decimal(1000))
    lab.trade("buy", 51, "100.1")
    start = dict(lab.paper.venue.account.wallet)
    lab.events.clear()
    for _ in range(60):
        side = rng.choice(("buy", "sell"))
        lab.trade(side, rng.randint(51, 90), "100.1" if side == "buy" else "100")
        lab.changed(lambda book: (book.bids.clear(), book.bids.append((100.0, 0.0))))
        lab.changed(lambda book: (book.bids.clear(), book.bids.append((100.0, 1.0))))
        lab.changed(lambda book: (book.asks.clear(), book.asks.append((100.1, 0.0))))
        lab.changed(lambda book: (book.asks.clear(), book.asks.append((100.1, 1.0))))
    base, quote = start["BTC"], start["USDT"]
    fills = [e for e in lab.events if isinstance(e, Fill)]
    for fill in fills:
        side = lab.paper.venue.orders[fill.cid].intent.side
        amount = Decimal(fill.lots) / 1000
        value = amount * Decimal(repr(fill.price))
        taken = amount * Decimal("0.0005") if side is Side.BUY else Decimal(0)
        base += amount * side.sign - taken
        quote -= value * side.sign
        quote -= value * Decimal("0.0005") if side is Side.SELL else 0
    assert len(fills) > 30
    assert lab.paper.venue.account.wallet == {"BTC": base, "USDT": quote}


def funded(lab: Lab, rate: float, at: int) -> None:
    lab.market(Mark(market="m", price=101.5))
    lab.market(Funding(market="m", rate=rate, next_at=WALL + at, interval=8 * HOUR))


@pytest.mark.parametrize(("side", "sign"), [("buy", -1), ("sell", 1)])
def test_funding_is_paid_at_its_time_on_the_mark(side: str, sign: int) -> None:
    lab = Lab()
    lab.trade(side, 100, "101" if side == "buy" else "99")
    funded(lab, 0.0001, HOUR)
    before = lab.paper.venue.account.wallet["USDT"]
    assert lab.run(HOUR - 1) == []
    (paid,) = lab.run(HOUR)
    assert isinstance(paid, External) and paid.what == "funding" and lab.now == HOUR
    due = sign * Decimal("0.1") * Decimal("101.5") * Decimal("0.0001")
    assert paid.amount == float(due)
    assert lab.paper.venue.account.wallet["USDT"] - before == due
    assert lab.run(2 * HOUR) == []


def test_funding_counts_the_position_at_its_time_and_the_last_rate_before_it() -> None:
    lab = Lab()
    lab.trade("buy", 100, "101")
    funded(lab, 0.0001, HOUR)
    funded(lab, -0.0003, HOUR)
    lab.send("sell", 60, "99")
    lab.run(lab.now + S)
    (paid,) = lab.run(HOUR)
    assert isinstance(paid, External) and paid.lots == 40
    assert paid.amount == float(Decimal("0.04") * Decimal("101.5") * Decimal("0.0003"))


def test_a_flat_account_pays_no_funding() -> None:
    lab = Lab()
    funded(lab, 0.0001, HOUR)
    assert lab.run(2 * HOUR) == []


def test_the_next_interval_is_paid_too_and_a_late_rate_pays_nothing_twice() -> None:
    lab = Lab()
    lab.trade("buy", 100, "101")
    funded(lab, 0.0001, HOUR)
    assert len(lab.run(HOUR)) == 1
    funded(lab, 0.0001, HOUR)
    funded(lab, 0.0002, 9 * HOUR)
    assert len(lab.run(10 * HOUR)) == 1


def test_a_position_that_turns_over_realises_only_what_it_closed() -> None:
    held = Holding(instrument())
    assert held.fill(Side.BUY, Decimal(100), 100) == 0
    assert held.fill(Side.SELL, Decimal(110), 150) == Decimal(1)
    assert (held.lots, held.entry) == (-50, Decimal(110))
    assert held.fill(Side.BUY, Decimal(100), 50) == Decimal("0.5")
    assert (held.lots, held.cost) == (0, 0)


def test_liquidation_is_where_the_wallet_is_used_up_by_the_maintenance() -> None:
    lab = Lab(ListBook(asks=[(100.0, 10.0)]), balance=Decimal(50))
    lab.paper.venue.account.leverage = {"BTCUSDT": 5}
    lab.trade("buy", 1000, "101")
    account = lab.paper.venue.account
    held = account.holdings["BTCUSDT"]
    price = account.liquidation(held)
    left = account.wallet["USDT"] + held.value(price) - held.cost
    assert abs(left - account.maintenance * abs(held.value(price))) < Decimal("1e-8")
    assert price < 100
