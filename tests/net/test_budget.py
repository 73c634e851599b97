"""Rate budgets against an exchange that counts by itself, in virtual time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import pytest

from runner.base.clock import NS_PER_MS, NS_PER_S, SystemClock, VirtualClock
from runner.base.rng import seeded
from runner.exchanges.api import BudgetRule, HttpRequest, SocketRequest
from runner.net.budget import Priority, RateBudget, Turns, cost_of
from tests.patience import PATIENCE_S

MS = NS_PER_MS
FIXED = BudgetRule(name="orders_10s", limit=300, window_ns=10 * NS_PER_S)
ROLLING = BudgetRule(name="orders_1s", limit=10, window_ns=NS_PER_S, rolling=True)


@dataclass
class Counting:
    """The exchange's side: counts requests as they arrive and notes each that is too many."""

    rule: BudgetRule
    arrivals: deque[int] = field(default_factory=deque)
    total: int = 0
    refused: int = 0

    def arrive(self, at: int) -> None:
        self.total += 1
        window = self.rule.window_ns
        start = at - window + 1 if self.rule.rolling else at - at % window
        while self.arrivals and self.arrivals[0] < start:
            self.arrivals.popleft()
        self.arrivals.append(at)
        self.refused += len(self.arrivals) > self.rule.limit


