"""Bad input and a bad world: one clear message each, the right exit code, nothing lost."""

from __future__ import annotations

import json
import random
import re
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.cli.main import main
from runner.sim.launch import Running, launch
from tests.app.simlab import TYPES, Lab
from tests.inprocess import called
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module")
def sim() -> Iterator[Running]:
    """A market for those that send nothing."""
    with launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100, leverage=2
    ) as running:
        yield running


@pytest.fixture
def own() -> Iterator[Running]:
    """A market that the test may leave as it likes."""
    with launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100, leverage=2
    ) as running:
        yield running


def call(lab: Lab, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the program, which ends soon, with the lab's keys and what is given over them."""
    line = [*arguments, "--state", str(lab.folder / "state")]
    return called(*line, environment={**lab.env(), **environment})


def message(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the one message of a refusal, after its exit code was as it must be."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "bug" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1, done.stderr
    return done.stderr[done.stderr.index(errors[0]) :]


def nothing_was_sent(sim: Running) -> bool:
    return not any(each["requests"] for each in sim.ledger().values())


def test_all_missing_secrets_in_one_message(sim: Running, tmp_path: Path) -> None:
    lab = Lab(sim, tmp_path)
    path = str(lab.write())
    said = message(call(lab, "start", path, BIN_KEY="", BYB_SECRET=" "), 3)
    assert "BIN_KEY" in said and "BYB_SECRET" in said and "BIN_SECRET" not in said


@pytest.mark.parametrize(
    ("variable", "code"),
    [("BIN_KEY", "-2015"), pytest.param("BYB_SECRET", "10004", marks=pytest.mark.campaign)],
)
def test_a_wrong_key_is_refused_before_any_order(
    sim: Running, tmp_path: Path, variable: str, code: str
) -> None:
    lab = Lab(sim, tmp_path)
    path = str(lab.write())
    said = message(call(lab, "start", path, "--for", "3s", **{variable: "wrong-0123456789"}), 3)
    assert code in said and "wrong-0123456789" not in said
    assert nothing_was_sent(sim)


@pytest.mark.parametrize(
    ("exchange", "rights"),
    [
        ("binance_usdm", {"enableWithdrawals": True}),
        pytest.param(
            "bybit_linear",
            {"permissions": {"Wallet": ["Withdraw"], "ContractTrade": ["Order"]}},
            marks=pytest.mark.campaign,
        ),
    ],
)
def test_a_key_that_may_withdraw_is_refused(
    sim: Running, tmp_path: Path, exchange: str, rights: dict[str, Any]
) -> None:
    fault = sim.fault("key_rights", exchange=exchange, **rights)
    try:
        lab = Lab(sim, tmp_path)
        assert "may withdraw" in message(call(lab, "start", str(lab.write()), "--for", "3s"), 3)
    finally:
        sim.clear(fault)
    assert nothing_was_sent(sim)


def test_what_the_command_line_gets_wrong_is_2_or_1_and_opens_nothing(
    sim: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["runner", *arguments, "--state", str(tmp_path / "state")])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0), capsys.readouterr().err

    lab = Lab(sim, tmp_path)
    path = lab.write()
    text = path.read_text()
    live = tmp_path / "live.yaml"
    live.write_text(re.sub(r", endpoints: {.*?}", "", text.replace("custom", "live")))
    away = tmp_path / "away.yaml"
    away.write_text(text.replace("127.0.0.1", "10.9.8.7"))
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace("until:", "untill:"))
    spot = tmp_path / "spot.yaml"
    spot.write_text(text.replace("type: binance_usdm", "type: binance_spot"))
    cases = [
        (("start", str(path), "--for", "tomorrow"), 2, "--for tomorrow"),
        (("start", str(path), "--for", "0s"), 2, "above zero"),
        (("start", str(path), "--for", "1e999s"), 2, "--for 1e999s"),
        (("why", "--since", "-5s"), 2, "--since -5s"),
        (("why", "--last", "-1"), 2, "--last -1"),
        (("tap", "bin.book", "--limit", "0"), 2, "--limit 0"),
        (("start", str(path), "--bogus"), 2, "--bogus"),
        (("start", str(tmp_path / "nothing.yaml")), 2, "nothing.yaml"),
        (("start", str(live), "--for", "1s"), 2, "--live"),
        (("start", str(live), "--live", "--sim"), 2, "exclude"),
        (("start", str(path), "--live"), 2, "no exchange of the file is on the live network"),
        (("start", str(away), "--for", "1s"), 2, "--allow-custom-endpoints"),
        (("dry-run", str(path), "--sim", "--balance", "-1"), 2, "--balance"),
        (("dry-run", str(path), "--network", "moon"), 2, "--network moon"),
        (("dry-run", str(path), "--sim", "--replay", "x"), 2, "exclude"),
        (("dry-run", str(path), "--replay", str(tmp_path / "none")), 3, "no such recording"),
        (("start", str(broken), "--for", "1s"), 1, "untill"),
        (("start", str(spot), "--for", "1s"), 1, "binance_spot"),
    ]
    for arguments, code, words in cases:
        left, said = call(*arguments)
        assert left == code, (arguments, said)
        assert words in said and "Traceback" not in said, said
    assert not (tmp_path / "state").exists()


