"""Staying awake between frames that follow each other at once (`start` and `dry-run` on sockets).

Theory of operation. A processor that has nothing to do is given to others within microseconds, and
comes back having forgotten what it knew: the next frame, and the order that it may lead to, pay for
that. So while frames come less than `NEAR` apart, the loop looks for the next one instead of
sleeping, for as long as `NEAR` after each. It goes round as always meanwhile, everything else has
its turn; what it costs is processor time, in bursts only. A market whose frames come further apart
never causes it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from runner.base.clock import NS_PER_MS

NEAR: Final = NS_PER_MS // 2


class Polling:
    """Keeps the running loop from sleeping; `mono` tells monotonic ns."""

    __slots__ = ("_able", "_going", "_heard", "_mono", "_reading", "_until")

    def __init__(self, mono: Callable[[], int], cores: int | None = None) -> None:
        """`cores`: with one alone, whoever is to send the next frame may wait for it."""
        self._mono = mono
        self._able = (os.cpu_count() or 1 if cores is None else cores) > 1
        self._heard = -(1 << 62)
        self._until = 0
        self._reading = False
        self._going = False

    def heard(self, t: int) -> None:
        """Note that a frame came at `t`; those of one read count as one."""
        if self._reading or not self._able:
            return
        self._reading = True
        if t - self._heard < NEAR:
            self._until = t + NEAR
        self._heard = t
        if not self._going:
            self._going = True
            asyncio.get_running_loop().call_soon(self._again)

    def _again(self) -> None:
        self._reading = False
        if self._mono() < self._until:
            asyncio.get_running_loop().call_soon(self._again)
        else:
            self._going = False
