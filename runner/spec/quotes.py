"""Read the verb `quote`, and check what only it must have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from runner.base.units import format_duration, format_ratio
from runner.lang.check import Want
from runner.lang.diagnostics import Mark
from runner.lang.nodes import Mapping
from runner.lang.scope import ThisScope
from runner.lang.tree import Expr
from runner.lang.types import amount
from runner.market.instruments import Side
from runner.spec.context import Context, section, word
from runner.spec.market_plan import AMEND_RATES
from runner.spec.markets import MarketDraft
from runner.spec.parts import Rate
from runner.spec.rule_plan import (
    ClosePlan,
    InventoryPlan,
    LegPlan,
    OrderPlan,
    QuotePlan,
    QuoteSide,
)

CANCELS_SHARE = 0.8
"""of the exchange's rate; the rest is kept for cancels and what reduces (R-11)"""
SIDES = ("bid", "ask")


class QuoteKeys(NamedTuple):
    """A quote, and where it stands."""

    name: str
    node: Mapping
    path: str
    draft: QuoteDraft


@dataclass(slots=True)
class QuoteDraft:
    """A quote; a side that is absent or in error is not in `sides`."""

    sides: dict[str, QuoteSide] = field(default_factory=dict)
    inventory: InventoryPlan | None = None
    when_moved: float = 0.0
    at_most_every_ns: int | None = None

    @property
    def exprs(self) -> list[Expr]:
        """Every tree of the quote."""
        return [e for side in self.sides.values() for e in (side.price, side.qty)]


def read_quote(
    node: Mapping, path: str, market: MarketDraft | None, this: ThisScope, ctx: Context
) -> QuoteDraft:
    """Read the verb."""
    draft = QuoteDraft()
    requote = section(node, "requote")
    moved = ctx.ratio(requote, "when_moved", f"{path}.requote")
    draft.when_moved = moved or 0.0
    draft.at_most_every_ns = ctx.duration(requote, "at_most_every", f"{path}.requote")
    if draft.at_most_every_ns == 0:
        message = "`at_most_every` is more than zero"
        place = f"{path}.requote.at_most_every"
        ctx.add("E0203", message, requote.key("at_most_every"), "", place)
        draft.at_most_every_ns = None
    if market is None or market.base is None or market.quote is None:
        return draft
    price = Want((ctx.scope.price(market.quote, market.base),), "a price")
    units = [ctx.scope.currency(market.quote), ctx.scope.currency(market.base)]
    size = Want(tuple(amount(unit) for unit in units), "an amount or a notional")
    for name in SIDES:
        at = section(node, name)
        where = f"{path}.{name}"
        limit = ctx.expr(at.get("price"), price, f"{where}.price", this)
        qty = ctx.expr(at.get("qty"), size, f"{where}.qty", this)
        if limit is not None and qty is not None:
            draft.sides[name] = QuoteSide(limit, qty, qty.type.currency or "")
    draft.inventory = _inventory(node, path, market.base, market.quote, ctx)
    return draft


def _inventory(
    node: Mapping, path: str, base: str, quote: str, ctx: Context
) -> InventoryPlan | None:
    if "inventory" not in node:
        return None
    at, path = section(node, "inventory"), f"{path}.inventory"
    limit = ctx.quantity(at, "limit", path, [base, quote], "`limit`")
    age = ctx.duration(at, "max_age", path)
    stop = ctx.quantity(at, "stop", path, [quote], "`stop`") if "stop" in at else None
    if limit is None:
        return None
    loss = float(stop.value) if stop is not None else None
    return InventoryPlan(limit, word(at, "on_leave", "passive"), age, loss)


