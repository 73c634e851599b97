"""What an exchange lets us send, and telling the engine how much of it is used (R-11).

Theory of operation. Every request to an exchange is counted here before it leaves: orders by
`take`, which never waits (an order that must wait is an order on old prices: it is refused, and
decided anew), everything else by `turn`, which waits in line, the more urgent first. What the
answers say of the use is taken over (`heard`, `learn`). An answer that refuses for the rate closes
the door:

    429, a code like it   everything but cancels waits for Retry-After, else 1, 2, 4 .. 60 s
    418, 403              nothing goes by HTTP until the ban is over; on a socket cancels and
                          reductions do

The engine's gate refuses entries by `Budget` events. They are told when the use has moved by a
sixteenth of the limit, and on every move near the limit, where one order more or less matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from runner.base.clock import NS_PER_S, Clock
from runner.engine.events import Event
from runner.exchanges.api import BudgetRule, HttpRequest, SocketRequest
from runner.net.budget import Cost, Priority, RateBudget, Turns, cost_of
from runner.net.doors import retry_after
from runner.net.http import HttpResponse

Told = list[tuple[str, int, int, int]]
"""(name, used, limit, resets_at wall ns), as codecs read it"""
FREE: Final[Cost] = {}
_BANS: Final[Mapping[int, float]] = {418: 120.0, 403: 600.0}
"""status -> seconds where the answer does not say (Bybit: stop for 10 minutes)"""
_BUSY_S: Final = 5.0
_LONGEST_S: Final = 60.0
_STEPS: Final = 16
_EXACT_BELOW: Final = 64
_OF_THE_ENDPOINT: Final = "endpoint"


def _nothing(headers: Mapping[str, str]) -> Told:
    return []


class Pace:
    """The rates of one exchange. Without rules (a dry-run) it only knows when it must wait."""

    def __init__(
        self,
        exchange: str,
        clock: Clock,
        rules: Sequence[BudgetRule] = (),
        offset: Callable[[], int] = lambda: 0,
        tell: Callable[[Event], None] = lambda event: None,
        headers: Callable[[Mapping[str, str]], Told] = _nothing,
    ) -> None:
        self.limited_answers = 0
        """answers that refused for the rate: there should be none"""
        self.on_ban: Callable[[int], None] = lambda status: None
        """told of each answer that shuts us out, with its HTTP status"""
        self._clock = clock
        self._rules = tuple(rules)
        self._budget = RateBudget(exchange, rules, clock, offset)
        self._turns = Turns(self._budget)
        self._tell = tell
        self._headers = headers
        self._costs: dict[tuple[bool, int, bool, bool, bool], Cost] = {}
        self._told: dict[str, int] = {}
        self._pause = 1.0
        self._limited_at = -(1 << 62)

    def cost(self, request: HttpRequest | SocketRequest, cancel: bool = False) -> Cost:
        """Return what a request costs, by the rules' names."""
        by_http = isinstance(request, HttpRequest)
        weight = request.weight if isinstance(request, HttpRequest) else 0
        key = (by_http, weight, request.counts_order, request.amends, cancel)
        cost = self._costs.get(key)
        if cost is None:
            cost = self._costs[key] = cost_of(request, self._rules, cancel)
        return cost

    def take(self, cost: Cost, priority: Priority, by_socket: bool = False) -> int:
        """Count a request that leaves now and return 0, or the ns it would have to wait."""
        if by_socket and priority <= Priority.REDUCE and self._banned():
            return 0  # the ban is of the address's HTTP; counted or not, this must go
        return self._budget.take(cost, priority)

    async def turn(self, cost: Cost, priority: Priority) -> None:
        """Wait until a request may leave, and count it."""
        await self._turns.take(cost, priority)

    def heard(self, cost: Cost, answer: HttpResponse) -> None:
        """Learn from an answer by HTTP: its counters, and whether it refuses for the rate."""
        self.learn(self._headers(answer.headers), cost)
        if answer.status in _BANS:
            self.limited_answers += 1
            self._budget.close(retry_after(answer.headers, _BANS[answer.status]))
            self.on_ban(answer.status)
        elif answer.status == 429:
            self.limited_answers += 1
            self._budget.close(retry_after(answer.headers, _BUSY_S), banned=False)

    def learn(self, told: Told, cost: Cost = FREE) -> None:
        """Take over counters; one without a name of its own is that of the order just answered."""
        if not told:
            return
        orders = [name for name in cost if name.startswith("order")]
        named = [
            (name, used, limit, resets)
            for first, used, limit, resets in told
            for name in (orders if first == _OF_THE_ENDPOINT else [first])
        ]
        self._budget.learn(named)

    def limited(self) -> None:
        """Take an answer that refuses for the rate by a code of its own: wait, longer each time."""
        now = self._clock.mono()
        calm = now - self._limited_at > _LONGEST_S * NS_PER_S
        self._pause = 1.0 if calm else min(self._pause * 2, _LONGEST_S)
        self._limited_at = now
        self.limited_answers += 1
        self._budget.close(self._pause, banned=False)

    def tell_changes(self) -> None:
        """Tell the engine what has changed enough to matter."""
        closed = self._clock.mono() < self._budget.closed_until
        for rule in self._rules:
            mark = -1 if closed else self._mark(rule.name)
            if mark != self._told.get(rule.name, 0):
                self._told[rule.name] = mark
                self._tell(self._budget.event(rule.name))

    def _mark(self, name: str) -> int:
        used, limit = self._budget.used(name), self._budget.limit(name)
        if limit <= _EXACT_BELOW or used * 4 >= limit * 3:
            return used
        return used * _STEPS // limit * limit // _STEPS

    @property
    def banned_until(self) -> int:
        """Monotonic ns before which nothing may go by HTTP."""
        return self._budget.banned_until

    def _banned(self) -> bool:
        return self._clock.mono() < self._budget.banned_until
