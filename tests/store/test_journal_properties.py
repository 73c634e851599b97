"""The journal against a model: whatever fails, the file is a prefix of what happened."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.base.rng import seeded
from runner.engine.commands import Purpose
from runner.engine.events import Ack
from runner.store.journal import Journal
from runner.store.past import read_intents
from runner.store.schema import JournalError
from tests.patience import PATIENCE_S
from tests.store.orders import approved, clock, header, intent
from tests.store.test_journal import ROOT, Failing, failing

Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["entry", "exit", "event", "record", "save", "flush"]),
        # how many statements succeed before the disk fails; from 12 on it does not
        st.integers(0, 16),
    ),
    min_size=1,
    max_size=25,
)


def perform(journal: Journal, step: str, number: int) -> list[str]:
    """Do one step; return what must be found in the file some day, in order."""
    if step in ("entry", "exit"):
        purpose = Purpose.ENTRY if step == "entry" else Purpose.CLOSE
        legs = [intent(number, leg, purpose=purpose) for leg in (0, 1)]
        return [each.intent.cid for each in journal.commit(approved(*legs))]
    if step == "event":
        journal.event(Ack(cid=f"event-{number}"))
        return [f"event-{number}"]
    if step == "record":
        journal.record("note", {"cid": f"record-{number}"}, t=number, wall=number)
        return [f"record-{number}"]
    if step == "save":
        journal.save("engine", str(number).encode(), wall=number)
    else:
        journal.flush()
    return []


def on_file(path: Path) -> list[str]:
    """Return the client ids of all rows in the order of their numbers, which have no hole."""
    db = sqlite3.connect(path)
    rows = db.execute(
        "SELECT seq, cid FROM intents UNION ALL SELECT seq, cid FROM events ORDER BY seq"
    ).fetchall()
    db.close()
    assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
    return [cid for _, cid in rows]


def after_a_kill(path: Path) -> list[str]:
    """Return what a start would find if the process were killed now."""
    with TemporaryDirectory() as folder:
        for part in path.parent.glob("journal.db*"):
            shutil.copy(part, folder)
        copy = Path(folder) / path.name
        Journal.open(copy).close()
        return on_file(copy)


@pytest.mark.parametrize("ahead", [False, True])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_the_file_is_always_a_prefix_of_what_was_released(
    tmp_path_factory: pytest.TempPathFactory, ahead: bool, steps: list[Step]
) -> None:
    path = tmp_path_factory.mktemp("model") / "journal.db"
    journal = Journal.open(path, connect=failing)
    journal.begin_run(header(), clock())
    if ahead:
        journal.write_ahead()
    db = journal._db
    assert isinstance(db, Failing)
    happened: list[str] = []
    saved = b""
    for number, (step, luck) in enumerate(steps, 1):
        db.left = luck if luck < 12 else None
        try:
            happened += perform(journal, step, number)
        except JournalError:
            assert step in ("entry", "flush"), "exits and events never wait for the disk"
        if step == "save":
            saved = str(number).encode()
        found = after_a_kill(path) if ahead else on_file(path)
        assert found == happened[: len(found)]
        if step == "entry" and happened[-1:] == [intent(number, 1).cid]:
            assert found == happened, "an entry is released only when all is on file"
    db.left = None
    journal.close()
    assert on_file(path) == happened
    again = Journal.open(path)
    if saved:
        assert again.past().states["engine"].value == saved
    again.close()


RANDOM_KILL = """
import sys
from pathlib import Path
from runner.base.rng import seeded
from runner.engine.events import Done, End
from runner.store.checkpoint import Checkpointer
from runner.store.journal import Journal
from tests.store.orders import approved, clock, header, intent
path, run = Path(sys.argv[1]), sys.argv[2]
rng = seeded("kill", run)
journal = Journal.open(path)
journal.begin_run(header(run), clock())
journal.checkpoint_in_background(Checkpointer(path, every_s=0.001))
if sys.argv[3:]:
    journal.write_ahead()
group = 0
while True:
    group += 1
    for order in journal.commit(approved(intent(group, 0, run=run), intent(group, 1, run=run))):
        print(order.intent.cid, flush=True)
        if rng.random() < 0.3:
            journal.event(Done(cid=order.intent.cid, end=End.FILLED, filled_lots=20))
    if rng.random() < 0.3:
        journal.flush()
"""


def kill_campaign(folder: Path, kills: int, *ahead: str) -> None:
    """Kill the same journal's writer again and again; nothing released may ever be missing."""
    path = folder / "journal.db"
    rng = seeded("campaign")
    released: list[str] = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for kill in range(kills):
        run = f"{kill:010d}"
        with subprocess.Popen(
            [sys.executable, "-c", RANDOM_KILL, str(path), run, *ahead],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        ) as child:
            assert child.stdout is not None
            after = rng.randint(1, 300)
            for count, line in enumerate(child.stdout, 1):
                released.append(line.strip())
                if count == after:
                    child.send_signal(signal.SIGKILL)
            assert child.wait(PATIENCE_S) == -signal.SIGKILL
    journal = Journal.open(path)
    found = [each.intent.cid for each in read_intents(journal._db)]
    journal.close()
    assert set(released) <= set(found), "forgotten"
    assert len(found) == len(set(found)), "repeated"
    assert len(found) - len(released) <= 2 * kills, "more than the last group of a run is unsaid"


WAYS = pytest.mark.parametrize("ahead", [(), ("ahead",)], ids=["database", "tail"])


@WAYS
def test_ten_kills_of_one_journal_forget_nothing(tmp_path: Path, ahead: tuple[str, ...]) -> None:
    kill_campaign(tmp_path, 10, *ahead)


@pytest.mark.campaign
@WAYS
def test_three_hundred_kills_of_one_journal_forget_nothing(
    tmp_path: Path, ahead: tuple[str, ...]
) -> None:
    kill_campaign(tmp_path, 300, *ahead)
