"""Which windows hear of which streams, and the times of the day that expressions name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.lang import tree
from runner.lang.calendar import time_of_day
from runner.lang.functions import EDGES, State
from runner.lang.tree import Call, Expr
from runner.lang.windowing import WindowSpec

Feeds = dict[str, list[WindowSpec]]
"""per stream key the windows to tell, inner ones first"""
_VALUED = frozenset({tree.Space.THIS, tree.Space.RULE, tree.Space.POSITION, tree.Space.PNL})


def told_of_frames(specs: Sequence[WindowSpec], streams: Sequence[str]) -> Feeds:
    """Return the windows that every frame of a stream must be told to."""
    found = _by_stream(specs, streams, lambda s: s.state is State.EMA or s.state is State.HELD)
    for spec in specs:
        if spec.bars:
            found.setdefault(spec.stream, []).append(spec)
    return {key: sorted(told, key=specs.index) for key, told in found.items()}


def told_of_instants(specs: Sequence[WindowSpec], streams: Sequence[str]) -> Feeds:
    """Return the windows that are told before a decision: those of edges."""
    return _by_stream(specs, streams, lambda spec: spec.state in EDGES)


def arming(specs: Sequence[WindowSpec], streams: Sequence[str]) -> list[str]:
    """Return the streams whose frames may set a timer."""
    return list(_by_stream(specs, streams, lambda spec: spec.state is State.HELD))


def _by_stream(
    specs: Sequence[WindowSpec], streams: Sequence[str], wanted: Callable[[WindowSpec], bool]
) -> Feeds:
    found: Feeds = {}
    for spec in specs:
        if not spec.bars and wanted(spec):
            for key in _heard(spec, streams):
                found.setdefault(key, []).append(spec)
    return found


def _heard(spec: WindowSpec, streams: Sequence[str]) -> Sequence[str]:
    """Return the streams that can move a window's inputs.

    The engine's own values move with books that the expression does not name: with any.
    """
    named = tree.streams_of(*spec.args)
    cells = [cell for arg in spec.args for cell in tree.find(arg, tree.Cell)]
    if not spec.watcher or not any(cell.space in _VALUED for cell in cells):
        return named
    return sorted({*named, *(key for key in streams if key.endswith(".book"))})


def times_of(exprs: Sequence[Expr]) -> tuple[int, ...]:
    """Return the times of the day at which a condition may turn, in ns since midnight UTC."""
    found: set[int | None] = set()
    for expr in exprs:
        for call in tree.find(expr, Call):
            if call.function == "weekday":
                found.add(0)
            elif call.function == "between_utc":
                texts = [arg.value for arg in call.args if isinstance(arg, tree.String)]
                found |= {time_of_day(text) for text in texts}
    return tuple(sorted(time for time in found if time is not None))
