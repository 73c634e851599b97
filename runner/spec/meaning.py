"""Checks of meaning over whole rules (E04): what fits together and what was forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from runner.lang.tree import key as tree_key
from runner.lang.tree import streams_of
from runner.spec import blindness, firing
from runner.spec.context import Context, word
from runner.spec.market_plan import StreamKind
from runner.spec.markets import MarketDraft
from runner.spec.quotes import QuoteKeys, check_budget
from runner.spec.risk_plan import RiskPlan
from runner.spec.rule_draft import RuleDraft

_HEDGE = "hedge: {policy: together, max_gap: ..., repair_within: ..., on_failure: flatten}"


def check(
    rules: dict[str, RuleDraft], markets: dict[str, MarketDraft], risk: RiskPlan, ctx: Context
) -> None:
    """Run every check that needs no facts of an exchange."""
    _max_age(rules, markets, risk, ctx)
    for rule in rules.values():
        if rule.verb == "trade":
            _hedged(rule, ctx)
            _closed(rule, ctx)
        firing.check(rule, ctx)
    for i, breaker in enumerate(risk.breakers):
        firing.check_breaker(breaker.when, f"risk.breakers.{i}.when", ctx)
    for rule in rules.values():
        if rule.verb is not None and not ctx.has_error(rule.path):
            _weights(rule, ctx)
    for rule in rules.values():
        if rule.verb == "trade" and not ctx.has_error(rule.path):
            _says_how_it_closes(rule, ctx)
            _same_moment(rule, ctx)
    quotes = [
        QuoteKeys(r.name, r.verb_node, f"{r.path}.quote", r.quote)
        for r in rules.values()
        if r.quote is not None and r.verb_node is not None
    ]
    if not any(ctx.has_error(each.path) for each in quotes):
        check_budget(quotes, risk.max_orders, ctx)
    for rule in rules.values():
        blindness.check(rule, markets, ctx)
    _fights(rules, ctx)


def _max_age(
    rules: dict[str, RuleDraft], markets: dict[str, MarketDraft], risk: RiskPlan, ctx: Context
) -> None:
    """Every stream that reaches an order, or may forbid one, says how old it may be (E0404)."""
    reached = {key for rule in rules.values() for key in streams_of(*rule.exprs)}
    reached |= {key for breaker in risk.breakers for key in streams_of(breaker.when)}
    traded = {m.name for rule in rules.values() if rule.verb for m in rule.markets}
    reached |= {f"{name}.{StreamKind.BOOK}" for name in traded}
    for market in markets.values():
        path = f"markets.{market.name}.streams"
        if (
            market.name in traded
            and StreamKind.BOOK not in market.streams
            and not market.streams_bad
        ):
            message = f"`{market.name}` is traded but has no `book` stream"
            help = ("streams: {book: {max_age: 250ms}}",)
            label = "an order is priced by the book"
            ctx.add("E0404", message, market.streams_mark, label, path, help=help)
        for kind, mark in market.stream_marks.items():
            stream = f"{market.name}.{kind}"
            if stream in reached:
                ctx.add(
                    "E0404",
                    f"`{stream}` reaches an order but has no `max_age`",
                    mark,
                    "may be arbitrarily old",
                    f"{path}.{kind}",
                    help=(
                        "add e.g. `max_age: 250ms`; past it the value counts as missing"
                        " and the rule does not fire",
                    ),
                )


def _hedged(rule: RuleDraft, ctx: Context) -> None:
    node = rule.verb_node
    if node is not None and len(rule.legs) > 1 and "hedge" not in node:
        message = f"rule `{rule.name}` has several legs and no `hedge`"
        path = f"{rule.path}.trade"
        ctx.add("E0406", message, rule.verb_key, "what if only one fills?", path, help=(_HEDGE,))


def _closed(rule: RuleDraft, ctx: Context) -> None:
    node, verb = rule.node, rule.verb_node
    stop = verb is not None and "stop" in verb
    if "until" not in node and "max_hold" not in node and not stop:
        message = f"rule `{rule.name}` opens a position that nothing closes"
        label, help = "", ("add `until`, `max_hold` or a `stop`",)
        if verb is not None and "target" in verb:
            label = "its target closes it in profit alone"
        ctx.add("W0407", message, rule.key, label, rule.path, help=help)


def _weights(rule: RuleDraft, ctx: Context) -> None:
    """Without weights all legs get one quantity, which means nothing across bases (E0415)."""
    bases = {m.base for m in rule.markets if m.base}
    if len(bases) < 2:
        return
    for leg in rule.legs:
        if not leg.has_weight:
            ctx.add(
                "E0415",
                f"legs of rule `{rule.name}` have different bases and no `weight`",
                leg.mark,
                f"how much {leg.market.base if leg.market else ''} for the others?",
                f"{rule.path}.trade.legs",
                help=("`weight: 1` on each leg makes their notionals equal",),
            )
            return


def _says_how_it_closes(rule: RuleDraft, ctx: Context) -> None:
    """A leg that rests cannot lend its order to the close (E0411)."""
    assert rule.verb_node is not None
    leaves = any(key in rule.node for key in ("until", "max_hold"))
    leaves = leaves or any(key in rule.verb_node for key in ("stop", "target"))
    plain = all(leg.order.tif == "ioc" and leg.order.type == "limit" for leg in rule.legs)
    if leaves and not plain and "close" not in rule.verb_node:
        message = f"rule `{rule.name}` leaves by nothing: a leg is not a plain IOC"
        help = ("close: {tif: ioc, collar: 3bps, retry: 250ms, worst: 25bps, then: hold}",)
        ctx.add("E0411", message, rule.verb_key, "add `close`", f"{rule.path}.trade", help=help)


def _same_moment(rule: RuleDraft, ctx: Context) -> None:
    exchanges = {m.exchange.name for m in rule.markets if m.exchange}
    if len(exchanges) > 1 and "max_skew" not in rule.node:
        names = " and ".join(f"`{n}`" for n in sorted(exchanges))
        ctx.add(
            "E0412",
            f"rule `{rule.name}` trades on two exchanges without `max_skew`",
            rule.key,
            f"books of {names} may be of different moments",
            rule.path,
            help=("add e.g. `max_skew: 100ms`",),
        )


def _fights(rules: dict[str, RuleDraft], ctx: Context) -> None:
    """Two rules that want opposite sides of a market at the same time (W0408)."""
    sound = [r for r in rules.values() if r.verb is not None and not ctx.has_error(r.path)]
    for one, two in combinations(sound, 2):
        for market in _opposed(one, two):
            if _netting(one) and _netting(two):
                message = (
                    f"rules `{one.name}` and `{two.name}` may hold opposite sides of `{market}`"
                )
                note = "with `mode: net` on both their exits are not reduce-only"
            elif one.when is not None and two.when is not None and _same(one, two):
                message = f"rules `{one.name}` and `{two.name}` fight over `{market}`"
                note = "both enter on the same condition, on opposite sides; the first one wins"
            else:
                continue
            ctx.add("W0408", message, two.key, "", two.path, notes=(note,))


def _opposed(one: RuleDraft, two: RuleDraft) -> Iterator[str]:
    for a in one.legs:
        for b in two.legs:
            if a.market is not None and a.market is b.market and a.side is not b.side:
                yield a.market.name
                return


def _same(one: RuleDraft, two: RuleDraft) -> bool:
    assert one.when is not None and two.when is not None
    return tree_key(one.when) == tree_key(two.when)


def _netting(rule: RuleDraft) -> bool:
    return word(rule.node, "mode", "exclusive") == "net"
