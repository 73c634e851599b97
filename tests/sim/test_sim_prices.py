"""The synthetic market: the seed decides it, and it gives a spread strategy something to do."""

from __future__ import annotations

import itertools
import math

import pytest

from runner.base.clock import NS_PER_MS, VirtualClock
from runner.sim.bars import merge_bars
from runner.sim.matching import Side
from runner.sim.prices import Market
from runner.sim.simulation import Simulation
from tests.sim.sim_client import START_NS, Quiet


def test_the_same_seed_gives_the_same_path() -> None:
    one, two, other = Market(5, 1_000_000), Market(5, 1_000_000), Market(6, 1_000_000)
    for market in (one, two, other):
        for _ in range(200):
            market.advance(1_000_000)
    prices = [m.latents["BTCUSDT"].price("bybit_linear") for m in (one, two, other)]
    assert prices[0] == prices[1] != prices[2]


def test_bars_end_at_the_present_price_of_their_exchange() -> None:
    quiet = Quiet()
    quiet.pass_ms(1000)
    for exchange in quiet.sim.exchanges.values():
        venue = exchange.venue
        bars = venue.bars("BTCUSDT", 1, 1000)
        assert len(bars) == 1000
        assert all(b.low <= min(b.open, b.close) <= max(b.open, b.close) <= b.high for b in bars)
        assert {b.start_s - a.start_s for a, b in itertools.pairwise(bars)} == {60}
        assert bars[-1].close == pytest.approx(quiet.price(exchange.name), rel=1e-6)


def test_longer_bars_are_made_of_the_minutes() -> None:
    minutes = Market(5, 1_000_000).latents["ETHUSDT"].bars
    hours = merge_bars(minutes, 60)
    last = [bar for bar in minutes if bar.start_s >= hours[-1].start_s]
    assert hours[-1].high == max(bar.high for bar in last)
    assert hours[-1].volume == pytest.approx(sum(bar.volume for bar in last))


def test_the_book_is_deep_and_tight() -> None:
    quiet = Quiet()
    for exchange in quiet.sim.exchanges.values():
        book = exchange.venue.books["BTCUSDT"]
        instrument = exchange.venue.instruments["BTCUSDT"]
        bids = book.top(Side.BUY, 1000)
        assert len(bids) >= 200
        best = bids[0][0]
        near = sum(lots for tick, lots in bids if tick > best * (1 - 0.0005))
        assert near * float(instrument.lot) > 5  # BTC within five basis points
        assert (book.best(Side.SELL) - best) / best < 0.0001  # type: ignore[operator]


def _round_trips(seed: int, seconds: int) -> int:
    """Trade the spread of two exchanges as arb.yaml does; returns entries that were closed."""
    clock = VirtualClock(wall=START_NS)
    sim = Simulation(clock, seed)
    one, two = (sim.exchanges[name].venue for name in ("binance_usdm", "bybit_linear"))
    pairs = zip(one.bars("BTCUSDT", 1, 30), two.bars("BTCUSDT", 1, 30), strict=True)
    basis = sum(math.log(a.close / b.close) for a, b in pairs) / 30
    direction, trips, entered = 0, 0, 0.0
    for _ in range(seconds * 20):
        clock.advance(50 * NS_PER_MS)
        sim.step()
        tops = []
        for venue in (one, two):
            venue.refresh("BTCUSDT")
            book = venue.books["BTCUSDT"]
            tops.append((book.best(Side.BUY) or 0, book.best(Side.SELL) or 0))
        (bid1, ask1), (bid2, ask2) = tops
        dear, cheap = bid1 / ask2 - 1 - basis, bid2 / ask1 - 1 + basis
        if direction == 0 and 0.0027 < max(dear, cheap) < 0.0080:
            direction, entered = (1, dear) if dear > cheap else (-1, cheap)
        elif direction:
            back = ask1 / bid2 - 1 - basis if direction > 0 else ask2 / bid1 - 1 + basis
            if entered - back - 0.0021 > 0.0003:
                direction, trips = 0, trips + 1
    return trips


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 7])
def test_a_spread_opens_and_closes_within_twenty_seconds(seed: int) -> None:
    assert _round_trips(seed, 20) >= 3


def test_days_reach_back_beyond_the_minutes_and_join_them() -> None:
    """A mean over 200 days is known at once, near the price, and the same for the same seed."""
    one, two = (Simulation(VirtualClock(wall=START_NS), 7) for _ in range(2))
    venue = one.exchanges["binance_spot"].venue
    days = venue.bars("BTCUSDT", 1440, 250)
    assert len(days) == 250
    assert {b.start_s - a.start_s for a, b in itertools.pairwise(days)} == {86_400}
    assert all(b.low <= min(b.open, b.close) <= max(b.open, b.close) <= b.high for b in days)
    jumps = [abs(b.open / a.close - 1) for a, b in itertools.pairwise(days)]
    assert max(jumps) < 1e-9, "a day opens where the last one closed, where the minutes begin too"
    mean = sum(bar.close for bar in days[-201:-1]) / 200
    assert 0.5 < mean / days[-1].close < 2
    again = two.exchanges["binance_spot"].venue.bars("BTCUSDT", 1440, 250)
    assert [bar.close for bar in again] == [bar.close for bar in days]


def test_minutes_that_fade_stay_in_the_hours() -> None:
    market = Market(5, 1_000_000_020)
    before = market.bars("BTCUSDT", 60, 5_000)
    now = 1_000_000_020
    for _ in range(450):
        now += 60
        market.advance(now)
    after = market.bars("BTCUSDT", 60, 5_000)
    known = {bar.start_s: bar.close for bar in after}
    assert len(market.latents["BTCUSDT"].bars) < 2_250 < 2_000 + 450
    assert all(known[bar.start_s] == bar.close for bar in before[-4_000:-1])
    assert {b.start_s - a.start_s for a, b in itertools.pairwise(after)} == {3_600}
