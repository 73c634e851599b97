"""What keeps a claim about time from being about luck.

`PATIENCE_S` is how long a test waits for what must come: long enough for the busiest machine, and
never a claim. A test waits for a condition and goes on at once when it holds.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

PATIENCE_S = 60.0


def quickest(work: Callable[[], object], enough: float, tries: int = 5) -> float:
    """Return the CPU seconds of the quickest of several runs; done at one that is quick `enough`.

    Other processes do not count, nor do collections over what other tests have left in memory.
    """
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(tries):
            start = time.process_time()
            work()
            best = min(best, time.process_time() - start)
            if best <= enough:
                break
    finally:
        gc.enable()
    return best
