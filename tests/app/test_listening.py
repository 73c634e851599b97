"""The doors of a run: what breaks behind one ends the run, stand-ins, what is counted."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import pytest

from runner import spec
from runner.app.listening import Listening, references
from runner.app.run_log import Level
from runner.base.clock import VirtualClock
from runner.base.secret import Secret
from runner.engine.core import Engine
from runner.engine.events import Event, Pulse, Signal
from runner.sources.door import Accepted, Flaw, Refused
from tests.app.test_calendar_replay import STRATEGY
from tests.engine import sourcelab
from tests.engine.test_sources import NEWS

SECOND = 1_000_000_000


class NoPurses:
    """Keeps no spending: the strategy asks no language model."""

    def saved(self, source: str) -> bytes:
        return b""

    def save(self, source: str, spent: bytes) -> None:
        raise AssertionError(source)


class Run:
    """A run that writes down what it is told, or breaks."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.notices: list[str] = []
        self.broken = False
        self.clock = VirtualClock()
        checked = spec.load(STRATEGY)
        assert checked.plan is not None
        self.listening = Listening(
            checked.plan, {"sources.voc": Secret("open-sesame")}, self.clock, "run", self.sink,
            self.notice, NoPurses(),
        )  # fmt: skip

    def sink(self, event: Event) -> None:
        if self.broken:
            raise ZeroDivisionError("in the engine")
        self.events.append(event)

    def notice(self, level: Level, source: str, text: str) -> None:
        self.notices.append(f"{source}: {text}")


async def _breaks() -> None:
    run = Run()
    await run.listening.open(cast(Engine, cast(Any, None)))
    try:
        assert run.listening.ports["voc"] > 0
        *others, watch_ = run.listening.tasks()
        for other in others:
            other.close()
        watch = asyncio.create_task(watch_)
        await asyncio.sleep(0)
        run.broken = True
        with pytest.raises(ZeroDivisionError):
            run.listening.hear("voc", Accepted("a", {"id": "a"}, 0), 1)
        with pytest.raises(ZeroDivisionError):
            await watch
    finally:
        await run.listening.close()


def test_an_error_behind_a_door_ends_a_task_of_the_run() -> None:
    asyncio.run(_breaks())


def test_a_message_becomes_an_event_with_the_run_s_own_times() -> None:
    run = Run()
    run.clock.advance(5 * SECOND)
    run.listening.hear("voc", Accepted("a", {"id": "a"}, 0), 77)
    (event,) = run.events
    assert isinstance(event, Signal) and (event.t, event.sent_at) == (5 * SECOND, 77)
    assert event.wall == run.clock.wall()


def test_signs_of_life_are_told_once_a_second_and_each_change_at_once() -> None:
    run = Run()
    for _ in range(3):
        run.listening.pulse("voc", True)
    run.listening.pulse("voc", False, "gone")
    run.listening.pulse("voc", False, "gone")
    run.listening.pulse("voc", True)
    run.clock.advance(SECOND)
    run.listening.pulse("voc", True)
    assert [e.ok for e in run.events if isinstance(e, Pulse)] == [True, False, True, True]
    assert run.notices == ["voc: is down: gone", "voc: is back"]


def test_refusals_are_all_counted_and_written_down_now_and_then() -> None:
    run = Run()
    for _ in range(50):
        run.listening.flawed("voc", Refused(Flaw.NOT_JSON, "no JSON"))
    assert run.listening.counts["voc"].refused == {"not_json": 50} and len(run.notices) == 1
    run.clock.advance(10 * SECOND)
    run.listening.refused("voc", "token", "no")
    assert len(run.notices) == 2 and run.listening.counts["voc"].last_refusal == "token: no"


def test_a_model_is_told_of_nothing_that_is_old() -> None:
    s, run = sourcelab.listening(NEWS), Run()
    doors = run.listening
    doors.engine = s.engine
    doors.kept["headlines"] = deque(["x"])
    assert not doors.items_of("headlines"), "no answer was told of yet"
    sourcelab.pulse(s, "headlines", True)
    sourcelab.say(s, "mood", "m1", score=0.5)
    assert list(doors.items_of("headlines")) == ["x"]
    assert doors.value_of("mood") == {"score": 0.5}
    s.run(301 * SECOND)
    assert not doors.items_of("headlines") and doors.value_of("mood") == {"score": 0.5}
    s.run(1500 * SECOND)
    assert doors.value_of("mood") is None


def test_secrets_are_named_by_their_place() -> None:
    plan = Run().listening.plan
    assert list(references(plan)) == ["sources.voc"] and references(plan)["sources.voc"].env == "T"
