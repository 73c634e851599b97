"""R-03 and R-12 against a model: whatever happens, the worst position stays in its limit."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from runner.engine.checks_risk import worst_lots
from runner.engine.codes import Refusal
from runner.engine.commands import Purpose
from runner.engine.events import Ack, Done, End, Event, Fill, Reject, Unknown
from runner.engine.gate import Proposal
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.parts import Rate
from tests.engine.stage import R1, btc, stage
from tests.engine.test_gate import intent, loose

LIMIT = 20
CLIP = st.integers(2, 12)


@dataclass
class Known:
    """An order as the exchange sees it; it alone knows whether it arrived."""

    cid: str
    sign: int
    lots: int
    filled: int = 0
    over: bool = False


class WorstCase(RuleBasedStateMachine):
    """Entries are proposed at random; the exchange fills, ends, loses and contradicts at random."""

    def __init__(self) -> None:
        super().__init__()
        plan = loose(
            max_position={"bin": btc("0.02"), "byb": btc(1)}, max_orders=Rate(10**9, SECOND),
            max_open_orders={"bin": 10**6},
        )  # fmt: skip
        self.s = stage(plan)
        self.s.exchanges["binance"].answers = False
        self.orders: list[Known] = []
        self.fills = 0

    def feed(self, event: Event) -> None:
        self.s.push(event)
        self.s.run(1)

    @rule(buy=st.booleans(), lots=CLIP, shift=st.integers(0, 30))
    def propose(self, buy: bool, lots: int, shift: int) -> None:
        self.s.run(60 * MS)
        desk = self.s.engine.desk
        side = Side.BUY if buy else Side.SELL
        ticks = 599_990 - shift if buy else 600_010 + shift  # passive: no crossing of our own
        order = intent(self.s, side=side, lots=lots, ticks=ticks)
        plan = desk.plan.rules[R1]
        verdict = desk.gate.judge(Proposal(plan, Purpose.ENTRY, [order], [ticks * 0.1], [lots]))
        if isinstance(verdict, Refusal):
            return
        desk.orders.add(verdict[0].intent)
        self.orders.append(Known(order.cid, side.sign, lots))

    def pick(self, index: int) -> Known | None:
        alive = [o for o in self.orders if not o.over]
        return alive[index % len(alive)] if alive else None

    @rule(index=st.integers(0, 100), lots=CLIP, twice=st.booleans(), told=st.booleans())
    def fill(self, index: int, lots: int, twice: bool, told: bool) -> None:
        order = self.pick(index)
        if order is None:
            return
        lots = min(lots, order.lots - order.filled)
        order.filled += lots
        order.over = order.filled == order.lots
        self.fills += 1
        event = Fill(cid=order.cid, trade_id=str(self.fills), lots=lots, price=60_000.0, fee=0.0)
        for _ in range((2 if twice else 1) if told else 0):
            self.feed(event)
            self.s.engine.desk.limits.resume()

    @rule(index=st.integers(0, 100), end=st.sampled_from([End.CANCELED, End.EXPIRED]))
    def finish(self, index: int, end: End) -> None:
        order = self.pick(index)
        if order is not None:
            order.over = True
            self.feed(Done(cid=order.cid, end=end, filled_lots=order.filled))

    @rule(index=st.integers(0, 100), what=st.sampled_from(["ack", "unknown"]))
    def say(self, index: int, what: str) -> None:
        order = self.pick(index)
        if order is not None:
            event = Ack(cid=order.cid) if what == "ack" else Unknown(cid=order.cid, why="timeout")
            self.feed(event)
            self.s.engine.desk.limits.resume()

    @rule(index=st.integers(0, 100))
    def reject(self, index: int) -> None:
        order = self.pick(index)
        if order is not None and order.filled == 0:
            order.over = True
            self.feed(Reject(cid=order.cid, outcome="rejected", code="1"))
            self.s.engine.desk.limits.resume()

    @invariant()
    def the_worst_position_is_within_the_limit(self) -> None:
        filled = sum(o.filled * o.sign for o in self.orders)
        more_long = sum(o.lots - o.filled for o in self.orders if not o.over and o.sign > 0)
        more_short = sum(o.lots - o.filled for o in self.orders if not o.over and o.sign < 0)
        assert filled + more_long <= LIMIT
        assert filled - more_short >= -LIMIT

    @invariant()
    def the_engine_never_believes_less_than_the_worst(self) -> None:
        high, low = worst_lots(self.s.engine.desk, "bin")
        filled = sum(o.filled * o.sign for o in self.orders)
        assert low <= filled <= high


def play(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        WorstCase,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_worst_case_never_passes_the_limit() -> None:
    """A sample; the campaign takes a million steps."""
    play(60, 40)


@pytest.mark.campaign
def test_the_worst_case_never_passes_the_limit_in_a_million_steps() -> None:
    play(10_000, 100)
