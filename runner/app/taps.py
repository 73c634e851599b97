"""Taps: the values of a stream, a signal or a rule's decisions, followed while the run goes on.

A tap is an observer of the host: before each event it looks whether the event before it moved what
it follows, and queues a row. The queue is bounded; when whoever reads is slower than the market the
oldest rows go, counted. Writing happens elsewhere on the loop, so trading never waits for a reader;
without a tap nothing of this runs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from runner.app.host import Host
from runner.app.why.answer import decision_row, stamp
from runner.app.why.shape import Decision
from runner.engine.commands import Command
from runner.engine.core import Engine
from runner.engine.events import Event
from runner.lang.display import show
from runner.lang.functions import FIELDS

MOST_WAITING: Final = 1000
MOST_TAPS: Final = 8
EVERY_S: Final = 0.02
_FIELDS: Final = {
    "BookStream": ("bid", "ask", "bid_qty", "ask_qty"),
    "TradesStream": ("last", "qty"),
    "MarkStream": ("price",),
    "FundingStream": ("rate", "next_at"),
    "BarsStream": ("open", "high", "low", "close", "volume"),
}
Row = dict[str, Any]
Look = Callable[[], list[Row]]


class Tap:
    """Follows one name; `rows` yields what it found, again and again, until it is closed."""

    def __init__(self, host: Host, engine: Engine, name: str) -> None:
        self._host = host
        self._look = _look(engine, host, name)
        self._waiting: deque[Row] = deque()
        self._dropped = 0

    def event(self, event: Event) -> None:
        """See what the event before this one has moved."""
        self._take()

    def command(self, command: Command, t: int) -> None:
        """Decisions are read where they are kept."""

    async def rows(self) -> AsyncGenerator[list[Row]]:
        """Yield rows as they come; an empty list when there were none for a moment."""
        if sum(isinstance(each, Tap) for each in self._host.observers) >= MOST_TAPS:
            yield [{"error": f"{MOST_TAPS} taps are open already"}]
            return
        self._host.observers = (*self._host.observers, self)
        try:
            while True:
                self._take()
                found = list(self._waiting)
                self._waiting.clear()
                if self._dropped:
                    found.insert(0, {"dropped": self._dropped})
                    self._dropped = 0
                yield found
                await asyncio.sleep(EVERY_S)
        finally:
            self._host.observers = tuple(x for x in self._host.observers if x is not self)

    def _take(self) -> None:
        for row in self._look():
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(row)


def _look(engine: Engine, host: Host, name: str) -> Look:
    """Return what tells the new rows of a name; ValueError when nothing is called so."""
    if name in engine.streams:
        return _of_stream(engine, name)
    if name in engine.plan.signals:
        return _of_signal(engine, name)
    if name in engine.plan.rules:
        return _of_rule(engine, host, name)
    field = _field_of(engine, name)
    if field:
        raise ValueError(f"{name} is a field of {field}: `runner tap {field}` follows all of them")
    known = [*engine.streams, *engine.plan.signals, *engine.plan.rules]
    raise ValueError(f"no stream, signal or rule is named {name!r}; there are {', '.join(known)}")


def _field_of(engine: Engine, name: str) -> str:
    """Return the stream that `bin.book.bid`, or in short `bin.mid`, is a field of; "" for none."""
    path, _, field = name.rpartition(".")
    if path in engine.streams:
        return path
    own = (key for key in engine.streams if key.startswith(f"{path}.") and path)
    return next((key for key in own if field in FIELDS[key.rpartition(".")[2]]), "")


def _of_stream(engine: Engine, name: str) -> Look:
    stream = engine.streams[name]
    fields = _FIELDS.get(type(stream).__name__)
    seen: list[Any] = [stream.seq, stream.state]

    def look() -> list[Row]:
        now = [stream.seq, stream.state]
        if now == seen:
            return []
        seen[:] = now
        values = _said(stream) if fields is None else {f: getattr(stream, f) for f in fields}
        return [
            {
                "at": stamp(engine.desk.wall),
                "stream": name,
                "seq": stream.seq,
                "state": str(stream.state),
                "values": {field: _plain(value) for field, value in values.items()},
            }
        ]

    return look


def _of_signal(engine: Engine, name: str) -> Look:
    expr = engine.plan.signals[name]
    last: list[Any] = [object()]

    def look() -> list[Row]:
        value = engine.desk.program.signal(name, engine.desk.now)
        if value == last[0]:
            return []
        last[0] = value
        shown = show(value, expr.type)
        return [{"at": stamp(engine.desk.wall), "signal": name, "value": value, "shown": shown}]

    return look


def _of_rule(engine: Engine, host: Host, name: str) -> Look:
    traces = engine.desk.traces
    seen = [traces.count]

    def look() -> list[Row]:
        if traces.count == seen[0] and not engine.desk.after:
            return []
        engine.settle_traces()
        new = [each for each in traces.moments(name) if each.number > seen[0]]
        seen[0] = traces.count
        return [
            {"rule": name} | decision_row(Decision(m.t, m.wall, m.trace(), host.paths.get(m.t, ())))
            for m in new
        ]

    return look


def _said(source: Any) -> dict[str, Any]:
    """Return what a source says: an event is over when this is asked, so what it said."""
    if source.event:
        return {field: source.last.get(field) for field in source.cells}
    return {field: cell.value for field, cell in source.cells.items()}


def _plain(value: Any) -> Any:
    """A number that is missing is null in JSON."""
    return None if isinstance(value, float) and value != value else value
