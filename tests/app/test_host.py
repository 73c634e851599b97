"""The host keeps the order of things: timers first, journal before wire, one event at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from runner.app.host import FAR, Host
from runner.base.errors import WorldError
from runner.engine.commands import Cancel, Command, Record, Send
from runner.engine.events import Event, Mark, Operator, Reject, Timer
from runner.engine.events import Host as HostEvent


class ScriptedEngine:
    """Answers each event with what `reply` says, and remembers what it was given."""

    def __init__(self, reply: Callable[[Event], Sequence[Command]] = lambda event: ()) -> None:
        self.due = FAR
        self.seen: list[Event] = []
        self.reply = reply

    def handle(self, event: Event) -> Sequence[Command]:
        self.seen.append(event)
        if isinstance(event, Timer):
            self.due = FAR
        return self.reply(event)

    def later(self) -> Sequence[Command]:
        return ()

    def lasting(self) -> Sequence[Command]:
        return ()


class Tape:
    """Orders and journal in one, writing down who was called when."""

    def __init__(self, journal_fails: bool = False) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fails = journal_fails

    def commit(self, approved: Sequence[Any]) -> list[Any]:
        self.calls.append(("commit", len(approved)))
        if self.fails:
            raise WorldError("disk full")
        return list(approved)

    def record(self, kind: str, fields: Any, t: int, wall: int) -> None:
        self.calls.append(("record", kind))

    def event(self, event: Event) -> None: ...

    def save(self, key: str, value: bytes, wall: int) -> None: ...

    def claim(self, key: str, wall: int) -> bool:
        return True

    def send(self, orders: list[Any], t: int, wall: int) -> None:
        self.calls.append(("send", len(orders)))

    def cancel(self, command: Cancel, t: int, wall: int) -> None:
        self.calls.append(("cancel", command.cid))

    cancel_all = query = reconcile = cancel

    def amend(self, order: Any, t: int, wall: int) -> None:
        self.calls.append(("amend", order))


class FakeApproved:
    """Stands for the gate's proof, which only the gate can make."""

    class intent:
        cid = "r1"


def send() -> Send:
    return Send(group=1, orders=(FakeApproved(),))  # type: ignore[arg-type]


def test_intents_are_committed_before_anything_is_sent() -> None:
    tape = Tape()
    Host(ScriptedEngine(lambda e: (send(),)), tape, tape).feed(Mark(market="m", price=1.0))
    assert tape.calls == [("commit", 1), ("send", 1)]


def test_when_the_journal_fails_nothing_is_sent_and_the_engine_hears_of_both() -> None:
    tape = Tape(journal_fails=True)
    engine = ScriptedEngine(lambda e: (send(),) if isinstance(e, Mark) else ())
    Host(engine, tape, tape).feed(Mark(market="m", price=1.0, t=5, wall=6))
    assert tape.calls == [("commit", 1)]
    fault, reject = engine.seen[1:]
    assert isinstance(fault, HostEvent) and fault.fault == "journal" and fault.t == 5
    assert isinstance(reject, Reject) and (reject.cid, reject.code) == ("r1", "journal")


def test_a_timer_that_is_due_comes_before_the_event() -> None:
    engine = ScriptedEngine()
    engine.due = 10
    tape = Tape()
    Host(engine, tape, tape).feed(Mark(market="m", price=1.0, t=12))
    assert [type(e) for e in engine.seen] == [Timer, Mark]
    assert engine.seen[0].due == 10 and engine.seen[0].t == 12  # type: ignore[attr-defined]


def test_a_timer_that_does_not_move_on_is_a_bug_said_aloud() -> None:
    class Stuck(ScriptedEngine):
        def handle(self, event: Event) -> Sequence[Command]:
            return ()

    engine = Stuck()
    engine.due = 10
    with pytest.raises(RuntimeError, match="does not move on"):
        Host(engine, Tape(), Tape()).tick(11, 11)


def test_an_event_that_arises_inside_a_command_waits_its_turn() -> None:
    tape = Tape()
    engine = ScriptedEngine(
        lambda e: (
            (Record(kind="a", fields={}), Record(kind="b", fields={}))
            if isinstance(e, Mark)
            else ()
        )
    )
    host = Host(engine, tape, tape)

    class Nosy:
        def event(self, event: Event) -> None: ...

        def command(self, command: Command, t: int) -> None:
            host.feed(Operator(command="status"))

    host.observers = (Nosy(),)
    host.feed(Mark(market="m", price=1.0))
    assert tape.calls == [("record", "a"), ("record", "b")]
    assert [type(e) for e in engine.seen] == [Mark, Operator, Operator]
