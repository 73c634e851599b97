"""Conditions of time through the whole engine: exact in virtual time, and safe in bursts."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.engine.build import compiled
from runner.engine.events import Account, Position, Top
from runner.engine.scenario import Scenario
from runner.engine.timers import MS, SECOND
from runner.lang.calendar import DAY
from runner.spec.load import load

FILE = """
version: 1
name: instants
exchanges:
  binance: {type: binance_usdm, network: testnet}
markets:
  bin: {exchange: binance, symbol: BTCUSDT, streams: {book: {max_age: 5s}}}
rules:
  a:
    when: WHEN
    order: {market: bin, side: buy, size: 500 USDT}
    cooldown: 1h
risk:
  max_order: 600 USDT
  max_position: {bin: 0.02 BTC}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: 20 USDT
"""


def scenario(tmp_path: Path, when: str, wall: int = 0) -> Scenario:
    path = tmp_path / "instants.yaml"
    path.write_text(FILE.replace("WHEN", when))
    checked = load(path)
    assert checked.plan is not None, [d.message for d in checked.findings.items]
    s = Scenario(checked.plan, compiled(checked.plan), tick_every=SECOND)
    if wall:
        s.wall_at_zero = wall
    s.start(bin=(60_000.0, 60_000.1))
    return s


def burst(s: Scenario, bid: float) -> None:
    """Let a frame come that has newer ones behind it."""
    s.push(Top(market="bin", bid=bid, ask=bid + 0.1, bid_qty=9.0, ask_qty=9.0, conn=1, more=True))


def test_held_fires_by_a_timer_and_not_with_the_next_tick(tmp_path: Path) -> None:
    s = scenario(tmp_path, "held(bin.bid > 60_050 USDT / 1 BTC, 2500ms)")
    s.run(5 * SECOND + 100 * MS)
    at = s.t
    s.quote("bin", 60_100.0, 60_100.1)
    s.run(2499 * MS)
    assert s.sent == []
    s.run(2 * MS)
    assert [i.t for i in s.sent] == [at + 2500 * MS]


def test_held_begins_anew_after_a_single_frame_of_a_burst(tmp_path: Path) -> None:
    s = scenario(tmp_path, "held(bin.bid > 60_050 USDT / 1 BTC, 500ms)")
    s.run(3 * SECOND + 100 * MS)
    s.quote("bin", 60_100.0, 60_100.1)
    s.run(400 * MS)
    burst(s, 60_000.0)
    s.run(1)
    s.quote("bin", 60_100.0, 60_100.1)
    s.run(400 * MS)
    assert s.sent == []
    s.run(200 * MS)
    assert len(s.sent) == 1


def test_the_working_hours_begin_at_their_nanosecond(tmp_path: Path) -> None:
    wall = 20_400 * DAY + 8 * 3600 * SECOND - 4_321 * MS - 7
    s = scenario(tmp_path, 'between_utc("08:00", "16:00") and weekday() == "sat"', wall)
    s.run(10 * SECOND)
    assert [i.wall for i in s.sent] == [20_400 * DAY + 8 * 3600 * SECOND]


@pytest.mark.parametrize("bursting", [False, True])
def test_a_crossing_compares_decisions_not_frames(tmp_path: Path, bursting: bool) -> None:
    """Seen on a frame with newer ones behind it, it is still there for the last one."""
    s = scenario(tmp_path, "crosses_above(bin.bid, 60_050 USDT / 1 BTC)")
    s.run(3 * SECOND + 100 * MS)
    if bursting:
        burst(s, 60_060.0)
        s.run(1)
        assert s.sent == []
    s.quote("bin", 60_100.0, 60_100.1)
    s.run(1)
    assert len(s.sent) == 1


def test_a_spike_within_a_burst_is_no_crossing(tmp_path: Path) -> None:
    s = scenario(tmp_path, "crosses_above(bin.bid, 60_050 USDT / 1 BTC)")
    s.run(3 * SECOND + 100 * MS)
    burst(s, 60_060.0)
    s.run(1)
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(2 * SECOND)
    assert s.sent == []


def test_no_crossing_out_of_a_stale_book(tmp_path: Path) -> None:
    s = scenario(tmp_path, "crosses_above(bin.bid, 60_050 USDT / 1 BTC)")
    s.run(3 * SECOND)
    s.frozen.add("bin")
    s.run(10 * SECOND)
    s.frozen.clear()
    s.quote("bin", 60_100.0, 60_100.1)
    s.run(2 * SECOND)
    assert s.sent == []


def test_the_accounts_own_position_is_known_when_the_exchange_has_told_it(tmp_path: Path) -> None:
    """Whoever made it: what we bought is there too, in the exchange's words."""
    s = scenario(tmp_path, "account.binance.position.BTCUSDT == 0 BTC and bin.bid > 0")
    cell = s.engine.held_cells["bin"]
    assert cell.account_qty != cell.account_qty, "nobody has said anything yet"
    s.run(5 * SECOND)
    assert len(s.sent) == 1 and cell.qty > 0
    s.run(30 * SECOND)  # the next whole picture
    assert cell.account_qty == cell.qty


def test_the_distance_to_the_liquidation_price_moves_with_the_book(tmp_path: Path) -> None:
    """Between two pictures of the account nothing but the book tells that it comes near."""
    s = scenario(tmp_path, "position.bin.liq_gap < 5%")
    s.run(3 * SECOND)
    at = Position(symbol="BTCUSDT", lots=8, entry=60_000.0, liquidation=50_000.0)
    s.exchanges["binance"].positions["BTCUSDT"] = 8
    s.push(Account(exchange="binance", balances=(), positions=(at,)))
    s.run(1)
    cell = s.engine.held_cells["bin"]
    assert cell.liq_gap(s.engine.desk.now) == pytest.approx(1 / 6, rel=1e-4)
    assert s.sent == []
    s.quote("bin", 52_000.0, 52_000.1)
    s.run(1)
    assert cell.liq_gap(s.engine.desk.now) == pytest.approx(2 / 52, rel=1e-4)
    assert len(s.sent) == 1, "on the very tick"
    s.frozen.add("bin")
    s.run(10 * SECOND)
    assert cell.liq_gap(s.engine.desk.now) != cell.liq_gap(s.engine.desk.now), (
        "a stale book is none"
    )
