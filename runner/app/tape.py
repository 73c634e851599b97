"""What a run writes into its recording: frames as they came, all other events typed.

A timer is written only when the loop's alarm fired it: timers in front of an event follow from the
event and are fired again by the replay (interfaces.md, section 2).
"""

from __future__ import annotations

from runner.app.host import Host
from runner.engine.commands import Command
from runner.engine.events import Event, MarketEvent, Timer
from runner.exchanges.api import SocketSpec
from runner.store.recorder import Recorder


class RecorderTape:
    """The frame tape of all feeds of a run."""

    def __init__(self, recorder: Recorder, types: dict[str, str]) -> None:
        self._recorder = recorder
        self._types = types

    def opened(self, conn: int, t: int, wall: int, spec: SocketSpec, exchange: str) -> None:
        """Introduce a connection."""
        kind = self._types.get(exchange, "")
        self._recorder.open(conn, t, wall, exchange, kind, spec.id, spec.url)

    def frame(self, conn: int, t: int, wall: int, more: bool, message: bytes) -> None:
        """Keep a frame."""
        self._recorder.add((conn, t, wall, more, message))

    def closed(self, conn: int, t: int, wall: int) -> None:
        """Note the end of a connection."""
        self._recorder.close(conn, t, wall)


class EventTape(RecorderTape):
    """The frame tape of a run that decides, and an observer of its host."""

    def __init__(self, recorder: Recorder, host: Host, types: dict[str, str]) -> None:
        super().__init__(recorder, types)
        self._host = host

    def event(self, event: Event) -> None:
        """Keep an event that no frame gave."""
        if isinstance(event, MarketEvent):
            if event.conn == 0:
                self._recorder.event(event)
        elif not isinstance(event, Timer) or self._host.ticking:
            self._recorder.event(event)

    def command(self, command: Command, t: int) -> None:
        """Commands follow from events."""
