"""How a run ends: whether everything is settled, and which exit code that is (interfaces.md, 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner.engine.limits import STICKY, STOP
from runner.engine.order import OrderState

if TYPE_CHECKING:
    from runner.engine.core import Engine
    from runner.spec.plan import RunPlan

_WORKING: Final = (OrderState.OPEN, OrderState.PARTIAL)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: its exit code, and why."""

    code: int = 0
    reason: str = ""


def settled(engine: Engine, plan: RunPlan) -> bool:
    """Whether a run that stops has nothing more to wait for."""
    return not unresolved(engine, plan) and (plan.on_stop != "flatten" or engine.flat)


def unresolved(engine: Engine, plan: RunPlan) -> bool:
    """Whether an order has no end, or, where the file keeps them, is not surely working."""
    if plan.on_stop != "keep":
        return not engine.quiet
    orders = engine.desk.orders.open.values()
    return any(o.cancel_asked or o.state not in _WORKING for o in orders)


def ending_of(engine: Engine, plan: RunPlan, reason: str) -> Ending:
    """Judge a run that was stopped for `reason`."""
    causes = engine.desk.limits.causes
    halts = [c for key, c in causes.items() if c.mode in STICKY and key != STOP]
    if unresolved(engine, plan):
        return Ending(5, "orders are unresolved")
    if plan.on_stop == "flatten" and not engine.flat:
        return Ending(5, "positions are open that `on_stop: flatten` did not want")
    if halts:
        return Ending(4, f"halted: {halts[0].text}")
    return Ending(0, reason)
