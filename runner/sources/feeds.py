"""What feeds and polls have in common: items out of a frame or an answer, and their way on."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from runner.engine.codes import Why
from runner.sources.api import Listener
from runner.sources.door import Refused, at, read
from runner.spec.source_plan import OnlyPlan, Pointer, SourcePlan


def items_of(message: object, pointer: Pointer) -> list[object]:
    """Return what a frame or an answer holds: one message, or the list of them at `pointer`."""
    found = at(message, pointer) if pointer else message
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def counts(message: object, only: OnlyPlan | None) -> bool:
    """Whether a message is one of those the file asks for."""
    if only is None:
        return True
    value = at(message, only.pointer)
    return isinstance(value, str | int) and str(value) == only.equals


class Intake:
    """Hands the messages of one source on, within its rate; known ones are left out quietly."""

    def __init__(self, plan: SourcePlan, listener: Listener) -> None:
        self._plan = plan
        self._listener = listener
        self._times: deque[int] = deque()

    def take(self, messages: Sequence[object], sent_at: int = 0, otherwise: str = "") -> None:
        """Type each message and let the engine hear it.

        `sent_at` (wall ns) and `otherwise`, an id, count where the messages say neither.
        """
        listener, plan = self._listener, self._plan
        for message in messages:
            try:
                found = read(plan, message, otherwise)
            except Refused as flaw:
                listener.flawed(plan.name, flaw)
                continue
            if found.id and listener.known(plan.name, found.id):
                continue
            if self._too_many(listener.clock.mono()):
                text = f"more than {plan.rate.count} messages"
                listener.refused(plan.name, "rate", text)
                continue
            said_at = found.sent_at or sent_at or listener.clock.wall()
            refusal = listener.examine(plan.name, found, said_at)
            if refusal is None or refusal.code is Why.LATE:
                listener.hear(plan.name, found, said_at)
            else:
                listener.refused(plan.name, refusal.code.value, refusal.text)

    def _too_many(self, now: int) -> bool:
        times, rate = self._times, self._plan.rate
        while times and now - times[0] >= rate.per_ns:
            times.popleft()
        if len(times) >= rate.count:
            return True
        times.append(now)
        return False
