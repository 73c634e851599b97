"""The messenger of a run: takes what the engine tells, and brings it to people.

Theory of operation. As an observer it only puts a text on the board and wakes its task; that is all
the trading loop ever pays (R-40). The task writes a letter as things stand when it is sent, and
puts it into the mailbox of every sink. What a sink does not take is written to the log; a page is
repeated anyway until somebody acknowledges it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from runner.app.notify.board import FAR, Board
from runner.app.notify.letter import Letter, page_letter
from runner.app.notify.mailbox import Mailbox
from runner.base.clock import NS_PER_S, Clock
from runner.engine.commands import Command, Notify, Topic
from runner.engine.core import Engine
from runner.engine.events import Event, Operator

PAGE: Final = "page"
"""the level of what needs a person"""


class Messenger:
    """See the module."""

    def __init__(
        self, engine: Engine, run_id: str, board: Board, boxes: Sequence[Mailbox], clock: Clock
    ) -> None:
        self.board = board
        self.boxes = tuple(boxes)
        self._engine = engine
        self._run_id = run_id
        self._clock = clock
        self._posted = asyncio.Event()

    # -- the observer

    def event(self, event: Event) -> None:
        """An operator who acts has seen the pages."""
        if isinstance(event, Operator) and event.who not in ("", "runner"):
            self.board.acknowledge()

    def command(self, command: Command, t: int) -> None:
        """Post what the engine wants a person to know."""
        if not isinstance(command, Notify):
            return
        worth = command.level == PAGE or command.topic is Topic.NOTE
        if worth and self.board.post(command.topic, command.text, self._clock.mono()):
            self._posted.set()

    # -- the tasks

    async def run(self) -> None:
        """Deliver pages until cancelled."""
        async with asyncio.TaskGroup() as group:
            for box in self.boxes:
                group.create_task(box.run())
            group.create_task(self._watch_board())

    def deliver(self, letter: Letter) -> None:
        """Give a letter to every sink."""
        for box in self.boxes:
            box.put(letter)

    async def last_words(self, within_s: float, notice: Callable[[str], None]) -> None:
        """Send what still waits when a run ends, as far as the time allows."""
        for page in self.board.pages:
            if not page.sent:
                self.deliver(page_letter(self._engine, self._run_id, page))
        try:
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(box.drain() for box in self.boxes))
        except TimeoutError:
            notice("not every message could be sent before the end")

    async def _watch_board(self) -> None:
        while True:
            await self._something_due()
            for page in self.board.take(self._clock.mono()):
                self.deliver(page_letter(self._engine, self._run_id, page))

    async def _something_due(self) -> None:
        """Return when a page is due, or a new one may be."""
        due = self.board.due
        wait = None if due >= FAR else max(0, due - self._clock.mono()) / NS_PER_S
        with contextlib.suppress(TimeoutError):  # a page is due
            async with asyncio.timeout(wait):
                await self._posted.wait()
        self._posted.clear()
