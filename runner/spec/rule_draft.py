"""A rule between its text and its plan: what `rules` has read, with its places (`RuleDraft`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from runner.lang import types
from runner.lang.diagnostics import Mark, Text
from runner.lang.nodes import Mapping
from runner.lang.tree import Bool, Expr, entered_of, streams_of
from runner.market.instruments import Side
from runner.spec.context import flag, text, word
from runner.spec.markets import MarketDraft
from runner.spec.parts import Rate
from runner.spec.quotes import QuoteDraft, plan_quote
from runner.spec.rule_plan import (
    ClosePlan,
    DeedPlan,
    GuardPlan,
    HedgePlan,
    LegPlan,
    OrderPlan,
    RulePlan,
    SingleOrderPlan,
    SizePlan,
    TradePlan,
)
from runner.spec.source_plan import TriggerPlan
from runner.spec.stops import StopDraft


@dataclass(slots=True)
class LegDraft:
    """A leg; `market` is None when its reference did not resolve."""

    market: MarketDraft | None
    side: Side | None
    mark: Mark
    weight: Expr | None = None
    has_weight: bool = False
    order: OrderPlan = field(default_factory=OrderPlan)
    has_collar: bool = False

    @property
    def rests(self) -> bool:
        """Whether its order may stay in the book."""
        return self.order.tif in ("gtc", "post_only")


@dataclass(slots=True)
class SizeDraft:
    """A size with its bounds and its place."""

    expr: Expr | None
    max: Expr | None
    min: Expr | None
    mark: Mark
    name: str = ""


@dataclass(slots=True)
class RuleDraft:
    """A rule. `verb` is one of `VERBS`; None when it is missing."""

    name: str
    key: Mark
    node: Mapping
    path: str
    when: Expr | None = None
    until: Expr | None = None
    verb: str | None = None
    verb_key: Mark = field(default_factory=lambda: Mark(1, 1, 2))
    verb_node: Mapping | None = None
    size: SizeDraft | None = None
    legs: list[LegDraft] = field(default_factory=list)
    hedge: HedgePlan | None = None
    close: ClosePlan | None = None
    stop: StopDraft | None = None
    target: GuardPlan | None = None
    quote: QuoteDraft | None = None
    for_ns: int = 0
    max_hold_ns: int | None = None
    max_skew_ns: int | None = None
    cooldown_ns: int = 0
    firings: Rate | None = None
    trigger: TriggerPlan | None = None
    do: list[DeedPlan] = field(default_factory=list)

    @property
    def markets(self) -> list[MarketDraft]:
        """The markets of its legs that resolved."""
        return [leg.market for leg in self.legs if leg.market is not None]

    @property
    def exprs(self) -> list[Expr]:
        """Every tree of the rule."""
        size = self.size
        bounds = [size.expr, size.max, size.min] if size else []
        legs = [e for leg in self.legs for e in (leg.weight, leg.order.price)]
        stop = self.stop.price if self.stop is not None else None
        target = self.target.price if self.target is not None else None
        quote = self.quote.exprs if self.quote is not None else []
        found = (self.when, self.until, *bounds, *legs, stop, target, *quote)
        return [e for e in found if e is not None]


def plan_rule(draft: RuleDraft, price_collar: float, firings: Rate) -> RulePlan:
    """Make the plan of a rule without error."""
    node = draft.node
    legs = tuple(_plan_leg(leg) for leg in draft.legs)
    trade = order = quote = None
    close = draft.close or ClosePlan()
    if close.worst < 0:
        close = replace(close, worst=max(price_collar, close.collar))
    if draft.verb == "trade":
        guard = draft.stop.guard if draft.stop is not None else None
        loss = draft.stop.loss if draft.stop is not None else None
        trade = TradePlan(_plan_size(draft), legs, draft.hedge, close, guard, loss, draft.target)
    elif draft.quote is not None:
        assert draft.verb_node is not None
        quote = plan_quote(draft.quote, draft.verb_node, legs[0].market, close)
    elif draft.verb == "order":
        assert draft.verb_node is not None
        order = SingleOrderPlan(
            _plan_size(draft),
            legs[0],
            flag(draft.verb_node, "reduce_only"),
            word(draft.verb_node, "keep", "true") == "true",
            text(draft.verb_node, "key") or "",
        )
    sizes = [e for e in draft.exprs if e is not draft.until]
    return RulePlan(
        name=draft.name,
        line=draft.key.line,
        when=draft.when if draft.when is not None else _always(draft),
        until=draft.until,
        entered=entered_of(draft.until),
        for_ns=draft.for_ns,
        max_hold_ns=draft.max_hold_ns,
        max_skew_ns=draft.max_skew_ns,
        cooldown_ns=draft.cooldown_ns,
        on_missing=word(node, "on_missing", "hold"),
        rearm=word(node, "rearm", "edge"),
        once=flag(node, "once"),
        trade=trade,
        order=order,
        quote=quote,
        when_streams=streams_of(*sizes),
        until_streams=streams_of(draft.until),
        when_text=text(node, "when") or "",
        until_text=text(node, "until") or "",
        net=word(node, "mode", "exclusive") == "net",
        max_firings=draft.firings or firings,
        trigger=draft.trigger,
        do=tuple(draft.do),
    )


def _plan_size(draft: RuleDraft) -> SizePlan:
    assert draft.size is not None and draft.size.expr is not None
    size = draft.size
    expr = draft.size.expr
    return SizePlan(expr, expr.type.currency or "", size.min, size.max, size.name)


def _always(draft: RuleDraft) -> Expr:
    """Return the condition of a rule that its trigger alone starts."""
    assert draft.trigger is not None
    return Bool(types.BOOL, Text("true", draft.node.key("trigger")), 0, 4, 1, 1, True)


def _plan_leg(leg: LegDraft) -> LegPlan:
    assert leg.market is not None and leg.side is not None
    return LegPlan(leg.market.name, leg.side, leg.weight, leg.order)
