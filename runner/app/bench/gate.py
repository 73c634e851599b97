"""The gate alone: all checks over the proposal of one entry that passes (`runner bench gate`).

The checks are warm: nothing else runs between two judgements. In the midst of a run they have been
pushed out of the processor's caches and take two to three times as long; `bench order` and
`bench loopback` have them so.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runner.app.assembly import host_of
from runner.app.bench.journal import Catcher, decoded_top
from runner.app.bench.setup import ORDER_STRATEGY, Figures, make_ready, parts_of, plan_of
from runner.app.offline import NoOrders
from runner.base.clock import NS_PER_MS, SystemClock, stopwatch_ns
from runner.engine.codes import Refusal
from runner.engine.gate import Gate, Proposal

JUDGEMENTS = 20_000
_APART_NS = 2_000
_PATIENCE = 5_000
"""frames until the rule must have fired"""


def run(judgements: int = JUDGEMENTS) -> dict[str, Any]:
    """Judge again and again; return the number of checks and percentiles (us)."""
    clock = SystemClock()
    parts = parts_of(plan_of(ORDER_STRATEGY), clock)
    parts.observers.clear()
    host, driver = host_of(parts, NoOrders(), Catcher(), timed=False)
    t, wall = clock.mono(), clock.wall()
    make_ready(parts, host, t, wall)
    gate = parts.engine.desk.gate
    seen: list[Proposal] = []

    def see(_: Gate, proposal: Proposal) -> None:
        seen.append(proposal)

    gate.checks.append(see)
    for number in range(_PATIENCE):
        if seen:
            break
        t, wall = t + NS_PER_MS, wall + NS_PER_MS
        driver.advance(t, wall)
        driver.feed(decoded_top(number, t, wall))
    gate.checks.remove(see)
    gate.desk.orders.all.clear()  # as if it had not been sent
    gate.desk.orders.open.clear()
    took = _judged(gate, seen[0], judgements)
    return {
        "checks": len(gate.checks),
        "judge_us": asdict(Figures.of(took[judgements // 10 :])),
    }


def _judged(gate: Gate, proposal: Proposal, count: int) -> list[int]:
    desk, took = gate.desk, []
    for _ in range(count):
        desk.now += _APART_NS
        start = stopwatch_ns()
        verdict = gate.judge(proposal)
        took.append(stopwatch_ns() - start)
        if isinstance(verdict, Refusal):
            raise AssertionError(f"the gate refused: {verdict.text}")
    return took
