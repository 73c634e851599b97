"""A listener that writes down what doors bring, and sources to build doors from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from runner.base.clock import VirtualClock
from runner.engine.codes import Refusal, Why
from runner.sources.door import Accepted, Refused
from runner.spec import load
from runner.spec.source_plan import SourcePlan

SECOND = 1_000_000_000
FIELDS = """
      id:         {from: /id, type: text}
      action:     {from: /signal, type: enum, values: [long, short, close]}
      stop:       {from: /stop_loss, type: price, of: btc, optional: true}
      confidence: {from: /confidence, type: number, range: [0, 1], optional: true}
      sure:       {type: bool, optional: true}
      edge:       {type: ratio, unit: percent, range: [-10%, 10%], optional: true}
      size:       {from: /more/0/size, type: USDT, optional: true}
      wait:       {type: duration, unit: ms, optional: true}
"""


def source(options: str, fields: str = FIELDS, dedupe: str = "{by: id, within: 1d}") -> SourcePlan:
    """Return the plan of a source `x` with these options."""
    checked = load(f"""version: 1
name: a
exchanges:
  bybit: {{type: bybit_linear, network: testnet}}
markets:
  btc: {{exchange: bybit, symbol: BTCUSDT, streams: {{book: {{max_age: 1s}}}}}}
sources:
  x:
    {options}
    max_age: 10s
    dedupe: {dedupe}
    fields: {fields}
rules:
  r:
    trigger: x
    order: {{market: btc, side: buy, size: 200 USDT}}
risk:
  max_order: 300 USDT
  max_position: {{btc: 0.01 BTC}}
  max_orders: {{count: 10, per: 1m}}
  max_daily_loss: 20 USDT
""", environ={})  # fmt: skip
    assert checked.plan is not None, [d.message for d in checked.findings]
    return checked.plan.sources["x"]


def hook(auth: str, more: str = "") -> SourcePlan:
    """Return the plan of a webhook on any free port of this machine."""
    return source(f"type: webhook\n    listen: {{port: 0, path: /x}}\n    auth: {auth}\n    {more}")


SIGNED = "{hmac_sha256: {secret: {env: S}}}"


@dataclass
class Heard:
    """Implements `Listener`: knows ids as the engine does, refuses nothing else."""

    clock: VirtualClock = field(default_factory=lambda: VirtualClock(wall=1_790_000_000 * SECOND))
    messages: list[tuple[Accepted, int]] = field(default_factory=list)
    no: list[str] = field(default_factory=list)
    pulses: list[bool] = field(default_factory=list)
    kept: list[object] = field(default_factory=list)

    def examine(self, source: str, message: Accepted, sent_at: int) -> Refusal | None:
        if self.known(source, message.id):
            return Refusal(Why.DUPLICATE, "known")
        if self.clock.wall() - sent_at > 10 * SECOND:
            return Refusal(Why.LATE, "late")
        return None

    def hear(self, source: str, message: Accepted, sent_at: int) -> None:
        self.messages.append((message, sent_at))

    def known(self, source: str, id: str) -> bool:
        return any(message.id == id for message, _ in self.messages)

    def refused(self, source: str, code: str, text: str) -> None:
        self.no.append(code)

    def flawed(self, source: str, flaw: Refused) -> None:
        self.no.append(flaw.flaw.value)

    def items(self, source: str, items: Sequence[object]) -> None:
        self.kept += items

    def pulse(self, source: str, ok: bool, reason: str = "") -> None:
        self.pulses.append(ok)
