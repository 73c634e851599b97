"""Read `risk:` and `run:`; the limits that must be written (E0410)."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from runner.lang.nodes import Mapping, Node, Scalar
from runner.market.instruments import Kind, Side
from runner.spec.context import Context, integer, section, text, word
from runner.spec.exchanges import ExchangeDraft
from runner.spec.markets import MarketDraft
from runner.spec.parts import FIRINGS, Quantity
from runner.spec.plan import RunPlan
from runner.spec.risk_plan import DailyLoss, RiskPlan
from runner.spec.rule_draft import RuleDraft
from runner.spec.suggest import hint, nearest
from runner.spec.trips import (
    read_breakers,
    read_drawdown,
    read_free_margin,
    read_leverage,
    read_spend,
    read_streak,
)

MUST = ("max_position", "max_order", "max_orders", "max_daily_loss")
MUST_BUYING = ("max_order", "max_orders", "max_spend")
"""where nothing is done but purchases on spot by the verb `order`"""
_EXAMPLES = {
    "max_spend": "max_spend: {amount: 100 USDT, per: 7d}",
    "max_position": "max_position: {bin: 0.02 BTC}",
    "max_order": "max_order: 600 USDT",
    "max_orders": "max_orders: {count: 40, per: 1m}",
    "max_daily_loss": "max_daily_loss: {amount: 20 USDT, then: halt}",
}
PRICE_COLLAR = 0.01


@dataclass(slots=True)
class _Names:
    """What may stand as a key or a unit in the limits."""

    markets: dict[str, MarketDraft]
    exchanges: dict[str, ExchangeDraft]
    quotes: set[str] = field(default_factory=set)
    bases: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.quotes = {m.quote for m in self.markets.values() if m.quote}
        self.bases = {m.base for m in self.markets.values() if m.base}


def read_risk(
    root: Mapping,
    markets: dict[str, MarketDraft],
    exchanges: dict[str, ExchangeDraft],
    ctx: Context,
) -> RiskPlan:
    """Read the limits; what is absent is None or its documented default."""
    at, names = section(root, "risk"), _Names(markets, exchanges)
    max_order = at.get("max_order")
    by_market = _by_market(max_order, "risk.max_order", names, ctx, notional=True)
    collar = ctx.ratio(at, "price_collar", "risk")
    same = ctx.duration(at, "same_order_within", "risk")
    whole = None
    if isinstance(max_order, Scalar):
        whole = ctx.amount(max_order, "risk.max_order", names.quotes, "`max_order`")
    return RiskPlan(
        max_order=whole,
        max_order_by_market=by_market,
        max_position=_by_market(at.get("max_position"), "risk.max_position", names, ctx),
        max_orders=ctx.rate(at, "max_orders", "risk"),
        max_daily_loss=_daily_loss(at, names, ctx),
        max_net_position=_net(at, names, ctx),
        max_exposure=_exposure(at, names, ctx),
        max_open_orders=_open_orders(at, names, ctx),
        price_collar=PRICE_COLLAR if collar is None else collar,
        max_firings=ctx.rate(at, "max_firings", "risk") or FIRINGS,
        same_order_within_ns=50_000_000 if same is None else same,
        max_drawdown=read_drawdown(at, names.quotes, ctx),
        max_losing_streak=read_streak(at, ctx),
        breakers=read_breakers(at, ctx),
        max_leverage=read_leverage(at, markets, exchanges, ctx),
        min_free_margin=read_free_margin(at, ctx),
        max_spend=read_spend(at, names.quotes, ctx),
        max_open_trades=integer(at, "max_open_trades"),
    )


def _by_market(
    node: Node | None, path: str, names: _Names, ctx: Context, notional: bool = False
) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    if not isinstance(node, Mapping) or node.bad:
        return found
    for entry in node:
        name = entry.key.text
        market = names.markets.get(name)
        if market is None:
            label = hint(name, names.markets)
            message = f"no market is named `{name[:60]}`"
            ctx.add("E0204", message, entry.key.mark, label, f"{path}.{name}")
            continue
        units = [u for u in (market.base, market.quote if notional else None) if u]
        if units:
            quantity = ctx.amount(entry.value, f"{path}.{name}", units, f"`{name}`")
            if quantity is not None:
                found[name] = quantity
    return found


def _daily_loss(at: Mapping, names: _Names, ctx: Context) -> DailyLoss | None:
    node, path = at.get("max_daily_loss"), "risk.max_daily_loss"
    if isinstance(node, Mapping) and not node.bad:
        amount = ctx.quantity(node, "amount", path, names.quotes, "`amount`")
        hours = (text(node, "day") or "00:00 UTC")[:5].split(":")
        start = (int(hours[0]) * 60 + int(hours[1])) * 60_000_000_000
        return None if amount is None else DailyLoss(amount, word(node, "then", "halt"), start)
    amount = ctx.amount(node, path, names.quotes, "`max_daily_loss`")
    return None if amount is None else DailyLoss(amount)


def _net(at: Mapping, names: _Names, ctx: Context) -> dict[str, Decimal]:
    node, path = at.get("max_net_position"), "risk.max_net_position"
    if isinstance(node, Scalar):
        found = ctx.amount(node, path, names.bases, "`max_net_position`")
        return {} if found is None else {found.unit: found.value}
    limits = {}
    if isinstance(node, Mapping) and not node.bad:
        for entry in node:
            name = entry.key.text
            if name not in names.bases:
                message = f"no market trades `{name}`"
                label = hint(name, names.bases)
                ctx.add("E0204", message, entry.key.mark, label, f"{path}.{name}")
                continue
            found = ctx.amount(entry.value, f"{path}.{name}", [name], f"`{name}`")
            if found is not None:
                limits[name] = found.value
    return limits


def _exposure(at: Mapping, names: _Names, ctx: Context) -> dict[str, Quantity]:
    node, path = at.get("max_exposure"), "risk.max_exposure"
    if isinstance(node, Scalar):
        found = ctx.amount(node, path, names.quotes, "`max_exposure`")
        return {} if found is None else {"all": found}
    limits = {}
    if isinstance(node, Mapping) and not node.bad:
        known = {"all", *names.exchanges, *names.bases}
        for entry in node:
            name = entry.key.text
            if name not in known:
                message = f"`{name[:60]}` is neither `all`, an exchange nor a base asset"
                label = hint(name, known)
                ctx.add("E0204", message, entry.key.mark, label, f"{path}.{name}")
                continue
            found = ctx.amount(entry.value, f"{path}.{name}", names.quotes, f"`{name}`")
            if found is not None:
                limits[name] = found
    return limits


def _open_orders(at: Mapping, names: _Names, ctx: Context) -> dict[str, int]:
    node = at.get("max_open_orders")
    every = integer(at, "max_open_orders")
    limits = dict.fromkeys(names.markets, 20 if every is None else every)
    if isinstance(node, Mapping) and not node.bad:
        for entry in node:
            count = integer(node, entry.key.text)
            if entry.key.text not in names.markets:
                message = f"no market is named `{entry.key.text[:60]}`"
                label = hint(entry.key.text, names.markets)
                ctx.add("E0204", message, entry.key.mark, label, "risk.max_open_orders")
            elif count is not None:
                limits[entry.key.text] = count
    return limits


def check_must(root: Mapping, rules: dict[str, RuleDraft], ctx: Context) -> None:
    """Report the limits that must be written and are not, all in one (E0410)."""
    opening = [r for r in rules.values() if r.verb is not None and r.verb != "do"]
    if not opening:
        return
    there = root.get("risk")
    if there is not None and (there.bad or not isinstance(there, Mapping)):
        return
    at = there if isinstance(there, Mapping) else Mapping(root.key("rules"))
    must: tuple[str, ...] = MUST
    if all(_only_buys_spot(r) for r in opening) and not {"max_position", "max_daily_loss"} <= {
        entry.key.text for entry in at
    }:
        must = MUST_BUYING
    meant = {nearest(entry.key.text, must) for entry in at if entry.value.bad}
    absent = [name for name in must if name not in at and name not in meant]
    mark = root.key("risk" if "risk" in root else "rules")
    if absent:
        names = ", ".join(f"`{n}`" for n in absent)
        where = "`risk` lacks" if "risk" in root else "there is no `risk` with"
        message = f"rules open positions but {where} {names}"
        help = (", ".join(_EXAMPLES[n] for n in absent),)
        ctx.add("E0410", message, mark, "limits that must be written", "risk", help=help)
    _every_market(at, opening, ctx)


def _only_buys_spot(rule: RuleDraft) -> bool:
    """Whether all a rule does is to buy what is paid in full: `max_spend` bounds it."""
    return rule.verb == "order" and all(
        leg.side is Side.BUY
        and leg.market is not None
        and leg.market.instrument is not None
        and leg.market.instrument.kind is Kind.SPOT
        for leg in rule.legs
    )


def _every_market(at: Mapping, opening: list[RuleDraft], ctx: Context) -> None:
    """`max_position` (and `max_order` as a mapping) must name every traded market."""
    traded = dict.fromkeys(m.name for rule in opening for m in rule.markets)
    for key in ("max_position", "max_order"):
        limits = at.get(key)
        if isinstance(limits, Mapping) and not limits.bad:
            absent = [name for name in traded if name not in limits]
            if absent:
                names = ", ".join(f"`{n}`" for n in absent)
                message = f"`{key}` lacks {names}, where rules trade"
                label = "limits that must be written"
                ctx.add("E0410", message, at.key(key), label, f"risk.{key}")


def read_run(root: Mapping, ctx: Context) -> RunPlan:
    """Read `run:`."""
    at = section(root, "run")
    within = ctx.duration(at, "stop_within", "run")
    return RunPlan(
        word(at, "on_stop", "cancel"),
        word(at, "on_restart", "adopt"),
        5_000_000_000 if within is None else within,
    )
