"""Writing one generated function: expressions to Python, numbers, texts and the two truths.

See `lang/codegen.py` for the theory. Everything here returns source made of fixed pieces and of
numbered names.
"""

from __future__ import annotations

from runner.lang.emit.calls import Calls
from runner.lang.emit.comparisons import Comparisons
from runner.lang.emit.conditions import Conditions
from runner.lang.emit.instants import Instants
from runner.lang.emit.texts import Texts
from runner.lang.emit.writing import Ref

__all__ = ["Body", "Ref"]


class Body(Calls, Conditions, Comparisons, Instants, Texts):
    """One function being written."""
