"""A strategy file checked and turned into a plan: shape, references, meaning, exchange facts."""

from __future__ import annotations

from runner.spec.load import Checked, load

__all__ = ["Checked", "load"]
