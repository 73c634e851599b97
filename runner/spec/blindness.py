"""What `until` cannot see: windows that are empty after a restart, and a message not its own."""

from __future__ import annotations

from collections.abc import Iterator

from runner.base.units import format_duration
from runner.lang.functions import FUNCTIONS, State
from runner.lang.tree import Call, Compare, Entered, Expr, Field, In, children, find, unwrap, walk
from runner.lang.types import Sort
from runner.lang.warming import SHORTEST_NS
from runner.lang.windowing import WindowSpec, needs_every_event, reads_only_mids, window_spec
from runner.spec.context import Context
from runner.spec.market_plan import StreamKind
from runner.spec.markets import MarketDraft
from runner.spec.rule_draft import RuleDraft


def check(rule: RuleDraft, markets: dict[str, MarketDraft], ctx: Context) -> None:
    """Warn of an exit that may be blind, or may follow what does not concern it."""
    if rule.until is None or ctx.has_error(rule.path):
        return
    _blind(rule, rule.until, markets, ctx)
    if rule.when is not None:
        _forgets(rule, rule.when, rule.until, ctx)


# --- W0414 ---------------------------------------------------------------------------------------


def _blind(rule: RuleDraft, until: Expr, markets: dict[str, MarketDraft], ctx: Context) -> None:
    """A window over 5 min that nothing warms, in a rule that nothing else closes (W0414)."""
    if rule.max_hold_ns is not None or (rule.verb_node is not None and "stop" in rule.verb_node):
        return
    for call in _live(until):
        if call.window is None or FUNCTIONS[call.function].state is State.HELD:
            continue
        spec = window_spec(call, ctx.values, rule.name)
        length = _length(spec, markets)
        if length <= SHORTEST_NS or _warmed(spec, markets):
            continue
        ctx.add(
            "W0414",
            f"rule `{rule.name}` may be blind to its exit after a restart",
            call.mark,
            f"needs {format_duration(length)} to know again",
            f"{rule.path}.until",
            notes=("nothing warms this window, and neither `max_hold` nor a `stop` closes it",),
            help=(_remedy(spec),),
        )
        return


def _live(expr: Expr) -> Iterator[Call]:
    """Yield the calls whose value now counts; what `entered` froze does not."""
    if isinstance(expr, Entered):
        return
    if isinstance(expr, Call):
        yield expr
    for child in children(expr):
        yield from _live(child)


def _length(spec: WindowSpec, markets: dict[str, MarketDraft]) -> int:
    if not spec.bars:
        return spec.ns
    stream = markets[spec.stream.split(".")[0]].streams.get(StreamKind.BARS)
    return spec.bars * ((stream.every_ns or 0) if stream is not None else 0)


def _warmed(spec: WindowSpec, markets: dict[str, MarketDraft]) -> bool:
    """Return whether a start fills the window: from closes, or by the `warmup` of its streams."""
    if reads_only_mids(spec):
        return True
    if needs_every_event(spec):
        return False
    fields = [node for arg in spec.args for node in find(arg, Field)]
    return bool(fields) and all(_reaches(node, spec, markets) for node in fields)


def _reaches(node: Field, spec: WindowSpec, markets: dict[str, MarketDraft]) -> bool:
    if node.market not in markets:
        return False  # of a source
    if node.kind == StreamKind.BOOK:
        return node.field == "mid"
    stream = markets[node.market].streams.get(StreamKind(node.kind))
    if stream is None:
        return False
    if node.kind == StreamKind.BARS:
        wanted = spec.bars or spec.ns // (stream.every_ns or 1)
        return stream.warmup > wanted if spec.state in _ONE_MORE else stream.warmup >= wanted
    return node.kind == StreamKind.FUNDING and stream.warmup_ns >= spec.ns


_ONE_MORE = frozenset({State.RSI, State.PAST, State.RETURNS})
"""n changes lie between n + 1 values"""


def _remedy(spec: WindowSpec) -> str:
    if spec.bars:
        return f"`warmup: {spec.bars + 1}bars` on its bars, or a `max_hold`"
    return "a `max_hold`; windows over `mid`, and over streams with `warmup`, are filled at start"


# --- W0416 ---------------------------------------------------------------------------------------


def _forgets(rule: RuleDraft, when: Expr, until: Expr, ctx: Context) -> None:
    """A message's text that `when` tests and `until`, reading the same source, does not (W0416)."""
    tested, seen = _tests(when), _tests(until)
    sources = {node.key for node in find(until, Field) if node.kind == "source"}
    for (source, name), node in tested.items():
        if source not in sources or (source, name) in seen:
            continue
        ctx.add(
            "W0416",
            f"`until` of rule `{rule.name}` does not look at `{source}.{name}`",
            until.mark,
            f"follows any message of `{source}`",
            f"{rule.path}.until",
            notes=(f"`when` enters on `{node.source}` only",),
            help=(f"test `{source}.{name}` here too: a close of something else is not ours",),
        )
        return


def _tests(expr: Expr) -> dict[tuple[str, str], Expr]:
    """Return the text fields of sources that a condition compares, with the comparison."""
    found: dict[tuple[str, str], Expr] = {}
    for node in walk(expr):
        if isinstance(node, Compare | In):
            for child in map(unwrap, children(node)):
                if isinstance(child, Field) and child.type.sort is Sort.TEXT:
                    found.setdefault((child.key, child.field), node)
    return found
