"""Read the limits that trip the run, and those of accounts and purchases, of `risk:`."""

from __future__ import annotations

from runner.lang.check import CONDITION, NUMBER
from runner.lang.nodes import Mapping, Node, Scalar, Sequence
from runner.lang.tree import is_broken
from runner.market.instruments import Kind
from runner.spec.context import Context, integer, text, word
from runner.spec.exchanges import ExchangeDraft
from runner.spec.markets import MarketDraft
from runner.spec.risk_plan import BreakerPlan, Drawdown, LosingStreak, Spend
from runner.spec.suggest import hint


def read_drawdown(at: Mapping, quotes: set[str], ctx: Context) -> Drawdown | None:
    """Read `max_drawdown`: a notional, or one with its consequence."""
    node, path = at.get("max_drawdown"), "risk.max_drawdown"
    if isinstance(node, Mapping) and not node.bad:
        amount = ctx.quantity(node, "amount", path, quotes, "`amount`")
        then = word(node, "then", "halt")
        rest = _rest(node, then, path, ctx)
        return None if amount is None else Drawdown(amount, then, rest)
    amount = ctx.amount(node, path, quotes, "`max_drawdown`")
    return None if amount is None else Drawdown(amount)


def read_streak(at: Mapping, ctx: Context) -> LosingStreak | None:
    """Read `max_losing_streak`."""
    node, path = at.get("max_losing_streak"), "risk.max_losing_streak"
    if not isinstance(node, Mapping) or node.bad:
        return None
    trades, then = integer(node, "trades"), word(node, "then", "pause")
    rest = _rest(node, then, path, ctx)
    return None if trades is None else LosingStreak(trades, then, rest)


def read_breakers(at: Mapping, ctx: Context) -> tuple[BreakerPlan, ...]:
    """Read `breakers`; those in error are left out."""
    node = at.get("breakers")
    if not isinstance(node, Sequence) or node.bad:
        return ()
    found = []
    for i, item in enumerate(node.items):
        if isinstance(item, Mapping) and not item.bad:
            breaker = _breaker(item, f"risk.breakers.{i}", ctx)
            if breaker is not None:
                found.append(breaker)
    return tuple(found)


def _breaker(node: Mapping, path: str, ctx: Context) -> BreakerPlan | None:
    when = ctx.expr(node.get("when"), CONDITION, f"{path}.when")
    held = ctx.duration(node, "for", path)
    then = word(node, "then", "pause")
    rest = _rest(node, then, path, ctx)
    if when is None or is_broken(when):
        return None
    return BreakerPlan(when, text(node, "when") or "", held or 0, then, rest)


def _rest(node: Mapping, then: str, path: str, ctx: Context) -> int | None:
    """Read `rest`, which only a pause has: a halt is lifted by a person."""
    rest = ctx.duration(node, "rest", path)
    if "rest" not in node or rest is None:
        return None
    if then != "pause":
        message = f"`rest` belongs to `then: pause`: a {then} is lifted by `runner resume`"
        ctx.add("E0203", message, node.key("rest"), "", f"{path}.rest")
    elif rest == 0:
        message = "a `rest` of nothing is no pause"
        ctx.add("E0203", message, node.key("rest"), "", f"{path}.rest")
    return rest


def read_spend(at: Mapping, quotes: set[str], ctx: Context) -> Spend | None:
    """Read `max_spend`."""
    node, path = at.get("max_spend"), "risk.max_spend"
    if not isinstance(node, Mapping) or node.bad:
        return None
    amount = ctx.quantity(node, "amount", path, quotes, "`amount`")
    per = ctx.duration(node, "per", path)
    if per == 0:
        ctx.add("E0203", "`per` must be more than zero", node.key("per"), "", f"{path}.per")
    return None if amount is None or not per else Spend(amount, per)


def read_leverage(
    at: Mapping,
    markets: dict[str, MarketDraft],
    exchanges: dict[str, ExchangeDraft],
    ctx: Context,
) -> dict[str, float]:
    """Read `max_leverage`: one for every exchange with perpetuals, or by exchange."""
    node, path = at.get("max_leverage"), "risk.max_leverage"
    if isinstance(node, Scalar):
        value = _multiple(node, path, ctx)
        margined = [
            m.exchange.name
            for m in markets.values()
            if m.exchange and m.instrument and m.instrument.kind is Kind.PERPETUAL
        ]
        return {} if value is None else dict.fromkeys(margined, value)
    limits = {}
    if isinstance(node, Mapping) and not node.bad:
        for entry in node:
            name = entry.key.text
            if name not in exchanges:
                label = hint(name, exchanges)
                message = f"no exchange is named `{name[:60]}`"
                ctx.add("E0204", message, entry.key.mark, label, f"{path}.{name}")
                continue
            value = _multiple(entry.value, f"{path}.{name}", ctx)
            if value is not None:
                limits[name] = value
    return limits


def _multiple(node: Node, path: str, ctx: Context) -> float | None:
    found = ctx.constant(node, NUMBER, path)
    if found is None:
        return None
    if found[0] <= 0:
        ctx.add("E0203", "`max_leverage` must be more than zero", node.mark, "", path)
        return None
    return found[0]


def read_free_margin(at: Mapping, ctx: Context) -> float | None:
    """Read `min_free_margin`, a share of the equity under 100 %."""
    share = ctx.ratio(at, "min_free_margin", "risk")
    if share is not None and share >= 1:
        message = "`min_free_margin` of 100% or more lets nothing in"
        ctx.add("E0203", message, at.key("min_free_margin"), "", "risk.min_free_margin")
    return share
