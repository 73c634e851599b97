"""Read `markets:` and find the instrument behind each symbol."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.lang import types
from runner.lang.check import Want
from runner.lang.diagnostics import Mark, Related
from runner.lang.nodes import Entry, Mapping, Scalar
from runner.lang.scope import MarketScope
from runner.market.instruments import Instrument, Kind
from runner.spec import catalogue
from runner.spec.context import Context, integer, section, text
from runner.spec.exchanges import ExchangeDraft
from runner.spec.market_plan import MarketPlan, StreamKind, StreamPlan
from runner.spec.suggest import nearest

BARS_NS = {
    60_000_000_000 * minutes for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720, 1440, 10080)
}
"""lengths of bars that both Binance and Bybit publish"""
EIGHT_HOURS = 480 * 60_000_000_000
"""bars that Binance alone has"""
MOST_BARS = 1000
"""of a warm-up: what one request gives"""

_KINDS = frozenset(kind.value for kind in StreamKind)

SHORTEST_AGE, LONGEST_AGE = 1_000_000, 7 * 86_400_000_000_000

PERIODS: dict[tuple[str, StreamKind], int] = {
    ("binance_usdm", StreamKind.BOOK): 100_000_000,
    ("binance_spot", StreamKind.BOOK): 100_000_000,
    ("binance_usdm", StreamKind.MARK): 1_000_000_000,
    ("binance_usdm", StreamKind.FUNDING): 1_000_000_000,
    ("bybit_linear", StreamKind.BOOK): 20_000_000,
    ("bybit_linear", StreamKind.MARK): 100_000_000,
    ("bybit_linear", StreamKind.FUNDING): 100_000_000,
}
"""how often an exchange publishes: depth@100ms, markPrice@1s, orderbook.50 20 ms, tickers 100 ms"""


@dataclass(slots=True)
class MarketDraft:
    """A market of the file.

    `instrument` is of the catalogue; where the exchange's name did not resolve it is of the one
    probably meant (`certain` is false), so that expressions still have units.
    """

    name: str
    key: Mark
    exchange: ExchangeDraft | None
    symbol: str
    symbol_mark: Mark
    instrument: Instrument | None
    certain: bool
    streams: dict[StreamKind, StreamPlan] = field(default_factory=dict)
    stream_marks: dict[StreamKind, Mark] = field(default_factory=dict)
    streams_mark: Mark = field(default_factory=lambda: Mark(1, 1, 2))
    streams_bad: bool = False

    @property
    def base(self) -> str | None:
        return None if self.instrument is None else self.instrument.base

    @property
    def quote(self) -> str | None:
        return None if self.instrument is None else self.instrument.quote

    @property
    def scope(self) -> MarketScope:
        """What expressions see of it."""
        exchange = self.exchange.name if self.exchange else ""
        kinds = frozenset(str(k) for k in self.streams)
        return MarketScope(self.name, exchange, self.base, self.quote, kinds, self.symbol)


def read_markets(
    root: Mapping, exchanges: dict[str, ExchangeDraft], ctx: Context
) -> dict[str, MarketDraft]:
    """Read the section."""
    drafts = {}
    for entry in section(root, "markets"):
        name = entry.key.text
        ctx.free_name(name, entry.key.mark, "markets")
        if isinstance(entry.value, Mapping) and not entry.key.bad:
            drafts[name] = _market(entry, exchanges, ctx)
    _same_symbol(drafts, ctx)
    return drafts


def _same_symbol(drafts: dict[str, MarketDraft], ctx: Context) -> None:
    """Two names for one symbol of one account would have one position at the exchange."""
    seen: dict[tuple[str, str], MarketDraft] = {}
    for draft in drafts.values():
        if draft.exchange is None or not draft.symbol:
            continue
        first = seen.setdefault((draft.exchange.name, draft.symbol), draft)
        if first is not draft:
            message = f"`{draft.name}` is the same symbol of the same account as `{first.name}`"
            related = (Related(first.symbol_mark, "first here"),)
            path = f"markets.{draft.name}.symbol"
            ctx.add("E0203", message, draft.symbol_mark, "", path, related)


def _market(entry: Entry, exchanges: dict[str, ExchangeDraft], ctx: Context) -> MarketDraft:
    node, name = entry.value, entry.key.text
    assert isinstance(node, Mapping)
    exchange, guessed = _exchange(node, name, exchanges, ctx)
    symbol = text(node, "symbol") or ""
    at = node.get("symbol")
    draft = MarketDraft(
        name,
        entry.key.mark,
        exchange,
        symbol,
        at.mark if at is not None else entry.key.mark,
        None,
        certain=exchange is not None and exchange.type is not None,
        streams_mark=node.key("streams") if "streams" in node else entry.key.mark,
    )
    type_ = exchange.type if exchange else guessed
    draft.instrument = _instrument(draft, type_, ctx)
    streams = section(node, "streams")
    there = node.get("streams")
    draft.streams_bad = there is not None and there.bad
    for stream in streams:
        if stream.key.text in _KINDS:
            _stream(draft, StreamKind(stream.key.text), stream, ctx)
    return draft


def _exchange(
    node: Mapping, market: str, exchanges: dict[str, ExchangeDraft], ctx: Context
) -> tuple[ExchangeDraft | None, str | None]:
    """Return the exchange named, else None and the type of the one probably meant."""
    at = node.get("exchange")
    if not isinstance(at, Scalar) or at.bad:
        return None, None
    if at.text in exchanges:
        return exchanges[at.text], None
    meant = nearest(at.text, exchanges)
    label, related = "", []
    if meant is not None:
        label = f"did you mean `{meant}`?"
        related = [Related(exchanges[meant].key, "defined here")]
    path = f"markets.{market}.exchange"
    ctx.add("E0204", f"no exchange is named `{at.text[:60]}`", at.mark, label, path, related)
    return None, exchanges[meant].type if meant else None


def _instrument(draft: MarketDraft, type_: str | None, ctx: Context) -> Instrument | None:
    """Look the symbol up; of an exchange that did not resolve only units are taken."""
    if not draft.symbol:
        return None
    if type_ is not None:
        found = catalogue.instrument(type_, draft.symbol)
        if found is None and draft.certain:
            _no_symbol(draft, type_, ctx)
        return found
    known = (catalogue.instrument(t, draft.symbol) for t in catalogue.types())
    return next((i for i in known if i is not None), None)


def _no_symbol(draft: MarketDraft, type_: str, ctx: Context) -> None:
    squeezed = "".join(c for c in draft.symbol.upper() if c.isalnum())
    symbols = catalogue.symbols(type_)
    meant = squeezed if squeezed in symbols else nearest(draft.symbol, symbols)
    label = f"did you mean `{meant}`?" if meant else ""
    ask = f"if the exchange lists it: `runner learn {type_} {squeezed[:40]}`"
    ctx.add(
        "E0502",
        f"`{type_}` has no symbol `{draft.symbol[:40]}`",
        draft.symbol_mark,
        label,
        f"markets.{draft.name}.symbol",
        notes=(f"the catalogue of {catalogue.date()} has {len(symbols)} symbols of this type",),
        help=() if squeezed in symbols else (ask,),
    )


def _stream(draft: MarketDraft, kind: StreamKind, entry: Entry, ctx: Context) -> None:
    node = entry.value
    if not isinstance(node, Mapping):
        return
    path = f"markets.{draft.name}.streams.{kind}"
    bad = node.bad
    max_age = None if bad else ctx.duration(node, "max_age", path)
    if max_age is not None and not SHORTEST_AGE <= max_age <= LONGEST_AGE:
        at = node.get("max_age")
        mark = at.mark if at is not None else entry.key.mark
        ctx.add("E0203", "`max_age` lies between 1ms and 7d", mark, "", f"{path}.max_age")
    every = None if bad else ctx.duration(node, "every", path)
    if every is not None and every not in _lengths(draft):
        at = node.get("every")
        assert at is not None
        notes = ("bars come in 1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d 1w",)
        message = "no exchange publishes bars of this length"
        ctx.add("E0203", message, at.mark, "", f"{path}.every", notes=notes)
    depth = integer(node, "depth")
    warmup = warmup_ns = 0
    if kind is StreamKind.BARS and not bad:
        warmup = _warmup(node, path, ctx)
    elif kind is StreamKind.FUNDING and not bad:
        warmup_ns = ctx.duration(node, "warmup", path) or 0
    plan = StreamPlan(
        f"{draft.name}.{kind}", draft.name, kind, max_age, depth, every, warmup, warmup_ns
    )
    draft.streams[kind] = plan
    if "max_age" in node or bad:
        _too_short(draft, kind, max_age, node, ctx)
    else:
        draft.stream_marks[kind] = entry.key.mark


def _too_short(
    draft: MarketDraft, kind: StreamKind, max_age: int | None, node: Mapping, ctx: Context
) -> None:
    type_ = draft.exchange.type if draft.exchange else None
    period = PERIODS.get((type_ or "", kind))
    at = node.get("max_age")
    if period is None or max_age is None or at is None or max_age >= period:
        return
    message = f"`{draft.name}.{kind}` is published every {period // 1_000_000}ms: it would be stale"
    help = ("a `max_age` below the publish period makes every value missing most of the time",)
    path = f"markets.{draft.name}.streams.{kind}.max_age"
    ctx.add("W0411", message, at.mark, "", path, help=help)


def _lengths(draft: MarketDraft) -> set[int]:
    type_ = (draft.exchange.type if draft.exchange else None) or ""
    return BARS_NS | {EIGHT_HOURS} if type_.startswith("binance") else BARS_NS


def _warmup(node: Mapping, path: str, ctx: Context) -> int:
    found = ctx.constant(
        node.get("warmup"), Want((types.COUNT,), "a count of bars"), f"{path}.warmup"
    )
    count = 0 if found is None else round(found[0])
    at = node.get("warmup")
    if at is not None and not 0 <= count <= MOST_BARS:
        message = f"`warmup` lies between 0 and {MOST_BARS}bars"
        ctx.add("E0203", message, at.mark, "one request's worth", f"{path}.warmup")
    return count


def plan_market(draft: MarketDraft, traded: bool) -> MarketPlan:
    """Make the plan of a market without error; a traded perpetual gets mark and funding."""
    assert draft.exchange is not None and draft.instrument is not None
    streams: dict[StreamKind, StreamPlan] = dict(draft.streams)
    if traded and draft.instrument.kind is Kind.PERPETUAL:
        for kind in (StreamKind.MARK, StreamKind.FUNDING):
            key = f"{draft.name}.{kind}"
            streams.setdefault(kind, StreamPlan(key, draft.name, kind, None, implied=True))
    return MarketPlan(
        draft.name,
        draft.exchange.name,
        draft.symbol,
        draft.instrument,
        streams,
        traded,
        draft.key.line,
    )
