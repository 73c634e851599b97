"""What a door needs of the run it brings messages to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner.base.clock import Clock
from runner.engine.codes import Refusal
from runner.sources.door import Accepted, Refused


class Listener(Protocol):
    """The run, as a door sees it. All of it is called on the loop, nothing of it waits."""

    clock: Clock

    def examine(self, source: str, message: Accepted, sent_at: int) -> Refusal | None:
        """Return why the engine would not accept a message now; nothing is changed."""
        ...

    def hear(self, source: str, message: Accepted, sent_at: int) -> None:
        """Hand a message to the engine; `sent_at` wall ns."""
        ...

    def known(self, source: str, id: str) -> bool:
        """Whether a message with this id was accepted before."""
        ...

    def refused(self, source: str, code: str, text: str) -> None:
        """Count and write down a message that did not pass the door."""
        ...

    def flawed(self, source: str, flaw: Refused) -> None:
        """Count a message that is not of the declared shape."""
        ...

    def items(self, source: str, items: Sequence[object]) -> None:
        """Keep what a poll brought, for a language model to be told of."""
        ...

    def pulse(self, source: str, ok: bool, reason: str = "") -> None:
        """Tell the engine of a sign of life, or that the source is down."""
        ...
