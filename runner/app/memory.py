"""Python's garbage collector, kept off the path of an order.

What exists when trading begins (modules, the plan, generated code) lives as long as the process:
frozen, it is never looked at again. Cyclic garbage hardly arises afterwards, so that the collector
may look rarely; it still does, because "hardly" is not "never".
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_THRESHOLDS: Final = (20_000, 50, 100)


@contextmanager
def settled() -> Iterator[None]:
    """Collect once, freeze what is left, look rarely; all as before at the end."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
