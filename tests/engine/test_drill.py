"""A drill walks the way of an entry, and nothing that is decided, told or saved knows of it."""

from __future__ import annotations

from typing import Any

import pytest

from runner.engine.commands import Send
from runner.engine.scenario import Scenario
from runner.engine.timers import MS, SECOND
from tests.engine.life import Life
from tests.engine.stage import arb_plan, stage, widen
from tests.engine.test_storms import Beside, Guarded, Maker, Shared, Worked


def lived(life: type[Life], seed: int, *, drilled: bool) -> tuple[list[str], int]:
    """Play a life; return all commands of all its processes, and how many drills walked the way."""
    told: list[str] = []
    walked = 0

    class Watched(life):  # type: ignore[misc, valid-type]
        def begin(self, old: Scenario | None) -> Any:
            if old is not None:
                told.extend(f"{t} {command!r}" for t, command in old.log)
            return super().begin(old)

        def law(self) -> None:
            nonlocal walked
            super().law()
            if drilled:
                walked += self.s.engine.drill()

    alive = Watched(life.__name__, seed)
    alive.play()
    told.extend(f"{t} {command!r}" for t, command in alive.s.log)
    return told, walked


@pytest.mark.parametrize("life", [Guarded, Beside, Worked, Shared, Maker])
def test_a_life_goes_the_same_way_with_drills_after_every_event(life: type[Life]) -> None:
    for seed in (3, 4):
        plain, _ = lived(life, seed, drilled=False)
        drilled, walked = lived(life, seed, drilled=True)
        assert drilled == plain
        assert walked > 0 or life is Maker, "a quote is sized otherwise, and has no drill"


def test_a_drill_sends_nothing_and_gives_no_name_away() -> None:
    s = stage()
    desk = s.engine.desk
    before = (desk.ordinal, len(desk.orders.all), dict(desk.gate.recent), list(desk.gate.entries))
    assert all(s.engine.drill() for _ in range(10))
    after = (desk.ordinal, len(desk.orders.all), dict(desk.gate.recent), list(desk.gate.entries))
    assert before == after and not desk.out and not desk.after
    widen(s)
    s.run(10 * MS)
    assert len(s.commands(Send)) == 1, "what a drill has named is still free"


def test_only_a_rule_that_waits_is_drilled() -> None:
    s = stage(arb_plan())
    widen(s)
    s.run(1 * SECOND)
    walked = [s.engine.drill() for _ in range(4)]
    assert walked.count(True) == 2, "one rule holds a trade, the other waits"
