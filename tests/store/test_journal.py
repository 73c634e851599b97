"""The journal: written before it is done, read back after a kill, honest about a bad disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.base.secret import Secret
from runner.engine.commands import OrderType, Purpose, Trigger
from runner.engine.events import (
    Ack,
    Done,
    End,
    Fill,
    Found,
    Host,
    OrderView,
    Reconciled,
    Reject,
    Unknown,
)
from runner.store.checkpoint import Checkpointer
from runner.store.journal import Journal
from runner.store.past import read_fills, read_intents, read_only
from runner.store.schema import (
    SCHEMA_VERSION,
    DamagedJournal,
    DuplicateIntent,
    Durability,
    JournalError,
    settle,
)
from tests.patience import PATIENCE_S
from tests.store.orders import RUN, approved, clock, header, intent

ROOT = Path(__file__).parents[2]
RUN_2 = "1123456789"


def opened(path: Path, **options: object) -> Journal:
    journal = Journal.open(path, **options)  # type: ignore[arg-type]
    journal.begin_run(header(), clock())
    return journal


def fill(cid: str, trade_id: str, fee: float | None = 0.5) -> Fill:
    return Fill(
        cid=cid, trade_id=trade_id, lots=7, price=50000.1, fee=fee, fee_asset="USDT", t=3, wall=4
    )


def test_a_commit_is_on_file_before_the_orders_can_be_sent(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    legs = [intent(1, 0), intent(1, 1)]
    released = journal.commit(approved(*legs))
    with read_only(tmp_path / "journal.db") as other:
        assert [row.intent for row in read_intents(other)] == legs
    other.close()
    assert [each.intent for each in released] == legs
    journal.close()


def test_a_commit_takes_the_buffer_along_in_the_order_of_happening(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    journal.record("denial", {"code": "stale", "value": 1.5, "limit": 1.0}, t=1, wall=2)
    journal.event(Host(fault="lag", text="80 ms", t=2, wall=3))
    journal.commit(approved(intent()))
    assert journal.pending == 0
    with read_only(tmp_path / "journal.db") as other:
        rows = other.execute("SELECT seq, kind FROM events ORDER BY seq").fetchall()
        (intent_seq,) = other.execute("SELECT seq FROM intents").fetchone()
    other.close()
    assert rows == [(1, "denial"), (2, "host")]
    assert intent_seq == 3
    journal.close()


def test_open_intents_are_those_without_a_terminal_state(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    legs = [intent(1, leg) for leg in range(8)]
    cids = [leg.cid for leg in legs]
    journal.commit(approved(*legs))
    gone = OrderView(
        cid=cids[5], exchange_id="1", symbol="S", side="buy", lots=1, filled_lots=0, status="open"
    )
    journal.event(Done(cid=cids[0], end=End.FILLED, filled_lots=20))
    journal.event(Reject(cid=cids[1], outcome="rejected", code="-2010"))
    journal.event(Unknown(cid=cids[2], why="timeout"))
    journal.record("never_arrived", {"cid": cids[3]}, t=1, wall=1)
    journal.event(Ack(cid=cids[4], exchange_id="9"))
    journal.event(Found(cid=cids[5], order=gone))
    journal.event(Found(cid=cids[6], order=msgspec.structs.replace(gone, status="canceled")))
    journal.close()
    past = Journal.open(tmp_path / "journal.db").past()
    assert [each.intent.cid for each in past.open] == [cids[2], cids[4], cids[5], cids[7]]
    assert past.open[0].intent == legs[2]
    assert past.groups == {RUN: 1}


def test_a_fill_told_often_is_kept_once_and_learns_its_fee(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    cid = intent().cid
    journal.commit(approved(intent()))
    journal.event(fill(cid, "t1", fee=None))
    journal.event(fill(cid, "t1", fee=0.25))
    journal.event(fill(cid, "t1", fee=0.75))
    late = (fill(cid, "t1"), fill(cid, "t2"), fill("someone-elses", "t1"))
    journal.event(Reconciled(exchange="binance", open_orders=(), fills=late, account=None))
    journal.flush()
    with read_only(tmp_path / "journal.db") as other:
        fills = read_fills(other)
        rows = other.execute(
            "SELECT data FROM events WHERE cid=? AND kind='fill' ORDER BY seq", [cid]
        )
        told = [msgspec.json.decode(text, type=Fill) for (text,) in rows]
    other.close()
    assert sorted((f.fill.cid, f.fill.trade_id, f.fill.fee) for f in fills) == sorted(
        [(cid, "t1", 0.25), (cid, "t2", 0.5), ("someone-elses", "t1", 0.5)]
    )
    assert len(told) == 3, "every telling stays an event"
    assert told[0] == fill(cid, "t1", fee=None)
    journal.close()


def test_states_runs_and_keys_survive(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = opened(path)
    journal.save("engine", b'"old"', wall=1)
    journal.save("engine", b'"new"', wall=2)
    assert journal.claim("signal-7", wall=1)
    assert not journal.claim("signal-7", wall=2), "taken in this run"
    journal.flush()
    journal.end_run(0, "--for", clock())
    journal.close()
    again = Journal.open(path)
    again.begin_run(header(RUN_2), clock())
    past = again.past()
    assert past.states["engine"].value == b'"new"'
    assert not again.claim("signal-7", wall=3), "taken in an earlier run"
    assert [(run.run, run.exit_code) for run in past.runs] == [(RUN, 0), (RUN_2, None)]
    assert past.runs[-1].ended is None
    again.close()


def test_row_numbers_go_on_without_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for run in (RUN, RUN_2):
        journal = Journal.open(path)
        journal.begin_run(header(run), clock())
        journal.record("config", {}, t=1, wall=1)
        journal.commit(approved(intent(1, 0, run=run), intent(1, 1, run=run)))
        journal.event(Ack(cid=intent(run=run).cid))
        journal.close()
    db = sqlite3.connect(path)
    rows = db.execute("SELECT seq FROM events UNION SELECT seq FROM intents ORDER BY seq")
    assert [seq for (seq,) in rows] == list(range(1, 9))
    db.close()


def test_no_client_id_is_journaled_twice(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    journal.commit(approved(intent()))
    journal.record("denial", {"code": "x"}, t=1, wall=1)
    with pytest.raises(DuplicateIntent):
        journal.commit(approved(intent(1, 1), intent()))
    assert journal.fault is None, "the disk is well; the caller is wrong"
    journal.flush()
    with read_only(journal.path) as other:
        assert [row.intent.leg for row in read_intents(other)] == [0], "all or nothing"
        assert other.execute("SELECT count(*) FROM events").fetchone() == (1,)
    other.close()
    journal.close()


def test_files_are_private(tmp_path: Path) -> None:
    journal = opened(tmp_path / "arb" / "journal.db")
    journal.commit(approved(intent()))
    for path in (tmp_path / "arb").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((tmp_path / "arb").stat().st_mode) == 0o700
    journal.close()


def test_secrets_do_not_reach_the_file(tmp_path: Path) -> None:
    secret = Secret("canary-7f3a9c")
    journal = opened(tmp_path / "journal.db")
    journal.event(Reject(cid="c", outcome="rejected", code="1", text=f"bad {secret.reveal()}"))
    journal.record("note", {"url": "https://x/?signature=abcdef&b=1", "key": secret.reveal()}, 1, 1)
    journal.end_run(3, f"gave {secret.reveal()}", clock())
    journal.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"canary-7f3a9c" not in written
    assert b"signature=abcdef" not in written


def test_what_cannot_be_encoded_is_kept_as_its_repr(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    journal.event(Reject(cid="c", outcome="rejected", code="1", text="lone \ud800 surrogate"))
    journal.flush()
    (data,) = journal._db.execute("SELECT data FROM events").fetchone()
    assert "unencodable" in data and "surrogate" in data
    journal.close()


# The disk fails.


class Failing(sqlite3.Connection):
    """A connection whose n-th statement, counted from `arm`, fails."""

    left: int | None = None
    error: sqlite3.Error = sqlite3.OperationalError("disk I/O error")

    def execute(self, sql: str, *rest: object) -> sqlite3.Cursor:  # type: ignore[override]
        if self.left is not None and not sql.startswith(("SELECT", "ROLLBACK")):
            self.left -= 1
            if self.left < 0:
                raise self.error
        return super().execute(sql, *rest)  # type: ignore[arg-type]

    def executemany(self, sql: str, rows: Iterable[Any]) -> sqlite3.Cursor:  # type: ignore[override]
        """Let the failure come between the rows, too."""
        cursor = self.cursor()
        for row in rows:
            cursor = self.execute(sql, row)
        return cursor


def failing(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, factory=Failing)


def everything(journal: Journal) -> None:
    journal.record("denial", {"code": "stale"}, t=1, wall=1)
    journal.event(fill(intent(9).cid, "t1"))
    journal.event(Done(cid=intent(9).cid, end=End.FILLED, filled_lots=7))
    journal.save("engine", b'"x"', wall=1)
    journal.claim("k", wall=1)


def test_a_write_that_fails_at_any_statement_loses_and_halves_nothing(tmp_path: Path) -> None:
    for n in range(30):
        journal = opened(tmp_path / f"{n}.db", connect=failing)
        db = journal._db
        assert isinstance(db, Failing)
        everything(journal)
        db.left = n
        try:
            journal.commit(approved(intent(9), intent(9, 1)))
        except JournalError as error:
            assert "disk I/O error" in str(error) and error.path == journal.path
            assert journal.fault is error
        else:
            assert journal.fault is None
            break
        with read_only(journal.path) as other:
            assert read_intents(other) == []
            assert other.execute("SELECT count(*) FROM events").fetchone() == (0,)
        other.close()
        db.left = None
        journal.commit(approved(intent(9), intent(9, 1)))
        assert journal.fault is None, "a write that succeeds clears the fault"
        with read_only(journal.path) as other:
            assert len(read_intents(other)) == 2
            assert other.execute("SELECT count(*) FROM events").fetchone() == (3,)
            assert [seq for (seq,) in other.execute("SELECT seq FROM intents")] == [4, 5]
        other.close()
        journal.close()
    else:
        raise AssertionError("the last statement was never reached")
    assert n >= 11, "begin, 3 events, fill, ended, once, state, 2 intents, commit"


def test_exits_go_on_in_memory_while_the_disk_is_bad(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db", connect=failing)
    db = journal._db
    assert isinstance(db, Failing)
    exits = [intent(2, 0, purpose=Purpose.CLOSE), intent(2, 1, purpose=Purpose.REPAIR)]
    db.left = 0
    assert [each.intent for each in journal.commit(approved(*exits))] == exits
    assert journal.fault is not None
    with pytest.raises(JournalError):
        journal.commit(approved(intent(3, 0, purpose=Purpose.CLOSE), intent(3, 1)))
    with pytest.raises(DuplicateIntent):
        journal.commit(approved(exits[0]))
    with pytest.raises(JournalError):
        journal.flush()
    db.left = None
    journal.flush()
    assert journal.fault is None
    assert [each.intent for each in journal.past().open] == exits
    journal.close()


def test_a_full_disk_is_one_mapped_error_and_heals(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(JournalError, match="full"):
        for group in range(1, 400):
            journal.commit(approved(intent(group)))
    written = len(journal.past().open)
    assert group == written + 1, "what was committed stands"
    journal._db.execute("PRAGMA max_page_count=100000")
    journal.commit(approved(intent(group)))
    assert len(journal.past().open) == group
    journal.close()


def test_a_locked_file_is_reported_not_waited_for(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="locked"):
        journal.commit(approved(intent()))
    other.execute("ROLLBACK")
    other.close()
    journal.commit(approved(intent()))
    journal.close()


# The file is damaged, foreign, newer, older.


def test_a_damaged_journal_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = opened(path)
    for group in range(1, 200):
        journal.commit(approved(intent(group)))
    journal.close()
    raw = bytearray(path.read_bytes())
    raw[8192:16384] = b"\xff" * 8192
    path.write_bytes(raw)
    with pytest.raises(DamagedJournal, match=r"journal\.db.*--repair"):
        Journal.open(path)


def test_a_file_that_is_no_database_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is a letter to my aunt\n" * 100)
    with pytest.raises(DamagedJournal, match="--repair"):
        Journal.open(path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (name)")
    other.commit()
    other.close()
    with pytest.raises(JournalError, match="another program"):
        Journal.open(path)


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    opened(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(JournalError, match="version 99"):
        Journal.open(path)


def test_an_older_journal_migrates_step_by_step(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    opened(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    now = SCHEMA_VERSION
    steps = {now: "ALTER TABLE runs ADD COLUMN a", now + 1: "ALTER TABLE runs ADD COLUMN b"}
    settle(db, path, target=now + 2, migrations=steps)
    assert db.execute("SELECT a, b FROM runs").fetchall() == [(None, None)]
    assert db.execute("PRAGMA user_version").fetchone() == (now + 2,)
    db.close()


def first_version(path: Path) -> None:
    """Make of a journal what the first version wrote."""
    db = sqlite3.connect(path, isolation_level=None)
    for column in ("trigger_price", "trigger_ticks", "trigger_kind"):
        db.execute(f"ALTER TABLE intents DROP COLUMN {column}")
    db.execute("PRAGMA user_version=1")
    db.close()


def test_a_journal_of_the_first_version_is_read_and_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = opened(path)
    legs = [intent(1, 0), intent(1, 1)]
    journal.commit(approved(*legs))
    journal.close()
    first_version(path)
    with read_only(path) as other:
        assert [row.intent for row in read_intents(other)] == legs, "before any start"
    other.close()
    journal = Journal.open(path)
    with read_only(path) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert [row.intent for row in read_intents(other)] == legs
    other.close()
    journal.close()


def test_a_new_journal_has_the_shape_of_a_migrated_one(tmp_path: Path) -> None:
    shapes = []
    for name in ("new", "old"):
        path = tmp_path / f"{name}.db"
        opened(path).close()
        if name == "old":
            first_version(path)
            Journal.open(path).close()
        with read_only(path) as db:
            shapes.append(db.execute("PRAGMA table_info(intents)").fetchall())
        db.close()
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("kept", [False, True])
def test_what_sets_a_stop_off_is_read_back(tmp_path: Path, kept: bool) -> None:
    path = tmp_path / "journal.db"
    journal = opened(path)
    stop = msgspec.structs.replace(
        intent(1, 0), type=OrderType.STOP, purpose=Purpose.PROTECT, ticks=0, price_text="",
        trigger=Trigger.LAST, trigger_ticks=610_005, trigger_text="61000.5",
    )  # fmt: skip
    if kept:
        journal._keep([stop, intent(1, 1)])  # as while the disk is full: it is written later
        journal.flush()
    else:
        journal.commit(approved(stop, intent(1, 1)))
    with read_only(path) as other:
        assert [row.intent for row in read_intents(other)] == [stop, intent(1, 1)]
        rows = other.execute("SELECT trigger_kind, trigger_ticks FROM intents ORDER BY seq")
        assert rows.fetchall() == [("last", 610_005), (None, None)]
    other.close()
    journal.close()


def test_a_place_that_cannot_hold_a_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "arb").write_text("a file")
    with pytest.raises(JournalError, match="cannot open the journal"):
        Journal.open(tmp_path / "arb" / "journal.db")


def test_full_durability_syncs_each_commit(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db", durability=Durability.FULL)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    journal.close()


# The checkpoint thread.


def test_checkpoints_run_beside_commits_and_truncate_only_when_quiet(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    keeper = Checkpointer(journal.path, every_s=0.005, truncate_above=4096)
    wal = tmp_path / "journal.db-wal"
    journal.checkpoint_in_background(keeper)
    for group in range(1, 60):
        journal.commit(approved(intent(group)))
    wait_for_pass(keeper)
    assert wal.stat().st_size > 4096, "an order is in flight: nothing is truncated"
    keeper.quiet = True
    wait_for_pass(keeper)
    assert wal.stat().st_size == 0
    journal.commit(approved(intent(60)))
    assert keeper.failure == ""
    assert len(journal.past().open) == 60
    journal.close()


def test_the_checkpoint_thread_begins_the_emptied_log_so_that_no_commit_has_to(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path / "journal.db")
    wal = tmp_path / "journal.db-wal"

    def generation() -> bytes:
        """The salts in the log's header: new ones when it was begun anew, with a sync."""
        return wal.read_bytes()[16:24]

    first = generation()
    keeper = journal.checkpoint_in_background(Checkpointer(journal.path, every_s=0.005))
    wait_for_pass(keeper)
    begun = generation()
    assert begun != first
    wait_for_pass(keeper)
    assert generation() == begun, "nobody wrote: it is left alone"
    keeper.stop()
    journal.commit(approved(intent()))
    assert generation() == begun, "the commit went on in the log it found"
    assert keeper.failure == ""
    journal.close()


