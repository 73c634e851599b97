"""The driver fires what is due in the order of time, and never from inside the host."""

from __future__ import annotations

from collections.abc import Sequence

from runner.app.driver import Driver
from runner.app.host import FAR, Host
from runner.engine.commands import Command, Record
from runner.engine.events import Event, Mark, Operator, Timer
from tests.app.test_host import ScriptedEngine, Tape


class Due(ScriptedEngine):
    """Has timers at the given times."""

    def __init__(self, *times: int) -> None:
        super().__init__()
        self.times = list(times)
        self.due = self.times[0] if times else FAR

    def handle(self, event: Event) -> Sequence[Command]:
        self.seen.append(event)
        if isinstance(event, Timer):
            self.times.pop(0)
            self.due = self.times[0] if self.times else FAR
        return (Record(kind="a", fields={}),) if isinstance(event, Mark) else ()


class Agenda:
    """Something else with a timer."""

    def __init__(self, due: int) -> None:
        self.due = due
        self.markets: list[Event] = []

    def on_timer(self, t: int, wall: int) -> list[Event]:
        self.due = FAR
        return [Operator(command=f"at {t}", t=t, wall=wall)]

    def on_market(self, event: Event) -> None:
        self.markets.append(event)


def test_timers_of_engine_and_agenda_come_in_the_order_they_were_due() -> None:
    engine, tape, agenda = Due(10, 30), Tape(), Agenda(20)
    driver = Driver(Host(engine, tape, tape), agenda, virtual=True)
    assert driver.due == 10
    driver.advance(40, 1_040)
    driver.feed(Mark(market="m", price=1.0, t=40, wall=1_040))
    assert [(type(e), e.t, e.wall) for e in engine.seen] == [
        (Timer, 10, 1_010),
        (Operator, 20, 1_020),
        (Timer, 30, 1_030),
        (Mark, 40, 1_040),
    ]
    assert [e.t for e in agenda.markets] == [40]


def test_on_a_real_clock_timers_fire_when_we_got_round_to_them() -> None:
    engine, tape = Due(10), Tape()
    Driver(Host(engine, tape, tape)).advance(25, 1_025)
    assert [(e.t, e.wall) for e in engine.seen] == [(25, 1_025)]


def test_advancing_from_inside_a_command_fires_nothing_and_returns() -> None:
    """It looped for ever once: a budget told of an order while the host was sending it."""
    engine, tape = Due(10), Tape()
    host = Host(engine, tape, tape)
    driver = Driver(host)

    class Teller:
        def event(self, event: Event) -> None: ...

        def command(self, command: Command, t: int) -> None:
            driver.advance(50, 50)
            driver.feed(Operator(command="told", t=50, wall=50))

    host.observers = (Teller(),)
    driver.feed(Mark(market="m", price=1.0, t=5, wall=5))
    assert [type(e) for e in engine.seen] == [Mark, Timer, Operator], "what waited, timers first"
