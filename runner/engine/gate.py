"""The risk gate: the only maker of `Approved` (R-01).

Theory of operation. A proposal is all orders of one entry, repair or close. The checks run in the
order of R-02, each over the whole proposal; the first no denies everything, with a stable code and
the figures, and changes nothing. An order *reduces* when it closes what the rule's ledger holds and
all exits in flight together stay within it (a stop or target stands beside them); such orders are
exempt from the checks that would only keep us in a position (trading.md, section 3). Limits count
from approval on: approved orders enter
`desk.orders` before the next proposal is judged, at their full size until proven terminal (R-03).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from runner.engine.codes import Refusal
from runner.engine.commands import Intent, Purpose
from runner.engine.desk import Desk
from runner.engine.order import Order
from runner.engine.proof import Approved, _approve
from runner.spec.parts import Quantity
from runner.spec.risk_plan import RiskPlan
from runner.spec.rule_plan import RulePlan

_ENTRY: Final = Purpose.ENTRY
_PROTECT: Final = Purpose.PROTECT
DEFAULT_OPEN_ORDERS: Final = 20
TOLERANCE: Final = 1e-9
"""floats may miss a limit that is reached exactly"""


class Cap:
    """A limit with its float ready: `most` is what may just be reached."""

    __slots__ = ("most", "unit", "value")

    def __init__(self, value: Decimal, unit: str) -> None:
        self.value = value
        self.unit = unit
        self.most = float(value) * (1 + TOLERANCE)


class Proposal(msgspec.Struct):
    """Orders to be judged together."""

    rule: RulePlan
    purpose: Purpose
    intents: Sequence[Intent]
    prices: Sequence[float]
    """the price each is judged by (its limit; the far touch of a market order)"""
    parents: Sequence[int]
    """lots that each order's parent leg still has to give (R-12)"""
    streams: Sequence[str] = ()
    """keys of the streams that the decision read"""
    mids: Sequence[float] = ()
    """reductions: the mid of each market at the decision"""
    worst: float = 0.0
    """reductions: how far past that mid a limit may be"""
    continues: bool = False
    """a further order of a trade that was approved before: no firing of its own"""
    rehearsed: bool = False
    """its group was judged by its planned end already"""
    evens: bool = False
    """it completes legs whose other exchange takes no orders: that cannot be trimmed"""
    commanded: bool = False
    """the operator asked for this close by name: it passes his own halt"""
    amends: Order | None = None
    """the order that the one intent changes"""
    reduces: Sequence[bool] = ()
    """per order, filled by the gate"""
    adds_risk: bool = True
    """not every order reduces; filled by the gate"""

    def added(self, i: int) -> int:
        """Return by how many lots an order makes what may still fill more."""
        lots = self.intents[i].lots
        return lots if self.amends is None else max(0, lots - self.amends.most)

    def part(self, i: int) -> float:
        """Return `added` as a part of the order's whole quantity."""
        return 1.0 if self.amends is None else self.added(i) / self.intents[i].lots

    def live(self, i: int) -> int:
        """Return how many lots of an order can fill from now on."""
        lots = self.intents[i].lots
        return lots if self.amends is None else max(0, lots - self.amends.filled)


Check = Callable[["Gate", Proposal], Refusal | None]


