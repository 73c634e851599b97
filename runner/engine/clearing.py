"""Clearing the way for a close: stop and target go first where others hold the same side.

Theory of operation. Reduce-only binds the account's position, not a rule's. While a rule alone
holds a market, its stop and its close cannot both execute: what comes second finds nothing. Where
another rule, or somebody outside, holds the same side too, both would, and the second would eat the
position of the other. There a trade that leaves entirely first cancels its stop and target and
waits until they have ended, `WITHIN` at most; then it goes all the same, and that is told.

Nothing is taken away before the close could be sent; when it is held later, they are placed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.engine.commands import Topic
from runner.engine.guarding import orders_of
from runner.engine.positions import shared
from runner.engine.timers import MS, SECOND

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.engine.rule import RuleRun
    from runner.engine.trade import Trade

WITHIN: Final = 1 * SECOND


def clear(desk: Desk, run: RuleRun, trade: Trade) -> int:
    """Take a trade's guards away where they must go first; return how long to wait, ns."""
    leaving = trade.leaving
    assert leaving is not None
    if leaving.keep is not None or leaving.cleared:
        return 0
    standing = orders_of(desk, run)
    began = leaving.clearing_since >= 0
    if not began and (not standing or not shared(desk, trade.legs[0])):
        return 0
    if not began:
        leaving.clearing_since = desk.now
        desk.rules.guards.release(run)
    left = leaving.clearing_since + WITHIN - desk.now
    if standing and left > 0:
        return left
    leaving.clearing_since, leaving.cleared = -1, True
    if standing:
        names = " and ".join(f"{o.intent.type} {o.intent.cid}" for o in standing)
        text = f"{run.plan.name}: {names} not ended within {WITHIN // MS}ms; it is closed all the"
        text += f" same, and others hold {trade.legs[0].market} too"
        desk.tell("page", text, Topic.UNKNOWN)
    return 0


def stalled(desk: Desk, run: RuleRun, trade: Trade) -> None:
    """A close is held: what was taken away for it comes back, what is lost meanwhile too."""
    leaving = trade.leaving
    assert leaving is not None
    leaving.clearing_since, leaving.cleared = -1, False
    desk.rules.guards.look(run)
