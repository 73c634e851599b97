"""The checker: the text of an expression and what names exist in, a typed tree out."""

from __future__ import annotations

from dataclasses import dataclass

from runner.lang import types
from runner.lang.diagnostics import Findings, Text
from runner.lang.scope import Scope
from runner.lang.tree import Expr
from runner.lang.types import Type


@dataclass(frozen=True, slots=True)
class Want:
    """What a place of the file takes: one of `types` (none = any value), called `what`."""

    types: tuple[Type, ...]
    what: str = "a value"


ANY = Want((), "a value")
CONDITION = Want((types.BOOL,), "a condition")
NUMBER = Want((types.NUMBER,), "a number")
RATIO = Want((types.RATIO,), "a ratio")
DURATION = Want((types.DURATION,), "a duration")
TEXT = Want((types.TEXT,), "a text")


def check(text: Text, scope: Scope, want: Want, findings: Findings, path: str) -> Expr | None:
    """Parse and check an expression; None after a diagnostic was added.

    A tree that only *uses* a broken signal comes back (see `tree.is_broken`) without a second
    diagnostic.
    """
    raise NotImplementedError
