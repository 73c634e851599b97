"""Caretakers: rules that look after open trades which no rule of the file goes on with (`orphans`).

A caretaker enters nothing. It closes its trade as soon as the exchanges of its legs are there, or
keeps it until a limit, its stop at the exchange or the operator says otherwise. When the exchange
takes a part of one leg, the others are trimmed to match it (R-79), by what the trade's row tells of
its hedge. While one has to close, the run is REDUCING: no rule enters before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from runner.base.errors import WorldError
from runner.engine.commands import Topic
from runner.engine.limits import Cause, Mode
from runner.engine.orphans import ADOPTED, Row, elsewhere, legs_of
from runner.engine.saved import GUARDS, Saved, Settled
from runner.lang import types
from runner.lang.diagnostics import Mark, Text
from runner.lang.tree import Bool, Number
from runner.market.instruments import Kind, Side
from runner.spec.market_plan import MarketPlan, StreamKind, StreamPlan
from runner.spec.rule_plan import (
    Care,
    ClosePlan,
    GuardKind,
    GuardPlan,
    HedgePlan,
    LegPlan,
    OrderPlan,
    RulePlan,
    SizePlan,
    TradePlan,
)

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.engine.rule import RuleRun
    from runner.spec.plan import Plan

CODE: Final = "orphans"
"""the cause that holds back all rules while a caretaker closes"""
_NOWHERE: Final = Text("false", Mark(1, 1, 2), False)


def with_care(plan: Plan, saved: Saved | None) -> Plan:
    """Return a plan with a caretaker for each orphan that is held or closed.

    WorldError when one of its markets is not in the file, or has no book there.
    """
    cared = [x for x in saved.settled if x.how != ADOPTED] if saved is not None else []
    if saved is None or not cared:
        return plan
    rules, markets = dict(plan.rules), dict(plan.markets)
    for each in cared:
        row = msgspec.json.decode(saved.rules[each.rule])
        if elsewhere(plan, row):
            raise WorldError(
                f"the open trade of {each.of} needs its markets to be closed or held, and"
                f" {elsewhere(plan, row)}: let the name stand for what it did"
            )
        for market, _ in legs_of(row):
            markets[market] = _traded(markets.get(market), market, each.of)
        rules[each.rule] = _caretaker(replace(plan, markets=markets), each, row)
    return replace(plan, rules=rules, markets=markets)


def _traded(market: MarketPlan | None, name: str, of: str) -> MarketPlan:
    if market is None or StreamKind.BOOK not in market.streams:
        lacks = "is not in the file" if market is None else "has no `book` stream in the file"
        raise WorldError(
            f"the open trade of {of} needs its markets to be closed or held, and {name} {lacks}:"
            " write it there"
        )
    if market.traded:
        return market
    streams = dict(market.streams)
    if market.instrument.kind is Kind.PERPETUAL:
        for kind in (StreamKind.MARK, StreamKind.FUNDING):
            key = f"{name}.{kind}"
            streams.setdefault(kind, StreamPlan(key, name, kind, None, implied=True))
    return replace(market, traded=True, streams=streams)


def _caretaker(plan: Plan, each: Settled, row: Row) -> RulePlan:
    """Return the rule that does nothing of itself; it leaves by the defaults of a close."""
    legs = tuple(LegPlan(m, Side(side), None, OrderPlan()) for m, side in legs_of(row))
    names = {leg.market for leg in legs}
    quote = plan.markets[legs[0].market].instrument.quote
    size = Number(types.amount(quote), _NOWHERE, 0, 1, 1, 1, 0.0, quote)
    close = ClosePlan(worst=max(plan.risk.price_collar, ClosePlan().collar))
    return RulePlan(
        name=each.rule,
        line=1,
        when=Bool(types.BOOL, _NOWHERE, 0, 5, 1, 1, False),
        until=None,
        entered=(),
        for_ns=0,
        max_hold_ns=None,
        max_skew_ns=None,
        cooldown_ns=0,
        on_missing="hold",
        rearm="edge",
        once=True,
        trade=TradePlan(
            SizePlan(size, quote),
            legs,
            _hedge(row),
            close,
            guard=_guard(row, size, GuardKind.STOP),
            target=_guard(row, size, GuardKind.TARGET),
        ),
        order=None,
        when_streams=(),
        until_streams=(),
        when_text="false",
        net=any(r.net and names & {leg.market for leg in r.legs} for r in plan.rules.values()),
        orphan=Care(each.how),
    )


def _hedge(row: Row) -> HedgePlan | None:
    """Return by what the legs of a trade belong together: what parts them later is only trimmed.

    Older rows do not say.
    """
    saved = row.get("trade", {}).get("hedge")
    if saved is None:
        return None
    return replace(msgspec.convert(saved, HedgePlan), repair="unwind", on_failure="keep")


def _guard(row: Row, price: Number, kind: GuardKind) -> GuardPlan | None:
    """Return how the stop or target of a trade is looked after that stands at the exchange."""
    if GUARDS[kind] not in row.get("trade", ()):
        return None
    intents = (o["intent"] for o in row["orders"])
    triggers = [i["trigger"] for i in intents if i["type"] == kind.value]
    return GuardPlan(price, triggers[0] if triggers else "mark", kind=kind)


# -- while the run goes on


def begin(desk: Desk, settled: Iterable[Settled]) -> None:
    """Tell what becomes of each, write the rows anew, and hold back all rules while one closes."""
    closing = []
    for each in settled:
        desk.record("orphan", rule=each.rule, of=each.of, how=each.how)
        desk.rules.touch(each.of)
        desk.rules.touch(each.rule)
        if each.how == ADOPTED:
            text = f"{each.rule} goes on with the open trade of {each.of}"
        elif each.how == Care.CLOSE and desk.rules.runs[each.rule].trade is not None:
            closing.append(each.rule)
            text = f"{each.rule}: an open trade without a rule; it is closed before any may enter"
        else:
            text = f"{each.rule}: holdings without a rule are kept; no condition touches them"
        desk.tell("warn", text, Topic.RULE)
    if closing:
        text = f"closing {', '.join(closing)}: no rule of the file goes on with it"
        desk.limits.causes[CODE] = Cause(Mode.REDUCING, CODE, text)


def take_up(desk: Desk, run: RuleRun) -> None:
    """Look after an orphan's trade now that its exchanges are there."""
    groups = desk.rules.groups
    if run.trade is None:
        return
    groups.cancel_resting(run)
    if run.plan.orphan is Care.CLOSE:
        desk.trades.leave(run, "orphan")
    elif desk.rules.is_entering(run):
        groups.watch_doubt(run)
        desk.rules.guards.look(run)
        if not groups.unsettled(run):
            groups.judge(run)
    else:
        desk.rules.holding.take_up(run)


def over(desk: Desk, run: RuleRun) -> None:
    """An orphan's trade is over: when none is left to be closed, rules may enter again."""
    if run.plan.orphan is None:
        return
    desk.tell("warn", f"{run.plan.name}: what had no rule is closed", Topic.RULE)
    closing = (r for r in desk.rules.runs.values() if r.plan.orphan is Care.CLOSE)
    if all(r.trade is None for r in closing):
        desk.limits.drop(CODE)
