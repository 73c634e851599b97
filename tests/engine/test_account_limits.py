"""Leverage, free margin and open trades against a model: whatever happens, they hold at worst."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from runner.engine.codes import Refusal
from runner.engine.commands import Purpose
from runner.engine.events import Ack, Done, End, Event, Fill, Reject, Unknown
from runner.engine.gate import Proposal
from runner.engine.timers import MS, SECOND
from runner.market.instruments import Side
from runner.spec.parts import Rate
from tests.engine.stage import R1, stage
from tests.engine.test_gate import intent, loose

EQUITY = 1000.0
LEVERAGE = 1.2
FREE = 0.25
MID = 60_000.05
UNIT = 0.001 * MID


@dataclass
class Known:
    """An order as the exchange sees it; it alone knows whether it arrived."""

    cid: str
    sign: int
    lots: int
    filled: int = 0
    over: bool = False

    @property
    def open(self) -> int:
        return 0 if self.over else self.lots - self.filled


class AccountLimits(RuleBasedStateMachine):
    """Entries are proposed at random; the exchange fills, ends, loses and contradicts at random."""

    def __init__(self) -> None:
        super().__init__()
        plan = loose(
            max_leverage={"binance": LEVERAGE}, min_free_margin=FREE,
            max_orders=Rate(10**9, SECOND), max_open_orders={"bin": 10**6},
        )  # fmt: skip
        self.s = stage(plan)
        self.s.exchanges["binance"].answers = False
        venue = self.s.engine.desk.venues["binance"]
        venue.cell.equity = EQUITY
        venue.free["USDT"] = EQUITY
        self.orders: list[Known] = []
        self.fills = 0

    def feed(self, event: Event) -> None:
        self.s.push(event)
        self.s.run(1)
        self.s.engine.desk.limits.resume()

    @rule(buy=st.booleans(), lots=st.integers(2, 20), shift=st.integers(0, 20))
    def propose(self, buy: bool, lots: int, shift: int) -> None:
        self.s.run(60 * MS)
        desk = self.s.engine.desk
        side = Side.BUY if buy else Side.SELL
        ticks = 599_990 - shift if buy else 600_010 + shift
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

    @rule(index=st.integers(0, 100), lots=st.integers(1, 20), told=st.booleans())
    def fill(self, index: int, lots: int, told: bool) -> None:
        order = self.pick(index)
        if order is None:
            return
        lots = min(lots, order.open)
        order.filled += lots
        order.over = order.filled == order.lots
        self.fills += 1
        if told:
            event = Fill(
                cid=order.cid, trade_id=str(self.fills), lots=lots, price=60_000.0, fee=0.0
            )
            self.feed(event)

    @rule(index=st.integers(0, 100), what=st.sampled_from(["ack", "unknown", "end", "reject"]))
    def say(self, index: int, what: str) -> None:
        order = self.pick(index)
        if order is None or (what == "reject" and order.filled):
            return
        if what == "ack":
            self.feed(Ack(cid=order.cid))
        elif what == "unknown":
            self.feed(Unknown(cid=order.cid, why="timeout"))
        else:
            order.over = True
            if what == "end":
                self.feed(Done(cid=order.cid, end=End.CANCELED, filled_lots=order.filled))
            else:
                self.feed(Reject(cid=order.cid, outcome="rejected", code="1"))

    @invariant()
    def the_worst_exposure_is_within_the_leverage(self) -> None:
        filled = sum(o.filled * o.sign for o in self.orders)
        longest = filled + sum(o.open for o in self.orders if o.sign > 0)
        shortest = filled - sum(o.open for o in self.orders if o.sign < 0)
        assert max(abs(longest), abs(shortest)) * UNIT <= LEVERAGE * EQUITY * (1 + 1e-9)

    @invariant()
    def what_rests_leaves_the_margin_free(self) -> None:
        """Each order may take half its value; the account here never frees what was taken."""
        resting = sum(o.open for o in self.orders) * 0.001 * 59_997.0 / 2
        assert resting <= (1 - FREE) * EQUITY


def play(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        AccountLimits,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_account_limits_hold_at_worst() -> None:
    """A sample; the campaign takes half a million steps."""
    play(40, 30)


@pytest.mark.campaign
def test_the_account_limits_hold_at_worst_in_half_a_million_steps() -> None:
    play(5_000, 100)
