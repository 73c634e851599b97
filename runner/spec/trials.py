"""Read `tests:`: each test beside the rules, checked against the names and units of the file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from runner.lang import types
from runner.lang.check import Want
from runner.lang.diagnostics import Mark
from runner.lang.nodes import Entry, Mapping, Scalar, Sequence
from runner.spec.context import Context, flag, section, text
from runner.spec.markets import MarketDraft
from runner.spec.params import check_value
from runner.spec.rule_draft import RuleDraft
from runner.spec.suggest import hint
from runner.spec.trial_expect import Expectations, Known
from runner.spec.trial_feed import Feeds
from runner.spec.trial_plan import FillPlan, TrialPlan

SHARE = Want((types.NUMBER, types.RATIO), "a share, 0 to 1")
BEGINNING = datetime(2026, 1, 5, tzinfo=UTC)
"""when a test begins that does not say: a Monday, midnight"""
BALANCE = Decimal(10_000)
LONGEST_NS = 100 * 86_400_000_000_000
_NS = 1_000_000_000


def read_trials(
    root: Mapping, markets: dict[str, MarketDraft], rules: dict[str, RuleDraft], known: Known
) -> tuple[TrialPlan, ...]:
    """Read the section; tests in error are left out after their diagnostics."""
    found = []
    for entry in section(root, "tests"):
        if isinstance(entry.value, Mapping) and not entry.value.bad and not entry.key.bad:
            found.append(_Trial(entry, markets, rules, known).plan())
    return tuple(found)


class _Trial:
    """One test."""

    def __init__(
        self,
        entry: Entry,
        markets: dict[str, MarketDraft],
        rules: dict[str, RuleDraft],
        known: Known,
    ) -> None:
        assert isinstance(entry.value, Mapping)
        self.key = entry.key
        self.node = entry.value
        self.path = f"tests.{entry.key.text}"
        self.markets = markets
        self.rules = rules
        self.known = known
        self.ctx: Context = known.ctx

    def plan(self) -> TrialPlan:
        """Read all of it."""
        at, ctx = self.node, self.ctx
        every = ctx.duration(at, "every", self.path)
        feeds = Feeds(self.markets, self.known.sources, ctx)
        series = feeds.series(section(at, "series"), f"{self.path}.series")
        ticks = feeds.ticks(at.get("ticks"), f"{self.path}.ticks")
        history = feeds.history(section(at, "history"), f"{self.path}.history")
        feeds.check_whole(self.path)
        expecting = Expectations(self.markets, self.rules, self.known)
        plan = TrialPlan(
            name=self.key.text,
            line=self.key.mark.line,
            sets=self._sets(),
            starts_ns=self._starts(),
            balance=self._balance(),
            every_ns=every or 0,
            series=series,
            ticks=ticks,
            history=history,
            fills=self._fills(),
            expect=expecting.expect(at.get("expect"), f"{self.path}.expect"),
            never=expecting.never(section(at, "never"), f"{self.path}.never"),
        )
        self._check_whole(plan, every)
        return plan

    def _check_whole(self, plan: TrialPlan, every: int | None) -> None:
        """Report what makes a test meaningless."""
        at, mark = self.node, self.key.mark
        if "series" in at and not every:
            message = "a test with `series` needs `every`, the step of its values"
            self._add("E0203", message, at.key("series"), help=("e.g. `every: 200ms`",))
        if not at.get("expect") and not at.get("never"):
            help = ("say what must hold: `expect: [{t: 1s, orders: []}]`",)
            self._add("E0203", "this test expects nothing", mark, help=help)
        if plan.until_ns > LONGEST_NS:
            self._add("E0203", "a test lasts 100 days at most", mark)

    def _sets(self) -> dict[str, str]:
        found = {}
        for entry in section(self.node, "set"):
            name, path = entry.key.text, f"{self.path}.set.{entry.key.text}"
            if name not in self.ctx.scope.params:
                label = hint(name, self.ctx.scope.params)
                message = f"no param is named `{name[:60]}`"
                self.ctx.add("E0204", message, entry.key.mark, label, path)
                continue
            node = entry.value
            if isinstance(node, Scalar) and check_value(name, node, self.ctx, path):
                found[name] = node.text
        return found

    def _starts(self) -> int:
        node, when = self.node.get("starts"), BEGINNING
        if isinstance(node, Scalar) and not node.bad:
            try:
                when = datetime.fromisoformat(node.text)
            except ValueError:
                help = ('e.g. `starts: "2026-01-05T08:00:00Z"`',)
                self._add("E0203", "`starts` is no time", node.mark, help=help)
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return int((when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * _NS

    def _balance(self) -> Decimal:
        quotes = {m.quote for m in self.markets.values() if m.quote}
        found = self.ctx.quantity(self.node, "balance", self.path, quotes, "`balance`")
        return BALANCE if found is None else found.value

    def _fills(self) -> dict[str, FillPlan | tuple[FillPlan, ...]]:
        found: dict[str, FillPlan | tuple[FillPlan, ...]] = {}
        for entry in section(self.node, "fills"):
            name, path = entry.key.text, f"{self.path}.fills.{entry.key.text}"
            if name not in self.markets:
                label = hint(name, self.markets)
                message = f"no market is named `{name[:60]}`"
                self.ctx.add("E0204", message, entry.key.mark, label, path)
            elif isinstance(entry.value, Sequence):
                found[name] = tuple(self._fill(each, path) for each in _mappings(entry.value))
            elif isinstance(entry.value, Mapping) and not entry.value.bad:
                found[name] = self._fill(entry.value, path)
        return found

    def _fill(self, at: Mapping, path: str) -> FillPlan:
        return FillPlan(
            after_ns=self.ctx.duration(at, "after", path),
            ratio=self._share(at, path),
            reject=text(at, "reject") or "",
            lose_reply=flag(at, "lose_reply"),
        )

    def _share(self, at: Mapping, path: str) -> float | None:
        node = at.get("ratio")
        found = self.ctx.constant(node, SHARE, f"{path}.ratio")
        if found is None or node is None:
            return None
        if not 0 <= found[0] <= 1:
            self.ctx.add("E0203", "`ratio` lies between 0 and 1", node.mark, "", f"{path}.ratio")
            return None
        return found[0]

    def _add(self, code: str, message: str, mark: Mark, help: tuple[str, ...] = ()) -> None:
        self.ctx.add(code, message, mark, "", self.path, help=help)


def _mappings(node: Sequence) -> Iterator[Mapping]:
    yield from (i for i in node.items if isinstance(i, Mapping) and not i.bad)
