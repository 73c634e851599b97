"""What stands between a rule and its trade at this moment, gravest first.

One question with one answer for `why`, `status` and the tests of a file: the first of these that
applies, and of the last group all that apply together.

    in a trade | disabled, done | the run's state | an exchange of its legs | not warm
    | refused, waiting for `for` | cooldown | not armed | no message of its trigger
    | parts of `when` that are not true

It reads and changes nothing, and no tick calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from runner.base.units import format_duration
from runner.engine.events import Readiness
from runner.engine.leaving_at_rest import told as at_rest
from runner.engine.limits import Mode
from runner.engine.rule import HOLDING, RuleRun, RuleState
from runner.engine.timers import MS, SECOND
from runner.lang.api import Lack, LackKind, LinkApi, ProbeApi, Value
from runner.spec.source_plan import SchedulePlan

if TYPE_CHECKING:
    from runner.engine.codes import Refusal
    from runner.engine.desk import Desk


class Kind(StrEnum):
    """Families of reasons; a reason is a kind and its subject."""

    TRADE = "in_trade"
    DISABLED = "disabled"
    DONE = "done"
    RUN = "run"
    """subject: the code of the run's state, `max_daily_loss`, `operator`, `journal`"""
    EXCHANGE = "exchange"
    FACTS = "facts"
    STREAM = "stream"
    """subject: the stream and its state: waiting, stale, crossed, gap, down"""
    WINDOW = "window"
    CELL = "cell"
    MISSING = "missing"
    """subject: a part of `when` that cannot be computed though all it reads is there"""
    FALSE = "false"
    """subject: a part of `when`, or one link of a chain of comparisons"""
    REFUSED = "refused"
    """subject: the code of the refusal"""
    FOR = "for"
    SENDING = "sending"
    COOLDOWN = "cooldown"
    UNARMED = "unarmed"
    TRIGGER = "trigger"
    """subject: the source whose message would start the rule"""


class Block:
    """One reason, with the figures of this moment, put into words when somebody reads them."""

    __slots__ = ("_text", "key", "kind", "subject")

    def __init__(self, kind: Kind, subject: str, text: str | Callable[[], str]) -> None:
        self.kind = kind
        self.subject = subject
        self.key = f"{kind._value_} {subject}" if subject else kind._value_
        """the reason without its figures: `stream bin.book stale`, `refused max_orders`"""
        self._text = text

    @property
    def text(self) -> str:
        """The figures."""
        return self._text if isinstance(self._text, str) else self._text()

    def __repr__(self) -> str:
        return f"Block({self.key}: {self.text})"


class Reading(NamedTuple):
    """One conjunct at one moment: the verdict, and what it compared."""

    probe: ProbeApi
    verdict: bool | None
    values: list[Value]

    @property
    def told(self) -> tuple[str, str, str]:
        """Put it into words: source, verdict, figures."""
        return self.probe.source, _VERDICTS[self.verdict], self.probe.figures(self.values)


_VERDICTS: Final = {True: "true", False: "false", None: "missing"}


def readings(desk: Desk, rule: str, part: str) -> list[Reading]:
    """Ask each conjunct of a condition at the desk's time."""
    return read(desk.program.probes(rule, part), desk.now)


def read(probes: Sequence[ProbeApi], now: int) -> list[Reading]:
    """Ask these conjuncts."""
    return [Reading(probe, probe.verdict(now), probe.values(now)) for probe in probes]


def why_not(desk: Desk, run: RuleRun, refusal: Refusal | None, found: list[Reading]) -> list[Block]:
    """Return what keeps a rule from trading.

    `refusal`: the last one since it became pending; `found`: its `when` as it reads now.
    """
    state = run.state
    return (
        _settled(desk, run)
        or (_run_state(desk) if run.plan.legs else [])
        or _exchanges(desk, run)
        or (_warming(desk, run) if state is RuleState.WARMING else [])
        or (_pending(desk, run, refusal) if state is RuleState.PENDING else [])
        or _resting(desk, run)
        or _untriggered(desk, run, refusal)
        or parts(found, desk.now)
    )


def _settled(desk: Desk, run: RuleRun) -> list[Block]:
    """Return what the state alone says."""
    state = run.state
    if state is RuleState.IDLE:
        return []
    if state in HOLDING:
        return [Block(Kind.TRADE, "", partial(_in_trade, desk, run))]
    if state is RuleState.DISABLED:
        return [Block(Kind.DISABLED, "", run.disabled_why)]
    if state is RuleState.DONE:
        return [Block(Kind.DONE, "", "it trades once, and has")]
    return []


def _in_trade(desk: Desk, run: RuleRun) -> str:
    """Say where a trade is, what one that is leaving waits for, and what keeps one where it is."""
    limits = desk.limits
    if run.state is RuleState.ACTIVE and limits.mode in (Mode.KEPT, Mode.FROZEN):
        return f"active; it does not leave while {limits.mode.shown}: {limits.reason}"
    leaving = run.trade.leaving if run.trade is not None else None
    if leaving is None or run.state is not RuleState.LEAVING:
        return run.state.value
    if run.resting:
        return f"leaving {at_rest(desk, run)}"
    return f"leaving by {leaving.reason}{', held' if leaving.held else ''}"


