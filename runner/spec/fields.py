"""Read typed fields: those of a source's messages, and those a language model must answer."""

from __future__ import annotations

from runner.lang import types
from runner.lang.nodes import Mapping, Scalar, Sequence
from runner.lang.types import Type
from runner.spec.context import Context, flag, section, text, word
from runner.spec.markets import MarketDraft
from runner.spec.params import read_range
from runner.spec.source_plan import FieldKind, FieldPlan, Pointer
from runner.spec.suggest import hint

_TYPES: dict[FieldKind, Type] = {
    FieldKind.TEXT: types.TEXT,
    FieldKind.BOOL: types.BOOL,
    FieldKind.NUMBER: types.NUMBER,
    FieldKind.RATIO: types.RATIO,
    FieldKind.DURATION: types.DURATION,
}
_SCALES = {
    (FieldKind.RATIO, "percent"): 0.01,
    (FieldKind.RATIO, "bps"): 0.0001,
    (FieldKind.DURATION, "s"): 1.0,
    (FieldKind.DURATION, "ms"): 0.001,
}


def number_field(name: str, low: float, high: float) -> FieldPlan:
    """Return a plain number between two bounds."""
    return FieldPlan(name, FieldKind.NUMBER, (name,), types.NUMBER, low=low, high=high)


def pointer(at: Mapping, key: str) -> Pointer | None:
    """Return a JSON pointer taken apart; None when absent or in error."""
    written = text(at, key)
    if written is None:
        return None
    return tuple(p.replace("~1", "/").replace("~0", "~") for p in written.split("/")[1:])


def read_fields(
    node: Mapping, key: str, path: str, markets: dict[str, MarketDraft], ctx: Context
) -> dict[str, FieldPlan] | None:
    """Return the fields under `key`; None when one is in error, empty when there are none."""
    found: dict[str, FieldPlan] = {}
    at = node.get(key)
    if at is not None and (at.bad or not isinstance(at, Mapping)):
        return None
    for entry in section(node, key):
        inner = f"{path}.{key}.{entry.key.text}"
        if isinstance(entry.value, Mapping) and not entry.value.bad and not entry.key.bad:
            plan = _field(entry.key.text, entry.value, inner, markets, ctx)
            if plan is not None:
                found[plan.name] = plan
    return None if ctx.has_error(f"{path}.{key}") else found


def _field(
    name: str, node: Mapping, path: str, markets: dict[str, MarketDraft], ctx: Context
) -> FieldPlan | None:
    word_ = text(node, "type")
    if word_ is None:
        return None
    kind = FieldKind(word_) if word_ in set(FieldKind) else FieldKind.AMOUNT
    values = _values(node, kind, path, ctx)
    type_ = _type(kind, word_, values, node, path, markets, ctx)
    if type_ is None:
        return None
    low, high = read_range(node, type_, ctx, path)
    if kind is FieldKind.PRICE:
        low = max(low or 0.0, 0.0)
    return FieldPlan(
        name,
        kind,
        pointer(node, "from") or (name,),
        type_,
        flag(node, "optional"),
        _scale(node, kind, path, ctx),
        low,
        high,
        values,
        text(node, "of") or "",
        text(node, "about") or "",
    )


def _values(node: Mapping, kind: FieldKind, path: str, ctx: Context) -> tuple[str, ...]:
    words = node.get("values")
    if kind is FieldKind.ENUM and "values" not in node:
        message = "an `enum` needs `values`, the words it may be"
        ctx.add("E0203", message, node.key("type"), "", path)
    elif kind is not FieldKind.ENUM and "values" in node:
        ctx.add("E0203", "only an `enum` has `values`", node.key("values"), "", f"{path}.values")
    if not isinstance(words, Sequence):
        return ()
    return tuple(w.text for w in words.items if isinstance(w, Scalar))


def _type(
    kind: FieldKind,
    word_: str,
    values: tuple[str, ...],
    node: Mapping,
    path: str,
    markets: dict[str, MarketDraft],
    ctx: Context,
) -> Type | None:
    if kind is not FieldKind.PRICE and "of" in node:
        ctx.add("E0203", "only a `price` is `of` a market", node.key("of"), "", f"{path}.of")
    match kind:
        case FieldKind.ENUM:
            return types.one_of(values)
        case FieldKind.AMOUNT:
            return types.amount(ctx.scope.currency(word_))
        case FieldKind.PRICE:
            return _price(node, path, markets, ctx)
    return _TYPES[kind]


def _price(node: Mapping, path: str, markets: dict[str, MarketDraft], ctx: Context) -> Type | None:
    at = node.get("of")
    if at is None:
        message = "a `price` needs `of`, the market whose price it is"
        ctx.add("E0203", message, node.key("type"), "", path)
        return None
    if not isinstance(at, Scalar) or at.bad:
        return None
    market = markets.get(at.text)
    if market is None:
        message = f"no market is named `{at.text[:60]}`"
        ctx.add("E0204", message, at.mark, hint(at.text, markets), f"{path}.of")
        return None
    return ctx.scope.price(market.quote, market.base)


def _scale(node: Mapping, kind: FieldKind, path: str, ctx: Context) -> float:
    if "unit" not in node:
        return 1.0
    found = _SCALES.get((kind, word(node, "unit", "")))
    if found is None:
        message = "`unit` is `percent` or `bps` of a ratio, `s` or `ms` of a duration"
        ctx.add("E0203", message, node.key("unit"), "", f"{path}.unit")
    return found or 1.0
