"""A run decides again identically: the same events into a new engine give the same commands."""

from __future__ import annotations

from typing import Any

import pytest

from runner.engine.build import compiled, wants
from runner.engine.commands import Command, Send
from runner.engine.core import Engine
from runner.engine.events import Account, Event, Operator
from runner.engine.saved import Saved
from runner.engine.scenario import Fate, Scenario
from runner.engine.timers import MS, SECOND
from runner.market.state import MarketState
from tests.engine.test_restart import journal
from tests.engine.written import SPREAD, narrow, plan_of, widen

RULES = (
    SPREAD.replace("close: {", "stop: {loss: 4 USDT}\n      close: {")
    + """\
  guard:
    when: account.binance.margin_used > 50%
    cooldown: 1s
    rearm: level
    do: [{reduce: {rule: spread, by: 25%}}, {notify: "used {account.binance.margin_used} {far}"}]
  alarm:
    when: age(byb.book) > 100ms
    do: [{cancel: all}, {notify: "byb is late"}]
"""
)
RISK = """\
  max_drawdown: {amount: 9 USDT, then: pause, rest: 4s}
  max_losing_streak: {trades: 2, rest: 3s}
  max_leverage: 3
  min_free_margin: 5%
  max_open_trades: 1
  breakers: [{when: "abs(far) > 2%", for: 200ms, then: pause, rest: 2s}, {when: pnl.day < -12 USDT}]
"""


def text(command: Command) -> str:
    if isinstance(command, Send):
        return repr([approved.intent for approved in command.orders])
    return repr(command)


class Kept(Scenario):
    """A scenario that keeps the events as the engine got them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.events: list[Event] = []
        handle = self.engine.handle

        def kept(event: Event) -> Any:
            self.events.append(event)
            return handle(event)

        self.engine.handle = kept  # type: ignore[method-assign]


def acts(s: Scenario) -> None:
    """Much of what can happen."""
    s.run(4500 * MS)
    for ratio, fate in ((0.005, Fate.FILLED), (0.006, Fate.PARTIAL), (0.004, Fate.LATE)):
        s.exchanges["bybit"].default = fate
        widen(s, ratio)
        s.run(100 * MS)
        account = Account(exchange="binance", balances=(), positions=(), margin_used=0.6)
        s.push(account)
        s.run(1500 * MS)
        widen(s, ratio + 0.01)
        s.run(2 * SECOND)
        widen(s, 0.03)
        s.run(1 * SECOND)
        s.frozen.add("byb")
        s.run(400 * MS)
        s.frozen.clear()
        narrow(s)
        s.push(Account(exchange="binance", balances=(), positions=(), margin_used=0.1))
        s.run(4 * SECOND)
    s.push(Operator(command="halt", who="me"))
    s.run(1 * SECOND)
    s.push(Operator(command="resume", who="me"))
    s.run(1 * SECOND)


def again(s: Kept, saved: Saved | None = None) -> list[str]:
    engine = Engine(
        s.plan, compiled(s.plan), MarketState(wants(s.plan)), "run0000001", restored=saved
    )
    found = []
    for event in s.events:
        found += [text(c) for c in engine.handle(event)]
        found += [text(c) for c in engine.later()]
        found += [text(c) for c in engine.lasting()]
    return found


def plan() -> Any:
    from tests.engine.written import HEAD

    head = HEAD + "signals:\n  far: gap(bin.mid, byb.mid)\n"
    return plan_of(RULES, RISK, head)


def staged(first: Kept | None = None) -> Kept:
    """A new run, or the one after `first`."""
    p = plan()
    s = Kept(p, compiled(p), restored=None if first is None else journal(first))
    if first is not None:
        s.wall_at_zero = first.wall_at_zero + first.t
    s.start(bin=(60_000.0, 60_000.1), byb=(59_999.9, 60_000.0))
    return s


@pytest.mark.parametrize("restarted", [False, True])
def test_the_same_events_decide_the_same(restarted: bool) -> None:
    first, saved = None, None
    if restarted:
        first = staged()
        acts(first)
        saved = journal(first)
    s = staged(first)
    acts(s)
    once = again(s, saved)
    assert once == again(s, saved)
    kinds = {c.kind for _, c in s.log if hasattr(c, "kind")}
    assert {"did", "trip", "reduced", "stop"} <= kinds, "the script reaches what it is about"
    assert [x for x in once if "Intent" in x] == [text(c) for _, c in s.log if isinstance(c, Send)]
