"""Short tasks of one owner: counted, bounded, and none of them dies unnoticed (I-19).

Theory of operation. `start` makes a task of a coroutine, unless there are too many or the owner has
ended; then it says so and the owner decides what that means. An errand that raises is a bug: it
wakes `watch`, which the owner runs beside its other tasks, and which raises it there. `end`
cancels what is left and waits until it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

MOST: Final = 256


class Errands:
    """See the module."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken = asyncio.Event()
        self._error: BaseException | None = None
        self._ended = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run `work` as a task; False when it was not begun: too many, or ended."""
        if self._ended or len(self._tasks) >= self._most:
            work.close()
            return False
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return True

    async def watch(self) -> None:
        """Wait for an errand that dies, and raise what it died of."""
        await self._broken.wait()
        assert self._error is not None
        raise self._error

    async def end(self) -> None:
        """Cancel all errands and wait for their end; none can be started any more."""
        self._ended = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and self._error is None:
            self._error = task.exception()
            self._broken.set()
