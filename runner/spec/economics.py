"""Whether a rule can pay for itself: the round trip against its levels, and levels against a basis.

Both are warnings, raised only for rules without an error: W0505 (what is left between entry and
exit, stop or target, does not pay the fees) and W0508 (an absolute threshold on a gap of
two markets).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runner.base.units import format_ratio
from runner.lang.tree import (
    And,
    Arithmetic,
    Call,
    Cell,
    Compare,
    Entered,
    Expr,
    Field,
    Named,
    Negate,
    Number,
    Or,
    Param,
    Space,
    StreamArg,
    find,
    unwrap,
    walk,
)
from runner.lang.tree import key as tree_key
from runner.market.instruments import Side
from runner.spec.context import Context, fold, section
from runner.spec.market_plan import StreamKind
from runner.spec.resting import DEFAULT_COLLAR
from runner.spec.rule_draft import RuleDraft

Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Level:
    """`term` is above (or below) something that is constant but for params and the cost."""

    node: Compare
    term: Expr
    above: bool
    bounds: Bounds
    at: Expr


def check(rule: RuleDraft, ctx: Context) -> None:
    """Report what does not pay."""
    cost = round_trip(rule)
    _stop_is_outside(rule, ctx)
    _target_pays(rule, ctx)
    entries = list(_levels(rule.when, cost, ctx))
    _absolute(rule, entries, ctx)
    for entry in (e for e in entries if _is_edge(e.term)):
        for leave in _levels(rule.until, cost, ctx):
            if leave.above != entry.above and tree_key(leave.term) == tree_key(entry.term):
                _pays(rule, entry, leave, ctx)
                return


def _is_edge(term: Expr) -> bool:
    """Whether a term is a distance of prices, which a trade could earn (a funding rate is not)."""
    return any(call.function == "gap" for call in find(term, Call))


def round_trip(rule: RuleDraft, *, at_once: bool = False) -> float | None:
    """Return the fees of opening and closing all legs as a ratio of one leg's notional.

    `at_once`: closing as what is graver than `until` does, which never rests.
    """
    total = 0.0
    for i, leg in enumerate(rule.legs):
        if leg.market is None or leg.market.instrument is None or not leg.market.certain:
            return None
        fees = leg.market.instrument.fees
        opening = fees.maker if leg.order.tif == "post_only" else fees.taker
        posts = _posts(rule) and i == 0 and not at_once
        total += opening + (fees.maker if posts else fees.taker)
    return total


def collars(rule: RuleDraft) -> float:
    """Return what the collars of entry and close may take beside the fees.

    The first leg of a close that only posts pays the maker's fee and no collar, while it is not
    given up.
    """
    opening = sum(leg.order.collar or 0.0 for leg in rule.legs)
    close = rule.close.collar if rule.close is not None else DEFAULT_COLLAR
    return opening + close * (len(rule.legs) - _posts(rule))


def _posts(rule: RuleDraft) -> bool:
    return rule.close is not None and rule.close.tif == "post_only"


# --- levels --------------------------------------------------------------------------------------


def _levels(expr: Expr | None, cost: float | None, ctx: Context) -> Iterator[_Level]:
    """Yield the comparisons of ratios with something constant, out of `and`, `or` and chains."""
    if expr is None:
        return
    node = unwrap(expr)
    if isinstance(node, And | Or):
        for item in node.items:
            yield from _levels(item, cost, ctx)
    elif isinstance(node, Compare):
        pairs = zip(node.ops, node.operands, node.operands[1:], strict=False)
        for op, left, right in pairs:
            if op in ("<", "<=", ">", ">=") and (left.type.is_ratio or right.type.is_ratio):
                yield from _level(node, op.startswith(">"), left, right, cost, ctx)


def _level(
    node: Compare, greater: bool, left: Expr, right: Expr, cost: float | None, ctx: Context
) -> Iterator[_Level]:
    low, high = _bounds(left, cost, ctx), _bounds(right, cost, ctx)
    if low is None and high is not None:
        yield _Level(node, left, greater, high, right)
    elif high is None and low is not None:
        yield _Level(node, right, not greater, low, left)


def _bounds(expr: Expr, cost: float | None, ctx: Context) -> Bounds | None:
    """Return the least and the largest value over the ranges of params; None when it moves."""
    match expr:
        case Number():
            return expr.value, expr.value
        case Param():
            return _param(expr.name, ctx)
        case Named():
            return _bounds(expr.expr, cost, ctx)
        case Cell(space=Space.THIS, field="cost"):
            return None if cost is None else (cost, cost)
        case Negate():
            inner = _bounds(expr.operand, cost, ctx)
            return None if inner is None else (-inner[1], -inner[0])
        case Arithmetic():
            left, right = _bounds(expr.left, cost, ctx), _bounds(expr.right, cost, ctx)
            return None if left is None or right is None else _combined(expr.op, left, right)
    return None


def _param(name: str, ctx: Context) -> Bounds | None:
    value = ctx.values.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    scope = ctx.scope.params[name]
    low = value if scope.low is None else min(scope.low, value)
    high = value if scope.high is None else max(scope.high, value)
    return low, high


def _combined(op: str, left: Bounds, right: Bounds) -> Bounds | None:
    if op == "/" and right[0] <= 0 <= right[1]:
        return None
    results = [
        {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0.0}[op]
        for a in left
        for b in right
    ]
    return min(results), max(results)


# --- findings ------------------------------------------------------------------------------------


def _pays(rule: RuleDraft, entry: _Level, leave: _Level, ctx: Context) -> None:
    cost = round_trip(rule)
    if cost is None:
        return
    if entry.above:
        left = entry.bounds[0] - leave.bounds[1]
    else:
        left = leave.bounds[0] - entry.bounds[1]
    needed = cost + collars(rule)
    if left >= needed - 1e-12:
        return
    message = f"rule `{rule.name}` may leave before the round trip is paid"
    label = f"{format_ratio(left)} are left between entry and exit"
    notes = (
        f"fees are {format_ratio(cost)}, collars may take {format_ratio(collars(rule))} more;"
        " params over their whole range",
    )
    help = ("put `this.cost` into `when`, or leave by `this.exit_return > ...`",)
    ctx.add("W0505", message, leave.node.mark, label, f"{rule.path}.until", notes=notes, help=help)


def _stop_is_outside(rule: RuleDraft, ctx: Context) -> None:
    """A trade has lost its round trip in the moment it is open; a stop within that closes it."""
    cost = round_trip(rule, at_once=True)
    stop, size = rule.stop.loss if rule.stop is not None else None, rule.size
    if stop is None or cost is None or size is None or size.expr is None:
        return
    value = fold(size.expr, ctx.values)
    if value is None or size.expr.type.currency != stop.unit:
        return
    lost = value * cost
    if float(stop.value) > lost:
        return
    message = f"the stop of rule `{rule.name}` is within its round trip"
    label = f"opening and closing {value:g} {stop.unit} costs {lost:.4g} {stop.unit} in fees"
    assert rule.verb_node is not None
    mark = section(rule.verb_node, "stop").key("loss")
    help = ("a trade is closed as soon as it is open: take a larger `loss`",)
    ctx.add("W0505", message, mark, label, f"{rule.path}.trade.stop.loss", help=help)


def _target_pays(rule: RuleDraft, ctx: Context) -> None:
    """A target that is a price of its own market times something must be past the round trip."""
    cost = round_trip(rule, at_once=True)
    target, leg = rule.target, rule.legs[0] if rule.legs else None
    if target is None or target.price is None or cost is None or leg is None or leg.market is None:
        return
    bounds = _factor(target.price, leg.market.name, ctx)
    if bounds is None:
        return
    left = bounds[0] - 1 if leg.side is Side.BUY else 1 - bounds[1]
    if left > cost:
        return
    message = f"the target of rule `{rule.name}` is within its round trip"
    label = f"{format_ratio(left)} from the entry, opening and closing costs {format_ratio(cost)}"
    help = ("each trade that reaches it loses money: take a price further away",)
    ctx.add(
        "W0505", message, target.price.mark, label, f"{rule.path}.trade.target.price", help=help
    )


def _factor(expr: Expr, market: str, ctx: Context) -> Bounds | None:
    """Return by what a price of a market's book is multiplied; None for anything else."""
    node = unwrap(expr)
    if isinstance(node, Named):
        return _factor(node.expr, market, ctx)
    if not isinstance(node, Arithmetic) or node.op != "*":
        return None
    for price, factor in ((node.left, node.right), (node.right, node.left)):
        price = unwrap(price)
        if isinstance(price, Field) and price.market == market and price.kind == StreamKind.BOOK:
            return _bounds(unwrap(factor), None, ctx)
    return None


