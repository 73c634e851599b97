"""Read `rules:`: conditions, verbs, legs, hedge and close, into drafts that keep their places."""

from __future__ import annotations

from runner.lang.check import CONDITION, NUMBER, Want
from runner.lang.nodes import Entry, Mapping, Node, Scalar, Sequence
from runner.lang.scope import ThisScope
from runner.lang.tree import Named
from runner.market.instruments import Side
from runner.spec.context import Context, fold, section, text, word
from runner.spec.deeds import read_deeds
from runner.spec.markets import MarketDraft
from runner.spec.parts import Quantity
from runner.spec.quotes import check_quote, read_quote
from runner.spec.resting import (
    DEFAULT_COLLAR,
    check_sequence,
    check_single,
    read_clip,
    read_give_up,
    read_rest,
)
from runner.spec.rule_draft import LegDraft, RuleDraft, SizeDraft
from runner.spec.rule_plan import (
    ClosePlan,
    HedgePlan,
    OrderPlan,
)
from runner.spec.signals import SizingDraft, size_bound, size_types
from runner.spec.stops import read_stop, read_target
from runner.spec.suggest import hint

SECOND = 1_000_000_000
VERBS = ("trade", "order", "quote", "do")


def first_leg(node: Mapping) -> str | None:
    """Return the name of the market of a rule's first leg, before anything is checked."""
    trade = section(node, "trade")
    legs = trade.get("legs")
    at: Node | None = section(node, "order" if "order" in node else "quote")
    if isinstance(legs, Sequence) and legs.items:
        at = legs.items[0]
    return text(at, "market") if isinstance(at, Mapping) else None


def read_rules(
    root: Mapping,
    markets: dict[str, MarketDraft],
    sizing: dict[str, SizingDraft],
    ctx: Context,
) -> dict[str, RuleDraft]:
    """Read the section."""
    drafts = {}
    verbs = {
        entry.key.text: next((verb for verb in VERBS if verb in entry.value), "")
        for entry in section(root, "rules")
        if isinstance(entry.value, Mapping)
    }
    for entry in section(root, "rules"):
        if isinstance(entry.value, Mapping) and not entry.value.bad and not entry.key.bad:
            reader = _Rule(entry, markets, sizing, verbs, ctx)
            drafts[entry.key.text] = reader.read()
    return drafts


