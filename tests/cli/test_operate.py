"""The operator's commands without a run: whom they take for meant, and what they say otherwise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runner.cli import operate
from runner.cli.status_text import status_text
from runner.store.lock import Lock
from runner.store.state_dir import StateDir
from tests.cli.test_why import runner


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory in which `arb` once ran."""
    place = StateDir.make(tmp_path / "state", "arb", paper=False)
    Lock(place.lock, "strategy arb").take().release()
    return tmp_path / "state"


def halted(state: Path) -> list[str]:
    return sorted(path.parent.name for path in state.glob("*/halted"))


def test_a_halt_of_a_mistyped_name_is_refused_with_the_names_there_are(state: Path) -> None:
    code, out, err = runner("halt", "abr", "--state", str(state))
    assert (code, out) == (3, "")
    assert f"no abr ever ran under {state}; there are arb" in err
    assert halted(state) == [] and not (state / "abr").exists()
    code, out, _ = runner("halt", "arb", "--state", str(state), "--why", "weekend")
    assert code == 0 and f"begins halted (under {state})" in out
    assert halted(state) == ["arb"]
    for command in (("status", "arb"), ("status",)):
        code, _, err = runner(*command, "--state", str(state))
        assert code == 3 and "arb is halted: its next start does not trade" in err


def test_a_halt_names_the_run_that_lives_under_another_state_directory(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be believed to be halted, and trade on."""
    runs = [{"ok": True, "state_dir": "/srv/other/arb"}]
    monkeypatch.setattr(operate, "runs_elsewhere", lambda own: runs)
    for command in ("halt", "status", "flatten"):
        code, _, err = runner(command, "arb", "--state", str(state))
        assert code == 3 and "arb runs elsewhere: add `--state /srv/other`" in err, err
    assert halted(state) == []
    assert "elsewhere" not in runner("status", "pairs", "--state", str(state))[2]


def test_a_run_that_does_not_answer_can_be_halted_by_a_signal(state: Path) -> None:
    with Lock(StateDir.at(state, "arb", paper=False).lock, "strategy arb"):
        code, _, err = runner("halt", "--state", str(state))
        assert code == 3 and f"`kill -USR1 {os.getpid()}` halts it too" in err
        assert "kill" not in runner("status", "--state", str(state))[2]


def test_the_status_says_where_the_money_stands_and_how_to_go_on() -> None:
    answer: dict[str, Any] = {
        "name": "arb", "kind": "start", "run": "tp5", "uptime_s": 7.2, "state": "halted",
        "reason": "news", "day_loss": 1.5, "orders": {"open": 2, "each": []},
        "exchanges": {}, "streams": {}, "sources": {}, "rules": {}, "positions": {}, "warnings": [],
        "notify": {"pages": [], "sinks": {}},
    }  # fmt: skip
    assert status_text(answer) == (
        "arb  start  run tp5  up 7s  HALTED  news\n"
        "  `runner resume arb --yes` lets it trade again\n"
        "  the day so far       -1.50  orders open 2\n"
        "  it holds nothing\n"
    )
    guard = {"kind": "stop", "price": "59400", "qty": "0.016", "state": "open"}
    rule = {
        "state": "active", "entries": 1, "exits": 0, "refusals": {}, "disabled": "", "orphan": "",
        "leaving": "", "reason": "", "guards": [guard],
    }  # fmt: skip
    assert (
        "  r                    active  entries 1  exits 0  refused 0\n"
        "                       at the exchange: stop at 59400 for 0.016, open\n"
    ) in status_text(answer | {"rules": {"r": rule}})
    order = {
        "market": "bin", "side": "buy", "qty": "0.005", "price": "59319.2", "filled": "0.001",
        "state": "partial", "purpose": "entry", "rule": "r",
    }  # fmt: skip
    assert (
        "  order bin            buy 0.005 at 59319.2, 0.001 filled, partial  entry of r\n"
    ) in status_text(answer | {"orders": {"open": 1, "each": [order]}})
    active = answer | {
        "state": "active", "reason": "", "day_loss": None, "positions": {"bin": "0.008"}
    }  # fmt: skip
    text = status_text(active)
    assert "resume" not in text and "not known yet" in text
    assert "  the day so far       +0.00  " in status_text(active | {"day_loss": 1e-9})
    assert "  position bin         0.008\n" in text and "nothing" not in text
