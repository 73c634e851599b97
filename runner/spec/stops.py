"""Read `stop:` of a trade: the loss we watch, the price at the exchange (trading.md, section 3)."""

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
from runner.spec.rule_plan import GuardPlan

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
        _at_exchange(trade, path, markets, ctx)
        market = markets[0] if len(markets) == 1 else None
        base, quote = (market.base, market.quote) if market else (None, None)
        want = Want((ctx.scope.price(quote, base),), "a price")
        draft.price = ctx.expr(node.get("price"), want, f"{path}.price", this)
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


def _at_exchange(trade: Mapping, path: str, markets: list[MarketDraft], ctx: Context) -> None:
    """A stop price needs one leg, on a perpetual."""
    node = trade.get("stop")
    assert isinstance(node, Mapping)
    if len(markets) > 1:
        message = "a stop price belongs to a trade of one leg"
        label = "it would part what must leave together"
        help = ("`stop: {loss: 15 USDT}` watches the whole trade and closes it in pairs",)
        ctx.add("E0203", message, node.key("price"), label, f"{path}.price", help=help)
        return
    for market in markets:
        type_ = market.exchange.type if market.exchange is not None else None
        if type_ is not None and catalogue.kind(type_) is Kind.SPOT:
            message = f"`{market.name}` is spot: no stop rests there in this version"
            help = ("`stop: {loss: 15 USDT}` is watched by this process",)
            ctx.add("E0207", message, node.key("price"), "", f"{path}.price", help=help)
