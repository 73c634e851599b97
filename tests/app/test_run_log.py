"""The log of a run: lines as documented, redacted, and never in the way of trading."""

from __future__ import annotations

import json
import os
from pathlib import Path

from runner.app.decisions import DecisionFile
from runner.app.run_log import Level, RunLog
from runner.base.clock import VirtualClock
from runner.base.secret import Secret
from runner.engine.commands import Notify, RunState, Trace
from runner.engine.events import Feed, Readiness, Ready, SocketState

WALL = 1_800_000_000_000_000_000


def log_at(folder: Path, threshold: Level = Level.WARNING) -> tuple[RunLog, list[str]]:
    said: list[str] = []
    return RunLog(folder / "log.jsonl", VirtualClock(wall=WALL), threshold, said.append), said


def lines(log: RunLog) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def test_what_the_engine_tells_reaches_the_log_and_from_warn_up_people(tmp_path: Path) -> None:
    log, said = log_at(tmp_path)
    for level in ("info", "warn", "page"):
        log.command(Notify(level=level, text=f"text of {level}"), 1)
    assert lines(log) == [
        {"wall": WALL, "level": "info", "from": "engine", "text": "text of info"},
        {"wall": WALL, "level": "warning", "from": "engine", "text": "text of warn"},
        {"wall": WALL, "level": "error", "from": "engine", "text": "text of page"},
    ]
    assert said == ["warning: engine: text of warn", "error: engine: text of page"]


def test_the_level_says_what_people_see_and_not_what_is_kept(tmp_path: Path) -> None:
    log, said = log_at(tmp_path, Level.ERROR)
    log.tell(Level.WARNING, "bybit", "slow")
    log.say("stopping")
    log.error("gone")
    assert said == ["error: gone"]
    assert [line["text"] for line in lines(log)] == ["slow", "stopping", "gone"]


def test_sockets_readiness_and_the_run_s_state_are_written_as_info(tmp_path: Path) -> None:
    log, said = log_at(tmp_path)
    log.event(Feed(exchange="bin", socket="trade", kind="trade", state=SocketState.UP))
    log.event(
        Feed(exchange="bin", socket="trade", kind="trade", state=SocketState.DOWN, reason="reset")
    )
    log.event(Feed(exchange="bin", socket="", kind="public", state=SocketState.RESYNC))
    for _ in range(3):  # each picture of an account tells it again
        log.event(Ready(exchange="bin", state=Readiness.READY))
    log.event(Ready(exchange="bin", state=Readiness.RECONCILING, reason="lost"))
    log.command(RunState(state="reducing", code="stop", text="stopping"), 1)
    assert [line["text"] for line in lines(log)] == [
        "socket trade up", "socket trade down: reset", "ready", "reconciling: lost",
        "the run is reducing: stopping",
    ]  # fmt: skip
    assert said == []


def test_a_secret_reaches_neither_the_file_nor_people(tmp_path: Path) -> None:
    Secret("canary-of-the-log")
    log, said = log_at(tmp_path)
    log.warn("asked with canary-of-the-log and signature=deadbeef")
    log.say("canary-of-the-log")
    written = log.path.read_text() + "".join(said)
    assert "canary-of" not in written and "deadbeef" not in written


def test_a_full_disk_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    log, said = log_at(tmp_path)
    log.close()
    log._fd = os.open("/dev/full", os.O_WRONLY)
    log.warn("one")
    log.warn("two")
    assert log.dropped == 2
    assert sum("cannot be written" in line for line in said) == 1
    assert "warning: two" in said
    log.close()


def test_the_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    log, _ = log_at(tmp_path)
    log.say("hello")
    assert log.path.stat().st_mode & 0o077 == 0


def test_how_a_trade_goes_is_written_and_what_a_rule_only_thinks_is_not(tmp_path: Path) -> None:
    log, said = log_at(tmp_path, Level.INFO)
    for before, after, cause, refusal in (
        ("idle", "pending", "when", ""),
        ("pending", "pending", "when", "max_order"),
        ("pending", "entering", "approved", ""),
        ("entering", "active", "filled", ""),
        ("active", "active", "until", "stale"),
        ("leaving", "cooldown", "until", ""),
        ("cooldown", "idle", "rested", ""),
    ):
        trace = Trace(rule="arb", cause=cause, before=before, after=after, refusal=refusal)
        log.command(trace, 1)
    assert said == [
        "info: engine: arb: pending -> entering, approved",
        "info: engine: arb: entering -> active, filled",
        "info: engine: arb: leaving -> cooldown, until",
    ]
    assert [f"info: engine: {line['text']}" for line in lines(log)] == said


def test_decisions_that_cannot_be_written_are_told_once_and_stop_nothing() -> None:
    told: list[str] = []
    file = DecisionFile(Path("/dev/full"), told.append)
    for _ in range(3):
        file.write("x" * 10_000)
        file.flush()
    file.close()
    assert told == ["/dev/full cannot be written: No space left on device"]
