"""Whether this process is well: it gets its turn in time, and there is memory left (R-39).

Theory of operation. One task sleeps for a moment and sees by how much it woke too late: so late is
every frame and every timer. Each second it looks at the memory. What goes beyond a limit is told to
the engine as a fault, which pauses; what was well for `CALM` is told as well again.

No limit of ours can be so tight that a busy machine trips it: prices have an age of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from runner.base.clock import NS_PER_MS, NS_PER_S, Clock

BEAT_NS: Final = 50 * NS_PER_MS
LATE: Final = 2 * NS_PER_S
"""so much too late, the loop is not ours any more (R-36 calls a process that long stuck)"""
CALM: Final = 10 * NS_PER_S
MOST_OWN: Final = 2 << 30
"""bytes: many times what a run takes, so something grows"""
LEAST_LEFT: Final = 64 << 20
"""bytes left of the machine's memory, or of the group's the process is in"""
_PAGE: Final = 4096
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes; None where the system does not say."""

    own: int | None
    left: int | None


class Tell(Protocol):
    """Tells the engine of a fault, or that it is over."""

    def __call__(self, fault: str, text: str, ok: bool = False) -> None: ...


class Health:
    """The faults of one process, each told when it begins and when it is over."""

    def __init__(self, clock: Clock, tell: Tell, memory: Callable[[], Memory]) -> None:
        self._clock = clock
        self._tell = tell
        self._memory = memory
        self._bad: dict[str, int] = {}
        """fault -> when it was last seen, monotonic ns"""
        self._looked = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            before = self._clock.mono()
            await asyncio.sleep(BEAT_NS / NS_PER_S)
            self.look(self._clock.mono() - before - BEAT_NS)

    def look(self, late: int) -> None:
        """Judge a beat that came `late` ns too late."""
        now = self._clock.mono()
        self._judge("loop", f"the loop was late by {late // NS_PER_MS}ms" if late > LATE else "")
        if now - self._looked >= NS_PER_S:
            self._looked = now
            self._judge("memory", _short_of(self._memory()))

    def _judge(self, fault: str, text: str) -> None:
        now = self._clock.mono()
        if text:
            known = fault in self._bad
            self._bad[fault] = now
            if not known:
                self._tell(fault, text)
        elif fault in self._bad and now - self._bad[fault] >= CALM:
            del self._bad[fault]
            self._tell(fault, "", ok=True)


def _short_of(memory: Memory) -> str:
    if memory.own is not None and memory.own > MOST_OWN:
        return f"this process takes {memory.own >> 20} MiB of memory / {MOST_OWN >> 20} MiB"
    if memory.left is not None and memory.left < LEAST_LEFT:
        return f"{memory.left >> 20} MiB of memory are left / {LEAST_LEFT >> 20} MiB"
    return ""


def read_memory(proc: Path = Path("/proc"), group: Path = _CGROUP) -> Memory:
    """Read what this process takes and what is left (Linux; elsewhere nothing is known)."""
    pages = _numbers(proc / "self" / "statm")
    own = pages[1] * _PAGE if len(pages) > 1 else None
    left = [x for x in (_available(proc / "meminfo"), _of_group(group)) if x is not None]
    return Memory(own, min(left, default=None))


def _available(path: Path) -> int | None:
    for line in _text(path).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return None


def _of_group(group: Path) -> int | None:
    """Return what the control group may still take; what is only cached of files can go."""
    most, taken = _numbers(group / "memory.max"), _numbers(group / "memory.current")
    if not most or not taken:
        return None
    cached = [
        int(line.split()[1])
        for line in _text(group / "memory.stat").splitlines()
        if line.startswith(("inactive_file ", "active_file "))
    ]
    return most[0] - taken[0] + sum(cached)


def _numbers(path: Path) -> list[int]:
    return [int(word) for word in _text(path).split() if word.isdigit()]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
