"""Sockets against another implementation (`websockets`) over loopback."""

from __future__ import annotations

import asyncio
import http
import itertools
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from runner.base.errors import Down, ExchangeError, WorldError
from runner.base.rng import seeded
from runner.exchanges.api import SocketSpec
from runner.net.backoff import ConnectionBudget
from runner.net.doors import tls_context
from runner.net.link import connect
from runner.net.websocket import SocketOptions, WebSocket
from tests.net.wire import MS, Ear, keepalive, options, server, spec
from tests.patience import PATIENCE_S


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run on the loop that production uses, and leave no task behind."""

    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await test
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    uvloop.run(bounded())


class Running:
    """A socket and its task, ended with the block."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket

    async def __aenter__(self) -> WebSocket:
        self.task = asyncio.create_task(self.socket.run())
        return self.socket

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()
        await self.task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def hold(ws: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        async for _ in ws:
            continue


def test_hello_goes_out_and_messages_arrive_whole_in_order() -> None:
    async def script(ws: ServerConnection) -> None:
        await ws.send(f"echo {await ws.recv()}")
        await ws.send([b"one ", b"message ", b"in four ", b"fragments"])
        await ws.send(["text ", "in two"])
        await ws.send(b"binary")
        await hold(ws)

    async def test() -> None:
        ear = Ear()
        async with (
            server(script) as url,
            Running(WebSocket(spec(url, hello=(b"hello",)), ear, options())) as socket,
        ):
            await ear.until(lambda e: len(e.frames) == 4)
            assert socket.up and socket.conn == 1
        assert [frame[0] for frame in ear.frames] == [
            b"echo hello",
            b"one message in four fragments",
            b"text in two",
            b"binary",
        ]
        assert ear.calls[0] == "up 1" and ear.downs == [(1, "closed by us")]

    run(test())


def test_more_tells_that_newer_frames_wait_behind() -> None:
    async def script(ws: ServerConnection) -> None:
        await ws.recv()
        # One write to the socket for all three: they arrive in one read.
        frames = b"".join(bytes([0x81, 1]) + each for each in (b"a", b"b", b"c"))
        ws.transport.write(frames)
        await hold(ws)

    async def test() -> None:
        ear = Ear()
        async with (
            server(script) as url,
            Running(WebSocket(spec(url, hello=(b"go",)), ear, options())),
        ):
            await ear.until(lambda e: len(e.frames) == 3)
        assert ear.frames == [(b"a", True, 1), (b"b", True, 1), (b"c", False, 1)]

    run(test())


def test_a_server_ping_between_fragments_is_answered_and_disturbs_nothing() -> None:
    answered = asyncio.Event()

    async def script(ws: ServerConnection) -> None:
        await ws.recv()
        ws.transport.write(bytes([0x01, 2]) + b"ab" + bytes([0x89, 0]) + bytes([0x80, 2]) + b"cd")
        await (await ws.ping())
        answered.set()
        await hold(ws)

    async def test() -> None:
        ear = Ear()
        async with (
            server(script) as url,
            Running(WebSocket(spec(url, hello=(b"go",)), ear, options())),
        ):
            await ear.until(lambda e: len(e.frames) == 1)
            await asyncio.wait_for(answered.wait(), PATIENCE_S)
        assert ear.frames[0][0] == b"abcd"

    run(test())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (bytes([0x80, 1]) + b"x", "fragments out of order"),
        (bytes([0x01, 1]) + b"x" + bytes([0x81, 1]) + b"y", "fragments out of order"),
        (bytes([0x01, 90]) + b"x" * 90 + bytes([0x80, 90]) + b"y" * 90, "size limit"),
        (bytes([0x81, 126, 1, 0]) + b"x" * 256, "exceeding max allowed size"),
        (bytes([0x83, 1]) + b"x", ""),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(raw: bytes, reason: str) -> None:
    async def script(ws: ServerConnection) -> None:
        await ws.recv()
        ws.transport.write(raw)
        await hold(ws)

    async def test() -> None:
        ear = Ear()
        limited = SocketOptions(
            tls_context(), ConnectionBudget(), itertools.count(1), seeded(1), max_message=128
        )
        async with (
            server(script) as url,
            Running(WebSocket(spec(url, hello=(b"go",)), ear, limited)),
        ):
            await ear.until(lambda e: bool(e.downs))
        assert reason in ear.downs[0][1]
        assert ear.frames == []

    run(test())


def test_it_comes_back_after_the_server_closes_and_numbers_its_connections() -> None:
    async def script(ws: ServerConnection) -> None:
        await ws.send("x")
        if ws.request is not None and len(seen) < 2:
            seen.append(1)
            await ws.close(1012, "service restart")
        await hold(ws)

    seen: list[int] = []

    async def test() -> None:
        ear = Ear()
        async with server(script) as url, Running(WebSocket(spec(url), ear, options())) as socket:
            await ear.until(lambda e: len(e.ups) == 3)
            assert socket.connects == 3
        assert ear.downs[:2] == [
            (1, "closed by the server: 1012 service restart"),
            (2, "closed by the server: 1012 service restart"),
        ]
        assert [c for c in ear.calls if "frame" not in c][:5] == [
            *("up 1", "down 1", "up 2", "down 2", "up 3")
        ]

    run(test())


def test_a_reset_connection_is_a_down_and_a_reconnect() -> None:
    async def script(ws: ServerConnection) -> None:
        if not seen:
            seen.append(1)
            ws.transport.abort()
        await hold(ws)

    seen: list[int] = []

    async def test() -> None:
        ear = Ear()
        async with server(script) as url, Running(WebSocket(spec(url), ear, options())):
            await ear.until(lambda e: len(e.ups) == 2)
        assert ear.downs[0][0] == 1

    run(test())


def test_silence_ends_the_connection_and_pings_count_as_life() -> None:
    async def script(ws: ServerConnection) -> None:
        if not pings:
            for _ in range(8):
                pings.append(asyncio.get_running_loop().time())
                await ws.ping()
                await asyncio.sleep(0.04)
        await hold(ws)

    pings: list[float] = []

    async def once() -> bool:
        """Whether the pings were as even as this needs; a busy machine may hold one back."""
        pings.clear()
        ear = Ear()
        life = keepalive(silence_ms=200)
        async with (
            server(script, ping_interval=None) as url,
            Running(WebSocket(spec(url, keepalive=life), ear, options())),
        ):
            await ear.until(lambda e: bool(e.downs))
        assert ear.downs[0] == (1, "nothing received for 0.2 s")
        if len(pings) < 8 or max(b - a for a, b in pairwise(pings)) > 0.15:
            return False
        assert pings[-1] - pings[0] > 0.2, "it outlived the silence that would have ended it"
        return True

    async def test() -> None:
        for _ in range(20):
            if await once():
                return
        raise AssertionError("the machine never gave eight even pings")

    run(test())


@pytest.mark.parametrize("text", [b'{"op":"ping"}', None])
def test_our_own_keepalive_is_sent(text: bytes | None) -> None:
    got: list[object] = []

    async def script(ws: ServerConnection) -> None:
        original = ws.protocol.recv_frame

        def spy(frame: Any) -> None:
            got.append((frame.opcode.name, bytes(frame.data)))
            original(frame)

        ws.protocol.recv_frame = spy  # type: ignore[method-assign]
        await hold(ws)

    async def test() -> None:
        ear = Ear()
        life = keepalive(every_ms=20, frame=text)
        async with (
            server(script, ping_interval=None) as url,
            Running(WebSocket(spec(url, keepalive=life), ear, options())),
        ):
            await until(lambda: len(got) >= 3)
        expected = ("TEXT", text) if text else ("PING", b"")
        assert got[:3] == [expected] * 3

    run(test())


def test_an_old_connection_is_replaced_when_the_host_allows_it() -> None:
    async def script(ws: ServerConnection) -> None:
        await ws.send("first")
        await hold(ws)

    async def test() -> None:
        ear = Ear()
        busy = [True]
        async with server(script) as url:
            aging = spec(url, max_age_ns=50 * MS, hello=(b"hi",))
            socket = WebSocket(aging, ear, options(), may_replace=lambda: not busy[0])
            async with Running(socket):
                await ear.until(lambda e: len(e.frames) == 1)
                await asyncio.sleep(0.15)
                assert ear.ups == [1], "requests are in flight"
                busy[0] = False
                await ear.until(lambda e: len(e.frames) >= 2)
                busy[0] = True
        assert ear.downs[0] == (1, "replaced before the exchange cuts it")
        assert ear.calls[:5] == ["up 1", "frame 1", "down 1", "up 2", "frame 2"]

    run(test())


def test_the_end_of_an_old_connection_is_told_while_its_replacement_still_connects() -> None:
    handshakes: list[Request] = []
    told = asyncio.Event()

    async def slowly(connection: ServerConnection, request: Request) -> None:
        handshakes.append(request)
        if len(handshakes) == 2:
            await told.wait()

    async def script(ws: ServerConnection) -> None:
        await ws.send("x")
        await until(lambda: len(handshakes) == 2)
        ws.transport.abort()

    async def test() -> None:
        ear = Ear()
        async with server(script, process_request=slowly) as url:
            async with Running(WebSocket(spec(url, max_age_ns=50 * MS), ear, options())):
                await ear.until(lambda e: bool(e.downs))
                assert ear.ups == [1], "the second handshake is still waiting"
                told.set()
            assert ear.downs[0] == (1, "the connection was lost")

    run(test())


def test_kick_reconnects_and_close_ends() -> None:
    async def test() -> None:
        ear = Ear()
        async with server(hold) as url, Running(WebSocket(spec(url), ear, options())) as socket:
            await ear.until(lambda e: len(e.ups) == 1)
            socket.kick("listen key expired")
            await ear.until(lambda e: len(e.ups) == 2)
        assert ear.downs == [(1, "listen key expired"), (2, "closed by us")]
        assert not socket.up
        with pytest.raises(Down):
            socket.send(b"x")

    run(test())


def test_a_login_socket_sends_no_hello_by_itself_and_can_send_from_on_up() -> None:
    got: list[object] = []

    async def script(ws: ServerConnection) -> None:
        async for message in ws:
            got.append(message)
            await ws.send("ok")

    async def test() -> None:
        class Login(Ear):
            def on_up(self, conn: int) -> None:
                super().on_up(conn)
                socket.send(b"login")

        ear = Login()
        async with server(script) as url:
            wanted = spec(url, hello=(b"subscribe",), needs_login=True)
            socket = WebSocket(wanted, ear, options())
            async with Running(socket):
                await ear.until(lambda e: len(e.frames) == 1)
        assert got == ["login"]

    run(test())


def test_the_source_is_asked_before_each_connection_and_its_failure_is_retried() -> None:
    async def script(ws: ServerConnection) -> None:
        assert ws.request is not None
        paths.append(ws.request.path)
        await ws.close(1000)

    paths: list[str] = []

    async def test() -> None:
        keys = itertools.count()

        async def source() -> SocketSpec:
            key = next(keys)
            if key == 1:
                raise Down("POST /listenKey: HTTP 503")
            return spec(f"{url}?listenKey=key{key}")

        ear = Ear()
        async with server(script) as url, Running(WebSocket(source, ear, options())) as socket:
            await ear.until(lambda e: len(e.downs) == 2)
            assert socket.last_failure == "POST /listenKey: HTTP 503"
        assert paths[:2] == ["/ws?listenKey=key0", "/ws?listenKey=key2"]

    run(test())


def test_an_exception_in_a_callback_ends_run_with_it() -> None:
    async def script(ws: ServerConnection) -> None:
        await ws.send("x")
        await hold(ws)

    async def test() -> None:
        class Broken(Ear):
            def on_frame(self, message: bytes, more: bool, conn: int) -> None:
                raise ZeroDivisionError("a bug")

        ear = Broken()
        async with server(script) as url:
            with pytest.raises(ZeroDivisionError):
                await WebSocket(spec(url), ear, options()).run()
        assert ear.downs == [(1, "handling a frame failed: ZeroDivisionError")]

    run(test())


def test_failures_back_off_and_respect_retry_after() -> None:
    times: list[float] = []

    def refuse(connection: ServerConnection, request: Request) -> Response:
        times.append(asyncio.get_running_loop().time())
        status = (
            http.HTTPStatus.TOO_MANY_REQUESTS if len(times) == 1 else http.HTTPStatus.BAD_GATEWAY
        )
        retry = Headers({"Retry-After": "1"}) if len(times) == 1 else Headers()
        return Response(status.value, status.phrase, retry, b"")

    async def test() -> None:
        ear = Ear()
        async with (
            server(hold, process_request=refuse) as url,
            Running(WebSocket(spec(url + "?listenKey=verysecretkey"), ear, options())) as socket,
        ):
            await until(lambda: len(times) >= 3 and "502" in socket.last_failure)
            assert times[1] - times[0] >= 1.0
            assert "HTTP 502" in socket.last_failure
            assert "verysecretkey" not in socket.last_failure
        assert ear.ups == []

    run(test())


@pytest.mark.parametrize(("talks", "failures"), [(True, 1), (False, 4)])
def test_only_a_connection_that_received_something_resets_the_backoff(
    talks: bool, failures: int
) -> None:
    async def script(ws: ServerConnection) -> None:
        if talks:
            await ws.send("x")
        await ws.close(1012)

    async def test() -> None:
        ear = Ear()
        async with server(script) as url, Running(WebSocket(spec(url), ear, options())) as socket:
            await ear.until(lambda e: len(e.ups) == 5)
            assert socket._backoff.failures == failures

    run(test())


def test_nobody_listening_is_a_failure_not_an_exception() -> None:
    async def test() -> None:
        async with server(hold) as url:
            pass
        ear = Ear()
        async with Running(WebSocket(spec(url), ear, options())) as socket:
            await until(lambda: bool(socket.last_failure))
        assert "refused" in socket.last_failure

    run(test())


def test_a_redirect_is_not_followed() -> None:
    def away(connection: ServerConnection, request: Request) -> Response:
        return Response(302, "Found", Headers({"Location": "ws://127.0.0.1:9/other"}), b"")

    async def test() -> None:
        async with (
            server(hold, process_request=away) as url,
            Running(WebSocket(spec(url), Ear(), options())) as socket,
        ):
            await until(lambda: bool(socket.last_failure))
        assert "HTTP 302" in socket.last_failure

    run(test())


@pytest.mark.parametrize("url", ["ws://stream.binance.com/ws", "http://x", "wss://evil.example/ws"])
def test_plain_text_beyond_loopback_and_foreign_hosts_are_refused(url: str) -> None:
    async def test() -> None:
        pinned = SocketOptions.make(
            itertools.count(1), seeded(1), frozenset({"fstream.binance.com"})
        )
        with pytest.raises(WorldError):
            await WebSocket(spec(url), Ear(), pinned).run()

    run(test())


def test_unverified_tls_is_refused() -> None:
    async def test() -> None:
        open_door = ssl.create_default_context()
        open_door.check_hostname = False
        open_door.verify_mode = ssl.CERT_NONE
        bad = SocketOptions(open_door, ConnectionBudget(), itertools.count(1), seeded(1))
        with pytest.raises(WorldError, match="verification"):
            await WebSocket(spec("wss://127.0.0.1:1/ws"), Ear(), bad).run()

    run(test())


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_spoken_and_verified(certificate: tuple[Path, Path], trusted: bool) -> None:
    cert, key = certificate

    async def script(ws: ServerConnection) -> None:
        await ws.send("over tls")
        await hold(ws)

    async def test() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        ear = Ear()
        own = tls_context(cert if trusted else None)
        chosen = SocketOptions(own, ConnectionBudget(), itertools.count(1), seeded(1))
        async with serve(script, "127.0.0.1", 0, ssl=context) as running:
            (sock,) = running.sockets
            url = f"wss://127.0.0.1:{sock.getsockname()[1]}/ws"
            async with Running(WebSocket(spec(url), ear, chosen)) as socket:
                await until(lambda: bool(ear.frames or socket.last_failure))
        if trusted:
            assert ear.frames[0][0] == b"over tls"
        else:
            assert "certificate is not accepted" in socket.last_failure

    run(test())


def test_a_message_that_cannot_be_sent_says_so() -> None:
    async def test() -> None:
        ear = Ear()
        stuck = asyncio.Event()

        async def script(ws: ServerConnection) -> None:
            ws.transport.pause_reading()
            await stuck.wait()
            ws.transport.abort()

        async with server(script) as url, Running(WebSocket(spec(url), ear, options())) as socket:
            await ear.until(lambda e: len(e.ups) == 1)
            with pytest.raises(ExchangeError, match="does not drain"):
                for _ in range(1000):
                    socket.send(b"x" * 100_000)
            stuck.set()
            socket.kick("stuck")

    run(test())


def test_a_handshake_that_takes_too_long_is_a_failure() -> None:
    async def slowly(connection: ServerConnection, request: Request) -> None:
        await asyncio.sleep(0.3)

    async def test() -> None:
        async with server(hold, process_request=slowly) as url:
            with pytest.raises(Down, match="timeout"):
                await connect(url, keepalive(), tls_context(), handshake_s=0.1)

    run(test())


def test_a_connection_given_up_while_it_opens_does_not_live_on() -> None:
    asked, given_up = asyncio.Event(), asyncio.Event()
    answered, closed = asyncio.Event(), asyncio.Event()

    async def slowly(connection: ServerConnection, request: Request) -> None:
        asked.set()
        await given_up.wait()
        answered.set()

    async def script(ws: ServerConnection) -> None:
        await ws.send("too late")
        await ws.wait_closed()
        closed.set()

    async def test() -> None:
        async with server(script, process_request=slowly) as url:
            task = asyncio.create_task(connect(url, keepalive(), tls_context()))
            await asyncio.wait_for(asked.wait(), PATIENCE_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            given_up.set()
            await asyncio.wait_for(answered.wait(), PATIENCE_S)
            await asyncio.wait_for(closed.wait(), PATIENCE_S)

    run(test())


def test_asyncios_own_loop_serves_too() -> None:
    async def script(ws: ServerConnection) -> None:
        await ws.send(await ws.recv())
        await hold(ws)

    async def test() -> None:
        ear = Ear()
        async with (
            server(script) as url,
            Running(WebSocket(spec(url, hello=(b"hello",)), ear, options())),
        ):
            await ear.until(lambda e: len(e.frames) == 1)
        assert ear.downs == [(1, "closed by us")]

    asyncio.run(test())
