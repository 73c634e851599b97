"""The task that commits what the journal holds back, within 20 ms of its coming."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from runner.base.errors import RunnerError
from runner.store.journal import Journal

_EVERY_S: Final = 0.002
"""short, so that an order finds little before it that must be committed with it"""


class Fault(Protocol):
    """Tells the engine that the journal cannot be written, or can again."""

    def __call__(self, fault: str, text: str, ok: bool = False) -> None: ...


async def flushing(journal: Journal, quiet: Callable[[], bool], fault: Fault) -> None:
    """Flush for ever; `quiet`: no order is in flight, the log may be cut short (R-64)."""
    failed = False
    while True:
        await asyncio.sleep(_EVERY_S)
        journal.rest(quiet())
        try:
            journal.flush()
        except RunnerError as error:
            if not failed:
                failed = True
                fault("journal", str(error))
        else:
            if failed:
                failed = False
                fault("journal", "", ok=True)
