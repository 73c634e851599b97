"""What all parts of a generated function share: names, locals, what is certain to have run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from runner.lang import tree
from runner.lang.spans import Ranges
from runner.lang.tree import Call, Expr
from runner.lang.windowing import Params

Ref = tuple[str, str]
"""what a generated name stands for: stream, field (of a source), account, position, rule, pnl,
window or text, and its key"""


class Owner(Protocol):
    """What a function needs of the whole: values of params, names of objects and windows."""

    params: Params
    ranges: Ranges

    def name(self, ref: Ref) -> str:
        """Return the generated name of an object."""
        ...

    def window(self, call: Call, this: str) -> str:
        """Return the name of the window a call reads in the rule `this`."""
        ...


@dataclass(slots=True)
class Locals:
    """Which sub-expressions are certain to stand in a local, at this point of the function."""

    kept: dict[str, str] = field(default_factory=dict)
    made: int = 0

    def new(self) -> str:
        self.made += 1
        return f"v{self.made}"


class Writing(ABC):
    """One function being written."""

    def __init__(
        self, owner: Owner, this: str, entered: Sequence[str], exprs: Sequence[Expr]
    ) -> None:
        self.owner = owner
        self.this = this
        self.entered = entered
        self.locals = Locals()
        self.uses: Counter[str] = Counter()
        self.keys: dict[int, str] = {}
        for expr in exprs:
            self._count(expr)
            for call in tree.find(expr, Call):
                if call.window is not None:
                    owner.window(call, this)  # even where folding leaves nothing of it in the code

    def _count(self, expr: Expr) -> None:
        for node in tree.walk(expr):
            if not isinstance(node, tree.Named):
                self.uses[self.key(node)] += 1

    def key(self, expr: Expr) -> str:
        found = self.keys.get(id(expr))
        if found is None:
            found = self.keys[id(expr)] = tree.key(expr)
        return found

    @contextmanager
    def fork(self) -> Iterator[None]:
        """What is written inside may not run: locals made in it are not certain after it."""
        before = dict(self.locals.kept)
        yield
        self.locals.kept = before

    # -- what the parts need of each other ----------------------------------------------------

    @abstractmethod
    def num(self, expr: Expr, keep: bool = False) -> str:
        """Write a number; `keep` puts it in a local whatever the count."""

    @abstractmethod
    def text(self, expr: Expr) -> str:
        """Write a text, None when missing."""

    @abstractmethod
    def truth(self, expr: Expr, wanted: bool) -> str:
        """Write when a condition is definitely true, or (not `wanted`) definitely false."""

    @abstractmethod
    def compare(self, expr: tree.Compare, wanted: bool) -> str:
        """Write a chain of comparisons."""

    @abstractmethod
    def equal(self, left: Expr, right: Expr, wanted: bool) -> str:
        """Write whether two values of one type are definitely equal, or definitely not."""

    @abstractmethod
    def call(self, expr: Call) -> str:
        """Write a call that gives a number."""

    @abstractmethod
    def instant(self, expr: Call, wanted: bool) -> str:
        """Write a condition of time."""

    @abstractmethod
    def field(self, expr: tree.Field) -> str:
        """Write a field of a stream, or of a source."""

    @abstractmethod
    def cell(self, expr: tree.Cell) -> str:
        """Write a value that the engine owns."""

    @abstractmethod
    def constant(self, expr: Expr) -> float | None:
        """Return the value of a number that cannot change, folded; None for the others."""

    def true(self, expr: Expr) -> str:
        """Write when a condition is definitely true."""
        return self.truth(expr, True)

    def false(self, expr: Expr) -> str:
        """Write when a condition is definitely false."""
        return self.truth(expr, False)

    def later(self, expr: Expr) -> str:
        """Write a number that may not run, so that nobody may count on its locals."""
        with self.fork():
            return self.num(expr)

    def plain(self, expr: Expr) -> str:
        """Write a number without locals, for a place whose locals nobody may use."""
        uses, self.uses = self.uses, Counter()
        code = self.num(expr)
        self.uses = uses
        return code
