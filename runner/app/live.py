"""A run on sockets: dry-run on public data, or start with signed orders.

Theory of operation. Everything that trades lives on one event loop: frames, timers, orders, the
operator's commands. Besides it there are tasks that wait (time sync, journal flush, recording,
control socket); one that dies stops the run, because a run that goes on without one of its parts
is a run nobody has tested. The order of a start:

    clock and instruments of every exchange     (a failure: exit 3, nothing was opened)
    account, settings and key, for `start`      (a difference the file does not want: exit 3)
    sockets; windows warmed from bars; reconciliation; only then rules may decide

Stopping: the operator's `stop` reaches the engine, which acts by the file's `on_stop`; when all
orders are settled, or `stop_within` is over, the sockets close and the report is written.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from runner.app import control_answers, memory, startup
from runner.app.alarm import Alarm
from runner.app.assembly import Parts, assemble, facts_event, host_of
from runner.app.drilling import Drilling
from runner.app.driver import Agenda, Driver
from runner.app.ending import Ending, ending_of, settled
from runner.app.flushing import flushing
from runner.app.health import Health, read_memory
from runner.app.history import read_history
from runner.app.host import Host, Orders
from runner.app.links import Link, add_feed, add_orders, connect, read_facts
from runner.app.listening import Listening
from runner.app.live_orders import LiveOrders
from runner.app.market_feed import FrameTape
from runner.app.notify.office import Office
from runner.app.paper import PaperDesk
from runner.app.paper_readiness import PaperReadiness
from runner.app.polling import Polling
from runner.app.run_folder import WINDOWS, RunFolder
from runner.app.run_log import Level
from runner.app.takeover import compare
from runner.app.tape import EventTape
from runner.app.watchers import FirstPictures, HaltedWord, ruleless, unexplained
from runner.app.why import gather
from runner.base.clock import NS_PER_S, SystemClock
from runner.base.crash import crash_point
from runner.base.errors import WorldError
from runner.base.secret import Secret
from runner.base.signals import that_end
from runner.engine.commands import Reconcile, Resync
from runner.engine.events import (
    ClockReading,
    Event,
    InstrumentFacts,
    Operator,
    Readiness,
    Ready,
)
from runner.engine.events import Host as HostEvent
from runner.exchanges.api import Credentials
from runner.spec.market_plan import Network
from runner.spec.plan import Plan

_SAVE_WINDOWS_S = 60.0
_LOOK_S = 0.05
_CLEAN = (0, 4)
"""codes of a stop that left nothing unresolved"""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How a socket run is to be made."""

    signed: bool
    balance: Decimal
    run_for_ns: int | None = None
    adopt: bool = False


