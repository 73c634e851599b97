"""What sources said around a moment, as the ticks of a test to paste.

A message that came within the window stands at its time; a state that was said before it and was
live at its begin stands at 0s, as old as it was. Calendars come by themselves in a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from runner.base.units import format_duration
from runner.engine.events import Signal, SignalValue
from runner.market.streams import StreamState
from runner.spec.source_plan import FieldKind, FieldPlan, SourcePlan, SourceType

if TYPE_CHECKING:
    from runner.engine.sources import Sources

_MS: Final = 1_000_000
_UNITS: Final = {FieldKind.RATIO: (1e4, "bps"), FieldKind.DURATION: (1.0, "s")}


def standing(sources: Sources, now: int) -> Iterator[str]:
    """Yield what states said last, where they still stand at `now`."""
    for name, stream in sources.streams.items():
        if not stream.event and stream.cells and stream.state is StreamState.LIVE:
            yield tick(sources.streams[name].plan, stream.said, 0, stream.age(now))


def heard(plan: SourcePlan, signal: Signal, t: int) -> str:
    """Return a message of `t` ns after the begin."""
    return tick(plan, signal.fields, t, signal.wall - signal.sent_at)


def told(plan: SourcePlan) -> bool:
    """Whether a test may say what this source says."""
    return plan.type is not SourceType.SCHEDULE and bool(plan.fields)


def tick(plan: SourcePlan, values: Mapping[str, SignalValue], t: int, age: int) -> str:
    """Write a tick of one message."""
    said = [
        f"{name}: {_value(each, values[name])}"
        for name, each in plan.fields.items()
        if not each.derived and values.get(name) is not None
    ]
    if age >= _MS and "old" not in plan.fields:
        said.append(f"old: {format_duration(age // _MS * _MS)}")
    return f"{{t: {format_duration(t // _MS * _MS)}, {plan.name}: {{{', '.join(said)}}}}}"


def _value(field: FieldPlan, value: SignalValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    assert value is not None
    scale, unit = _UNITS.get(field.kind, (1.0, ""))
    return f"{value * scale:.10g}{unit}"
