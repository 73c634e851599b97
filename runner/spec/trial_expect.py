"""What must hold in a test: `expect` at times, `never` over the whole of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import TypeVar

from runner.lang import types
from runner.lang.check import Want
from runner.lang.diagnostics import Mark, Text
from runner.lang.nodes import Entry, Mapping, Node, Scalar, Sequence
from runner.lang.tree import Expr
from runner.lang.types import Sort, Type
from runner.spec.context import Context, exact, flag, section, text
from runner.spec.markets import MarketDraft
from runner.spec.rule_draft import RuleDraft
from runner.spec.source_plan import SourcePlan
from runner.spec.suggest import hint
from runner.spec.trial_plan import Bound, Expected, Never, OrderWanted

RULE_STATES = (
    "warming", "idle", "pending", "entering", "active", "leaving", "cooldown", "done", "disabled",
)  # fmt: skip
MISSING = "missing"
PRICE = Want((types.NUMBER,), "a price")
_BOUND = re.compile(r"\s*(?P<op><=|>=|==|!=|<|>)?\s*(?P<value>.+?)\s*$", re.DOTALL)
_FOR = re.compile(r"\s+for\s+(?P<time>\S+)\s*$")
_WORDS = ("market", "side", "rule", "purpose", "type", "tif")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known:
    """Names of the file that tests may use; signals in error have no tree, sources no plan."""

    signals: Dict[str, Expr | None]
    sources: Dict[str, SourcePlan | None]
    ctx: Context


class Expectations:
    """Reads one test's expectations."""

    def __init__(
        self, markets: dict[str, MarketDraft], rules: dict[str, RuleDraft], known: Known
    ) -> None:
        self.markets = markets
        self.rules = rules
        self.signals = known.signals
        self.ctx = known.ctx

    # -- expect

    def expect(self, node: Node | None, path: str) -> tuple[Expected, ...]:
        """Read `expect`, in the order of time."""
        found: list[Expected] = []
        if not isinstance(node, Sequence) or node.bad:
            return ()
        for i, item in enumerate(node.items):
            if not isinstance(item, Mapping) or item.bad:
                continue
            one = self._expected(item, f"{path}.{i}")
            if found and one.t < found[-1].t:
                message = "expectations stand in the order of their times"
                self.ctx.add("E0203", message, item.key("t"), "", f"{path}.{i}")
            if not any(e.key.text != "t" for e in item):
                self.ctx.add("E0203", "this expects nothing", item.mark, "", f"{path}.{i}")
            found.append(one)
        return tuple(found)

    def _expected(self, at: Mapping, path: str) -> Expected:
        return Expected(
            t=self.ctx.duration(at, "t", path) or 0,
            line=at.mark.line,
            orders=self._orders(at.get("orders"), f"{path}.orders"),
            changes=self._orders(at.get("changes"), f"{path}.changes"),
            rules=self._each(at, "rule", path, self._rule, _states),
            positions=self._each(at, "position", path, self._market, self._position),
            signals=self._each(at, "signal", path, self._signal, self._reading),
            why=self._each(at, "why", path, self._rule, _texts),
            run=text(at, "run") or "",
        )

    def _each(
        self,
        at: Mapping,
        key: str,
        path: str,
        known: Callable[[Entry, str], bool],
        read: Callable[[str, Node, str], T | None],
    ) -> dict[str, T]:
        """Read a mapping from names to what must hold of each."""
        found = {}
        for entry in section(at, key):
            inner = f"{path}.{key}.{entry.key.text}"
            if known(entry, inner) and not entry.value.bad:
                value = read(entry.key.text, entry.value, inner)
                if value is not None:
                    found[entry.key.text] = value
        return found

    def _rule(self, entry: Entry, path: str) -> bool:
        return self._known("rule", entry.key.text, self.rules, entry.key.mark, path)

    def _market(self, entry: Entry, path: str) -> bool:
        return self._known("market", entry.key.text, self.markets, entry.key.mark, path)

    def _signal(self, entry: Entry, path: str) -> bool:
        return self._known("signal", entry.key.text, self.signals, entry.key.mark, path)

    def _known(self, what: str, name: str, names: Iterable[str], mark: Mark, path: str) -> bool:
        if name in names:
            return True
        message = f"no {what} is named `{name[:60]}`"
        self.ctx.add("E0204", message, mark, hint(name, names), path)
        return False

    # -- orders

    def _orders(self, node: Node | None, path: str) -> tuple[OrderWanted, ...] | None:
        if not isinstance(node, Sequence) or node.bad:
            return None
        found = []
        for i, item in enumerate(node.items):
            if isinstance(item, Mapping) and not item.bad:
                found.append(self._order(item, f"{path}.{i}"))
        return tuple(found)

    def _order(self, at: Mapping, path: str) -> OrderWanted:
        words = {name: word for name in _WORDS if (word := text(at, name)) is not None}
        for name, names in (("market", self.markets), ("rule", self.rules)):
            if name in words:
                self._known(name, words[name], names, _place(at, name), f"{path}.{name}")
        market = self.markets.get(words.get("market", ""))
        bases = [market] if market is not None else list(self.markets.values())
        qty = self.ctx.quantity(at, "qty", path, {m.base for m in bases if m.base}, "`qty`")
        price = self.ctx.constant(at.get("price"), PRICE, f"{path}.price")
        trigger = self.ctx.constant(at.get("trigger"), PRICE, f"{path}.trigger")
        shown = (f"{e.key.text} {e.value.text}" for e in at if isinstance(e.value, Scalar))
        return OrderWanted(
            text=", ".join(shown) or "any order",
            words=words,
            qty=None if qty is None else qty.value,
            price=None if price is None else exact(price[0]),
            trigger=None if trigger is None else exact(trigger[0]),
            reduce_only=flag(at, "reduce_only") if "reduce_only" in at else None,
        )

    # -- values

    def _position(self, market: str, node: Node, path: str) -> tuple[Bound, ...] | None:
        base = self.markets[market].base
        return self._bounds(node, self.ctx.scope.amount(base), path)

    def _reading(self, name: str, node: Node, path: str) -> tuple[Bound, ...] | None:
        expr = self.signals[name]
        return None if expr is None else self._bounds(node, expr.type, path, missing=True)

    def _bounds(
        self, node: Node, type_: Type, path: str, missing: bool = False
    ) -> tuple[Bound, ...] | None:
        nodes = node.items if isinstance(node, Sequence) else [node]
        found = [self._bound(n, type_, path, missing) for n in nodes if isinstance(n, Scalar)]
        whole = [bound for bound in found if bound is not None]
        return tuple(whole) if len(whole) == len(nodes) else None

    def _bound(self, node: Scalar, type_: Type, path: str, missing: bool) -> Bound | None:
        """Read `< 2bps` or `0 BTC`."""
        if node.bad or type_.unknown:
            return None
        if missing and node.text == MISSING:
            return Bound(MISSING, True, MISSING)
        if type_.sort is Sort.BOOL:
            if isinstance(node.value, bool):
                return Bound("==", node.value, node.text)
            return self._no(node, "`true`, `false` or `missing` is needed here", path)
        match = _BOUND.match(node.source.text)
        if match is None:
            return self._no(node, "a value is needed here", path)
        op = match["op"] or "=="
        if type_.sort is Sort.TEXT:
            return self._word(node, op, match["value"].strip("\"'"), type_, path)
        part = _part(node, match.start("value"), match.end("value"))
        bare = (types.NUMBER,) if type_.is_price else ()  # a price is written bare in a test
        value = self.ctx.constant(part, Want((type_, *bare), str(type_)), path)
        return None if value is None else Bound(op, value[0], node.text.strip())

    def _word(self, node: Scalar, op: str, word: str, type_: Type, path: str) -> Bound | None:
        if op not in ("==", "!="):
            return self._no(node, "texts are equal or they are not", path)
        if type_.choices and word not in type_.choices:
            return self._no(node, f"no value `{word[:60]}`", path, hint(word, type_.choices))
        return Bound(op, word, node.text)

    def _no(self, node: Scalar, message: str, path: str, label: str = "") -> Bound | None:
        self.ctx.add("E0203", message, node.mark, label, path)
        return None

    # -- never

    def never(self, at: Mapping, path: str) -> tuple[Never, ...]:
        """Read `never`."""
        found: list[Never | None] = []
        for entry in at:
            kind, inner = entry.key.text, f"{path}.{entry.key.text}"
            nodes = entry.value.items if isinstance(entry.value, Sequence) else [entry.value]
            for node in nodes:
                if kind == "net_position" and isinstance(node, Scalar) and not node.bad:
                    found.append(self._net(node, inner))
                elif isinstance(node, Mapping) and not node.bad:
                    found += [self._never(kind, each, inner) for each in node]
        return tuple(each for each in found if each is not None)

    def _net(self, node: Scalar, path: str) -> Never | None:
        value, for_ns = self._lasting(node, path)
        bases = {m.base for m in self.markets.values() if m.base}
        wanted = tuple(types.amount(self.ctx.scope.currency(b)) for b in sorted(bases))
        match = _BOUND.match(value.source.text)
        if match is None:
            return None
        part = _part(value, match.start("value"), match.end("value"))
        found = self.ctx.constant(part, Want(wanted, "an amount"), path)
        if found is None:
            return None
        base = found[1].currency or (min(bases) if len(bases) == 1 else "")
        if not base:
            self._no(node, "of which asset? write its unit", path)
            return None
        bound = Bound(match["op"] or "==", found[0], value.text.strip())
        return Never("net_position", base, bound, for_ns, node.mark.line, node.text)

    def _never(self, kind: str, entry: Entry, path: str) -> Never | None:
        name, node, inner = entry.key.text, entry.value, f"{path}.{entry.key.text}"
        known = {"position": self._market, "signal": self._signal, "rule": self._rule}[kind]
        if not known(entry, inner) or not isinstance(node, Scalar) or node.bad:
            return None
        value, for_ns = self._lasting(node, inner)
        bound: Bound | None
        if kind == "rule":
            word = value.text.strip()
            if word not in RULE_STATES:
                label = hint(word, RULE_STATES)
                self._no(node, f"no state of a rule is `{word[:60]}`", inner, label)
                return None
            bound = Bound("==", word, word)
        elif kind == "position":
            bound = self._bound(value, self.ctx.scope.amount(self.markets[name].base), inner, False)
        else:
            expr = self.signals[name]
            bound = None if expr is None else self._bound(value, expr.type, inner, True)
        if bound is None:
            return None
        return Never(kind, name, bound, for_ns, node.mark.line, node.text)

    def _lasting(self, node: Scalar, path: str) -> tuple[Scalar, int]:
        """Split `> 0.002 BTC for 400ms` into what and how long (ns)."""
        match = _FOR.search(node.source.text)
        if match is None:
            return node, 0
        time = _part(node, match.start("time"), match.end("time"))
        found = self.ctx.constant(time, Want((types.DURATION,), "a duration"), path)
        value = _part(node, 0, match.start())
        return value, 0 if found is None else round(found[0] * 1e9)


def _part(node: Scalar, start: int, end: int) -> Scalar:
    """Return characters `start..end` of a scalar as a scalar of its own place."""
    source = node.source
    cut = source.text[start:end]
    mark = source.at(start, end)
    return Scalar(mark, cut, cut, node.quoted, Text(cut, mark, source.exact))


def _states(_name: str, node: Node, _path: str) -> tuple[str, ...] | None:
    return _texts(_name, node, _path)


def _texts(_name: str, node: Node, _path: str) -> tuple[str, ...] | None:
    nodes = node.items if isinstance(node, Sequence) else [node]
    return tuple(n.text for n in nodes if isinstance(n, Scalar) and not n.bad)


def _place(at: Mapping, key: str) -> Mark:
    node = at.get(key)
    return node.mark if node is not None else at.mark
