"""The decision stream: what a run decided, as canonical lines that a replay must repeat.

One JSON line per order, cancel, rule transition, refusal and change of the run's state: keys
sorted, floats by repr, no latency stamps. Two runs over the same events give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.engine.commands import (
    Amend,
    Cancel,
    CancelAll,
    Command,
    Intent,
    Record,
    RunState,
    Send,
    Trace,
)
from runner.engine.events import Event

_SIGNALS = frozenset(("signal_refused", "signal_lost"))
_DEEDS = frozenset(("did", "reduced", "stop", "trip"))


class DecisionLog:
    """An observer that writes each decision with `write` (one line, without the line end)."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self.count = 0

    def end(self) -> None:
        """Write no more: a trace that is put into words after the run is none of its decisions."""
        self._write = lambda _: None

    def event(self, event: Event) -> None:
        """Decisions come from commands alone."""

    def command(self, command: Command, t: int) -> None:
        """Write the decisions in one command."""
        for decision in _decisions(command):
            self.count += 1
            self._write(canonical({**decision, "t": t}))


class DecisionFile:
    """`decisions.jsonl`: a full disk is told once and stops nothing; lines are lost then."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._path = path
        self._warn: Callable[[str], None] | None = warn

    def write(self, line: str) -> None:
        """Write one line, sooner or later."""
        try:
            self._file.write(line + "\n")
        except OSError as error:
            self._failed(error)

    def flush(self) -> None:
        """Write what waits now."""
        try:
            self._file.flush()
        except OSError as error:
            self._failed(error)

    def close(self) -> None:
        """Write what waits and close."""
        try:
            self._file.close()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        warn, self._warn = self._warn, None
        if warn is not None:
            warn(f"{self._path} cannot be written: {error.strerror}")


def canonical(decision: dict[str, Any]) -> str:
    """Return the one way to write a decision."""
    return json.dumps(decision, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _decisions(command: Command) -> list[dict[str, Any]]:
    if isinstance(command, Send):
        return [_order(approved.intent) for approved in command.orders]
    if isinstance(command, Amend):
        return [_order(command.order.intent)]
    if isinstance(command, Cancel):
        return [{"d": "cancel", "cid": command.cid}]
    if isinstance(command, CancelAll):
        return [{"d": "cancel_all", "market": command.market}]
    if isinstance(command, RunState):
        return [{"d": "state", "state": command.state, "code": command.code}]
    if isinstance(command, Record) and command.kind in _SIGNALS:
        fields = command.fields
        return [{"d": command.kind, "source": fields["source"], "id": fields["id"]}]
    if isinstance(command, Record) and command.kind in _DEEDS:
        return [{**command.fields, "d": command.kind}]
    if isinstance(command, Trace):
        kind = "refusal" if command.refusal else "rule"
        return [
            {
                "d": kind,
                "rule": command.rule,
                "from": command.before,
                "to": command.after,
                "refusal": command.refusal,
            }
        ]
    return []


def _order(intent: Intent) -> dict[str, Any]:
    return {
        "d": "amend" if intent.revision else "order",
        "cid": intent.cid,
        "rule": intent.rule,
        "purpose": intent.purpose.value,
        "market": intent.market,
        "side": intent.side.value,
        "type": intent.type.value,
        "tif": intent.tif.value,
        "qty": intent.qty_text,
        "price": intent.price_text or intent.trigger_text,
        "reduce_only": intent.reduce_only,
    }
