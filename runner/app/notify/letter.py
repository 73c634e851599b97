"""What a page says: WHAT, NOW, DONE, NEXT, YOU (trading.md, section 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from runner.app.notify.board import Page
from runner.base.secret import redact
from runner.base.units import plain
from runner.engine.commands import Topic
from runner.engine.core import Engine
from runner.engine.limits import Mode
from runner.engine.order import OrderState

LONGEST: Final = 3_500
"""characters; Telegram takes 4,096"""
_DONE: Final = {
    Mode.ACTIVE: "trading goes on",
    Mode.REDUCING: "no new risk, own entries cancelled; exits and repairs go on",
    Mode.PAUSED: "no new risk; positions are kept and watched",
    Mode.KEPT: "no new risk, own entries cancelled; positions are kept",
    Mode.HALTED: "no new risk, own entries cancelled, positions are being closed in pairs",
    Mode.FLATTENED: "no new risk, own entries cancelled, positions are being closed in pairs",
    Mode.FROZEN: "what rests is cancelled but for stops and targets; nothing else is sent",
}
_NEXT: Final = {
    Mode.ACTIVE: "it goes on by the file",
    Mode.REDUCING: "it trades again by itself when the cause is gone",
    Mode.PAUSED: "it trades again when its rest is over or somebody resumes it",
}
_WAITS: Final = "it waits for a person"
_YOU: Final = {
    Topic.UNHEDGED: "runner flatten {name}",
    Topic.HELD: "runner status {name}",
    Topic.UNKNOWN: "runner status {name}",
    Topic.ACCOUNT: "runner status {name}",
    Topic.MARKET: "runner status {name}",
    Topic.RULE: "runner resume {name} --rule RULE",
    Topic.AUTH: "renew the key, then restart: runner start FILE",
    Topic.JOURNAL: "free the disk, then: runner status {name}",
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A message: one line for a title, and the whole of it."""

    topic: str
    subject: str
    body: str


def page_letter(engine: Engine, run_id: str, page: Page) -> Letter:
    """Write a page as things stand now."""
    name = engine.plan.name
    mode = engine.desk.limits.mode
    again = f" (told {page.sent} times)" if page.sent > 1 else ""
    subject = f"{name}: {page.topic}{again}"
    what = "; ".join(page.texts) + (f" (and {page.more} more)" if page.more else "")
    lines = [subject, f"WHAT  {what}", f"NOW   {situation(engine)}"]
    if page.topic is not Topic.NOTE:
        you = _YOU.get(page.topic, "runner resume {name} --yes").format(name=name)
        lines.append(f"DONE  {_DONE[mode]}")
        lines.append(f"NEXT  {_NEXT.get(mode, _WAITS)}")
        lines.append(f"YOU   {you}    then: runner ack {name}")
    lines.append(f"run {run_id}")
    return _letter(page.topic.value, subject, lines)


def daily_letter(engine: Engine, run_id: str) -> Letter:
    """Write the summary of the day as it stands now."""
    name = engine.plan.name
    subject = f"{name}: summary"
    lines = [subject, f"NOW   {situation(engine)}"]
    for rule, run in engine.desk.rules.runs.items():
        funnel = engine.funnels[rule]
        refused = sum(funnel.refusals.values())
        lines.append(
            f"{rule}: {run.state}, since the start {funnel.entries} entries, {funnel.exits} exits, "
            f"{refused} refused"
        )
    lines.append(f"run {run_id}")
    return _letter("daily", subject, lines)


def situation(engine: Engine) -> str:
    """Say in one line where the money stands: state, exposure, gaps, loss, doubt."""
    desk = engine.desk
    said = [desk.limits.mode.shown]
    said += [f"net {plain(net)} {base}" for base, net in _nets(engine).items() if net]
    for rule, run in desk.rules.runs.items():
        if run.trade is not None and not run.trade.within_gap():
            said.append(f"{rule} unhedged by {run.trade.gap():.8g}")
    held = [m for m in desk.markets if desk.ledgers.lots(m)]
    said.append(f"holds {', '.join(held)}" if held else "holds nothing")
    loss = desk.limits.day_loss
    said.append(f"loss of the day {loss:.2f}" if math.isfinite(loss) else "loss of the day unknown")
    unknown = sum(o.state is OrderState.UNKNOWN for o in desk.orders.open.values())
    if unknown:
        said.append(f"{unknown} orders unknown")
    return ", ".join(said)


def _nets(engine: Engine) -> dict[str, Decimal]:
    nets: dict[str, Decimal] = {}
    for name, listed in engine.desk.markets.items():
        amount = listed.instrument.base_qty(engine.desk.ledgers.lots(name))
        base = listed.instrument.base
        nets[base] = nets.get(base, Decimal(0)) + amount
    return nets


def _letter(topic: str, subject: str, lines: list[str]) -> Letter:
    body = redact("\n".join(lines))
    if len(body) > LONGEST:
        body = body[: LONGEST - 4] + " ..."
    return Letter(topic, redact(subject), body)
