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
