"""Whether the stops and targets of a file may be more than an exchange lets stand (W0509).

A rule holds one trade at a time, and rules of opposite sides exclude each other unless both are
`mode: net`; `max_open_trades` bounds them all. What is left may stand together, whatever the sizes.
"""

from __future__ import annotations

from collections.abc import Iterable

from runner.market.instruments import Side
from runner.spec.context import Context, word
from runner.spec.market_plan import CONDITIONAL_ORDERS, SPARE_CONDITIONAL
from runner.spec.markets import MarketDraft
from runner.spec.risk_plan import RiskPlan
from runner.spec.rule_draft import RuleDraft

_HELP = (
    "risk: {max_open_trades: 4}   bounds what is open at once",
    "stop: {loss: 15 USDT} and `until` are watched by this process and take no place there",
)


def check(rules: Iterable[RuleDraft], risk: RiskPlan, ctx: Context) -> None:
    """Report each market on which more may stand than its exchange takes."""
    guarded: dict[str, list[RuleDraft]] = {}
    markets: dict[str, MarketDraft] = {}
    for rule in rules:
        market = rule.legs[0].market if rule.verb == "trade" and rule.legs else None
        if market is not None and _guards(rule) and not ctx.has_error(rule.path):
            guarded.setdefault(market.name, []).append(rule)
            markets[market.name] = market
    for name, market in markets.items():
        type_ = market.exchange.type if market.exchange is not None else None
        if type_ is not None and type_ in CONDITIONAL_ORDERS:
            _check(name, type_, _together(guarded[name], risk.max_open_trades), ctx)


def _check(market: str, type_: str, sets: list[list[RuleDraft]], ctx: Context) -> None:
    limit, together = CONDITIONAL_ORDERS[type_], max(sets, key=_count)
    if _count(together) <= limit - SPARE_CONDITIONAL:
        return
    first = together[0]
    assert first.verb_node is not None
    key = "stop" if first.stop is not None and first.stop.price is not None else "target"
    ctx.add(
        "W0509",
        f"{_count(together)} stops and targets may stand on `{market}` at once, and {type_} has"
        f" room for {limit - SPARE_CONDITIONAL}",
        first.verb_node.key(key),
        f"{len(together)} trades may be open there at once",
        f"{first.path}.trade.{key}",
        notes=(
            f"it takes {limit} a symbol; one place stays free, for a smaller stop before the"
            " larger one is cancelled",
            "an entry that finds no place for its stop and target is not sent",
        ),
        help=_HELP,
    )


def _together(rules: list[RuleDraft], trades: int | None) -> list[list[RuleDraft]]:
    """Return the sets of rules that may hold a trade at once, of each the most guarded ones."""
    buys = [r for r in rules if r.legs[0].side is Side.BUY]
    sells = [r for r in rules if r.legs[0].side is Side.SELL]
    net = [r for r in rules if word(r.node, "mode", "exclusive") == "net"]
    sets = [sorted(each, key=lambda r: -_guards(r)) for each in (buys, sells, net)]
    return [each if trades is None else each[:trades] for each in sets]


def _count(rules: list[RuleDraft]) -> int:
    return sum(_guards(rule) for rule in rules)


def _guards(rule: RuleDraft) -> int:
    """Return how many orders stand at the exchange while a trade of a rule is open."""
    stop = rule.stop is not None and rule.stop.price is not None
    return stop + (rule.target is not None)
