"""Errors aside, the base floor: clocks, ids, units, secrets, crash points."""

from __future__ import annotations

import copy
import json
import os
import pickle
import signal
import subprocess
import sys
from decimal import Decimal

import pytest
from freezegun import freeze_time

from runner.base.clock import SystemClock, VirtualClock
from runner.base.crash import CRASH_POINTS, arm
from runner.base.errors import UsageError
from runner.base.ids import CLIENT_ID_LENGTH, base36, client_id, new_run_id, owner_prefix
from runner.base.rng import seeded
from runner.base.secret import Secret, redact
from runner.base.units import format_age, format_duration, format_ratio, plain
from tests.patience import PATIENCE_S


def test_a_virtual_clock_moves_only_forward() -> None:
    clock = VirtualClock(mono=0, wall=1_000)
    clock.advance(5)
    assert (clock.mono(), clock.wall()) == (5, 1_005)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.set(4)


def test_wall_time_is_the_machines_and_mono_does_not_follow_its_steps() -> None:
    clock = SystemClock()
    with freeze_time("2026-11-23 12:00:00"):
        assert clock.wall() == 1_795_435_200 * 1_000_000_000
    with freeze_time("2026-11-23 11:00:00", ignore=["runner.base.clock"]):
        before = clock.mono()
    assert clock.mono() >= before


def test_the_system_clock_counts_from_its_creation() -> None:
    clock = SystemClock()
    first = clock.mono()
    assert 0 <= first <= clock.mono()


def test_client_ids_are_legal_everywhere_and_a_function_of_their_parts() -> None:
    run = new_run_id(1_795_430_445_000_000_000)
    prefix = owner_prefix("binance", "arb")
    cid = client_id(prefix, run, group=36**8 - 1, leg=35, attempt=46_655)
    assert len(cid) == CLIENT_ID_LENGTH
    assert cid.isalnum() and cid.islower() and cid.startswith("r")
    assert cid == client_id(prefix, run, 36**8 - 1, 35, 46_655)
    assert cid != client_id(prefix, run, 36**8 - 1, 35, 46_654)


def test_ids_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        base36(36, 1)
    with pytest.raises(ValueError, match="out of range"):
        client_id("rabcde", "0123456789", 1, 36, 0)


def test_the_same_seed_gives_the_same_numbers_in_another_process() -> None:
    code = "from runner.base.rng import seeded; print(seeded('run', 7).random())"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2)
    }
    assert runs == {f"{seeded('run', 7).random()}\n"}


@pytest.mark.parametrize(
    ("ns", "text"),
    [(250_000_000, "250ms"), (90_000_000_000, "90s"), (7_200_000_000_000, "2h"), (0, "0s")],
)
def test_durations_read_as_written(ns: int, text: str) -> None:
    assert format_duration(ns) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (-5, "0s"), (412_300_000, "412ms"), (20_396_000_000, "20.3s"), (90_000_000_000, "90s"),
        (725_000_000_000, "12m"), (90_000_000_000_000, "25h"), (28_538_500_000_000_000, "330d"),
    ],
)  # fmt: skip
def test_ages_are_no_finer_than_anyone_reads_them(ns: int, text: str) -> None:
    assert format_age(ns) == text


def test_ratios_and_decimals_read_as_the_field_writes_them() -> None:
    assert format_ratio(0.0015) == "15bps"
    assert format_ratio(0.02) == "2%"
    assert plain(Decimal("1E-8")) == "0.00000001"
    assert plain(Decimal("100.000")) == "100"


def test_a_secret_shows_itself_nowhere() -> None:
    """R-69: str, repr, format, copies, pickles and JSON."""
    secret = Secret("hunter2-and-more")
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r:>5}", str([secret])]
    assert not any("hunter2" in text for text in shown)
    assert copy.deepcopy(secret) is secret
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert secret.reveal() == "hunter2-and-more"


def test_what_was_ever_a_secret_is_cut_out_of_any_text() -> None:
    Secret("canary-7f3a9c")
    text = redact(
        "GET /order?a=1&signature=deadbeef77 X-MBX-APIKEY: abcdef body canary-7f3a9c listenKey=XY12"
    )
    assert "deadbeef" not in text and "abcdef" not in text and "canary" not in text
    assert "XY12" not in text and "a=1" in text


def test_there_are_at_least_25_crash_points_and_a_wrong_name_is_refused() -> None:
    assert len(CRASH_POINTS) >= 25
    with pytest.raises(UsageError, match="no crash point"):
        arm("nowhere")


def test_a_crash_point_kills_at_its_count() -> None:
    code = (
        "from runner.base.crash import crash_point\n"
        "print(1, flush=True); crash_point('after_intent')\n"
        "print(2, flush=True); crash_point('after_intent')\nprint(3, flush=True)"
    )
    env = {**os.environ, "RUNNER_CRASH": "after_intent:2"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=PATIENCE_S
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["1", "2"]
