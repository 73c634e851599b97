"""What is free for new orders while a stream tells balances and not the margin in use (R-33)."""

from __future__ import annotations

import pytest

from runner.engine.codes import Why
from runner.engine.events import Account, Balance, Position
from runner.engine.scenario import Scenario
from runner.engine.timers import MS
from tests.engine.stage import stage
from tests.engine.test_gate import intent, judge, loose

LOT = 0.001
MARGIN = 60_000.05 * LOT / 2
"""of one lot, at the stage's mid and leverage 2"""


def told(
    s: Scenario,
    total: float,
    free: float | None = None,
    lots: int | None = None,
    *,
    full: bool = False,
) -> None:
    at = () if lots is None else (Position(symbol="BTCUSDT", lots=lots, entry=60_000.0),)
    balances = (Balance(asset="USDT", total=total, free=free),)
    s.push(Account(exchange="binance", balances=balances, positions=at, full=full))
    s.run(1)


def free(s: Scenario) -> float | None:
    return s.engine.desk.venues["binance"].available("USDT")


def test_what_was_bound_stays_bound_when_a_stream_tells_the_whole_balance() -> None:
    s = stage(loose())
    told(s, 1000.0, free=100.0, lots=-30, full=True)
    assert free(s) == 100.0
    told(s, 999.5)  # funding was paid
    assert free(s) == pytest.approx(99.5)
    assert judge(s, intent(s, lots=4)) is Why.BALANCE, "120 USDT of margin are not there"
    assert judge(s, intent(s, lots=3)) is None


def test_margin_moves_with_the_position_that_a_stream_tells() -> None:
    s = stage(loose())
    told(s, 1000.0, free=1000.0, full=True)
    told(s, 999.0, lots=-20)
    assert free(s) == pytest.approx(999.0 - 20 * MARGIN)
    told(s, 998.0, lots=10)
    assert free(s) == pytest.approx(998.0 - 10 * MARGIN)
    told(s, 990.0, lots=0)
    assert free(s) == pytest.approx(990.0), "what is closed is free at once"


def test_a_fill_counts_as_spent_until_the_stream_tells_the_balance() -> None:
    s = stage(loose())
    told(s, 1000.0, free=1000.0, full=True)
    venue = s.engine.desk.venues["binance"]
    venue.spend("USDT", 240.0, s.t)
    assert free(s) == 760.0
    told(s, 999.0, lots=8)
    assert free(s) == pytest.approx(999.0 - 8 * MARGIN)


def test_a_picture_that_was_asked_for_before_a_fill_does_not_hold_it() -> None:
    s = stage(loose())
    picture = s.exchanges["binance"].picture(s.t)
    s.run(10 * MS)
    venue = s.engine.desk.venues["binance"]
    before = free(s)
    assert before is not None
    venue.spend("USDT", 240.0, s.t)
    s.push(picture)
    s.run(10 * MS)
    assert free(s) == before - 240.0
    s.push(s.exchanges["binance"].picture(s.t))
    s.run(10 * MS)
    assert free(s) == before


def test_an_asset_that_no_picture_told_is_not_free() -> None:
    s = stage(loose())
    venue = s.engine.desk.venues["binance"]
    venue.free.clear()
    venue.bound.clear()
    told(s, 1000.0)
    assert free(s) == 0.0
    assert judge(s) is Why.BALANCE
