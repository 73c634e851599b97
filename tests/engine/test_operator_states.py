"""Each state of a rule, each thing that can come from outside: nothing breaks, nothing grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import pytest

from runner.engine.commands import Purpose
from runner.engine.events import External, Operator
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from tests.engine.stage import PAIR, R1, arb_plan, narrow, rule, stage, widen

Way = Callable[[Scenario], None]


def plain(**changes: object) -> Scenario:
    changes.setdefault("max_hold_ns", None)
    return stage(arb_plan(rule(R1, PAIR, **changes)))  # type: ignore[arg-type]


def warming() -> Scenario:
    return stage(arb_plan(rule(R1, PAIR)), warm=False)


def pending() -> Scenario:
    s = plain(for_ns=10 * SECOND)
    widen(s)
    s.run(20 * MS)
    return s


def entering() -> Scenario:
    s = plain()
    s.exchanges["bybit"].fates["byb"] = deque([Fate.LATE])
    widen(s)
    s.run(20 * MS)
    return s


def active() -> Scenario:
    s = plain()
    widen(s)
    s.run(2 * SECOND)
    return s


def leaving() -> Scenario:
    s = active()
    for exchange in s.exchanges.values():
        exchange.fates = {m: deque([Fate.NOTHING] * 3) for m in ("bin", "byb")}
    narrow(s)
    s.run(300 * MS)
    return s


def cooldown() -> Scenario:
    s = plain(cooldown_ns=30 * SECOND)
    widen(s)
    s.run(1 * SECOND)
    narrow(s)
    s.run(1 * SECOND)
    return s


def done() -> Scenario:
    s = plain(once=True)
    widen(s)
    s.run(1 * SECOND)
    narrow(s)
    s.run(1 * SECOND)
    return s


def disabled() -> Scenario:
    s = plain(cooldown_ns=0)
    for exchange in s.exchanges.values():
        exchange.default = Fate.REJECTED
    for _ in range(4):
        widen(s)
        s.run(300 * MS)
        narrow(s)
        s.run(300 * MS)
    for exchange in s.exchanges.values():
        exchange.default = Fate.FILLED
    return s


STATES: Final[dict[str, Callable[[], Scenario]]] = {
    "warming": warming, "idle": plain, "pending": pending, "entering": entering, "active": active,
    "leaving": leaving, "cooldown": cooldown, "done": done, "disabled": disabled,
}  # fmt: skip


def operator(command: str, **more: str) -> Way:
    return lambda s: s.push(Operator(command=command, who="me", **more))


def down(s: Scenario) -> None:
    s.exchanges["binance"].go_down()
    s.after(8 * SECOND, s.exchanges["binance"].come_up)


def both_down(s: Scenario) -> None:
    for exchange in s.exchanges.values():
        exchange.go_down()
        s.after(8 * SECOND, exchange.come_up)


def liquidated(s: Scenario) -> None:
    held = s.truth("bin")
    if held:
        s.exchanges["binance"].positions["BTCUSDT"] = 0
        s.push(External(exchange="binance", what="liquidation", market="bin", lots=-held,
                        price=60_000.0, id="1"))  # fmt: skip


WAYS: Final[dict[str, Way]] = {
    "halt": operator("halt"),
    "resume": operator("resume"),
    "resume rule": operator("resume", rule=R1),
    "flatten": operator("flatten"),
    "flatten rule": operator("flatten", rule=R1),
    "flatten leg": operator("flatten", rule=R1, market="bin"),
    "stop": operator("stop"),
    "adopt": operator("adopt"),
    "nonsense": operator("nonsense"),
    "one down": down,
    "both down": both_down,
    "liquidated": liquidated,
}
ENDS_FLAT: Final = frozenset({"flatten", "flatten rule"})
NO_NEW_RISK: Final = frozenset({"halt", "flatten", "stop"})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", STATES)
def test_whatever_comes_in_whatever_state(state: str, way: str) -> None:
    s = STATES[state]()
    assert s.state(R1) == state
    sent = len(s.sent)
    WAYS[way](s)
    s.run(20 * MS)
    widen(s)
    s.run(20 * SECOND)
    narrow(s)
    s.run(20 * SECOND)
    for name in ("bin", "byb"):
        assert s.lots(name) == s.truth(name)
        assert abs(s.truth(name)) <= 8
    assert s.engine.quiet
    after = s.sent[sent:]
    if way in NO_NEW_RISK:
        assert not [i for i in after if i.purpose is Purpose.ENTRY]
    if way == "flatten" or (way in ENDS_FLAT and state not in ("idle", "pending", "warming")):
        assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    if way != "flatten leg" and not (way == "halt" and state == "leaving"):
        assert abs(s.net("BTC")) < 0.0021
    if way == "halt" and state == "active":
        assert (s.truth("bin"), s.truth("byb")) == (-8, 8), "the operator's halt keeps positions"
        assert not after
    s.push(Operator(command="resume", who="me"))
    s.push(Operator(command="flatten", who="me"))
    s.run(20 * SECOND)
    assert (s.truth("bin"), s.truth("byb")) == (0, 0)
    assert s.engine.flat and s.engine.quiet
