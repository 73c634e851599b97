"""Read what says how an order rests: `give_up`, `keep`, `key`."""

from __future__ import annotations

import re
from typing import Final

from runner.lang.nodes import Mapping, Scalar
from runner.spec.context import Context, flag, text, word
from runner.spec.plan import GiveUpPlan, OrderPlan

DEFAULT_COLLAR: Final = 0.0005
KEY_FIELDS: Final = ("rule", "month", "week", "day", "hour")
_BRACES: Final = re.compile(r"\{([^{}]*)\}|[{}]")


def read_give_up(node: Mapping, path: str, ctx: Context) -> GiveUpPlan | None:
    """Read `give_up` of an order: a duration, or `{after, then}`; only what rests has one."""
    at = node.get("give_up")
    if at is None or at.bad:
        return None
    if word(node, "tif", "ioc") not in ("gtc", "post_only"):
        message = "`give_up` is for an order that rests: `tif: gtc` or `post_only`"
        ctx.add("E0203", message, node.key("give_up"), "", f"{path}.give_up")
        return None
    if "ttl" in node:
        message = "an order has a `ttl` or a `give_up`, not both"
        ctx.add("E0203", message, node.key("ttl"), "", f"{path}.ttl")
    if not isinstance(at, Mapping):
        after = ctx.duration(node, "give_up", path)
        return None if after is None else GiveUpPlan(after)
    after = ctx.duration(at, "after", f"{path}.give_up")
    then = at.get("then")
    order = None
    if isinstance(then, Mapping) and not then.bad:
        collar = ctx.ratio(then, "collar", f"{path}.give_up.then")
        tif = word(then, "tif", "ioc")
        order = OrderPlan("limit", tif, DEFAULT_COLLAR if collar is None else collar)
    return None if after is None else GiveUpPlan(after, order)


def check_single(node: Mapping, path: str, ctx: Context) -> None:
    """Check `keep` and `key` of the verb `order`."""
    keep, key = node.get("keep"), node.get("key")
    if isinstance(keep, Scalar) and keep.value is False and flag(node, "reduce_only"):
        message = "`keep: false` closes what the rule holds; a `reduce_only` order holds nothing"
        ctx.add("E0203", message, node.key("keep"), "", f"{path}.keep")
    if key is None or key.bad:
        return
    for found in _BRACES.finditer(text(node, "key") or ""):
        if found[1] not in KEY_FIELDS:
            message = f"`key` has no field `{found[0]}`"
            notes = (f"its fields: {', '.join(KEY_FIELDS)}",)
            ctx.add("E0203", message, key.mark, "", f"{path}.key", notes=notes)