def test_a_run_that_nobody_could_speak_to_does_not_begin_and_halts_nothing(
    sim: Running, tmp_path: Path
) -> None:
    lab = Lab(sim, tmp_path)
    path = str(lab.write())
    (tmp_path / "file").touch()
    said = message(
        call(lab, "start", path, "--for", "3s", XDG_RUNTIME_DIR=str(tmp_path / "file")), 3
    )
    assert "cannot bind the control socket" in said and nothing_was_sent(sim)
    assert not (tmp_path / "state" / "churn" / "halted").exists()


def test_an_interrupt_before_it_begins_is_no_bug(
    sim: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runner.cli.run._drive", interrupted)
    lab = Lab(sim, tmp_path)
    done = lab.operate("dry-run", str(lab.write()))
    assert done.returncode == 130 and done.stderr.count("nothing was sent") == 1
    asked = lab.operate("why")
    assert asked.returncode == 3 and "interrupted before it began" in asked.stderr


@pytest.mark.parametrize("command", ["dry-run", "start"])
def test_an_interrupt_while_it_reads_its_file_is_told(
    sim: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runner.cli.run._load", interrupted)
    lab = Lab(sim, tmp_path)
    done = lab.operate(command, str(lab.write()))
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted before it began: nothing was sent\n"


def test_a_symbol_that_is_not_listed_and_an_exchange_that_is_not_there(
    sim: Running, tmp_path: Path
) -> None:
    lab = Lab(sim, tmp_path)
    text = lab.write().read_text()
    unknown = tmp_path / "unknown.yaml"
    unknown.write_text(
        text.replace("BTCUSDT", "XRPUSDT").replace(" BTC", " XRP").replace("0.05 XRP", "500 XRP")
    )
    done = call(lab, "start", str(unknown), "--for", "1s")
    assert done.returncode in (1, 3) and "XRP" in done.stderr and "Traceback" not in done.stderr
    port = sim.endpoints["bybit_linear"]["rest"].rsplit(":", 1)[1]
    gone = tmp_path / "gone.yaml"
    gone.write_text(text.replace(f":{port}", ":9"))
    said = message(call(lab, "start", str(gone), "--for", "1s"), 3)
    assert "byb" in said and "--sim" not in said
    told = message(call(lab, "why", "churn"), 3)
    assert "before it left anything to tell: byb: the exchange's clock" in told
    said = message(call(lab, "dry-run", str(gone), "--for", "1s"), 3)
    assert "`--sim` runs on the built-in simulator" in said


def test_a_second_instance_and_a_second_holder_of_the_symbol_are_refused(
    own: Running, tmp_path: Path
) -> None:
    lab = Lab(own, tmp_path, hold="60s")
    with lab.running() as child:
        lab.until_trading(child)
        said = message(call(lab, "start", str(lab.folder / "churn.yaml"), "--for", "1s"), 3)
        assert str(child.pid) in said
        other = lab.folder / "other.yaml"
        other.write_text((lab.folder / "churn.yaml").read_text().replace("churn", "other"))
        said = message(call(lab, "start", str(other), "--for", "1s"), 3)
        assert "BTCUSDT" in said and str(child.pid) in said
        assert lab.ask("status")["state"] == "active"
        lab.stop(child)


def test_a_foreign_position_refuses_the_start_unless_it_is_adopted(
    own: Running, tmp_path: Path
) -> None:
    own.market({"exchange": "bybit_linear", "symbol": "BTCUSDT", "trade": "0.01"})
    lab = Lab(own, tmp_path, on_stop="flatten")
    done = call(lab, "start", str(lab.write()), "--for", "1s", "--json")
    assert done.returncode == 3 and "--adopt" in done.stderr and "byb" in done.stderr
    report = json.loads(done.stdout)
    assert report["exit"]["code"] == 3
    assert report["exchanges"]["byb"]["orders"]["sent"] == 0
    assert nothing_was_sent_by_us(own)
    lab.on_stop = "cancel"
    code, report, err = lab.run("2s", "--adopt")
    assert code == 0, err
    assert report["exchanges"]["byb"]["orders"]["sent"] > 0
    assert report["market"] == "custom", "own endpoints are not called the test network"
    assert any("not the strategy's" in note for note in report["unaccounted"])


def nothing_was_sent_by_us(sim: Running) -> bool:
    return not any(
        cid.startswith("r") for each in sim.ledger().values() for cid in each["requests"]
    )


def test_a_clock_that_jumps_is_measured_anew_and_no_order_is_signed_with_the_old_one(
    own: Running, tmp_path: Path
) -> None:
    lab = Lab(own, tmp_path, on_stop="flatten")
    with lab.running() as child:
        lab.until_trading(child, 2)
        own.clock(20_000)
        lab.until(child, "measured", lambda s: all(abs(x - 20_000) < 500 for x in offsets(s)))
        entries = lab.ask("status")["rules"]["churn"]["entries"]
        lab.until(child, "trading", lambda s: s["rules"]["churn"]["entries"] > entries + 1)
        code, report, err = lab.stop(child)
    assert code == 0, (report, err)
    refused = sum(each["orders"]["rejected"] for each in report["exchanges"].values())
    assert 1 <= refused <= 4, "the first order of each exchange tells; the next ones are right"
    assert lab.positions() == {} and lab.doubled() == []


def offsets(status: dict[str, Any]) -> list[float]:
    return [each["clock"]["offset_ms"] for each in status["exchanges"].values()]


def test_a_damaged_journal_refuses_and_repair_puts_it_aside(own: Running, tmp_path: Path) -> None:
    lab = Lab(own, tmp_path, on_stop="flatten")
    assert lab.run("500ms")[0] == 0
    journal = tmp_path / "state" / "churn" / "journal.db"
    content = bytearray(journal.read_bytes())
    content[4096 : 3 * 4096] = random.Random(7).randbytes(2 * 4096)
    journal.write_bytes(content)
    path = str(lab.write())
    said = message(call(lab, "start", path, "--for", "1s"), 3)
    assert "--repair" in said
    assert journal.read_bytes() == content
    done = call(lab, "start", path, "--for", "500ms", "--repair", "--json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert bytes(content) in [
        each.read_bytes() for each in journal.parent.rglob("*") if each.is_file()
    ]
    assert sqlite3.connect(journal).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_bytes_damaged_inside_of_the_journals_rows_are_one_message_too(
    own: Running, tmp_path: Path
) -> None:
    lab = Lab(own, tmp_path, on_stop="flatten")
    assert lab.run("500ms")[0] == 0
    with sqlite3.connect(tmp_path / "state" / "churn" / "journal.db") as db:
        db.execute("UPDATE state SET value=? WHERE key LIKE 'rule.%'", (b'{"v":1,"st\xe9te',))
    db.close()
    path = str(lab.write())
    assert "--repair" in message(call(lab, "start", path, "--for", "1s"), 3)
    done = call(lab, "start", path, "--for", "500ms", "--repair", "--json")
    assert done.returncode == 0 and "left out: state rule.churn" in done.stderr, done.stderr


def test_a_state_directory_that_cannot_be_written_is_one_message(
    sim: Running, tmp_path: Path
) -> None:
    lab = Lab(sim, tmp_path)
    path = str(lab.write())
    (tmp_path / "file").write_text("")
    state = str(tmp_path / "file" / "below")
    done = called("start", path, "--for", "1s", "--state", state, environment=lab.env())
    assert "cannot use the folder" in message(done, 3)


@pytest.mark.campaign
@pytest.mark.parametrize("blocks", [60, 200])
def test_a_full_disk_stops_new_risk_and_the_run_ends_flat(
    own: Running, tmp_path: Path, blocks: int
) -> None:
    """No file may grow past so many KiB: the journal fails first, in the middle of trading."""
    lab = Lab(own, tmp_path, on_stop="flatten")
    line = lab.command("start", str(lab.write()), "--for", "4s", "--json")
    limited = ["bash", "-c", f'ulimit -f {blocks}; exec "$@"', "limited", *line]
    done = subprocess.run(
        [*limited, "--state", str(tmp_path / "state")],
        capture_output=True, text=True, env=lab.env(), timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3) and "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0 or "journal.db: writing" in done.stderr
    assert lab.positions() == {} and lab.doubled() == []


def test_a_recording_that_was_cut_off_is_read_as_far_as_it_goes(
    sim: Running, tmp_path: Path
) -> None:
    lab = Lab(sim, tmp_path)
    path = str(lab.write())
    out = tmp_path / "capture"
    made = subprocess.run(
        lab.command("record", path, str(out), "--for", "2s"),
        capture_output=True,
        text=True,
        env=lab.env(),
        timeout=PATIENCE_S,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (segment,) = out.glob("*.jsonl.zst")
    content = segment.read_bytes()
    segment.write_bytes(content[:-200])
    done = call(lab, "dry-run", path, "--replay", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert "lines, then" in done.stderr and "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    assert report["exit"]["reason"].endswith("the recording, which is cut off")
    assert report["streams"]["bin.book"]["frames"] > 10


def test_a_disk_that_fills_stops_entries_lets_exits_go_and_is_over_when_there_is_room(
    own: Running, tmp_path: Path
) -> None:
    """No file may grow while the limit stands: it is set on the running process from outside."""
    lab = Lab(own, tmp_path, on_stop="flatten")
    with lab.running() as child:
        lab.until_trading(child, 2)
        before = resource.prlimit(child.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (1, before[1]))
        status = lab.until(
            child, "frozen entries", lambda s: s["state"] == "reducing" and not s["positions"]
        )
        assert "journal" in status["reason"], status
        entries = status["rules"]["churn"]["entries"]
        time.sleep(1)
        assert lab.ask("status")["rules"]["churn"]["entries"] == entries, "nothing new was begun"
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, before)
        lab.until(child, "active", lambda s: s["rules"]["churn"]["entries"] > entries + 1)
        code, report, err = lab.stop(child)
    assert code == 0 and "Traceback" not in err, (report, err)
    assert lab.positions() == {} and lab.doubled() == []
