"""Repair: the damaged file is kept as it was, the rest is saved, the loss is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.engine.events import Ack
from runner.store.journal import Journal
from runner.store.repair import repair
from runner.store.schema import DamagedJournal, JournalError
from tests.store.orders import approved, clock, header, intent
from tests.store.test_journal import first_version

GROUPS = 300


def written(path: Path) -> bytes:
    journal = Journal.open(path)
    journal.begin_run(header(), clock())
    for group in range(1, GROUPS + 1):
        journal.commit(approved(intent(group)))
        journal.event(Ack(cid=intent(group).cid, exchange_id=str(group)))
    journal.save("engine", b'"state"', wall=1)
    journal.claim("k", wall=1)
    journal.close()
    return path.read_bytes()


def seqs(path: Path) -> list[int]:
    journal = Journal.open(path)
    rows = journal._db.execute("SELECT seq FROM intents UNION SELECT seq FROM events ORDER BY 1")
    found = [seq for (seq,) in rows]
    journal.close()
    return found


def test_a_hole_in_the_file_loses_its_rows_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    raw = bytearray(written(path))
    page = raw.index(b'"exchange_id":"150"') // 4096 * 4096
    raw[page : page + 4096] = b"\xa5" * 4096
    path.write_bytes(raw)
    with pytest.raises(DamagedJournal):
        Journal.open(path)
    report = repair(path, clock())
    kept = seqs(path)
    assert len(kept) > GROUPS, "both sides of the damage are saved"
    lost = {seq for first, last in report.lost for seq in range(first, last + 1)}
    assert lost.isdisjoint(kept) and lost
    assert lost | set(kept) == set(range(1, max(kept) + 1))
    assert f"{len(lost)} rows are lost" in report.text()
    assert str(report.quarantine) in report.text()
    past = Journal.open(path).past()
    assert past.states["engine"].value == b'"state"'
    assert past.runs


@pytest.mark.parametrize(
    ("sound", "damaged", "told"),
    [
        (b'"state"', b'"st\xe9te"', "state engine"),
        (b'"state"', b'"state\x00', "state engine"),
        (b'[["bin.book",17', b'[["bin.book"\xff17', ""),
        (b'[["bin.book",17', b'[["bin.book" 17', ""),
        (b"limitioc", b"limitiox", ""),
    ],
)
def test_bytes_damaged_inside_of_a_row_are_no_bug_and_its_row_alone_is_lost(
    tmp_path: Path, sound: bytes, damaged: bytes, told: str
) -> None:
    path = tmp_path / "journal.db"
    raw = written(path)
    assert sound in raw and len(sound) == len(damaged)
    path.write_bytes(raw.replace(sound, damaged, 1))
    journal = Journal.open(path)  # for SQLite every page is whole
    with pytest.raises(DamagedJournal, match="start with --repair"):
        journal.past()
    journal.close()
    report = repair(path, clock())
    past = Journal.open(path).past()
    assert told in report.text() and ("engine" in past.states) != bool(told)
    assert report.kept["intents"] == GROUPS - (not told) and len(report.lost) == (not told)


def test_a_tail_that_is_none_is_put_aside_and_the_journal_is_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    written(path)
    tail = tmp_path / "journal.db-tail"
    tail.write_bytes(b"\xa5" * 4096)
    with pytest.raises(DamagedJournal, match="start with --repair"):
        Journal.open(path)
    report = repair(path, clock())
    assert report.kept["intents"] == GROUPS and report.lost == []
    assert (report.quarantine / tail.name).read_bytes() == b"\xa5" * 4096
    assert not tail.exists() and Journal.open(path).past().runs


def test_an_event_damaged_inside_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    raw = written(path)
    path.write_bytes(raw.replace(b'"exchange_id":"150"', b'"exchange_id"\x00"150"', 1))
    assert len(repair(path, clock()).lost) == 1


def test_the_damaged_file_is_kept_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    raw = bytearray(written(path))
    raw[4096:8192] = b"\x00" * 4096
    path.write_bytes(raw)
    report = repair(path, clock())
    assert (report.quarantine / "journal.db").read_bytes() == raw
    assert [each.name for each in report.quarantine.iterdir()] == ["journal.db"]


@pytest.mark.parametrize("content", [b"", b"not a database at all " * 1000])
def test_a_file_of_which_nothing_can_be_read_gives_an_empty_journal(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    report = repair(path, clock())
    assert set(report.kept.values()) == {0} and len(report.unreadable) == 6
    assert Journal.open(path).past().runs == ()


def test_rows_still_in_the_wal_are_saved(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal.open(path)
    journal.begin_run(header(), clock())
    journal.commit(approved(intent(1)))
    copies = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    journal.close()
    for name, content in copies.items():
        (tmp_path / name).write_bytes(content)
    report = repair(path, clock())
    assert report.kept["intents"] == 1 and report.lost == []
    assert "no numbered row is lost" in report.text()


def test_the_journal_goes_on_after_its_last_saved_row(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    raw = written(path)
    path.write_bytes(raw[: len(raw) // 2])
    repair(path, clock())
    last = seqs(path)[-1]
    journal = Journal.open(path)
    journal.commit(approved(intent(GROUPS + 1)))
    journal.close()
    assert seqs(path)[-1] == last + 1


def test_the_rows_of_an_older_version_are_saved(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal.open(path)
    journal.begin_run(header(), clock())
    journal.commit(approved(intent(1)))
    journal.close()
    first_version(path)
    report = repair(path, clock())
    assert report.kept["intents"] == 1 and report.kept["runs"] == 1
    assert [each.intent for each in Journal.open(path).past().open] == [intent(1)]


def test_without_a_journal_there_is_nothing_to_repair(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal"):
        repair(tmp_path / "journal.db", clock())
