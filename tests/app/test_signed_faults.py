"""The real program while the signed side of both exchanges misbehaves (R-16, R-19, R-25).

Whatever happens to answers, pushes and connections: no client id reaches an exchange twice, and a
run that is told to end flat ends flat, with nothing in doubt.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.sim.launch import Running, launch
from tests.app.simlab import CHURN, QUOTING, TYPES, Lab

TRADE, PRIVATE = "trade order.*", "private *"
CUTS = (
    {"name": "disconnect", "route": "trade", "count": 2},
    {"name": "disconnect", "route": "private", "count": 2},
)
CASES: dict[str, tuple[dict[str, Any], ...]] = {
    "answers are lost": ({"name": "accepted_but_lost", "route": TRADE, "p": 0.2},),
    "answers come late": ({"name": "delay_response", "route": TRADE, "p": 0.3, "ms": 1500},),
    "pushes are dropped": ({"name": "drop", "route": PRIVATE, "p": 0.3},),
    "pushes come twice": ({"name": "duplicate", "route": PRIVATE, "p": 0.3},),
    "pushes change places": ({"name": "reorder", "route": PRIVATE, "p": 0.3},),
    "pushes come late": ({"name": "late", "route": PRIVATE, "p": 0.3, "ms": 400},),
    "a private socket is silent": ({"name": "stall", "route": "private", "count": 1},),
    "sockets are cut, REST fails": (
        *CUTS,
        {"name": "unavailable", "route": "GET /*", "p": 0.5},
    ),
    "sockets are cut, REST is busy": (
        *CUTS,
        {"name": "429", "route": "GET /*", "count": 1, "retry_after": 1},
    ),
}
ALL_AT_ONCE = (
    {"name": "accepted_but_lost", "route": TRADE, "p": 0.1},
    {"name": "drop", "route": PRIVATE, "p": 0.2},
    {"name": "unavailable", "route": "GET /*", "p": 0.2},
)

LEAD = """
version: 1
name: churn
exchanges:
{exchanges}
markets:
  bin: {{exchange: bin, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
  byb: {{exchange: byb, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
rules:
  lead:
    when: gap({first}.bid, {second}.ask) > -10%
    max_skew: 2s
    max_hold: 1h
    once: true
    trade:
      size: 900 USDT
      legs:
        - {{market: {first}, side: sell, order: {{type: limit, tif: post_only,
           price: "{first}.ask * (1 + 10bps)", reprice_every: 500ms}}}}
        - {{market: {second}, side: buy, order: {{type: limit, tif: ioc, collar: 20bps}}}}
      hedge: {{policy: first_then_rest, max_gap: 0.01 BTC, repair_within: 2s, worst: 90bps,
              on_failure: keep}}
      close: {{tif: ioc, collar: 20bps, retry: 250ms, worst: 90bps, then: market}}
run: {{on_stop: {on_stop}, stop_within: {within}}}
risk:
  max_order: 1600 USDT
  max_position: {{bin: 0.05 BTC, byb: 0.05 BTC}}
  max_daily_loss: {{amount: 1000 USDT, day: "{day}"}}
  max_orders: {{count: 1000, per: 1m}}
  price_collar: 5%
"""


@pytest.fixture
def sim() -> Iterator[Running]:
    with launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100
    ) as running:
        yield running


def endure(
    sim: Running,
    folder: Path,
    faults: tuple[dict[str, Any], ...],
    bad_s: float,
    calm_s: float,
    text: str = CHURN,
) -> None:
    lab = Lab(sim, folder, on_stop="flatten", text=text)
    with lab.running() as child:
        lab.until_trading(child)
        for fault in faults:
            sim.fault(**fault)
        time.sleep(bad_s)
        lab.until(child, "a hit", lambda _: any(each["hits"] for each in sim.faults().values()))
        sim.clear()
        time.sleep(calm_s)
        code, report, err = lab.stop(child)
    assert code == 0, f"{report.get('exit')} {err[-2000:]}"
    assert lab.positions() == {} and lab.doubled() == []


def test_lost_answers_dropped_pushes_and_failing_rest_leave_nothing_open_or_doubled(
    sim: Running, tmp_path: Path
) -> None:
    endure(sim, tmp_path, ALL_AT_ONCE, 2.0, 1.0)


def test_changes_of_orders_through_the_same_end_flat_too(sim: Running, tmp_path: Path) -> None:
    endure(sim, tmp_path, ALL_AT_ONCE, 2.0, 1.0, QUOTING)


@pytest.mark.campaign
@pytest.mark.parametrize("text", [CHURN, QUOTING], ids=["trades", "quotes"])
@pytest.mark.parametrize("case", CASES)
def test_each_fault_of_the_signed_side(sim: Running, tmp_path: Path, case: str, text: str) -> None:
    endure(sim, tmp_path, CASES[case], 5.0, 4.0, text)


def test_a_lead_that_the_key_can_no_longer_cancel_is_hedged_when_it_fills(
    sim: Running, tmp_path: Path
) -> None:
    """The key loses its right while the lead rests; a move of it is what is refused first."""
    lab = Lab(sim, tmp_path, on_stop="keep", text=LEAD)
    with lab.running() as child:
        lab.until(child, "a lead that rests", lambda _: lab.resting() == 1)
        for route in ("trade order.*", "POST /fapi/v1/order*", "DELETE /fapi/v1/order*"):
            sim.fault(
                name="reject", route=route, exchange="binance_usdm", code=-2015, msg="no permission"
            )
        status = lab.until(child, "a refusal", lambda s: s["state"] == "reducing")
        assert "is frozen" in status["reason"] and lab.resting() == 1
        rise = {"exchange": "binance_usdm", "symbol": "BTCUSDT", "move_bps": 40, "for_s": 30}
        sim.market(rise)
        lab.until(child, "its fill and the hedge", lambda _: len(lab.positions()) == 2)
        assert sum(lab.positions().values()) == pytest.approx(0)
        lab.stop(child)
