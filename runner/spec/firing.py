"""Whether a rule can fire, always does, or leaves in the moment it enters (E0401 W0402 E0403).

Theory: a condition is taken apart into comparisons of a term with something constant (params at
the values in force). Each says that the term lies in an interval. Conjuncts on the same term are
intersected with each other and with what the term can be at all; an empty set can never fire. What
is not understood is taken to be possible, so nothing is reported that could work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from runner.base.units import format_duration, format_ratio
from runner.lang import types
from runner.lang.diagnostics import Related
from runner.lang.functions import CELLS, EDGES, FIELDS, FUNCTIONS
from runner.lang.ranges import ALL, Interval, point
from runner.lang.tree import (
    And,
    Arithmetic,
    Bool,
    Call,
    Cell,
    Compare,
    Expr,
    Field,
    IfElse,
    Named,
    Negate,
    Not,
    Number,
    Or,
    Param,
    is_broken,
    key,
    params_of,
    unwrap,
)
from runner.lang.types import Type
from runner.spec.context import Context
from runner.spec.rule_draft import RuleDraft

_FLIP = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_INVERT = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


@dataclass(frozen=True, slots=True)
class Atom:
    """`term` lies in `inside`; `at` is the node in the rule's own text that says so."""

    term: str
    shown: str
    type: Type
    inside: Interval
    possible: Interval
    at: Expr
    flipped: bool
    """the interval is of the term's negative: sums are brought to one sign"""


def check(rule: RuleDraft, ctx: Context) -> None:
    """Report a rule that never fires, always does, or undoes itself."""
    if rule.when is not None and not is_broken(rule.when):
        fires = _lasts(rule, rule.when, ctx)
        who = f"rule `{rule.name}`"
        fires = fires and _possible(who, rule.when, f"{rule.path}.when", "can never fire", ctx)
        if fires and rule.until is not None and not is_broken(rule.until):
            path = f"{rule.path}.until"
            leaves = _possible(who, rule.until, path, "can never leave by `until`", ctx)
            if leaves:
                _undoes_itself(rule, rule.when, rule.until, ctx)


# --- E0401, W0402 --------------------------------------------------------------------------------


def check_breaker(when: Expr, path: str, ctx: Context) -> None:
    """Report a breaker that never trips, or always does."""
    _possible("a breaker", when, path, "can never trip", ctx)


def _possible(who: str, expr: Expr, path: str, what: str, ctx: Context) -> bool:
    """Report at most one finding about a condition; return whether it can be true."""
    message, place = f"{who} {what}", path.rsplit(".", 1)[1]
    truth = _truth(expr, ctx)
    if truth is True:
        help = ("a condition that is always true is no condition",)
        label = "always true"
        ctx.add("W0402", f"`{place}` of {who} is always true", expr.mark, label, path,
                help=help)  # fmt: skip
        return True
    seen: dict[str, tuple[Interval, Atom]] = {}
    for atom in _atoms(expr, expr, ctx):
        if (atom.inside & atom.possible).empty:
            notes = (_lies(atom),) if atom.possible.bounded else ()
            ctx.add("E0401", message, atom.at.mark, "always false", path, notes=notes)
            return False
        earlier = seen.get(atom.term)
        both = atom.inside & (earlier[0] if earlier else atom.possible)
        if earlier is not None and both.empty:
            label = f"contradicts `{earlier[1].at.source}`"
            notes = ("both speak of the same value",)
            ctx.add("E0401", message, atom.at.mark, label, path, notes=notes)
            return False
        seen[atom.term] = (both, atom)
    if truth is False:
        ctx.add("E0401", message, expr.mark, "always false", path)
        return False
    return True


def _truth(expr: Expr, ctx: Context) -> bool | None:
    """Return what a condition always is (where it is known at all), None when it may change."""
    match expr:
        case Named():
            return _truth(expr.expr, ctx)
        case Bool():
            return expr.value
        case Param():
            value = ctx.values.get(expr.name)
            return value if isinstance(value, bool) else None
        case Not():
            inner = _truth(expr.operand, ctx)
            return None if inner is None else not inner
        case And():
            return _all([_truth(item, ctx) for item in expr.items])
        case Or():
            found = _all([_negated(_truth(item, ctx)) for item in expr.items])
            return _negated(found)
        case Compare():
            pairs = zip(expr.ops, expr.operands, expr.operands[1:], strict=False)
            return _all([_compared(op, a, b, ctx) for op, a, b in pairs])
    return None


