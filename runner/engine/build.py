"""From a plan to what the engine runs on: market objects, cells, wanted streams, the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from runner.base.errors import FileError
from runner.engine.desk import Listed, book_key
from runner.engine.events import InstrumentFacts
from runner.engine.reading import breaker_key
from runner.engine.sources import late_key
from runner.lang.api import ProgramApi
from runner.lang.calendar import WallClock
from runner.lang.cells import AccountCell, PnlCell, PositionCell, RuleCell
from runner.lang.program import compile_program
from runner.lang.request import ProgramRequest, RuleExprs
from runner.lang.tree import Expr
from runner.market.instruments import Fees, Instrument
from runner.market.state import StreamWant
from runner.spec.market_plan import StreamKind
from runner.spec.plan import Plan
from runner.spec.rule_plan import RulePlan

Builder = Callable[[Mapping[str, Any], "Cells"], ProgramApi]


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a strategy, by exchange, market and rule."""

    accounts: Mapping[str, AccountCell]
    positions: Mapping[str, PositionCell]
    rules: Mapping[str, RuleCell]
    pnl: PnlCell
    clock: WallClock
    """the desk: it knows the wall time of the event at hand"""


def listed(
    plan: Plan, streams: Mapping[str, Any]
) -> tuple[dict[str, Listed], dict[str, Instrument]]:
    """Bind a plan's markets to their streams; ValueError when a traded one has no book."""
    markets: dict[str, Listed] = {}
    for name, market in plan.markets.items():
        key = book_key(market)
        mark = market.streams.get(StreamKind.MARK)
        if market.traded and (key is None or key not in streams):
            raise ValueError(f"market {name} is traded but has no book stream")
        markets[name] = Listed(
            market,
            market.instrument,
            streams.get(key) if key is not None else None,
            streams.get(mark.key) if mark is not None else None,
        )
    return markets, {name: m.instrument for name, m in markets.items()}


def check_known(plan: Plan) -> None:
    """Refuse what a plan may say and this engine does not do yet; FileError names rule and key."""
    for name, rule in plan.rules.items():
        close = rule.trade.close if rule.trade is not None else None
        if close is None or close.tif == "ioc":
            continue
        if close.rest is None or (len(rule.legs) > 1 and close.rest.clip is None):
            text = "rests for `give_up`, and with several legs a `clip` at a time"
            raise FileError(f"rules.{name}.trade.close.tif: {close.tif} {text}")


def with_facts(instrument: Instrument, facts: InstrumentFacts) -> Instrument:
    """Return an instrument with the exchange's own figures; they overrule the catalogue."""
    fees = Fees(
        instrument.fees.maker if facts.maker is None else facts.maker,
        instrument.fees.taker if facts.taker is None else facts.taker,
        facts.fee_source if facts.taker is not None else instrument.fees.source,
    )
    return Instrument(
        exchange_type=instrument.exchange_type,
        symbol=instrument.symbol,
        kind=instrument.kind,
        base=instrument.base,
        quote=instrument.quote,
        tick=Decimal(facts.tick),
        lot=Decimal(facts.lot),
        min_qty=Decimal(facts.min_qty),
        min_notional=Decimal(facts.min_notional),
        fees=fees,
        max_qty=Decimal(facts.max_qty),
        contract_size=Decimal(facts.contract_size),
        price_hint=instrument.price_hint,
        source="exchange",
        status=facts.status,
        reduce_only_exempt_from_min=instrument.reduce_only_exempt_from_min,
    )


def catalogue_facts(plan: Plan, exchange: str) -> tuple[InstrumentFacts, ...]:
    """Return an exchange's instruments as facts: what a replay or a script feeds as `Facts`."""
    return tuple(
        InstrumentFacts(
            market=name,
            tick=str(m.instrument.tick),
            lot=str(m.instrument.lot),
            min_qty=str(m.instrument.min_qty),
            min_notional=str(m.instrument.min_notional),
            max_qty=str(m.instrument.max_qty),
            contract_size=str(m.instrument.contract_size),
            maker=m.instrument.fees.maker,
            taker=m.instrument.fees.taker,
            fee_source=m.instrument.fees.source,
            status=m.instrument.status,
        )
        for name, m in plan.markets.items()
        if m.exchange == exchange
    )


def wants(plan: Plan, deep: bool = False) -> list[StreamWant]:
    """Return what `MarketState` must keep for a plan; `deep`: no book lives without its levels."""
    return [
        StreamWant(
            stream.key,
            stream.market,
            plan.markets[stream.market].exchange,
            stream.kind.value,
            stream.max_age_ns,
            stream.every_ns,
            deep and stream.kind is StreamKind.BOOK,
        )
        for stream in plan.streams.values()
    ]


def compiled(plan: Plan) -> Builder:
    """Return the builder that compiles a plan's expressions."""
    request = ProgramRequest(
        signals=plan.signals,
        rules={name: rule_exprs(rule) for name, rule in plan.rules.items()},
        params={name: param.value for name, param in plan.params.items()},
        conditions={breaker_key(i): b.when for i, b in enumerate(plan.risk.breakers)}
        | {late_key(n): s.late.when for n, s in plan.sources.items() if s.late is not None},
    )

    def build(streams: Mapping[str, Any], cells: Cells) -> ProgramApi:
        return compile_program(
            request, streams, cells.accounts, cells.positions, cells.rules, cells.pnl, cells.clock
        )

    return build


def rule_exprs(rule: RulePlan) -> RuleExprs:
    """Return all trees of a rule."""
    verb = rule.trade if rule.trade is not None else rule.order
    size = verb.size if verb is not None else None
    stop = rule.trade.guard if rule.trade is not None else None
    target = rule.trade.target if rule.trade is not None else None
    return RuleExprs(
        when=rule.when,
        until=rule.until,
        entered=rule.entered,
        size=size.expr if size is not None else None,
        size_unit=size.unit if size is not None else "",
        size_min=size.min if size is not None else None,
        size_max=size.max if size is not None else None,
        weights=tuple(leg.weight for leg in rule.legs),
        prices=tuple(leg.order.price for leg in rule.legs),
        stop=stop.price if stop is not None else None,
        target=target.price if target is not None else None,
        quotes=_quotes(rule),
    )


def _quotes(rule: RulePlan) -> tuple[Expr | None, ...]:
    """Return price and quantity of a quote's bid, then of its ask; empty for other verbs."""
    if rule.quote is None:
        return ()
    sides = (rule.quote.bid, rule.quote.ask)
    return tuple(x for s in sides for x in ((s.price, s.qty) if s is not None else (None, None)))
