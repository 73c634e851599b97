"""The signals by which a person or a system asks a program to end."""

from __future__ import annotations

import signal


def that_end() -> list[signal.Signals]:
    """Return SIGINT, SIGTERM and, of a terminal that is closed, SIGHUP; not where `nohup` is."""
    ends = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    return ends