def _negated(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _all(truths: list[bool | None]) -> bool | None:
    if False in truths:
        return False
    return True if all(truths) else None


def _compared(op: str, left: Expr, right: Expr, ctx: Context) -> bool | None:
    """Compare two numbers by all the values they can have."""
    if not (left.type.numeric and right.type.numeric):
        return None
    a, b = _span(left, ctx), _span(right, ctx)
    middle = b.point
    if middle is not None and op in _FLIP:
        wanted = _interval(op, middle)
        if wanted is None:
            return None
        if (wanted & a).empty:
            return False
        return True if wanted.contains(a) else None
    return None


def _lasts(rule: RuleDraft, when: Expr, ctx: Context) -> bool:
    """Report a rule that waits for a condition to last which is true at an instant only."""
    if not rule.for_ns:
        return True
    items = when.items if isinstance(when, And) else (when,)
    for item in items:
        inner = unwrap(item)
        if isinstance(inner, Call) and FUNCTIONS[inner.function].state in EDGES:
            ctx.add(
                "E0401", f"rule `{rule.name}` can never fire", item.mark,
                "true at an instant only", f"{rule.path}.when",
                notes=(f"`for: {format_duration(rule.for_ns)}` asks for longer",),
                help=("leave `for` out, or compare: `a > b` lasts, `crosses_above(a, b)` not",),
            )  # fmt: skip
            return False
    return True


# --- E0403 ---------------------------------------------------------------------------------------


def _undoes_itself(rule: RuleDraft, when: Expr, until: Expr, ctx: Context) -> None:
    entering: dict[str, tuple[Interval, Atom]] = {}
    for atom in _atoms(when, when, ctx):
        before = entering.get(atom.term)
        inside = atom.inside & (before[0] if before else atom.possible)
        entering[atom.term] = (inside, before[1] if before else atom)
    for branch in _branches(until, until, ctx):
        if not branch or any(atom.term not in entering for atom in branch):
            continue
        shared = [(atom, entering[atom.term]) for atom in branch]
        if any((atom.inside & inside).empty for atom, (inside, _) in shared):
            continue
        atom, (inside, first) = shared[0]
        with_params = ", with the parameters' defaults" if params_of(when, until) else ""
        both = atom.inside & inside
        shown = _between(-both if atom.flipped else both, atom.type)
        note = f"both hold while the value is {shown}"
        ctx.add(
            "E0403",
            f"rule `{rule.name}` would leave in the moment it enters",
            atom.at.mark,
            "true here too",
            f"{rule.path}.until",
            (Related(first.at.mark, "enters here"),),
            (note + with_params,),
            ("the leaving level belongs on the other side of the entering level",),
        )
        return


def _branches(expr: Expr, at: Expr, ctx: Context) -> Iterator[list[Atom]]:
    """Yield the disjuncts of a condition that are understood completely, as atoms."""
    if isinstance(expr, Named):
        yield from _branches(expr.expr, at, ctx)
    elif isinstance(expr, Or):
        for item in expr.items:
            yield from _branches(item, item if at is expr else at, ctx)
    elif _understood(expr, ctx):
        yield list(_atoms(expr, at, ctx))


def _understood(expr: Expr, ctx: Context) -> bool:
    match expr:
        case Named():
            return _understood(expr.expr, ctx)
        case And():
            return all(_understood(item, ctx) for item in expr.items)
        case Not():
            return _understood(expr.operand, ctx)
        case Compare():
            return len(list(_atoms(expr, expr, ctx))) == len(expr.ops)
    return False


# --- taking apart --------------------------------------------------------------------------------


def _atoms(expr: Expr, at: Expr, ctx: Context, inverted: bool = False) -> Iterator[Atom]:
    """Yield what must hold for a condition to be true, of the parts that are understood."""
    match expr:
        case Named():
            yield from _atoms(expr.expr, at, ctx, inverted)
        case Not():
            yield from _atoms(expr.operand, at, ctx, not inverted)
        case And() if not inverted:
            for item in expr.items:
                yield from _atoms(item, item if at is expr else at, ctx)
        case Or() if inverted:
            for item in expr.items:
                yield from _atoms(item, at, ctx, inverted)
        case Compare() if not inverted or len(expr.ops) == 1:
            for op, left, right in zip(expr.ops, expr.operands, expr.operands[1:], strict=False):
                yield from _pair(_INVERT[op] if inverted else op, left, right, at, ctx)


def _pair(op: str, left: Expr, right: Expr, at: Expr, ctx: Context) -> Iterator[Atom]:
    """Bring `left op right` to the form: a sum of terms lies in an interval."""
    if not (left.type.numeric and right.type.numeric):
        return
    parts: _Sum = {}
    constant = _gather(left, 1.0, parts, ctx) + _gather(right, -1.0, parts, ctx)
    terms = sorted((k, c, e) for k, (c, e) in parts.items() if c != 0)
    if not terms or not math.isfinite(constant):
        return
    scale = terms[0][1]
    inside = _interval(_FLIP[op] if scale < 0 else op, -constant / scale)
    if inside is None:
        return
    name = " + ".join(f"{c / scale:.12g}*{k}" for k, c, _ in terms)
    possible = point(0.0)
    for _, c, expr in terms:
        share = _arithmetic("*", point(c / scale), _span(expr, ctx))
        possible = _arithmetic("+", possible, share)
    shown = terms[0][2].source if len(terms) == 1 else at.source
    type_ = left.type if left.type.dims or left.type.ratio else right.type
    flipped = next(c for c, _ in parts.values() if c != 0) / scale < 0
    yield Atom(name, shown, type_, inside, possible, at, flipped)


_Sum = dict[str, tuple[float, Expr]]
"""key of a term -> how often it is in a sum, and the term"""


def _gather(expr: Expr, factor: float, parts: _Sum, ctx: Context) -> float:
    """Add `factor` times an expression to a sum of terms; return its constant part."""
    value = _span(expr, ctx).point
    if value is not None:
        return factor * value
    inner = unwrap(expr)
    match expr:
        case Negate():
            return _gather(expr.operand, -factor, parts, ctx)
        case Arithmetic(op="+"):
            left = _gather(expr.left, factor, parts, ctx)
            return left + _gather(expr.right, factor, parts, ctx)
        case Arithmetic(op="-"):
            left = _gather(expr.left, factor, parts, ctx)
            return left + _gather(expr.right, -factor, parts, ctx)
        case Arithmetic(op="*"):
            for scale, other in ((expr.left, expr.right), (expr.right, expr.left)):
                known = _span(scale, ctx).point
                if known is not None:
                    return _gather(other, factor * known, parts, ctx)
        case Arithmetic(op="/"):
            known = _span(expr.right, ctx).point
            if known:
                return _gather(expr.left, factor / known, parts, ctx)
    name = key(inner)
    before = parts.get(name, (0.0, expr))
    parts[name] = (before[0] + factor, before[1])
    return 0.0


def _interval(op: str, value: float) -> Interval | None:
    match op:
        case "<":
            return Interval(-inf, value, high_open=True)
        case "<=":
            return Interval(-inf, value)
        case ">":
            return Interval(value, inf, low_open=True)
        case ">=":
            return Interval(value, inf)
        case "==":
            return point(value)
    return None


def _span(expr: Expr, ctx: Context) -> Interval:
    """Return an interval that holds every value a number can have."""
    match expr:
        case Number():
            return point(expr.value)
        case Param():
            value = ctx.values.get(expr.name)
            return point(float(value)) if isinstance(value, int | float) else ALL
        case Field():
            return expr.range or FIELDS[expr.kind][expr.field].range
        case Cell():
            return CELLS[expr.space][expr.field].range
        case Named():
            return _span(expr.expr, ctx)
        case Negate():
            return -_span(expr.operand, ctx)
        case IfElse():
            return _span(expr.value, ctx) | _span(expr.other, ctx)
        case Arithmetic():
            return _arithmetic(expr.op, _span(expr.left, ctx), _span(expr.right, ctx))
        case Call():
            return FUNCTIONS[expr.function].range([_span(arg, ctx) for arg in expr.args])
    return ALL


def _arithmetic(op: str, left: Interval, right: Interval) -> Interval:
    found = {
        "+": left.__add__,
        "-": left.__sub__,
        "*": left.__mul__,
        "/": left.__truediv__,
    }[op](right)
    if found.low != found.low or found.high != found.high:
        return ALL  # inf - inf says nothing
    return found


# --- words ---------------------------------------------------------------------------------------


def _lies(atom: Atom) -> str:
    possible = -atom.possible if atom.flipped else atom.possible
    return f"`{atom.shown}` lies {_between(possible, atom.type)}"


def _between(interval: Interval, type_: Type) -> str:
    low, high = _value(interval.low, type_), _value(interval.high, type_)
    if interval.low == -inf:
        return f"below {high}" if interval.high_open else f"at or below {high}"
    if interval.high == inf:
        return f"above {low}" if interval.low_open else f"at or above {low}"
    return f"between {low} and {high}"


def _value(value: float, type_: Type) -> str:
    if type_.is_ratio:
        return format_ratio(value)
    if type_.dims == types.DURATION.dims and abs(value) < inf:
        return format_duration(round(value * 1e9))
    return f"{value:g} {types.unit_of(type_)}".rstrip()
