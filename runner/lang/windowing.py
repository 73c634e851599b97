"""From a call such as `ema(x, 30m)` to the window that remembers for it.

Calls that need the same state over the same expressions share one window: `zscore(x, 2h)`,
`stdev(x, 2h)` and `sma(x, 2h)` read one ring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.lang import tree, types
from runner.lang.functions import FUNCTIONS, State
from runner.lang.tree import Call, Expr
from runner.market.windows import (
    AnyWindow,
    Ema,
    ExtremeWindow,
    MomentWindow,
    PairWindow,
    PastWindow,
    ReturnWindow,
)

Params = Mapping[str, float | str | bool]


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A window to be made: its state, inputs, and span in ns or in bars of `stream`.

    `id` names it in saved states: it holds the values of all params that are part of it.
    """

    id: str
    state: State
    args: tuple[Expr, ...]
    ns: int
    bars: int
    stream: str
    source: str

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


def window_spec(call: Call, params: Params) -> WindowSpec:
    """Return the window a call reads, with params put in; raises ValueError for none."""
    state = FUNCTIONS[call.function].state
    window = call.window
    if state is None or window is None:
        raise ValueError(f"{call.function} has no window")
    ns, bars = window.ns, window.bars
    if window.param:
        value = float(params[window.param])
        ns, bars = (0, int(value)) if window.stream else (round(value * 1e9), 0)
    inputs = ", ".join(map(tree.key, call.args))
    span = f"{bars}bars of {window.stream}" if bars else f"{ns}ns"
    bound = "".join(f"; {name}={params[name]!r}" for name in sorted(tree.params_of(*call.args)))
    name = f"{state}({inputs}, {span}{bound})"
    return WindowSpec(name, state, call.args, ns, bars, window.stream, call.source)


def reads_only_mids(spec: WindowSpec) -> bool:
    """Return whether its inputs are made of books' mids alone, so that closes can stand in."""
    if spec.bars:
        return False
    nodes = [node for arg in spec.args for node in tree.walk(arg)]
    fields = [node for node in nodes if isinstance(node, tree.Field)]
    if not fields or any(f.kind != "book" or f.field != "mid" for f in fields):
        return False
    if any(isinstance(node, tree.StreamArg | tree.Cell | tree.Entered) for node in nodes):
        return False
    return not any(isinstance(n, Call) and n.window and n.window.stream for n in nodes)


def is_bool(expr: Expr) -> bool:
    """Return whether an expression is true or false rather than a number or a text."""
    return expr.type.sort is types.Sort.BOOL
