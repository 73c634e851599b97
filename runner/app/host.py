"""The host: carries events to the engine and the engine's commands to the world.

The engine is pure; the host is what surrounds it in every mode. Live, dry-run, replay, bench and
tests differ in what stands behind `Orders` and in who calls `feed`: the order of things is the
same. One event is handled to its end before the next: an event that arises while commands are
carried out (a journal that fails, an order refused locally) waits in line.

Order of a `Send`: the journal commits the intents of the group in one transaction, and only what
it hands back goes to the sender (R-01, R-64). When the journal fails, nothing is sent and the
engine is told. What can wait (`later`: traces) is asked for when the commands were carried out;
what lasts (`lasting`: the youngest state of rules and run) when the journal is about to be written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from runner.base.clock import stopwatch_ns
from runner.base.crash import crash_point
from runner.base.errors import RunnerError
from runner.engine.commands import (
    Amend,
    Cancel,
    CancelAll,
    Command,
    Notify,
    Query,
    Reconcile,
    Record,
    Resync,
    RunState,
    Send,
    Trace,
)
from runner.engine.events import (
    Account,
    Ack,
    AmendReply,
    Bar,
    Budget,
    ClockReading,
    Depth,
    Event,
    Funding,
    Mark,
    Operator,
    Pulse,
    Reject,
    Timer,
    Top,
    Trade,
)
from runner.engine.events import Host as HostEvent
from runner.engine.proof import Approved, Journaled

FAR = 1 << 62
_PATHS = 512
Scalar = str | int | float | bool | None
_NOT_JOURNALED = frozenset(
    (Top, Depth, Trade, Mark, Funding, Bar, Timer, Budget, ClockReading, Account, Pulse)
)
"""what only the recording keeps: it comes often and a restart asks for it anew"""
_LASTING = frozenset(("rule", "run", "source_row"))
"""rows that a restart takes over (engine/snapshot.py)"""


class EngineApi(Protocol):
    """What the host needs of an engine."""

    @property
    def due(self) -> int: ...
    def handle(self, event: Event) -> Sequence[Command]: ...
    def later(self) -> Sequence[Command]: ...
    def lasting(self) -> Sequence[Command]: ...


class Orders(Protocol):
    """The order side: paper, sockets, or a script. Answers come back as events, later."""

    def send(self, orders: list[Journaled], t: int, wall: int) -> None: ...
    def amend(self, order: Journaled, t: int, wall: int) -> None: ...
    def cancel(self, command: Cancel, t: int, wall: int) -> None: ...
    def cancel_all(self, command: CancelAll, t: int, wall: int) -> None: ...
    def query(self, command: Query, t: int, wall: int) -> None: ...
    def reconcile(self, command: Reconcile, t: int, wall: int) -> None: ...


class JournalApi(Protocol):
    """What the host needs of a journal."""

    def commit(self, approved: Sequence[Approved]) -> list[Journaled]: ...
    def record(self, kind: str, fields: Mapping[str, Scalar], t: int, wall: int) -> None: ...
    def save(self, key: str, value: bytes, wall: int) -> None: ...
    def claim(self, key: str, wall: int) -> bool: ...
    def event(self, event: Event) -> None: ...


class Observer(Protocol):
    """Someone who watches a run: the report's collector, the decision stream, the control.

    It sees an event before the engine does, and the commands of an event once they were all
    carried out, before the next event.
    """

    def event(self, event: Event) -> None: ...
    def command(self, command: Command, t: int) -> None: ...


class Host:
    """Connects one engine to one set of orders, one journal and any number of observers."""

    def __init__(
        self,
        engine: EngineApi,
        orders: Orders,
        journal: JournalApi,
        *,
        observers: Sequence[Observer] = (),
        resync: Callable[[Resync], None] | None = None,
        stages: Callable[[str, int], None] | None = None,
        mono: Callable[[], int] | None = None,
    ) -> None:
        self.engine = engine
        self.orders = orders
        self.journal = journal
        self.observers = tuple(observers)
        self.handled = 0
        self.ticking = False
        """a timer is fired by the alarm, not in front of an event"""
        self._resync = resync
        self._stage = stages
        self._mono = mono
        self.paths: dict[int, tuple[tuple[str, float], ...]] = {}
        """by the time of an event that led to something: (step, us since it was read), where a
        clock runs; the last `_PATHS`"""
        self._steps: list[tuple[str, int]] = []
        """steps of the event at hand, monotonic ns: they are worked out once it is carried out"""
        self._last: Event = Timer(due=0)
        self._waiting: deque[Event] = deque()
        self._busy = False
        self._do: dict[type[Command], Callable[..., None]] = {
            Send: self._send,
            Amend: self._amend,
            Cancel: self._cancel,
            CancelAll: lambda c, t, w: self.orders.cancel_all(c, t, w),
            Query: lambda c, t, w: self.orders.query(c, t, w),
            Reconcile: lambda c, t, w: self.orders.reconcile(c, t, w),
            Resync: self._ask_resync,
            Record: self._record,
            Trace: lambda c, t, w: None,  # for those who watch; its row comes with `lasting`
            RunState: self._record_state,
            Notify: self._record_notify,
        }

    @property
    def due(self) -> int:
        """Monotonic ns at which the engine wants a timer."""
        return self.engine.due

    @property
    def busy(self) -> bool:
        """Whether an event is being handled: another one then waits, and no timer fires."""
        return self._busy

    def feed(self, event: Event) -> None:
        """Hand an event to the engine, timers that are due before it first."""
        if self._busy:
            self._waiting.append(event)
            return
        self._busy = True
        try:
            if event.t >= self.engine.due:
                self._timers(event.t, event.wall)
            self._one(event)
            while self._waiting:
                self._in_turn(self._waiting.popleft())
        finally:
            self._busy = False

    def tick(self, t: int, wall: int) -> None:
        """Fire the engine's timers that are due at `t`."""
        if self._busy or t < self.engine.due:
            return
        self._busy = self.ticking = True
        try:
            self._timers(t, wall)
            self.ticking = False
            while self._waiting:
                self._in_turn(self._waiting.popleft())
        finally:
            self._busy = self.ticking = False

    def _in_turn(self, event: Event) -> None:
        """Handle an event after the timers before it: as a replay, which sees it arrive, will."""
        if event.t >= self.engine.due:
            self._timers(event.t, event.wall)
        self._one(event)

    def _timers(self, t: int, wall: int) -> None:
        due = self.engine.due
        while due <= t:
            self._one(Timer(due=due, t=t, wall=wall))
            if self.engine.due <= due:
                raise RuntimeError(f"the engine's timer at {due} does not move on")
            due = self.engine.due

    def _one(self, event: Event) -> None:
        self.handled += 1
        self._last = event
        for observer in self.observers:
            observer.event(event)
        if type(event) not in _NOT_JOURNALED:
            if type(event) is Ack:
                crash_point("before_ack_journaled")
            self.journal.event(event)
        commands = self.engine.handle(event)
        if commands:
            if self._mono is not None:
                self._steps.append(("decided", self._mono()))
            if type(event) is Operator:
                crash_point("halt_before_cancel")
            self._carry_out(commands, event.t, event.wall)
            if self._steps:
                self._keep_steps(event.t)
            self._carry_out(self.engine.later(), event.t, event.wall)
            if type(event) is Operator:
                crash_point("halt_after_cancel")

    def keep(self) -> None:
        """Hand the journal what must outlive the process, as it is after the last event."""
        self._carry_out(self.engine.lasting(), self._last.t, self._last.wall)

    def _carry_out(self, commands: Sequence[Command], t: int, wall: int) -> None:
        """Carry out all commands, then let them be seen: nobody watches before an order left.

        What carrying them out brings about waits in line, so that observers see the same order of
        things either way.
        """
        for command in commands:
            self._do[type(command)](command, t, wall)
        for command in commands:
            for observer in self.observers:
                observer.command(command, t)

    def _send(self, command: Send, t: int, wall: int) -> None:
        stage = self._stage
        start = stopwatch_ns() if stage else 0
        try:
            journaled = self.journal.commit(command.orders)
        except RunnerError as error:
            self._journal_failed(str(error), command, t, wall)
            return
        end = stopwatch_ns() if stage else 0
        if self._mono is None:
            self.orders.send(journaled, t, wall)
        else:
            self._steps.append(("journaled", self._mono()))
            self.orders.send(journaled, t, wall)
            self._steps.append(("sent", self._mono()))
        if stage:
            stage("journal", end - start)

    def _keep_steps(self, t: int) -> None:
        """Keep how long after its event, which came at `t`, each step was done."""
        steps = [(name, (at - t) / 1000) for name, at in self._steps]
        self._steps.clear()
        self.paths[t] = (*self.paths.get(t, ()), *steps)
        if len(self.paths) > _PATHS:
            del self.paths[next(iter(self.paths))]

    def _amend(self, command: Amend, t: int, wall: int) -> None:
        try:
            (journaled,) = self.journal.commit((command.order,))
        except RunnerError as error:
            self._waiting.append(HostEvent(fault="journal", text=str(error), t=t, wall=wall))
            self._waiting.append(_never_changed(command.order, t, wall))
            return
        self.orders.amend(journaled, t, wall)

    def _cancel(self, command: Cancel, t: int, wall: int) -> None:
        crash_point("cancel_before_send")
        self.orders.cancel(command, t, wall)
        crash_point("cancel_after_send")

    def _journal_failed(self, text: str, command: Send, t: int, wall: int) -> None:
        """Nothing of the group left this process: say so of each order, and stop new risk."""
        self._waiting.append(HostEvent(fault="journal", text=text, t=t, wall=wall))
        for approved in command.orders:
            self._waiting.append(_never_left(approved, t, wall))

    def _ask_resync(self, command: Resync, t: int, wall: int) -> None:
        if self._resync is not None:
            self._resync(command)

    def _record(self, command: Record, t: int, wall: int) -> None:
        """Journal a row; what outlives the process is kept by name, the youngest standing.

        How an order moved needs no row beside the event that tells it.
        """
        fields = command.fields
        if command.kind == "order" and fields["cid"] == getattr(self._last, "cid", None):
            return
        if command.kind in _LASTING:
            key = ".".join(filter(None, (command.kind, str(fields.get("name") or ""))))
            self.journal.save(key, str(fields["json"]).encode(), wall)
            return
        if command.kind == "claim":  # the engine knows all keys of earlier runs (`Saved.keys`)
            self.journal.claim(str(fields["key"]), wall)
        if command.kind == "day":
            crash_point("day_roll")
        self.journal.record(command.kind, fields, t, wall)

    def _record_state(self, command: RunState, t: int, wall: int) -> None:
        fields = {"state": command.state, "code": command.code, "text": command.text}
        self.journal.record("run_state", fields, t, wall)

    def _record_notify(self, command: Notify, t: int, wall: int) -> None:
        self.journal.record("notify", {"level": command.level, "text": command.text}, t, wall)


def _never_changed(approved: Approved, t: int, wall: int) -> Event:
    return AmendReply(
        cid=approved.intent.cid,
        ok=False,
        outcome="rejected",
        code="journal",
        text="the journal could not be written; the change was not sent",
        t=t,
        wall=wall,
    )


def _never_left(approved: Approved, t: int, wall: int) -> Event:
    return Reject(
        cid=approved.intent.cid,
        outcome="rejected",
        code="journal",
        text="the journal could not be written; the order was not sent",
        t=t,
        wall=wall,
    )
