"""Whether an exchange may be traded, from what is known of its sockets.

Theory of operation. `judge` is a function of facts; nothing is remembered but whether the order
side was ever complete.

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

from runner.engine.events import Readiness


@dataclass(frozen=True, slots=True)
class SocketFacts:
    """What matters of one socket: `ready` is logged in and subscribed."""

    id: str
    ready: bool
    reconciled: bool
    refused: str = ""
    """why the exchange did not let us in the last time; "" when it did"""


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
