"""What names exist at a place of the file: the checker resolves against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from runner.lang import types
from runner.lang.ranges import Interval
from runner.lang.tree import Expr
from runner.lang.types import Type

RESERVED = frozenset(
    "params sizing position account rule this pnl buy sell true false and or not if else in".split()
)
"""names that a market, a source, a signal or a param cannot have"""


@dataclass(frozen=True, slots=True)
class MarketScope:
    """A market; base and quote are None when they could not be found out (mistake reported).

    `streams` are the kinds it has: book, trades, mark, funding, bars.
    """

    name: str
    exchange: str
    base: str | None
    quote: str | None
    streams: frozenset[str]
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class SourceScope:
    """A source from outside: the types of its fields, and the ranges of those that are numbers.

    `event`: the fields exist only in the instant a message arrives.
    """

    name: str
    fields: Mapping[str, Type]
    ranges: Mapping[str, Interval]
    event: bool


@dataclass(frozen=True, slots=True)
class ParamScope:
    """A param. Values are in base units: ratios as they are, durations in seconds.

    `default` is None when its own mistake was reported; `low` and `high` are its `range:`.
    """

    name: str
    type: Type
    default: float | str | bool | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ThisScope:
    """The rule around the place: base and quote of its first leg, and whether it holds a trade.

    `holding` allows `entered()` and `this.age qty exit_pnl exit_return` (in `until`).
    """

    rule: str
    base: str | None
    quote: str | None
    holding: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """All names. A signal or a sizing that is in error has the tree None.

    `rules` maps a rule's name to the quote of its first leg, `exchanges` an exchange's to the
    currency of its account, `pegs` a currency to the one it counts as.
    """

    markets: Mapping[str, MarketScope] = field(default_factory=dict)
    params: Mapping[str, ParamScope] = field(default_factory=dict)
    signals: Mapping[str, Expr | None] = field(default_factory=dict)
    sizing: Mapping[str, Expr | None] = field(default_factory=dict)
    exchanges: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, str | None] = field(default_factory=dict)
    sources: Mapping[str, SourceScope | None] = field(default_factory=dict)
    """None: its own mistake was reported"""
    pnl: str | None = None
    """the currency of `pnl.day`; None when the strategy has several or none"""
    pegs: Mapping[str, str] = field(default_factory=dict)
    this: ThisScope | None = None

    def at(self, this: ThisScope | None) -> Scope:
        """Return the scope at a place inside a rule."""
        return replace(self, this=this)

    def with_signals(self, signals: Mapping[str, Expr | None]) -> Scope:
        """Return the scope with these signals."""
        return replace(self, signals=signals)

    def currency(self, name: str) -> str:
        """Return the currency a name counts as (pegs)."""
        return self.pegs.get(name, name)

    def amount(self, currency: str | None) -> Type:
        """Return the type of an amount; unknown without a currency."""
        return types.UNKNOWN if currency is None else types.amount(self.currency(currency))

    def price(self, quote: str | None, base: str | None) -> Type:
        """Return the type of a price; unknown where a currency is."""
        if quote is None or base is None:
            return types.UNKNOWN
        return types.price(self.currency(quote), self.currency(base))

    @property
    def currencies(self) -> frozenset[str] | None:
        """All currencies of the file; None when one could not be found out, so any may be."""
        found: set[str] = set(self.pegs) | set(self.exchanges.values())
        for market in self.markets.values():
            if market.base is None or market.quote is None:
                return None
            found |= {market.base, market.quote}
        for param in self.params.values():
            found |= {name for name, _ in param.type.dims} - {types.SECONDS, types.BARS}
        return frozenset(found)


def pegs(groups: Iterable[str]) -> dict[str, str]:
    """Return the map for `pegs: [USDT, USDC]`: each counts as the first."""
    names = list(groups)
    return dict.fromkeys(names, names[0]) if names else {}
