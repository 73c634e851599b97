"""Names to nodes: markets, streams, fields, params, signals, cells; suggestions where none fits."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from runner.lang import types
from runner.lang.functions import CELLS, FIELDS, SHORT, FieldSpec, Measure
from runner.lang.lexer import Fault
from runner.lang.parser import NameSyntax
from runner.lang.scope import MarketScope, Scope
from runner.lang.types import Type

Part = tuple[str, int]
"""a part of a dotted name and where it starts"""


class Unresolved(Fault):
    """A name that is not there; `notes` go into the diagnostic."""

    def __init__(self, code: str, message: str, part: Part, label: str = "", help_: str = "",
                 notes: Sequence[str] = ()) -> None:  # fmt: skip
        super().__init__(code, message, part[1], part[1] + len(part[0]), label, help_)
        self.notes = tuple(notes)


def nearest(word: str, names: Iterable[str]) -> str:
    """Return `did you mean ...?` for the most alike of `names`, empty when none is."""
    pool = sorted(set(names))
    close = difflib.get_close_matches(word, pool, 1, 0.6)
    if not close:
        low = {name.lower(): name for name in pool}
        close = [low[word.lower()]] if word.lower() in low else []
    return f"did you mean `{close[0]}`?" if close else ""


def lacks(owner: str, part: Part, names: Iterable[str], what: str = "field") -> Unresolved:
    """Say that `owner` has no such field, and which it has."""
    known = sorted(names)
    note = f"its {what}s: {', '.join(known)}" if known else f"it has no {what}s"
    return Unresolved("E0304", f"`{owner}` has no {what} `{part[0]}`", part,
                      nearest(part[0], known), notes=(note,))  # fmt: skip


def too_long(name: NameSyntax, length: int) -> None:
    """Refuse a name that goes on after its end."""
    if len(name.parts) > length:
        owner = ".".join(part for part, _ in name.parts[:length])
        raise Unresolved("E0304", f"`{owner}` is a value, it has no fields", name.parts[length])


def part(name: NameSyntax, index: int, what: str) -> Part:
    """Return a part of a name, or say what is missing."""
    if index < len(name.parts):
        return name.parts[index]
    whole = (name.text, name.start)
    raise Unresolved("E0305", f"`{name.text}` is not a value", whole, what)


def stream_kind(market: MarketScope, kind: Part) -> str:
    """Return the kind of a market's stream; raises Unresolved when it has none such."""
    if kind[0] in market.streams:
        return kind[0]
    if kind[0] in FIELDS:
        raise Unresolved(
            "E0304",
            f"market `{market.name}` has no stream `{kind[0]}`",
            kind,
            help_=f"add it: streams: {{{kind[0]}: {{max_age: ...}}}}",
            notes=(f"its streams: {', '.join(sorted(market.streams)) or 'none'}",),
        )
    if kind[0] in FIELDS["book"]:
        raise Unresolved("E0304", f"`{market.name}` has no field `{kind[0]}`", kind,
                         f"did you mean `book.{kind[0]}`?")  # fmt: skip
    raise lacks(market.name, kind, {*market.streams, *SHORT}, "stream or field")


def stream_field(market: MarketScope, kind: str, field: Part) -> FieldSpec:
    """Return a field of a stream; E0207 for those that come later."""
    spec = FIELDS[kind].get(field[0])
    if spec is not None:
        return spec
    raise lacks(f"{market.name}.{kind}", field, FIELDS[kind])


def later(what: str, place: Part) -> Unresolved:
    """Say that something of the language is not in this version."""
    return Unresolved("E0207", f"{what} is not in this version yet", place)


def measure(scope: Scope, unit: Measure, base: str | None, quote: str | None) -> Type:
    """Return the type of a field of something with this base and quote."""
    match unit:
        case Measure.PRICE:
            return scope.price(quote, base)
        case Measure.BASE:
            return scope.amount(base)
        case Measure.QUOTE:
            return scope.amount(quote)
        case Measure.RATIO:
            return types.RATIO
        case Measure.NUMBER:
            return types.NUMBER
        case Measure.SECONDS:
            return types.DURATION
        case Measure.BOOL:
            return types.BOOL


def account_position(scope: Scope, name: NameSyntax) -> tuple[str, Type]:
    """Resolve `account.X.position.SYMBOL` to the market that trades it, and the type of an amount.

    Raises Unresolved; the symbol must be that of a market of the file, or nobody asks about it.
    """
    exchange = _owner(scope, "account", part(name, 1, "of which one?"))
    symbol = part(name, 3, "of which symbol?")
    too_long(name, 4)
    there = {m.symbol: m for m in scope.markets.values() if m.exchange == exchange}
    if symbol[0] not in there:
        message = f"no market of `{exchange}` has the symbol `{symbol[0]}`"
        raise Unresolved("E0304", message, symbol, nearest(symbol[0], there))
    market = there[symbol[0]]
    return market.name, scope.amount(market.base)


def cell(scope: Scope, name: NameSyntax) -> tuple[str, str, Type]:
    """Resolve `account.X.f`, `position.M.f`, `rule.R.f`, `this.f`, `pnl.day` to owner, field, type.

    Raises Unresolved; a place without a rule around it has no `this`.
    """
    space = name.parts[0][0]
    if space in ("this", "pnl"):
        owner, field = "", part(name, 1, f"its fields: {', '.join(sorted(CELLS[space]))}")
        too_long(name, 2)
    else:
        owner = _owner(scope, space, part(name, 1, "of which one?"))
        field = part(name, 2, f"its fields: {', '.join(sorted(CELLS[space]))}")
        too_long(name, 3)
    spec = CELLS[space].get(field[0])
    if spec is None:
        prefix = f"{space}.{owner}" if owner else space
        raise lacks(prefix, field, CELLS[space])
    base, quote = _currencies(scope, name, space, owner)
    if spec.holding and not (scope.this and scope.this.holding):
        raise Unresolved("E0304", f"`this.{field[0]}` is known only while a trade is held", field,
                         "allowed in `until`")  # fmt: skip
    return owner, field[0], measure(scope, spec.measure, base, quote)


def _owner(scope: Scope, space: str, owner: Part) -> str:
    names, what = {
        "account": (scope.exchanges.keys(), "exchange"),
        "position": (scope.markets.keys(), "market"),
        "rule": (scope.rules.keys(), "rule"),
    }[space]
    if owner[0] in names:
        return owner[0]
    raise Unresolved("E0304", f"no {what} is named `{owner[0]}`", owner, nearest(owner[0], names))


def _currencies(
    scope: Scope, name: NameSyntax, space: str, owner: str
) -> tuple[str | None, str | None]:
    if space == "position":
        market = scope.markets[owner]
        return market.base, market.quote
    if space == "account":
        return None, scope.exchanges[owner]
    if space == "rule":
        return None, scope.rules[owner]
    if space == "pnl":
        return None, scope.pnl
    if scope.this is None:
        raise Unresolved("E0304", "`this` is known only inside a rule", name.parts[0],
                         help_="write the condition in the rule itself")  # fmt: skip
    return scope.this.base, scope.this.quote
