"""What a language model may cost: calls, tokens and money in a sliding window. Pure.

What was spent is counted at once, and kept over restarts by whoever keeps `saved`: a process that
is started again and again does not get a new budget each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from runner.spec.source_plan import LlmBudget, LlmPrice

MILLION: Final = 1_000_000
MOST: Final = 10_000


class Spent(msgspec.Struct, frozen=True, array_like=True):
    """One call: when (wall ns), and its tokens."""

    at: int
    asked: int
    answered: int


class Purse:
    """The spending of one model."""

    def __init__(
        self, budget: LlmBudget | None, price: LlmPrice | None, saved: Iterable[Spent] = ()
    ) -> None:
        self._budget = budget
        self._price = price
        self.calls: deque[Spent] = deque(saved, maxlen=MOST)

    def allows(self, now: int) -> str:
        """Return why no call may be made now, "" when one may."""
        budget = self._budget
        if budget is None:
            return ""
        self._forget(now, budget.per_ns)
        tokens = sum(each.asked + each.answered for each in self.calls)
        if budget.calls is not None and len(self.calls) >= budget.calls:
            return f"{len(self.calls)} calls / {budget.calls}"
        if budget.tokens is not None and tokens >= budget.tokens:
            return f"{tokens} tokens / {budget.tokens}"
        money = self.money()
        if budget.money is not None and money >= budget.money:
            currency = self._price.currency if self._price is not None else ""
            return f"{money:.4f} {currency} / {budget.money:g}".replace("  ", " ")
        return ""

    def spend(self, at: int, asked: int, answered: int) -> None:
        """Count a call, also one that brought nothing."""
        self.calls.append(Spent(at, max(asked, 0), max(answered, 0)))

    def money(self) -> float:
        """Return what the calls of the window cost, 0 where the file gives no price."""
        price = self._price
        if price is None:
            return 0.0
        asked = sum(each.asked for each in self.calls)
        answered = sum(each.answered for each in self.calls)
        return (asked * price.input + answered * price.output) / MILLION

    def figures(self) -> dict[str, float | int | str]:
        """Return what `status` and the report show."""
        shown: dict[str, float | int | str] = {
            "calls": len(self.calls),
            "tokens": sum(each.asked + each.answered for each in self.calls),
        }
        if self._price is not None:
            shown["money"] = round(self.money(), 6)
            shown["currency"] = self._price.currency
        return shown

    def _forget(self, now: int, per_ns: int) -> None:
        while self.calls and now - self.calls[0].at >= per_ns:
            self.calls.popleft()
