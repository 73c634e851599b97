"""The plan: a strategy file after all checks, immutable, with every number in its final unit.

Durations are ns, ratios floats, money and amounts Decimal with their currency. Nothing in a plan
is a secret: `auth` holds references only, resolved by `start` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from runner.lang.tree import Expr
from runner.market.instruments import Instrument, Side
from runner.spec.parts import FIRINGS
from runner.spec.parts import Quantity as Quantity
from runner.spec.parts import Rate as Rate
from runner.spec.parts import SecretRef as SecretRef
from runner.spec.source_plan import SourcePlan as SourcePlan
from runner.spec.source_plan import TriggerPlan as TriggerPlan
from runner.spec.trial_plan import TrialPlan

AMEND_RATES: Final[Mapping[str, float]] = {"binance_usdm": 20.0, "bybit_linear": 10.0}
"""Exchange type -> changes of orders per second that it takes for ever (1,200 orders a minute on
Binance, the default quota of order/amend on Bybit); where it is not, orders are replaced."""


class Network(StrEnum):
    """Which of an exchange's networks."""

    LIVE = "live"
    TESTNET = "testnet"
    DEMO = "demo"
    SIM = "sim"
    CUSTOM = "custom"


class StreamKind(StrEnum):
    """What a stream carries."""

    BOOK = "book"
    TRADES = "trades"
    MARK = "mark"
    FUNDING = "funding"
    BARS = "bars"


@dataclass(frozen=True, slots=True)
class ExchangePlan:
    """One exchange of the file. `type` is the adapter's name (`binance_usdm`)."""

    name: str
    type: str
    network: Network
    auth: Mapping[str, SecretRef]
    order_entry: str = "websocket"
    recv_window_ns: int = 5_000_000_000
    leverage: int = 2
    margin_mode: str = "cross"
    position_mode: str = "one_way"
    dead_man_ns: int | None = None
    endpoints: Mapping[str, str] | None = None
    line: int = 0

    @property
    def amends(self) -> bool:
        """Whether it changes price and quantity of a resting order in place."""
        return self.type in AMEND_RATES


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One stream of a market; `key` is `bin.book`.

    `every_ns` and `warmup` (how many) belong to bars, `warmup_ns` to funding.
    """

    key: str
    market: str
    kind: StreamKind
    max_age_ns: int | None
    depth: int | None = None
    every_ns: int | None = None
    warmup: int = 0
    warmup_ns: int = 0
    implied: bool = False
    """added by us (mark and funding of every traded perpetual), not written in the file"""


@dataclass(frozen=True, slots=True)
class MarketPlan:
    """One market of the file, with the instrument of the catalogue (facts replace it at start)."""

    name: str
    exchange: str
    symbol: str
    instrument: Instrument
    streams: Mapping[StreamKind, StreamPlan]
    traded: bool
    line: int = 0


@dataclass(frozen=True, slots=True)
class ParamPlan:
    """A parameter with the value in force (default, `--params` or `--set`)."""

    name: str
    type: str
    text: str
    value: float | str | bool


@dataclass(frozen=True, slots=True)
class GiveUpPlan:
    """How long an order may rest, and how the rest goes once then (None: it is dropped)."""

    after_ns: int
    then: OrderPlan | None = None


@dataclass(frozen=True, slots=True)
class OrderPlan:
    """How an order is priced and how long it stays. `collar` is a ratio past the far touch."""

    type: str = "limit"
    tif: str = "ioc"
    collar: float | None = 0.0005
    price: Expr | None = None
    ttl_ns: int | None = None
    """cancel a resting order after this long (R-21)"""
    give_up: GiveUpPlan | None = None
    clip: Quantity | None = None
    """how much rests at a time"""
    reprice_ns: int | None = None
    """how often what rests is moved to its price"""


@dataclass(frozen=True, slots=True)
class SizePlan:
    """A size expression and its bounds; `unit` is the currency of all three."""

    expr: Expr
    unit: str
    min: Expr | None = None
    max: Expr | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class LegPlan:
    """One leg of a trade."""

    market: str
    side: Side
    weight: Expr | None
    order: OrderPlan


@dataclass(frozen=True, slots=True)
class HedgePlan:
    """What happens when legs fill unequally (trading.md, section 2)."""

    max_gap: Quantity
    policy: str = "together"
    repair: str = "cheaper"
    repair_within_ns: int = 2_000_000_000
    worst: float = 0.0015
    on_failure: str = "flatten"
    on_unknown: str = "wait"


@dataclass(frozen=True, slots=True)
class ClosePlan:
    """How a trade leaves (trading.md, section 3); `worst` counts past the mid at the decision."""

    tif: str = "ioc"
    collar: float = 0.0005
    retry_ns: int = 250_000_000
    worst: float = 0.01
    then: str = "hold"


@dataclass(frozen=True, slots=True)
class GuardPlan:
    """A stop that rests at the exchange while its trade is open (trading.md, section 3)."""

    price: Expr
    trigger: str = "mark"
    """which price sets it off: mark or last"""
    confirm_within_ns: int = 1_000_000_000
    if_refused: str = "close"
    text: str = ""


@dataclass(frozen=True, slots=True)
class TradePlan:
    """The verb `trade`."""

    size: SizePlan
    legs: tuple[LegPlan, ...]
    hedge: HedgePlan | None
    close: ClosePlan
    guard: GuardPlan | None = None
    stop_loss: Quantity | None = None
    """`stop: {loss}`: closed by ourselves when closing would lose this much"""


@dataclass(frozen=True, slots=True)
class SingleOrderPlan:
    """The verb `order`: one order, nothing to unwind."""

    size: SizePlan
    leg: LegPlan
    reduce_only: bool = False
    keep: bool = True
    """what it bought is never flattened"""
    key: str = ""
    """the template of a once-key, "" for none (`engine/keys.py`)"""


@dataclass(frozen=True, slots=True)
class QuoteSide:
    """One side of a quote: price, and quantity in `unit` (base: an amount, quote: a notional)."""

    price: Expr
    qty: Expr
    unit: str


@dataclass(frozen=True, slots=True)
class InventoryPlan:
    """What a quote may hold, and how it gets rid of it."""

    limit: Quantity
    on_leave: str = "passive"
    max_age_ns: int | None = None
    stop: float | None = None
    """loss of the inventory, in quote, at which it is closed"""


@dataclass(frozen=True, slots=True)
class QuotePlan:
    """The verb `quote`: `leg` names the market (its side means nothing)."""

    leg: LegPlan
    bid: QuoteSide | None
    ask: QuoteSide | None
    inventory: InventoryPlan
    post_only: bool = True
    join: bool = True
    """a price that would take joins our own side's best instead of being left out"""
    when_moved: float = 0.0
    at_most_every_ns: int = 1_000_000_000
    close: ClosePlan = ClosePlan()
    """how inventory leaves that must go at once"""


