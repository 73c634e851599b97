"""Telling people over real sockets: what a page says, who takes it, and what a dead sink costs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from runner.app.notify import mailbox, pulse
from runner.app.notify.board import GATHER, Board
from runner.app.notify.letter import Letter, daily_letter, page_letter
from runner.app.notify.mailbox import MOST, Mailbox
from runner.app.notify.messenger import Messenger
from runner.app.notify.office import ALIVE_URL, HOOK_TOKEN, HOOK_URL, TOKEN, Office, references
from runner.app.notify.sinks import Program, Telegram, Webhook
from runner.base.clock import SystemClock
from runner.base.errors import Down, RateLimited
from runner.base.rng import seeded
from runner.base.secret import Secret
from runner.engine.commands import Notify, Topic
from runner.engine.events import Operator
from runner.engine.scenario import Fate
from runner.net.doors import tls_context
from runner.net.http import HttpSession
from runner.sim.launch import Running, launch
from runner.spec import load
from runner.spec.notify_plan import DailyPlan
from tests.app.simlab import CHURN, TYPES, Lab
from tests.engine.stage import stage, widen

TG = "12345:canary-telegram-token"
LETTER = Letter("halt", "arb: halt", "arb: halt\nWHAT  loss of the day 21 / 20 USDT")


class Door:
    """A server that takes whatever is posted; `answers` are its next statuses."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.answers: list[int] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.got.append((request.path, dict(request.headers), body))
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"Retry-After": "7"}, text="canary-answer")


@asynccontextmanager
async def door() -> AsyncIterator[Door]:
    there = Door()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", there.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        there.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield there
    finally:
        await runner.cleanup()


@asynccontextmanager
async def session() -> AsyncIterator[HttpSession]:
    http = HttpSession(tls_context())
    try:
        yield http
    finally:
        await http.close()


async def until(ready: Any) -> None:
    """Wait for a condition; a busy machine may take its time."""
    async with asyncio.timeout(30):
        while not ready():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)


def test_telegram_and_webhooks_get_what_they_read() -> None:
    async def run() -> list[tuple[str, dict[str, str], Any]]:
        async with door() as there, session() as http:
            await Telegram(http, there.url, Secret(TG), "-100").send(LETTER)
            for format, token in (("json", Secret("bearer-canary")), ("slack", None)):
                await Webhook(http, f"{there.url}/hook", format, token, "r1").send(LETTER)
            await Webhook(http, f"{there.url}/hook", "discord", None, "r1").send(LETTER)
            return there.got

    telegram, plain, slack, discord = asyncio.run(run())
    assert telegram[0] == f"/bot{TG}/sendMessage"
    assert telegram[2]["chat_id"] == "-100" and telegram[2]["text"] == LETTER.body
    assert plain[1]["Authorization"] == "Bearer bearer-canary"
    assert plain[2] == {
        "topic": "halt", "subject": LETTER.subject, "text": LETTER.body, "run": "r1"
    }  # fmt: skip
    assert slack[2] == {"text": LETTER.body} and "Authorization" not in slack[1]
    assert discord[2] == {"content": LETTER.body}


def test_an_error_shows_no_secret_and_a_crowded_sink_says_when_to_come_back() -> None:
    async def run() -> None:
        async with door() as there, session() as http:
            bot = Telegram(http, there.url, Secret(TG), "1")
            there.answers = [401, 429]
            with pytest.raises(Down) as refused:
                await bot.send(LETTER)
            assert "HTTP 401" in str(refused.value) and "canary-telegram" not in str(refused.value)
            with pytest.raises(RateLimited) as crowded:
                await bot.send(LETTER)
            assert crowded.value.retry_after == 7.0
            gone = Telegram(http, "http://127.0.0.1:9", Secret(TG), "1")
            with pytest.raises(Down) as down:
                await gone.send(LETTER)
            assert "canary-telegram" not in str(down.value)

    asyncio.run(run())


def test_a_program_gets_the_message_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BINANCE_SECRET", "canary-exchange-secret")
    out = tmp_path / "got"
    code = "import os,sys; open(sys.argv[1],'w').write(sys.stdin.read()+'|'+repr(dict(os.environ)))"
    asyncio.run(Program([sys.executable, "-c", code, str(out)]).send(LETTER))
    got = out.read_text()
    assert got.startswith(LETTER.body + "|") and "'RUNNER_TOPIC': 'halt'" in got
    assert "canary-exchange-secret" not in got
    with pytest.raises(Down, match="ended with 3: oh no"):
        bad = [sys.executable, "-c", "import sys; sys.stderr.write('oh no'); sys.exit(3)"]
        asyncio.run(Program(bad).send(LETTER))
    with pytest.raises(Down, match="No such file"):
        asyncio.run(Program([str(tmp_path / "nix")]).send(LETTER))


