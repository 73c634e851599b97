"""What a chat or a language model says, over real sockets, to signed orders at the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from runner.sim.launch import Running, launch
from tests.app.simlab import TYPES, Lab
from tests.sources.voicelab import example, served

HEAD = """
version: 1
name: churn
exchanges:
{exchanges}
markets:
  bin: {{exchange: bin, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
  byb: {{exchange: byb, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
sources:
"""
TAIL = """
    max_hold: 10m
    cooldown: 100ms
    trade:
      size: 300 USDT
      legs: [{{market: byb, side: buy, order: {{type: limit, tif: ioc, collar: 20bps}}}}]
      close: {{tif: ioc, collar: 20bps, worst: 90bps, then: market}}
run: {{on_stop: {on_stop}, stop_within: {within}}}
risk:
  max_order: 600 USDT
  max_position: {{byb: 0.05 BTC}}
  max_daily_loss: {{amount: 1000 USDT, day: "{day}"}}
  max_orders: {{count: 1000, per: 1m}}
  price_collar: 5%
"""
CHAT = """
  tg:
    type: telegram
    token: {{env: TG}}
    base_url: "URL"
    chats: ["-100123"]
    pattern: '^(?P<side>LONG|CLOSE) (?P<symbol>[A-Z]+)$'
    max_age: 60s
    fields:
      side: {{type: enum, values: [LONG, CLOSE]}}
      symbol: {{type: text}}
rules:
  churn:
    trigger: tg
    when: tg.side == "LONG" and tg.symbol == "BTCUSDT" and byb.ask > 0
    until: tg.side == "CLOSE" and tg.symbol == "BTCUSDT"
"""
MODEL = """
  headlines: {{type: rest, url: "URL/v1/news", every: 1s, max_age: 1m}}
  news:
    type: llm
    base_url: "URL/v1"
    model: small
    key: {{env: LLM_KEY}}
    about: headlines
    refresh: 1s
    at_most_every: 1s
    prompt: Score the mood for {{market}}.
    answer:
      score: {{type: number, range: [-1, 1]}}
    timeout: 2s
    max_age: 4s
    budget: {{calls: 1000, per: 1d}}
signals:
  mood: default(news.score, -1)
rules:
  churn:
    when: byb.ask > 0 and mood > 0
    until: mood < 0
"""


@pytest.fixture
def market() -> Iterator[Running]:
    kinds = list(TYPES.values())
    with launch(seed=7, exchanges=kinds, dislocations=False, limit_factor=100, leverage=2) as sim:
        yield sim


def state_is(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: bool(status["rules"]["churn"]["state"] == name)


def test_the_chat_stand_in_takes_what_curl_posts_and_refuses_rubbish() -> None:
    module = example("telegram_stand_in")
    stand_in = module.StandIn()
    said = '{"chat": -5, "from": 42, "text": "LONG BTCUSDT"}'
    head = {"Content-Type": "application/x-www-form-urlencoded"}

    async def run() -> None:
        async with (
            served(module.application(stand_in)) as url,
            aiohttp.ClientSession(headers=head) as session,
        ):
            for body, status in ((said, 200), ("rubbish", 400), ("[]", 400), ("{}", 400)):
                async with session.post(f"{url}/post", data=body) as answer:
                    assert answer.status == status, body

    asyncio.run(run())
    assert [each["message"]["text"] for each in stand_in.updates] == ["LONG BTCUSDT"]


def test_a_message_of_a_chat_opens_and_closes_and_others_do_not(
    market: Running, tmp_path: Path
) -> None:
    module = example("telegram_stand_in")
    stand_in = module.StandIn()

    def trade(lab: Lab, loop: asyncio.AbstractEventLoop) -> None:
        def post(chat: int, text: str) -> None:
            loop.call_soon_threadsafe(stand_in.post, chat, 42, text)

        with lab.running() as child:
            lab.until(child, "idle", state_is("idle"))
            post(-5, "LONG BTCUSDT")
            post(-100123, "LONG ETHUSDT")
            post(-100123, "buy! buy!")
            status = lab.until(
                child, "three messages", lambda s: sum(s["sources"]["tg"]["refused"].values()) >= 2
            )
            assert status["sources"]["tg"]["refused"] == {"chat": 1, "pattern": 1}
            assert status["positions"] == {} and status["rules"]["churn"]["entries"] == 0
            post(-100123, "LONG BTCUSDT")
            lab.until(child, "active", state_is("active"))
            assert lab.positions().keys() == {"bybit_linear"}
            post(-100123, "CLOSE BTCUSDT")
            lab.until(child, "flat", lambda s: not s["positions"] and s["orders"]["open"] == 0)
            code, report, err = lab.stop(child)
            assert code == 0, err
            assert report["rules"]["churn"]["entries"] == report["rules"]["churn"]["exits"] == 1
            assert "canary" not in err

    async def run() -> None:
        async with served(module.application(stand_in)) as url:
            lab = Lab(market, tmp_path, text=HEAD + CHAT.replace("URL", url) + TAIL)
            lab.environment["TG"] = "1:canary-telegram"
            await asyncio.to_thread(trade, lab, asyncio.get_running_loop())

    asyncio.run(run())


def test_a_model_may_veto_and_one_that_is_gone_is_missing(market: Running, tmp_path: Path) -> None:
    module = example("llm_stand_in")
    stand_in = module.StandIn('{"score": -0.9}')

    async def run() -> None:
        async with served(module.application(stand_in)) as url:
            lab = Lab(market, tmp_path, text=HEAD + MODEL.replace("URL", url) + TAIL)
            lab.environment["LLM_KEY"] = "canary-model"
            child = await asyncio.to_thread(lab.start)
            await asyncio.to_thread(
                lab.until, child, "asked", lambda s: s["sources"]["news"]["accepted"] >= 2
            )
            vetoed = await asyncio.to_thread(lab.ask, "status")
            assert vetoed["rules"]["churn"]["state"] == "idle" and vetoed["positions"] == {}
            assert vetoed["sources"]["news"]["spent"]["calls"] >= 2
            stand_in.say = '{"score": 0.9}'
            await asyncio.to_thread(lab.until, child, "active", state_is("active"))
        # the server is gone: what it said last is too old after 4 s, and silence is a veto
        gone = await asyncio.to_thread(
            lab.until, child, "left", lambda s: s["sources"]["news"]["state"] == "stale"
        )
        assert gone["sources"]["news"]["down"]
        await asyncio.to_thread(lab.until, child, "flat", lambda s: not s["positions"])
        code, report, err = await asyncio.to_thread(lab.stop, child)
        assert code == 0, err
        assert report["rules"]["churn"]["entries"] == 1 and report["sources"]["news"]["spent"]
        files = [p for p in (tmp_path / "state").rglob("*") if p.is_file()]
        assert not any(b"canary" in p.read_bytes() for p in files)

    asyncio.run(run())
