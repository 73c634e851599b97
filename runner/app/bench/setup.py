"""The strategy that is measured, its parts without sockets, and figures of a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from runner import spec
from runner.app.assembly import Parts, assemble, facts_event
from runner.app.host import Host
from runner.base.clock import SystemClock
from runner.base.errors import FileError
from runner.base.ids import new_run_id
from runner.base.secret import Secret
from runner.engine import build
from runner.engine.events import (
    Account,
    Balance,
    ClockReading,
    Depth,
    Event,
    Readiness,
    Ready,
    Reconciled,
)
from runner.exchanges.api import Credentials
from runner.spec.plan import Plan
from runner.store.journal import Journal, RunHeader

EVERY = 20
"""each so many frames an order"""
CREDENTIALS = Credentials(Secret("bench-key-0123456789"), Secret("bench-secret-0123456789"))
DOOR_SECRET = Secret("bench-door-0123456789")
_TOP = (
    '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%%d,"E":%%d,"T":%%d,'
    '"s":"BTCUSDT","b":"60000.10","B":"%s","a":"60000.20","A":"1.000"}}'
)
QUIET_TOP = _TOP % "1.000"
LOUD_TOP = _TOP % "9.000"

ORDER_STRATEGY = """
version: 1
name: bench-order
about: Takes the ask when the bid is heavy; one order, nothing to unwind.
exchanges:
  bin: {type: binance_usdm, network: custom, leverage: 2,
        endpoints: {rest: "REST", public: "PUBLIC", market: "MARKET", private: "PRIVATE",
                    trade: "TRADE"},
        auth: {key: {env: BENCH_KEY}, secret: {env: BENCH_SECRET}}}
markets:
  m: {exchange: bin, symbol: BTCUSDT, streams: {book: {max_age: 10s}}}
rules:
  take:
    when: m.book.imbalance > 0.5
    cooldown: 100us
    order: {market: m, side: buy, size: 0.002 BTC, type: limit, tif: ioc, collar: 1bps}
risk:
  max_order: 1000 USDT
  max_position: {m: 1000 BTC}
  max_daily_loss: 100_000_000 USDT
  max_orders: {count: 1_000_000, per: 1m}
  max_firings: {count: 1_000_000, per: 1m}
  same_order_within: 1us
"""
GAP_STRATEGY = """
version: 1
name: bench-gap
about: A gap of two markets that never opens far enough.
exchanges:
  spot: {type: binance_spot, network: live}
  perp: {type: binance_usdm, network: live,
         auth: {key: {env: BENCH_KEY}, secret: {env: BENCH_SECRET}}}
markets:
  s: {exchange: spot, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
  p: {exchange: perp, symbol: BTCUSDT, streams: {book: {max_age: 1s}}}
rules:
  dear:
    when: gap(p.bid, s.ask) > 3%
    cooldown: 1s
    order: {market: p, side: sell, size: 500 USDT, type: limit, tif: ioc, collar: 1bps}
risk:
  max_order: 600 USDT
  max_position: {p: 0.02 BTC}
  max_daily_loss: 20 USDT
  max_orders: {count: 40, per: 1m}
"""


def plan_of(text: str, urls: dict[str, str] | None = None) -> Plan:
    """Compile one of the strategies above; `urls` fill its endpoints."""
    for name, url in (urls or _NOWHERE).items():
        text = text.replace(f'"{name.upper()}"', f'"{url}"')
    checked = spec.load(text, name="bench.yaml")
    if checked.plan is None:
        raise FileError("; ".join(f"{d.code} {d.message}" for d in checked.findings if d.is_error))
    return checked.plan


_NOWHERE = {
    "rest": "http://127.0.0.1:1",
    "public": "ws://127.0.0.1:1/public",
    "market": "ws://127.0.0.1:1/market",
    "private": "ws://127.0.0.1:1/private",
    "trade": "ws://127.0.0.1:1/trade",
}


@contextmanager
def scratch_journal(clock: SystemClock, plan: Plan, run_id: str) -> Iterator[Journal]:
    """Open a journal with its checkpoint thread in a folder that goes away."""
    with TemporaryDirectory() as folder:
        journal = Journal.open(Path(folder) / "journal.db")
        header = RunHeader(
            run=run_id, mode="bench", strategy=plan.name, sha=plan.sha, limits_sha="", versions={}
        )
        journal.begin_run(header, clock)
        journal.checkpoint_in_background()
        journal.write_ahead()
        try:
            yield journal
        finally:
            journal.close()


def parts_of(plan: Plan, clock: SystemClock, watching: bool = True) -> Parts:
    """Assemble a plan with the catalogue's facts."""
    facts = {name: build.catalogue_facts(plan, name) for name in plan.exchanges}
    return assemble(plan, new_run_id(clock.wall()), facts, watching=watching)


def picture(exchange: str, t: int) -> Reconciled:
    """Return a picture of an account that is rich, flat and without orders."""
    account = Account(
        exchange=exchange,
        balances=(Balance(asset="USDT", total=1e9, free=1e9),),
        positions=(),
        equity=1e9,
        margin_used=0.0,
        full=True,
    )
    return Reconciled(exchange=exchange, open_orders=(), fills=(), account=account, started=t)


def make_ready(parts: Parts, host: Host, t: int, wall: int, *, pictures: bool = True) -> None:
    """Tell an engine everything that must be known before it may decide."""
    for name in parts.plan.exchanges:
        facts = build.catalogue_facts(parts.plan, name)
        events: list[Event] = [
            facts_event(name, facts, t, wall),
            ClockReading(exchange=name, offset=0, uncertainty=1000),
        ]
        if pictures:
            events += [picture(name, t), Ready(exchange=name, state=Readiness.READY)]
        for event in events:
            event.t, event.wall = t, wall
            host.feed(event)
    for market in parts.plan.markets:
        levels = [(60_000.0 - i, 1.0) for i in range(50)]
        asks = [(60_020.0 + i, 1.0) for i in range(50)]
        host.feed(Depth(market=market, snapshot=True, bids=levels, asks=asks, t=t, wall=wall))


@dataclass(frozen=True, slots=True)
class Figures:
    """Percentiles of a sample in microseconds."""

    n: int
    p50: float
    p95: float
    p99: float
    most: float

    @staticmethod
    def of(sample_ns: Sequence[int]) -> Figures:
        """Sort a sample of ns; zeros when it is empty."""
        ordered = sorted(sample_ns) or [0]

        def at(share: float) -> float:
            return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000

        return Figures(len(sample_ns), at(0.5), at(0.95), at(0.99), ordered[-1] / 1000)