class Deed(StrEnum):
    """What the verb `do` can do."""

    CANCEL = "cancel"
    REDUCE = "reduce"
    FLATTEN = "flatten"
    HALT = "halt"
    NOTIFY = "notify"


@dataclass(frozen=True, slots=True)
class DeedPlan:
    """One command of a `do`. Its subject is a rule or a market; neither means all."""

    what: Deed
    rule: str = ""
    market: str = ""
    by: float = 0.0
    """how much of a trade is closed, as a share of what it holds"""
    parts: tuple[str | Expr, ...] = ()
    """a text in pieces: words, and values to be put in"""
    text: str = ""
    """the text as written"""


@dataclass(frozen=True, slots=True)
class RulePlan:
    """One rule; exactly one of `trade`, `order`, `quote` and `do` is set."""

    name: str
    line: int
    when: Expr
    until: Expr | None
    entered: tuple[Expr, ...]
    """the arguments of `entered(x)` in `until`, in the order of their index"""
    for_ns: int
    max_hold_ns: int | None
    max_skew_ns: int | None
    cooldown_ns: int
    on_missing: str
    rearm: str
    once: bool
    trade: TradePlan | None
    order: SingleOrderPlan | None
    when_streams: tuple[str, ...]
    until_streams: tuple[str, ...]
    when_text: str = ""
    until_text: str = ""
    quote: QuotePlan | None = None
    net: bool = False
    """`mode: net`: opposite rules on a market do not exclude each other"""
    max_firings: Rate = FIRINGS
    trigger: TriggerPlan | None = None
    do: tuple[DeedPlan, ...] = ()

    @property
    def keeps(self) -> bool:
        """Whether what it buys is never closed by us."""
        return self.order is not None and self.order.keep

    @property
    def legs(self) -> tuple[LegPlan, ...]:
        """All legs, of whatever verb; `do` has none."""
        if self.trade is not None:
            return self.trade.legs
        if self.quote is not None:
            return (self.quote.leg,)
        return (self.order.leg,) if self.order is not None else ()


