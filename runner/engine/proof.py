"""Proofs that an order may be sent: `Approved` by the gate, `Journaled` by the store.

R-01 by construction: a sender takes only `Journaled`; the only maker of `Journaled` is the
journal, from `Approved`; the only maker of `Approved` is the risk gate. Each has one call site,
which a test finds by walking the syntax trees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runner.engine.commands import Intent

_SEAL: Final = object()


class Approved:
    """An intent that passed every check of the gate."""

    __slots__ = ("intent",)
    intent: Intent

    def __init__(self, intent: Intent, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only the risk gate approves an order")
        self.intent = intent

    def __repr__(self) -> str:
        return f"Approved({self.intent.cid})"


class Journaled:
    """An approved intent that the journal has committed; only this can be sent."""

    __slots__ = ("intent",)
    intent: Intent

    def __init__(self, approved: Approved, seal: object) -> None:
        if seal is not _SEAL or not isinstance(approved, Approved):
            raise TypeError("only the journal makes an order sendable")
        self.intent = approved.intent

    def __repr__(self) -> str:
        return f"Journaled({self.intent.cid})"


def _approve(intent: Intent) -> Approved:
    """Seal an intent; called by `engine/gate.py` and by nothing else."""
    return Approved(intent, _SEAL)


def _journaled(approved: Approved) -> Journaled:
    """Seal a committed intent; called by `store/journal.py` and by nothing else."""
    return Journaled(approved, _SEAL)
