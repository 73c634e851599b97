"""The exchange's own rate limits, kept on our side of the wire (R-11).

Theory of operation. Each `BudgetRule` is a window: fixed ones are aligned to multiples of their
length on the exchange's clock, rolling ones look back from now. What an answer's headers say is
taken over when it is more than we counted, never when it is less (I-9). Because a request counts
when it arrives and not when it leaves, what was sent shortly before a boundary is counted on both
sides of it (`guard`).

Every request has a priority, and every priority a share of the limit: entries and reads stop at
80 %, so that a cancel finds room at any time. Who must wait is told for how long; `Turns` queues
those who can, the more urgent first. A 429 closes everything but cancels until its Retry-After, a
ban (418, 403) closes all.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Final

from runner.base.clock import NS_PER_MS, NS_PER_S, Clock
from runner.engine.events import Budget
from runner.exchanges.api import BudgetRule, HttpRequest, SocketRequest

GUARD_NS: Final = 100 * NS_PER_MS


class Priority(IntEnum):
    """Who goes first when a budget is short. Queries by client id count as cancels."""

    CANCEL = 0
    REDUCE = 1
    ENTRY = 2
    READ = 3


SHARES: Final[Mapping[Priority, float]] = {
    Priority.CANCEL: 1.0,
    Priority.REDUCE: 0.95,
    Priority.ENTRY: 0.8,
    Priority.READ: 0.8,
}

Cost = Mapping[str, int]
"""rule name -> how much of it a request uses"""


def cost_of(
    request: HttpRequest | SocketRequest, rules: Sequence[BudgetRule], cancel: bool = False
) -> dict[str, int]:
    """Return what a request costs, by the rules' names.

    `..._cancel` counts cancels, `..._amend` changes of orders, `order...` what the codec marks as
    an order, all others the weight of requests by HTTP.
    """
    costs = {}
    for rule in rules:
        if rule.name.endswith("_cancel"):
            cost = int(cancel)
        elif rule.name.endswith("_amend"):
            cost = int(request.amends)
        elif rule.name.startswith("order"):
            cost = int(request.counts_order)
        else:
            cost = request.weight if isinstance(request, HttpRequest) else 0
        if cost:
            costs[rule.name] = cost
    return costs


class _Window:
    """The use of one rule. Times are the exchange's wall clock in ns."""

    __slots__ = ("_guard", "_log", "_shares", "_start", "limit", "rule", "used")

    def __init__(self, rule: BudgetRule, guard: int) -> None:
        self.rule = rule
        self.used = 0
        self.allow(rule.limit)
        self._guard = min(guard, rule.window_ns // 4)
        self._log: deque[tuple[int, int]] = deque()
        self._start = -1

    def turn(self, now: int) -> None:
        """Forget what the exchange no longer counts."""
        if self.rule.rolling:
            self._forget(now - self.rule.window_ns - self._guard)
            return
        # The boundary is believed a guard later than our clock says, and what left a guard before
        # it is kept: a request near it may be counted on either side.
        start = now - self._guard - (now - self._guard) % self.rule.window_ns
        if start != self._start:
            self._start = start
            self._forget(start - self._guard)

    def allow(self, limit: int) -> None:
        """Set the limit; each priority may fill a share of it, and never less than 1."""
        self.limit = limit
        self._shares = [max(1, math.floor(limit * SHARES[each] + 1e-9)) for each in Priority]

    def wait(self, cost: int, priority: Priority, now: int) -> int:
        """Return how long (ns) until `cost` fits; 0: now."""
        room = self._shares[priority] - self.used - cost
        if room >= 0:
            return 0
        if not self.rule.rolling:
            return self._start + self.rule.window_ns + self._guard - now
        for at, each in self._log:
            room += each
            if room >= 0:
                return max(1, at + self.rule.window_ns + self._guard - now + 1)
        return self.rule.window_ns

    def add(self, cost: int, now: int) -> None:
        self.used += cost
        self._log.append((now, cost))

    def resets_at(self, now: int) -> int:
        """Return when all present use is forgotten."""
        if not self.rule.rolling:
            return self._start + self.rule.window_ns + self._guard
        return self._log[-1][0] + self.rule.window_ns + self._guard if self._log else now

    def _forget(self, before: int) -> None:
        log = self._log
        while log and log[0][0] < before:
            self.used -= log.popleft()[1]


class RateBudget:
    """All limits of one exchange account. `offset` gives the exchange's clock minus ours (ns)."""

    def __init__(
        self,
        exchange: str,
        rules: Sequence[BudgetRule],
        clock: Clock,
        offset: Callable[[], int] = lambda: 0,
        guard: int = GUARD_NS,
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._offset = offset
        self._windows = {rule.name: _Window(rule, guard) for rule in rules}
        self.rules = tuple(rules)
        self.closed_until = 0
        """monotonic ns: nothing but cancels is sent before (Retry-After)"""
        self.banned_until = 0
        """monotonic ns: nothing at all is sent before"""

    def take(self, cost: Cost, priority: Priority) -> int:
        """Use `cost` now and return 0, or use nothing and return the ns to wait.

        KeyError for a rule that does not exist.
        """
        until = self.banned_until if priority is Priority.CANCEL else self.closed_until
        closed = until - self._clock.mono()
        if closed > 0:
            return closed
        now, longest = self._now(), 0
        used = [(self._windows[name], amount) for name, amount in cost.items()]
        for window, amount in used:
            window.turn(now)
            wait = window.wait(amount, priority, now)
            if wait > longest:
                longest = wait
        if longest == 0:
            for window, amount in used:
                window.add(amount, now)
        return longest

    def learn(self, told: Sequence[tuple[str, int, int, int]]) -> None:
        """Take over (name, used, limit, resets_at) of an answer's headers; unknown names too.

        A name that no rule has is ignored: it limits an endpoint that we do not use by itself.
        """
        now = self._now()
        for name, used, limit, _ in told:
            window = self._windows.get(name)
            if window is None:
                continue
            window.turn(now)
            if limit > 0:
                window.allow(limit)
            if used > window.used:
                window.add(used - window.used, now)

    def close(self, seconds: float, banned: bool = True) -> None:
        """Send nothing for so long: the exchange said 418 or 403; cancels go on after a 429."""
        until = self._clock.mono() + math.ceil(seconds * NS_PER_S)
        self.closed_until = max(self.closed_until, until)
        if banned:
            self.banned_until = max(self.banned_until, until)

    def used(self, name: str) -> int:
        """Return the current use of a rule."""
        window = self._windows[name]
        window.turn(self._now())
        return window.used

    def limit(self, name: str) -> int:
        """Return a rule's limit, as last told."""
        return self._windows[name].limit

    def event(self, name: str) -> Budget:
        """Return the state of a rule; the gate takes its share of `limit` itself."""
        now, mono, wall = self._now(), self._clock.mono(), self._clock.wall()
        window = self._windows[name]
        window.turn(now)
        closed = mono < self.closed_until
        return Budget(
            t=mono,
            wall=wall,
            exchange=self._exchange,
            name=name,
            used=max(window.used, window.limit) if closed else window.used,
            limit=window.limit,
            resets_at=max(self.closed_until, mono + window.resets_at(now) - now),
        )

    def events(self) -> list[Budget]:
        """Return the state of all rules."""
        return [self.event(name) for name in self._windows]

    def _now(self) -> int:
        return self._clock.wall() + self._offset()


class Turns:
    """Lets requests through one by one when the budget has room, the most urgent first.

    One pending timer at most; a waiter that is cancelled leaves the queue.
    """

    def __init__(self, budget: RateBudget) -> None:
        self._budget = budget
        self._queue: list[tuple[Priority, int, Cost, asyncio.Future[None]]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(not entry[3].done() for entry in self._queue)

    async def take(self, cost: Cost, priority: Priority) -> None:
        """Return when the budget has been charged; at once when nobody as urgent waits."""
        ahead = any(e[0] <= priority and not e[3].done() for e in self._queue)
        if not ahead and self._budget.take(cost, priority) == 0:
            return
        turn = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._queue, (priority, self._count, cost, turn))
        self._serve()
        await turn

    def _serve(self) -> None:
        """Let through who can go, in order of urgency; then wait for the first who cannot."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            priority, _, cost, turn = self._queue[0]
            if not turn.done():
                wait = self._budget.take(cost, priority)
                if wait:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(wait / NS_PER_S, self._serve)
                    return
                turn.set_result(None)
            heapq.heappop(self._queue)