def excludes(one: RulePlan, two: RulePlan) -> bool:
    """Return whether two rules may hold opposite sides of one market and so exclude each other.

    A quote may hold either side.
    """
    if one.name == two.name or (one.net and two.net):
        return False
    either = one.quote is not None or two.quote is not None
    return any(
        a.market == b.market and (either or a.side is not b.side)
        for a in one.legs
        for b in two.legs
    )


@dataclass(frozen=True, slots=True)
class DailyLoss:
    """The loss at which the day is over; `day_start_ns` is the offset of the day from 00:00 UTC."""

    amount: Quantity
    then: str = "halt"
    day_start_ns: int = 0


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The loss from the highest value that trips the run; `rest_ns` ends a pause by itself."""

    amount: Quantity
    then: str = "halt"
    rest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class LosingStreak:
    """So many losing trades in a row trip the run."""

    trades: int
    then: str = "pause"
    rest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class BreakerPlan:
    """A condition that trips the run when it is definitely true for `for_ns`."""

    when: Expr
    when_text: str
    for_ns: int = 0
    then: str = "pause"
    rest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Spend:
    """What purchases on spot may cost within `per_ns`, whenever that begins."""

    amount: Quantity
    per_ns: int


@dataclass(frozen=True, slots=True)
class RiskPlan:
    """The limits. Maps are by market name, `max_net_position` by base asset."""

    max_order: Quantity | None
    max_order_by_market: Mapping[str, Quantity]
    max_position: Mapping[str, Quantity]
    max_orders: Rate | None
    max_daily_loss: DailyLoss | None
    max_net_position: Mapping[str, Decimal]
    max_exposure: Mapping[str, Quantity]
    """by `all`, an exchange's or a base asset's name"""
    max_open_orders: Mapping[str, int]
    price_collar: float = 0.01
    max_firings: Rate = FIRINGS
    same_order_within_ns: int = 50_000_000
    max_drawdown: Drawdown | None = None
    max_losing_streak: LosingStreak | None = None
    breakers: tuple[BreakerPlan, ...] = ()
    max_leverage: Mapping[str, float] = field(default_factory=dict)
    """by exchange: the largest exposure of its perpetuals over its equity"""
    min_free_margin: float | None = None
    max_spend: Spend | None = None
    max_open_trades: int | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What happens at the ends of a run."""

    on_stop: str = "cancel"
    on_restart: str = "adopt"
    stop_within_ns: int = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, written in the file or kept secret with whoever knows it."""

    url: str = ""
    secret: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class TelegramPlan:
    """A bot and the chat it writes to."""

    token: SecretRef
    chat: str
    base_url: str


@dataclass(frozen=True, slots=True)
class HookPlan:
    """A URL that takes a JSON message; `token` is sent as a bearer token."""

    address: Address
    format: str = "json"
    token: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class PagePlan:
    """Who is paged, and for which topics (empty: all)."""

    telegram: TelegramPlan | None = None
    webhook: HookPlan | None = None
    command: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlivePlan:
    """A URL that is asked every `every_ns` while the run makes progress."""

    address: Address
    every_ns: int


@dataclass(frozen=True, slots=True)
class DailyPlan:
    """When the summary of the day is sent: `at` is HH:MM in `zone`."""

    at: str
    zone: str


@dataclass(frozen=True, slots=True)
class NotifyPlan:
    """Who is told what (trading.md, section 6)."""

    page: PagePlan | None = None
    alive: AlivePlan | None = None
    daily: DailyPlan | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole strategy, ready to run."""

    name: str
    about: str
    file: str
    text: str
    sha: str
    params: Mapping[str, ParamPlan]
    exchanges: Mapping[str, ExchangePlan]
    markets: Mapping[str, MarketPlan]
    signals: Mapping[str, Expr]
    """in an order in which each uses only earlier ones"""
    signal_texts: Mapping[str, str]
    rules: Mapping[str, RulePlan]
    risk: RiskPlan
    run: RunPlan
    notify: NotifyPlan = NotifyPlan()
    pegs: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    trials: tuple[TrialPlan, ...] = ()
    """the tests that stand beside the rules"""
    sources: Mapping[str, SourcePlan] = field(default_factory=dict)
    """by name; the own schedule of a rule as `RULE.cron`"""

    @property
    def streams(self) -> dict[str, StreamPlan]:
        """All streams by key."""
        return {s.key: s for m in self.markets.values() for s in m.streams.values()}
