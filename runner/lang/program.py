"""A strategy's expressions, compiled and bound to streams, cells and windows.

`compile_program` gives the engine the functions of `lang/api.py`. Windows over time close their
slots in `on_timer`, whose next instant is `due`; `ema` and windows of bars take their input in
`on_stream[key](now)`, to be called after every change of that stream: an update, and also going
stale, down or live again, for then its values appear or vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
from typing import Any

from runner.lang import tree, treewalk
from runner.lang.api import Lack
from runner.lang.calendar import WallClock, until_next
from runner.lang.cells import AccountCell, ClockCell, PnlCell, PositionCell, RuleCell
from runner.lang.display import show
from runner.lang.explain import Told, explainers
from runner.lang.layout import Condition, Layout
from runner.lang.probes import Probe, Sources, probes, reads
from runner.lang.request import ProgramRequest, conditions, entering
from runner.lang.tree import Expr
from runner.lang.treewalk import Env
from runner.lang.warming import Past, history_ns, warm_up
from runner.lang.windowing import AnyWindow, is_bool, window_spec
from runner.market.edges import Held
from runner.market.windows import NEVER, next_due

SECOND = 1_000_000_000


def compile_program(
    request: ProgramRequest,
    streams: Mapping[str, Any],
    accounts: Mapping[str, AccountCell],
    positions: Mapping[str, PositionCell],
    rules: Mapping[str, RuleCell],
    pnl: PnlCell,
    clock: WallClock | None = None,
) -> Program:
    """Compile a strategy and bind it to its streams and cells; `streams` by key (`bin.book`).

    `clock` tells the wall time of the event at hand; without one it is missing.
    """
    cells: dict[tuple[str, str], Any] = {("pnl", ""): pnl, ("clock", ""): clock or ClockCell()}
    cells |= {("account", name): cell for name, cell in accounts.items()}
    cells |= {("position", name): cell for name, cell in positions.items()}
    cells |= {("rule", name): cell for name, cell in rules.items()}
    return Program(request, streams, cells)


class Program:
    """Implements `lang.api.ProgramApi`."""

    def __init__(
        self,
        request: ProgramRequest,
        streams: Mapping[str, Any],
        cells: Mapping[tuple[str, str], Any],
    ) -> None:
        self._request = request
        self._streams = streams
        self._cells = cells
        layout = Layout(request, tuple(streams))
        self._layout = layout
        self._windows: dict[str, AnyWindow] = {s.id: s.make() for s in layout.specs}
        objects = _objects(streams, cells, self._windows)
        self._sources = Sources(request.params, streams, self._windows, objects)
        self._probes: dict[tuple[str, str], tuple[Probe, ...]] = {}
        self._reads: dict[tuple[str, str], Callable[[int], list[Lack]]] = {}
        self._functions = layout.code.bind(objects)
        self._explain = explainers(conditions(request), request.params, objects)
        found = self._functions
        self.rules = {name: layout.rule(name, found) for name in request.rules}
        self.conditions = {
            name: Condition(found[f"condition_{i}_true"], found[f"condition_{i}_false"])
            for i, name in enumerate(request.conditions)
        }
        self.on_stream: dict[str, Callable[[int], None]] = {
            key: found[name] for key, name in layout.feeds.items()
        }
        self.on_edge: dict[str, Callable[[int], None]] = {
            key: found[name] for key, name in layout.edges.items()
        }
        self._slotted = [self._windows[s.id] for s in layout.specs if s.slotted]
        self._close = found["slots"]
        self._look = found["look"]
        self._holds = [w for w in self._windows.values() if isinstance(w, Held)]
        for key in layout.arming:
            self.on_stream[key] = self._arming(self.on_stream[key])
        self._turn = 0 if layout.times else NEVER
        """when the wall time next reaches one of the times that expressions name"""
        self.due = self._next_due()
        self.history_ns = history_ns(layout.specs, request.params)
        self._of_rule = {name: layout.windows_of_rule(name) for name in request.rules}

    def on_timer(self, now: int) -> bool:
        """Close all window slots whose end has come; the first call begins them.

        Returns whether a condition may have turned by time alone.
        """
        self._close(now)
        self._look(now)
        if self._layout.times:
            wall = self._cells["clock", ""].wall
            self._turn = now + (until_next(wall, self._layout.times) if wall > 0 else SECOND)
        self.due = self._next_due()
        return self._layout.watches

    def look(self, now: int) -> None:
        """Tell `held` and the edges that something changed which no stream tells."""
        self._look(now)
        self._arm()

    def _arming(self, feed: Callable[[int], None]) -> Callable[[int], None]:
        """Feed, then bring `due` forward to the instant at which a condition will have held."""

        def fed(now: int) -> None:
            feed(now)
            self._arm()

        return fed

    def _arm(self) -> None:
        due = next_due(self._holds)
        if due < self.due:
            self.due = due

    def _next_due(self) -> int:
        return min(next_due(self._slotted), next_due(self._holds), self._turn)

    def warm(self, rule: str) -> bool:
        """Whether every window the rule reads is full."""
        return all(self._windows[spec.id].full for spec in self._of_rule[rule])

    def missing(self, rule: str, now: int) -> list[str]:
        """Name what keeps `when` from being known: `byb.book stale 412ms`, `basis warming 40%`."""
        return [lack.text for lack in self._lacks(rule, "when")(now)]

    def lacks(self, rule: str, now: int) -> list[Lack]:
        """Name what is not there of all that an entry needs: `when`, size, weights, prices."""
        return self._lacks(rule, "")(now)

    def probes(self, rule: str, part: str) -> Sequence[Probe]:
        """Return the conjuncts of `when` or `until`; compiled when first asked for."""
        found = self._probes.get((rule, part))
        if found is None:
            exprs = self._request.rules[rule]
            condition = exprs.when if part == "when" else exprs.until
            found = ()
            if condition is not None:
                entered = exprs.entered if part == "until" else ()
                env = partial(self._env, rule=rule)
                found = probes(condition, rule, entered, self._sources, env)
            self._probes[rule, part] = found
        return found

    def _lacks(self, rule: str, part: str) -> Callable[[int], list[Lack]]:
        found = self._reads.get((rule, part))
        if found is None:
            exprs = self._request.rules[rule]
            wanted = [exprs.when] if part == "when" else entering(exprs)
            found = reads(wanted, self._sources, partial(self._env, rule=rule))
            self._reads[rule, part] = found
        return found

    def explain(self, rule: str, part: str, now: int) -> list[tuple[str, str]]:
        """Return (source text, value) of each sub-expression of `when` or `until`."""
        return self.worth(rule, part, now)()

    def worth(self, rule: str, part: str, now: int) -> Told:
        """Read the same values now; they are put into words by the call of what it returns."""
        rows = self._explain.get((rule, part))
        return list if rows is None else rows(now)

    def words(self, parts: Sequence[str | Expr], rule: str, now: int) -> str:
        """Put the values of a rule's text between its words; what is not known is `missing`."""
        env = self._env(now, rule)
        return "".join(
            part if isinstance(part, str) else show(treewalk.evaluate(part, env), part.type)
            for part in parts
        )

    def signal(self, name: str, now: int) -> float | str | bool | None:
        """Return a signal's value; None when missing. Raises KeyError for no such signal."""
        expr = self._request.signals[name]
        if is_bool(expr):
            if self._functions[f"signal_{self._layout.number[name]}_true"](now):
                return True
            known = self._functions[f"signal_{self._layout.number[name]}_false"](now)
            return False if known else None
        value = self._functions[f"signal_{self._layout.number[name]}"](now)
        if isinstance(value, float):
            return value if isfinite(value) else None
        assert value is None or isinstance(value, str)
        return value

    def state(self, now: int) -> dict[str, Any]:
        """Return the windows' state as plain JSON values; ages in it are relative to `now`."""
        found = {}
        for spec in self._layout.specs:
            state = self._windows[spec.id].state(now)
            if state is not None:
                found[spec.id] = state
        return found

    def restore(self, state: Mapping[str, Any], now: int, gap_ns: int) -> list[str]:
        """Take back a state saved `gap_ns` ago, window by window; return those restored.

        A window is taken back when the gap is within the 10 % it may miss; a damaged entry is
        left out, its window starts empty.
        """
        restored = []
        for spec in self._layout.specs:
            saved = state.get(spec.id)
            fresh = spec.make()
            if not isinstance(saved, Mapping) or not fresh.restore(saved, now, gap_ns):
                continue
            self._windows[spec.id].become(fresh)
            restored.append(spec.id)
        self.due = self._next_due()
        return restored

    def warm_up(self, past: Past, now: int) -> list[str]:
        """Fill windows that are not full from what was before; return the windows filled.

        Windows under 5 min fill by themselves soon enough and are left alone.
        """
        filled = warm_up(self._layout.specs, self._layout.params, self._windows, past, now)
        for spec in self._layout.specs:
            if spec.bars and spec.id in filled:
                self._windows[spec.id].counted = self._streams[spec.stream].closed
        self.due = self._next_due()
        return filled

    def _env(self, now: int, rule: str) -> Env:
        keys = tuple(tree.key(expr) for expr in self._request.rules[rule].entered)
        return Env(
            now,
            self._request.params,
            self._streams,
            self._cells,
            lambda call: self._windows[window_spec(call, self._request.params, rule).id],
            rule,
            keys,
        )


def _objects(
    streams: Mapping[str, Any],
    cells: Mapping[tuple[str, str], Any],
    windows: Mapping[str, AnyWindow],
) -> dict[tuple[str, str], Any]:
    """Return all objects that generated names can stand for."""
    found = dict(cells)
    found |= {("stream", key): stream for key, stream in streams.items()}
    for key, stream in streams.items():
        cells_of = getattr(stream, "cells", {})  # those of a source are of its fields
        found |= {("field", f"{key}.{name}"): cell for name, cell in cells_of.items()}
    found |= {("window", key): window for key, window in windows.items()}
    return found
