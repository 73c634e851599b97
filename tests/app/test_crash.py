"""R-26: the process is killed at a named point and started again; nothing is repeated or forgotten.

Each case: a run against a simulator that outlives it dies at the point by SIGKILL; the second run
takes over and is told to end flat. Then no client id has reached an exchange twice, both exchanges
are flat, and the run that says so ended with code 0.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.sim.launch import Running, launch
from tests.app.simlab import RESTING, TYPES, Lab
from tests.patience import PATIENCE_S

TRADING = """before_intent after_intent after_first_leg_sent after_last_leg_sent after_ack_received
before_ack_journaled mid_fill_batch before_fill_journaled after_fill_journaled leaving_before_send
leaving_after_send reconcile_before reconcile_middle checkpoint stop_before_cancel
stop_after_cancel""".split()
QUICK = ("after_intent", "after_first_leg_sent", "before_fill_journaled")
COUNTS = {"reconcile_before": 1, "reconcile_middle": 1, "stop_before_cancel": 1}
CODES = {"binance_usdm": -2019, "bybit_linear": 110007}
COUNTS |= {"stop_after_cancel": 1, "leaving_before_send": 2, "leaving_after_send": 2}


@pytest.fixture
def sim() -> Iterator[Running]:
    # Many runs in a minute from one address: more than a trader would, and not the point here.
    with launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100
    ) as running:
        yield running


def crash_and_recover(lab: Lab, point: str) -> None:
    code, _, err = lab.run("50s", crash=f"{point}:{COUNTS.get(point, 3)}")
    assert code == -signal.SIGKILL, f"{point} was not reached: {err[-2000:]}"
    lab.on_stop = "flatten"
    code, report, err = lab.run("3s")
    assert code == 0, f"{report.get('exit')} {err[-2000:]}"
    assert lab.positions() == {}
    assert lab.doubled() == []


@pytest.mark.parametrize("point", QUICK)
def test_a_kill_between_decision_and_fill_is_survived(
    sim: Running, tmp_path: Path, point: str
) -> None:
    crash_and_recover(Lab(sim, tmp_path), point)


@pytest.mark.campaign
@pytest.mark.parametrize("first", ["bin", "byb"])
@pytest.mark.parametrize("point", TRADING)
def test_every_point_of_a_trade_on_each_exchange(
    sim: Running, tmp_path: Path, point: str, first: str
) -> None:
    second = "byb" if first == "bin" else "bin"
    crash_and_recover(Lab(sim, tmp_path, first, second), point)


@pytest.mark.campaign
@pytest.mark.parametrize("exchange", TYPES.values())
@pytest.mark.parametrize("point", ["repair_before_send", "repair_after_send"])
def test_a_kill_around_a_repair(sim: Running, tmp_path: Path, point: str, exchange: str) -> None:
    """One leg is refused, so that the other must be repaired; the kill comes then."""
    route = "trade order.*"
    fault = sim.fault(
        "reject", exchange=exchange, route=route, after=2, count=1, code=CODES[exchange]
    )
    try:
        lab = Lab(sim, tmp_path)
        code, _, err = lab.run("50s", crash=point)
        assert code == -signal.SIGKILL, err[-2000:]
    finally:
        sim.clear(fault)
    lab.on_stop = "flatten"
    code, report, err = lab.run("3s")
    assert code == 0, f"{report.get('exit')} {err[-2000:]}"
    assert lab.positions() == {} and lab.doubled() == []


@pytest.mark.campaign
@pytest.mark.parametrize("first", ["bin", "byb"])
@pytest.mark.parametrize("point", ["cancel_before_send", "cancel_after_send"])
def test_a_kill_around_a_cancel(sim: Running, tmp_path: Path, point: str, first: str) -> None:
    second = "byb" if first == "bin" else "bin"
    lab = Lab(sim, tmp_path, first, second, text=RESTING)
    code, _, err = lab.run("50s", crash=point)
    assert code == -signal.SIGKILL, err[-2000:]
    code, report, err = lab.run("3s")
    assert code == 0, f"{report.get('exit')} {err[-2000:]}"
    assert lab.resting() == 0 and lab.positions() == {} and lab.doubled() == []


@pytest.mark.campaign
@pytest.mark.parametrize("point", ["halt_before_cancel", "halt_after_cancel", "resume_written"])
def test_a_kill_around_the_operators_word(sim: Running, tmp_path: Path, point: str) -> None:
    lab = Lab(sim, tmp_path)
    child = lab.start("--for", "2m", crash=point)
    lab.until_trading(child)
    lab.operate("halt", "--why", "test")
    if point == "resume_written":
        lab.operate("resume", "--yes")
    child.communicate(timeout=PATIENCE_S)
    assert child.returncode == -signal.SIGKILL
    lab.operate("resume", "churn", "--yes")
    lab.on_stop = "flatten"
    code, report, err = lab.run("3s")
    assert code in (0, 4), f"{report.get('exit')} {err[-2000:]}"
    assert lab.positions() == {} and lab.doubled() == []
