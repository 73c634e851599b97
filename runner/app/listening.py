"""The doors of a run: opened before it decides, closed with it, counted for status and report.

Secrets of sources are resolved in every mode, a dry-run too: they prove others to us, or us to a
feed, and reach no exchange. With `--sim` a secret that is not set is the word `sim`, so that a
sender can be tried at once. Doors hand their messages over as events of the run; what does not pass
them is counted here, what the engine refuses is counted there.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from runner.app.report_shape import SourceReport
from runner.app.run_log import Level
from runner.base.clock import Clock
from runner.base.rng import seeded
from runner.base.secret import Secret
from runner.engine.codes import Refusal
from runner.engine.events import Event, Pulse, Signal
from runner.market.streams import StreamState
from runner.net.backoff import Backoff
from runner.sources.door import Accepted, Refused
from runner.spec.source_plan import (
    LlmPlan,
    RestPlan,
    SourcePlan,
    TelegramPlan,
    WebhookPlan,
    WebSocketPlan,
)

if TYPE_CHECKING:
    from runner.engine.core import Engine
    from runner.engine.sources import SourceStream
    from runner.sources.model import Model
    from runner.sources.webhook import Hook, HookServer
    from runner.spec.parts import SecretRef
    from runner.spec.plan import Plan

STAND_IN: Final = "sim"
_PULSE_NS: Final = 1_000_000_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0
_NOTICE_NS: Final = 10_000_000_000
_LONGEST_SLEEP_S: Final = 30.0
"""a wall clock that was set is noticed after this long"""


def references(plan: Plan) -> dict[str, SecretRef]:
    """Return every secret that the sources of a file refer to, by its place."""
    found: dict[str, SecretRef] = {}
    for name, source in plan.sources.items():
        secret = _secret_of(source)
        if secret is not None:
            found[f"sources.{name}"] = secret
    return found


def _secret_of(source: SourcePlan) -> SecretRef | None:
    match source.options:
        case WebhookPlan(auth=auth):
            return getattr(auth, "secret", None) or getattr(auth, "token", None)
        case WebSocketPlan(auth=auth) | RestPlan(auth=auth):
            return None if auth is None else auth.token
        case TelegramPlan(token=token):
            return token
        case LlmPlan(key=key):
            return key
    return None


@dataclass(slots=True)
class DoorCount:
    """What a door let through, and what not."""

    heard: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    last_refusal: str = ""
    pulsed_at: int = -_PULSE_NS
    ok: bool | None = None
    told_at: int = -_NOTICE_NS


class Purses(Protocol):
    """Where it is kept what language models have cost, from one run to the next."""

    def saved(self, source: str) -> bytes: ...
    def save(self, source: str, spent: bytes) -> None: ...


class Listening:
    """All doors of one run (a `sources.api.Listener`)."""

    def __init__(
        self,
        plan: Plan,
        secrets: Mapping[str, Secret],
        clock: Clock,
        run_id: str,
        sink: Callable[[Event], None],
        notice: Callable[[Level, str, str], None],
        purses: Purses,
    ) -> None:
        self.plan = plan
        self.clock = clock
        self.engine: Engine | None = None
        self.counts = {name: DoorCount() for name in plan.sources}
        self.kept: dict[str, deque[object]] = {n: deque(maxlen=500) for n in plan.sources}
        """the items that polls brought last"""
        self.ports: dict[str, int] = {}
        """where each webhook listens"""
        self._secrets = secrets
        self._run_id = run_id
        self._sink = sink
        self._notice = notice
        self._servers: list[HookServer] = []
        self._failure: asyncio.Future[None] | None = None
        """what broke while a door's message was handled: a webhook's caller is nobody's task"""
        self._purses = purses
        self.spending: dict[str, Callable[[], dict[str, float | int | str]]] = {}
        """what each language model has cost in its window"""

    # -- what doors ask and tell

    def examine(self, source: str, message: Accepted, sent_at: int) -> Refusal | None:
        """Ask the engine, without consequences."""
        if self.engine is None:
            return None
        return self.engine.sources.examine(self._signal(source, message, sent_at))[0]

    def hear(self, source: str, message: Accepted, sent_at: int) -> None:
        """Hand a message over as an event."""
        self.counts[source].heard += 1
        self._hand(self._signal(source, message, sent_at))

    def known(self, source: str, id: str) -> bool:
        """Ask the engine whether it accepted this id before."""
        return self.engine is not None and self.engine.sources.known(source, id)

    def refused(self, source: str, code: str, text: str) -> None:
        """Count a message that did not pass, and write it down, now and then."""
        count = self.counts[source]
        count.refused[code] += 1
        count.last_refusal = f"{code}: {text}"
        now = self.clock.mono()
        if now - count.told_at >= _NOTICE_NS:
            count.told_at = now
            self._notice(Level.WARNING, source, f"refused, {code}: {text}")

    def flawed(self, source: str, flaw: Refused) -> None:
        """Count a message of another shape."""
        self.refused(source, flaw.flaw.value, str(flaw))

    def items(self, source: str, items: Sequence[object]) -> None:
        """Keep what a poll brought."""
        self.kept[source].extend(items)

    def pulse(self, source: str, ok: bool, reason: str = "") -> None:
        """Tell the engine, at most once a second while nothing changes."""
        count, now = self.counts[source], self.clock.mono()
        if ok is count.ok and now - count.pulsed_at < _PULSE_NS:
            return
        if ok is not count.ok and (not ok or count.ok is not None):
            word = "is back" if ok else f"is down: {reason}"
            self._notice(Level.WARNING, source, word)
        count.ok, count.pulsed_at = ok, now
        self._hand(Pulse(source=source, ok=ok, reason=reason, t=now, wall=self.clock.wall()))

    def _hand(self, event: Event) -> None:
        """Hand an event over; what breaks on it ends the run, whoever called."""
        try:
            self._sink(event)
        except Exception as error:
            if self._failure is not None and not self._failure.done():
                self._failure.set_exception(error)
            raise

    def _signal(self, source: str, message: Accepted, sent_at: int) -> Signal:
        return Signal(
            source=source,
            id=message.id,
            fields=message.fields,
            sent_at=sent_at,
            t=self.clock.mono(),
            wall=self.clock.wall(),
        )

    # -- what a language model is told of

    def items_of(self, source: str) -> Sequence[object]:
        """Return the items a poll brought last, the newest last; none once it is silent."""
        return self.kept.get(source, ()) if self._stream(source) is not None else ()

    def value_of(self, name: str) -> object:
        """Return a signal's value, or what a source said last; None when missing."""
        if self.engine is None:
            return None
        if name in self.plan.signals:
            return self.engine.desk.program.signal(name, self.clock.mono())
        stream = self._stream(name)
        said = None if stream is None else {k: v for k, v in stream.said.items() if v is not None}
        return said or None

    def _stream(self, name: str) -> SourceStream | None:
        """Return a source that is live: what an old one said is told to nobody."""
        stream = None if self.engine is None else self.engine.sources.streams.get(name)
        return stream if stream is not None and stream.state is StreamState.LIVE else None

    # -- opening and closing

    async def open(self, engine: Engine) -> None:
        """Open the doors others come to; WorldError when an address cannot be had."""
        self.engine = engine
        self._failure = asyncio.get_running_loop().create_future()
        hooks: dict[tuple[str, int], list[Hook]] = {}
        for source in self.plan.sources.values():
            if isinstance(source.options, WebhookPlan):
                listen = source.options.listen
                place = (listen.host, listen.port)
                hooks.setdefault(place, []).append(self._hook(source))
        for group in hooks.values():
            from runner.sources.webhook import HookServer

            server = HookServer(group)
            self._servers.append(server)
            await server.open()
            self.ports |= {hook.plan.name: server.port for hook in group}

    def _hook(self, source: SourcePlan) -> Hook:
        from runner.sources.webhook import Hook

        return Hook(source, self._secret(source.name), self)

    async def close(self) -> None:
        """Close the doors."""
        servers, self._servers = self._servers, []
        for server in servers:
            await server.close()

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return the tasks of all doors we go out by ourselves."""
        work: list[Coroutine[Any, Any, None]] = []
        calendars = []
        for name, source in self.plan.sources.items():
            rng = seeded(f"source {name}", self._run_id)
            backoff = Backoff(rng, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
            token = self._secrets.get(f"sources.{name}")
            match source.options:
                case WebSocketPlan():
                    from runner.sources.websocket import Feed

                    work.append(Feed(source, token, self, backoff).run())
                case RestPlan():
                    from runner.sources.rest import Poll

                    work.append(Poll(source, token, self, backoff).run())
                case WebhookPlan():
                    pass
                case TelegramPlan():
                    from runner.sources.telegram import Chat

                    work.append(Chat(source, self._secret(name), self, backoff).run())
                case LlmPlan():
                    work.append(self._model(source, token, backoff).run())
                case _:
                    calendars.append(source)
        if calendars:
            work.append(self._keep_time(calendars))
        if self.plan.sources:
            work.append(self._until_broken())
        return work

    async def _until_broken(self) -> None:
        assert self._failure is not None
        await self._failure

    async def _keep_time(self, sources: Sequence[SourcePlan]) -> None:
        from runner.app.timetable import Timetable

        assert self.engine is not None
        table = Timetable(sources, self._run_id, self.engine.sources.last_sent_at)
        table.begin(self.clock.wall())
        for name, instant in table.skipped:
            text = f"missed while nothing ran, since {table.message(instant).id}"
            self._notice(Level.WARNING, name, text)
        while True:
            for name, instant in table.due(self.clock.wall()):
                self.hear(name, table.message(instant), instant)
            wait = (table.next - self.clock.wall()) / 1e9
            await asyncio.sleep(max(0.0, min(wait, _LONGEST_SLEEP_S)))

    def _model(self, source: SourcePlan, key: Secret | None, backoff: Backoff) -> Model:
        from runner.sources.model import Model
        from runner.sources.purse import Purse, Spent

        assert isinstance(source.options, LlmPlan)
        name, saved = source.name, self._purses.saved(source.name)
        spent = msgspec.json.decode(saved, type=list[Spent]) if saved else []
        purse = Purse(source.options.budget, source.options.price, spent)
        self.spending[name] = purse.figures
        symbols = ", ".join(sorted({m.symbol for m in self.plan.markets.values()}))
        return Model(
            source, key, self, self, symbols, purse, backoff,
            lambda: self._purses.save(name, msgspec.json.encode(list(purse.calls))),
        )  # fmt: skip

    def _secret(self, name: str) -> Secret:
        return self._secrets[f"sources.{name}"]


def figures(engine: Engine, doors: Listening | None) -> dict[str, SourceReport]:
    """Return what came of every source's messages."""
    found = {}
    for name, count in engine.sources.counts.items():
        refused = count.refused + (doors.counts[name].refused if doors is not None else Counter())
        spent = doors.spending.get(name) if doors is not None else None
        found[name] = SourceReport(
            count.accepted, count.late, count.lost, dict(refused), spent() if spent else {}
        )
    return found
