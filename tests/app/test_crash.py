"""R-26: the process is killed at a named point and started again; nothing is repeated or forgotten.

Each case: a run against a simulator that outlives it dies at the point by SIGKILL; the second run
takes over and is told to end flat. Then no client id has reached an exchange twice, both exchanges
are flat, and the run that says so ended with code 0.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    take_over(lab)


def take_over(lab: Lab) -> None:
    """Start again, settle what was open and go on, and end flat."""
    lab.on_stop = "flatten"
    with lab.running() as child:
        lab.until(child, "what was open is settled", goes_on)
        code, report, err = lab.stop(child)
    assert code == 0, f"{report.get('exit')} {err[-2000:]}"
    assert lab.positions() == {} and lab.doubled() == []


def goes_on(status: dict[str, Any]) -> bool:
    """Whether it has entered anew, or would: an entry that was undone waits for its `when`."""
    rule = status["rules"]["churn"]
    waits = "not armed" in rule["reason"] and not status["positions"]
    return not status["orders"]["open"] and bool(rule["entries"] or waits)


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


_SHORT_SEGMENTS = """
import functools
from runner.app import run_folder
run_folder.Recorder = functools.partial(run_folder.Recorder, segment_ns=2_000_000_000)
from runner.cli.main import main
main()
"""


def killed_then_well(lab: Lab, line: list[str], point: str) -> None:
    """Run a command line until it kills itself, then take over and end flat."""
    with lab.spawn(line, crash=point) as child:
        err = child.communicate(timeout=3 * PATIENCE_S)[1]
        assert child.returncode == -signal.SIGKILL, f"{point} was not reached: {err[-2000:]}"
    take_over(lab)


def start_line(lab: Lab) -> list[str]:
    return lab.command("start", str(lab.write()), "--state", str(lab.folder / "state"), "--json")


@pytest.mark.campaign
@pytest.mark.parametrize("first", ["bin", "byb"])
def test_a_kill_between_two_segments_of_the_recording(
    sim: Running, tmp_path: Path, first: str
) -> None:
    lab = Lab(sim, tmp_path, first, "byb" if first == "bin" else "bin")
    line = start_line(lab)
    line[line.index("-c") + 1] = _SHORT_SEGMENTS
    killed_then_well(lab, line, "segment_rotation:2")
    (broken, _) = sorted((tmp_path / "state" / "churn" / "runs").iterdir(), key=os.path.getmtime)
    done = subprocess.run(
        lab.command("replay", str(broken)), capture_output=True, text=True, env=lab.env(),
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    # what was decided last may not be on file; what is on file is decided again
    assert "identical" in done.stdout, done.stdout + done.stderr


@pytest.mark.campaign
@pytest.mark.parametrize("first", ["bin", "byb"])
def test_a_kill_when_the_day_begins_anew(sim: Running, tmp_path: Path, first: str) -> None:
    soon = time.strftime("%H:%M UTC", time.gmtime(time.time() + 65))
    lab = Lab(sim, tmp_path, first, "byb" if first == "bin" else "bin", day=soon)
    killed_then_well(lab, start_line(lab), "day_roll")


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
    take_over(lab)


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