class LiveRun:
    """One run on sockets. `await run()` once."""

    def __init__(
        self,
        plan: Plan,
        options: LiveOptions,
        folder: RunFolder,
        credentials: Mapping[str, Credentials],
        office: Office | None = None,
        secrets: Mapping[str, Secret] | None = None,
    ) -> None:
        self.plan = plan
        self.options = options
        self.folder = folder
        self.clock: SystemClock = folder.clock
        self.run_id = folder.run_id
        self.links: dict[str, Link] = {}
        self.parts: Parts
        self.host: Host
        self.driver: Driver
        self.desk: PaperDesk | None = None
        self.ending = Ending()
        self.warnings: list[str] = []
        self.listening = Listening(
            plan, secrets or {}, self.clock, self.run_id, self.sink, folder.log.tell, folder
        )
        self.office = office
        """tells people; None where nobody is to be told"""
        self.credentials = credentials
        """of the exchanges that are traded; the others are read only"""
        self._numbers = itertools.count(1)
        self._facts: dict[str, list[InstrumentFacts]] = {}
        self._alarm: Alarm
        self._drilling: Drilling
        self._polling = Polling(self.clock.mono)
        self._stopping = asyncio.Event()
        self._stop_reason = ""
        self._early: list[Event] = []
        self._ready = False
        self._signals = 0

    # -- the whole run

    async def run(self) -> Ending:
        """Run until stopped; raises WorldError when the start fails."""
        self._watch_signals()
        try:
            await self._prepare()
            self._assemble()
            await self.listening.open(self.parts.engine)
            with memory.settled():
                await self._trade()
            if self.ending.code in _CLEAN:
                await asyncio.gather(*(x.orders.disarm() for x in self.links.values() if x.orders))
        finally:
            await self.listening.close()
            for link in self.links.values():
                await link.close()
            if self.office is not None:
                await self.office.close(self._warn)
            if hasattr(self, "_alarm"):
                self._alarm.cancel()
        return self.ending

    async def _prepare(self) -> None:
        """Measure the clocks and read the instruments of all exchanges, side by side."""
        for name in self.plan.exchanges:
            self.links[name] = connect(
                self.plan, name, self.clock, self.run_id, self._numbers, self._on_clock
            )
        await asyncio.gather(*(self._prepare_one(link) for link in self.links.values()))

    async def _prepare_one(self, link: Link) -> None:
        name = link.plan.name
        await link.sync.measure()
        if not link.sync.ok:
            why = f"{name}: the exchange's clock cannot be measured: {link.sync.why}"
            if not self.options.signed and link.plan.network is not Network.SIM:
                why += "; without a network, `--sim` runs on the built-in simulator"
            raise WorldError(why)
        self._facts[name] = await read_facts(link, self.plan)
        if name in self.credentials:
            add_orders(
                link, self.plan, self.credentials[name], self.sink, self.clock, self.notice,
                lambda stage, ns: self.parts.collector.stages.record(stage, ns),
            ).last_fill_ms = self.folder.fills_since_ms  # fmt: skip
            self._facts[name] = await startup.check_account(
                link, self.plan, self._facts[name], self._warn
            )

    def _assemble(self) -> None:
        self.parts = assemble(
            self.plan,
            self.run_id,
            self._facts,
            restored=self.folder.restored,
            adopt=self.options.adopt,
        )
        parts = self.parts
        orders: Orders
        agenda: Agenda | None = None
        if self.options.signed:
            orders = LiveOrders({n: x.orders for n, x in self.links.items() if x.orders})
        else:
            self.desk = PaperDesk(
                self.plan,
                parts.instruments,
                parts.books,
                self.run_id,
                balance=self.options.balance,
            )
            orders = agenda = self.desk
            parts.observers.append(PaperReadiness(self))
        parts.observers += [
            FirstPictures(self.credentials, self._judge_account),
            HaltedWord(self.folder),
            self.folder.decisions,
        ]
        parts.observers.append(self.folder.log)
        if self.office is not None:
            messenger = self.office.open(parts.engine, self.run_id, self.clock, self._warn)
            parts.observers += [messenger] if messenger is not None else []
        self.host, self.driver = host_of(
            parts, orders, self.folder.journal, agenda=agenda, resync=self._resync,
            mono=self.clock.mono,
        )  # fmt: skip
        self._alarm = Alarm(self.driver, self.clock)
        self._drilling = Drilling(parts.engine.drill, self._warn)
        tape: FrameTape = self.folder.begin_recording(self.host, self.options.adopt)
        if isinstance(tape, EventTape):
            parts.observers.append(tape)
            self.host.observers = tuple(parts.observers)
        for link in self.links.values():
            add_feed(
                link, self.plan, self.sink_frame, self.clock, tape, self.notice,
                parts.collector.stages.record, self._before,
            )  # fmt: skip

    async def _trade(self) -> None:
        control = await self.folder.listen(self.answer)
        try:
            await self._until_stopped()
        finally:
            await control.close()

    async def _until_stopped(self) -> None:
        self._begin()
        tasks = self._tasks()
        stopper = asyncio.create_task(self._stopper())
        try:
            done, _ = await asyncio.wait([stopper, *tasks], return_when=asyncio.FIRST_COMPLETED)
            if stopper not in done:
                self._died(next(iter(done)))
        finally:
            stopper.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(stopper, *tasks, return_exceptions=True)
        self._end()

    def _begin(self) -> None:
        """Tell the engine what was found out before it existed, then let events in."""
        t, wall = self.clock.mono(), self.clock.wall()
        for name, facts in self._facts.items():
            self.sink(facts_event(name, facts, t, wall))
        early, self._early = self._early, []
        self._ready = True
        halted = self.folder.state.halted()
        if halted is not None:
            lift = f"`runner resume {self.folder.state.name} --yes` lifts it"
            self.folder.log.tell(Level.WARNING, "run", f"halted before this start; {lift}")
            self.operate("halt", who=halted.who, why=halted.why or halted.code)
        for event in early:
            self.sink(event)
        if self.desk is not None:
            for name in self.plan.exchanges:
                self.sink(Ready(exchange=name, state=Readiness.RECONCILING, t=t, wall=wall))
                self.desk.reconcile(Reconcile(exchange=name, reason="start"), t, wall)
        self._alarm.set()

    def _tasks(self) -> list[asyncio.Task[None]]:
        journal, engine = self.folder.journal, self.parts.engine
        work = [flushing(journal, lambda: engine.quiet, self._host_fault)]
        work += [self._warm(), self.folder.record(), self.folder.keep_decisions()]
        work.append(Health(self.clock, self._host_fault, read_memory).run())
        work += self.listening.tasks()
        for link in self.links.values():
            assert link.feed is not None
            work += [link.feed.run(), link.sync.run()]
            if link.orders is not None:
                work.append(link.orders.run())
        if self.office is not None:
            work += self.office.tasks(engine, self.run_id, lambda: self.host.handled, self._warn)
        return [asyncio.create_task(each) for each in work]

    async def _warm(self) -> None:
        """Fill windows from bars, then wait: a task of the run does not end before it."""
        history = await read_history(
            self.links, self.parts, self.clock, self.folder.windows, self._warn
        )
        if history is not None:
            self.sink(history)
        while True:
            await asyncio.sleep(_SAVE_WINDOWS_S)
            self._save_windows()
            gather.keep(self.parts.engine, self.folder.journal, whole=False)

    def _save_windows(self) -> None:
        """Keep the windows' state for the next start (trading.md, section 7)."""
        state = self.parts.engine.desk.program.state(self.clock.mono())
        self.folder.journal.save(WINDOWS, msgspec.json.encode(state), self.clock.wall())

    # -- events

    def sink(self, event: Event) -> None:
        """Hand an event on, timers first."""
        if not self._ready:
            self._early.append(event)
            return
        self.driver.advance(event.t, event.wall)
        self.driver.feed(event)
        self._alarm.set()

    def sink_frame(self, event: Event) -> None:
        """Hand on an event of a frame, before which `_before` was called."""
        self.driver.feed(event)
        self._alarm.set()
        self._drilling.heard(event.t)
        self._polling.heard(event.t)

    def _before(self, t: int, wall: int) -> None:
        if self.driver.due <= t:
            self.driver.advance(t, wall)

    def _on_clock(self, event: ClockReading) -> None:
        self.sink(event)

    def _resync(self, command: object) -> None:
        assert isinstance(command, Resync)
        link = self.links[self.plan.markets[command.market].exchange]
        assert link.feed is not None
        link.feed.resync(command.market)

    def notice(self, exchange: str, text: str) -> None:
        """Write down something a person may want to know."""
        self.folder.log.tell(Level.WARNING, exchange, text)

    def _warn(self, text: str) -> None:
        """Remember what the start found, for `status`, and write it down."""
        self.warnings.append(text)
        self.folder.log.warn(text)

    def answer(self, command: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer one line of the control socket; ValueError for what cannot be done."""
        return control_answers.answer(self, command, fields)

    def operate(self, command: str, **fields: str) -> None:
        """Hand an operator's command to the engine."""
        t, wall = self.clock.mono(), self.clock.wall()
        self.sink(Operator(command=command, t=t, wall=wall, **fields))

    def _host_fault(self, fault: str, text: str, ok: bool = False) -> None:
        t, wall = self.clock.mono(), self.clock.wall()
        self.sink(HostEvent(fault=fault, text=text, ok=ok, t=t, wall=wall))

    # -- the end

    def stop(self, reason: str) -> None:
        """Ask the run to end."""
        self._stop_reason = self._stop_reason or reason
        self._stopping.set()

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for each in that_end():
            loop.add_signal_handler(each, self._signalled, each.name)
        loop.add_signal_handler(
            signal.SIGUSR1, lambda: self.operate("halt", who="signal", why="SIGUSR1")
        )

    def _judge_account(self) -> None:
        """Refuse an account that the journal does not explain, unless it is to be adopted."""
        found = ruleless(self.parts.engine)
        if not self.options.adopt:
            found += unexplained(self.parts.engine)
        if found:
            self.ending = Ending(3, f"refused to start: {'; '.join(found)}")
            self.stop("the account is not as the journal says")

    def _signalled(self, name: str) -> None:
        self._signals += 1
        if self._signals > 1:
            raise SystemExit(130)
        self.stop(name)

    async def _stopper(self) -> None:
        """Wait for the end that was asked for, then let the engine settle."""
        seconds = None if self.options.run_for_ns is None else self.options.run_for_ns / NS_PER_S
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            self._stop_reason = "the time given by --for is over"
        self.folder.log.say(f"stopping: {self._stop_reason}")
        if self.ending.code:
            return  # a refused start does not act by `on_stop`: it has no business with the account
        crash_point("stop_before_cancel")
        self.operate("stop", who="runner", why=self._stop_reason)
        crash_point("stop_after_cancel")
        deadline = self.clock.mono() + self.plan.run.stop_within_ns
        while True:
            await asyncio.sleep(_LOOK_S)
            if settled(self.parts.engine, self.plan.run) or self.clock.mono() >= deadline:
                return

    def _died(self, task: asyncio.Task[None]) -> None:
        """A task that must live has ended: say so in the journal, then fail loudly."""
        error = task.exception() if not task.cancelled() else None
        self._host_fault("task", f"{type(error).__name__}: {error}")
        self.folder.journal.flush()
        if error is not None:
            raise error
        raise RuntimeError("a task of the run ended by itself")

    def _end(self) -> None:
        engine = self.parts.engine
        gather.keep(engine, self.folder.journal, self.host.paths, whole=True)
        self.parts.collector.end(self.clock.mono(), self.clock.wall())
        ledgers = engine.desk.ledgers
        self.parts.collector.notes += compare(self.parts.collector, ledgers, ledgers.external)
        if not self.ending.code:
            self.ending = ending_of(engine, self.plan.run, self._stop_reason)
