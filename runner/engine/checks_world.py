"""Checks 1 to 6 of the gate: may anything be sent at all, on what we know now?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.base.units import format_duration
from runner.engine.accounts import (
    CLOCK_MAX_AGE,
    CLOCK_STEP,
    CLOCK_UNCERTAINTY,
    NO_TIME,
    Venue,
)
from runner.engine.codes import Refusal, Why
from runner.engine.commands import Purpose
from runner.engine.events import Readiness
from runner.engine.limits import AWAY, Mode
from runner.engine.order import OrderState
from runner.engine.positions import room_for_exit
from runner.engine.timers import MS, SECOND
from runner.market.streams import NEVER, StreamState

if TYPE_CHECKING:
    from runner.engine.commands import Intent
    from runner.engine.gate import Check, Gate, Proposal
    from runner.engine.limits import Limits
    from runner.engine.order import Order

REDUCE_WITHOUT_DATA: Final = 60 * SECOND

# Bound once: looking a member up on its class costs more than comparing with it.
_ACTIVE: Final = Mode.ACTIVE
_KEPT: Final = Mode.KEPT
_FROZEN: Final = Mode.FROZEN
_READY: Final = Readiness.READY
_LIVE: Final = StreamState.LIVE
_CLOSING: Final = frozenset({Purpose.CLOSE, Purpose.PROTECT})
_MODES: Final = {
    Mode.REDUCING: Why.REDUCING,
    Mode.PAUSED: Why.PAUSED,
    Mode.KEPT: Why.HALTED,
    Mode.HALTED: Why.HALTED,
    Mode.FLATTENED: Why.HALTED,
    Mode.FROZEN: Why.FROZEN,
}
_READINESS: Final = {
    Readiness.STARTING: Why.STARTING,
    Readiness.RECONCILING: Why.RECONCILING,
    Readiness.DOWN: Why.DOWN,
    Readiness.MAINTENANCE: Why.MAINTENANCE,
    Readiness.FROZEN: Why.EXCHANGE_FROZEN,
}
_STREAMS: Final = {
    StreamState.WAITING: Why.STREAM_WAITING,
    StreamState.STALE: Why.STALE,
    StreamState.CROSSED: Why.CROSSED,
    StreamState.GAP: Why.GAP,
    StreamState.DOWN: Why.STREAM_DOWN,
}


def run_state(gate: Gate, p: Proposal) -> Refusal | None:
    """1: what the run's state lets through."""
    limits = gate.desk.limits
    mode = limits.mode
    if mode is _FROZEN or (mode is not _ACTIVE and p.adds_risk and not _evens(limits, p)):
        return Refusal(_MODES[mode], f"{mode}: {limits.reason}")
    if mode is _KEPT and p.purpose is Purpose.CLOSE and not p.commanded:
        return Refusal(Why.HALTED, f"halted: {limits.reason}; positions are kept")
    if not p.adds_risk:
        return None
    if gate.desk.rules.disabled(p.rule.name):
        return Refusal(Why.RULE_DISABLED, f"rule {p.rule.name} is disabled")
    for intent in p.intents:
        why = gate.reducing_symbols.get(intent.market)
        if why is not None:
            return Refusal(Why.SYMBOL_REDUCING, f"{intent.market} reducing: {why}")
    return None


def _evens(limits: Limits, p: Proposal) -> bool:
    """Whether it only evens legs, and nothing is wrong but that exchanges are away."""
    own = f"unmatched:{p.rule.name}"
    alone = all(key.startswith(AWAY) or key == own for key in limits.causes)
    return p.evens and alone and limits.mode is Mode.REDUCING


def identity(gate: Gate, p: Proposal) -> Refusal | None:
    """2: the id is new, the parent has enough left, ledger and exchange both see a reduction."""
    seen: set[str] = set()
    if p.amends is not None:
        refusal = _changeable(p.amends, p.intents[0])
        if refusal is not None:
            return refusal
    for intent, parent, reduces in zip(p.intents, p.parents, p.reduces, strict=True):
        if intent.cid in seen or (p.amends is None and intent.cid in gate.desk.orders.all):
            return Refusal(Why.ID_USED, f"client id {intent.cid} was used before")
        seen.add(intent.cid)
        if not reduces and p.purpose in _CLOSING:
            held = gate.desk.ledgers.of(p.rule.name, intent.market).lots
            text = f"exit of {intent.lots} lots {intent.market} / ledger {held} lots"
            return Refusal(Why.EXIT_OVER_LEDGER, text)
        if intent.lots > parent:
            text = f"{intent.lots} lots / {parent} left of the parent ({intent.market})"
            return Refusal(Why.PARENT_BUDGET, text)
    return _exit_covered(gate, p) if True in p.reduces else None


def exchange_ready(gate: Gate, p: Proposal) -> Refusal | None:
    """3: reconciled and up; a reduction passes while reconciling."""
    for intent, reduces in zip(p.intents, p.reduces, strict=True):
        venue = gate.desk.venues[intent.exchange]
        if reduces and venue.takes_orders:
            continue
        if venue.state is _READY:
            if venue.picture_at != NO_TIME:
                continue
            return Refusal(Why.RECONCILING, f"{intent.exchange} never gave a whole picture")
        text = f"{intent.exchange} is {venue.state}" + (f": {venue.reason}" if venue.reason else "")
        return Refusal(_READINESS[venue.state], text)
    return None


