"""From a call such as `ema(x, 30m)` to the window that remembers for it.

Calls that need the same state over the same expressions share one window: `zscore(x, 2h)`,
`stdev(x, 2h)` and `sma(x, 2h)` read one ring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.lang import tree, types
from runner.lang.functions import FUNCTIONS, WATCHERS, State
from runner.lang.tree import Call, Expr
from runner.market.edges import Change, Crossing, Held
from runner.market.tallies import CountWindow, MedianWindow, RsiWindow
from runner.market.windows import (
    AnyWindow as SimpleWindow,
)
from runner.market.windows import (
    Ema,
    ExtremeWindow,
    MomentWindow,
    PairWindow,
    PastWindow,
    ReturnWindow,
)

Params = Mapping[str, float | str | bool]
AnyWindow = SimpleWindow | MedianWindow | CountWindow | RsiWindow | Held | Crossing | Change


FED = frozenset({State.EMA}) | WATCHERS
"""states that are told of updates instead of ending slots"""
_OF_THE_DAY = ("between_utc", "weekday")


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A window to be made: its state, inputs, and span in ns or in bars of `stream`.

    `id` names it in saved states: it holds the values of all params that are part of it. `this` is
    the rule whose trade it reads, empty for none.
    """

    id: str
    state: State
    args: tuple[Expr, ...]
    ns: int
    bars: int
    stream: str
    source: str
    this: str = ""

    @property
    def slotted(self) -> bool:
        """Whether its slots end by time."""
        return not self.bars and self.state not in FED

    @property
    def watcher(self) -> bool:
        """Whether it must hear of all that changes."""
        return self.state in WATCHERS

    def make(self) -> AnyWindow:
        """Return a new, empty window."""
        match self.state:
            case State.MOMENTS:
                return MomentWindow(self.id, self.ns, self.bars)
            case State.LOW | State.HIGH:
                return ExtremeWindow(self.id, self.ns, self.bars, self.state is State.HIGH)
            case State.PAST:
                return PastWindow(self.id, self.ns, self.bars)
            case State.RETURNS:
                return ReturnWindow(self.id, self.ns, self.bars)
            case State.PAIR:
                return PairWindow(self.id, self.ns, self.bars)
            case State.EMA:
                return Ema(self.id, self.ns, self.bars)
            case State.MEDIAN:
                return MedianWindow(self.id, self.ns, self.bars)
            case State.COUNT:
                return CountWindow(self.id, self.ns, self.bars)
            case State.RSI:
                return RsiWindow(self.id, self.ns, self.bars)
            case State.HELD:
                return Held(self.id, self.ns)
            case State.CROSSING:
                return Crossing(self.id)
            case State.CHANGE:
                return Change(self.id)


def window_spec(call: Call, params: Params, this: str = "") -> WindowSpec:
    """Return the window a call reads in the rule `this`, with params put in.

    Raises ValueError for a call without one.
    """
    function = FUNCTIONS[call.function]
    state, window = function.state, call.window
    if state is None or window is None:
        raise ValueError(f"{call.function} has no window")
    ns, bars = window.ns, window.bars
    if window.param:
        value = float(params[window.param])
        ns, bars = (0, int(value)) if window.stream else (round(value * 1e9), 0)
    kept = range(len(call.args)) if function.inputs is None else function.inputs
    args = tuple(call.args[i] for i in kept)
    inputs = ", ".join(map(tree.key, args))
    span = f"{bars}bars of {window.stream}" if bars else f"{ns}ns"
    bound = "".join(f"; {name}={params[name]!r}" for name in sorted(tree.params_of(*args)))
    rule = this if _reads_this(args) else ""
    bound += f"; this={rule}" if rule else ""
    name = f"{state}({inputs}, {span}{bound})"
    return WindowSpec(name, state, args, ns, bars, window.stream, call.source, rule)


def _reads_this(args: tuple[Expr, ...]) -> bool:
    """Return whether the inputs are of one rule's own trade."""
    return any(
        isinstance(node, tree.Entered)
        or (isinstance(node, tree.Cell) and node.space is tree.Space.THIS)
        for arg in args
        for node in tree.walk(arg)
    )


def reads_only_mids(spec: WindowSpec) -> bool:
    """Return whether its inputs are made of books' mids alone, so that closes can stand in."""
    if spec.bars or needs_every_event(spec):
        return False
    nodes = [node for arg in spec.args for node in tree.walk(arg)]
    fields = [node for node in nodes if isinstance(node, tree.Field)]
    if not fields or any(f.kind != "book" or f.field != "mid" for f in fields):
        return False
    return not any(isinstance(n, Call) and n.window and n.window.stream for n in nodes)


def needs_every_event(spec: WindowSpec) -> bool:
    """Return whether it remembers what no history tells: our own state, times, single updates."""
    for node in (node for arg in spec.args for node in tree.walk(arg)):
        if isinstance(node, tree.StreamArg | tree.Cell | tree.Entered):
            return True
        if isinstance(node, Call) and node.function in _OF_THE_DAY:
            return True
        if isinstance(node, Call) and FUNCTIONS[node.function].state in WATCHERS:
            return True
    return False


def is_bool(expr: Expr) -> bool:
    """Return whether an expression is true or false rather than a number or a text."""
    return expr.type.sort is types.Sort.BOOL
