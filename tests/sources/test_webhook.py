"""Webhooks over real sockets: who may say something, and what is answered to whom."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDict

from examples.send_signal import signed
from runner.base.errors import WorldError
from runner.base.secret import Secret
from runner.sources.webhook import Hook, HookServer
from runner.spec.source_plan import SourcePlan
from tests.net.conftest import certificate as certificate  # a fixture
from tests.sources.doorlab import SECOND, SIGNED, Heard, hook, source

SECRET = "not-a-real-secret"
GOOD = {"id": "a1", "signal": "long", "stop_loss": 59_400}


@dataclass
class Door:
    """An open webhook, and somebody who posts to it."""

    heard: Heard
    client: aiohttp.ClientSession
    url: str

    async def post(
        self, body: bytes, headers: Mapping[str, str] | None = None, path: str = "/x"
    ) -> tuple[int, dict[str, object]]:
        async with self.client.post(self.url + path, data=body, headers=headers) as answer:
            found: dict[str, object] = await answer.json()
        await asyncio.sleep(0)
        return answer.status, found

    async def signed(
        self, body: bytes, age_s: float = 0.0, secret: str = SECRET
    ) -> tuple[int, dict[str, object]]:
        stamp = f"{self.heard.clock.wall() / 1e9 - age_s:.3f}"
        return await self.post(body, signed(secret, body, stamp))


@asynccontextmanager
async def door(plan: SourcePlan) -> AsyncIterator[Door]:
    heard = Heard()
    server = HookServer([Hook(plan, Secret(SECRET), heard)])
    await server.open()
    try:
        async with aiohttp.ClientSession() as client:
            yield Door(heard, client, f"http://127.0.0.1:{server.port}")
    finally:
        await server.close()


def body(**fields: object) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


async def _signed_messages() -> None:
    async with door(hook(SIGNED)) as d:
        assert await d.signed(body()) == (202, {"accepted": "a1"})
        ((message, sent_at),) = d.heard.messages
        assert message.fields["stop"] == 59_400.0 and sent_at == d.heard.clock.wall()
        assert (await d.signed(body()))[0] == 409, "the same id again"
        assert (await d.signed(body(id="a2"), age_s=11))[0] == 422, "late by the signed time"
        assert (await d.signed(body(id="a3"), age_s=31))[0] == 401
        assert (await d.signed(body(id="a3"), age_s=-31))[0] == 401
        assert (await d.signed(body(id="a3"), secret="another"))[0] == 401
        stamp = f"{d.heard.clock.wall() // SECOND}"
        forged = signed(SECRET, body(id="a4"), stamp)
        assert (await d.post(body(id="a5"), forged))[0] == 401, "another body"
        moved = {**forged, "X-Timestamp": str(int(stamp) + 1)}
        assert (await d.post(body(id="a4"), moved))[0] == 401, "another time"
        assert (await d.post(body(id="a4")))[0] == 401, "no headers"
        odd = {"X-Signature": "\udce4ß".encode("utf-8", "replace").decode("latin-1"),
               "X-Timestamp": "٣"}  # fmt: skip
        assert (await d.post(body(id="a4"), odd))[0] == 401
        assert (await d.signed(body(id="a4", signal="sell")))[0] == 422
        assert (await d.signed(b"{"))[0] == 422
        assert len(d.heard.messages) == 1


def test_only_what_is_signed_fresh_new_and_of_the_declared_shape_is_heard() -> None:
    asyncio.run(_signed_messages())


async def _sizes_and_ways() -> None:
    async with door(hook(SIGNED)) as d:
        assert (await d.signed(b" " * 65_537))[0] == 413

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(70):
                yield b" " * 1024

        async with d.client.post(d.url + "/x", data=pieces()) as answer:
            assert answer.status == 413, "no length was announced"
        assert (await d.post(b"{}", path="/y"))[0] == 404
        async with d.client.get(d.url + "/x") as answer:
            assert answer.status == 405
        assert (await d.signed(b""))[1] == {"heartbeat": True}
        assert (await d.signed(b'{"heartbeat": true}'))[0] == 202
        await asyncio.sleep(0)
        assert d.heard.pulses == [True, True] and d.heard.messages == []
        assert (await d.post(b'{"heartbeat": true}'))[0] == 401, "a heartbeat needs proof too"


def test_sizes_paths_methods_and_heartbeats() -> None:
    asyncio.run(_sizes_and_ways())


async def _rates() -> None:
    async with door(hook(SIGNED, "max_rate: {count: 3, per: 1m}")) as d:
        statuses = [(await d.signed(body(id=f"b{i}")))[0] for i in range(5)]
        assert statuses == [202, 202, 202, 429, 429]
        d.heard.clock.advance(60 * SECOND)
        assert (await d.signed(body(id="b9")))[0] == 202
        d.heard.clock.advance(60 * SECOND)
        for _ in range(20):
            assert (await d.signed(body(id="c"), secret="guess"))[0] == 401
        assert (await d.signed(body(id="c"), secret="guess"))[0] == 429, "guessing is slowed down"
        d.heard.clock.advance(60 * SECOND)
        assert (await d.signed(body(id="c")))[0] == 202


def test_too_many_messages_and_too_many_failures_are_put_off() -> None:
    asyncio.run(_rates())


async def _tokens() -> None:
    async with door(hook("{token: {env: T}}")) as d:
        bearer = {"Authorization": f"Bearer {SECRET}"}
        assert (await d.post(body(), bearer))[0] == 202
        assert (await d.post(body(id="a2"), {"Authorization": "Bearer x"}))[0] == 401
        assert (await d.post(body(id="a2")))[0] == 401
    async with door(hook("{token: {env: T}, in: /token}", "ips: [127.0.0.1]")) as d:
        plain = {"Content-Type": "text/plain"}  # TradingView can set no header
        assert (await d.post(body(token=SECRET), plain))[0] == 202
        assert (await d.post(body(id="a2", token="x"), plain))[0] == 401
        assert (await d.post(body(id="a2", token=[SECRET]), plain))[0] == 401
        assert (await d.post(body(id="a2"), plain))[0] == 401


def test_tokens_in_a_header_or_in_the_body() -> None:
    asyncio.run(_tokens())


async def _addresses() -> None:
    bearer = {"Authorization": f"Bearer {SECRET}"}
    async with door(hook("{token: {env: T}}", "ips: [192.0.2.0/24]")) as d:
        assert (await d.post(body(), bearer))[0] == 403
        spoofed = {**bearer, "X-Forwarded-For": "192.0.2.7"}
        assert (await d.post(body(), spoofed))[0] == 403, "nobody vouches for that header"
    proxied = "ips: [192.0.2.0/24]\n    behind: 127.0.0.1"
    async with door(hook("{token: {env: T}}", proxied)) as d:
        ours = {**bearer, "X-Forwarded-For": "203.0.113.1, 192.0.2.7"}
        assert (await d.post(body(), ours))[0] == 202, "the last one is the proxy's word"
        theirs = {**bearer, "X-Forwarded-For": "192.0.2.7, 203.0.113.1"}
        assert (await d.post(body(id="a2"), theirs))[0] == 403
        twice = CIMultiDict(bearer)
        twice.add("X-Forwarded-For", "192.0.2.7")
        twice.add("X-Forwarded-For", "203.0.113.1")
        assert (await d.post(body(id="a2"), twice))[0] == 403, "the proxy added a line of its own"


def test_addresses_and_the_proxy_that_vouches_for_them() -> None:
    asyncio.run(_addresses())


async def _tls(cert: Path, key: Path) -> None:
    listen = f"{{port: 0, path: /x, tls: {{cert: {cert}, key: {key}}}}}"
    plan = source(f"type: webhook\n    listen: {listen}\n    auth: {SIGNED}")
    heard = Heard()
    server = HookServer([Hook(plan, Secret(SECRET), heard)])
    await server.open()
    trusting = ssl.create_default_context(cafile=str(cert))
    try:
        async with aiohttp.ClientSession() as client:
            stamp = f"{heard.clock.wall() / 1e9:.3f}"
            url = f"https://localhost:{server.port}/x"
            headers = signed(SECRET, body(), stamp)
            async with client.post(url, data=body(), headers=headers, ssl=trusting) as answer:
                assert answer.status == 202
        await asyncio.sleep(0)
    finally:
        await server.close()
    assert len(heard.messages) == 1


def test_a_listener_with_a_certificate_of_its_own(certificate: tuple[Path, Path]) -> None:
    asyncio.run(_tls(*certificate))


def test_an_address_or_a_certificate_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    listen = f"{{port: 0, path: /x, tls: {{cert: {tmp_path}/no.pem, key: {tmp_path}/no.key}}}}"
    plan = source(f"type: webhook\n    listen: {listen}\n    auth: {SIGNED}")

    async def go() -> None:
        with pytest.raises(WorldError, match="cannot listen"):
            await HookServer([Hook(plan, Secret(SECRET), Heard())]).open()

    asyncio.run(go())