class Stubborn:
    """A sink that fails so many times, and keeps what it took."""

    name = "stubborn"

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.took: list[str] = []

    async def send(self, letter: Letter) -> None:
        if self.failures:
            self.failures -= 1
            raise Down("no route")
        self.took.append(letter.subject)


def test_a_dead_sink_is_tried_three_times_told_once_and_delays_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mailbox, "_LONGEST_WAIT_S", 0.0)
    notices: list[str] = []
    dead, well = Stubborn(4), Stubborn(0)
    boxes = [Mailbox(s, seeded("t"), notices.append) for s in (dead, well)]

    async def run() -> None:
        for box in boxes:
            box.put(LETTER)
            box.put(replace(LETTER, subject="second"))
        await asyncio.gather(*(box.drain() for box in boxes))

    asyncio.run(run())
    assert well.took == ["arb: halt", "second"]
    assert dead.took == ["second"], "three tries for the first, the second went at the second"
    assert (boxes[0].failed, boxes[0].sent) == (1, 1)
    assert notices == ["a message about halt was not taken: no route"]


def test_a_full_mailbox_drops_the_oldest_and_counts() -> None:
    sink = Stubborn(0)
    box = Mailbox(sink, seeded("t"), lambda _: None)
    for i in range(MOST + 10):
        box.put(Letter("x", str(i), ""))
    asyncio.run(box.drain())
    assert box.dropped == 10 and sink.took[0] == "10" and len(sink.took) == MOST


def test_a_page_says_what_now_done_next_and_you() -> None:
    s = stage()
    s.exchanges["bybit"].default = Fate.LATE
    s.exchanges["binance"].default = Fate.FILLED
    widen(s)
    s.run(300_000_000)
    board = Board()
    board.post(Topic.UNHEDGED, "legs 0.008 apart", 0)
    (page,) = board.take(GATHER)
    text = page_letter(s.engine, "r1", page).body
    lines = dict(line.split("  ", 1) for line in text.splitlines() if "  " in line)
    assert lines["WHAT"] == "legs 0.008 apart"
    assert "net -0.00" in lines["NOW"] and "unhedged by" in lines["NOW"]
    assert "loss of the day" in lines["NOW"]
    assert lines["DONE"].strip() and lines["NEXT"].strip()
    assert "runner flatten " in lines["YOU"] and "runner ack " in lines["YOU"]
    assert "entries" in daily_letter(s.engine, "r1").body


