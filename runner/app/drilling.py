"""When the way of an entry is walked in a run on sockets (see `engine/drill.py`).

After the frames of a read, at most once a millisecond, and only where frames come: a market that
is silent costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from runner.app.host import FAR
from runner.base.clock import NS_PER_MS

EVERY: Final = 1 * NS_PER_MS


class Drilling:
    """Calls `drill` once what has been read is handled.

    A drill that raises is a fault of ours that no trade depends on: it is told, and was the last.
    """

    __slots__ = ("_drill", "_next", "_tell")

    def __init__(self, drill: Callable[[], object], tell: Callable[[str], None]) -> None:
        self._drill = drill
        self._tell = tell
        self._next = 0

    def heard(self, t: int) -> None:
        """Note that a frame came at `t`, monotonic ns."""
        if t >= self._next:
            self._next = t + EVERY
            asyncio.get_running_loop().call_soon(self._once)

    def _once(self) -> None:
        try:
            self._drill()
        except Exception as error:
            self._next = FAR
            self._tell(f"drill: {type(error).__name__}: {error}; entries may be slower from now on")
