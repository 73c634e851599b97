"""The log of a run: one JSON line per notice in `log.jsonl`, and from a level up on standard error.

    {"wall":1763912345000000000,"level":"warning","from":"binance","text":"listen key: ..."}

What the engine tells (`Notify`) is an observer's business here: info stays info, warn is a warning,
page an error. Sockets, readiness, changes of the run's state and how trades go are written too, so
that the log alone tells a night (orders are in `decisions.jsonl`). Everything is redacted. A log
that cannot be written does not stop a run, nor does a standard error that nobody reads: it is said
once, and the lines are counted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final

import msgspec

from runner.base.clock import Clock
from runner.base.secret import redact
from runner.engine.commands import Command, Notify, RunState, Trace
from runner.engine.events import Event, Feed, Readiness, Ready, SocketState
from runner.engine.rule import RuleState


class Level(IntEnum):
    """How loud a line is."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40

    @property
    def shown(self) -> str:
        """The level as `--log` and the log spell it."""
        return self.name.lower()


LEVELS: Final = {level.shown: level for level in Level}
_OF_NOTIFY: Final = {"info": Level.INFO, "warn": Level.WARNING, "page": Level.ERROR}
_SELF: Final = "runner"
_COURSE: Final = frozenset(RuleState) - {RuleState.WARMING, RuleState.IDLE, RuleState.PENDING}
"""states that a rule comes to by a trade"""


class Line(msgspec.Struct, frozen=True, rename={"source": "from"}):
    """One line of `log.jsonl`; `source` is an exchange's name, `engine` or `runner`."""

    wall: int
    level: str
    source: str
    text: str


class RunLog:
    """Writes notices, and watches a host for what is worth one."""

    def __init__(self, path: Path, clock: Clock, threshold: Level, out: Callable[[str], None]):
        self.path = path
        self.dropped = 0
        """lines that could not be written"""
        self._clock = clock
        self._threshold = threshold
        self._out = out
        self._ready: dict[str, tuple[Readiness, str]] = {}
        """what was noted last of each exchange: each reading of an account tells it again"""
        self._fd: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(self, level: Level, source: str, text: str) -> None:
        """Write a notice; from the threshold up people see it at once."""
        plain = redact(text)
        self._write(Line(self._clock.wall(), level.shown, source, plain))
        if level >= self._threshold:
            place = "" if source == _SELF else f"{source}: "
            self._out(f"{level.shown}: {place}{plain}")

    def warn(self, text: str) -> None:
        """Write a warning of the program itself."""
        self.tell(Level.WARNING, _SELF, text)

    def error(self, text: str) -> None:
        """Write what ended the run otherwise than wanted."""
        self.tell(Level.ERROR, _SELF, text)

    def say(self, text: str) -> None:
        """Write down the course of the run; people see it unless they want errors only."""
        self._write(Line(self._clock.wall(), Level.INFO.shown, _SELF, redact(text)))
        if self._threshold <= Level.WARNING:
            self._out(redact(text))

    def close(self) -> None:
        """Close the file; later lines reach standard error only."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    # -- the observer

    def event(self, event: Event) -> None:
        """Note sockets that come and go, and exchanges that become ready or cease to be."""
        if isinstance(event, Feed) and event.state is not SocketState.RESYNC:
            why = f": {event.reason}" if event.reason else ""
            self.tell(Level.INFO, event.exchange, f"socket {event.socket} {event.state}{why}")
        elif isinstance(event, Ready) and self._ready.get(event.exchange) != (
            event.state,
            event.reason,
        ):
            self._ready[event.exchange] = (event.state, event.reason)
            why = f": {event.reason}" if event.reason else ""
            self.tell(Level.INFO, event.exchange, f"{event.state}{why}")

    def command(self, command: Command, t: int) -> None:
        """Note what the engine tells, in which state it is, and how trades go."""
        if isinstance(command, Notify):
            level = _OF_NOTIFY.get(command.level, Level.WARNING)
            self.tell(level, "engine", command.text)
        elif isinstance(command, RunState):
            text = f"the run is {command.state}" + (f": {command.text}" if command.text else "")
            self.tell(Level.INFO, "engine", text)
        elif isinstance(command, Trace) and _moves(command):
            move = f"{command.before} -> {command.after}, {command.cause}"
            self.tell(Level.INFO, "engine", f"{command.rule}: {move}")

    def _write(self, line: Line) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, msgspec.json.encode(line) + b"\n")
        except OSError as error:
            self.dropped += 1
            if self.dropped == 1:
                self._out(f"error: {self.path} cannot be written: {error.strerror}")


def _moves(trace: Trace) -> bool:
    return trace.after in _COURSE and trace.before != trace.after and not trace.refusal


def to_standard_error(text: str) -> None:
    """Print a line for people; a standard error that is gone stops nothing."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return
