"""A trade: what one entry opened, leg by leg, and the arithmetic of how well its legs match.

`planned` is what a leg was sized to, the parent quantity of all its orders (R-12). `filled` is what
the trade holds of it now, entries less repairs and exits. The legs match when their shares
filled/planned are equal; the gap is the largest amount by which a leg is ahead of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runner.engine.desk import Desk, Listed
from runner.engine.ledger import Ledger
from runner.engine.timers import NEVER
from runner.market.instruments import Side
from runner.spec.rule_plan import GuardKind, LegPlan, RulePlan

EPSILON = 1e-9
_NOTHING: Mapping[int, int] = {}


@dataclass(slots=True)
class Leg:
    """One leg of a trade. Quantities in lots of its own instrument."""

    index: int
    plan: LegPlan
    listed: Listed
    ledger: Ledger
    planned: int
    touch: float
    """the far touch at the decision: what completing it later is compared with"""
    start: int = 0
    """the ledger's lots when the trade began (a residual)"""
    fee_start: int = 0
    """the ledger's lots kept as fees when the trade began"""

    @property
    def market(self) -> str:
        return self.plan.market

    @property
    def side(self) -> Side:
        return self.plan.side

    @property
    def exit_side(self) -> Side:
        """The side that closes what its ledger holds."""
        return Side.SELL if self.ledger.lots > 0 else Side.BUY

    @property
    def filled(self) -> int:
        """What the trade holds, in the leg's own direction."""
        return (self.ledger.lots - self.start) * self.plan.side.sign

    @property
    def taken(self) -> int:
        """What its orders have filled of the parent's quantity: `filled`, fees in base back in."""
        return self.filled + (self.ledger.fee_lots - self.fee_start)

    @property
    def share(self) -> float:
        return self.filled / self.planned

    def base(self, lots: float) -> float:
        """Return lots as an amount of base."""
        return lots * self.listed.instrument.lot_base_f


@dataclass(slots=True)
class Leaving:
    """How a trade's close is going. Times monotonic ns."""

    reason: str
    since: int
    """when it began, in an earlier run too"""
    tries: int = 0
    mids: dict[str, float] = field(default_factory=dict)
    """mids at the decision, from which `worst` counts"""
    missing_since: dict[str, int] = field(default_factory=dict)
    """market -> since when its book is away"""
    held: bool = False
    """waiting because not all legs can go; told"""
    only: str = ""
    """close this market alone (the operator's word)"""
    passive: bool = False
    """it leaves by an order at the touch: a quote's inventory, a close that rests"""
    next_at: int = 0
    """of a close that rests: no new order before this"""
    moved_at: int = 0
    """when its order was placed, or moved"""
    look_at: int = NEVER
    """a timer is set for then"""
    follow_at: int = 0
    """of several legs: what follows is not tried again before this"""
    apart_since: int = -1
    """since when something of the others has not followed; -1: all has"""
    commanded: bool = False
    """the operator asked for it: goes on while the run is halted"""
    keep: tuple[int, ...] | None = None
    """lots of each leg's ledger that stay: a part is closed; None: all is"""
    stuck_since: int = -1
    """since when nothing could be sent though nothing is held"""
    stuck_told: bool = False
    refusal: str = ""
    """why the gate refused the last try"""
    clearing_since: int = -1
    """since when the close waits for the end of stop and target (`clearing`); -1: it does not"""
    cleared: bool = False
    """stop and target were taken away before the close"""


@dataclass(slots=True)
class Guard:
    """A trade's stop or target at the exchange (see `guards`). Times monotonic ns."""

    kind: GuardKind
    ticks: int
    """its price; never moved"""
    cid: str = ""
    """the order that stands for it now"""
    since: int = -1
    """since when something is held that no confirmed order covers; -1: all is covered"""
    tries: int = 0
    """orders placed since then"""
    given_up: bool = False
    """it does not stand, and the trade goes on all the same"""
    late: bool = False
    """it was given up because nobody answered in time: it has another chance (`Guards.back`)"""
    chances: int = 0
    """how many of these it has had"""
    told: bool = False
    """a person knows that it does not stand"""


