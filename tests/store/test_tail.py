"""The journal's tail: what is in it survives a kill, once, in its order, and only there."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import msgspec
import pytest

from runner.engine.commands import Purpose
from runner.engine.events import Ack, Done, End
from runner.store import tail as tails
from runner.store.journal import Journal
from runner.store.lock import Lock
from runner.store.past import read_fills, read_intents, read_only
from runner.store.repair import repair
from runner.store.schema import DuplicateIntent, Durability, JournalError
from runner.store.settled import settle_tail
from runner.store.state_dir import StateDir
from runner.store.tail import left_in, path_of
from tests.store.orders import RUN, approved, clock, header, intent
from tests.store.test_journal import RUN_2, Failing, failing, fill


def opened(path: Path, run: str = RUN, **options: object) -> Journal:
    journal = Journal.open(path, **options)  # type: ignore[arg-type]
    journal.begin_run(header(run), clock())
    journal.write_ahead()
    return journal


def killed(journal: Journal, to: Path) -> Path:
    """Return a copy of the files as a kill would leave them."""
    to.mkdir()
    for part in journal.path.parent.glob("journal.db*"):
        shutil.copy(part, to)
    return to / journal.path.name


def legs(path: Path) -> list[tuple[int, int]]:
    """Return (group, leg) of all intents in the database."""
    with read_only(path) as db:
        found = [(row.intent.group, row.intent.leg) for row in read_intents(db)]
    db.close()
    return found


def everything(journal: Journal) -> None:
    """Commit two groups with one of each kind of row before the second."""
    journal.commit(approved(intent(1, 0), intent(1, 1)))
    journal.record("denial", {"code": "stale"}, t=1, wall=1)
    journal.event(fill(intent(1).cid, "t1"))
    journal.event(Done(cid=intent(1).cid, end=End.FILLED, filled_lots=7))
    journal.save("rule.gap", b'"active"', wall=1)
    assert journal.claim("signal-7", wall=1)
    journal.commit(approved(intent(2)))


def test_a_commit_is_in_the_tail_and_the_next_flush_brings_it_into_the_database(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path / "journal.db")
    everything(journal)
    assert legs(journal.path) == [] and journal.pending == 10
    assert [seq for seq, _ in left_in(journal.path)[1]] == [2, 6]
    journal.flush()
    assert legs(journal.path) == [(1, 0), (1, 1), (2, 0)] and journal.pending == 0
    journal.commit(approved(intent(3)))
    assert [seq for seq, _ in left_in(journal.path)[1]] == [7], "begun anew; what follows is older"
    journal.close()
    assert left_in(journal.path)[1] == [], "a clean end leaves nothing"
    assert legs(journal.path)[-1] == (3, 0)


def test_a_start_after_a_kill_finds_all_of_it_once(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    everything(journal)
    path = killed(journal, tmp_path / "killed")
    assert legs(path) == []
    for _ in range(2):  # the second start finds the same tail, and its rows in the database
        again = Journal.open(path)
        past = again.past()
        assert [(row.intent.group, row.intent.leg) for row in past.open] == [(1, 1), (2, 0)]
        assert past.states["rule.gap"].value == b'"active"' and past.last_seq == 6
        assert [f.fill.trade_id for f in read_fills(again._db)] == ["t1"]
        assert again._db.execute("SELECT count(*) FROM events").fetchone() == (3,)
        assert not again.claim("signal-7", wall=9)
        again.commit(approved(intent(9, run=RUN_2)))
        again._db.close()
        path = killed(again, tmp_path / f"again{len(list(tmp_path.iterdir()))}")
        with sqlite3.connect(path) as db:
            db.execute("DELETE FROM intents WHERE grp=9")
        db.close()
    journal.close()


def test_what_the_database_has_is_not_put_again(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    everything(journal)
    journal.flush()
    assert [seq for seq, _ in left_in(journal.path)[1]] == [2, 6], "still on the file, as old news"
    path = killed(journal, tmp_path / "killed")
    again = Journal.open(path)
    again.record("note", {}, t=1, wall=1)
    again.close()
    with read_only(path) as db:
        rows = db.execute("SELECT seq FROM intents UNION SELECT seq FROM events ORDER BY seq")
        assert [seq for (seq,) in rows] == [1, 2, 3, 4, 5, 6, 7]
    db.close()
    journal.close()


def test_a_record_that_was_cut_anywhere_is_not_there_and_the_ones_before_are(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path / "journal.db")
    journal.commit(approved(intent(1)))
    first = journal._tail._at  # type: ignore[union-attr]
    journal.commit(approved(intent(2)))
    end = journal._tail._at  # type: ignore[union-attr]
    path = killed(journal, tmp_path / "killed")
    journal.close()
    file = path_of(path)
    whole = file.read_bytes()
    assert [seq for seq, _ in left_in(path)[1]] == [1, 2]
    for cut in range(first, end):
        broken = bytearray(whole)
        broken[cut] ^= 0x40
        file.write_bytes(broken)
        assert [seq for seq, _ in left_in(path)[1]] == [1], cut
        file.write_bytes(whole[:cut])
        assert [seq for seq, _ in left_in(path)[1]] == [1], cut
    assert [row.intent.group for row in Journal.open(path).past().open] == [1]


def test_a_tail_of_another_database_is_put_aside(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    everything(journal)
    path = killed(journal, tmp_path / "killed")
    journal.close()
    for name in ("journal.db", "journal.db-wal"):
        (path.parent / name).unlink()
    again = opened(path, RUN_2)
    assert again.past().open == ()
    aside = path.with_name(f"journal.db-tail-{RUN}")
    assert aside.stat().st_size == tails.SIZE
    again.close()


def test_a_tail_of_another_version_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    opened(path).close()
    path_of(path).write_bytes(b"runtail9" + bytes(100))
    with pytest.raises(JournalError, match=r"journal\.db-tail is of another version"):
        Journal.open(path)


def test_a_full_tail_and_a_record_too_long_go_to_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path / "journal.db")
    monkeypatch.setattr(tails, "SIZE", 2_000)
    in_database = []
    for group in range(1, 20):
        journal.commit(approved(intent(group)))
        in_database.append(len(legs(journal.path)))
    assert in_database[0] == 0 and in_database[-1] >= 10
    assert set(in_database) < set(range(1, 20)) | {0}, "group after group, all at once"
    journal.save("big", b'"' + b"x" * 3_000 + b'"', wall=1)
    journal.commit(approved(intent(20)))
    assert len(legs(journal.path)) == 20
    journal.close()


def test_no_client_id_is_journaled_twice(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    journal.commit(approved(intent(5)))
    for twice in ([intent(5)], [intent(5, 1), intent(5)], [intent(6), intent(6)]):
        with pytest.raises(DuplicateIntent):
            journal.commit(approved(*twice))
    assert journal.fault is None
    journal.commit(approved(intent(4)))
    assert legs(journal.path) == [(5, 0), (4, 0)], "an older group is the database's to judge"
    journal.commit(approved(intent(6)))
    journal.close()
    assert [group for group, _ in legs(journal.path)] == [5, 4, 6]


def test_a_bad_database_refuses_entries_and_exits_survive_a_kill_all_the_same(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path / "journal.db", connect=failing)
    db = journal._db
    assert isinstance(db, Failing)
    journal.commit(approved(intent(1)))
    db.left = 0
    with pytest.raises(JournalError, match="disk I/O error"):
        journal.flush()
    with pytest.raises(JournalError, match="disk I/O error"):
        journal.commit(approved(intent(2)))
    exits = [intent(3, leg, purpose=Purpose.CLOSE) for leg in (0, 1)]
    assert [each.intent for each in journal.commit(approved(*exits))] == exits
    for again in (exits[0], intent(1, purpose=Purpose.CLOSE)):
        with pytest.raises(DuplicateIntent):
            journal.commit(approved(again))
    path = killed(journal, tmp_path / "killed")
    assert [row.intent.group for row in Journal.open(path).past().open] == [1, 3, 3]
    db.left = None
    journal.flush()
    assert journal.fault is None
    journal.commit(approved(intent(4)))
    assert [group for group, _ in legs(journal.path)] == [1, 3, 3], "by the tail again"
    journal.close()


def test_a_value_that_no_row_can_hold_is_a_mapped_error_and_the_database_goes_on(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path / "journal.db")
    journal.commit(approved(intent(1)))
    with pytest.raises(JournalError, match="writing"):
        journal.commit(approved(msgspec.structs.replace(intent(2), lots=1 << 70)))
    assert legs(journal.path) == []
    journal.commit(approved(intent(2)))
    assert [group for group, _ in legs(journal.path)] == [1, 2]
    journal.close()


class Counting(mmap.mmap):
    """A map that counts how often it is brought to the disk, or refuses that."""

    flushes = 0
    refuses = False

    def flush(self, *_: int) -> None:
        self.flushes += 1
        if self.refuses:
            raise OSError(errno.EIO, "Input/output error")
        super().flush()


def test_full_durability_syncs_each_record_and_a_disk_that_refuses_leaves_it_to_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "mmap", Counting)
    journal = opened(tmp_path / "journal.db", durability=Durability.FULL)
    file = journal._tail._map  # type: ignore[union-attr]
    assert isinstance(file, Counting)
    journal.commit(approved(intent(1)))
    journal.commit(approved(intent(2)))
    assert file.flushes == 2 and legs(journal.path) == []
    file.refuses = True
    journal.commit(approved(intent(3)))
    assert [group for group, _ in legs(journal.path)] == [1, 2, 3]
    journal.commit(approved(intent(4)))
    assert [group for group, _ in legs(journal.path)] == [1, 2, 3, 4], "it is not used again"
    journal.close()


def test_a_disk_without_room_for_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(tmp_path / "journal.db")
    journal.begin_run(header(), clock())
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: len(data) - 1)
    with pytest.raises(JournalError, match=r"journal\.db-tail: .*is the disk full"):
        journal.write_ahead()

    def refuse(fd: int, data: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(JournalError, match=r"journal\.db-tail: No space left on device"):
        journal.write_ahead()
    journal.commit(approved(intent(1)))
    assert len(legs(journal.path)) == 1
    journal.close()


def test_a_reader_of_a_killed_run_brings_its_tail_in_unless_somebody_holds_it(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path / "journal.db")
    everything(journal)
    path = killed(journal, tmp_path / "arb")
    journal.close()
    state = StateDir.at(tmp_path, "arb", paper=False)
    assert state.journal == path
    with Lock(state.lock, "strategy arb"):
        settle_tail(state)
        assert legs(path) == []
    settle_tail(state)
    assert legs(path) == [(1, 0), (1, 1), (2, 0)]


def test_the_tail_is_private(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path_of(path).touch(0o644)
    journal = opened(path)
    assert stat.S_IMODE(path_of(path).stat().st_mode) == 0o600
    journal.close()


def test_a_repair_keeps_what_the_tail_holds(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.db")
    for group in range(1, 150):
        journal.commit(approved(intent(group)))
    journal.flush()
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal.commit(approved(intent(150)))
    journal.event(Ack(cid="lost", exchange_id="1"))
    path = killed(journal, tmp_path / "killed")
    journal.close()
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 4096 // 2 * 4096
    raw[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(raw)
    repair(path, clock())
    groups = [row.intent.group for row in Journal.open(path).past().open]
    assert groups[-1] == 150 and 50 < len(groups) < 150
