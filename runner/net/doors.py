"""The doors of the network: which hosts may be spoken to, and whose exceptions become ours.

TLS is always verified (R-73); plain text is spoken on loopback only. Each foreign library has one
function here that maps its exceptions; their texts pass the redaction filter, because URLs with
signatures and listen keys stand in them.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import picows

from runner.base.errors import Down, ExchangeError, RateLimited, UnknownOutcome, WorldError
from runner.base.hosts import is_loopback as is_loopback
from runner.base.secret import redact

_PLAIN: Final = frozenset({"ws", "http"})
_SECURE: Final = frozenset({"wss", "https"})
REFUSING: Final = frozenset({403, 418, 429})
"""statuses by which exchanges tell an address to go away for a while"""
_DEFAULT_RETRY_S: Final = 10.0


def without_query(url: str) -> str:
    """Return what of a URL may be shown: no query, no user, no fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{redact(parts.path)}"


def check_url(url: str, allowed: frozenset[str] | None = None) -> None:
    """Raise WorldError unless the URL is TLS, or loopback, and its host is one of `allowed`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in _PLAIN and not is_loopback(host):
        raise WorldError(f"{without_query(url)}: plain text is spoken on loopback only; use TLS")
    if parts.scheme not in _PLAIN | _SECURE or not host:
        raise WorldError(f"{without_query(url)} is not a URL that can be connected to")
    if allowed is not None and host not in allowed:
        raise WorldError(
            f"{without_query(url)}: {host} is not among the hosts of this exchange and network "
            f"({', '.join(sorted(allowed))})"
        )


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return a verifying client context; `ca_file` replaces the system's authorities (tests)."""
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def check_context(context: ssl.SSLContext) -> None:
    """Raise WorldError when somebody has switched the verification off."""
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise WorldError("TLS verification cannot be switched off")


def retry_after(headers: Mapping[str, str], default: float = _DEFAULT_RETRY_S) -> float:
    """Read `Retry-After` in seconds (a date, or nothing, gives the default)."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isdigit() else default


def from_connecting(url: str, error: Exception) -> ExchangeError:
    """Map what connecting a WebSocket raised (picows, ssl, sockets) to Down or RateLimited."""
    where = without_query(url)
    if isinstance(error, picows.WSHandshakeError):
        response = getattr(error, "response", None)
        if response is not None and int(response.status) in REFUSING:
            wait = retry_after(response.headers)
            return RateLimited(f"{where}: the handshake got HTTP {int(response.status)}", wait)
        if response is not None:
            return Down(f"{where}: the handshake got HTTP {int(response.status)}")
    return Down(f"{where}: {_plainly(error)}")


def from_http(label: str, error: Exception, sent: bool) -> ExchangeError:
    """Map what a request raised: Down when nothing can have been sent, else UnknownOutcome."""
    if sent:
        return UnknownOutcome(f"{label}: {_plainly(error)}")
    return Down(f"{label}: {_plainly(error)}")


def never_sent(error: Exception) -> bool:
    """Tell whether a failed aiohttp request surely put no byte of the request on the wire."""
    return isinstance(
        error, aiohttp.ClientConnectorError | aiohttp.InvalidURL | aiohttp.ConnectionTimeoutError
    )


def _plainly(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the TLS certificate is not accepted: {error.verify_message}"
    if isinstance(error, OSError) and error.errno:
        known = error.errno > 0 and not isinstance(error, ssl.SSLError)
        return redact((os.strerror(error.errno) if known else str(error.strerror)).lower())
    return redact(str(error) or type(error).__name__)
