"""What outlives the process: rules, trades, ledgers, unsettled orders, the day, lasting halts.

Two kinds of journal rows carry it, each complete in itself, the youngest of a name standing:
`rule` (one per rule: state, trade, ledgers, unsettled orders) and `run` (ordinal, day, sticky
causes, external lots). They come before the `Send` they belong to, so that they are committed with
its intents. Monotonic times are saved as wall times: the next run counts from another origin
(`restoring`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runner.engine.ledger import Ledger
from runner.engine.limits import STICKY, STOP, Cause, Mode
from runner.engine.order import Order
from runner.engine.orphans import meaning_of
from runner.engine.rule import RuleRun, RuleState
from runner.engine.saved import GUARDS
from runner.engine.sources import Pending
from runner.engine.timers import NEVER
from runner.engine.trade import Trade
from runner.engine.trips import is_trip

if TYPE_CHECKING:
    from runner.engine.desk import Desk


def rule_row(desk: Desk, run: RuleRun) -> str:
    """Return a rule's lasting state as JSON text."""
    to_wall = desk.wall - desk.now
    name = run.plan.name
    row: dict[str, Any] = {
        "v": 1,
        "state": run.state,
        "armed": run.armed,
        "rejects": run.rejects,
        "disabled": run.disabled_why,
        "cooldown_until": run.cooldown_until + to_wall,
        "ledgers": (ledgers := [_ledger(x) for x in desk.ledgers if x.fills and x.rule == name]),
        "orders": [
            _order(o)
            for orders in (desk.orders.open, desk.orders.guards)
            for o in orders.values()
            if o.intent.rule == name
        ],
        "grids": {x["market"]: _grid(desk, x["market"]) for x in ledgers if x["lots"]},
    }
    if run.unguarded:
        row["unguarded"] = run.unguarded
    spent = desk.spending.saved(run.plan.name)
    if spent:
        row["spent"] = spent
    if run.inbox is not None:
        row["inbox"] = _pending(run.inbox, to_wall)
    if run.plan.order is not None and not run.plan.keeps:
        row["keep"] = False
    if run.outbox:
        row["outbox"] = [_pending(p, to_wall) for p in run.outbox]
    if run.trade is not None:
        row["trade"] = _trade(run.trade) | {
            "identity": run.trade.identity or run.identity,
            "entered_of": run.entered_keys,
        }
        if run.plan.quote is not None:
            row["quotes"] = True
    return msgspec.json.encode(row).decode()


def gone_row() -> str:
    """Return the row of a rule that is not in the file, and whose trade is another's now."""
    row = {
        "v": 1, "state": RuleState.IDLE, "armed": True, "rejects": 0, "disabled": "",
        "cooldown_until": 0, "ledgers": [], "orders": [], "grids": {},
    }  # fmt: skip
    return msgspec.json.encode(row).decode()


def run_row(desk: Desk) -> str:
    """Return the run's lasting state as JSON text."""
    limits = desk.limits
    to_wall = desk.wall - desk.now
    sticky = {
        key: [
            cause.mode.value,
            cause.code,
            cause.text,
            None if cause.until == NEVER else cause.until + to_wall,
        ]
        for key, cause in limits.causes.items()
        if _lasts(key, cause)
    }
    row = {
        "v": 1,
        "ordinal": desk.ordinal,
        "day": limits.day,
        "day_start": limits.day_start,
        "causes": sticky,
        "external": desk.ledgers.external,
        **desk.trips.saved(),
    }
    return msgspec.json.encode(row).decode()


def _lasts(key: str, cause: Cause) -> bool:
    """Whether a cause outlives the process: all but the end of the run and passing troubles."""
    if cause.mode is Mode.PAUSED:
        return is_trip(key)
    return cause.mode in STICKY and cause.code != STOP  # the end of a run is not a halt


def _pending(pending: Pending, to_wall: int) -> dict[str, Any]:
    return {
        "source": pending.source,
        "id": pending.id,
        "values": pending.values,
        "base": pending.base + to_wall,
        "until": pending.until + to_wall,
        "ends": pending.ends + to_wall,
        "why": pending.why,
    }


def _ledger(ledger: Ledger) -> dict[str, Any]:
    return {name: getattr(ledger, name) for name in Ledger.__slots__ if name != "rule"}


def _grid(desk: Desk, market: str) -> tuple[str, str, str]:
    """Return in what lots and ticks a market is counted, and what its name stands for."""
    instrument = desk.instruments[market]
    return str(instrument.tick), str(instrument.lot), meaning_of(instrument)


def _order(order: Order) -> dict[str, Any]:
    return {
        "intent": order.intent,
        "state": order.state,
        "lots": order.lots,
        "ticks": order.ticks,
        "revision": order.revision,
        "pending": order.pending,
        "filled": order.filled,
        "cum": order.cum,
        "value": order.value,
        "trade_ids": sorted(order.trade_ids),
        "exchange_id": order.exchange_id,
        "cancel_asked": order.cancel_asked,
    }


def _trade(trade: Trade) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ordinal": trade.ordinal,
        "wall": trade.wall,
        "entered": trade.entered,
        "baseline": trade.baseline,
        "attempt": trade.attempt,
        "failed": trade.failed,
        "rejected": trade.rejected,
        "held": [trade.held_sign, trade.held_since + trade.wall - trade.t],
        "lead": trade.lead,
        "given_up": trade.given_up,
        "then_sent": trade.then_sent,
        "legs": [
            {
                "market": leg.plan.market,
                "side": leg.plan.side,
                "planned": leg.planned,
                "touch": leg.touch,
                "start": leg.start,
                "fee_start": leg.fee_start,
            }
            for leg in trade.legs
        ],
    }
    if trade.rule.trade is not None and trade.rule.trade.hedge is not None:
        row["hedge"] = trade.rule.trade.hedge  # for a caretaker: the legs belong together
    if trade.incompletable:
        row["incompletable"] = True
    if trade.refused:
        row["refused"] = [trade.refused, trade.refused_until + trade.wall - trade.t]
    if trade.owed:
        row["owed"] = trade.owed
    for guard in trade.guards:
        row[GUARDS[guard.kind]] = {
            "ticks": guard.ticks, "cid": guard.cid, "given_up": guard.given_up,
        }  # fmt: skip
        if guard.late or guard.chances:
            row[GUARDS[guard.kind]] |= {"late": guard.late, "chances": guard.chances}
    if trade.leaving is not None:
        leaving = trade.leaving
        row["leaving"] = {
            "reason": leaving.reason,
            "only": leaving.only,
            "commanded": leaving.commanded,
            "passive": leaving.passive,
            "since": leaving.since + trade.wall - trade.t,
            "keep": leaving.keep,
            "mids": leaving.mids,
        }
    return row