def wait_for_pass(keeper: Checkpointer) -> None:
    seen, pause = keeper.passes, threading.Event()
    for _ in range(2000):
        if keeper.passes >= seen + 2:
            return
        pause.wait(0.002)
    raise AssertionError("the checkpoint thread does not run")


# The process is killed.

CHILD = """
import sys
from pathlib import Path
from runner.store.checkpoint import Checkpointer
from runner.store.journal import Journal
from runner.engine.events import Fill
from tests.store.orders import approved, clock, header, intent
path = Path(sys.argv[1])
journal = Journal.open(path)
journal.begin_run(header(), clock())
journal.checkpoint_in_background(Checkpointer(path, every_s=0.002))
group = 0
while True:
    group += 1
    journal.event(Fill(cid="c", trade_id=str(group), lots=1, price=1.0))
    for order in journal.commit(approved(intent(group, 0), intent(group, 1))):
        print(order.intent.cid, flush=True)
"""


def run_child(path: Path, crash: str | None, lines: int | None) -> tuple[int, list[str]]:
    """Run the child until it dies by its crash point or by our SIGKILL after `lines` lines."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RUNNER_CRASH": crash or ""}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        released = []
        for line in child.stdout:
            released.append(line.strip())
            if lines is not None and len(released) == lines:
                child.send_signal(signal.SIGKILL)
        return child.wait(PATIENCE_S), released


@pytest.mark.parametrize(
    ("crash", "lines"),
    [
        (None, 31),
        (None, 400),
        ("before_intent:20", None),
        ("after_intent:20", None),
        ("before_fill_journaled:20", None),
        ("mid_fill_batch:20", None),
        ("after_fill_journaled:20", None),
        ("checkpoint:3", None),
    ],
)
def test_nothing_released_is_ever_lost_by_a_kill(
    tmp_path: Path, crash: str | None, lines: int | None
) -> None:
    path = tmp_path / "journal.db"
    code, released = run_child(path, crash, lines)
    assert code == -signal.SIGKILL
    assert released
    past = Journal.open(path).past()
    journaled = [each.intent.cid for each in past.open]
    assert journaled[: len(released)] == released
    assert len(journaled) % 2 == 0, "a group is whole or absent"
    assert len(read_fills(sqlite3.connect(path))) == len(journaled) // 2
    if crash and not crash.startswith("checkpoint"):
        extra = len(journaled) - len(released)
        assert extra == (2 if crash.startswith("after") else 0)
