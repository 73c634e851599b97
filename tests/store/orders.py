"""Intents and a virtual clock for the tests of the store."""

from __future__ import annotations

from runner.base.clock import VirtualClock
from runner.base.ids import client_id
from runner.engine.commands import Intent, OrderType, Purpose, Tif
from runner.engine.proof import Approved, _approve
from runner.market.instruments import Side
from runner.store.journal import RunHeader

PREFIX = "rabcde"
RUN = "0123456789"


def intent(
    group: int = 1,
    leg: int = 0,
    attempt: int = 0,
    purpose: Purpose = Purpose.ENTRY,
    run: str = RUN,
) -> Intent:
    return Intent(
        cid=client_id(PREFIX, run, group, leg, attempt),
        rule="gap",
        group=group,
        leg=leg,
        attempt=attempt,
        purpose=purpose,
        exchange="binance",
        market="bin",
        symbol="BTCUSDT",
        side=Side.BUY,
        type=OrderType.LIMIT,
        tif=Tif.IOC,
        lots=20,
        ticks=500001,
        qty_text="0.020",
        price_text="50000.1",
        reduce_only=False,
        window_ns=1_000_000_000,
        t=5_000_000,
        wall=1_700_000_000_000_000_000,
        refs=(("bin.book", 17, 1_200_000), ("byb.book", 9, 800_000)),
    )


def approved(*intents: Intent) -> list[Approved]:
    return [_approve(each) for each in intents]


def header(run: str = RUN) -> RunHeader:
    return RunHeader(
        run=run,
        mode="start",
        strategy="arb",
        sha="f" * 12,
        limits_sha="e" * 12,
        versions={"runner": "0.1.0"},
        config="name: arb",
    )


def clock() -> VirtualClock:
    return VirtualClock()
