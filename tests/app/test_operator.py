"""The operator's commands, signals and exit codes, against the running program."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.sim.launch import Running, launch
from tests.app.simlab import TYPES, Lab
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module")
def market() -> Iterator[Running]:
    with launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100, leverage=2
    ) as running:
        yield running


@pytest.fixture
def sim(market: Running) -> Iterator[Running]:
    """The shared market, with nothing left open by this test."""
    yield market
    market.clear()
    for kind, held in market.ledger().items():
        for symbol, position in held["positions"].items():
            if float(position["qty"]):
                by_hand = {
                    "exchange": kind,
                    "symbol": symbol,
                    "trade": str(-float(position["qty"])),
                }
                market.market(by_hand)


def told(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def is_state(name: str) -> Any:
    return lambda status: status["state"] == name


def rule(status: dict[str, Any]) -> dict[str, Any]:
    (only,) = status["rules"].values()
    return dict(only)


def test_halt_resume_flatten_and_the_word_that_outlives_the_process(
    sim: Running, tmp_path: Path
) -> None:
    lab = Lab(sim, tmp_path, hold="60s")
    child = lab.start()
    first = lab.until_trading(child)
    assert first["kind"] == "start" and first["state"] == "active"
    assert set(first["positions"]) == {"bin", "byb"}
    socket = next((tmp_path / "state" / "churn").glob("*.sock"))
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    text = lab.operate("status")
    assert text.returncode == 0 and "ACTIVE" in text.stdout and "position bin" in text.stdout

    asked = lab.operate("why", "churn")
    assert asked.returncode == 0 and "in a trade" in asked.stdout and "sent" in asked.stdout

    tapped = lab.operate("tap", "bin.book", "--limit", "2", "--format", "json")
    rows = [json.loads(line) for line in tapped.stdout.splitlines()]
    assert [row["stream"] for row in rows] == ["bin.book"] * 2 and rows[0]["values"]["bid"] > 0
    assert "position bin" in lab.operate("top").stdout
    nobody = lab.operate("tap", "nix")
    assert nobody.returncode == 2 and "churn" in told(nobody)

    # halt: no new risk, positions stay; resume needs --yes
    assert "HALTED" in lab.operate("halt", "--why", "a look").stdout
    halted = lab.until(child, "halted", is_state("halted"))
    assert halted["reason"] == "a look" and set(halted["positions"]) == {"bin", "byb"}
    refused = lab.operate("resume")
    assert refused.returncode == 2 and "--yes" in told(refused)
    assert lab.ask("resume", yes=True)["ok"]
    lab.until(child, "active again", is_state("active"))

    # flatten one leg needs --yes; flatten closes all and stays halted
    assert lab.operate("flatten", "--leg", "bin").returncode == 2
    wrong = lab.operate("flatten", "--leg", "nix", "--yes")
    assert wrong.returncode == 2 and "nix" in told(wrong)
    assert lab.operate("flatten", "--leg", "bin", "--yes").returncode == 0
    lab.until(child, "one leg", lambda status: set(status["positions"]) == {"byb"})
    assert lab.ask("flatten")["ok"]
    lab.until(child, "flat", lambda s: not s["positions"] and s["state"] == "flattened")
    assert lab.positions() == {}
    code, report, err = lab.stop(child)
    assert code == 4 and report["exit"]["code"] == 4 and "flattened" in err
    why = json.loads(lab.operate("why", "churn", "--format", "json").stdout)
    assert "run" in {row["kind"] for row in why["blocked"]} and not why["live"]
    assert not socket.exists()

    # the word outlives the process
    code, report, _ = lab.run("500ms")
    assert code == 4 and rule_sent(report) == 0
    assert lab.operate("resume", "churn").returncode == 2
    lifted = lab.operate("resume", "churn", "--yes")
    assert lifted.returncode == 0 and "lifted" in lifted.stdout
    assert lab.operate("resume", "churn", "--yes").returncode == 3
    assert not (tmp_path / "state" / "churn" / "halted").exists()


def rule_sent(report: dict[str, Any]) -> int:
    return sum(each["orders"]["sent"] for each in report["exchanges"].values())


def test_a_halt_without_a_process_holds_the_next_start_and_a_signal_halts_too(
    sim: Running, tmp_path: Path
) -> None:
    lab = Lab(sim, tmp_path)
    asleep = lab.operate("halt", "churn", "--why", "weekend")
    assert asleep.returncode == 0 and "begins halted" in asleep.stdout
    child = lab.start()
    status = lab.until(child, "halted", is_state("halted"))
    assert status["reason"] == "weekend"
    assert lab.operate("resume", "--yes").returncode == 0
    lab.until_trading(child)
    child.send_signal(signal.SIGUSR1)
    status = lab.until(child, "halted by the signal", is_state("halted"))
    assert status["reason"] == "SIGUSR1"
    assert lab.stop(child)[0] == 4
    log = next((tmp_path / "state" / "churn" / "runs").glob("*/log.jsonl")).read_text()
    assert "SIGUSR1" in log
    assert "halted before this start; `runner resume churn --yes` lifts it" in log


@pytest.mark.parametrize(
    ("by", "policy"),
    [
        pytest.param(signal.SIGTERM, "keep", marks=pytest.mark.campaign),
        pytest.param(signal.SIGTERM, "flatten", marks=pytest.mark.campaign),
        (signal.SIGHUP, "flatten"),  # the terminal is closed
    ],
)
def test_a_signal_ends_by_the_file_s_policy(
    sim: Running, tmp_path: Path, by: signal.Signals, policy: str
) -> None:
    lab = Lab(sim, tmp_path, hold="60s", on_stop=policy)
    child = lab.start()
    lab.until_trading(child)
    code, report, err = lab.stop(child, by)
    assert code == 0, err
    first = f"churn: {report['run']}, signed orders to your own endpoints, until Ctrl-C\n"
    assert f"{first}from another terminal: `runner status" in err and f"stopping: {by.name}" in err
    assert set(report["positions"]) == set() if policy == "flatten" else {"bin", "byb"}
    assert len(lab.positions()) == (0 if policy == "flatten" else 2)


def test_what_cannot_be_closed_in_time_is_exit_5_and_a_second_signal_is_130(
    sim: Running, tmp_path: Path
) -> None:
    lab = Lab(sim, tmp_path, hold="60s", on_stop="flatten", within="1s")
    child = lab.start()
    lab.until_trading(child)
    sim.fault("delay_request", route="trade*", ms=4000)
    code, report, err = lab.stop(child)
    assert code == 5 and "unresolved" in report["exit"]["reason"], err
    assert report["unaccounted"]
    sim.clear()

    (tmp_path / "second").mkdir()
    other = Lab(sim, tmp_path / "second", hold="60s", on_stop="flatten", within="1m")
    child = other.start("--adopt")
    other.until_trading(child)
    sim.fault("delay_request", route="trade*", ms=8000)
    child.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)
    child.send_signal(signal.SIGINT)
    err = child.communicate(timeout=PATIENCE_S)[1]
    assert child.returncode == 130 and "Traceback" not in err


def test_one_of_several_must_be_named_and_a_dry_run_answers_too(
    sim: Running, tmp_path: Path
) -> None:
    lab = Lab(sim, tmp_path)
    path = lab.write()
    twin = tmp_path / "twin.yaml"
    twin.write_text(path.read_text().replace("name: churn", "name: twin"))
    state = str(tmp_path / "state")
    lines = [lab.command("dry-run", str(f), "--state", state, "--json") for f in (path, twin)]
    with lab.spawn(lines[0]) as one, lab.spawn(lines[1]) as two:
        for child, name in ((one, "churn.paper"), (two, "twin.paper")):
            assert lab.until_trading(child, name=name)["kind"] == "dry-run"
        which = lab.operate("status")
        assert which.returncode == 2
        assert "churn.paper" in told(which) and "twin.paper" in told(which)
        assert lab.operate("flatten").returncode == 2
        assert lab.operate("halt", "twin").returncode == 0
        assert lab.ask("status", "twin.paper")["state"] == "halted"
        other = json.loads(lab.operate("status", "churn", "--json").stdout)
        assert other["state"] != "halted", "a busy machine may have paused it"
        assert [lab.stop(child)[0] for child in (one, two)] == [0, 4]
    none = lab.operate("status")
    assert none.returncode == 3 and "no strategy is running" in told(none)
    asleep = lab.operate("flatten", "churn")
    assert asleep.returncode == 3 and "start it, then flatten" in told(asleep)
    lift = lab.operate("resume", "--yes")
    assert lift.returncode == 3 and "`runner resume NAME` is for one that does not run" in told(
        lift
    )
