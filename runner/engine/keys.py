"""Once-keys: an order with `key:` leaves once per key, ever (trading.md and R-15).

The exchange's own check of client ids does not do: Binance takes a used id again. A key counts as
used from the approval on; its `claim` row is committed with the intent, and the keys of all runs
before stand in `Saved.keys`, so that a replay decides alike.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runner.engine.codes import Refusal, Why

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.spec.rule_plan import RulePlan


def key_of(template: str, rule: str, wall: int) -> str:
    """Fill a template's fields in; the times are UTC, weeks those of ISO 8601."""
    at = datetime.fromtimestamp(wall // 1_000_000_000, UTC)
    year, week, _ = at.isocalendar()
    return template.format(
        rule=rule, month=f"{at:%Y-%m}", week=f"{year}W{week:02}", day=f"{at:%Y-%m-%d}",
        hour=f"{at:%Y-%m-%dT%H}",
    )  # fmt: skip


def used(desk: Desk, rule: RulePlan) -> Refusal | None:
    """Refuse an order whose key was claimed before."""
    if rule.order is None or not rule.order.key:
        return None
    key = key_of(rule.order.key, rule.name, desk.wall)
    return Refusal(Why.KEY_USED, f"key {key} was used before") if key in desk.keys else None


def claim(desk: Desk, rule: RulePlan) -> None:
    """Use a key up; called between the approval of its order and the journal's rows."""
    if rule.order is not None and rule.order.key:
        key = key_of(rule.order.key, rule.name, desk.wall)
        desk.keys.add(key)
        desk.record("claim", key=key, rule=rule.name)