def _run_state(desk: Desk) -> list[Block]:
    limits = desk.limits
    if limits.mode is Mode.ACTIVE:
        return []
    return [Block(Kind.RUN, limits.code, f"{limits.mode.shown}: {limits.reason}")]


def _exchanges(desk: Desk, run: RuleRun) -> list[Block]:
    found: list[Block] = []
    for leg in run.plan.legs:
        venue = desk.venue_of(leg.market)
        if venue.state is not Readiness.READY:
            text = f"{venue.name} is {venue.state}" + (f": {venue.reason}" if venue.reason else "")
            found.append(Block(Kind.EXCHANGE, venue.name, text))
        elif leg.market not in venue.facts:
            text = f"{venue.name} has not told the facts of {leg.market}"
            found.append(Block(Kind.FACTS, leg.market, text))
    return found if len(found) < 2 else list({block.key: block for block in found}.values())


_LACKS: Final = {
    LackKind.STREAM: Kind.STREAM,
    LackKind.WINDOW: Kind.WINDOW,
    LackKind.CELL: Kind.CELL,
}


def _warming(desk: Desk, run: RuleRun) -> list[Block]:
    lacks = desk.program.lacks(run.plan.name, desk.now)
    return [_lack(each) for each in lacks if each.kind is not LackKind.CELL]


def _lack(lack: Lack) -> Block:
    return Block(_LACKS[lack.kind], f"{lack.subject} {lack.state}", lack.text)


def _pending(desk: Desk, run: RuleRun, refusal: Refusal | None) -> list[Block]:
    if refusal is not None:
        return [Block(Kind.REFUSED, refusal.code.value, refusal.text)]
    held = desk.now - run.pending_since
    if held < run.plan.for_ns:
        text = f"true for {held // MS}ms of {run.plan.for_ns // MS}ms"
        return [Block(Kind.FOR, "", text)]
    return [Block(Kind.SENDING, "", "true; waiting for the last frame of the read")]


def _resting(desk: Desk, run: RuleRun) -> list[Block]:
    left = run.cooldown_until - desk.now
    if run.state is RuleState.COOLDOWN and left > 0:
        return [Block(Kind.COOLDOWN, "", partial(_left, left))]
    if not run.armed:
        return [Block(Kind.UNARMED, "", "`when` must have been false once since the last trade")]
    return []


def _left(left: int) -> str:
    whole = left // SECOND * SECOND
    told = f"{left / SECOND:.1f}s" if left < 100 * SECOND else format_duration(whole)
    return f"{told} left of its rest"


def _untriggered(desk: Desk, run: RuleRun, refusal: Refusal | None) -> list[Block]:
    """Return what a rule waits for that nothing but a message starts."""
    trigger = run.plan.trigger
    if trigger is None or run.state is not RuleState.IDLE:
        return []
    if run.inbox is not None and refusal is not None:
        return [Block(Kind.REFUSED, refusal.code.value, refusal.text)]
    stream = desk.rules.streams[trigger.source]
    calendar = desk.plan.sources[trigger.source].options
    if isinstance(calendar, SchedulePlan):
        text = f"waits for its time, `{calendar.cron}` {calendar.zone}"
        last = "its last one came"
    else:
        text = f"waits for {trigger.source}, which is {stream.state}"
        text += f" ({stream.down})" if stream.down else ""
        last = "its last message was sent"
    if stream.seq:
        text += f"; {last} {stream.age(desk.now) / 1e9:.1f}s ago"
    return [Block(Kind.TRIGGER, trigger.source, text)]


def parts(found: list[Reading], now: int) -> list[Block]:
    """Return the reasons for which the parts of a condition are not all true."""
    blocks: list[Block] = []
    for reading in found:
        if not reading.verdict:
            blocks += _part(reading, now)
    if not found:
        return [Block(Kind.FALSE, "when", "not true")]
    if len(blocks) > 1:
        blocks = list({block.key: block for block in reversed(blocks)}.values())[::-1]
    return blocks or [Block(Kind.SENDING, "", "true; not yet acted on")]


def _part(reading: Reading, now: int) -> list[Block]:
    probe, values = reading.probe, reading.values
    if reading.verdict is None:
        lacks = [_lack(each) for each in probe.lacks(now)]
        return lacks or [Block(Kind.MISSING, probe.source, partial(probe.figures, values))]
    hidden = "".join(f"; {each.text}" for each in probe.lacks(now)) if probe.hides else ""
    if probe.chain:
        missed = ((link, link.missed_by(values)) for link in probe.links)
        links = [
            Block(Kind.FALSE, link.source, partial(_short, probe, values, link, by, hidden))
            for link, by in missed
            if by is not None
        ]
        if links:
            return links
    return [Block(Kind.FALSE, probe.source, partial(_figures, probe, values, hidden))]


def _figures(probe: ProbeApi, values: list[Value], hidden: str) -> str:
    return f"{probe.figures(values)}{hidden}"


def _short(probe: ProbeApi, values: list[Value], link: LinkApi, by: float, hidden: str) -> str:
    return f"{probe.figures(values)}, {link.shown(by)} short{hidden}"
