"""Time: which of the timers that are due comes before which event.

The engine has timers, and so has the paper exchange where there is one. Before each frame, and when
the loop's alarm rings, `advance` fires all that is due, in the order it was due; then `feed` hands
over the events. In virtual time (replay, scenario) a timer fires at the very instant it was due; on
a real clock it fires when we got round to it.

What `advance` does is in the recording, what happens inside a frame follows from the frame: that
is how a recorded run is decided again (interfaces.md, section 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from runner.app.host import FAR, Host
from runner.engine.events import Event, MarketEvent


class Agenda(Protocol):
    """Something besides the engine that has timers: the paper exchanges."""

    @property
    def due(self) -> int: ...
    def on_timer(self, t: int, wall: int) -> list[Event]: ...
    def on_market(self, event: Event) -> None: ...


class Driver:
    """Feeds a host in the order of time."""

    __slots__ = ("_agenda", "_host", "_virtual", "feed")

    def __init__(self, host: Host, agenda: Agenda | None = None, virtual: bool = False) -> None:
        self._host = host
        self._agenda = agenda
        self._virtual = virtual
        self.feed: Callable[[Event], None] = host.feed if agenda is None else self._feed_both
        """hand on an event; a market event also moves the paper exchange, where there is one"""

    @property
    def due(self) -> int:
        """Monotonic ns of the next timer of any kind."""
        due = self._host.engine.due
        if self._agenda is not None:
            due = min(due, self._agenda.due)
        return due

    def _feed_both(self, event: Event) -> None:
        assert self._agenda is not None
        self._host.feed(event)
        if isinstance(event, MarketEvent):
            self._agenda.on_market(event)

    def advance(self, t: int, wall: int) -> None:
        """Fire all timers that are due at `t`, in the order they were due.

        Inside a command of the host nothing fires: what is due comes after it.
        """
        while not self._host.busy:
            engine_due = self._host.engine.due
            agenda_due = self._agenda.due if self._agenda is not None else FAR
            due = min(engine_due, agenda_due)
            if due > t:
                return
            now = due if self._virtual else t
            then = wall - (t - now)
            if engine_due <= agenda_due:
                self._host.tick(now, then)
                continue
            assert self._agenda is not None
            for event in self._agenda.on_timer(now, then):
                self._host.feed(event)