@pytest.mark.parametrize(
    ("rule", "used"), [(FIXED, 0.9), (ROLLING, 0.75)], ids=["fixed", "rolling"]
)
def test_three_times_the_load_is_never_refused_and_the_budget_is_used(
    rule: BudgetRule, used: float
) -> None:
    """R-11, requests being 1 to 60 ms under way.

    Of ten a second, rolling, the guard costs one and the reserve another while no cancel comes.
    """
    clock, rng = VirtualClock(), seeded("load", rule.name)
    budget, theirs = RateBudget("x", [rule], clock), Counting(rule)
    windows = 40 if rule.rolling else 6
    arrivals: list[int] = []
    for _ in range(windows * 3 * rule.limit):
        clock.advance(rule.window_ns // (3 * rule.limit))
        priority = Priority.CANCEL if rng.random() < 0.2 else Priority.ENTRY
        if budget.take({rule.name: 1}, priority) == 0:
            arrivals.append(clock.wall() + rng.randint(1, 60) * MS)
    for at in sorted(arrivals):
        theirs.arrive(at)
    assert theirs.refused == 0
    assert theirs.total >= used * windows * rule.limit


def test_cancels_never_wait_behind_new_orders() -> None:
    """Fewer cancels than the reserve find room at every instant of a threefold load of entries."""
    clock, rng = VirtualClock(), seeded("cancels")
    budget = RateBudget("x", [FIXED], clock)
    waited = 0
    for _ in range(6 * 3 * FIXED.limit):
        clock.advance(FIXED.window_ns // (3 * FIXED.limit))
        budget.take({FIXED.name: 1}, Priority.ENTRY)
        if rng.random() < 0.05:
            waited += budget.take({FIXED.name: 1}, Priority.CANCEL) > 0
    assert waited == 0


def test_entries_leave_a_fifth_for_cancels_and_reductions_a_twentieth() -> None:
    budget = RateBudget("x", [FIXED], VirtualClock())
    cost = {"orders_10s": 1}
    taken = {}
    for priority in (Priority.READ, Priority.ENTRY, Priority.REDUCE, Priority.CANCEL):
        taken[priority] = 0
        while budget.take(cost, priority) == 0:
            taken[priority] += 1
    assert list(taken.values()) == [240, 0, 45, 15]


def test_a_refused_take_uses_nothing_of_any_rule() -> None:
    minute = BudgetRule(name="weight_1m", limit=10, window_ns=60 * NS_PER_S)
    budget = RateBudget("x", [FIXED, minute], VirtualClock())
    assert budget.take({"orders_10s": 1, "weight_1m": 8}, Priority.READ) == 0
    assert budget.take({"orders_10s": 1, "weight_1m": 1}, Priority.READ) > 0
    assert (budget.used("orders_10s"), budget.used("weight_1m")) == (1, 8)
    with pytest.raises(KeyError):
        budget.take({"nonsense": 1}, Priority.READ)


@pytest.mark.parametrize("rule", [FIXED, ROLLING], ids=["fixed", "rolling"])
def test_waiting_as_long_as_told_is_enough(rule: BudgetRule) -> None:
    clock = VirtualClock(mono=3_333 * MS)
    budget = RateBudget("x", [rule], clock)
    while budget.take({rule.name: 1}, Priority.CANCEL) == 0:
        clock.advance(10 * MS)
    wait = budget.take({rule.name: 1}, Priority.CANCEL)
    clock.advance(wait - 1)
    assert budget.take({rule.name: 1}, Priority.CANCEL) > 0
    clock.advance(1)
    assert budget.take({rule.name: 1}, Priority.CANCEL) == 0


def test_what_left_just_before_a_boundary_counts_after_it_too() -> None:
    clock = VirtualClock(wall=1_700_000_009_950 * MS)
    budget = RateBudget("x", [FIXED], clock)
    assert budget.take({"orders_10s": 7}, Priority.ENTRY) == 0
    clock.advance(149 * MS)
    assert budget.used("orders_10s") == 7
    clock.advance(10 * MS)
    assert budget.used("orders_10s") == 7, "left 50 ms before the boundary"
    clock.advance(10 * NS_PER_S)
    assert budget.used("orders_10s") == 0


def test_windows_follow_the_exchanges_clock() -> None:
    clock = VirtualClock(wall=1_700_000_000_000 * MS)
    budget = RateBudget("x", [FIXED], clock, offset=lambda: 9 * NS_PER_S)
    budget.take({"orders_10s": 5}, Priority.ENTRY)
    clock.advance(1_150 * MS)
    assert budget.used("orders_10s") == 0, "its window ended 1 s from now, plus the guard"


def test_headers_raise_our_count_and_never_lower_it() -> None:
    budget = RateBudget("x", [FIXED, ROLLING], VirtualClock())
    budget.take({"orders_10s": 5}, Priority.ENTRY)
    budget.learn([("orders_10s", 3, 300, 0), ("orders_1s", 9, 20, 0), ("unheard_of", 1, 1, 0)])
    assert (budget.used("orders_10s"), budget.used("orders_1s")) == (5, 9)
    budget.learn([("orders_10s", 239, 300, 0)])
    assert budget.take({"orders_10s": 1}, Priority.ENTRY) == 0
    assert budget.take({"orders_10s": 1}, Priority.ENTRY) > 0, "others of our account count too"
    budget.learn([("orders_10s", 240, 400, 0)])
    assert budget.take({"orders_10s": 1}, Priority.ENTRY) == 0, "the limit was raised"


def test_retry_after_closes_everything_even_cancels() -> None:
    clock = VirtualClock()
    budget = RateBudget("x", [FIXED], clock)
    budget.close(2.5)
    budget.close(1.0)
    assert budget.take({"orders_10s": 1}, Priority.CANCEL) == int(2.5 * NS_PER_S)
    (event,) = budget.events()
    assert event.used >= event.limit and event.resets_at >= clock.mono() + int(2.5 * NS_PER_S)
    clock.advance(int(2.5 * NS_PER_S))
    assert budget.take({"orders_10s": 1}, Priority.CANCEL) == 0


def test_events_show_use_and_limit() -> None:
    clock = VirtualClock(mono=77, wall=1_700_000_004_000 * MS)
    budget = RateBudget("binance", [FIXED], clock)
    budget.take({"orders_10s": 3}, Priority.ENTRY)
    (event,) = budget.events()
    assert (event.exchange, event.name, event.used, event.limit) == (
        *("binance", "orders_10s", 3, 300),
    )
    assert event.resets_at == 77 + 6_100 * MS


def test_costs_come_from_the_request() -> None:
    rules = [FIXED, BudgetRule(name="weight_1m", limit=2400, window_ns=60 * NS_PER_S)]
    place = HttpRequest(method="POST", url="https://x", weight=0, counts_order=True)
    query = HttpRequest(method="GET", url="https://x", weight=5)
    over_socket = SocketRequest(id="1", frame=b"", counts_order=True)
    assert cost_of(place, rules) == {"orders_10s": 1}
    assert cost_of(query, rules) == {"weight_1m": 5}
    assert cost_of(over_socket, rules) == {"orders_10s": 1}
    bybit = [
        BudgetRule("order_create", 10, NS_PER_S, rolling=True),
        BudgetRule("order_cancel", 10, NS_PER_S, rolling=True),
        BudgetRule("http_5s", 600, 5 * NS_PER_S, rolling=True),
    ]
    cancel = HttpRequest(method="POST", url="https://x")
    assert cost_of(over_socket, bybit) == {"order_create": 1}
    assert cost_of(cancel, bybit, cancel=True) == {"order_cancel": 1, "http_5s": 1}


def test_the_most_urgent_waiter_goes_first_and_a_cancelled_one_leaves() -> None:
    rule = BudgetRule(name="r", limit=2, window_ns=40 * MS, rolling=True)
    order: list[str] = []

    async def one(turns: Turns, name: str, priority: Priority) -> None:
        await turns.take({"r": 1}, priority)
        order.append(name)

    async def test() -> None:
        turns = Turns(RateBudget("x", [rule], SystemClock(), guard=0))
        names = [
            *(("first", Priority.CANCEL), ("second", Priority.CANCEL), ("read", Priority.READ)),
            *(("entry", Priority.ENTRY), ("gone", Priority.CANCEL), ("cancel", Priority.CANCEL)),
        ]
        tasks = [asyncio.create_task(one(turns, *each)) for each in names]
        await asyncio.sleep(0)
        assert order == ["first", "second"] and turns.waiting == 4
        tasks[4].cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert turns.waiting == 0

    asyncio.run(test())
    assert order == ["first", "second", "cancel", "entry", "read"]
