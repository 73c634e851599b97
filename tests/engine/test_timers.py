"""Timers fire in the order of their deadlines, equal ones in the order they were set."""

from __future__ import annotations

from runner.engine.timers import NEVER, Timers


def test_order_of_firing_and_the_next_deadline() -> None:
    timers, seen = Timers(), []
    assert timers.due == NEVER
    for due, name in ((5, "c"), (3, "a"), (3, "b"), (9, "d")):
        timers.at(due, seen.append, name)
    assert timers.due == 3
    timers.run(5)
    assert seen == ["a", "b", "c"]
    assert timers.due == 9


def test_a_timer_set_while_firing_fires_too_when_it_is_due() -> None:
    timers, seen = Timers(), []
    timers.at(1, lambda _: timers.at(2, seen.append, "inner"))
    timers.run(2)
    assert seen == ["inner"]
    assert timers.due == NEVER
