"""What is known of a rule's way to its trades: kept in the journal, and made into the answer.

A running strategy gathers a `RuleStory` when it is asked; its journal gets one a minute and one at
the end, so that a run that was killed can still be asked about.
"""

from __future__ import annotations

from typing import Final

import msgspec

from runner.engine.commands import Trace
from runner.engine.tally import Tallies

FORMAT: Final = "1.0"
KEY: Final = "why."
"""before the rule's name: the key under which its story is in the journal"""


class Reason(msgspec.Struct, frozen=True):
    """What stood in the way; `key` names it without its figures."""

    kind: str
    subject: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.kind} {self.subject}".rstrip()


class Decision(msgspec.Struct, frozen=True):
    """A trace, and when; `path`: (stage, us since the frame was read), where a clock ran."""

    t: int
    wall: int
    trace: Trace
    path: tuple[tuple[str, float], ...] = ()


class RuleStory(msgspec.Struct, kw_only=True):
    """One rule at time `t` (ns of the run) and `wall`."""

    rule: str
    state: str
    t: int
    wall: int
    now: list[Reason]
    part: str
    """the condition that is waited for"""
    reads: list[tuple[str, str, str]]
    """its conjuncts: source, verdict, figures"""
    tallies: Tallies
    reasons: dict[str, Reason]
    """the youngest figures of each reason, by key; what a quote's side lacks behind its name"""
    counts: dict[str, int]
    """entries, exits, no_fill, undone, rejected; of a quote `trips`, too"""
    decisions: list[Decision]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Whose story it is. `ended`: how the run ended; empty while it lives."""

    strategy: str
    run: str
    kind: str
    live: bool
    ended: str = ""
