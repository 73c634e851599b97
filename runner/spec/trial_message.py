"""A message of a source in a test: its fields, typed as the door would have typed them."""

from __future__ import annotations

from runner.lang.check import Want
from runner.lang.nodes import Entry, Mapping, Node, Scalar
from runner.spec.context import Context
from runner.spec.source_plan import FieldKind, FieldPlan, SourcePlan, SourceType
from runner.spec.suggest import hint
from runner.spec.trial_plan import TickPlan, Value

OLD = "old"
"""how long ago the message was sent, unless a field is called so"""
_BARE = (FieldKind.NUMBER, FieldKind.PRICE, FieldKind.AMOUNT)


def read_message(
    entry: Entry, plan: SourcePlan, t: int, path: str, ctx: Context
) -> TickPlan | None:
    """Read what a source says at `t`; None after a diagnostic."""
    line, node = entry.key.mark.line, entry.value
    if plan.type is SourceType.SCHEDULE:
        message = f"the calendar `{plan.name}` comes at its own times"
        help = ('say when the test begins: `starts: "2026-01-05T07:59:58Z"`',)
        ctx.add("E0203", message, entry.key.mark, "", path, help=help)
        return None
    if isinstance(node, Scalar):
        if node.text not in ("down", "up"):
            ctx.add("E0203", "a source is `down` or `up`", node.mark, "", path)
        return TickPlan(t, plan.name, line, state=node.text, source=True)
    if not isinstance(node, Mapping) or node.bad:
        return None
    fields = {name: f for name, f in plan.fields.items() if not f.derived}
    values: dict[str, Value | None] = dict.fromkeys(fields)
    for each in node:
        name, inner = each.key.text, f"{path}.{each.key.text}"
        if name in fields:
            values[name] = _value(each.value, fields[name], inner, ctx)
        elif name != OLD:
            message = f"`{plan.name}` has no field `{name[:60]}`"
            notes = (f"its fields: {', '.join(fields)}",) if fields else ()
            label = hint(name, fields)
            ctx.add("E0304", message, each.key.mark, label, inner, notes=notes)
    absent = [name for name, f in fields.items() if not f.optional and name not in node]
    if absent:
        names = ", ".join(f"`{name}`" for name in absent)
        help = ("the door would refuse it: only a field with `optional: true` may be absent",)
        ctx.add("E0203", f"a message of `{plan.name}` lacks {names}", entry.key.mark, "", path,
                help=help)  # fmt: skip
    old = ctx.duration(node, OLD, path) if OLD not in fields else None
    return TickPlan(t, plan.name, line, values, source=True, old_ns=old or 0)


def _value(node: Node, field: FieldPlan, path: str, ctx: Context) -> Value | None:
    if not isinstance(node, Scalar) or node.bad:
        return None
    match field.kind:
        case FieldKind.TEXT:
            return node.text
        case FieldKind.ENUM:
            if node.text not in field.values:
                notes = (f"it may be: {', '.join(field.values)}",)
                message = f"`{node.text[:60]}` is not a value of `{field.name}`"
                label = hint(node.text, field.values)
                ctx.add("E0203", message, node.mark, label, path, notes=notes)
            return node.text
        case FieldKind.BOOL:
            if not isinstance(node.value, bool):
                ctx.add("E0203", f"`{field.name}` is true or false", node.mark, "", path)
            return node.value is True
    return _number(node, field, path, ctx)


def _number(node: Scalar, field: FieldPlan, path: str, ctx: Context) -> Value | None:
    value: float | None
    if field.kind in _BARE and isinstance(node.value, int | float):
        value = float(node.value)
    else:
        found = ctx.constant(node, Want((field.type,), str(field.type)), path)
        value = None if found is None else found[0]
    low, high = field.low, field.high
    if value is not None and not (
        (low is None or value >= low) and (high is None or value <= high)
    ):
        message = f"`{field.name}` is out of its range: the door would refuse it"
        ctx.add("E0203", message, node.mark, "", path)
    return value