def check_quote(
    name: str,
    key: Mark,
    node: Mapping,
    path: str,
    market: MarketDraft | None,
    draft: QuoteDraft,
    ctx: Context,
) -> None:
    """E0413, E0512, W0506 and what else a quote cannot do without."""
    if "bid" not in node and "ask" not in node:
        message = f"rule `{name}` quotes neither side: it has no `bid` and no `ask`"
        ctx.add("E0203", message, key, "", path)
    if "inventory" not in node:
        message = f"rule `{name}` quotes without `inventory`"
        help = ("inventory: {limit: 0.02 BTC, on_leave: passive, max_age: 30m, stop: 8 USDT}",)
        ctx.add("E0413", message, key, "how much may it hold?", path, help=help)
    exchange = market.exchange if market is not None else None
    if exchange is None or exchange.plan is None:
        return
    if not exchange.plan.dead_man_ns and word(node, "unattended", "false") != "true":
        message = f"nothing cancels the quotes of rule `{name}` if this machine dies"
        ways = ["`unattended: true` says that you know"]
        if exchange.plan.type == "binance_usdm":
            ways.insert(0, f"exchanges: {{{exchange.name}: {{dead_man: 120s}}}}")
        ctx.add("E0512", message, key, "unguarded", path, help=ways)
    _rate(name, node, path, exchange.plan.type, draft, ctx)


def _rate(name: str, node: Mapping, path: str, type: str, draft: QuoteDraft, ctx: Context) -> None:
    rate, every = AMEND_RATES.get(type), draft.at_most_every_ns
    if rate is None or every is None:
        return
    sides = sum(side in node for side in SIDES)
    wanted = sides * 1e9 / every
    room = rate * CANCELS_SHARE
    if wanted <= room:
        return
    least = round(sides * 1e3 / room)
    requote = section(node, "requote")
    ctx.add(
        "W0506",
        f"rule `{name}` may change its quotes {wanted:.3g} times a second",
        requote.key("at_most_every"),
        f"{sides} sides every {format_duration(every)}",
        f"{path}.requote",
        notes=(f"{type} takes {rate:g} a second; a fifth is kept for cancels",),
        help=(f"at_most_every: {least}ms",),
        severe=True,
    )


def check_budget(quotes: Sequence[QuoteKeys], budget: Rate | None, ctx: Context) -> None:
    """W0507: `max_orders` below what all quotes of the file may change, said of the first.

    How often they will no file says: that is the market's. What it says is the most, and which
    pace of the price `max_orders` bears.
    """
    changes = 0.0
    for quote in quotes:
        sides, every = sum(side in quote.node for side in SIDES), quote.draft.at_most_every_ns
        if budget is not None and every is not None:
            changes += sides * budget.per_ns / every
    if budget is None or changes <= budget.count * (1 + 1e-9):
        return
    first, per = quotes[0], format_duration(budget.per_ns)
    whose = f"rule `{first.name}`" if len(quotes) == 1 else f"{len(quotes)} rules"
    least = ceil((first.draft.at_most_every_ns or 0) * changes / budget.count / 1e6)
    slower, moved = format_duration(least * 1_000_000), format_ratio(first.draft.when_moved)
    ctx.add(
        "W0507",
        f"in a lively market {whose} can use up `max_orders`: {budget.count} in {per} are allowed",
        section(first.node, "requote").key("at_most_every"),
        f"lets quotes change up to {changes:.6g} times in {per}",
        f"{first.path}.requote",
        notes=(
            "placing and changing count; a quote that may not follow its price is cancelled",
            f"`max_orders` bears a side that follows a fill or its price (by {moved}) every"
            f" {slower}" + ("" if len(quotes) == 1 else "; the other rules' as slow in proportion"),
        ),
        help=(f"max_orders: {{count: {ceil(changes)}, per: {per}}}, or at_most_every: {slower}",),
    )


def plan_quote(draft: QuoteDraft, node: Mapping, market: str, close: ClosePlan) -> QuotePlan:
    """Make the plan of a quote without error."""
    assert draft.inventory is not None and draft.at_most_every_ns is not None
    post_only = word(node, "post_only", "true") == "true"
    order = OrderPlan("limit", "post_only" if post_only else "gtc", None)
    return QuotePlan(
        leg=LegPlan(market, Side.BUY, None, order),
        bid=draft.sides.get("bid"),
        ask=draft.sides.get("ask"),
        inventory=draft.inventory,
        post_only=post_only,
        join=word(node, "if_crossing", "join") == "join",
        when_moved=draft.when_moved,
        at_most_every_ns=draft.at_most_every_ns,
        close=close,
    )
