"""`runner why` over the journal of a run that is over: found, read, and written for people."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest

from runner import spec
from runner.app.offline import MarketReplay
from runner.app.run_folder import RunFolder, open_folder
from runner.app.why import gather
from runner.app.why.answer import answer
from runner.app.why.gather import gather as story_of
from runner.app.why.shape import About
from runner.app.why.text import text
from runner.cli.main import main
from runner.cli.pages import page
from runner.engine.codes import Why
from runner.engine.events import ClockReading, Depth, Event
from runner.engine.timers import MS, SECOND
from runner.lang.functions import CELLS, FIELDS
from runner.store.lines import AnyLine, event_bytes
from tests.app.test_why import STRATEGY
from tests.engine.test_strategies import RULE, arb

GOLDEN = Path(__file__).parents[1] / "app" / "golden"
WALL = 1_760_000_000 * SECOND


def runner(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    argv = patch.object(sys, "argv", ["runner", *arguments])
    with argv, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
    return code, out.getvalue(), err.getvalue()


def book(market: str, bid: float, t: int) -> AnyLine:
    """A snapshot as it stands in a recording."""
    return line(Depth(
        market=market, snapshot=True, bids=[(bid, 5.0)], asks=[(bid + 0.1, 5.0)], last=t + 1,
        ts=WALL + t, conn=1 + (market == "byb"), t=t, wall=WALL + t,
    ))  # fmt: skip


def line(event: Event) -> AnyLine:
    found: AnyLine = msgspec.json.decode(event_bytes(event), type=AnyLine)
    return found


def lines() -> list[AnyLine]:
    """30 s of an edge of 10 bps, then one that pays, then 10 s without Bybit."""
    clocks = [
        ClockReading(exchange=x, offset=0, uncertainty=MS, wall=WALL) for x in ("binance", "bybit")
    ]
    found = [line(clock) for clock in clocks]
    for i in range(200):
        t = i * 200 * MS
        found.append(book("bin", 60_060.0 if i < 150 else 60_200.0, t))
        if i < 160:
            found.append(book("byb", 60_000.0, t + MS))
    return found


def finished(folder: Path, *, killed: bool = False) -> RunFolder:
    checked = spec.load(STRATEGY.format(when="edge > 15bps"), name="asked.yaml")
    assert checked.plan is not None
    run = open_folder(
        checked.plan, folder, paper=True, restore=False, warm=False, mode="dry-run --replay",
        source="replay", record=False, sets={}, mend=False,
    )  # fmt: skip
    replay = MarketReplay(checked.plan, run.run_id, run.journal, Decimal(10_000), [run.log])
    if killed:
        with patch.object(gather, "keep", lambda *_, **__: None):
            replay.run(lines())
        gather.keep(replay.parts.engine, run.journal, whole=False)
        run.journal.flush()
    else:
        replay.run(lines())
        run.close(0, "end of recording")
    return run


def test_a_run_that_is_over_is_read_from_its_journal(tmp_path: Path) -> None:
    run = finished(tmp_path)
    shown = ("--format", "json", "--last", "50")
    code, out, err = runner("why", "r", "--state", str(tmp_path), *shown)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["run"] == run.run_id and told["ended"] == "end of recording"
    assert told["blocked"][0]["reason"] == "false edge > 15bps"
    assert told["blocked"][0]["nearest"]["by"] == "5.017bps"
    assert told["funnel"]["entries"] >= 1
    moves = [(each["before"], each["after"]) for each in told["decisions"]]
    assert ("pending", "entering") in moves
    assert ("cooldown", "idle") in moves, "what is in memory alone was kept at the end"
    code, out, _ = runner("why", "--state", str(tmp_path))
    assert code == 0 and "edge > 15bps is false" in out
    assert runner("why", "r", "--state", str(tmp_path), "--name", "asked")[0] == 0


def test_a_run_that_was_killed_is_told_from_its_traces_and_the_last_minute(
    tmp_path: Path,
) -> None:
    run = finished(tmp_path, killed=True)
    try:
        code, out, _ = runner("why", "r", "--name", "asked", "--state", str(tmp_path))
    finally:
        run.close(0, "")
    assert code == 3, "it holds its lock and answers nothing: the process is there"
    shown = ("--format", "json", "--last", "50")
    code, out, _ = runner("why", "r", "--state", str(tmp_path), *shown)
    moves = [(each["before"], each["after"]) for each in json.loads(out)["decisions"]]
    assert code == 0 and ("pending", "entering") in moves
    assert all(move != ("cooldown", "idle") for move in moves), "that one stays in memory"


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    code, _, err = runner("why", "r", "--state", str(tmp_path))
    assert code == 3 and "never ran" in err
    finished(tmp_path)
    code, _, err = runner("why", "nix", "--state", str(tmp_path))
    assert code == 2 and "'nix'" in err and "there are r" in err
    code, _, err = runner("why", "r", "--since", "soon", "--state", str(tmp_path))
    assert code == 2 and "--since" in err


def test_the_answer_for_people() -> None:
    """The arb: ten minutes of what keeps it out, then one trade."""
    s = arb()
    s.quote("bin", 60_120.0, 60_120.1)
    s.run(120 * SECOND)
    s.frozen.add("byb")
    s.run(60 * SECOND)
    s.frozen.clear()
    s.run(20 * SECOND)
    s.quote("bin", 60_300.0, 60_300.1)
    s.run(8 * SECOND)
    s.quote("bin", 60_000.0, 60_000.1)
    s.run(1 * SECOND)
    about = About(strategy="spread-arb-btc", run="run0000001", kind="dry-run", live=True)
    paths = {s.engine.desk.now: (("decided", 84.0), ("journaled", 121.0), ("sent", 139.0))}
    found = text(answer(story_of(s.engine, RULE, paths), about, last=3))
    golden = GOLDEN / "why.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(found)
    assert found == golden.read_text()


@pytest.mark.parametrize("words", [("why", "--help"), ("explain", "why")])
def test_the_help_and_the_page_say_what_is_measured(words: tuple[str, ...]) -> None:
    _, out, _ = runner(*words)
    assert "shares of time" in " ".join(out.lower().split())


def test_the_page_has_every_reason_and_what_it_wants() -> None:
    _, out, _ = runner("explain", "why")
    for reason in ("stream stale", "refused max_position", "cooldown", "unarmed", "window"):
        assert any(line.split("  ")[1] == reason for line in out.splitlines() if line[:2] == "  ")


@pytest.mark.parametrize("code", [*Why, "max_position.bin"])
def test_every_reason_of_a_refusal_has_a_page(code: str) -> None:
    """What `why`, `status` and the report print can be asked about."""
    told = page(code)
    assert f"{code}: a refusal" in told and "what it wants: " in told


@pytest.mark.parametrize("name", [*FIELDS, *CELLS])
def test_what_can_be_read_of_each_thing_is_listed_and_its_fields_are_found_alone(name: str) -> None:
    told = page(name)
    fields = {**FIELDS, **CELLS}[name]
    assert fields and all(f"  {field}" in told for field in fields)
    for field in fields:
        assert f"{name}" in page(field)
