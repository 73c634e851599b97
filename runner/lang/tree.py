"""The checked expression tree (see `lang/check.py`)."""

from __future__ import annotations

from typing import Any

Expr = Any  # replaced by the node classes
