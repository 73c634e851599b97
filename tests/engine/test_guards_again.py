"""Stops and targets that an outage kept from standing: placed when the exchange is back."""

from __future__ import annotations

import pytest

from runner.engine.commands import OrderType, Purpose, Trace
from runner.engine.events import Operator
from runner.engine.guarding import CHANCES
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from tests.engine import test_guards
from tests.engine.test_guards import RULE, Signal, enter, restarted
from tests.engine.test_restart import journal
from tests.engine.test_targets import TARGET, closed_by, lost, scene, standing, targets


def cut_off(stop: float | None = None) -> tuple[Scenario, Signal, test_guards.Knobs]:
    """A trade whose exchange went away between its fill and its target."""
    s, signal, knobs = scene(stop=stop)
    s.exchanges["binance"].targets.append(Fate.LOST)
    enter(s, signal, 300 * MS)
    s.exchanges["binance"].go_down()
    s.run(10 * SECOND)
    assert s.truth("bin") and s.state(RULE) == "active"
    assert OrderType.TARGET not in {i.type for i in standing(s)}
    return s, signal, knobs


def back(s: Scenario, for_ns: int = 3 * SECOND) -> None:
    s.exchanges["binance"].come_up()
    s.run(for_ns)


def chances(s: Scenario) -> list[str]:
    return [t.cause for t in s.commands(Trace) if "is tried again" in t.cause]


@pytest.mark.parametrize("stop", [None, 59_800.0])
def test_a_target_that_an_outage_kept_out_is_placed_when_the_exchange_is_back(
    stop: float | None,
) -> None:
    s, _, _ = cut_off(stop)
    assert len(lost(s)) == 1 and "until binance, which is down, is back" in lost(s)[0]
    back(s)
    (target,) = [i for i in standing(s) if i.type is OrderType.TARGET]
    assert target.lots == s.truth("bin") and s.state(RULE) == "active"
    assert chances(s) == [f"binance is back: its target is tried again, 1 / {CHANCES}"]
    assert f"{RULE}: its target stands again" in texts(s)
    s.run(60 * SECOND)
    s.exchanges["binance"].fire("bin", 1.0, OrderType.TARGET)
    s.run(SECOND)
    assert s.truth("bin") == 0 and standing(s) == [] and closed_by(s) == ["target"]


def texts(s: Scenario) -> list[str]:
    return [c.text for _, c in s.log if hasattr(c, "level")]


def test_it_is_tried_again_only_so_often() -> None:
    s, _, _ = cut_off()
    binance = s.exchanges["binance"]
    for _ in range(CHANCES + 3):
        binance.targets.extend([Fate.LOST, Fate.LOST])
        back(s)
        binance.go_down()
        s.run(5 * SECOND)
    binance.targets.clear()
    back(s, 60 * SECOND)
    assert len(chances(s)) == CHANCES and standing(s) == []
    assert len(targets(s)) == 1 + 2 * CHANCES and s.state(RULE) == "active"
    assert "until" not in lost(s)[-1]


@pytest.mark.parametrize("halted", [False, True])
def test_a_price_that_passed_it_meanwhile_closes_the_trade_as_it_would_have(halted: bool) -> None:
    s, _, _ = cut_off()
    if halted:
        s.push(Operator(command="halt", who="ann"))
    s.quote("bin", TARGET + 20, TARGET + 20.1)
    back(s)
    if halted:
        assert s.truth("bin") and len(standing(s)) == 1
    else:
        assert s.truth("bin") == 0 and closed_by(s) == ["target"] and standing(s) == []
        assert [i.purpose for i in s.sent][2:] == [Purpose.CLOSE]


def test_a_restart_gives_it_the_chance_too() -> None:
    s, _, knobs = cut_off()
    again = restarted(s, journal(s), knobs)
    again.run(3 * SECOND)
    assert [i.type for i in standing(again)] == [OrderType.TARGET] and len(again.sent) == 1


def test_one_that_the_exchange_has_refused_is_not_tried_again() -> None:
    s, signal, _ = scene()
    s.exchanges["binance"].targets.extend([Fate.REJECTED, Fate.REJECTED])
    enter(s, signal, 3 * SECOND)
    assert len(targets(s)) == 2
    s.exchanges["binance"].go_down()
    s.run(3 * SECOND)
    back(s)
    assert len(targets(s)) == 2 and chances(s) == [] and s.state(RULE) == "active"


@pytest.mark.parametrize("refused", ["close", "keep"])
def test_a_stop_that_never_left_was_refused_by_nobody(refused: str) -> None:
    s, signal, _ = test_guards.scene(if_refused=refused)
    s.exchanges["binance"].stops.append(Fate.UNSENT)
    enter(s, signal, 300 * MS)
    assert s.state(RULE) == "active" and s.truth("bin")
    s.run(2 * SECOND)
    assert [i.lots for i in standing(s)] == [s.truth("bin")] and test_guards.pages(s) == []


@pytest.mark.parametrize("refused", ["close", "keep"])
def test_one_that_never_leaves_is_missing_and_is_not_tried_in_a_loop(refused: str) -> None:
    s, signal, _ = test_guards.scene(if_refused=refused)
    s.exchanges["binance"].stops.extend([Fate.UNSENT] * 99)
    enter(s, signal, 10 * SECOND)
    assert len(test_guards.stops(s)) == 2
    assert s.truth("bin") == 0 and closed_by(s) == ["stop missing"]
