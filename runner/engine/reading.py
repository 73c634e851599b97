"""What a rule's conditions read besides the streams they name, and what makes two rules the same.

`this.exit_pnl`, `position.M.*` or `pnl.day` move with books that the condition does not mention;
ages move with nothing but time. Both must be looked at when they move.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runner.base.ids import fingerprint
from runner.lang import tree
from runner.spec.market_plan import StreamKind
from runner.spec.plan import Plan
from runner.spec.rule_plan import RulePlan


def cell_streams(plan: Plan, rule: RulePlan) -> tuple[str, ...]:
    """Return the keys of the books by which a rule's conditions and its stop are valued."""
    found = _books(plan, _cells(rule.when, rule.until), rule)
    if rule.trade is None or rule.trade.stop_loss is None:
        return found
    legs = dict.fromkeys(leg.market for leg in rule.legs)
    return tuple(dict.fromkeys((*found, *_books_of(plan, legs))))


def breaker_key(index: int) -> str:
    """Return the name of a breaker: its cause's key, its condition's in the program."""
    return f"breaker:{index}"


def breaker_streams(plan: Plan, when: Any) -> tuple[str, ...]:
    """Return the keys of all streams at which a breaker must be looked at."""
    if not isinstance(when, tree.Node):
        return ()
    found = (*tree.streams_of(when), *_books(plan, _cells(when), None))  # type: ignore[arg-type]
    return tuple(dict.fromkeys(found))


def _books(plan: Plan, cells: Iterable[tree.Cell], rule: RulePlan | None) -> tuple[str, ...]:
    markets: dict[str, None] = {}
    for cell in cells:
        match cell.space:
            case tree.Space.THIS if rule is not None:
                markets |= dict.fromkeys(leg.market for leg in rule.legs)
            case tree.Space.RULE:
                markets |= dict.fromkeys(leg.market for leg in plan.rules[cell.owner].legs)
            case tree.Space.POSITION:
                markets[cell.owner] = None
            case tree.Space.PNL:
                markets |= {name: None for name, m in plan.markets.items() if m.traded}
            case tree.Space.ACCOUNT:
                continue  # comes as an event, at which all rules are looked at
    return _books_of(plan, markets)


def _books_of(plan: Plan, markets: Iterable[str]) -> tuple[str, ...]:
    books = (plan.markets[name].streams.get(StreamKind.BOOK) for name in markets)
    return tuple(book.key for book in books if book is not None)


def reads_cells(expr: Any) -> bool:
    """Whether an expression reads what the engine knows of positions, trades, results."""
    return any(True for _ in _cells(expr))


def reads_time(expr: Any) -> bool:
    """Whether an expression changes by time alone: ages, the time to the next funding."""
    if not isinstance(expr, tree.Node):
        return False
    nodes: Iterable[Any] = tree.walk(expr)  # type: ignore[arg-type]
    return any(
        (isinstance(node, tree.Call) and node.function in ("age", "carry_cost"))
        or (isinstance(node, tree.Cell | tree.Field) and node.field in ("age", "next_in"))
        for node in nodes
    )


def identity(plan: Plan, rule: RulePlan) -> str:
    """Return what an open trade must find again: how its rule enters and leaves, params included.

    Words, not places in the file: comments and lines may change.
    """
    exprs = [e for e in (rule.when, rule.until, *rule.entered) if isinstance(e, tree.Node)]
    params = {name: str(plan.params[name].value) for name in sorted(tree.params_of(*exprs))}
    leaves: tuple[Any, ...] = (rule.max_hold_ns, rule.on_missing)
    leaves += (rule.trade.close if rule.trade else None,)
    if rule.trade is not None and rule.trade.stop_loss is not None:
        leaves += (rule.trade.stop_loss,)
    if rule.trade is not None and rule.trade.close.rest is not None:
        leaves += (rule.trade.close.rest,)
    return fingerprint(
        repr((_key(rule.when), _key(rule.until), entered_keys(rule), params, leaves))
    )


def entered_keys(rule: RulePlan) -> list[str]:
    """Return the arguments of `entered(..)` in their order, in canonical words."""
    return [_key(expr) for expr in rule.entered]


def _key(expr: Any) -> str:
    return tree.key(expr) if isinstance(expr, tree.Node) else repr(expr)  # type: ignore[arg-type]


def _cells(*exprs: Any) -> Iterable[tree.Cell]:
    for expr in exprs:
        if isinstance(expr, tree.Node):
            yield from tree.find(expr, tree.Cell)  # type: ignore[arg-type]
