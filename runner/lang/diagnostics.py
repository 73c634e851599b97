"""A diagnostic: what is wrong with the user's file, where, why, and what to do.

Plain data; `lang/render.py` writes it as text or JSON. Codes are stable: E.... is an error, W....
a warning; each has a page in `lang/pages/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place on one line of the file: 1-based line and columns, `end` exclusive."""

    line: int
    column: int
    end: int


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that explains the first."""

    mark: Mark
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `path` is the dotted place in the file (`rules.b.until`).

    `cause` joins diagnostics that have one cause: only the first is shown, with a count.
    `masked` lists places whose text must not be shown (secrets). `severe`: a warning's code that
    is an error here.
    """

    code: str
    message: str
    mark: Mark
    label: str = ""
    path: str = ""
    related: tuple[Related, ...] = ()
    notes: tuple[str, ...] = ()
    help: tuple[str, ...] = ()
    cause: str = ""
    masked: tuple[Mark, ...] = ()
    more_places: int = 0
    severe: bool = False

    @property
    def is_error(self) -> bool:
        """Whether it stops a run."""
        return self.severe or self.code.startswith("E")


@dataclass(slots=True)
class Findings:
    """The diagnostics of one file, in the order of the file when read out."""

    items: list[Diagnostic] = field(default_factory=list)

    def add(self, finding: Diagnostic) -> None:
        self.items.append(finding)

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(sorted(self.items, key=lambda d: (d.mark.line, d.mark.column, d.code)))

    @property
    def errors(self) -> int:
        return sum(1 for d in self.items if d.is_error)

    @property
    def warnings(self) -> int:
        return len(self.items) - self.errors


@dataclass(frozen=True, slots=True)
class Text:
    """The source text of an expression and where it stands.

    `exact` says that `text` and the file agree character by character on one line, so that a
    caret can point inside; otherwise (quoted with escapes, folded) it covers the whole scalar.
    """

    text: str
    mark: Mark
    exact: bool = True

    def at(self, start: int, end: int) -> Mark:
        """Return the place of characters `start..end` of the text."""
        if not self.exact:
            return self.mark
        column = self.mark.column + start
        return Mark(self.mark.line, column, max(self.mark.column + end, column + 1))
