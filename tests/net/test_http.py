"""The HTTP session against aiohttp's server on loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from runner.base.errors import Down, RunnerError, UnknownOutcome, WorldError
from runner.exchanges.api import HttpRequest
from runner.net.doors import tls_context
from runner.net.http import HttpSession
from tests.patience import PATIENCE_S

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.01)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http{'s' if tls else ''}://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def session(**options: object) -> AsyncIterator[HttpSession]:
    it = HttpSession(tls_context(), **options)  # type: ignore[arg-type]
    try:
        yield it
    finally:
        await it.close()


def test_the_bytes_that_were_signed_are_the_bytes_that_arrive() -> None:
    seen: list[tuple[str, str, bytes, dict[str, str]]] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        seen.append((request.method, request.raw_path, body, dict(request.headers)))
        return web.Response(status=400, body=b'{"code":-2010}', headers={"X-Used": "7"})

    # Characters that a URL library would like to re-encode, in both directions.
    query = "symbol=BTCUSDT&batch=%5B%7B%22a%22%3A1%7D%5D&x=a%2Bb+c&y=%7E~'(1)&signature=AbC%3D"

    async def test() -> None:
        async with server(handle) as url, session() as http:
            post = HttpRequest(
                method="POST",
                url=f"{url}/fapi/v1/order?{query}",
                headers={"X-MBX-APIKEY": "k"},
                body=b'{"a": 1.0 }',
            )
            answer = await http.send(post)
            await http.send(HttpRequest(method="DELETE", url=f"{url}/x?{query}"))
            await http.send(HttpRequest(method="POST", url=f"{url}/empty"))
        assert (answer.status, answer.body, answer.headers["x-used"]) == (
            400,
            b'{"code":-2010}',
            "7",
        )

    asyncio.run(test())
    method, path, body, headers = seen[0]
    assert (method, path, body) == ("POST", f"/fapi/v1/order?{query}", b'{"a": 1.0 }')
    assert headers["X-MBX-APIKEY"] == "k" and "Content-Type" not in headers
    assert seen[1][:3] == ("DELETE", f"/x?{query}", b"")
    assert seen[2][2] == b"" and seen[2][3].get("Content-Length") == "0"


def test_connections_are_kept_and_cookies_are_not() -> None:
    peers, cookies = set(), []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        cookies.append(request.headers.get("Cookie"))
        return web.Response(body=b"{}", headers={"Set-Cookie": "a=b; Path=/"})

    async def test() -> None:
        async with server(handle) as url, session() as http:
            for _ in range(5):
                await http.read(HttpRequest(method="GET", url=url + "/time"))

    asyncio.run(test())
    assert len(peers) == 1 and cookies == [None] * 5


def test_warming_opens_connections_that_later_requests_use() -> None:
    peers = []
    both = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        if len(peers) >= 2:
            both.set()
        await both.wait()
        return web.Response(body=b"{}")

    async def test() -> None:
        async with server(handle) as url:
            time = HttpRequest(method="GET", url=url + "/time")
            async with session() as http:
                assert await http.warm(time) == 2
                order = HttpRequest(method="POST", url=url + "/order")
                await asyncio.gather(http.send(order), http.send(order))
        async with session() as http:
            assert await http.warm(time) == 0, "nobody listens: no exception, no connection"

    asyncio.run(test())
    assert len(peers) == 4 and len(set(peers)) == 2


def test_redirects_are_handed_back_not_followed() -> None:
    paths = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        paths.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async def test() -> None:
        async with server(handle) as url, session() as http:
            answer = await http.send(HttpRequest(method="POST", url=url + "/order"))
            assert answer.status == 307

    asyncio.run(test())
    assert paths == ["/order"]


async def _silent(request: web.BaseRequest) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def _cut(request: web.BaseRequest) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _half(request: web.BaseRequest) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b"half")
    assert request.transport is not None
    request.transport.close()
    return answer


async def _huge(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=b"x" * 100_000)


@pytest.mark.parametrize("handle", [_silent, _cut, _half, _huge])
def test_once_sent_a_failure_is_an_unknown_outcome_for_orders_and_down_for_reads(
    handle: Handle,
) -> None:
    async def test() -> None:
        async with server(handle) as url, session(max_body=50_000) as http:
            within = 1.0 if handle is _silent else PATIENCE_S
            post = HttpRequest(method="POST", url=url + "/order?signature=abcdef", label="place")
            with pytest.raises(UnknownOutcome, match=r"^place: "):
                await http.send(post, timeout_s=within)
            get = HttpRequest(method="GET", url=url + "/time?signature=abcdef")
            with pytest.raises(Down) as caught:
                await http.read(get, timeout_s=within)
            assert "abcdef" not in str(caught.value) and "GET http://127" in str(caught.value)

    asyncio.run(test())


def test_what_was_never_sent_is_down_even_for_orders() -> None:
    async def test() -> None:
        async with server(_huge) as url:
            pass
        async with session() as http:
            with pytest.raises(Down, match="refused"):
                await http.send(HttpRequest(method="POST", url=url + "/order"))

    asyncio.run(test())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://api.bybit.com/v5/order/create", "loopback only"),
        ("https://api.bybit.com.evil.example/v5", "not among the hosts"),
        ("https://api-testnet.bybit.com/v5", "not among the hosts"),
        ("ftp://api.bybit.com/", "not a URL"),
    ],
)
def test_foreign_hosts_and_plain_text_are_refused_before_anything_is_sent(
    url: str, message: str
) -> None:
    async def test() -> None:
        async with session(allowed=frozenset({"api.bybit.com"})) as http:
            with pytest.raises(WorldError, match=message):
                await http.send(HttpRequest(method="POST", url=url))

    asyncio.run(test())


def test_closing_ends_requests_in_flight_as_our_error() -> None:
    async def test() -> None:
        async with server(_silent) as url, session() as http:
            request = HttpRequest(method="POST", url=url + "/order")
            task = asyncio.create_task(http.send(request))
            await asyncio.sleep(0.05)
            await http.close()
            with pytest.raises(RunnerError):
                await task

    asyncio.run(test())


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_verified_and_a_bad_certificate_means_that_nothing_was_sent(
    certificate: tuple[Path, Path], trusted: bool
) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"over tls")

    async def test() -> None:
        cert, key = certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        http = HttpSession(tls_context(cert if trusted else None))
        try:
            async with server(handle, context) as url:
                request = HttpRequest(method="POST", url=url + "/order")
                if trusted:
                    assert (await http.send(request)).body == b"over tls"
                else:
                    with pytest.raises(Down, match="certificate"):
                        await http.send(request)
        finally:
            await http.close()

    asyncio.run(test())


def test_a_session_without_verification_is_not_made() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(WorldError, match="verification"):
        HttpSession(context)
