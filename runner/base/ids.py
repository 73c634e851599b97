"""Identifiers: run ids and client order ids.

A client order id is `r` + 5 characters of hash(account, strategy) + 10 of the run id + 12 of
group ordinal, leg and attempt: 28 characters of [a-z0-9], legal on Binance (36), Bybit (36),
OKX (32, alphanumeric only) and Bitget. It is a function of its parts: the same intent always
gets the same id, and a restart begins a new run id, so no id is ever used twice.
"""

from __future__ import annotations

import base64
import hashlib

from runner.base.rng import entropy

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
"""two digits at a time: an id is made on the way of an order"""
RUN_ID_LENGTH = 10
CLIENT_ID_LENGTH = 28
_PREFIX_LENGTH = 6
_LEGS = 36
_ATTEMPTS = 36**3


def base36(value: int, width: int) -> str:
    """Write a non-negative integer in base 36, zero-padded; ValueError when it does not fit."""
    if value < 0 or value >= 36**width:
        raise ValueError(f"{value} does not fit {width} base-36 characters")
    digits = []
    left = width
    while left > 1:
        value, rest = divmod(value, 1296)
        digits.append(_PAIRS[rest])
        left -= 2
    if left:
        digits.append(_ALPHABET[value])
    digits.reverse()
    return "".join(digits)


def new_run_id(wall_ns: int) -> str:
    """Make a run id of 10 characters: 6 of the time in seconds (sortable), 4 random."""
    seconds = wall_ns // 1_000_000_000
    noise = int.from_bytes(entropy(4), "big") % 36**4
    return base36(seconds % 36**6, 6) + base36(noise, 4)


def owner_prefix(account: str, strategy: str) -> str:
    """Return the 6 characters that mark all orders of a strategy on an account."""
    digest = hashlib.sha256(f"{account}\x1f{strategy}".encode()).digest()
    return "r" + base64.b32encode(digest).decode().lower()[:5]


def client_id(prefix: str, run_id: str, group: int, leg: int, attempt: int) -> str:
    """Build the client order id of one order; ValueError when a part is out of range."""
    if len(prefix) != _PREFIX_LENGTH or len(run_id) != RUN_ID_LENGTH:
        raise ValueError(f"prefix {prefix!r} or run id {run_id!r} has the wrong length")
    if not 0 <= leg < _LEGS or not 0 <= attempt < _ATTEMPTS:
        raise ValueError(f"leg {leg} or attempt {attempt} is out of range")
    return f"{prefix}{run_id}{base36(group, 8)}{base36(leg, 1)}{base36(attempt, 3)}"


def fingerprint(text: str) -> str:
    """Return 12 hex characters that identify a secret or a file without showing it."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
