"""Streams and who listens to them: a message is built once and fanned out.

A stream exists from its first subscriber to its last; only then is anything computed for it.
Times are steps of the market (`STEP_MS`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from runner.sim.prices import STEP_MS
from runner.sim.rules import PublicTrade
from runner.sim.wire import Session


class Source(Protocol):
    """What builds a stream's messages."""

    def poll(self, now_ms: int) -> list[str]:
        """Return the messages due now."""
        ...

    def first(self, now_ms: int) -> list[str]:
        """Return what a new subscriber gets at once."""
        ...

    def close(self) -> None:
        """Stop watching the book."""
        ...


@dataclass(slots=True, eq=False)
class Stream:
    """A source, its symbol and rhythm, its subscribers. `instant`: also after each user order."""

    name: str
    symbol: str
    every: int
    source: Source
    instant: bool = False
    diff: bool = False
    trades: bool = False
    sessions: set[Session] = field(default_factory=set)


Make = Callable[[str], Stream | None]
Deliver = Callable[[Session, Stream, str], None]


@dataclass(slots=True, eq=False)
class Feed:
    """The live streams of one exchange. `make` builds a stream by name, None for no such name."""

    make: Make
    deliver: Deliver
    streams: dict[str, Stream] = field(default_factory=dict)

    def subscribe(self, session: Session, name: str, now_ms: int) -> bool:
        """Add a subscriber; False when there is no such stream."""
        stream = self.streams.get(name) or self.make(name)
        if stream is None:
            return False
        self.streams[name] = stream
        if session not in stream.sessions:
            stream.sessions.add(session)
            session.topics.add(name)
            for text in stream.source.first(now_ms):
                self.deliver(session, stream, text)
        return True

    def unsubscribe(self, session: Session, name: str) -> bool:
        """Remove a subscriber; the last one ends the stream."""
        session.topics.discard(name)
        stream = self.streams.get(name)
        if stream is None or session not in stream.sessions:
            return False
        stream.sessions.discard(session)
        if not stream.sessions:
            stream.source.close()
            del self.streams[name]
        return True

    def drop(self, session: Session) -> None:
        """Forget a closed socket."""
        for name in list(session.topics):
            self.unsubscribe(session, name)

    def symbols(self) -> set[str]:
        """Return the symbols somebody listens to."""
        return {stream.symbol for stream in self.streams.values()}

    def step(self, step: int, now_ms: int) -> None:
        """Publish the streams whose turn it is."""
        for stream in list(self.streams.values()):
            if step % stream.every == 0:
                self._publish(stream, now_ms)

    def instant(self, symbol: str, now_ms: int) -> None:
        """Publish the real-time streams of a symbol: a user's order changed the book."""
        for stream in list(self.streams.values()):
            if stream.instant and stream.symbol == symbol:
                self._publish(stream, now_ms)

    def _publish(self, stream: Stream, now_ms: int) -> None:
        for text in stream.source.poll(now_ms):
            for session in tuple(stream.sessions):
                self.deliver(session, stream, text)

    def traded(self, symbol: str, trade: PublicTrade) -> None:
        """Give a public trade to the streams that print trades."""
        for stream in self.streams.values():
            if stream.trades and stream.symbol == symbol and isinstance(stream.source, Tape):
                stream.source.pending.append(trade)


@dataclass(slots=True, eq=False)
class Tape:
    """A source that prints trades as they come."""

    write: Callable[[list[PublicTrade], int], list[str]]
    pending: list[PublicTrade] = field(default_factory=list)

    def poll(self, now_ms: int) -> list[str]:
        """Return the messages of the trades since the last call."""
        if not self.pending:
            return []
        trades, self.pending = self.pending, []
        return self.write(trades, now_ms)

    def first(self, now_ms: int) -> list[str]:
        """A new subscriber gets no past trades."""
        return []

    def close(self) -> None:
        """Nothing is held."""
        self.pending.clear()


@dataclass(slots=True, eq=False)
class Plain:
    """A source that writes the present state on each poll, the same text not twice if `once`."""

    write: Callable[[int], str | None]
    greet: bool = False

    def poll(self, now_ms: int) -> list[str]:
        """Return the present state."""
        text = self.write(now_ms)
        return [] if text is None else [text]

    def first(self, now_ms: int) -> list[str]:
        """Return the present state to a new subscriber when the exchange does."""
        return self.poll(now_ms) if self.greet else []

    def close(self) -> None:
        """Nothing is held."""


def steps(milliseconds: int) -> int:
    """Return a rhythm in steps, at least one."""
    return max(1, milliseconds // STEP_MS)
