"""A run without an engine: decisions by hand, paper fills, the collector and its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from runner.app.collector import Collector
from runner.app.paper import PaperDesk
from runner.app.report import SIMULATED, Report, RunFacts, build_report
from runner.app.why.shape import RuleStory
from runner.engine import proof
from runner.engine.commands import Intent, OrderType, Purpose, Send, Tif
from runner.engine.events import Event, Top
from runner.exchanges.paper import Latency, LatencyModel
from runner.lang.tree import Expr
from runner.market.instruments import Fees, Instrument, Kind, Side
from runner.spec.market_plan import ExchangePlan, MarketPlan, Network
from runner.spec.parts import Quantity
from runner.spec.plan import Plan, RunPlan
from runner.spec.risk_plan import RiskPlan
from runner.spec.rule_plan import (
    ClosePlan,
    HedgePlan,
    LegPlan,
    OrderPlan,
    RulePlan,
    SizePlan,
    TradePlan,
)
from tests.exchanges.paper.paperlab import ListBook

MS = 1_000_000
S = 1_000_000_000
WALL = 1_800_000_000 * S
NO_EXPR = cast(Expr, None)


def instrument(type: str, taker: float, tick: str = "0.1") -> Instrument:
    return Instrument(
        exchange_type=type,
        symbol="BTCUSDT",
        kind=Kind.PERPETUAL,
        base="BTC",
        quote="USDT",
        tick=Decimal(tick),
        lot=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        min_notional=Decimal("5"),
        fees=Fees(0.0002, taker),
    )


def plan() -> Plan:
    """A spread over two exchanges; its expressions are never evaluated."""
    exchanges = {
        "binance": ExchangePlan("binance", "binance_usdm", Network.SIM, {}),
        "bybit": ExchangePlan("bybit", "bybit_linear", Network.SIM, {}),
    }
    listed = {"bin": ("binance", 0.0005), "byb": ("bybit", 0.00055)}
    markets = {
        name: MarketPlan(
            name, x, "BTCUSDT", instrument(exchanges[x].type, taker), streams={}, traded=True
        )
        for name, (x, taker) in listed.items()
    }
    legs = (
        LegPlan("bin", Side.SELL, None, OrderPlan()),
        LegPlan("byb", Side.BUY, None, OrderPlan()),
    )
    hedge = HedgePlan(Quantity(Decimal("0.002"), "BTC"))
    trade = TradePlan(SizePlan(NO_EXPR, "USDT"), legs, hedge, ClosePlan())
    rule = RulePlan(
        "spread", 1, NO_EXPR, None, (), 0, None, None, 0, "hold", "", False, trade, None, (), ()
    )
    risk = RiskPlan(None, {}, {}, None, None, {}, {}, {})
    return Plan(
        "spread-arb", "", "arb.yaml", "", "3f9c12", {}, exchanges, markets, {}, {},
        {"spread": rule}, risk, RunPlan(),
    )  # fmt: skip


@dataclass
class Funnel:
    """What the engine would have counted."""

    true: int = 0
    entries: int = 0
    exits: int = 0
    no_fill: int = 0
    undone: int = 0
    rejected: int = 0
    refusals: dict[str, int] = field(default_factory=dict)


class RunLab:
    """Two paper exchanges, `bin` and `byb`, on virtual time."""

    def __init__(self, entry: int = 0, response: int = 0, **options: Any) -> None:
        self.plan = plan()
        self.books = {"bin": ListBook(), "byb": ListBook()}
        self.instruments = {m: p.instrument for m, p in self.plan.markets.items()}
        model = LatencyModel(Latency.constant(entry), Latency.constant(response))
        self.desk = PaperDesk(
            self.plan,
            self.instruments,
            self.books,
            "run",
            latency={"binance": model, "bybit": model},
            **options,
        )
        self.collector = Collector(self.plan, self.instruments, self.books, {})
        self.now = 0
        self.count = 0
        self.group = 0
        self.attempt = 0
        """of the next orders; above 0: a later clip or try of the trade that was begun"""
        self.funnel = Funnel()
        self.stories: dict[str, RuleStory] = {}

    def quote(self, market: str, bid: float, ask: float, qty: float = 10.0) -> None:
        """Change a book to one level on each side, and say so."""
        book = self.books[market]
        book.bids, book.asks = [(bid, qty)], [(ask, qty)]
        self.tell(Top(market=market, bid=bid, ask=ask, bid_qty=qty, ask_qty=qty))

    def tell(self, event: Event) -> None:
        """A market event happens now."""
        event.t, event.wall = self.now, WALL + self.now
        self.collector.event(event)
        self.desk.on_market(event)

    def send(self, purpose: str, *legs: tuple[str, str, int, str]) -> None:
        """Decide: each leg is (market, side, lots, limit price). An entry begins a new trade."""
        if purpose == "entry":
            self.group += 1
        approved = [proof._approve(self._intent(Purpose(purpose), *leg)) for leg in legs]
        self.collector.command(Send(group=self.group, orders=tuple(approved)), self.now)
        self.desk.send([proof._journaled(a) for a in approved], self.now, WALL + self.now)

    def run(self, until: int) -> None:
        """Let time pass."""
        while self.desk.due <= until:
            self.now = max(self.now, self.desk.due)
            for event in self.desk.on_timer(self.now, WALL + self.now):
                self.collector.event(event)
        self.now = until

    def report(self, market: str = SIMULATED) -> Report:
        self.collector.end(self.now, WALL + self.now)
        facts = RunFacts("dry-run", "0abc", market, {"binance": "sim", "bybit": "sim"}, 0, "--for")
        return build_report(
            self.collector, facts, {"spread": self.funnel}, paper=self.desk, stories=self.stories
        )

    def _intent(self, purpose: Purpose, market: str, side: str, lots: int, price: str) -> Intent:
        self.count += 1
        listed = self.instruments[market]
        return Intent(
            cid=f"c{self.count}",
            rule="spread",
            group=self.group,
            leg=0,
            attempt=self.attempt,
            purpose=purpose,
            exchange=self.plan.markets[market].exchange,
            market=market,
            symbol="BTCUSDT",
            side=Side(side),
            type=OrderType.LIMIT,
            tif=Tif.IOC,
            lots=lots,
            ticks=int(Decimal(price) / listed.tick),
            qty_text=listed.qty_text(lots),
            price_text=price,
            reduce_only=purpose is Purpose.CLOSE,
            window_ns=S,
            t=self.now,
            wall=WALL + self.now,
        )
