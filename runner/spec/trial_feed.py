"""What happens in a test: `series` and `ticks`, against the streams and fields of the file."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from math import isfinite

from runner.lang import types
from runner.lang.diagnostics import Mark
from runner.lang.functions import FIELDS, SHORT, Measure
from runner.lang.nodes import Entry, Mapping, Node, Scalar, Sequence
from runner.spec.context import Context
from runner.spec.markets import MarketDraft
from runner.spec.series import (
    BadSeries,
    Group,
    Units,
    parse,
    units_of_ratio,
    units_of_time,
)
from runner.spec.source_plan import SourcePlan
from runner.spec.suggest import hint
from runner.spec.trial_message import read_message
from runner.spec.trial_plan import Levels, SeriesPlan, TickPlan, Value

SETTABLE = {
    "book": ("bid", "ask", "bid_qty", "ask_qty"),
    "trades": ("last", "qty"),
    "mark": ("price",),
    "funding": ("rate", "next_in", "interval"),
    "bars": ("open", "high", "low", "close", "volume"),
}
"""fields that an update carries; the others follow from them"""
NEEDED = {
    "book": ("bid", "ask"),
    "trades": ("last",),
    "mark": ("price",),
    "funding": ("rate",),
    "bars": ("close",),
}
HISTORY = {
    "mid": ("book", "mid"),
    "bars.close": ("bars", "close"),
    "funding.rate": ("funding", "rate"),
}
_MEASURES = {"next_in": Measure.SECONDS, "interval": Measure.SECONDS}
_TAKERS = ("buy", "sell")


@dataclass(slots=True)
class _Given:
    """The fields a stream gets, and where it is first spoken of."""

    mark: Mark
    series: set[str] = field(default_factory=set)
    first: set[str] | None = None


class Feeds:
    """Reads one test's happenings."""

    def __init__(
        self, markets: dict[str, MarketDraft], sources: Dict[str, SourcePlan | None], ctx: Context
    ) -> None:
        self.markets = markets
        self.sources = sources
        self.ctx = ctx
        self._given: dict[str, _Given] = {}

    # -- series

    def series(self, at: Mapping, path: str) -> tuple[SeriesPlan, ...]:
        """Read `series`."""
        found = []
        for entry in at:
            place = self._field(entry, path)
            if place is None or not isinstance(entry.value, Scalar) or entry.value.bad:
                continue
            key, name, units = place
            self._note(key, entry.key.mark).series.add(name)
            values = self._values(entry.value, units, f"{path}.{entry.key.text}")
            if values is not None:
                found.append(SeriesPlan(key, name, values))
        return tuple(found)

    def _field(self, entry: Entry, path: str) -> tuple[str, str, Units] | None:
        """Resolve a key such as `bin.book.bid`."""
        parts = entry.key.text.split(".")
        if len(parts) == 2 and parts[1] in SHORT:
            parts.insert(1, "book")
        mark, inner = entry.key.mark, f"{path}.{entry.key.text}"
        if len(parts) != 3:
            help = ("e.g. `bin.book.bid`",)
            self.ctx.add("E0203", "a series is of one field", mark, "", inner, help=help)
            return None
        kind = self._stream(parts[0], parts[1], mark, inner)
        if kind is None:
            return None
        units = self._settable(parts[0], kind, parts[2], mark, inner)
        return None if units is None else (f"{parts[0]}.{kind}", parts[2], units)

    def _values(self, node: Scalar, units: Units, path: str) -> Group | None:
        source = node.source
        try:
            return parse(source.text, units)
        except BadSeries as bad:
            notes = () if units.bare else (f"a value looks like {units.what}",)
            mark = source.at(bad.start, bad.end)
            self.ctx.add(bad.code, str(bad), mark, "", path, notes=notes)
            return None

    def history(self, at: Mapping, path: str) -> tuple[SeriesPlan, ...]:
        """Read `history`: closes of minutes, bars, funding, from old to new."""
        found = []
        for entry in at:
            key, inner, mark = entry.key.text, f"{path}.{entry.key.text}", entry.key.mark
            market, _, what = key.partition(".")
            kind, name = HISTORY.get(what, ("", ""))
            if not kind:
                notes = (f"there is: {', '.join(f'{market}.{w}' for w in HISTORY)}",)
                message = f"`{key[:60]}` has no history"
                self.ctx.add("E0304", message, mark, hint(what, HISTORY), inner, notes=notes)
                continue
            stream = self._stream(market, kind, mark, inner)
            if stream is None or not isinstance(entry.value, Scalar) or entry.value.bad:
                continue
            units = Units({}, True, "`60_120`")
            if kind == "funding":
                units = Units(units_of_ratio(), False, "`0.01%`")
            values = self._values(entry.value, units, inner)
            if values is not None and any(not isfinite(v) for v in values.values()):
                self.ctx.add("E0203", "a history has no gaps", entry.value.mark, "", inner)
            elif values is not None:
                found.append(SeriesPlan(f"{market}.{kind}", name, values))
        return tuple(found)

    # -- ticks

    def ticks(self, node: Node | None, path: str) -> tuple[TickPlan, ...]:
        """Read `ticks`."""
        found: list[TickPlan] = []
        if not isinstance(node, Sequence) or node.bad:
            return ()
        for i, item in enumerate(node.items):
            if not isinstance(item, Mapping) or item.bad:
                continue
            inner = f"{path}.{i}"
            t = self.ctx.duration(item, "t", inner)
            updates = [self._tick(e, t or 0, inner) for e in item if e.key.text != "t"]
            if not any(e.key.text != "t" for e in item):
                self.ctx.add("E0203", "a tick updates something", item.mark, "", inner)
            found += [update for update in updates if update is not None]
        return tuple(sorted(found, key=lambda tick: tick.t))

    def _tick(self, entry: Entry, t: int, path: str) -> TickPlan | None:
        key, inner = entry.key.text, f"{path}.{entry.key.text}"
        if key in self.sources:
            plan = self.sources[key]
            return None if plan is None else read_message(entry, plan, t, inner, self.ctx)
        market, _, kind = key.partition(".")
        known = self._stream(market, kind, entry.key.mark, inner)
        if known is None or entry.value.bad:
            return None
        line = entry.key.mark.line
        if isinstance(entry.value, Scalar):
            if entry.value.text == "up":
                help = ("a stream is up again with its next update",)
                mark = entry.value.mark
                self.ctx.add("E0203", "only a source comes `up`", mark, "", inner, help=help)
            return TickPlan(t, f"{market}.{known}", line, state=entry.value.text)
        if not isinstance(entry.value, Mapping):
            return None
        given = self._note(f"{market}.{known}", entry.key.mark)
        names = {e.key.text for e in entry.value}
        names |= {name[:-1] for name in ("bids", "asks") if name in names}
        given.first = names if given.first is None else given.first
        values: dict[str, Value] = {}
        levels: dict[str, Levels] = {}
        for each in entry.value:
            self._value(market, known, each, inner, values, levels)
        bids, asks = levels.get("bids", ()), levels.get("asks", ())
        return TickPlan(t, f"{market}.{known}", line, values, bids=bids, asks=asks)

    def _value(
        self,
        market: str,
        kind: str,
        entry: Entry,
        path: str,
        values: dict[str, Value],
        levels: dict[str, Levels],
    ) -> None:
        name, node = entry.key.text, entry.value
        inner = f"{path}.{name}"
        if kind == "book" and name in ("bids", "asks"):
            levels[name] = self._levels(node, inner)
        elif kind == "trades" and name == "taker":
            if isinstance(node, Scalar) and node.text in _TAKERS:
                values[name] = node.text
            else:
                self.ctx.add("E0203", "`taker` is `buy` or `sell`", node.mark, "", inner)
        else:
            units = self._settable(market, kind, name, entry.key.mark, inner)
            if units is not None and isinstance(node, Scalar) and not node.bad:
                value = self._one(node, units, inner)
                if value is not None:
                    values[name] = value

    def _one(self, node: Scalar, units: Units, path: str) -> float | None:
        group = self._values(node, units, path)
        if group is None:
            return None
        values = group.values() if group.count == 1 else []
        if len(values) != 1 or not abs(values[0]) < float("inf"):
            self.ctx.add("E0203", "one value is needed here", node.mark, "", path)
            return None
        return values[0]

    def _levels(self, node: Node, path: str) -> Levels:
        found = []
        for item in node.items if isinstance(node, Sequence) else ():
            pair = item.items if isinstance(item, Sequence) else []
            values = [i.value for i in pair if isinstance(i, Scalar)]
            numbers = [float(v) for v in values if isinstance(v, int | float) and v > 0]
            if len(numbers) != 2 or len(pair) != 2:
                help = ("e.g. `bids: [[60_000, 2], [59_990, 5]]`",)
                self.ctx.add("E0203", "a level is [price, amount]", item.mark, "", path, help=help)
                return ()
            found.append((numbers[0], numbers[1]))
        if not found:
            self.ctx.add("E0203", "levels are a list of [price, amount]", node.mark, "", path)
        return tuple(found)

    # -- names

    def check_whole(self, path: str) -> None:
        """Report streams whose first update would not be whole."""
        for key, given in self._given.items():
            kind = key.split(".")[1]
            absent = [n for n in NEEDED[kind] if n not in given.series | (given.first or set())]
            if absent:
                names = ", ".join(f"`{n}`" for n in absent)
                message = f"the first update of `{key}` lacks {names}"
                self.ctx.add("E0203", message, given.mark, "", path)

    def _note(self, key: str, mark: Mark) -> _Given:
        return self._given.setdefault(key, _Given(mark))

    def _stream(self, market: str, kind: str, mark: Mark, path: str) -> str | None:
        """Return the kind of stream a test may feed, or None after a diagnostic."""
        draft = self.markets.get(market)
        if draft is None:
            known = [*self.markets, *self.sources]
            what = "market or source" if self.sources else "market"
            message = f"no {what} is named `{market[:60]}`"
            self.ctx.add("E0204", message, mark, hint(market, known), path)
            return None
        kinds = [str(kind) for kind in draft.streams]
        if kind in kinds or (draft.streams_bad and kind in FIELDS):
            return kind
        message = f"market `{market}` has no stream `{kind[:60]}`"
        notes = (f"its streams: {', '.join(kinds) or 'none'}",)
        self.ctx.add("E0304", message, mark, hint(kind, kinds), path, notes=notes)
        return None

    def _settable(self, market: str, kind: str, name: str, mark: Mark, path: str) -> Units | None:
        if name not in SETTABLE[kind]:
            follows = name in FIELDS[kind]
            message = f"`{market}.{kind}` has no field `{name[:60]}`"
            if follows:
                message = f"`{name}` follows from what a test can set"
            label = "" if follows else hint(name, SETTABLE[kind])
            notes = (f"a test sets: {', '.join(SETTABLE[kind])}",)
            self.ctx.add("E0304", message, mark, label, path, notes=notes)
            return None
        measure = _MEASURES.get(name) or FIELDS[kind][name].measure
        draft = self.markets[market]
        match measure:
            case Measure.RATIO:
                return Units(units_of_ratio(), False, "`1bps`, `0.01%`")
            case Measure.SECONDS:
                return Units(units_of_time(), False, "`8h`")
            case Measure.BASE:
                unit = draft.base or types.BARS
                return Units({unit: 1.0}, True, f"`0.5 {unit}`")
        return Units({}, True, "`60_120`")