def data_age(gate: Gate, p: Proposal) -> Refusal | None:
    """4: every stream that was read is live, young enough now, and of one moment."""
    desk = gate.desk
    if not p.adds_risk:
        return _price_for_reduction(gate, p)
    moments: list[tuple[int, str]] = []
    for key in p.streams:
        stream = desk.rules.streams[key]
        if stream.state is not _LIVE:
            age = f" {stream.age(desk.now) // MS}ms" if stream.state is StreamState.STALE else ""
            return Refusal(_STREAMS[stream.state], f"{stream.state} {key}{age}")
        age_ns = stream.age(desk.now)
        if age_ns > stream.max_age:
            text = f"stale {key} {age_ns // MS}ms / {format_duration(stream.max_age)}"
            return Refusal(Why.STALE, text)
        if key in desk.rules.book_keys:
            # When the exchange made it, on our monotonic clock: clocks need not agree.
            moments.append((stream.t - stream.lag, key))
    skew = p.rule.max_skew_ns
    if skew is not None and len(moments) > 1:
        oldest, youngest = min(moments), max(moments)
        apart = youngest[0] - oldest[0]
        if apart > skew:
            text = f"{oldest[1]} {apart // MS}ms before {youngest[1]} / {format_duration(skew)}"
            return Refusal(Why.SKEW, text)
    return None


def clock(gate: Gate, p: Proposal) -> Refusal | None:
    """5: the exchange's time is known well enough to sign new risk (R-06)."""
    if not p.adds_risk:
        return None
    for intent in p.intents:
        refusal = clock_refusal(gate.desk.venues[intent.exchange], gate.desk.now)
        if refusal is not None:
            return refusal
    return None


def clock_refusal(venue: Venue, now: int) -> Refusal | None:
    """Return why an exchange's clock forbids new risk, None when it is good."""
    reading = venue.clock
    if reading.at == NO_TIME:
        return Refusal(Why.CLOCK_UNREAD, f"the clock of {venue.name} was never read")
    if now - reading.at > CLOCK_MAX_AGE:
        text = f"clock of {venue.name} read {(now - reading.at) // SECOND}s ago / 300s"
        return Refusal(Why.CLOCK_OLD, text)
    if reading.uncertainty > CLOCK_UNCERTAINTY:
        text = f"clock of {venue.name} uncertain by {reading.uncertainty // MS}ms / 100ms"
        return Refusal(Why.CLOCK_UNCERTAIN, text)
    if reading.stepped > CLOCK_STEP:
        text = f"clock of {venue.name} moved by {reading.stepped // MS}ms / 250ms"
        return Refusal(Why.CLOCK_STEPPED, text)
    if not reading.ok:
        return Refusal(Why.CLOCK_STEPPED, f"clock of {venue.name} was set, and is measured again")
    return None


def instrument(gate: Gate, p: Proposal) -> Refusal | None:
    """6: the exchange has told the instrument, and trades it."""
    for intent, reduces in zip(p.intents, p.reduces, strict=True):
        listed = gate.desk.markets[intent.market]
        if not reduces and intent.market not in gate.desk.venues[intent.exchange].facts:
            text = f"{intent.exchange} has not told the facts of {intent.symbol}"
            return Refusal(Why.INSTRUMENT_UNKNOWN, text)
        if listed.instrument.status != "trading":
            text = f"{intent.symbol} is {listed.instrument.status}"
            return Refusal(Why.INSTRUMENT_HALTED, text)
    return None


def _changeable(order: Order, intent: Intent) -> Refusal | None:
    """Have an order known as open, with no change and no cancel under way."""
    open_now = order.state in (OrderState.OPEN, OrderState.PARTIAL)
    if not open_now or order.cancel_asked or order.pending is not None:
        return Refusal(Why.NOT_OPEN, f"{intent.cid} cannot be changed now: it is {order.state}")
    if intent.revision != order.revision + 1 or intent.lots <= order.filled:
        text = f"change {intent.revision} of {intent.cid} to {intent.lots} lots does not fit"
        return Refusal(Why.NOT_OPEN, text)
    return None


def _exit_covered(gate: Gate, p: Proposal) -> Refusal | None:
    """Have the exchange agree that a position falls, all exits in flight counted."""
    if p.rule.net:
        return None
    for i, (intent, reduces) in enumerate(zip(p.intents, p.reduces, strict=True)):
        if not reduces or not gate.desk.markets[intent.market].perpetual:
            continue
        waits = intent.purpose is Purpose.PROTECT
        room = room_for_exit(gate.desk, intent.market, intent.side, waits=waits)
        if p.added(i) > max(room, 0):
            text = (
                f"exit of {intent.lots} lots {intent.market} / {max(room, 0)} lots of the position"
                " at the exchange"
            )
            return Refusal(Why.EXIT_OVER_POSITION, text)
    return None


def _price_for_reduction(gate: Gate, p: Proposal) -> Refusal | None:
    """Let old data pass for 60 s; after that a fresh mark is needed."""
    now = gate.desk.now
    for intent in p.intents:
        listed = gate.desk.markets[intent.market]
        books = [s for s in (listed.book, listed.mark) if s is not None and s.t != NEVER]
        if not intent.ticks or any(now - s.t <= REDUCE_WITHOUT_DATA for s in books):
            continue
        return Refusal(
            Why.STALE, f"no price of {intent.market} for {REDUCE_WITHOUT_DATA // SECOND}s"
        )
    return None


CHECKS: Final[tuple[Check, ...]] = (
    run_state,
    identity,
    exchange_ready,
    data_age,
    clock,
    instrument,
)
