"""Taking back a halt of a strategy that is not running."""

from __future__ import annotations

from pathlib import Path

import msgspec

from runner.base.clock import Clock
from runner.store.journal import Journal
from runner.store.lock import Lock
from runner.store.state_dir import StateDir

_RUN = "run"
"""the journal's name of the run's lasting state (`engine/snapshot.py`)"""


def lift_halt(state: StateDir, clock: Clock) -> bool:
    """Let a strategy that is not running trade at its next start; False when nothing held it.

    A halt stands twice, in the `halted` file and in the journal's last state; either alone holds.
    Held (WorldError) when the strategy runs after all.
    """
    with Lock(state.lock, f"strategy {state.name}"):
        lifted = _lift_in_journal(state.journal, clock) if state.journal.exists() else False
        return state.resume() or lifted


def _lift_in_journal(path: Path, clock: Clock) -> bool:
    journal = Journal.open(path)
    try:
        saved = journal.past().states.get(_RUN)
        row = msgspec.json.decode(saved.value) if saved is not None else {}
        if not row.get("causes"):
            return False
        journal.save(_RUN, msgspec.json.encode({**row, "causes": {}}), clock.wall())
        journal.flush()
        return True
    finally:
        journal.close()