def test_an_operator_who_acts_has_seen_the_pages() -> None:
    async def run() -> None:
        s = stage()
        sink = Stubborn(0)
        box = Mailbox(sink, seeded("t"), lambda _: None)
        messenger = Messenger(s.engine, "r1", Board(), [box], SystemClock())
        task = asyncio.create_task(messenger.run())
        messenger.command(Notify(level="warn", text="no page", topic=Topic.HOST), 0)
        messenger.command(Notify(level="page", text="held", topic=Topic.HELD), 0)
        await until(lambda: sink.took)
        assert [p.topic for p in messenger.board.pages] == [Topic.HELD]
        messenger.event(Operator(command="stop", who="runner", t=0, wall=0))
        assert messenger.board.pages
        messenger.event(Operator(command="flatten", who="ann", t=0, wall=0))
        assert not messenger.board.pages
        messenger.command(Notify(level="page", text="last", topic=Topic.HALT), 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await messenger.last_words(10.0, lambda _: None)
        assert len(sink.took) == 2, "what waits at the end is still sent"

    asyncio.run(run())


def test_the_sign_of_life_stops_when_nothing_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten looks, of which only those after progress ask the URL."""

    async def run() -> tuple[int, list[str]]:
        counts = iter([1, 2, 2, 2, 3, 3])
        notices: list[str] = []
        ended = asyncio.Event()

        def progress() -> int:
            value = next(counts, None)
            if value is None:
                ended.set()
                return 3
            return value

        async with door() as there, session() as http:
            there.answers = [200, 500]
            task = asyncio.create_task(
                pulse.keep_alive(http, f"{there.url}/beat", 1_000_000, progress, notices.append)
            )
            async with asyncio.timeout(30):
                await ended.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return len(there.got), notices

    asked, notices = asyncio.run(run())
    assert asked == 3
    assert notices == ["the sign of life was not taken: alive: HTTP 500"]


def test_the_summary_goes_out_at_its_time_in_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[dict[str, Any]] = []
    real = pulse.AsyncIOScheduler

    class Seen(real):  # type: ignore[misc, valid-type]
        def add_job(self, func: Any, trigger: str, **options: Any) -> Any:
            jobs.append({"zone": str(self.timezone), **options})
            return super().add_job(func, "date", misfire_grace_time=None)  # now

    monkeypatch.setattr(pulse, "AsyncIOScheduler", Seen)

    async def run() -> list[str]:
        s = stage()
        sink = Stubborn(0)
        messenger = Messenger(
            s.engine, "r1", Board(), [Mailbox(sink, seeded("t"), print)], SystemClock()
        )
        beside = asyncio.create_task(messenger.run())
        daily = DailyPlan("08:30", "Europe/Berlin")
        task = asyncio.create_task(pulse.send_daily(daily, s.engine, "r1", messenger))
        await until(lambda: sink.took)
        for each in (beside, task):
            each.cancel()
        await asyncio.gather(beside, task, return_exceptions=True)
        return sink.took

    took = asyncio.run(run())
    assert took[0].endswith(": summary")
    assert (jobs[0]["zone"], jobs[0]["hour"], jobs[0]["minute"]) == ("Europe/Berlin", 8, 30)


NOTIFY = """
notify:
  page:
    telegram: {{token: {{env: TG}}, chat: "7", base_url: "{url}"}}
    webhook: {{url: {{env: HOOK}}, token: {{env: HOOK_TOKEN}}}}
  alive: {{url: {{env: BEAT}}, every: 10s}}
"""


@pytest.fixture(scope="module")
def market() -> Iterator[Running]:
    kinds = list(TYPES.values())
    with launch(seed=7, exchanges=kinds, dislocations=False, limit_factor=100, leverage=2) as sim:
        yield sim


def test_a_halt_of_a_run_reaches_people_and_ack_ends_it(market: Running, tmp_path: Path) -> None:
    async def run() -> None:
        async with door() as there:
            text = CHURN + NOTIFY.replace("{url}", there.url)
            lab = Lab(market, tmp_path, hold="60s", text=text)
            lab.environment |= {
                "TG": TG,
                "HOOK": f"{there.url}/hook/canary-hook-path",
                "HOOK_TOKEN": "canary-hook-token",
                "BEAT": f"{there.url}/beat/canary-beat-path",
            }
            await asyncio.to_thread(halt_and_acknowledge, lab)
            paths = [path for path, _, _ in there.got]
            assert "/beat/canary-beat-path" in paths
            (telegram,) = (body for path, _, body in there.got if path.startswith("/bot"))
            (hook,) = (body for path, _, body in there.got if path.startswith("/hook"))
            assert telegram["text"] == hook["text"] and hook["topic"] == "halt"
            assert "WHAT  halted: SIGUSR1" in hook["text"] and "holds bin, byb" in hook["text"]

    def halt_and_acknowledge(lab: Lab) -> None:
        with lab.running("--notify") as child:
            lab.until_trading(child)
            child.send_signal(10)  # SIGUSR1: a halt of nobody who sits at the terminal
            lab.until(child, "the page", lambda s: page_told(s) == 1)
            assert lab.operate("ack", "churn").stdout == "acknowledged: halt\n"
            assert lab.ask("status")["notify"]["pages"] == []
            lab.stop(child)

    def page_told(status: dict[str, Any]) -> int:
        told = status["notify"]
        taken = [sink["sent"] for sink in told["sinks"].values()]
        return int(bool(told["pages"]) and taken == [1, 1])

    asyncio.run(run())
    files = [p for p in (tmp_path / "state").rglob("*") if p.is_file()]
    assert files and not any(b"canary" in p.read_bytes() for p in files)


def test_missing_secrets_are_told_together_and_a_dry_run_needs_none(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "strategies" / "arb.yaml").read_text()
    plan = load(text + NOTIFY.format(url="https://tg.example.org")).plan
    assert plan is not None
    assert set(references(plan.notify)) == {TOKEN, HOOK_URL, HOOK_TOKEN, ALIVE_URL}
    office = Office(plan.notify, {name: Secret("canary-x") for name in references(plan.notify)})
    assert plan.notify.page is not None
    sinks = office.sinks(plan.notify.page, "r")
    assert [sink.name for sink in sinks] == ["telegram", "webhook"]
    assert "canary" not in repr(office)
