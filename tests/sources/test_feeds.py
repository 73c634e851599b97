"""Feeds and polls over real sockets: subscribing, coming back, not modified, hostile feeds."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from runner.base.secret import Secret
from runner.net.backoff import Backoff
from runner.sources.door import Refused
from runner.sources.rest import Poll, rss_items
from runner.sources.websocket import Feed
from tests.patience import PATIENCE_S
from tests.sources.doorlab import Heard, source

FIELDS = "{id: {type: text}, action: {from: /signal, type: enum, values: [long, close]}}"


def quick() -> Backoff:
    return Backoff(random.Random(1), 0.01, 0.05)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _feed() -> None:
    heard, asked, connections = Heard(), [], []

    async def talk(socket: ServerConnection) -> None:
        connections.append(dict(socket.request.headers))  # type: ignore[union-attr]
        asked.append(await socket.recv())
        await socket.send('{"type": "hello"}')
        await socket.send("{")
        first = {"id": "a1", "signal": "long"}
        await socket.send(json.dumps({"type": "s", "data": [first, {"id": "a2", "signal": "x"}]}))
        if len(connections) == 1:
            return  # the peer hangs up: the feed must come back
        await socket.send(json.dumps({"type": "s", "data": {"id": "a3", "signal": "close"}}))
        await socket.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        plan = source(
            f"type: websocket\n    url: 'ws://127.0.0.1:{port}/'\n    items: /data\n"
            '    subscribe: \'{"key": "{token}"}\'\n    only: {from: /type, equals: s}\n'
            "    auth: {token: {env: T}, header: X-Key}",
            FIELDS,
        )
        task = asyncio.create_task(Feed(plan, Secret("open-sesame"), heard, quick()).run())
        try:
            await until(lambda: len(heard.messages) == 2)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert [m.id for m, _ in heard.messages] == ["a1", "a3"], "a1 came twice and is known"
    assert asked[0] == '{"key": "open-sesame"}' and connections[0]["x-key"] == "open-sesame"
    assert False in heard.pulses and heard.pulses[-1] is True
    assert set(heard.no) == {"not_json", "not_a_word"}


def test_a_feed_subscribes_sorts_out_and_comes_back() -> None:
    asyncio.run(_feed())


@asynccontextmanager
async def polling(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    heard: Heard,
    *keys: str,
    secret: Secret | None = None,
) -> AsyncIterator[None]:
    """Poll a server that answers so, often; `keys` are those of the source besides its place."""
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"url: 'http://127.0.0.1:{runner.addresses[0][1]}/'"
    plan: Any = source("\n    ".join(("type: rest", url, "every: 1s", *keys)), FIELDS)
    poll = Poll(plan, secret, heard, quick())
    poll.pause = 0.02
    task = asyncio.create_task(poll.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()


async def _poll() -> None:
    heard, tags, answers = Heard(), [], []
    items: list[dict[str, str]] = [{"id": "a1", "signal": "long"}]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        tags.append(request.headers.get("If-None-Match"))
        answers.append(request.headers.get("Authorization"))
        if len(tags) == 2:
            return web.Response(status=500)
        if tags[-1] == '"1"':
            items.append({"id": "a2", "signal": "close"})
            return web.Response(status=304)
        return web.json_response({"list": items}, headers={"ETag": f'"{len(items)}"'})

    secret = Secret("open-sesame")
    keys = "items: /list", "as: event", "auth: {token: {env: T}}"
    async with polling(answer, heard, *keys, secret=secret):
        await until(lambda: len(tags) >= 4)
    assert [m.id for m, _ in heard.messages] == ["a1"]
    assert tags[0] is None and '"1"' in tags[1:] and answers[0] == "Bearer open-sesame"
    assert heard.pulses[0] is True and False in heard.pulses, "status 500 is no sign of life"
    assert heard.kept[0] == {"id": "a1", "signal": "long"}


def test_a_poll_keeps_to_what_is_new_and_tells_when_it_fails() -> None:
    asyncio.run(_poll())


async def _unreadable() -> None:
    heard, tags = Heard(), []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        tags.append(request.headers.get("If-None-Match"))
        if tags[-1] is not None:
            return web.Response(status=304)
        return web.Response(text="<html>soon", headers={"ETag": '"1"'})

    async with polling(answer, heard, "as: event"):
        await until(lambda: len(tags) >= 3)
    assert heard.pulses == [], "what was not modified since it could not be read is no sign of life"
    assert set(heard.no) == {"not_json"}


def test_an_answer_that_cannot_be_read_is_asked_for_again() -> None:
    asyncio.run(_unreadable())


RSS = b"""<?xml version="1.0"?><rss><channel><title>News</title>
<item><title>Up &amp; away</title><link>https://e.invalid/1</link><guid>1</guid>
<pubDate>Mon, 23 Nov 2026 10:00:00 GMT</pubDate><description>x</description></item>
<item><title>Down</title><guid>2</guid></item></channel></rss>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>N</title>
<entry><title>Hello</title><id>urn:1</id><updated>2026-11-23T10:00:00Z</updated></entry></feed>"""
BOMB = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>
<rss><item><title>&b;</title></item></rss>"""


def test_feeds_of_both_kinds_are_read() -> None:
    one, two = rss_items(RSS)
    assert one["title"] == "Up & away" and one["guid"] == "1" and one["summary"] == "x"
    assert two == {"title": "Down", "guid": "2"}
    (entry,) = rss_items(ATOM)
    assert entry["title"] == "Hello" and entry["guid"] == "urn:1"


@pytest.mark.parametrize("body", [BOMB, b"", b"<rss>", b"<a>" * 60 + b"</a>" * 60, b"\xff\x00"])
def test_a_hostile_feed_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        rss_items(body)
