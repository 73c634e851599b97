"""`runner why`: asks the running strategy, or reads the journal of its last run."""

from __future__ import annotations

import json as json_
import sys
from pathlib import Path
from typing import Any

from runner.app.control import ask, control_path
from runner.app.why.answer import answer
from runner.app.why.past import read_stories
from runner.app.why.text import lines_of, text
from runner.base.errors import UsageError
from runner.cli.operate import Found, find
from runner.cli.spans import at_least, span
from runner.store.settled import settle_tail
from runner.store.state_dir import PAPER, StateDir


def why(
    rule: str | None,
    name: str | None,
    state: Path | None,
    *,
    since: str | None,
    last: int,
    json: bool,
) -> int:
    """Print why a rule did or did not trade; without a rule, one line for each."""
    since_ns = span(since, "--since")
    at_least(0, last, "--last")
    found = find(name, state, asleep=True)
    answers = _live(found, rule, since_ns, last) if found.alive else None
    if answers is None:
        answers = _past(found.place, rule, since_ns, last)
    if json:
        out = answers[0] if rule else {"format": "1.0", "rules": answers}
        sys.stdout.write(json_.dumps(out, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(text(answers[0]) if rule else lines_of(answers))
    return 0


def _live(found: Found, rule: str | None, since_ns: int | None, last: int) -> list[dict[str, Any]]:
    place = control_path(found.place)
    told = ask(place, "why", rule=rule or "", since_ns=since_ns, last=last)
    if not told.get("ok"):
        raise UsageError(str(told.get("error")))
    return list(told["rules"])


def _past(
    place: StateDir, rule: str | None, since_ns: int | None, last: int
) -> list[dict[str, Any]]:
    settle_tail(place)
    about, stories = read_stories(place.journal, place.name.removesuffix(PAPER))
    if rule is not None and rule not in stories:
        raise UsageError(f"no rule is named {rule!r}; there are {', '.join(stories)}")
    return [
        answer(story, about, since_ns=since_ns, last=last if rule else 0)
        for name, story in stories.items()
        if rule in (None, name)
    ]
