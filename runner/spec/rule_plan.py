"""The plan of a rule: its conditions, and what it does by which of the four verbs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from runner.lang.tree import Expr
from runner.market.instruments import Side
from runner.spec.parts import FIRINGS, Quantity, Rate
from runner.spec.source_plan import TriggerPlan


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
class RestPlan:
    """How a close rests at its own side's touch before it takes."""

    give_up_ns: int
    """how long it rests in all; what is left then is taken"""
    reprice_ns: int = 1_000_000_000
    clip: Quantity | None = None
    """how much rests at a time; None: all of it"""


@dataclass(frozen=True, slots=True)
class ClosePlan:
    """How a trade leaves (trading.md, section 3); `worst` counts past the mid at the decision."""

    tif: str = "ioc"
    collar: float = 0.0005
    retry_ns: int = 250_000_000
    worst: float = 0.01
    then: str = "hold"
    rest: RestPlan | None = field(default=None, repr=False)
    """of `tif: post_only` and `gtc`; not in `repr`: the identity of rules without it stays"""


class GuardKind(StrEnum):
    """What rests at the exchange while a trade is open."""

    STOP = "stop"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class GuardPlan:
    """A stop or a target that rests at the exchange (trading.md, section 3)."""

    price: Expr | None = None
    trigger: str = "mark"
    """which price sets it off: mark or last"""
    confirm_within_ns: int = 1_000_000_000
    if_refused: str = "close"
    """a target that is refused never closes its trade"""
    text: str = ""
    kind: GuardKind = GuardKind.STOP


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
    target: GuardPlan | None = None

    @property
    def guards(self) -> tuple[GuardPlan, ...]:
        """What rests at the exchange, the stop first."""
        return tuple(g for g in (self.guard, self.target) if g is not None)


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


class Care(StrEnum):
    """What becomes of an open trade that no rule of the file goes on with (`engine/orphans.py`)."""

    CLOSE = "close"
    HOLD = "hold"


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
    orphan: Care | None = None
    """it is none of the file's, but looks after a trade that has no rule there"""

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
