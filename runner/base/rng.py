"""The only module that makes randomness, so that a run's seed decides all of it."""

from __future__ import annotations

import hashlib
import os
import random


def seeded(*parts: str | int) -> random.Random:
    """Return a generator that depends on `parts` alone (not on PYTHONHASHSEED)."""
    text = "\x1f".join(str(part) for part in parts)
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


def entropy(n: int) -> bytes:
    """Return `n` bytes from the operating system, for identifiers of a run."""
    return os.urandom(n)