class Gate:
    """The checks, their limits, and what they must remember."""

    def __init__(self, desk: Desk) -> None:
        # Here, because the checks' modules read this one's types.
        from runner.engine import checks_account, checks_order, checks_risk, checks_world

        self.desk = desk
        risk = desk.plan.risk
        self.risk: RiskPlan = risk
        self.max_position = _caps(risk.max_position)
        self.max_order = _caps(risk.max_order_by_market)
        self.max_order_all = _cap(risk.max_order) if risk.max_order is not None else None
        self.max_net = {asset: Cap(most, asset) for asset, most in risk.max_net_position.items()}
        self.max_exposure = _caps(risk.max_exposure)
        self.entries: deque[int] = deque()
        """times of approved entry orders, for `max_orders`"""
        self.firings: dict[str, deque[int]] = {rule: deque() for rule in desk.plan.rules}
        self.recent: dict[tuple[str, str, int, int], int] = {}
        """(market, side, lots, ticks) -> when last approved"""
        self.anchors: dict[str, tuple[float, float]] = {}
        """market -> mids of the last two 5 s marks, the older first (R-07)"""
        self.reducing_symbols: dict[str, str] = {}
        """market -> why no new risk is taken there"""
        fixed: list[Check] = [
            *checks_world.CHECKS,
            *checks_order.BEFORE_POSITION,
            *checks_risk.POSITION,
            *checks_order.PATTERNS,
            *checks_risk.BUDGETS,
        ]
        more = checks_account.beside(risk)
        self.checks: list[Check] = []
        for check in fixed:
            self.checks += [check, *more.get(check, ())]

    def judge(self, proposal: Proposal) -> tuple[Approved, ...] | Refusal:
        """Approve all orders of a proposal or none."""
        refusal = self.refusal(proposal)
        if refusal is not None:
            return refusal
        self._remember(proposal)
        return tuple(_approve(intent) for intent in proposal.intents)

    def refusal(self, proposal: Proposal) -> Refusal | None:
        """Ask every check, in their order; return the first no. Approves and changes nothing."""
        self._mark_reductions(proposal)
        for check in self.checks:
            refusal = check(self, proposal)
            if refusal is not None:
                return refusal
        return None

    def rehearse(self, proposal: Proposal) -> Refusal | None:
        """Return why positions, exposure or money would not bear a proposal; approves nothing."""
        from runner.engine.checks_risk import POSITION

        proposal.reduces = [False] * len(proposal.intents)
        for check in POSITION:
            refusal = check(self, proposal)
            if refusal is not None:
                return refusal
        return None

    def mark_anchors(self) -> None:
        """Keep each traded market's mid of now and of 5 s ago for the check of walks."""
        for name, listed in self.desk.markets.items():
            if listed.plan.traded:
                mid = listed.mid()
                self.anchors[name] = (self.anchors.get(name, (mid, mid))[1], mid)

    def exits_in_flight(self, rule: str, market: str) -> int:
        """Return the lots of unsettled orders that reduce a ledger."""
        ledger = self.desk.ledgers.of(rule, market)
        total = 0
        for order in self.desk.orders.working(market):
            intent = order.intent
            if intent.rule == rule and intent.side.sign * ledger.lots < 0:
                total += order.open_lots
        return total

    def _mark_reductions(self, proposal: Proposal) -> None:
        """Find out which orders reduce."""
        if proposal.purpose is _ENTRY:
            proposal.reduces = (False,) * len(proposal.intents)
        else:
            proposal.reduces = [self._reduces(proposal, i) for i in range(len(proposal.intents))]
            proposal.adds_risk = not all(proposal.reduces)

    def _reduces(self, p: Proposal, i: int) -> bool:
        intent, rule = p.intents[i], p.rule.name
        if intent.purpose is _ENTRY:
            return False
        held = self.desk.ledgers.of(rule, intent.market).lots
        if held * intent.side.sign >= 0:
            return False
        # A stop waits for as much as an exit that rests beside it: only one of them can execute.
        waits = intent.purpose is _PROTECT
        flying = 0 if waits else self.exits_in_flight(rule, intent.market)
        return p.added(i) + flying <= abs(held)

    def _remember(self, proposal: Proposal) -> None:
        now = self.desk.now
        entry = proposal.purpose is _ENTRY
        for intent in proposal.intents:
            if proposal.amends is None:
                self.recent[intent.market, intent.side, intent.lots, intent.ticks] = now
            if entry:
                self.entries.append(now)
        if entry and not proposal.continues:
            self.firings[proposal.rule.name].append(now)
        if len(self.recent) > 256:
            horizon = now - self.risk.same_order_within_ns
            self.recent = {k: t for k, t in self.recent.items() if t >= horizon}


def _cap(limit: Quantity) -> Cap:
    return Cap(limit.value, limit.unit)


def _caps(limits: Mapping[str, Quantity]) -> dict[str, Cap]:
    return {key: _cap(limit) for key, limit in limits.items()}
