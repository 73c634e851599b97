"""Telegram as a source, against the stand-in that users can start themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from runner.base.rng import seeded
from runner.base.secret import Secret
from runner.net.backoff import Backoff
from runner.sources.telegram import LONGEST_TEXT, Chat, names_of
from tests.sources.voicelab import Ear, example, served, source, until

TOKEN = "12345:canary-telegram-token"
TEXT = """
  tg:
    type: telegram
    token: {{env: TG}}
    base_url: "{url}"
    chats: ["-100123", "@signals"]
    senders: ["42"]
    pattern: '^(?P<side>LONG|CLOSE) (?P<symbol>[A-Z]+)(?: stop (?P<stop>[0-9.]+))?$'
    max_age: 10s
    fields:
      side: {{type: enum, values: [LONG, CLOSE]}}
      symbol: {{type: text}}
      stop: {{type: price, of: btc, optional: true}}
"""
WHEN = 'trigger: tg\n    when: tg.side == "LONG"'


def chat(url: str, ear: Ear) -> Chat:
    plan = source(TEXT.format(url=url), WHEN, "tg")
    return Chat(plan, Secret(TOKEN), ear, Backoff(seeded("t"), 0.01, 0.02), wait_s=1)


def running(use: Callable[[Any, Ear], Awaitable[None]]) -> Ear:
    """Run a source against the stand-in while `use` posts messages."""

    async def run() -> Ear:
        module, ear = example("telegram_stand_in"), Ear()
        stand_in = module.StandIn()
        async with served(module.application(stand_in)) as url:
            task = asyncio.create_task(chat(url, ear).run())
            await use(stand_in, ear)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return ear

    return asyncio.run(run())


def test_a_message_that_matches_becomes_typed_fields_with_the_sender_s_time() -> None:
    async def use(stand_in: Any, ear: Ear) -> None:
        stand_in.post(-100123, 42, "LONG BTCUSDT stop 59400.5", date=1_800_000_000)
        stand_in.post(-100123, 42, "CLOSE BTCUSDT")
        await until(lambda: len(ear.heard) == 2)

    ear = running(use)
    first, second = ear.heard
    assert first[0].fields == {"side": "LONG", "symbol": "BTCUSDT", "stop": 59400.5}
    assert first[0].id == "-100123:1" and first[1] == 1_800_000_000 * 10**9
    assert second[0].fields["stop"] is None
    assert ear.refusals == [] and ear.pulses[0] == (True, "")


@pytest.mark.parametrize(
    ("chat_id", "sender", "text", "code"),
    [
        (-999, 42, "LONG BTCUSDT", "chat"),
        (-100123, 43, "LONG BTCUSDT", "sender"),
        (-100123, 42, "buy now!!!", "pattern"),
        (-100123, 42, "LONG " + "A" * LONGEST_TEXT, "pattern"),
        (-100123, 42, "LONG BTCUSDT stop 0", "out_of_range"),
    ],
)
def test_who_is_not_allowed_and_what_does_not_fit_is_refused_by_name(
    chat_id: int, sender: int, text: str, code: str
) -> None:
    async def use(stand_in: Any, ear: Ear) -> None:
        stand_in.post(chat_id, sender, text)
        await until(lambda: ear.refusals)

    ear = running(use)
    assert [each for each, _ in ear.refusals] == [code] and ear.heard == []


def test_what_is_posted_while_nobody_reads_is_read_once_and_edits_are_nothing_new() -> None:
    async def use(stand_in: Any, ear: Ear) -> None:
        for i in range(3):
            stand_in.post(-100123, 42, f"LONG COIN{'ABC'[i]}")
        edited = stand_in.updates[0]["message"] | {"text": "LONG OTHER"}
        stand_in.updates.append({"update_id": 4, "edited_message": edited})
        await until(lambda: len(ear.heard) == 3)
        stand_in.post(-100123, 42, "LONG LAST")
        await until(lambda: len(ear.heard) == 4)

    ear = running(use)
    assert [m.fields["symbol"] for m, _ in ear.heard] == ["COINA", "COINB", "COINC", "LAST"]


def test_names_are_the_number_and_the_name() -> None:
    assert names_of({"id": -5, "username": "signals"}) == {"-5", "@signals"}
    assert names_of({"id": "5"}) == set() and names_of(None) == set()


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "token is not accepted"), (409, "another process reads this bot"), (502, "status 502")],
)
def test_an_error_is_told_without_the_token_and_tried_again(status: int, says: str) -> None:
    async def run() -> Ear:
        ear, asked = Ear(), []

        async def answer(request: web.Request) -> web.Response:
            asked.append(request.path)
            if len(asked) < 3:
                return web.Response(status=status)
            return web.json_response({"ok": True, "result": []})

        app = web.Application()
        app.router.add_post("/{tail:.*}", answer)
        async with served(app) as url:
            task = asyncio.create_task(chat(url, ear).run())
            await until(lambda: len(asked) >= 3 and ear.pulses[-1][0])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return ear

    ear = asyncio.run(run())
    assert [ok for ok, _ in ear.pulses] == [False, True]
    assert says in ear.pulses[0][1] and "canary" not in ear.pulses[0][1]


@pytest.mark.parametrize("body", ["[]", '{"ok":true}', "nonsense", '{"result":[1,null,{"x":2}]}'])
def test_a_strange_answer_stops_nothing(body: str) -> None:
    async def run() -> Ear:
        ear, asked = Ear(), []

        async def answer(request: web.Request) -> web.Response:
            asked.append(1)
            return web.Response(text=body)

        app = web.Application()
        app.router.add_post("/{tail:.*}", answer)
        async with served(app) as url:
            task = asyncio.create_task(chat(url, ear).run())
            await until(lambda: len(asked) >= 3)
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return ear

    assert asyncio.run(run()).heard == []
