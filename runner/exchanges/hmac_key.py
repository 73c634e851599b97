"""HMAC-SHA256 with the key's work done once.

RFC 2104: HMAC(k, m) = H((k ^ opad) + H((k ^ ipad) + m)). Both inner hashes have taken the padded
key when the object is made; a signature copies the two states (0.7 us, `hmac.new` takes 1.9 us).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from runner.base.secret import Secret

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

_BLOCK: Final = 64
_IPAD: Final = bytes(value ^ 0x36 for value in range(256))
_OPAD: Final = bytes(value ^ 0x5C for value in range(256))


class HmacKey:
    """A secret ready to sign. Shows nothing of it."""

    __slots__ = ("_inner", "_outer")

    _inner: Hash
    _outer: Hash

    def __init__(self, secret: Secret) -> None:
        key = secret.reveal().encode()
        if len(key) > _BLOCK:
            key = hashlib.sha256(key).digest()
        key = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(key.translate(_IPAD))
        self._outer = hashlib.sha256(key.translate(_OPAD))

    def sign(self, message: bytes) -> str:
        """Return the signature of `message` as lower-case hex."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    def after(self, prefix: bytes) -> HmacKey:
        """Return a key that signs `prefix` + message when given the message."""
        key = HmacKey.__new__(HmacKey)
        key._outer = self._outer
        key._inner = self._inner.copy()
        key._inner.update(prefix)
        return key

    def __repr__(self) -> str:
        return "HmacKey(***)"