def _absolute(rule: RuleDraft, entries: list[_Level], ctx: Context) -> None:
    asks = [level for level in entries if not _is_loose(level)]
    for level in asks or entries:  # beside a level that asks for something, a loose one is a guard
        found = _raw_gap(level.term)
        if found is not None:
            one, two = found
            ctx.add(
                "W0508",
                "an absolute threshold on a gap of two markets",
                level.node.mark,
                f"`{one}` and `{two}` have a basis that is rarely zero",
                f"{rule.path}.when",
                help=(f"subtract what is usual: `- ema(gap({one}.mid, {two}.mid), 30m)`",),
            )
            return


def _is_loose(level: _Level) -> bool:
    """Whether a level only bounds what is paid for a gap: `> -5bps`, `< 5bps`."""
    low, high = level.bounds
    return _is_edge(level.term) and (high <= 0 if level.above else low >= 0)


def _raw_gap(term: Expr) -> tuple[str, str] | None:
    """Return the two markets of a gap from which no window takes the usual basis away."""
    for node in walk(term):
        if isinstance(node, Entered) or (isinstance(node, Call) and node.window is not None):
            return None
    for call in find(term, Call):
        if call.function == "gap":
            sides = [_markets(arg) for arg in call.args]
            if len(sides) == 2 and sides[0] and sides[1] and sides[0] != sides[1]:
                return sides[0][0], sides[1][0]
    return None


def _markets(expr: Expr) -> list[str]:
    names = [n.market for n in walk(expr) if isinstance(n, Field | StreamArg) and n.market]
    return list(dict.fromkeys(names))
