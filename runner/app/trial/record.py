"""What happened in a test: orders, fills, moves of rules, refusals, in the order of time."""

from __future__ import annotations

from dataclasses import dataclass

from runner.base.units import plain
from runner.engine.commands import (
    Amend,
    Cancel,
    CancelAll,
    Command,
    Intent,
    Notify,
    Record,
    RunState,
    Send,
    Trace,
)
from runner.engine.events import CancelReply, Done, Event, Fill, Reject, Unknown
from runner.market.instruments import Instrument
from runner.spec.plan import Plan


@dataclass(frozen=True, slots=True)
class Sent:
    """An order that left, at `t`."""

    t: int
    group: int
    intent: Intent


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the timeline: what happened at `t`; `order` is set where an order was sent."""

    t: int
    text: str
    order: Intent | None = None


class Recorder:
    """An observer of the host that remembers what a reader of a failed test asks for."""

    def __init__(self, plan: Plan) -> None:
        self._instruments = {name: m.instrument for name, m in plan.markets.items()}
        self._intents: dict[str, Intent] = {}
        self.sent: list[Sent] = []
        self.changed: list[Sent] = []
        """changes of resting orders, as sent"""
        self.lines: list[Happening] = []
        self.refusals: dict[str, str] = {}
        """by rule: code and text of the last refusal since it last sent an entry"""
        self.endings: dict[str, str] = {}
        """by rule: how its last entry came to nothing"""
        self.mode = "active"

    def event(self, event: Event) -> None:
        """Note what the exchange tells of our orders."""
        kind = type(event)
        if kind is Fill or kind is Reject or kind is Unknown:
            self._told(event)  # type: ignore[arg-type]
        elif kind is Done or kind is CancelReply:
            self._ended(event)  # type: ignore[arg-type]

    def command(self, command: Command, t: int) -> None:
        """Note what the engine decided."""
        if isinstance(command, Send):
            for approved in command.orders:
                self._sent(command.group, approved.intent, t)
        elif isinstance(command, Amend):
            self._changed(command.order.intent, t)
        elif isinstance(command, Trace):
            self._moved(command, t)
        elif isinstance(command, Record):
            self._record(command)
        elif isinstance(command, RunState):
            self.mode = command.state
            self._line(t, f"the run is {command.state}: {command.text or command.code}")
        elif isinstance(command, Cancel):
            self._line(t, f"cancel {self._name(command.cid)}")
        elif isinstance(command, CancelAll):
            self._line(t, f"cancel all orders of {command.market}")
        elif isinstance(command, Notify) and command.level == "page":
            self._line(t, f"told: {command.text}")

    def timeline(self) -> tuple[Happening, ...]:
        """Return all that happened, in the order of time."""
        return tuple(sorted(self.lines, key=lambda line: line.t))

    # -- inside

    def _line(self, t: int, text: str, order: Intent | None = None) -> None:
        self.lines.append(Happening(t, text, order))

    def _sent(self, group: int, intent: Intent, t: int) -> None:
        self.sent.append(Sent(t, group, intent))
        self._intents[intent.cid] = intent
        if intent.purpose == "entry":
            self.refusals.pop(intent.rule, None)
            self.endings.pop(intent.rule, None)
        text = f"{order_text(intent, self._instruments[intent.market])}"
        self._line(t, f"{text}   {intent.purpose} of {intent.rule}", intent)

    def _changed(self, intent: Intent, t: int) -> None:
        self.changed.append(Sent(t, len(self.changed), intent))
        before = self._name(intent.cid)
        self._intents[intent.cid] = intent
        after = order_text(intent, self._instruments[intent.market])
        self._line(t, f"change {before} to {after}", intent)

    def _moved(self, trace: Trace, t: int) -> None:
        if trace.refusal:
            self._line(t, f"{trace.rule} refused: {trace.refusal}")
        else:
            self._line(t, f"{trace.rule} {trace.before} -> {trace.after}: {trace.cause}")

    def _record(self, record: Record) -> None:
        fields = record.fields
        if record.kind == "denied":
            self.refusals[str(fields["rule"])] = f"{fields['code']}: {fields['text']}"
        elif record.kind == "no_fill":
            text = str(fields["reason"])
            if fields.get("missed"):
                text += f", missed: {fields['missed']}"
            self.endings[str(fields["rule"])] = text

    def _told(self, event: Fill | Reject | Unknown) -> None:
        name = self._name(event.cid)
        if isinstance(event, Fill):
            intent = self._intents.get(event.cid)
            amount = name
            if intent is not None:
                at = self._instruments[intent.market]
                side = "bought" if intent.side == "buy" else "sold"
                amount = f"{side} {plain(at.base_qty(event.lots))} {at.base} {intent.market}"
            self._line(event.t, f"{amount} at {event.price:.10g}")
        elif isinstance(event, Reject):
            self._line(event.t, f"rejected {event.code} {event.text}: {name}")
        else:
            self._line(event.t, f"unknown ({event.why}): {name}")

    def _ended(self, event: Done | CancelReply) -> None:
        if isinstance(event, CancelReply):
            if not event.ok:
                self._line(event.t, f"cancel refused {event.code}: {self._name(event.cid)}")
        elif event.end != "filled":
            self._line(event.t, f"{event.end}: {self._name(event.cid)}")

    def _name(self, cid: str) -> str:
        intent = self._intents.get(cid)
        if intent is None:
            return cid
        return order_text(intent, self._instruments[intent.market])


def order_text(intent: Intent, instrument: Instrument) -> str:
    """Write an order as a reader says it: `sell 0.008 BTC bin @ 60194.0`."""
    amount = f"{intent.qty_text} {instrument.base}"
    if instrument.contract_size != 1:
        amount = f"{intent.qty_text} contracts"
    price = f"@ {intent.price_text}" if intent.price_text else "at market"
    if intent.trigger_text:
        price = f"{intent.type} at {intent.trigger}"
        price += f" {intent.trigger_text}"
    return f"{intent.side} {amount} {intent.market} {price}"
