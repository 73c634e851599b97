"""Paper exchanges become ready: live runs and replays answer their first pictures alike."""

from __future__ import annotations

from typing import Protocol

from runner.app.host import Host
from runner.engine.commands import Command
from runner.engine.events import Event, Readiness, Ready, Reconciled


class HasHost(Protocol):
    """A run that has its host by the time events come."""

    host: Host


class PaperReadiness:
    """Makes an exchange of a dry-run ready once its paper account was read."""

    def __init__(self, run: HasHost) -> None:
        self._run = run

    def event(self, event: Event) -> None:
        """Answer the first picture of an exchange with readiness."""
        if isinstance(event, Reconciled):
            ready = Ready(exchange=event.exchange, state=Readiness.READY)
            ready.t, ready.wall = event.t, event.wall
            self._run.host.feed(ready)

    def command(self, command: Command, t: int) -> None:
        """Commands do not matter here."""
