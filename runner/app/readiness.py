"""Whether an exchange may be traded, from what is known of its sockets.

Theory of operation. `judge` is a function of facts; nothing is remembered but whether the order
side was ever complete, and how long an order that was refused for the key holds everything.

    STARTING      it never was
    RECONCILING   up, but not read since; or one of the sockets is down and REST or the other socket
                  still serves: no new risk, reductions and cancels go on (trading.md, section 6)
    READY         all sockets are up, and open orders, fills and account were read since
    FROZEN        the exchange does not accept our key: a person must act
    DOWN          nothing of it can be reached
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runner.base.clock import NS_PER_S
from runner.engine.events import Readiness

READ_AFTER_BAN: Final = 2
_FIRST_HOLD: Final = 60 * NS_PER_S
_LONGEST_HOLD: Final = 900 * NS_PER_S


@dataclass(frozen=True, slots=True)
class SocketFacts:
    """What matters of one socket: `ready` is logged in and subscribed."""

    id: str
    ready: bool
    reconciled: bool
    refused: str = ""
    """why the exchange did not let us in the last time; "" when it did"""


class KeyHold:
    """After a request that was refused for the key: how long nothing new is begun (R-39).

    Reading the account may still succeed with such a key, so a picture does not end it. Each
    refusal soon after the last one holds twice as long.
    """

    def __init__(self) -> None:
        self.why = ""
        self._until = 0
        self._length = _FIRST_HOLD

    def begin(self, why: str, now: int) -> None:
        """Hold from now on."""
        again = self._until and now - self._until < _LONGEST_HOLD
        if not self.why:
            self._length = min(2 * self._length, _LONGEST_HOLD) if again else _FIRST_HOLD
        self.why, self._until = why, now + self._length

    def over(self, now: int) -> bool:
        """Whether it has just ended."""
        if not self.why or now < self._until:
            return False
        self.why = ""
        return True


class BanHold:
    """After a ban (418, 403): until it is over and the account was read twice (trading.md, 6)."""

    def __init__(self) -> None:
        self.on = False
        self._until = 0
        self._read = 0

    def begin(self, until: int) -> bool:
        """Take a ban that ends at `until` (monotonic ns); whether it is the first of a row."""
        first, self.on = not self.on, True
        self._until, self._read = max(until, self._until), 0
        return first

    def pictured(self, now: int) -> bool:
        """Take a picture of the account; whether that ends it."""
        if self.on and now >= self._until:
            self._read += 1
            self.on = self._read < READ_AFTER_BAN
            return not self.on
        return False


def judge(
    sockets: Sequence[SocketFacts], complete_once: bool, answers: bool, refused: str = ""
) -> tuple[Readiness, str]:
    """Return the state and its reason.

    `answers`: the last reading by REST succeeded; `refused`: why it was refused for good.
    """
    refused = refused or next((each.refused for each in sockets if each.refused), "")
    if refused:
        return Readiness.FROZEN, refused
    down = [each.id for each in sockets if not each.ready]
    if not down and sockets:
        if all(each.reconciled for each in sockets):
            return Readiness.READY, ""
        return Readiness.RECONCILING, "reading orders, fills and account"
    if not complete_once:
        return Readiness.STARTING, ""
    reason = f"the {' and the '.join(down)} socket is down"
    if answers or len(down) < len(sockets):
        return Readiness.RECONCILING, reason
    return Readiness.DOWN, reason
