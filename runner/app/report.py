"""Makes the report of a run from what was collected (its shape: `report_shape.py`)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Protocol

from runner.app.collector import Collector
from runner.app.paper import ASSUMPTIONS, PaperDesk
from runner.app.report_shape import (
    FORMAT,
    SIMULATED,
    ClockFigures,
    ExchangeReport,
    Exit,
    OrderCounts,
    PaperReport,
    Pnl,
    PositionReport,
    Report,
    RuleReport,
    SourceReport,
    Strategy,
    StreamReport,
    encode,
    money,
)
from runner.app.waterfall import TOLERANCE, ZERO, RuleMoney
from runner.app.why.answer import misses, shares
from runner.app.why.shape import RuleStory
from runner.base.clock import NS_PER_MS, NS_PER_S
from runner.base.units import plain

__all__ = ["SIMULATED", "Report", "RunFacts", "build_report", "encode"]

ENOUGH_TRADES = 30
ENOUGH_NS = 3 * 86_400 * NS_PER_S


class FunnelLike(Protocol):
    """The engine's counts of one rule."""

    @property
    def true(self) -> int: ...
    @property
    def entries(self) -> int: ...
    @property
    def exits(self) -> int: ...
    @property
    def no_fill(self) -> int: ...
    @property
    def undone(self) -> int: ...
    @property
    def rejected(self) -> int: ...
    @property
    def refusals(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What only the host knows of a run. `kind`: dry-run, start or replay.

    `market`: live, testnet, demo, custom, recorded or `SIMULATED`. `networks` by exchange.
    """

    kind: str
    run: str
    market: str
    networks: Mapping[str, str]
    exit_code: int = 0
    exit_reason: str = ""


def build_report(
    collector: Collector,
    run: RunFacts,
    funnels: Mapping[str, FunnelLike],
    *,
    evaluations: Mapping[str, int] | None = None,
    paper: PaperDesk | None = None,
    stories: Mapping[str, RuleStory] | None = None,
    sources: Mapping[str, SourceReport] | None = None,
) -> Report:
    """Make the report of a run that has ended.

    funnels: the engine's counts by rule; stories: what stood in their way. Values what is open at
    what closing it costs, and adds to `unaccounted` whatever the figures leave out.
    """
    books = _Books(collector)
    rules = {
        name: _rule(
            books,
            money_,
            funnels.get(name),
            (evaluations or {}).get(name),
            paper,
            (stories or {}).get(name),
        )
        for name, money_ in sorted(collector.rules.items())
    }
    return Report(
        format=FORMAT,
        kind=run.kind,
        run=run.run,
        verdict=_verdict(collector, rules),
        strategy=_strategy(collector),
        from_=_stamp((collector.first or collector.last)[1]),
        to=_stamp(collector.last[1]),
        market=run.market,
        exit=Exit(run.exit_code, run.exit_reason),
        pnl=_pnl(collector),
        rules=rules,
        exchanges=_exchanges(collector, run),
        streams=_streams(collector),
        sources=dict(sources or {}),
        positions=_positions(collector),
        latency_us=_latency(collector),
        paper=_paper(collector, books, paper),
        unaccounted=_unaccounted(collector, books),
    )


class _Books:
    """The exit price of each market with something open, found once; notes on what is not sure."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.exits: dict[str, Decimal] = {}
        self.notes: list[str] = []
        now = collector.last[0]
        held: dict[str, list[int]] = {}
        for money_ in collector.rules.values():
            for market, leg in money_.legs.items():
                held.setdefault(market, []).append(leg.lots)
        for market, lots in sorted(held.items()):
            total = sum(lots) or max(lots, key=abs)
            price, note = collector.exit_price(market, total or 1, now)
            if any(lots) and note:
                self.notes.append(note)
            if price is not None:
                self.exits[market] = price
        for money_ in collector.rules.values():
            self._value(money_)

    def _value(self, money_: RuleMoney) -> None:
        exits: dict[str, Decimal] = {}
        money_.pieces.open = ZERO
        for market, leg in money_.legs.items():
            price = self.exits.get(market)
            money_.value_open(market, price)
            if leg.lots:
                exits[market] = price if price is not None else leg.paid / leg.base
        difference = money_.pieces.net - money_.net_from_cash(exits)
        if abs(difference) > TOLERANCE:
            self.notes.append(f"{money_.name}: the waterfall misses the cash by {difference}")


def _rule(
    books: _Books,
    rule: RuleMoney,
    funnel: FunnelLike | None,
    evaluations: int | None,
    paper: PaperDesk | None,
    story: RuleStory | None,
) -> RuleReport:
    pieces = rule.pieces
    settled = pieces.fees + pieces.funding
    return RuleReport(
        evaluations=evaluations,
        true=funnel.true if funnel else 0,
        entries=funnel.entries if funnel else 0,
        exits=funnel.exits if funnel else 0,
        no_fill=funnel.no_fill if funnel else 0,
        undone=funnel.undone if funnel else 0,
        rejected=funnel.rejected if funnel else 0,
        refusals={str(code): n for code, n in sorted(funnel.refusals.items())} if funnel else {},
        blocked=shares(story) if story is not None else {},
        nearest=misses(story) if story is not None else {},
        fills=rule.fills,
        volume=money(rule.volume),
        fees=money(-pieces.fees),
        funding=money(pieces.funding),
        realised=money(rule.realised),
        unrealised=money(pieces.net - settled - rule.realised),
        residual={m: plain(leg.base) for m, leg in sorted(rule.legs.items()) if leg.lots},
        trades=len(rule.results()),
        round_trips=rule.trips if rule.quotes else None,
        best_three_share=_best_three(rule.results()),
        fee_rates=_fee_rates(books.collector, rule),
        waterfall={
            **{piece.name: money(getattr(pieces, piece.name)) for piece in fields(pieces)},
            "net": money(pieces.net),
        },
        haircuts=_haircuts(books, rule, paper),
    )


def _best_three(results: list[Decimal]) -> str:
    wins = sorted((result for result in results if result > 0), reverse=True)
    return str(round(sum(wins[:3], ZERO) / sum(wins, ZERO), 4)) if wins else "0"


def _fee_rates(collector: Collector, rule: RuleMoney) -> dict[str, str]:
    plan = collector.plan.rules.get(rule.name)
    markets = {leg.market for leg in plan.legs} if plan is not None else set(rule.legs)
    rates = {}
    for market in sorted(markets):
        fees = collector.instruments[market].fees
        rates[market] = (
            f"taker {fees.taker * 1e4:g} bps, maker {fees.maker * 1e4:g} bps ({fees.source})"
        )
    return rates


def _haircuts(books: _Books, rule: RuleMoney, paper: PaperDesk | None) -> dict[str, str]:
    if paper is None:
        return {}
    return {
        cut.name: money(paper.haircut(i, books.exits).get(rule.name, ZERO) + rule.pieces.funding)
        for i, cut in enumerate(paper.haircuts)
    }


def _verdict(collector: Collector, rules: Mapping[str, RuleReport]) -> str:
    """Return the first line: whether the run is long enough to mean anything."""
    trades = sum(rule.trades for rule in rules.values())
    first = collector.first or collector.last
    days = (collector.last[1] - first[1]) / 86_400 / NS_PER_S
    counted = f"{trades} trade{'' if trades == 1 else 's'} in {_span(days)}"
    if trades < ENOUGH_TRADES or days * 86_400 * NS_PER_S < ENOUGH_NS:
        return f"too little to conclude: {counted} (needs {ENOUGH_TRADES} trades and 3 days)"
    return counted


def _span(days: float) -> str:
    if days >= 1:
        return f"{days:.1f} days"
    seconds = days * 86_400
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"


def _strategy(collector: Collector) -> Strategy:
    plan = collector.plan
    params = {name: param.text for name, param in sorted(plan.params.items())}
    return Strategy(plan.name, plan.file, plan.sha, params)


def _stamp(wall: int) -> str:
    """Write wall ns as ISO 8601 UTC with milliseconds."""
    whole = datetime.datetime.fromtimestamp(wall // NS_PER_S, datetime.UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{wall % NS_PER_S // NS_PER_MS:03d}Z"


def _pnl(collector: Collector) -> Pnl:
    everything = [rule.pieces for rule in collector.rules.values()]
    net = sum((pieces.net for pieces in everything), ZERO)
    fees = sum((pieces.fees for pieces in everything), ZERO)
    funding = sum((pieces.funding for pieces in everything), ZERO)
    return Pnl(
        currency="/".join(_quotes(collector)),
        gross=money(net - fees - funding),
        fees=money(-fees),
        funding=money(funding),
        net=money(net),
    )


def _quotes(collector: Collector) -> list[str]:
    return sorted({instrument.quote for instrument in collector.instruments.values()})


def _exchanges(collector: Collector, run: RunFacts) -> dict[str, ExchangeReport]:
    reports = {}
    for name, count in collector.exchanges.items():
        orders = OrderCounts(
            count.sent, count.accepted, count.rejected, count.unknown, count.canceled
        )
        clock = ClockFigures(_ms(count.offset), _ms(count.uncertainty))
        reports[name] = ExchangeReport(
            collector.plan.exchanges[name].type,
            run.networks.get(name, ""),
            orders,
            count.reconnects,
            count.gaps,
            clock,
        )
    return reports


def _ms(ns: int | None) -> float | None:
    return None if ns is None else round(ns / NS_PER_MS, 3)


def _streams(collector: Collector) -> dict[str, StreamReport]:
    reports = {}
    for key, count in collector.samples.items():
        ages = {
            name: round(count.ages.percentile(share) / NS_PER_MS, 3)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        }
        share = round(count.stale / count.samples, 6) if count.samples else 0.0
        reports[key] = StreamReport(collector.streams[key].seq, share, ages)
    return reports


def _latency(collector: Collector) -> dict[str, dict[str, float]]:
    figures = {stage: dict(each) for stage, each in collector.stages.figures().items()}
    if "ack" not in figures and collector.acks.n:
        figures["ack"] = collector.acks.figures_us()
    return figures


def _positions(collector: Collector) -> dict[str, PositionReport]:
    """Return what the strategy holds in each market, all rules together."""
    reports = {}
    for market in collector.plan.markets:
        legs = [r.legs[market] for r in collector.rules.values() if market in r.legs]
        base = sum((leg.base for leg in legs), ZERO)
        if any(leg.lots for leg in legs):
            paid = sum((leg.paid for leg in legs), ZERO)
            entry = money(paid / base) if base else "0"
            reports[market] = PositionReport(plain(base), entry)
    return reports


def _paper(collector: Collector, books: _Books, paper: PaperDesk | None) -> PaperReport | None:
    if paper is None:
        return None
    funding = sum((rule.pieces.funding for rule in collector.rules.values()), ZERO)
    haircuts = {
        cut.name: {
            "text": cut.text,
            "filled": f"{paper.filled_share(i):.4f}",
            "net": money(sum(paper.haircut(i, books.exits).values(), ZERO) + funding),
        }
        for i, cut in enumerate(paper.haircuts)
    }
    return PaperReport(paper.models(), paper.fill_counts(), list(ASSUMPTIONS), haircuts)


def _unaccounted(collector: Collector, books: _Books) -> list[str]:
    notes = [*collector.notes, *books.notes]
    notes += [f"order without an end: {cid}" for cid in collector.unresolved()]
    if collector.strangers:
        notes.append(f"{collector.strangers} fills of orders that this run did not send")
    for rule in collector.rules.values():
        notes += [f"{rule.name}: fees of {plain(n)} {a}" for a, n in rule.other_fees.items()]
        if rule.blind:
            notes.append(f"{rule.name}: {rule.blind} fills of orders decided without a valid book")
    for market in sorted({m for rule in collector.rules.values() for m in rule.legs}):
        funding = collector.streams.get(f"{market}.funding")
        if funding is not None and not funding.seq:
            notes.append(
                f"{market}: no funding came on this run's streams; what was due is left out"
            )
    if len(_quotes(collector)) > 1:
        notes.append(f"sums add {' and '.join(_quotes(collector))} one to one")
    return notes
