"""Bringing into a journal what a killed run left in its tail, for those who only read it."""

from __future__ import annotations

from runner.base.errors import WorldError
from runner.store.journal import Journal
from runner.store.lock import Lock
from runner.store.state_dir import StateDir
from runner.store.tail import left_in


def settle_tail(state: StateDir) -> None:
    """Bring the tail in, unless the strategy runs: then its own flush is about to.

    Where that is not possible (a copy that cannot be written, a damaged file) it is left to the
    next start, and readers see the journal without its last milliseconds.
    """
    try:
        if state.journal.exists() and left_in(state.journal)[1]:
            with Lock(state.lock, f"strategy {state.name}"):
                Journal.open(state.journal).close()
    except WorldError:
        return
