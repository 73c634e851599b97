"""Which hosts a network may speak to (R-73).

The hosts of `live`, `testnet` and `demo` are fixed in each adapter: a testnet key never meets a
live host, whatever a file says. `sim` and `custom` take their hosts from outside; there plain
`ws://` and `http://` are for loopback only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from runner.base.errors import FileError
from runner.base.hosts import is_loopback

NAMES: Final = frozenset(("rest", "public", "market", "private", "trade", "sapi"))
_FREE: Final = frozenset(("sim", "custom"))
_PLAIN: Final = frozenset(("http", "ws"))
_SECURE: Final = frozenset(("https", "wss"))


def hosts_of(urls: Mapping[str, str]) -> frozenset[str]:
    """Return the hosts of all base URLs: whom a session of this exchange may speak to."""
    return frozenset(urlsplit(url).hostname or "" for url in urls.values())


def resolve(
    type: str,
    table: Mapping[str, Mapping[str, str]],
    network: str,
    given: Mapping[str, str] | None,
) -> dict[str, str]:
    """Return the base URLs of a network, without a slash at the end.

    FileError: no such network, `endpoints` missing or not allowed, plain text beyond loopback.
    """
    if network not in _FREE:
        if given:
            raise FileError(f"{type}: `endpoints` belongs to network custom, not {network}")
        if network not in table:
            known = ", ".join([*table, *sorted(_FREE)])
            raise FileError(f"{type} has no network {network!r}; it has {known}")
        return dict(table[network])
    if not given:
        raise FileError(f"{type}: network {network} needs `endpoints`")
    urls = {name: url.rstrip("/") for name, url in given.items() if name in NAMES}
    for name, url in urls.items():
        _check(type, name, url)
    for name in ("rest", "public"):
        if name not in urls:
            raise FileError(f"{type}: `endpoints` lacks {name}")
    urls.setdefault("market", urls["public"])
    return urls


def _check(type: str, name: str, url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    web_socket = name in ("public", "market", "private", "trade")
    if parts.scheme not in (("ws", "wss") if web_socket else ("http", "https")) or not host:
        kind = "ws:// or wss://" if web_socket else "http:// or https://"
        raise FileError(f"{type}: endpoints.{name} must be a {kind} URL")
    if parts.scheme in _PLAIN and not is_loopback(host):
        raise FileError(f"{type}: endpoints.{name}: plain text is for loopback only, not {host}")
    if parts.username or parts.password or parts.query:
        raise FileError(f"{type}: endpoints.{name} must hold neither a login nor a query")
