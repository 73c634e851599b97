"""HTTP with exact bytes: what was signed is what is sent (aiohttp).

The URL is taken as already encoded, redirects are not followed (they would carry key headers to
another host), cookies do not exist, and a failure says whether the request can have reached the
exchange: `Down` when it surely was not sent, `UnknownOutcome` otherwise (R-16).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp
from yarl import URL

from runner.base.errors import Down, UnknownOutcome
from runner.exchanges.api import HttpRequest
from runner.net.doors import check_context, check_url, from_http, never_sent, without_query

TIMEOUT_S: Final = 5.0
MAX_BODY: Final = 64 * 1024 * 1024
_CONNECT_S: Final = 3.0
_KEEP_ALIVE_S: Final = 45.0
"""longer than the time sync's 30 s, so that one connection at least is always warm"""
_POOL: Final = 16
_FOREIGN: Final = (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer. Header names are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http(Protocol):
    """What sends requests: the session below, or a script (`net/mock.py`)."""

    async def send(self, request: HttpRequest, timeout_s: float = TIMEOUT_S) -> HttpResponse:
        """Send a request that may have an effect. Down: surely not sent; else UnknownOutcome."""
        ...

    async def read(self, request: HttpRequest, timeout_s: float = TIMEOUT_S) -> HttpResponse:
        """Send a request that only asks. Every failure is Down."""
        ...


class HttpSession:
    """Keep-alive connections to the REST hosts of one exchange and network."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        allowed: frozenset[str] | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        check_context(tls)
        self._tls = tls
        self._allowed = allowed
        self._max_body = max_body
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: HttpRequest, timeout_s: float = TIMEOUT_S) -> HttpResponse:
        """Send a request that may have an effect.

        Down when it surely did not reach the exchange, UnknownOutcome when it may have,
        WorldError for a URL that this session must not speak to.
        """
        label = request.label or f"{request.method} {without_query(request.url)}"
        check_url(request.url, self._allowed)
        try:
            return await self._exchange(request, label, timeout_s)
        except _FOREIGN as error:
            raise from_http(label, error, sent=not never_sent(error)) from error

    async def read(self, request: HttpRequest, timeout_s: float = TIMEOUT_S) -> HttpResponse:
        """Send a request that only asks; Down when there is no whole answer."""
        try:
            return await self.send(request, timeout_s)
        except UnknownOutcome as error:
            raise Down(str(error)) from error

    async def warm(self, request: HttpRequest, connections: int = 2) -> int:
        """Open so many connections at once by a harmless request; return how many answered.

        The legs of a group leave at the same instant, each on a connection of its own; a TLS
        handshake among them would cost what the group is about. Repeat within 45 s.
        """
        answers = await asyncio.gather(
            *(self.read(request) for _ in range(connections)), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Down):
                raise answer
        return sum(isinstance(answer, HttpResponse) for answer in answers)

    async def close(self) -> None:
        """Close all connections; a request in flight ends as UnknownOutcome."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(self, request: HttpRequest, label: str, timeout_s: float) -> HttpResponse:
        async with self._opened().request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s, connect=min(_CONNECT_S, timeout_s)),
        ) as answer:
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > self._max_body:
                    raise UnknownOutcome(f"{label}: the answer exceeds {self._max_body} bytes")
            return HttpResponse(answer.status, answer.headers, bytes(body))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._tls, limit=_POOL, keepalive_timeout=_KEEP_ALIVE_S
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "runner"},
                skip_auto_headers=("Content-Type",),
            )
        return self._session
