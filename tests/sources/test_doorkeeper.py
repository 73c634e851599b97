"""Connections that hold a door open and say nothing, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from examples.send_signal import signed
from runner.base.secret import Secret
from runner.sources.webhook import Hook, HookServer
from tests.net.conftest import certificate as certificate  # a fixture
from tests.patience import PATIENCE_S
from tests.sources.doorlab import SIGNED, Heard, hook, source

SECRET = "not-a-real-secret"
HEAD = b"POST /x HTTP/1.1\r\nHost: here\r\n"


class Peer:
    """A raw connection to the door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def ended(self) -> bytes:
        """Wait until the door closes it; return what it said before."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self.reader.read()
        except ConnectionError:
            return b""

    async def answer(self) -> bytes:
        """Wait for an answer; return its status line."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await self.reader.readexactly(length)
        return head.split(b"\r\n")[0]


class Lab:
    """An open door and those who came to it."""

    def __init__(self, server: HookServer, heard: Heard) -> None:
        self.server, self.heard = server, heard
        self.peers: list[Peer] = []

    async def come(self) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.server.port))
        self.peers.append(peer)
        return peer

    def message(self, name: str) -> bytes:
        body = b'{"id": "%s", "signal": "long"}' % name.encode()
        headers = signed(SECRET, body, f"{self.heard.clock.wall() / 1e9:.3f}")
        lines = b"".join(b"%s: %s\r\n" % (k.encode(), v.encode()) for k, v in headers.items())
        return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def door(most: int = 256, patience_s: float = PATIENCE_S) -> AsyncIterator[Lab]:
    heard = Heard()
    server = HookServer([Hook(hook(SIGNED), Secret(SECRET), heard)], most, patience_s)
    await server.open()
    lab = Lab(server, heard)
    try:
        yield lab
    finally:
        for peer in lab.peers:
            peer.writer.close()
        await server.close()


def run(script: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3 * PATIENCE_S):
            await script()

    asyncio.run(bounded())


def test_silence_and_headers_that_drip_are_closed_in_time() -> None:
    async def script() -> None:
        async with door(patience_s=0.3) as lab:
            silent, dripping = await lab.come(), await lab.come()
            ending = asyncio.ensure_future(dripping.ended())
            dripping.say(HEAD)
            for i in range(10_000):
                if ending.done():
                    break
                dripping.say(b"X-Drip-%d: 1\r\n" % i)
                await asyncio.sleep(0.02)
            assert await ending == b"" and await silent.ended() == b""
            assert lab.heard.no == ["slow", "slow"]

    run(script)


def test_a_body_that_drips_is_closed_in_time() -> None:
    async def script() -> None:
        async with door(patience_s=0.3) as lab:
            peer = await lab.come()
            peer.say(HEAD + b"Content-Length: 1000\r\n\r\n{")
            await peer.ended()
            assert lab.heard.no[0] == "slow" and lab.heard.messages == []

    run(script)


def test_who_proved_itself_keeps_its_connection_and_the_next_message_comes_over_it() -> None:
    async def script() -> None:
        async with door(patience_s=1.0) as lab:
            known, stranger = await lab.come(), await lab.come()
            known.say(lab.message("a1"))
            assert b" 202 " in await known.answer()
            await stranger.ended()  # came later than the known one: its time would be over, too
            known.say(lab.message("a2"))
            assert b" 202 " in await known.answer()
            known.say(lab.message("a2"))
            assert b" 409 " in await known.answer(), "a no to a sender with proof closes nothing"
            known.say(lab.message("a3"))
            assert b" 202 " in await known.answer()

    run(script)


def test_an_answer_without_proof_closes_the_connection() -> None:
    async def script() -> None:
        async with door() as lab:
            for request, status in (
                (HEAD + b"Content-Length: 2\r\n\r\n{}", b" 401 "),
                (HEAD.replace(b"POST", b"GET") + b"\r\n", b" 405 "),
                (HEAD.replace(b"/x", b"/y") + b"Content-Length: 0\r\n\r\n", b" 404 "),
            ):
                peer = await lab.come()
                peer.say(request)
                said = await peer.ended()
                assert status in said.split(b"\r\n")[0]

    run(script)


def test_more_strangers_than_there_may_be_push_out_the_oldest_and_no_sender_with_proof() -> None:
    async def script() -> None:
        async with door(most=3) as lab:
            known = await lab.come()
            known.say(lab.message("a1"))
            assert b" 202 " in await known.answer()
            first = await lab.come()
            others = [await lab.come() for _ in range(3)]
            assert await first.ended() == b""
            assert lab.heard.no == ["crowded"]
            known.say(lab.message("a2"))
            assert b" 202 " in await known.answer()
            others[-1].say(lab.message("a3"))
            assert b" 202 " in await others[-1].answer(), "the youngest may still speak"

    run(script)


def test_the_door_closes_while_strangers_hold_it() -> None:
    async def script() -> None:
        async with door() as lab:
            peer = await lab.come()
            peer.say(HEAD)
        assert await peer.ended() == b""

    run(script)


def test_a_handshake_that_never_comes_is_ended_in_time(certificate: tuple[Path, Path]) -> None:
    async def script() -> None:
        cert, key = certificate
        listen = f"{{port: 0, path: /x, tls: {{cert: {cert}, key: {key}}}}}"
        plan = source(f"type: webhook\n    listen: {listen}\n    auth: {SIGNED}")
        server = HookServer([Hook(plan, Secret(SECRET), Heard())], handshake_s=0.3)
        await server.open()
        try:
            peer = Peer(*await asyncio.open_connection("127.0.0.1", server.port))
            assert await peer.ended() == b""
            peer.writer.close()
        finally:
            await server.close()

    run(script)
