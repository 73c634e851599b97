"""A hand-built two-exchange spread strategy and a program of plain lambdas to run it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import nan
from typing import Any

from runner.engine.build import Cells
from runner.engine.saved import Saved
from runner.engine.scenario import Scenario
from runner.engine.timers import MS, NEVER, SECOND
from runner.market.instruments import Fees, Instrument, Kind, Side
from runner.spec.market_plan import (
    ExchangePlan,
    MarketPlan,
    Network,
    StreamKind,
    StreamPlan,
)
from runner.spec.parts import Quantity, Rate
from runner.spec.plan import Plan, RunPlan
from runner.spec.risk_plan import DailyLoss, RiskPlan
from runner.spec.rule_plan import (
    ClosePlan,
    HedgePlan,
    LegPlan,
    OrderPlan,
    RulePlan,
    SingleOrderPlan,
    SizePlan,
    TradePlan,
)

BIN = Instrument(
    exchange_type="binance_usdm", symbol="BTCUSDT", kind=Kind.PERPETUAL, base="BTC", quote="USDT",
    tick=Decimal("0.1"), lot=Decimal("0.001"), min_qty=Decimal("0.001"), min_notional=Decimal(100),
    fees=Fees(0.0002, 0.0005), max_qty=Decimal(1000), price_hint=Decimal(60000),
    reduce_only_exempt_from_min=True,
)  # fmt: skip
BYB = replace(
    BIN, exchange_type="bybit_linear", min_notional=Decimal(5), fees=Fees(0.0002, 0.00055),
    reduce_only_exempt_from_min=False,
)  # fmt: skip
SPOT = replace(
    BIN, exchange_type="binance_spot", kind=Kind.SPOT, lot=Decimal("0.00001"),
    min_qty=Decimal("0.00001"), min_notional=Decimal(5), fees=Fees(0.001, 0.001),
    reduce_only_exempt_from_min=False,
)  # fmt: skip
MAX_AGE = 250 * MS
PAIR = (Side.SELL, Side.BUY)
R1 = "sell_bin_buy_byb"
R2 = "buy_bin_sell_byb"
QUOTES = {"bin": (60_000.0, 60_000.1), "byb": (59_999.9, 60_000.0)}
WIDE = {"bin": (60_300.0, 60_300.1), "byb": (59_999.9, 60_000.0)}


def market(name: str, exchange: str, instrument: Instrument) -> MarketPlan:
    book = StreamPlan(f"{name}.book", name, StreamKind.BOOK, MAX_AGE)
    return MarketPlan(
        name, exchange, instrument.symbol, instrument, {StreamKind.BOOK: book}, traded=True
    )


def usdt(value: float | str) -> Quantity:
    return Quantity(Decimal(str(value)), "USDT")


def btc(value: float | str) -> Quantity:
    return Quantity(Decimal(str(value)), "BTC")


def rule(name: str, sides: tuple[Side, ...], **changes: Any) -> RulePlan:
    """A trade over bin (and byb); keys of hedge, close, leg orders and the rule may be changed."""
    hedge = HedgePlan(btc("0.002"), worst=0.0015, on_failure="keep")
    close = ClosePlan(collar=0.0002, retry_ns=250 * MS, worst=0.002, then="hold")
    hedge = replace(hedge, **changes.pop("hedge", {}))
    close = replace(close, **changes.pop("close", {}))
    order = OrderPlan(collar=0.0001)
    order = replace(order, **changes.pop("order_plan", {}))
    names = ("bin", "byb")[: len(sides)]
    legs = tuple(LegPlan(m, s, None, order) for m, s in zip(names, sides, strict=True))
    trade = TradePlan(SizePlan(None, "USDT"), legs, hedge if len(legs) > 1 else None, close)
    keys = tuple(f"{m}.book" for m in names)
    plan = RulePlan(
        name=name, line=1, when=None, until=None, entered=(), for_ns=0, max_hold_ns=None,
        max_skew_ns=100 * MS if len(legs) > 1 else None, cooldown_ns=2 * SECOND, on_missing="hold",
        rearm="false", once=False, trade=trade, order=None, when_streams=keys, until_streams=keys,
    )  # fmt: skip
    if changes.pop("single", False):
        plan = replace(plan, trade=None, order=SingleOrderPlan(SizePlan(None, "USDT"), legs[0]))
    return replace(plan, until=True, **changes)


def arb_plan(*rules: RulePlan, exchanges: int = 2, **risk: Any) -> Plan:
    """The plan of `arb.yaml`, by hand."""
    chosen = rules or (
        rule(R1, (Side.SELL, Side.BUY)),
        rule(R2, (Side.BUY, Side.SELL)),
    )
    limits: dict[str, Any] = {
        "max_order": usdt(600),
        "max_order_by_market": {},
        "max_position": {"bin": btc("0.02"), "byb": btc("0.02")},
        "max_orders": Rate(40, 60 * SECOND),
        "max_daily_loss": DailyLoss(usdt(20)),
        "max_net_position": {"BTC": Decimal("0.002")},
        "max_exposure": {},
        "max_open_orders": {},
    }
    limits.update(risk)
    return Plan(
        name="spread-arb-btc", about="", file="arb.yaml", text="", sha="0", params={},
        exchanges={
            "binance": ExchangePlan("binance", "binance_usdm", Network.SIM, {}),
            "bybit": ExchangePlan("bybit", "bybit_linear", Network.SIM, {}),
        },
        markets={"bin": market("bin", "binance", BIN), "byb": market("byb", "bybit", BYB)},
        signals={}, signal_texts={}, rules={r.name: r for r in chosen}, risk=RiskPlan(**limits),
        run=RunPlan(),
    )  # fmt: skip


@dataclass
class Cond:
    """A three-valued condition of one lambda: True, False or None (missing)."""

    test: Callable[[int], bool | None]

    def true(self, now: int) -> bool:
        return self.test(now) is True

    def false(self, now: int) -> bool:
        return self.test(now) is False


@dataclass
class Size:
    value: Callable[[int], float]
    unit: str = "USDT"
    min: Callable[[int], float] | None = None
    max: Callable[[int], float] | None = None


@dataclass
class FakeRule:
    when: Cond
    until: Cond | None
    size: Size
    weights: tuple[Any, ...]
    prices: tuple[Any, ...]
    when_streams: tuple[str, ...]
    until_streams: tuple[str, ...]
    enter: Callable[[int], list[float]] = lambda _now: []
    stop: Callable[[int], float] | None = None
    target: Callable[[int], float] | None = None


@dataclass
class FakeProgram:
    rules: dict[str, FakeRule]
    on_stream: Mapping[str, Any] = field(default_factory=dict)
    on_edge: Mapping[str, Any] = field(default_factory=dict)
    due: int = NEVER

    def on_timer(self, now: int) -> bool:
        raise AssertionError("no windows here")

    def look(self, now: int) -> None:
        pass  # no condition of time here

    def warm(self, rule: str) -> bool:
        return True

    def missing(self, rule: str, now: int) -> list[str]:
        return []

    def lacks(self, rule: str, now: int) -> list[Any]:
        return []

    def probes(self, rule: str, part: str) -> list[Any]:
        return []

    def explain(self, rule: str, part: str, now: int) -> list[tuple[str, str]]:
        return [(part, "...")]

    def worth(self, rule: str, part: str, now: int) -> Callable[[], list[tuple[str, str]]]:
        return lambda: self.explain(rule, part, now)

    def signal(self, name: str, now: int) -> None:
        return None

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> list[str]:
        return []

    def warm_up(self, past: Any, now: int) -> list[str]:
        return []


class Knobs:
    """What the fake program reads; a test turns them."""

    def __init__(self, **changes: Any) -> None:
        self.enter_at = 0.0030
        self.exit_at = 0.0005
        self.size: float = 500.0
        self.unit = "USDT"
        self.min: float | None = None
        self.max: float | None = None
        self.weights: tuple[float | None, ...] | None = None
        self.prices: tuple[float | None, ...] | None = None
        self.stop: float | None = None
        self.target: float | None = None
        self.when: dict[str, Callable[[int], bool | None]] = {}
        self.until: dict[str, Callable[[int], bool | None]] = {}
        self.program: FakeProgram | None = None
        self.cells: Cells | None = None
        for name, value in changes.items():
            setattr(self, name, value)


def _above(value: float, level: float) -> bool | None:
    return None if value != value else value > level


def builder(plan: Plan, knobs: Knobs) -> Callable[[Mapping[str, Any], Cells], FakeProgram]:
    """Build the fake program: the gap of the two touches against `enter_at` and `exit_at`."""

    def gap(streams: Mapping[str, Any], legs: tuple[LegPlan, ...]) -> float:
        if len(legs) == 1:
            book = streams[f"{legs[0].market}.book"]
            return 0.0 if book.bid == book.bid else nan
        sell = next(leg for leg in legs if leg.side is Side.SELL)
        buy = next(leg for leg in legs if leg.side is Side.BUY)
        bid, ask = streams[f"{sell.market}.book"].bid, streams[f"{buy.market}.book"].ask
        return float(bid / ask - 1)

    def one(streams: Mapping[str, Any], plan: RulePlan) -> FakeRule:
        when = knobs.when.get(plan.name) or (
            lambda _now: _above(gap(streams, plan.legs), knobs.enter_at)
        )

        def until(now: int) -> bool | None:
            other = knobs.until.get(plan.name)
            if other is not None:
                return other(now)
            value = gap(streams, plan.legs)
            return None if value != value else value < knobs.exit_at

        def optional(value: float | None) -> Callable[[int], float] | None:
            return None if value is None else (lambda _now: value)

        count = len(plan.legs)
        size = Size(lambda _now: knobs.size, knobs.unit, optional(knobs.min), optional(knobs.max))
        return FakeRule(
            when=Cond(when),
            until=Cond(until) if plan.until is not None else None,
            size=size,
            weights=tuple(optional(w) for w in (knobs.weights or (None,) * count)),
            prices=tuple(optional(p) for p in (knobs.prices or (None,) * count)),
            when_streams=plan.when_streams,
            until_streams=plan.until_streams,
            enter=lambda now: [float(now)],
            stop=optional(knobs.stop),
            target=optional(knobs.target),
        )

    def build(streams: Mapping[str, Any], cells: Cells) -> FakeProgram:
        knobs.cells = cells
        knobs.program = FakeProgram({n: one(streams, r) for n, r in plan.rules.items()})
        return knobs.program

    return build


def stage(
    plan: Plan | None = None, knobs: Knobs | None = None, *, restored: Saved | None = None,
    warm: bool = True, **options: Any,
) -> Scenario:  # fmt: skip
    """A scenario that is warm and idle: 3 s of quiet quotes have passed."""
    plan = plan or arb_plan()
    scenario = Scenario(plan, builder(plan, knobs or Knobs()), restored=restored, **options)
    scenario.start(**QUOTES)
    if warm:
        scenario.run(3500 * MS)
    return scenario


def widen(scenario: Scenario) -> None:
    """Open a gap of 50 bps that R1 sells."""
    for name, (bid, ask) in WIDE.items():
        scenario.quote(name, bid, ask)


def narrow(scenario: Scenario) -> None:
    """Bring the quotes back together."""
    for name, (bid, ask) in QUOTES.items():
        scenario.quote(name, bid, ask)
