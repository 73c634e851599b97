"""A run as doors see it, and servers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

from aiohttp import web

from runner.base.clock import VirtualClock
from runner.engine.codes import Refusal
from runner.sources.door import Accepted, Refused
from runner.spec import load
from runner.spec.source_plan import SourcePlan

EXAMPLES = Path(__file__).parents[2] / "examples"
FILE = """
version: 1
name: voices
exchanges: {{bybit: {{type: bybit_linear, network: testnet}}}}
markets: {{btc: {{exchange: bybit, symbol: BTCUSDT, streams: {{book: {{max_age: 1s}}}}}}}}
sources:
{sources}
signals:
  fast: ema(btc.mid, 1m)
rules:
  go:
    {when}
    max_hold: 1h
    trade: {{size: 300 USDT, legs: [{{market: btc, side: buy}}]}}
risk:
  max_order: 450 USDT
  max_position: {{btc: 0.5 BTC}}
  max_daily_loss: 20 USDT
  max_orders: {{count: 6, per: 1m}}
"""


def source(text: str, when: str, name: str) -> SourcePlan:
    """Return one source of a strategy."""
    checked = load(FILE.format(sources=text, when=when))
    assert checked.plan is not None, checked.findings.items
    return checked.plan.sources[name]


@dataclass
class Ear:
    """A listener that keeps what it is told; `clock` moves only when told."""

    clock: VirtualClock = field(default_factory=lambda: VirtualClock(wall=1_800_000_000 * 10**9))
    heard: list[tuple[Accepted, int]] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    pulses: list[tuple[bool, str]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    kept: dict[str, list[object]] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)
    refusal: Refusal | None = None

    def examine(self, source: str, message: Accepted, sent_at: int) -> Refusal | None:
        return self.refusal

    def hear(self, source: str, message: Accepted, sent_at: int) -> None:
        self.heard.append((message, sent_at))
        self.ids.add(message.id)

    def known(self, source: str, id: str) -> bool:
        return id in self.ids

    def refused(self, source: str, code: str, text: str) -> None:
        self.refusals.append((code, text))

    def flawed(self, source: str, flaw: Refused) -> None:
        self.refused(source, flaw.flaw.value, str(flaw))

    def items(self, source: str, items: Sequence[object]) -> None:
        self.kept.setdefault(source, []).extend(items)

    def pulse(self, source: str, ok: bool, reason: str = "") -> None:
        if not self.pulses or self.pulses[-1] != (ok, reason):
            self.pulses.append((ok, reason))

    def items_of(self, source: str) -> Sequence[object]:
        return self.kept.get(source, ())

    def value_of(self, name: str) -> object:
        return self.values.get(name)


def example(name: str) -> ModuleType:
    """Load a program of `examples/`, which is no package."""
    spec = util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port of loopback; yields its base URL."""
    runner = web.AppRunner(app, handler_cancellation=True)  # who hung up is not waited for
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until(ready: Callable[[], Any]) -> None:
    """Wait for a condition; a busy machine may take its time."""
    async with asyncio.timeout(30):
        while not ready():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)
