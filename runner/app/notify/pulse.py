"""The sign of life and the summary of the day.

The sign of life means progress, not a process: a run that has handled no event since the last one
sends none, so that whoever waits for it raises the alarm (field.md, 31).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from runner.app.notify.letter import daily_letter
from runner.app.notify.messenger import Messenger
from runner.app.notify.sinks import call
from runner.base.clock import NS_PER_S
from runner.base.errors import ExchangeError
from runner.engine.core import Engine
from runner.net.http import Http
from runner.spec.notify_plan import DailyPlan


async def keep_alive(
    http: Http,
    url: str,
    every_ns: int,
    progress: Callable[[], int],
    notice: Callable[[str], None],
) -> None:
    """Ask `url` every `every_ns` while `progress` grows, until cancelled."""
    seen, failing = -1, False
    while True:
        now = progress()
        if now != seen:
            seen = now
            try:
                await call(http, "alive", url)
                failing = False
            except ExchangeError as error:
                if not failing:
                    notice(f"the sign of life was not taken: {error}")
                failing = True
        await asyncio.sleep(every_ns / NS_PER_S)


async def send_daily(plan: DailyPlan, engine: Engine, run_id: str, messenger: Messenger) -> None:
    """Send the summary at the plan's time of day, in its zone, until cancelled.

    A summary that was missed by less than an hour (a sleeping machine) is sent late, once.
    """
    hour, minute = plan.at.split(":")
    scheduler = AsyncIOScheduler(timezone=plan.zone)

    async def send() -> None:
        messenger.deliver(daily_letter(engine, run_id))

    scheduler.add_job(
        send, "cron", hour=int(hour), minute=int(minute), misfire_grace_time=3600, coalesce=True
    )
    scheduler.start()
    try:
        await asyncio.Event().wait()
    finally:
        scheduler.shutdown(wait=False)