class _Rule:
    def __init__(
        self,
        entry: Entry,
        markets: dict[str, MarketDraft],
        sizing: dict[str, SizingDraft],
        verbs: dict[str, str],
        ctx: Context,
    ) -> None:
        assert isinstance(entry.value, Mapping)
        self._markets, self._sizing, self._ctx = markets, sizing, ctx
        self._verbs = verbs
        name = entry.key.text
        self._draft = RuleDraft(name, entry.key.mark, entry.value, f"rules.{name}")
        first = markets.get(first_leg(entry.value) or "")
        base, quote = (first.base, first.quote) if first else (None, None)
        self._entering = ThisScope(name, base, quote)
        self._holding = ThisScope(name, base, quote, holding=True)

    def read(self) -> RuleDraft:
        draft, ctx, node, path = self._draft, self._ctx, self._draft.node, self._draft.path
        draft.when = ctx.expr(node.get("when"), CONDITION, f"{path}.when", self._entering)
        draft.until = ctx.expr(node.get("until"), CONDITION, f"{path}.until", self._holding)
        draft.for_ns = ctx.duration(node, "for", path) or 0
        draft.max_hold_ns = ctx.duration(node, "max_hold", path)
        draft.max_skew_ns = ctx.duration(node, "max_skew", path)
        draft.firings = ctx.rate(node, "max_firings", path)
        for verb in ("trade", "order", "quote"):
            at = node.get(verb)
            if isinstance(at, Mapping) and not at.bad:
                draft.verb, draft.verb_node, draft.verb_key = verb, at, node.key(verb)
        if draft.verb_node is not None:
            self._verb(draft.verb_node, f"{path}.{draft.verb}")
        self._do(node.get("do"))
        cooldown = ctx.duration(node, "cooldown", path)
        draft.cooldown_ns = (
            cooldown if cooldown is not None else SECOND if draft.verb == "trade" else 0
        )
        level = word(node, "rearm", "edge") == "level"
        if draft.verb == "do" and level and not draft.cooldown_ns and "cooldown" not in node:
            message = "`rearm: level` of a `do` needs a `cooldown`: it would fire on every event"
            ctx.add("E0203", message, node.key("rearm"), "", f"{path}.rearm")
        if "when" not in node and "trigger" not in node and draft.verb is not None:
            ctx.add("E0203", f"rule `{draft.name}` lacks `when`", draft.key, "", path)
        return draft

    # --- verbs -----------------------------------------------------------------------------------

    def _verb(self, node: Mapping, path: str) -> None:
        draft = self._draft
        if draft.verb == "quote":
            self._quote(node, path)
            return
        if draft.verb == "order":
            draft.legs = [self._leg(node, path, node, path)]
            draft.size = self._size(node, path)
            check_single(node, path, self._ctx)
            for key in ("until", "max_hold", "max_skew"):
                if key in draft.node:
                    message = f"`{key}` belongs to `trade`: nothing of an `order` is unwound"
                    at = draft.node.key(key)
                    self._ctx.add("E0203", message, at, "", f"{draft.path}.{key}")
            return
        legs = node.get("legs")
        if isinstance(legs, Sequence) and not legs.bad:
            for i, leg in enumerate(legs.items):
                if isinstance(leg, Mapping) and not leg.bad:
                    inner = f"{path}.legs.{i}"
                    order = section(leg, "order")
                    draft.legs.append(self._leg(leg, inner, order, f"{inner}.order"))
        draft.size = self._size(node, path)
        draft.hedge = self._hedge(node, path)
        draft.close = self._close(node, path)
        draft.stop = read_stop(node, path, draft.markets, self._entering, self._ctx)
        draft.target = read_target(node, path, draft.markets, self._entering, self._ctx)
        if isinstance(legs, Sequence) and len(legs.items) == len(draft.legs):
            policy = draft.hedge.policy if draft.hedge is not None else "together"
            nodes = [section(x, "order") for x in legs.items if isinstance(x, Mapping)]
            orders = [leg.order for leg in draft.legs]
            check_sequence(policy, orders, nodes, path, self._ctx)

    def _quote(self, node: Mapping, path: str) -> None:
        draft, market = self._draft, self._reference(node, path)
        draft.legs = [LegDraft(market, Side.BUY, node.mark, order=OrderPlan("limit", "post_only"))]
        draft.quote = read_quote(node, path, market, self._entering, self._ctx)
        draft.close = self._close(node, path)
        check_quote(draft.name, draft.verb_key, node, path, market, draft.quote, self._ctx)
        for key in ("max_hold", "max_skew"):
            if key in draft.node:
                message = f"`{key}` belongs to `trade`; a quote has `inventory: {{max_age: ..}}`"
                at = draft.node.key(key)
                self._ctx.add("E0203", message, at, "", f"{draft.path}.{key}")

    def _do(self, node: Node | None) -> None:
        """Read the verb that holds nothing."""
        draft, ctx = self._draft, self._ctx
        if not isinstance(node, Sequence) or node.bad:
            return
        draft.verb, draft.verb_key = "do", draft.node.key("do")
        draft.do = read_deeds(node, f"{draft.path}.do", self._verbs, self._markets, ctx)
        for key in ("until", "max_hold", "max_skew", "on_missing", "mode"):
            if key in draft.node:
                message = f"`{key}` belongs to `trade`: a `do` holds nothing"
                ctx.add("E0203", message, draft.node.key(key), "", f"{draft.path}.{key}")

    def _leg(self, node: Mapping, path: str, order: Mapping, order_path: str) -> LegDraft:
        market = self._reference(node, path)
        side = text(node, "side")
        leg = LegDraft(market, Side(side) if side else None, node.mark)
        leg.weight = self._ctx.expr(node.get("weight"), NUMBER, f"{path}.weight", self._entering)
        leg.has_weight = "weight" in node
        constant = fold(leg.weight, self._ctx.values) if leg.weight is not None else None
        if constant is not None and constant <= 0:
            message = "a `weight` is more than zero; `side` says the direction"
            self._ctx.add("E0203", message, node.key("weight"), "", f"{path}.weight")
        leg.order = self._order(order, order_path, market)
        leg.has_collar = "collar" in order
        return leg

    def _reference(self, node: Mapping, path: str) -> MarketDraft | None:
        at = node.get("market")
        if not isinstance(at, Scalar) or at.bad:
            return None
        found = self._markets.get(at.text)
        if found is None:
            label = hint(at.text, self._markets)
            message = f"no market is named `{at.text[:60]}`"
            self._ctx.add("E0204", message, at.mark, label, f"{path}.market")
        return found

    def _order(self, node: Mapping, path: str, market: MarketDraft | None) -> OrderPlan:
        ctx = self._ctx
        kind, tif = word(node, "type", "limit"), word(node, "tif", "ioc")
        collar = ctx.ratio(node, "collar", path)
        base, quote = (market.base, market.quote) if market else (None, None)
        want = Want((ctx.scope.price(quote, base),), "a price")
        price = ctx.expr(node.get("price"), want, f"{path}.price", self._entering)
        ttl = ctx.duration(node, "ttl", path)
        give_up = read_give_up(node, path, ctx)
        clip, reprice = read_clip(node, path, (base, quote), ctx)
        if "price" in node and "collar" in node:
            message = "an order has a `price` or a `collar`, not both"
            ctx.add("E0203", message, node.key("collar"), "", f"{path}.collar")
        elif kind == "market" and ("price" in node or "collar" in node):
            message = "a market order has neither `price` nor `collar`"
            ctx.add("E0203", message, node.key("type"), "", path)
        elif kind == "limit" and tif in ("gtc", "post_only") and "price" not in node:
            message = f"an order that rests (`tif: {tif}`) needs a `price`"
            ctx.add("E0203", message, node.key("tif"), "", f"{path}.tif")
        if kind == "market" or "price" in node:
            return OrderPlan(kind, tif, None, price, ttl, give_up, clip, reprice)
        return OrderPlan(kind, tif, DEFAULT_COLLAR if collar is None else collar, None, ttl)

    def _size(self, node: Mapping, path: str) -> SizeDraft:
        ctx, draft = self._ctx, self._draft
        names = [m.name for m in draft.markets]
        unsure = len(names) < len(draft.legs) or any(
            m.base is None or m.quote is None for m in draft.markets
        )
        wanted = () if unsure else size_types(self._markets, names, ctx)
        want = Want(wanted, "an amount or a notional")
        expr = ctx.expr(node.get("size"), want, f"{path}.size", self._entering)
        bound = want if expr is None else size_bound(expr)
        top = ctx.expr(node.get("max_size"), bound, f"{path}.max_size", self._entering)
        low = ctx.expr(node.get("min_size"), bound, f"{path}.min_size", self._entering)
        at = node.get("size")
        size = SizeDraft(expr, top, low, at.mark if at is not None else draft.verb_key)
        named = self._sizing.get(expr.name) if isinstance(expr, Named) and expr.sizing else None
        if named is not None:
            size.name = named.name
            for key, own, theirs in (("max_size", top, named.max), ("min_size", low, named.min)):
                if own is not None and theirs is not None:
                    message = f"`sizing.{named.name}` has a bound of its own already"
                    ctx.add("E0203", message, node.key(key), "", f"{path}.{key}")
            size.max, size.min = top or named.max, low or named.min
        return size

    def _hedge(self, node: Mapping, path: str) -> HedgePlan | None:
        at = node.get("hedge")
        if not isinstance(at, Mapping) or at.bad:
            return None
        ctx, path = self._ctx, f"{path}.hedge"
        currencies = [c for m in self._draft.markets for c in (m.base, m.quote) if c is not None]
        gap = ctx.quantity(at, "max_gap", path, currencies, "`max_gap`") if currencies else None
        within, worst = ctx.duration(at, "repair_within", path), ctx.ratio(at, "worst", path)
        if gap is None:
            return None
        return HedgePlan(
            gap,
            word(at, "policy", "together"),
            word(at, "repair", "cheaper"),
            2 * SECOND if within is None else within,
            0.0015 if worst is None else worst,
            word(at, "on_failure", "flatten"),
            word(at, "on_unknown", "wait"),
        )

    def _close(self, node: Mapping, path: str) -> ClosePlan:
        """Read `close`; what is absent is the leg's collar, and `worst` 0 until risk is read."""
        at, path = section(node, "close"), f"{path}.close"
        ctx = self._ctx
        collar, worst = ctx.ratio(at, "collar", path), ctx.ratio(at, "worst", path)
        retry = ctx.duration(at, "retry", path)
        legs = [leg.order.collar for leg in self._draft.legs if leg.order.collar is not None]
        if collar is None:
            collar = max(legs, default=DEFAULT_COLLAR)
        if worst is not None and worst < collar:
            message = "`worst` is less than the collar of the first try"
            ctx.add("E0203", message, at.key("worst"), "", f"{path}.worst")
        return ClosePlan(
            word(at, "tif", "ioc"),
            collar,
            250_000_000 if retry is None else retry,
            -1.0 if worst is None else worst,
            word(at, "then", "hold"),
            read_rest(at, path, self._currencies(), self._max_gap(), ctx),
        )

    def _currencies(self) -> list[tuple[str | None, str | None]]:
        """Return (base, quote) of each leg of a trade."""
        if self._draft.verb != "trade":
            return []
        markets = [leg.market for leg in self._draft.legs]
        return [(m.base, m.quote) if m is not None else (None, None) for m in markets]

    def _max_gap(self) -> Quantity | None:
        return self._draft.hedge.max_gap if self._draft.hedge is not None else None
