"""`runner plan`: what would run, in words, and the same as an object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from runner.app.bindings import bindings_of, wants_of
from runner.base.units import format_duration, format_ratio, plain
from runner.cli.plan_limits import refusing, tripping
from runner.cli.plan_sources import objects, sources, starts
from runner.exchanges.api import SocketSpec
from runner.exchanges.registry import market_codec
from runner.market.instruments import Kind
from runner.spec.market_plan import ExchangePlan, MarketPlan, Network
from runner.spec.plan import Plan
from runner.spec.rule_plan import (
    ClosePlan,
    Deed,
    DeedPlan,
    OrderPlan,
    QuotePlan,
    RulePlan,
    excludes,
)

_WIDTH = 110
_COLUMN = 12


def as_text(plan: Plan) -> str:
    """Return the plan in words."""
    rows: list[tuple[str, list[str]]] = [
        ("sockets", list(_sockets(plan))),
        ("markets", [_market(plan, m) for m in plan.markets.values()]),
        ("sources", sources(plan)),
        ("params", [f"{p.name} = {p.text}" for p in plan.params.values()]),
        ("rules", [_rule(plan, r) for r in plan.rules.values()]),
        ("at most", [", ".join(refusing(plan.risk))]),
        ("stops when", list(tripping(plan.risk))),
        ("costs", list(_costs(plan))),
        ("if this machine dies", list(_death(plan))),
        ("assumes", ["; ".join(plan.assumptions)]),
    ]
    head = f"{plan.name}  (version 1, sha {plan.sha[:6]})"
    lines = [f"{head}  {_networks(plan)}"]
    if plan.about:
        lines += wrap(plan.about, _WIDTH)
    for label, texts in rows:
        lines += _block(label, texts)
    return "\n".join(lines) + "\n"


def _block(label: str, texts: list[str]) -> Iterator[str]:
    if len(label) >= _COLUMN:
        yield label
        label = ""
    for text in texts:
        for i, line in enumerate(wrap(text, _WIDTH - _COLUMN)):
            yield f"{label:<{_COLUMN}}{'  ' if i else ''}{line}"
            label = ""


def _networks(plan: Plan) -> str:
    networks = {e.network for e in plan.exchanges.values()}
    if Network.LIVE in networks:
        return "LIVE: orders are real money; `start` needs `--live`"
    names = ", ".join(sorted(networks))
    if Network.CUSTOM in networks:
        return f"{names}: orders go to the endpoints written in the file"
    return f"{names}, no order can reach a mainnet"


def _sockets(plan: Plan) -> Iterator[str]:
    """Say for each exchange which public connections it takes and what they carry."""
    for exchange in plan.exchanges.values():
        network = "testnet" if exchange.network is Network.SIM else str(exchange.network)
        bindings = bindings_of(plan, exchange.name)
        if bindings:
            codec = market_codec(exchange.type, network, bindings, exchange.endpoints)
            specs = codec.sockets(wants_of(plan, exchange.name))
            carried = ", ".join(name for spec in specs for name in _subscriptions(spec))
            count = "1 connection" if len(specs) == 1 else f"{len(specs)} connections"
            yield f"{exchange.type}: {count} for {carried}"


def _subscriptions(spec: SocketSpec) -> list[str]:
    """Return the streams a socket names: in its URL (Binance) or in what it says first (Bybit)."""
    query = spec.url.partition("streams=")[2]
    if query:
        return query.split("&")[0].split("/")
    found: list[str] = []
    for frame in spec.hello:
        args = json.loads(frame).get("args", ())
        found += [arg for arg in args if isinstance(arg, str)]
    return found


def _market(plan: Plan, market: MarketPlan) -> str:
    exchange = plan.exchanges[market.exchange]
    streams = []
    for stream in market.streams.values():
        text = str(stream.kind)
        if stream.every_ns:
            text += f" of {format_duration(stream.every_ns)}"
        if stream.max_age_ns is not None:
            text += f" stale after {format_duration(stream.max_age_ns)}"
        streams.append(text + (" (implied)" if stream.implied else ""))
    return f"{market.name} = {market.symbol} on {exchange.type}: {', '.join(streams)}"


def _rule(plan: Plan, rule: RulePlan) -> str:
    trigger = starts(plan, rule)
    when = f"when {rule.when_text}" if rule.when_text else ""
    parts = [f"{rule.name}: enters {f'{trigger}; ' if trigger else ''}{when}".rstrip("; ")]
    if rule.for_ns:
        parts[0] += f" for {format_duration(rule.for_ns)}"
    if rule.max_skew_ns is not None:
        parts.append(f"books within {format_duration(rule.max_skew_ns)} of each other")
    if rule.quote is not None:
        parts += _quoting(plan, rule, rule.quote)
    elif rule.do:
        parts.append(f"then {', '.join(_deed(deed) for deed in rule.do)}")
        again = rule.rearm == "level"
        parts.append("again after each rest" if again else "again when it was false in between")
    else:
        legs = " and ".join(f"{leg.side} {leg.market}" for leg in rule.legs)
        parts.append(f"then {legs}")
    if rule.trade is not None:
        leaves = [f"when {rule.until_text}"] if rule.until_text else []
        if rule.max_hold_ns is not None:
            leaves.append(f"after {format_duration(rule.max_hold_ns)}")
        for guard in rule.trade.guards:
            leaves.append(
                f"by a {guard.kind} at the exchange at {guard.text}, by the {guard.trigger} price"
            )
        if rule.trade.stop_loss is not None:
            loss = rule.trade.stop_loss
            leaves.append(f"when closing it would lose {plain(loss.value)} {loss.unit}")
        parts.append(f"leaves {' or '.join(leaves)}" if leaves else "leaves never by itself")
        parts += _resting(rule, rule.trade.close)
        if rule.trade.stop_loss is not None:
            parts.append("its stop is watched here: it needs this process")
    if rule.order is not None:
        if rule.order.key:
            parts.append(f"once for each key {rule.order.key}")
        parts.append(f"{'left alone' if rule.order.keep else 'closed'} by halts and flatten")
    if rule.once:
        parts.append("once, then it is done")
    if rule.cooldown_ns:
        parts.append(f"rests {format_duration(rule.cooldown_ns)}")
    others = [r.name for r in plan.rules.values() if excludes(rule, r)]
    if others:
        parts.append(f"excludes {', '.join(others)}")
    return "; ".join(parts)


def _resting(rule: RulePlan, close: ClosePlan) -> Iterator[str]:
    """Say how a close rests, and how it takes then."""
    rest = close.rest
    if rest is None:
        return
    at_a_time = f" {plain(rest.clip.value)} {rest.clip.unit} at a time" if rest.clip else ""
    every, time = format_duration(rest.reprice_ns), format_duration(rest.give_up_ns)
    several = len(rule.legs) > 1
    what = f"the exit of {rule.legs[0].market}" if several else "its exit"
    yield f"{what} rests at the touch ({close.tif}){at_a_time} for {time}, moved every {every}"
    if several:
        yield "the other legs follow each of its fills at once"
    then = "at market" if close.then == "market" else "holds and tells"
    takes = f"{format_ratio(close.collar)}, growing to {format_ratio(close.worst)}"
    yield f"then it takes by {takes}, past that {then}"
    yield "a stop, a halt that closes, a limit or flatten takes at once"


def _quote_costs(plan: Plan, quote: QuotePlan) -> str:
    fees = plan.markets[quote.leg.market].instrument.fees
    opening = fees.maker if quote.post_only else fees.taker
    trip = format_ratio(2 * opening)
    leaving = (
        f"{format_ratio(fees.taker)} and up to its collar of {format_ratio(quote.close.collar)}"
    )
    a_fill = f"a fill {format_ratio(opening)} {quote.leg.market}"
    return f"{a_fill}, a round trip of the inventory {trip}; what is closed at once pays {leaving}"


def _quoting(plan: Plan, rule: RulePlan, quote: QuotePlan) -> Iterator[str]:
    sides = " and ".join(n for n, x in (("bid", quote.bid), ("ask", quote.ask)) if x is not None)
    own, limit = quote.inventory, quote.inventory.limit
    yield f"then quotes {sides} of {quote.leg.market}, holding at most {limit.value} {limit.unit}"
    every = format_duration(quote.at_most_every_ns)
    yield f"follows a move of {format_ratio(quote.when_moved)}, a side at most every {every}"
    out = [f"when {rule.until_text}"] if rule.until_text else []
    if own.max_age_ns is not None:
        out.append(f"inventory after {format_duration(own.max_age_ns)}")
    if own.stop is not None:
        currency = plan.markets[quote.leg.market].instrument.quote
        out.append(f"inventory that would lose {own.stop:g} {currency}")
    if out:
        yield f"leaves {' or '.join(out)}"
    goes = "rests at the touch" if own.on_leave == "passive" else "is closed"
    yield f"what it holds then {goes} after `until`, and is closed at once for all else"


def _deed(deed: DeedPlan) -> str:
    """Say one command of a `do`."""
    subject = deed.rule or (f"all on {deed.market}" if deed.market else "all")
    match deed.what:
        case Deed.CANCEL:
            return f"cancels the working entries of {subject}"
        case Deed.REDUCE:
            return f"closes {format_ratio(deed.by)} of {subject}, legs together"
        case Deed.FLATTEN:
            return f"closes {subject}" + ("" if deed.rule or deed.market else ", then halts")
        case Deed.HALT:
            return "halts until `resume`, positions kept"
        case Deed.NOTIFY:
            return f"tells: {deed.text}"


def _costs(plan: Plan) -> Iterator[str]:
    for rule in (r for r in plan.rules.values() if r.legs):
        if rule.quote is not None:
            yield f"{rule.name}: {_quote_costs(plan, rule.quote)}"
            continue
        fees: dict[str, float] = {}
        collars = 0.0
        posts = rule.trade is not None and rule.trade.close.tif == "post_only"
        given_up = 0.0
        for i, leg in enumerate(rule.legs):
            market = plan.markets[leg.market]
            rate = market.instrument.fees
            opening = rate.maker if leg.order.tif == "post_only" else rate.taker
            rests = posts and i == 0
            closing = (rate.maker if rests else rate.taker) if rule.trade is not None else 0.0
            fees[leg.market] = fees.get(leg.market, 0.0) + opening + closing
            collars += _collar(leg.order)
            if rests:
                given_up += rate.taker - rate.maker
            elif rule.trade is not None:
                collars += rule.trade.close.collar
        detail = " + ".join(f"{format_ratio(v)} {n}" for n, v in fees.items())
        total = format_ratio(sum(fees.values()))
        trip = "round trip" if rule.trade is not None else "one order"
        more = f"collars may take {format_ratio(collars)} more" if collars else ""
        if posts and rule.trade is not None:
            more += f"; an exit that takes after all costs {format_ratio(given_up)} more in fees"
            more += f", and up to its collar of {format_ratio(rule.trade.close.collar)}"
        yield f"{rule.name}: {trip} {detail} = {total}; {more}".rstrip("; ")


def _collar(order: OrderPlan) -> float:
    """Return how far past the touch an order may go, in the end."""
    given_up = order.give_up.then if order.give_up is not None else None
    return max(order.collar or 0.0, 0.0 if given_up is None else given_up.collar or 0.0)


def _death(plan: Plan) -> Iterator[str]:
    parts = [_after_death(e) for e in plan.exchanges.values()]
    perpetual = any(m.instrument.kind is Kind.PERPETUAL for m in plan.markets.values())
    yield "; ".join([*parts, "positions stay" if perpetual else "holdings stay"])
    unwatched = [r.name for r in plan.rules.values() if r.trade and r.trade.stop_loss]
    if unwatched:
        yield f"nobody watches the stops of {', '.join(unwatched)}"


def _after_death(exchange: ExchangePlan) -> str:
    if exchange.dead_man_ns:
        return f"{exchange.name} cancels what rests after {format_duration(exchange.dead_man_ns)}"
    return f"{exchange.name} keeps what rests"


def as_object(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain values (`format` 1.0)."""
    return {
        "format": "1.0",
        "name": plan.name,
        "file": plan.file,
        "sha": plan.sha,
        "params": {p.name: p.value for p in plan.params.values()},
        "exchanges": {
            e.name: {"type": e.type, "network": str(e.network)} for e in plan.exchanges.values()
        },
        "markets": {m.name: _market_object(m) for m in plan.markets.values()},
        "sources": objects(plan),
        "rules": {r.name: _rule_object(plan, r) for r in plan.rules.values()},
        "limits": [*refusing(plan.risk), *tripping(plan.risk)],
        "assumptions": list(plan.assumptions),
    }


def _market_object(market: MarketPlan) -> dict[str, Any]:
    streams = {
        str(s.kind): {"max_age_ms": None if s.max_age_ns is None else s.max_age_ns / 1e6}
        for s in market.streams.values()
    }
    return {"exchange": market.exchange, "symbol": market.symbol, "streams": streams}


def _rule_object(plan: Plan, rule: RulePlan) -> dict[str, Any]:
    return {
        "trigger": rule.trigger.source if rule.trigger is not None else None,
        "when": rule.when_text,
        "until": rule.until_text or None,
        "legs": [{"market": leg.market, "side": str(leg.side)} for leg in rule.legs],
        "reads": sorted({*rule.when_streams, *rule.until_streams}),
        "excludes": [r.name for r in plan.rules.values() if excludes(rule, r)],
    }
