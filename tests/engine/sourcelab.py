"""A strategy that listens, in virtual time, and what its sources say to it."""

from __future__ import annotations

import re
from pathlib import Path

from runner.engine.build import compiled
from runner.engine.commands import Notify, Record
from runner.engine.events import Pulse, Signal, SignalValue
from runner.engine.saved import Saved
from runner.engine.scenario import Scenario
from runner.engine.timers import MS, SECOND
from runner.spec.load import load

STRATEGIES = Path(__file__).parents[2] / "strategies"
SHIPPED = (STRATEGIES / "signal.yaml").read_text(encoding="utf-8")
SIGNAL = re.sub(r"\n      (stop|target): \{price: .*voc.*", "", SHIPPED.split("\ntests:")[0])
"""the shipped strategy without the stop that follows every entry: orders are easier to count"""
RULE = "go_long"


def listening(text: str = SIGNAL, restored: Saved | None = None, **quotes: object) -> Scenario:
    """`signal.yaml` (or another text), warm, at 60000."""
    checked = load(text, environ={})
    assert checked.plan is not None, [d.message for d in checked.findings.items]
    s = Scenario(checked.plan, compiled(checked.plan), restored=restored)
    for exchange in s.exchanges.values():
        exchange.free = 10_000.0
    s.start(**dict.fromkeys(checked.plan.markets, (60000.0, 60001.0)))
    return s.run(4 * SECOND)


def say(s: Scenario, source: str, id_: str, age: int = 0, **fields: SignalValue) -> None:
    """Let a source say something, sent `age` ns ago."""
    sent = s.wall_at_zero + s.t - age
    s.push(Signal(source=source, id=id_, fields=fields, sent_at=sent))
    s.run(MS)


def voc(s: Scenario, id_: str, action: str, age: int = 0, **fields: SignalValue) -> None:
    """Let the signal service of `signal.yaml` say something about Bitcoin."""
    known: dict[str, SignalValue] = {"id": id_, "action": action, "symbol": "BTCUSDT"}
    if action == "long":
        known |= {"stop": 59_400.0, "confidence": 0.9}
    say(s, "voc", id_, age, **(known | fields))


def pulse(s: Scenario, source: str, ok: bool, reason: str = "") -> None:
    """Let a source give a sign of life, or go down."""
    s.push(Pulse(source=source, ok=ok, reason=reason))
    s.run(MS)


def refused(s: Scenario) -> list[str]:
    """Return the codes of all messages that were not accepted."""
    return [str(r.fields["code"]) for r in s.commands(Record) if r.kind == "signal_refused"]


def lost(s: Scenario) -> list[str]:
    """Return why accepted messages came to nothing."""
    return [str(r.fields["why"]) for r in s.commands(Record) if r.kind == "signal_lost"]


def told(s: Scenario) -> list[str]:
    """Return all that a person was told."""
    return [n.text for n in s.commands(Notify)]