@dataclass(slots=True)
class Trade:
    """One entry and everything that came of it."""

    rule: RulePlan
    ordinal: int
    legs: list[Leg]
    t: int
    wall: int
    entered: list[float]
    baseline: float
    """the rule's settled PnL when the trade began"""
    attempt: int = 0
    doubt_since: int = -1
    """since when the gap is above `max_gap` or an order is in doubt; -1: all is well"""
    doubt_told: bool = False
    repair_mids: dict[str, float] = field(default_factory=dict)
    repair_from: int = 0
    """no repair before this: an exchange that keeps saying no is not asked in a loop"""
    incompletable: bool = False
    """an order that would have completed a leg was rejected: from now on only trim"""
    failed: bool = False
    """a repair ended it: `when` must become false before the next entry"""
    rejected: str = ""
    held_sign: int = 0
    """of a quote's inventory: 1 long, -1 short, 0 none"""
    held_since: int = 0
    """since when it is on that side, monotonic ns"""
    lead: int = -1
    """the leg that goes first, -1 when all go together (`working`)"""
    following: bool = False
    """a timer will look at what the other legs lack"""
    repricing: bool = False
    """a timer will look at the resting order's price"""
    next_clip_at: int = 0
    given_up: bool = False
    """what rested was given up (`working`)"""
    given_up_at: int = 0
    then_sent: bool = False
    """the rest of what was given up has gone"""
    dropped: bool = False
    """what is still lacking was told"""
    counted: bool = False
    """its end was counted for `max_losing_streak`"""
    refused: int = 0
    """exits and repairs in a row that the exchange refused, without a fill between them"""
    refused_until: int = 0
    """no exit before this"""
    refused_attempt: int = -1
    identity: str = ""
    """its rule's words at the entry (`reading.identity`), where an earlier run's were others"""
    owed: dict[str, float] = field(default_factory=dict)
    """shares to close once its entry has ended, by the `do` that asked for it (`deeds`)"""
    leaving: Leaving | None = None
    guards: list[Guard] = field(default_factory=list)
    """what rests at the exchange for it, the stop first"""

    @property
    def notional(self) -> float:
        """Notional of the first leg at entry, in quote."""
        leg = self.legs[0]
        return leg.base(leg.planned) * leg.touch

    @property
    def empty(self) -> bool:
        """Whether nothing of it is held."""
        return all(leg.filled == 0 for leg in self.legs)

    def gap(self, more: Mapping[int, int] = _NOTHING) -> float:
        """Return by how much the legs are apart, in the unit of `max_gap` (0 for one leg).

        `more`: lots by leg that count as filled.
        """
        hedge = self.rule.trade.hedge if self.rule.trade is not None else None
        if len(self.legs) < 2:
            return 0.0
        filled = [leg.filled + more.get(leg.index, 0) for leg in self.legs]
        least = min(n / leg.planned for n, leg in zip(filled, self.legs, strict=True))
        widest = 0.0
        for n, leg in zip(filled, self.legs, strict=True):
            amount = leg.base(n - least * leg.planned)
            if hedge is not None and hedge.max_gap.unit != leg.listed.instrument.base:
                amount *= leg.listed.last_mid()
            widest = max(widest, amount)
        return widest

    def within_gap(self, more: Mapping[int, int] = _NOTHING) -> bool:
        """Whether the legs match as well as the file wants."""
        hedge = self.rule.trade.hedge if self.rule.trade is not None else None
        if hedge is None:
            return True
        return self.gap(more) <= float(hedge.max_gap.value) * (1 + EPSILON)

    @property
    def repair_within(self) -> int:
        hedge = self.rule.trade.hedge if self.rule.trade is not None else None
        return hedge.repair_within_ns if hedge is not None else 2_000_000_000


def new_trade(desk: Desk, rule: RulePlan, lots: Sequence[int], entered: list[float]) -> Trade:
    """Build the trade of an approved entry at the desk's time."""
    legs, baseline = [], 0.0
    for i, plan in enumerate(rule.legs):
        listed = desk.markets[plan.market]
        ledger = desk.ledgers.of(rule.name, plan.market)
        touch = listed.touch(plan.side)
        start, fees = ledger.lots, ledger.fee_lots
        legs.append(Leg(i, plan, listed, ledger, lots[i], touch, start, fees))
        baseline += ledger.settled_pnl
    return Trade(rule, desk.ordinal, legs, desk.now, desk.wall, entered, baseline)


def missed(trade: Trade) -> Iterator[str]:
    """Say by how much each leg's price was missed."""
    for leg in trade.legs:
        now = leg.listed.touch(leg.side)
        if now == now and leg.touch == leg.touch:
            bps = (now / leg.touch - 1) * leg.side.sign * 1e4
            yield f"{leg.market} {bps:+.2f}bps"
