"""Taking over what an earlier run left, from its journal's rows (`snapshot`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runner.engine.caretaking import begin as begin_care
from runner.engine.commands import Intent, Topic
from runner.engine.events import Fill
from runner.engine.limits import STOP, Cause, Mode
from runner.engine.order import Order, OrderState
from runner.engine.orderflow import fill_key
from runner.engine.orphans import elsewhere, fits, holds, same_words, unguarded
from runner.engine.reading import entered_keys
from runner.engine.rule import RuleRun, RuleState
from runner.engine.saved import GUARDS, Saved
from runner.engine.setbacks import still_refused
from runner.engine.sources import Pending
from runner.engine.sources import fits as field_fits
from runner.engine.timers import NEVER
from runner.engine.trade import Guard, Leaving, Leg, Trade

if TYPE_CHECKING:
    from runner.engine.desk import Desk


REFUSED: Final = "refused"
"""the cause that freezes a run whose start is going to be refused"""


def split_fills(rules: Mapping[str, str], fills: Iterable[Fill]) -> tuple[list[str], list[Fill]]:
    """Part an earlier run's journaled fills into keys of those its rows know, and the late ones.

    A row holds every order that was unsettled then, with the trades it had; a fill of such an order
    that is not among them was journaled, but its row was not yet: a crash lies between.
    """
    known: dict[str, set[str]] = {}
    for text in rules.values():
        for order in msgspec.json.decode(text)["orders"]:
            known[order["intent"]["cid"]] = set(order["trade_ids"])
    keys, late = [], []
    for fill in fills:
        if fill.trade_id in known.get(fill.cid, (fill.trade_id,)):
            keys.append(fill_key(fill))
        else:
            late.append(fill)
    return keys, late


def restore(desk: Desk, saved: Saved, *, adopt: bool = False) -> list[str]:
    """Take over what an earlier run left; return the rules whose trades have no rule any more.

    A rule that enters or leaves otherwise than when its open trade began is one of them, unless
    `adopt`; the run is frozen then, so that nothing is done by the new words before it is refused.

    The desk's `now` and `wall` must be set. Orders that were unsettled become UNKNOWN and are
    asked about.
    """
    desk.orders.seen_fills = dict.fromkeys(sorted(saved.fills))
    desk.keys.update(saved.keys)
    if saved.run:
        _restore_run(desk, msgspec.json.decode(saved.run))
    orphans = []
    for name, text in saved.rules.items():
        row = msgspec.json.decode(text)
        run = desk.rules.runs.get(name)
        desk.spending.restore(name, row.get("spent", ()))
        if run is None or not fits(desk.plan, run.plan, row):
            desk.limits.carried += sum(
                x["realised"] - x["fees"] + x["funding"] for x in row["ledgers"]
            )
            if holds(row):
                moved = elsewhere(desk.plan, row)
                orphans.append(f"{name} ({moved})" if moved else name)
            continue
        _restore_rule(desk, run, row)
        if run.plan.orphan is not None:
            _keep_words(run, row)
        elif not adopt and _unwanted(desk, saved, row, name):
            orphans.append(f"{name} (the file says `on_restart: refuse`)")
        elif not same_words(run.plan, run.identity, row):
            assert run.trade is not None
            if adopt or not holds(row):
                _take_new_words(desk, run, row)
            else:
                run.trade.identity = row["trade"]["identity"]
                orphans.append(f"{name} (as it was: its when, until, close or params have changed)")
    _known_again(desk, saved)
    for fill in saved.late:
        _book_late(desk, fill)
    begin_care(desk, saved.settled)
    if orphans:
        text = "no rule of the file goes on with an open trade"
        desk.limits.causes[REFUSED] = Cause(Mode.FROZEN, STOP, text)
    return orphans


def _unwanted(desk: Desk, saved: Saved, row: dict[str, Any], name: str) -> bool:
    """Whether the file does not want a start with this open trade, and nobody else said so."""
    if desk.plan.run.on_restart != "refuse" or not holds(row):
        return False
    return all(each.rule != name for each in saved.settled)


def _keep_words(run: RuleRun, row: dict[str, Any]) -> None:
    """Let an orphan's trade remember its rule's words: a later file may have that rule again."""
    if run.trade is not None:
        run.trade.identity = row["trade"].get("identity", "")
        run.entered_keys = row["trade"].get("entered_of", [])


def _take_new_words(desk: Desk, run: RuleRun, row: dict[str, Any]) -> None:
    """Let an open trade go on by the file as it is now; what it remembers may not fit any more."""
    assert run.trade is not None
    if row["trade"]["entered_of"] != entered_keys(run.plan):
        run.trade.entered = run.cell.entered = [float("nan")] * len(run.plan.entered)
    gone = unguarded(run.plan, row)
    run.trade.guards = [g for g in run.trade.guards if g.kind not in gone]
    for kind in gone:
        desk.rules.guards.release(run, kind)
    desk.record("adopted_rule", rule=run.plan.name)
    text = f"{run.plan.name}: its open trade goes on by the file as it is now"
    desk.tell("warn", text, Topic.RULE)
    desk.rules.touch(run.plan.name)


def _book_late(desk: Desk, fill: Fill) -> None:
    """Book a fill that was journaled when the row of its rule was not: no rule hears of it yet."""
    order = desk.orders.all.get(fill.cid)
    if order is None or not order.take(fill):
        return
    intent = order.intent
    desk.orders.seen_fills[fill_key(fill)] = None
    desk.ledgers.book(intent.rule, intent.market, intent.side, fill, desk.price_of)
    desk.spending.book(desk, intent, fill)
    desk.orders.changed(order)
    desk.rules.touch(intent.rule)
    desk.rules.late[intent.rule] = fill.cid


def _known_again(desk: Desk, saved: Saved) -> None:
    """Know the orders that had ended lately: whatever still fills of them is booked, and closed."""
    gone = {x.of: x.rule for x in saved.settled}
    to_mono = desk.now - desk.wall
    for intent, filled in saved.ended:
        rule = gone.get(intent.rule, intent.rule)
        if intent.cid in desk.orders.all or rule not in desk.rules.runs:
            continue
        if intent.market in desk.markets:
            t = intent.wall + to_mono
            order = Order(msgspec.structs.replace(intent, t=t, rule=rule))
            order.state, order.filled, order.ended_at = OrderState.CANCELED, filled, desk.now
            desk.orders.all[intent.cid] = order


def _restore_run(desk: Desk, row: dict[str, Any]) -> None:
    desk.ordinal = row["ordinal"]
    desk.limits.day = row["day"]
    desk.limits.day_start = row["day_start"]
    desk.ledgers.external.update(row["external"])
    desk.trips.restore(row)
    for key, (mode, code, text, *until) in row["causes"].items():
        rest = NEVER if not until or until[0] is None else until[0] - desk.wall + desk.now
        desk.limits.take_over(key, Cause(Mode(mode), code, text, rest))


def _restore_rule(desk: Desk, run: RuleRun, row: dict[str, Any]) -> None:
    to_mono = desk.now - desk.wall
    for saved in row["ledgers"]:
        ledger = desk.ledgers.of(run.plan.name, saved["market"])
        for key, value in saved.items():
            setattr(ledger, key, float("nan") if value is None else value)
    desk.grids.update({market: tuple(grid) for market, grid in row.get("grids", {}).items()})
    run.armed, run.rejects = row["armed"], row["rejects"]
    run.unguarded = row.get("unguarded", 0)
    run.disabled_why = row["disabled"]
    run.cooldown_until = row["cooldown_until"] + to_mono
    state = RuleState(row["state"])
    if state is RuleState.DONE and not run.plan.once:
        state = RuleState.IDLE
    if "trade" in row:
        run.trade = _read_trade(desk, run, row["trade"], to_mono)
        run.cell.entered = run.trade.entered
        run.cell.active = state is RuleState.ACTIVE
        still_refused(desk, run.trade)
    for saved in row["orders"]:
        _restore_order(desk, saved, to_mono)
    if "inbox" in row and run.plan.trigger is not None:
        run.inbox = _read_pending(desk, row["inbox"], to_mono)
    waiting = (_read_pending(desk, p, to_mono) for p in row.get("outbox", ()))
    run.outbox = [p for p in waiting if p is not None]
    rested = state is RuleState.COOLDOWN and run.cooldown_until <= desk.now
    if rested or state in (RuleState.IDLE, RuleState.PENDING):
        state = RuleState.WARMING
    run.state = state
    run.watch()


def _restore_order(desk: Desk, saved: dict[str, Any], to_mono: int) -> None:
    intent = msgspec.convert(saved["intent"], Intent)
    intent = msgspec.structs.replace(intent, t=intent.wall + to_mono)
    order = desk.orders.add(intent)
    order.state = OrderState(saved["state"])
    order.filled, order.cum, order.value = saved["filled"], saved["cum"], saved["value"]
    order.lots, order.ticks = saved.get("lots", intent.lots), saved.get("ticks", intent.ticks)
    order.revision = saved.get("revision", 0)
    if saved.get("pending") is not None:
        pending = msgspec.convert(saved["pending"], Intent)
        order.pending = msgspec.structs.replace(pending, t=pending.wall + to_mono)
        order.amend_doubt = True
    order.trade_ids = set(saved["trade_ids"])
    order.exchange_id = saved["exchange_id"]
    if saved.get("cancel_asked", False):  # its end is still wanted: cancelled anew if it is open
        order.cancel_asked, order.cancels = True, 1
    if order.state in (OrderState.INTENT, OrderState.SENT):
        order.state = OrderState.UNKNOWN
        order.text = "the process ended"
    desk.orders.changed(order)
    if not order.settled:
        desk.orders.ask(order)


def _read_pending(desk: Desk, row: dict[str, Any], to_mono: int) -> Pending | None:
    """Return a message that waits, None when its source is not in the file any more."""
    plan = desk.plan.sources.get(row["source"])
    if plan is None or not all(field_fits(f, row["values"].get(n)) for n, f in plan.fields.items()):
        return None
    times = {key: row[key] + to_mono for key in ("base", "until", "ends")}
    return msgspec.convert({**row, **times}, Pending)


def _read_trade(desk: Desk, run: RuleRun, row: dict[str, Any], to_mono: int) -> Trade:
    legs = []
    for i, (plan, saved) in enumerate(zip(run.plan.legs, row["legs"], strict=True)):
        listed = desk.markets[plan.market]
        ledger = desk.ledgers.of(run.plan.name, plan.market)
        touch = float("nan") if saved["touch"] is None else saved["touch"]
        start, fees = saved["start"], saved.get("fee_start", 0)
        legs.append(Leg(i, plan, listed, ledger, saved["planned"], touch, start, fees))
    trade = Trade(
        run.plan,
        row["ordinal"],
        legs,
        row["wall"] + to_mono,
        row["wall"],
        [float("nan") if x is None else x for x in row["entered"]],
        row["baseline"],
        attempt=row["attempt"],
        failed=row["failed"],
        rejected=row["rejected"],
        held_sign=row.get("held", (0, 0))[0],
        held_since=row.get("held", (0, 0))[1] + to_mono,
        lead=row.get("lead", -1),
        given_up=row.get("given_up", False),
        given_up_at=desk.now,
        then_sent=row.get("then_sent", False),
        incompletable=row.get("incompletable", False),
        refused=row.get("refused", (0, 0))[0],
        refused_until=row.get("refused", (0, 0))[1] + to_mono,
        owed=row.get("owed", {}),
    )
    trade.guards = [Guard(kind, **row[key]) for kind, key in GUARDS.items() if key in row]
    if "leaving" in row:
        saved = row["leaving"]
        trade.leaving = Leaving(
            saved["reason"],
            saved["since"] + to_mono if "since" in saved else desk.now,
            only=saved["only"],
            commanded=saved["commanded"],
            passive=saved.get("passive", False),
            keep=tuple(saved["keep"]) if saved.get("keep") is not None else None,
            mids=saved["mids"],
        )
    return trade
