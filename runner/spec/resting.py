"""Read what says how orders and closes rest: `clip`, `reprice_every`, `give_up`, `keep`, `key`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from runner.lang.nodes import Mapping, Scalar
from runner.spec.context import Context, flag, text, word
from runner.spec.parts import Quantity
from runner.spec.rule_plan import GiveUpPlan, OrderPlan, RestPlan

DEFAULT_COLLAR: Final = 0.0005
RESTING: Final = ("gtc", "post_only")
REST_KEYS: Final = ("give_up", "reprice_every", "clip")
CLOSE_REPRICE: Final = 1_000_000_000
"""how often a close that rests is moved to the touch where the file does not say"""
KEY_FIELDS: Final = ("rule", "month", "week", "day", "hour")
_BRACES: Final = re.compile(r"\{([^{}]*)\}|[{}]")


def read_give_up(node: Mapping, path: str, ctx: Context) -> GiveUpPlan | None:
    """Read `give_up` of an order: a duration, or `{after, then}`; only what rests has one."""
    at = node.get("give_up")
    if at is None or at.bad:
        return None
    if word(node, "tif", "ioc") not in RESTING:
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


def read_clip(
    node: Mapping, path: str, currencies: tuple[str | None, ...], ctx: Context
) -> tuple[Quantity | None, int | None]:
    """Read `clip` and `reprice_every` of an order that rests."""
    present = [key for key in ("clip", "reprice_every") if key in node]
    if not present:
        return None, None
    if word(node, "tif", "ioc") not in RESTING:
        message = f"`{present[0]}` is for an order that rests: `tif: gtc` or `post_only`"
        ctx.add("E0203", message, node.key(present[0]), "", f"{path}.{present[0]}")
        return None, None
    if "ttl" in node:
        message = f"`ttl` does not go with `{present[0]}`; `give_up` ends it"
        ctx.add("E0203", message, node.key("ttl"), "", f"{path}.ttl")
    known = [c for c in currencies if c is not None]
    clip = ctx.quantity(node, "clip", path, known, "`clip`") if known else None
    every = ctx.duration(node, "reprice_every", path)
    if every == 0:
        message = "`reprice_every` is more than zero"
        ctx.add("E0203", message, node.key("reprice_every"), "", f"{path}.reprice_every")
    return clip, every


def read_rest(
    node: Mapping,
    path: str,
    legs: Sequence[tuple[str | None, str | None]],
    max_gap: Quantity | None,
    ctx: Context,
) -> RestPlan | None:
    """Read how a close rests; `legs`: (base, quote) of each leg, none of a quote."""
    tif = word(node, "tif", "ioc")
    if tif not in RESTING:
        for key in REST_KEYS:
            if key in node:
                message = f"`{key}` is for a close that rests: `tif: post_only` or `gtc`"
                ctx.add("E0203", message, node.key(key), "", f"{path}.{key}")
        return None
    if not legs:
        message = f"`close` of a quote takes at once; it has no `tif: {tif}`"
        label = "what is graver than `until` goes by it"
        help = ("inventory: {on_leave: passive} lets what is held rest at the touch",)
        ctx.add("E0203", message, node.key("tif"), label, f"{path}.tif", help=help)
        return None
    give_up = ctx.duration(node, "give_up", path)
    every = ctx.duration(node, "reprice_every", path)
    known = [c for c in legs[0] if c is not None]
    clip = ctx.quantity(node, "clip", path, known, "`clip`") if known else None
    if "give_up" not in node:
        message = f"a close that rests (`tif: {tif}`) needs `give_up`"
        label = "how long may it rest before it takes?"
        help = (f"close: {{tif: {tif}, give_up: 30s, collar: 3bps, worst: 25bps, then: hold}}",)
        ctx.add("E0203", message, node.key("tif"), label, f"{path}.tif", help=help)
    for key, value in (("give_up", give_up), ("reprice_every", every)):
        if value == 0:
            message = f"`{key}` is more than zero"
            ctx.add("E0203", message, node.key(key), "", f"{path}.{key}")
    if len(legs) > 1:
        _bounds_the_gap(node, path, clip, max_gap, ctx)
    return RestPlan(give_up or 0, CLOSE_REPRICE if every is None else every, clip)


def _bounds_the_gap(
    node: Mapping, path: str, clip: Quantity | None, max_gap: Quantity | None, ctx: Context
) -> None:
    """Of several legs the first rests: a clip of it may be without its partners for a moment."""
    if "clip" not in node:
        message = "a close of several legs that rests needs `clip`"
        label = "how much may be without its partners for a moment?"
        help = ("clip: 250 USDT",)
        ctx.add("E0203", message, node.key("tif"), label, f"{path}.tif", help=help)
        return
    if clip is None or max_gap is None or clip.unit != max_gap.unit:
        return
    if clip.value > max_gap.value:
        message = "`clip` of the close is more than `max_gap`"
        label = f"at most {max_gap.value} {max_gap.unit} may be unmatched"
        ctx.add("E0203", message, node.key("clip"), label, f"{path}.clip")


def check_sequence(
    policy: str, orders: Sequence[OrderPlan], nodes: Sequence[Mapping], path: str, ctx: Context
) -> None:
    """Check that legs go out in the order that the hedge's policy needs."""
    for i, (order, node) in enumerate(zip(orders, nodes, strict=True)):
        at = f"{path}.legs.{i}.order"
        rests = order.tif in RESTING
        if policy == "first_then_rest" and i == 0 and not rests:
            message = "`first_then_rest` needs a first leg that rests: `tif: post_only` or `gtc`"
            ctx.add("E0203", message, node.mark, "this one ends at once", at)
        elif rests and (policy == "thin_first" or (policy == "first_then_rest" and i > 0)):
            message = f"with `policy: {policy}` this leg follows at once: `tif: ioc`"
            ctx.add("E0203", message, node.key("tif"), "", f"{at}.tif")
        for key in ("clip", "reprice_every", "give_up"):
            if key in node and rests and (i > 0 or (policy == "together" and len(orders) > 1)):
                message = f"`{key}` is for the leg that goes first"
                help = ("hedge: {policy: first_then_rest, ...}",)
                ctx.add("E0203", message, node.key(key), "", f"{at}.{key}", help=help)


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
