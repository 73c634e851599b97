"""`runner record`: the raw frames of a strategy's streams to disk, no rule evaluated."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runner import __version__
from runner.app.links import Link, add_feed, connect, read_facts
from runner.app.run_folder import recorded_strategy
from runner.app.tape import RecorderTape
from runner.base.clock import NS_PER_S, SystemClock
from runner.base.errors import WorldError
from runner.base.ids import new_run_id
from runner.base.secret import redact
from runner.base.signals import that_end
from runner.engine.build import wants
from runner.engine.events import ClockReading, Event, Facts, Feed, MarketEvent
from runner.market.state import MarketState
from runner.spec.market_plan import Network
from runner.spec.plan import Plan
from runner.store.recorder import About, Recorder

if TYPE_CHECKING:
    from runner.cli.run import Options


def record_frames(plan: Plan, options: Options, out: Path) -> int:
    """Record until `--for` is over or a signal comes."""
    from runner.cli.run import duration

    return asyncio.run(_Recording(plan, out).run(duration(options.run_for)))


class _Recording:
    """Keeps the books as a run would, so that their snapshots are recorded too."""

    def __init__(self, plan: Plan, out: Path) -> None:
        self._plan = plan
        self._clock = SystemClock()
        self._market = MarketState(wants(plan, deep=True))
        self._links: dict[str, Link] = {}
        sim = any(x.network is Network.SIM for x in plan.exchanges.values())
        self._run_id = new_run_id(self._clock.wall())
        about = About(
            run=self._run_id,
            runner=__version__,
            source="sim" if sim else "live",
            strategy=recorded_strategy(plan, {}),
        )
        self._recorder = Recorder(out, about, self._clock)
        self._out = out

    async def run(self, run_for: int | None) -> int:
        """Open everything, wait, close everything."""
        stop = asyncio.Event()
        for each in that_end():
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
        try:
            tasks = [asyncio.create_task(self._recorder.run()), *await self._start()]
            streams = ", ".join(self._market.streams)
            sys.stderr.write(f"recording {streams} into {self._out}, until Ctrl-C ends it\n")
            seconds = None if run_for is None else run_for / NS_PER_S
            stopper = asyncio.create_task(_wait(stop, seconds))
            done, _ = await asyncio.wait([stopper, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in (stopper, *tasks):
                task.cancel()
            await asyncio.gather(stopper, *tasks, return_exceptions=True)
            for task in done:
                task.result()
        finally:
            for link in self._links.values():
                await link.close()
            self._recorder.finish()
        if self._recorder.failure:
            raise WorldError(f"the recording is not whole: {self._recorder.failure}")
        frames = sum(link.feed.frames for link in self._links.values() if link.feed is not None)
        sys.stdout.write(f"{self._out}: {frames} frames\n")
        return 0

    async def _start(self) -> list[asyncio.Task[None]]:
        numbers = itertools.count(1)
        types = {name: x.type for name, x in self._plan.exchanges.items()}
        tape = RecorderTape(self._recorder, types)
        tasks = []
        for name in self._plan.exchanges:
            link = connect(self._plan, name, self._clock, self._run_id, numbers, self._on_clock)
            self._links[name] = link
            await link.sync.measure()
            facts = await read_facts(link, self._plan)
            t, wall = self._clock.mono(), self._clock.wall()
            self._recorder.event(Facts(exchange=name, instruments=tuple(facts), t=t, wall=wall))
            feed = add_feed(
                link, self._plan, self._sink, self._clock, tape, _say, None, lambda t, wall: None
            )
            tasks += [asyncio.create_task(feed.run()), asyncio.create_task(link.sync.run())]
        return tasks

    def _on_clock(self, reading: ClockReading) -> None:
        self._recorder.event(reading)
        self._market.on_clock(reading)

    def _sink(self, event: Event) -> None:
        if isinstance(event, MarketEvent):
            if event.conn == 0:
                self._recorder.event(event)
            self._market.apply(event)
        elif isinstance(event, Feed):
            self._market.on_feed(event)
        resyncs, self._market.resyncs = self._market.resyncs, []
        for market, _ in resyncs:
            feed = self._links[self._plan.markets[market].exchange].feed
            assert feed is not None
            feed.resync(market)


async def _wait(stop: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _say(exchange: str, text: str) -> None:
    sys.stderr.write(redact(f"{exchange}: {text}") + "\n")
