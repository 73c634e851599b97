"""One exchange of a run: its codecs, its REST session, its clock, its feed, its order side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from runner.app.bindings import bindings_of, wants_of
from runner.app.market_feed import FrameTape, MarketFeed, Sink, Stages
from runner.app.order_link import OrderLink
from runner.app.pacing import Pace
from runner.app.rest import Rest
from runner.base import hosts
from runner.base.clock import Clock
from runner.base.errors import ExchangeError, WorldError
from runner.base.ids import owner_prefix
from runner.base.rng import seeded
from runner.engine.events import ClockReading, InstrumentFacts
from runner.exchanges import endpoints as endpoints_
from runner.exchanges.api import Credentials, MarketCodec, OrderCodec
from runner.exchanges.registry import market_codec, order_codec
from runner.net.budget import Priority
from runner.net.doors import tls_context
from runner.net.http import HttpSession
from runner.net.timesync import TimeSync
from runner.net.websocket import SocketOptions
from runner.spec.market_plan import ExchangePlan
from runner.spec.plan import Plan


@dataclass(slots=True)
class Link:
    """What a run keeps of one exchange."""

    plan: ExchangePlan
    codec: MarketCodec
    rest: Rest
    http: HttpSession
    sync: TimeSync
    options: SocketOptions
    feed: MarketFeed | None = None
    orders: OrderLink | None = None
    order_codec: OrderCodec | None = None

    async def close(self) -> None:
        """End the sockets and the REST session."""
        if self.feed is not None:
            self.feed.close()
        if self.orders is not None:
            self.orders.close()
        await self.http.close()


def connect(
    plan: Plan,
    name: str,
    clock: Clock,
    run_id: str,
    numbers: Iterator[int],
    on_clock: Callable[[ClockReading], None],
) -> Link:
    """Make the public half of one exchange; nothing is opened yet.

    FileError when the adapter, the network or its endpoints do not fit.
    """
    exchange = plan.exchanges[name]
    endpoints = dict(exchange.endpoints) if exchange.endpoints else None
    codec = market_codec(exchange.type, exchange.network.value, bindings_of(plan, name), endpoints)
    tls = tls_context()
    http = HttpSession(tls, codec.hosts)
    rest = Rest(name, http, Pace(name, clock))
    options = SocketOptions.make(numbers, seeded(run_id, "sockets", name), codec.hosts)

    async def ask() -> int:
        return codec.parse_time(await rest.fetch(codec.time(), Priority.CANCEL))

    return Link(exchange, codec, rest, http, TimeSync(name, ask, clock, on_clock), options)


def add_feed(
    link: Link,
    plan: Plan,
    sink: Sink,
    clock: Clock,
    tape: FrameTape,
    notice: Callable[[str, str], None],
    stages: Stages | None,
    before: Callable[[int, int], None],
) -> MarketFeed:
    """Make the market feed of a link."""
    link.feed = MarketFeed(
        link.plan.name,
        link.codec,
        wants_of(plan, link.plan.name),
        sink,
        clock,
        tape,
        link.options,
        link.rest.fetch,
        notice,
        stages,
        before,
    )
    return link.feed


def add_orders(
    link: Link,
    plan: Plan,
    credentials: Credentials,
    sink: Sink,
    clock: Clock,
    notice: Callable[[str, str], None],
    stages: Stages | None,
) -> OrderLink:
    """Make the signed order side of a link; `start` alone calls this."""
    exchange, name = link.plan, link.plan.name
    link.order_codec = codec_for(exchange, plan, credentials, exchange.order_entry)
    link.rest.pace = Pace(
        name,
        clock,
        link.order_codec.budgets,
        lambda: link.sync.offset,
        sink,
        link.order_codec.budgets_from,
    )
    symbols = [m.symbol for m in plan.markets.values() if m.exchange == name and m.traded]
    link.orders = OrderLink(
        name,
        link.order_codec,
        codec_for(exchange, plan, credentials, "rest"),
        link.rest,
        link.sync,
        clock,
        sink,
        symbols,
        link.options,
        notice,
        stages,
        dead_man_ns=exchange.dead_man_ns,
    )
    return link.orders


def codec_for(
    exchange: ExchangePlan, plan: Plan, credentials: Credentials, entry: str
) -> OrderCodec:
    """Make the signing codec of an exchange; `entry` is `websocket` or `rest`."""
    return order_codec(
        exchange.type,
        exchange.network.value,
        bindings_of(plan, exchange.name),
        credentials,
        dict(exchange.endpoints) if exchange.endpoints else None,
        entry,
        exchange=exchange.name,
        prefix=owner_prefix(exchange.name, plan.name),
    )


async def read_facts(link: Link, plan: Plan) -> list[InstrumentFacts]:
    """Fetch the instruments of a link's markets.

    WorldError when the exchange cannot be reached or does not list a symbol.
    """
    name = link.plan.name
    symbols = [m.symbol for m in plan.markets.values() if m.exchange == name]
    try:
        bodies = await link.rest.fetch_all(link.codec.instruments(symbols))
        facts = link.codec.parse_instruments(bodies)
    except ExchangeError as error:
        raise WorldError(f"{name}: cannot read the instruments: {error}") from error
    known = {fact.market for fact in facts}
    for market in plan.markets.values():
        if market.exchange == name and market.name not in known:
            raise WorldError(
                f"{name} ({link.plan.type}, {link.plan.network}) does not list {market.symbol}"
            )
    return facts


def is_loopback(endpoints: Mapping[str, str]) -> bool:
    """Whether all endpoints stay on this machine."""
    return all(hosts.is_loopback(host) for host in endpoints_.hosts_of(endpoints))
