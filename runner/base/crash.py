"""Crash points: the process kills itself at a named place, for the tests of restart.

`RUNNER_CRASH=name[:n]` makes the n-th passage (default the first) of `crash_point(name)` send
SIGKILL to the own process: nothing is flushed, no handler runs, as when a machine dies. Unset,
a passage costs one comparison.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from runner.base.errors import UsageError

CRASH_POINTS: Final = frozenset(
    """before_intent after_intent after_first_leg_sent after_last_leg_sent after_ack_received
    before_ack_journaled mid_fill_batch before_fill_journaled after_fill_journaled
    repair_before_send repair_after_send leaving_before_send leaving_after_send
    cancel_before_send cancel_after_send halt_before_cancel halt_after_cancel reconcile_before
    reconcile_middle checkpoint segment_rotation day_roll resume_written stop_before_cancel
    stop_after_cancel""".split()
)

_armed: str | None = None
_left = 0


def arm(setting: str | None) -> None:
    """Read `name[:n]` (None disarms); UsageError for a name that does not exist."""
    global _armed, _left
    if not setting:
        _armed = None
        return
    name, _, count = setting.partition(":")
    if name not in CRASH_POINTS:
        raise UsageError(f"RUNNER_CRASH names no crash point: {name!r}")
    _armed, _left = name, int(count or 1)


def crash_point(name: str) -> None:
    """Die here when armed for `name` and its count is reached."""
    global _left
    if _armed is None or _armed != name:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get("RUNNER_CRASH"))
