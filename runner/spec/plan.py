"""The plan: a strategy file after all checks, immutable, with every number in its final unit.

Durations are ns, ratios floats, money and amounts Decimal with their currency. Nothing in a plan
is a secret: `auth` holds references only, resolved by `start` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.lang.tree import Expr
from runner.spec.market_plan import ExchangePlan, MarketPlan, StreamPlan
from runner.spec.notify_plan import NotifyPlan
from runner.spec.risk_plan import RiskPlan
from runner.spec.rule_plan import RulePlan
from runner.spec.source_plan import SourcePlan
from runner.spec.trial_plan import TrialPlan


@dataclass(frozen=True, slots=True)
class ParamPlan:
    """A parameter with the value in force (default, `--params` or `--set`)."""

    name: str
    type: str
    text: str
    value: float | str | bool


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What happens at the ends of a run."""

    on_stop: str = "cancel"
    on_restart: str = "adopt"
    stop_within_ns: int = 5_000_000_000


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
    notify: NotifyPlan = field(default_factory=NotifyPlan)
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
