"""Read `stop:` and `target:` of a trade: the loss we watch, the prices that rest at the exchange.

A target may lie wherever a stop may: on one leg, on a perpetual (trading.md, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.lang.check import Want
from runner.lang.diagnostics import Mark
from runner.lang.nodes import Mapping
from runner.lang.scope import ThisScope
from runner.lang.tree import Expr
from runner.market.instruments import Kind
from runner.spec import catalogue
from runner.spec.context import Context, word
from runner.spec.markets import MarketDraft
from runner.spec.parts import Quantity
from runner.spec.rule_plan import GuardKind, GuardPlan

SECOND = 1_000_000_000
LEAST_CONFIRM = SECOND // 5


@dataclass(slots=True)
class StopDraft:
    """A `stop:` of the file; `price` is None where it is absent or in error."""

    mark: Mark
    loss: Quantity | None = None
    price: Expr | None = None
    text: str = ""
    trigger: str = "mark"
    confirm_within_ns: int = SECOND
    if_refused: str = "close"

    @property
    def guard(self) -> GuardPlan | None:
        """The plan of a stop at the exchange."""
        if self.price is None:
            return None
        return GuardPlan(
            self.price, self.trigger, self.confirm_within_ns, self.if_refused, self.text
        )


def read_stop(
    trade: Mapping, path: str, markets: list[MarketDraft], this: ThisScope, ctx: Context
) -> StopDraft | None:
    """Read the section of a trade whose legs are on `markets`."""
    node = trade.get("stop")
    if not isinstance(node, Mapping) or node.bad:
        return None
    path = f"{path}.stop"
    draft = StopDraft(node.mark)
    quotes = {m.quote for m in markets if m.quote is not None}
    if quotes:
        draft.loss = ctx.quantity(node, "loss", path, quotes, "`loss`")
    if "price" in node:
        draft.price = _price(node, GuardKind.STOP, path, markets, this, ctx)
    else:
        for key in ("type", "trigger", "rests_at", "confirm_within", "if_refused"):
            if key in node:
                message = f"`{key}` belongs to a stop at the exchange, which has a `price`"
                ctx.add("E0203", message, node.key(key), "", f"{path}.{key}")
    draft.text = word(node, "price", "")
    draft.trigger = word(node, "trigger", "mark")
    draft.if_refused = word(node, "if_refused", "close")
    within = ctx.duration(node, "confirm_within", path)
    if within is not None and within < LEAST_CONFIRM:
        message = "an exchange needs at least 200ms to confirm a stop"
        ctx.add("E0203", message, node.key("confirm_within"), "", f"{path}.confirm_within")
    if within is not None:
        draft.confirm_within_ns = within
    return draft


def read_target(
    trade: Mapping, path: str, markets: list[MarketDraft], this: ThisScope, ctx: Context
) -> GuardPlan | None:
    """Read the section of a trade whose legs are on `markets`; None where it is absent or wrong."""
    node = trade.get("target")
    if not isinstance(node, Mapping) or node.bad or "price" not in node:
        return None
    price = _price(node, GuardKind.TARGET, f"{path}.target", markets, this, ctx)
    if price is None:
        return None
    trigger, text = word(node, "trigger", "mark"), word(node, "price", "")
    return GuardPlan(price, trigger, if_refused="keep", text=text, kind=GuardKind.TARGET)


_INSTEAD = {
    GuardKind.STOP: (
        "`stop: {loss: 15 USDT}` watches the whole trade and closes it in pairs",
        "`stop: {loss: 15 USDT}` is watched by this process",
    ),
    GuardKind.TARGET: (
        "`until: this.exit_return > 20bps` watches the whole trade and closes it in pairs",
        "`until: this.exit_return > 20bps` is watched by this process",
    ),
}
"""what to write where nothing can rest at the exchange: for several legs, for spot"""


def _price(
    node: Mapping,
    kind: GuardKind,
    path: str,
    markets: list[MarketDraft],
    this: ThisScope,
    ctx: Context,
) -> Expr | None:
    """Read a price that rests at the exchange: it needs one leg, on a perpetual."""
    _at_exchange(node, kind, path, markets, ctx)
    market = markets[0] if len(markets) == 1 else None
    base, quote = (market.base, market.quote) if market else (None, None)
    want = Want((ctx.scope.price(quote, base),), "a price")
    return ctx.expr(node.get("price"), want, f"{path}.price", this)


def _at_exchange(
    node: Mapping, kind: GuardKind, path: str, markets: list[MarketDraft], ctx: Context
) -> None:
    pairs, watched = _INSTEAD[kind]
    if len(markets) > 1:
        message = f"a {kind} price belongs to a trade of one leg"
        label = "it would part what must leave together"
        ctx.add("E0203", message, node.key("price"), label, f"{path}.price", help=(pairs,))
        return
    for market in markets:
        type_ = market.exchange.type if market.exchange is not None else None
        if type_ is not None and catalogue.kind(type_) is Kind.SPOT:
            message = f"`{market.name}` is spot: no {kind} rests there in this version"
            ctx.add("E0207", message, node.key("price"), "", f"{path}.price", help=(watched,))
