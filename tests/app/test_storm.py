"""A real run through faults: it goes on, nothing is sent twice, it ends flat, it says what it saw.

One recorded run takes several faults at once and is then decided again, tampered with, and searched
for its keys. Every fault on its own, on either exchange, is a campaign.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import zstandard

from runner.sim.launch import launch
from tests.app.simlab import TYPES, Lab
from tests.patience import PATIENCE_S

BIN, BYB = "binance_usdm", "bybit_linear"
PLACE = {BIN: "trade order.place", BYB: "trade order.create"}


def market() -> launch:
    return launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100, leverage=2
    )


@dataclass
class Storm:
    """A run that went through several faults, and all it left."""

    lab: Lab
    folder: Path
    report: dict[str, Any]
    out: str
    err: str
    secrets: list[str]
    positions: dict[str, float]
    doubled: list[str]
    cids: set[str]
    during: int
    after: int


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    lab_folder = tmp_path_factory.mktemp("storm")
    with market() as sim:
        lab = Lab(sim, lab_folder, on_stop="flatten")
        with lab.running("--log", "debug") as child:
            lab.until_trading(child, 2)
            for kind in TYPES.values():
                for socket in ("public", "private"):
                    sim.fault("disconnect", exchange=kind, route=socket, count=1)
                sim.fault("accepted_but_lost", exchange=kind, route=PLACE[kind], after=1, count=1)
            sim.fault("duplicate", route="private*", p=0.5)
            lab.until(child, "all faults", lambda _: all(f["hits"] for f in sim.faults().values()))
            during = entries(lab.ask("status"))
            sim.clear()
            lab.until(child, "trading again", lambda s: entries(s) > during + 1)
            gap = sim.fault("gap", exchange=BYB, count=2)
            lab.until(child, "the gap", lambda _: sim.faults()[gap]["hits"] == 2)
            seen = entries(lab.ask("status"))
            lab.until(child, "trading after the gap", lambda s: entries(s) > seen)
            lab.ask("halt", who="test", why="a look")
            lab.ask("resume", yes=True)
            after = entries(lab.ask("status"))
            child.terminate()
            out, err = child.communicate(timeout=PATIENCE_S)
        assert child.returncode == 0, err
        ledger = sim.ledger()
        cids = {cid for each in ledger.values() for cid in each["requests"] if cid[:1] == "r"}
        secrets = [sim.endpoints[kind][name] for kind in TYPES.values() for name in SECRET]
        (run,) = (lab_folder / "state" / "churn" / "runs").iterdir()
        yield Storm(
            lab, run, json.loads(out), out, err, secrets, lab.positions(), lab.doubled(), cids,
            during, after,
        )  # fmt: skip


SECRET = ("key", "secret")


def entries(status: dict[str, Any]) -> int:
    return sum(rule["entries"] for rule in status["rules"].values())


def journal(storm: Storm, query: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(storm.folder.parent.parent / "journal.db")
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def test_it_goes_on_ends_flat_and_sends_nothing_twice(storm: Storm) -> None:
    assert storm.after > storm.during >= 2
    assert storm.positions == {} and storm.report["positions"] == {}
    assert storm.doubled == []
    intents = {cid for (cid,) in journal(storm, "SELECT cid FROM intents")}
    assert storm.cids == intents, "what reached an exchange is what the journal says, no more"


def test_the_report_counts_what_happened(storm: Storm) -> None:
    exchanges = storm.report["exchanges"]
    for name in ("bin", "byb"):
        assert exchanges[name]["reconnects"] >= 2, exchanges
        assert exchanges[name]["orders"]["unknown"] >= 1, exchanges
        assert exchanges[name]["orders"]["rejected"] == 0
    assert exchanges["byb"]["gaps"] == 1 and exchanges["bin"]["gaps"] == 0
    assert storm.report["unaccounted"] == []
    money = storm.report["pnl"]
    assert float(money["net"]) == pytest.approx(float(money["gross"]) - float(money["fees"]))
    sums = "SELECT market, side, sum(fills.lots) FROM fills JOIN intents USING (cid) GROUP BY 1, 2"
    traded = {(market, side): lots for market, side, lots in journal(storm, sums)}
    for market_name in ("bin", "byb"):
        assert traded[market_name, "buy"] == traded[market_name, "sell"] > 0


def test_the_log_tells_the_night(storm: Storm) -> None:
    lines = [json.loads(line) for line in (storm.folder / "log.jsonl").read_text().splitlines()]
    assert all(set(line) == {"wall", "level", "from", "text"} for line in lines)
    texts = [f"{line['from']}: {line['text']}" for line in lines]
    for told in ("bin: socket public down", "byb: socket private down", "halted: a look"):
        assert any(told in text for text in texts), (told, texts)
    assert [line["wall"] for line in lines] == sorted(line["wall"] for line in lines)


def replay(storm: Storm, run: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        storm.lab.command("replay", str(run), *extra),
        capture_output=True,
        text=True,
        env=storm.lab.env(),
        timeout=PATIENCE_S,
        check=False,
    )


def test_it_decides_again_identically(storm: Storm) -> None:
    done = replay(storm, storm.folder, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["identical"] and verdict["decisions"] > 20 and verdict["broken"] == ""


@pytest.mark.parametrize(
    "what", [pytest.param("price", marks=pytest.mark.campaign), "strategy", "decision"]
)
def test_a_recording_that_was_changed_decides_otherwise_and_says_where(
    storm: Storm, tmp_path: Path, what: str
) -> None:
    run = tmp_path / "run"
    (run / "recording").mkdir(parents=True)
    decisions = (storm.folder / "decisions.jsonl").read_text()
    for segment in sorted((storm.folder / "recording").iterdir()):
        with zstandard.open(segment, "rt", encoding="utf-8") as file:
            text = file.read()
        if what == "price":
            text = re.sub(r'(\\"b\\":\\")(\d)', r"\g<1>1", text)
        elif what == "strategy":
            text = text.replace("this.age > 300ms", "this.age > 900ms")
        with zstandard.open(run / "recording" / segment.name, "wt", encoding="utf-8") as file:
            file.write(text)
    if what == "decision":
        decisions = decisions.replace('"side":"buy"', '"side":"sell"', 1)
    (run / "decisions.jsonl").write_text(decisions)
    done = replay(storm, run)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the first difference is decision" in done.stdout
    assert "recorded" in done.stdout and "decided" in done.stdout


def test_a_run_that_was_killed_is_compared_as_far_as_it_had_written(
    storm: Storm, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "recording").mkdir(parents=True)
    segments = sorted((storm.folder / "recording").iterdir())
    for segment in segments:
        content = segment.read_bytes()
        cut = len(content) - 1 if segment == segments[-1] else len(content)
        (run / "recording" / segment.name).write_bytes(content[:cut])
    decisions = (storm.folder / "decisions.jsonl").read_text()
    (run / "decisions.jsonl").write_text(decisions[: len(decisions) // 2])
    done = replay(storm, run)
    assert done.returncode == 0 and "identical" in done.stdout, done.stdout + done.stderr
    assert "the run was killed" in done.stderr and "cut off" in done.stderr
    first = run / "recording" / segments[0].name
    first.write_bytes(first.read_bytes()[: first.stat().st_size * 2 // 3])
    for segment in segments[1:]:
        (run / "recording" / segment.name).unlink()
    (run / "decisions.jsonl").write_text(decisions)
    done = replay(storm, run)
    assert done.returncode == 0 and "identical" in done.stdout, done.stdout + done.stderr
    assert "made after that cannot be decided again" in done.stderr
    (run / "decisions.jsonl").write_bytes(b"\xff" + decisions.encode())
    assert replay(storm, run).returncode == 1
    (run / "decisions.jsonl").write_text(decisions.replace('"side":"buy"', '"side":"sell"', 1))
    assert replay(storm, run).returncode == 1, "what it had written must still be decided again"


def traces(secret: str) -> list[bytes]:
    """Return what would betray a secret: itself, its beginning, and what encodings make of it."""
    raw = secret.encode()
    encoded = base64.b64encode(raw).rstrip(b"=")
    return [raw, raw[:6], encoded[:-2], quote(secret, safe="").encode(), raw.hex().encode()]


def test_no_key_is_in_any_output_or_file_of_the_run(storm: Storm) -> None:
    written = {"stdout": storm.out.encode(), "stderr": storm.err.encode()}
    for file in storm.folder.parent.parent.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            if file.suffix == ".zst":
                with zstandard.open(file, "rb") as opened:
                    content = opened.read()
            written[str(file)] = content
    assert len(written) >= 6
    for secret in storm.secrets:
        for trace in traces(secret):
            found = [name for name, content in written.items() if trace in content]
            assert found == [], f"a trace of {len(trace)} bytes"
    for name, content in written.items():
        for mark in (rb"signature[=\"':\s]+[0-9a-f]{16}", rb"listenKey[=\"':\s\\]+\w{16}"):
            assert not re.search(mark, content), name


# -- each fault on its own


def fault(name: str, kind: str, **options: Any) -> Any:
    return pytest.param(name, kind, options, id=f"{name}-{kind.split('_')[0]}")


ALONE = [
    fault(name, kind, **options)
    for kind in TYPES.values()
    for name, options in (
        ("disconnect", {"route": "trade", "count": 1}),
        ("stall", {"route": "public", "for_s": 2}),
        ("stall", {"route": "private", "for_s": 2}),
        ("accepted_but_lost", {"route": PLACE[kind], "count": 2}),
        ("429", {"count": 3, "retry_after": 1}),
        ("418", {"count": 1, "retry_after": 2}),
        ("unavailable", {"count": 4}),
        ("unavailable", {"route": "trade*", "count": 2, "executed": True}),
        ("drop", {"route": "private*", "p": 0.3}),
        ("late", {"route": "private*", "ms": 300, "count": 20}),
        ("reorder", {"route": "private*", "count": 10}),
        ("crossed", {"count": 3}),
        ("truncated", {"count": 3}),
        ("delay_response", {"route": "trade*", "ms": 4000, "count": 2}),
        ("reject", {"route": PLACE[kind], "count": 2, "code": -2019 if kind == BIN else 110007}),
    )
]
ALONE.append(fault("listen_key_expired", BIN, count=1))


@pytest.mark.campaign
@pytest.mark.parametrize(("name", "kind", "options"), ALONE)
def test_each_fault_alone_ends_flat_with_nothing_sent_twice(
    tmp_path: Path, name: str, kind: str, options: dict[str, Any]
) -> None:
    with market() as sim:
        lab = Lab(sim, tmp_path, on_stop="flatten", within="1m")
        with lab.running() as child:
            lab.until_trading(child, 2)
            sim.fault(name, exchange=kind, **options)
            time.sleep(2.5)
            sim.clear()
            time.sleep(1)
            code, report, err = lab.stop(child)
        assert code == 0, (report.get("exit"), err[-2000:])
        assert lab.positions() == {} and lab.doubled() == [] and report["positions"] == {}
        assert not any("ledger" in note for note in report["unaccounted"])
