"""Read `signals:` and `sizing:`: named expressions, each checked after those it uses."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from runner.lang import types
from runner.lang.check import Want
from runner.lang.diagnostics import Mark
from runner.lang.nodes import Entry, Mapping, Scalar
from runner.lang.tree import Expr
from runner.lang.types import Type
from runner.spec.context import Context, section
from runner.spec.markets import MarketDraft

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?!\s*\()")

ANY = Want((), "a value")


@dataclass(frozen=True, slots=True)
class SizingDraft:
    """A named size; the trees are None when in error or absent."""

    name: str
    key: Mark
    size: Expr | None
    max: Expr | None
    min: Expr | None


def names_in(text: str) -> set[str]:
    """Return the bare names an expression uses; not fields, not functions, not words in quotes."""
    return set(_NAME.findall(_QUOTED.sub("", text)))


def read_signals(
    root: Mapping, markets: dict[str, MarketDraft], ctx: Context
) -> tuple[dict[str, Expr | None], dict[str, str]]:
    """Check all signals; return trees (None: in error) in order of use, and their texts."""
    entries = {e.key.text: e for e in section(root, "signals") if not e.key.bad}
    known: dict[str, Expr | None] = dict.fromkeys(entries)
    texts: dict[str, str] = {}
    ctx.scope = ctx.scope.with_signals(known)
    order = _in_order(entries, ctx)
    for name in order:
        entry = entries[name]
        ctx.free_name(name, entry.key.mark, "signals", market=markets)
        if isinstance(entry.value, Scalar):
            texts[name] = entry.value.text
        if not ctx.has_error(f"signals.{name}"):
            known[name] = ctx.expr(entry.value, ANY, f"signals.{name}")
    return {name: known[name] for name in order}, texts


def _in_order(entries: dict[str, Entry], ctx: Context) -> list[str]:
    """Sort signals so that each uses only earlier ones; report cycles (E0315)."""
    uses = {
        name: sorted(names_in(e.value.text) & entries.keys()) if isinstance(e.value, Scalar) else []
        for name, e in entries.items()
    }
    done: dict[str, bool] = {}
    order: list[str] = []
    for name in entries:
        _visit(name, uses, done, order, [], entries, ctx)
    return order


def _visit(
    name: str,
    uses: dict[str, list[str]],
    done: dict[str, bool],
    order: list[str],
    above: list[str],
    entries: dict[str, Entry],
    ctx: Context,
) -> None:
    if done.get(name):
        return
    if name in above:
        loop = [*above[above.index(name) :], name]
        message = f"signal `{name}` depends on itself"
        notes = (" -> ".join(loop),) if len(loop) > 2 else ()
        mark = entries[name].key.mark
        ctx.add("E0315", message, mark, "", f"signals.{name}", notes=notes)
        done[name] = True
        order.append(name)
        return
    if len(above) > 100:
        message = "signals use each other more than 100 deep"
        ctx.add("E0315", message, entries[name].key.mark, "", f"signals.{name}")
        return
    for used in uses[name]:
        _visit(used, uses, done, order, [*above, name], entries, ctx)
    if not done.get(name):
        done[name] = True
        order.append(name)


def size_types(markets: dict[str, MarketDraft], names: list[str], ctx: Context) -> tuple[Type, ...]:
    """Return the types a size of these markets may have: notionals first, then amounts."""
    quotes = {m.quote for n, m in markets.items() if n in names and m.quote}
    bases = {m.base for n, m in markets.items() if n in names and m.base}
    order = [*sorted(quotes), *sorted(bases - quotes)]
    return tuple(dict.fromkeys(types.amount(ctx.scope.currency(c)) for c in order))


def size_bound(size: Expr) -> Want:
    """Return what a bound of a size must be: the same sort of thing."""
    help = "a price turns one into the other: `400 USDT / btc.ask`, `0.01 BTC * btc.ask`"
    return Want((size.type,), f"an {size.type}", help)


def read_sizing(
    root: Mapping, markets: dict[str, MarketDraft], ctx: Context
) -> dict[str, SizingDraft]:
    """Check all sizings: amounts of any currency the markets have."""
    want = Want(size_types(markets, list(markets), ctx), "an amount or a notional")
    drafts = {}
    for entry in section(root, "sizing"):
        node, path = entry.value, f"sizing.{entry.key.text}"
        if isinstance(node, Mapping) and not node.bad:
            size = ctx.expr(node.get("size"), want, f"{path}.size")
            bound = want if size is None else size_bound(size)
            top = ctx.expr(node.get("max"), bound, f"{path}.max")
            low = ctx.expr(node.get("min"), bound, f"{path}.min")
            drafts[entry.key.text] = SizingDraft(entry.key.text, entry.key.mark, size, top, low)
    names = {e.key.text: None for e in section(root, "sizing")}
    trees: dict[str, Expr | None] = {**names, **{n: d.size for n, d in drafts.items()}}
    ctx.scope = replace(ctx.scope, sizing=trees)
    return drafts
