"""What a new engine takes over of earlier runs: the youngest journal rows, and what was decided on
those that no rule of the file goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from runner.engine.commands import Intent
from runner.engine.events import Fill
from runner.spec.rule_plan import GuardKind

GUARDS: Final[Mapping[GuardKind, str]] = {GuardKind.STOP: "guard", GuardKind.TARGET: "target"}
"""under which key a trade's row keeps what rests at the exchange for it"""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """An open trade of rule `of` without a rule in the file, which goes on as `rule`.

    `how`: `adopt` (a rule of the file goes on with it), else what a caretaker does (`Care`).
    """

    rule: str
    of: str
    how: str


class Saved(msgspec.Struct, kw_only=True):
    """What a new engine takes over: the youngest `rule` rows by name, the youngest `run` row.

    `fills` are the keys (`orderflow.fill_key`) of all fills that earlier runs applied; `late` are
    fills they journaled when the rows were written already: they are booked at the restore. `keys`
    are the once-keys ever claimed, `sources` the youngest `source_row` rows by name, `heard` the
    `heard` rows of the last week: (source, id, wall ns).
    """

    rules: dict[str, str] = {}
    run: str = ""
    fills: frozenset[str] = frozenset()
    late: tuple[Fill, ...] = ()
    keys: frozenset[str] = frozenset()
    sources: dict[str, str] = {}
    heard: tuple[tuple[str, str, int], ...] = ()
    ended: tuple[tuple[Intent, int], ...] = ()
    """orders of the last while that had ended, each with the lots that its journaled fills say"""
    settled: tuple[Settled, ...] = ()
    """what became of open trades without a rule; `rules` has their rows as they go on"""
