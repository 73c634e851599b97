"""What the tests of expressions share: a scope of two markets, streams by hand, short cuts."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite, nan
from typing import Any

from runner.lang import check as checking
from runner.lang import types
from runner.lang.cells import AccountCell, ClockCell, PnlCell, PositionCell, RuleCell
from runner.lang.check import Want
from runner.lang.diagnostics import Diagnostic, Findings, Mark, Text
from runner.lang.program import Program, compile_program
from runner.lang.request import ProgramRequest, RuleExprs
from runner.lang.scope import MarketScope, ParamScope, Scope, ThisScope
from runner.lang.tree import Expr, entered_of

KINDS = frozenset({"book", "trades", "mark", "funding", "bars"})
PARAMS = {
    "profit": (types.RATIO, 0.0006),
    "keep": (types.RATIO, 0.0003),
    "exit": (types.RATIO, 0.0001),
    "insane": (types.RATIO, 0.008),
    "clip": (types.amount("USDT"), 500.0),
    "window": (types.DURATION, 1800.0),
    "enter": (types.NUMBER, 2.2),
    "zero": (types.NUMBER, 0.0),
    "live": (types.BOOL, True),
    "mood": (types.one_of(("calm", "wild")), "calm"),
    "count": (types.COUNT, 5.0),
}
SCOPE = Scope(
    markets={
        "bin": MarketScope("bin", "binance", "BTC", "USDT", KINDS, "BTCUSDT"),
        "byb": MarketScope("byb", "bybit", "BTC", "USDT", frozenset({"book"})),
        "eth": MarketScope("eth", "binance", "ETH", "USDT", frozenset({"book"})),
    },
    params={name: ParamScope(name, t, value) for name, (t, value) in PARAMS.items()},
    exchanges={"binance": "USDT", "bybit": "USDT"},
    rules={"r": "USDT"},
    pnl="USDT",
    this=ThisScope("r", "BTC", "USDT", holding=True),
)
STREAMS = (
    "bin.book", "byb.book", "eth.book", "bin.trades", "bin.mark", "bin.funding", "bin.bars",
)  # fmt: skip


def text(source: str) -> Text:
    return Text(source, Mark(1, 1, len(source) + 1))


def findings(
    source: str, scope: Scope = SCOPE, want: Want = checking.ANY
) -> tuple[Expr | None, list[Diagnostic]]:
    found = Findings()
    expr = checking.check(text(source), scope, want, found, "signals.x")
    return expr, list(found)


def tree_of(source: str, scope: Scope = SCOPE) -> Expr:
    expr, found = findings(source, scope)
    assert expr is not None, found
    return expr


class FakeStream:
    """A stream set by hand, with the attributes that generated code reads."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.market = key.split(".")[0]
        self.state = "live"
        self.seq = 1
        self.bid = self.ask = self.bid_qty = self.ask_qty = nan
        self.last = self.qty = self.price = self.rate = nan
        self.open = self.high = self.low = self.close = self.volume = nan
        self.closed = 0
        self.next_at = self.interval = 0
        self.aged = 0
        self.down = False
        self.depth = inf
        self.slope = 0.0

    def age(self, now: int) -> int:
        return self.aged

    def fill_price(self, buy: bool, base: float, notional: float) -> float:
        """A book whose price grows worse evenly, never better than the touch."""
        touch = self.ask if buy else self.bid
        size = base if base == base else notional / touch if touch else nan
        if not (isfinite(touch) and touch > 0 and 0 < size <= self.depth):
            return nan
        return touch * (1 + self.slope) if buy else touch / (1 + self.slope)

    def quote(self, bid: float, ask: float, bid_qty: float = 1.0, ask_qty: float = 1.0) -> None:
        self.bid, self.ask, self.bid_qty, self.ask_qty = bid, ask, bid_qty, ask_qty


class FakePosition(PositionCell):
    __slots__ = ("gap", "worth")

    def __init__(self) -> None:
        super().__init__()
        self.worth = self.gap = nan

    def liq_gap(self, now: int) -> float:
        return self.gap

    def notional(self, now: int) -> float:
        return self.worth

    def pnl(self, now: int) -> float:
        return -self.worth


class FakeRule(RuleCell):
    __slots__ = ("worth",)

    def __init__(self) -> None:
        super().__init__()
        self.worth = nan

    def age(self, now: int) -> float:
        return now * 1e-9

    def exit_pnl(self, now: int) -> float:
        return self.worth

    def exit_return(self, now: int) -> float:
        return self.worth / 500.0


class World:
    """Streams and cells, and programs over them."""

    def __init__(self) -> None:
        self.streams = {key: FakeStream(key) for key in STREAMS}
        self.accounts = {"binance": AccountCell(), "bybit": AccountCell()}
        self.positions = {"bin": FakePosition(), "byb": FakePosition(), "eth": FakePosition()}
        self.rule = FakeRule()
        self.pnl = PnlCell()
        self.clock = ClockCell()

    def program(
        self,
        signals: dict[str, str] | None = None,
        when: str = "bin.bid > 0",
        until: str | None = None,
        **more: Any,
    ) -> Program:
        scope = SCOPE
        trees: dict[str, Expr | None] = {}
        for name, source in (signals or {}).items():
            trees[name] = tree_of(source, scope)
            scope = replace(scope, signals=dict(trees))
        ends = tree_of(until, scope) if until else None
        exprs = RuleExprs(
            when=tree_of(when, scope),
            until=ends,
            entered=entered_of(ends),
            size=tree_of(more.get("size", "params.clip"), scope),
            size_unit="USDT",
            size_min=None,
            size_max=tree_of("20% * account.binance.equity", scope),
            weights=(None, tree_of("params.enter", scope)),
            prices=(None, tree_of("bin.ask", scope)),
        )
        values = {name: value for name, (_, value) in PARAMS.items()}
        request = ProgramRequest({k: v for k, v in trees.items() if v}, {"r": exprs}, values)
        return compile_program(
            request, self.streams, self.accounts, self.positions, {"r": self.rule}, self.pnl,
            self.clock,
        )  # fmt: skip
