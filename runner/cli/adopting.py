"""`--adopt` in both its forms, and what becomes of open trades that no rule goes on with.

`--adopt` alone takes over what the journal does not explain; `--adopt OLD=NEW` names the rule that
goes on with an open trade. The command line knows no option with a value that may be left out and a
file behind it, so the second form is written as an option of its own before it is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperCommand

from runner.base.errors import UsageError

if TYPE_CHECKING:
    from runner.app.fates import Fates

ADOPT_TRADE: Final = "--adopt-trade"
_PAIR: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)=([A-Za-z_][A-Za-z0-9_]*)")


class Start(TyperCommand):
    """`start`, whose `--adopt` may be followed by OLD=NEW."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments after `adoptions`."""
        return super().parse_args(ctx, adoptions(args))


def adoptions(args: Sequence[str]) -> list[str]:
    """Write `--adopt OLD=NEW` as an option of its own name; a file is no such pair."""
    found: list[str] = []
    for each in args:
        if found[-1:] == ["--adopt"] and _PAIR.fullmatch(each):
            found[-1:] = [ADOPT_TRADE, each]
        elif each.startswith("--adopt="):
            found += [ADOPT_TRADE, each.removeprefix("--adopt=")]
        else:
            found.append(each)
    return found


def read_fates(adopt: Sequence[str], close: bool, hold: bool) -> Fates:
    """Read the options of a start; UsageError when they contradict each other."""
    from runner.app.fates import Fates
    from runner.spec.rule_plan import Care

    if close and hold:
        raise UsageError("--close-orphans and --hold-orphans exclude each other")
    pairs = []
    for text in adopt:
        found = _PAIR.fullmatch(text)
        if found is None:
            raise UsageError(f"--adopt {text}: write OLD=NEW, two names of rules, or nothing")
        pairs.append((found[1], found[2]))
    for side in zip(*pairs, strict=True):
        if len(set(side)) < len(side):
            raise UsageError("--adopt: each rule is named once; one trade goes on as one rule's")
    return Fates(tuple(pairs), Care.CLOSE if close else Care.HOLD if hold else None)
