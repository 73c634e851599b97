"""The checked expression tree: immutable, typed, every node with its own place in the file.

`lang/check.py` builds it, the generator, the reference evaluator and the intervals read it.
Numbers are floats in base units: ratios as they are (15 bps is 0.0015), durations in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from runner.lang.diagnostics import Mark, Text
from runner.lang.ranges import Interval
from runner.lang.types import Type


@dataclass(frozen=True, slots=True)
class Node:
    """What all nodes have: a type and the characters `start..end` of a text of the file.

    `size` counts the nodes below with signals written out, `depth` the levels; both are bounded
    by the checker, so that no walk over a tree needs a bound of its own.
    """

    type: Type
    text: Text
    start: int
    end: int
    size: int
    depth: int

    @property
    def source(self) -> str:
        """The node as the user wrote it."""
        return self.text.text[self.start : self.end]

    @property
    def mark(self) -> Mark:
        """The node's place in the file."""
        return self.text.at(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A literal in base units; `unit` as written, empty for a bare number."""

    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class String(Node):
    """A text literal."""

    value: str


@dataclass(frozen=True, slots=True)
class Bool(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class SideArg(Node):
    """`buy` or `sell` as an argument of a function."""

    buy: bool


@dataclass(frozen=True, slots=True)
class StreamArg(Node):
    """A stream as an argument of a function: `bin.book`."""

    key: str
    market: str
    kind: str


@dataclass(frozen=True, slots=True)
class Field(Node):
    """A field of a stream: `bin.book.bid`; of a source (kind `source`): `voc.action`.

    `range` is what a source declares; the fields of markets have theirs in the table.
    """

    key: str
    market: str
    kind: str
    field: str
    range: Interval | None = None


@dataclass(frozen=True, slots=True)
class Param(Node):
    """`params.x`; its value is bound when the program is compiled."""

    name: str


class Space(StrEnum):
    """Where a cell lives."""

    ACCOUNT = "account"
    POSITION = "position"
    RULE = "rule"
    THIS = "this"
    PNL = "pnl"


@dataclass(frozen=True, slots=True)
class Cell(Node):
    """A value the engine owns: `position.bin.qty`, `this.cost`; `owner` is empty for this, pnl."""

    space: Space
    owner: str
    field: str


@dataclass(frozen=True, slots=True)
class Named(Node):
    """A signal or a sizing by its name, with its tree."""

    name: str
    expr: Expr
    sizing: bool = False


@dataclass(frozen=True, slots=True)
class Entered(Node):
    """`entered(x)`: x as it was when the trade was approved."""

    expr: Expr


@dataclass(frozen=True, slots=True)
class Broken(Node):
    """A name whose own mistake was reported already; its type is unknown unless declared."""

    name: str


@dataclass(frozen=True, slots=True)
class Negate(Node):
    operand: Expr


@dataclass(frozen=True, slots=True)
class Not(Node):
    operand: Expr


@dataclass(frozen=True, slots=True)
class And(Node):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Or(Node):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """`op` is one of + - * /."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """A chain as in Python: `operands[i] ops[i] operands[i + 1]` for all i."""

    ops: tuple[str, ...]
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class In(Node):
    operand: Expr
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class IfElse(Node):
    value: Expr
    condition: Expr
    other: Expr


@dataclass(frozen=True, slots=True)
class Window:
    """A window: a constant in `ns`, a count of `bars`, or the duration or count of a `param`.

    `stream` is the key of the bars stream that a count of bars counts.
    """

    ns: int = 0
    bars: int = 0
    param: str = ""
    stream: str = ""


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A call of a function of `lang/functions.py`; `args` are without the window."""

    function: str
    args: tuple[Expr, ...]
    window: Window | None = None


Expr = (
    Number | String | Bool | SideArg | StreamArg | Field | Param | Cell | Named | Entered | Broken
    | Negate | Not | And | Or | Arithmetic | Compare | In | IfElse | Call
)  # fmt: skip

N = TypeVar("N", bound=Node)


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the direct sub-expressions in the order of the text; a signal's tree is its child."""
    match expr:
        case Named() | Entered():
            return (expr.expr,)
        case Negate() | Not():
            return (expr.operand,)
        case And() | Or():
            return expr.items
        case Arithmetic():
            return (expr.left, expr.right)
        case Compare():
            return expr.operands
        case In():
            return (expr.operand, *expr.items)
        case IfElse():
            return (expr.value, expr.condition, expr.other)
        case Call():
            return expr.args
        case _:
            return ()


_SEES_MISSING = ("default", "known")


def walk(expr: Expr) -> Iterator[Expr]:
    """Yield the expression and all below it, signals written out."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def find(expr: Expr, kind: type[N]) -> Iterator[N]:
    """Yield all nodes of one class."""
    for node in walk(expr):
        if isinstance(node, kind):
            yield node


def needed(expr: Expr) -> Iterator[Expr]:
    """Yield what must be known for it to be known: not what `default` and `known` look at."""
    yield expr
    below = children(expr)
    if isinstance(expr, Call) and expr.function in _SEES_MISSING:
        below = expr.args[1:]
    for child in below:
        yield from needed(child)


def streams_of(*exprs: Expr | None) -> tuple[str, ...]:
    """Return the keys of all streams that the expressions read, signals included, sorted."""
    keys = set()
    for expr in exprs:
        for node in walk(expr) if expr is not None else ():
            if isinstance(node, Field | StreamArg):
                keys.add(node.key)
            elif isinstance(node, Call) and node.window is not None and node.window.stream:
                keys.add(node.window.stream)
    return tuple(sorted(keys))


def params_of(*exprs: Expr | None) -> frozenset[str]:
    """Return the names of all params used, as windows too."""
    names = set()
    for expr in exprs:
        for node in walk(expr) if expr is not None else ():
            if isinstance(node, Param):
                names.add(node.name)
            elif isinstance(node, Call) and node.window is not None and node.window.param:
                names.add(node.window.param)
    return frozenset(names)


def entered_of(expr: Expr | None) -> tuple[Expr, ...]:
    """Return the arguments of all `entered(x)`, each once, in the order of the text."""
    if expr is None:
        return ()
    return tuple({key(node.expr): node.expr for node in find(expr, Entered)}.values())


def is_broken(expr: Expr | None) -> bool:
    """Return whether a mistake reported elsewhere is part of the expression."""
    return expr is None or any(isinstance(node, Broken) for node in walk(expr))


def unwrap(expr: Expr) -> Expr:
    """Return what a signal's name stands for."""
    while isinstance(expr, Named):
        expr = expr.expr
    return expr


def key(expr: Expr) -> str:
    """Write the expression in one canonical way: equal keys mean equal values at any time."""
    match expr:
        case Number():
            return repr(expr.value)
        case String():
            return repr(expr.value)
        case Bool():
            return str(expr.value).lower()
        case SideArg():
            return "buy" if expr.buy else "sell"
        case StreamArg():
            return expr.key
        case Field():
            return f"{expr.key}.{expr.field}"
        case Param():
            return f"params.{expr.name}"
        case Cell():
            owner = f".{expr.owner}" if expr.owner else ""
            return f"{expr.space}{owner}.{expr.field}"
        case Named():
            return key(expr.expr)
        case Entered():
            return f"entered({key(expr.expr)})"
        case Broken():
            return f"?{expr.name}"
        case _:
            return _compound_key(expr)


def _compound_key(expr: Expr) -> str:
    match expr:
        case Negate():
            return f"-({key(expr.operand)})"
        case Not():
            return f"not ({key(expr.operand)})"
        case And():
            return "(" + " and ".join(map(key, expr.items)) + ")"
        case Or():
            return "(" + " or ".join(map(key, expr.items)) + ")"
        case Arithmetic():
            return f"({key(expr.left)} {expr.op} {key(expr.right)})"
        case Compare():
            rest = zip(expr.ops, expr.operands[1:], strict=True)
            return "(" + key(expr.operands[0]) + "".join(f" {o} {key(e)}" for o, e in rest) + ")"
        case In():
            return f"({key(expr.operand)} in [{', '.join(map(key, expr.items))}])"
        case IfElse():
            return f"({key(expr.value)} if {key(expr.condition)} else {key(expr.other)})"
        case Call():
            args = [*map(key, expr.args), *window_key(expr.window)]
            return f"{expr.function}({', '.join(args)})"
        case _:
            raise TypeError(f"no key for {type(expr).__name__}")


def window_key(window: Window | None) -> list[str]:
    """Write a window: nothing, `1800s`, `14bars` or `params.window`."""
    if window is None:
        return []
    on = f"@{window.stream}" if window.stream else ""
    if window.param:
        return [f"params.{window.param}{on}"]
    if not window.bars and not window.ns:
        return []  # an edge
    return [f"{window.bars}bars{on}" if window.bars else f"{window.ns}ns"]
