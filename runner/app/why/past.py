"""Reads the story of a rule from the journal of a run that is over, or was killed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from runner.app.why.shape import KEY, About, Decision, RuleStory
from runner.base.errors import WorldError
from runner.engine.commands import Trace
from runner.store.past import UNREADABLE, read_only, read_traces

_MOST = 1000
"""decisions read from the journal, the youngest"""


def read_stories(journal: Path, strategy: str) -> tuple[About, dict[str, RuleStory]]:
    """Return the last run of a journal and the story of each of its rules.

    WorldError when there is no journal, no run, or a run that left no story.
    """
    if not journal.exists():
        raise WorldError(f"{journal} is missing: {strategy} never ran there")
    db = read_only(journal)
    try:
        return _read(db, strategy)
    except UNREADABLE as error:
        raise WorldError(f"{journal} cannot be read: {error}") from error
    finally:
        db.close()


def _read(db: sqlite3.Connection, strategy: str) -> tuple[About, dict[str, RuleStory]]:
    row = db.execute(
        "SELECT run, mode, ended, reason FROM runs ORDER BY started DESC, rowid DESC LIMIT 1"
    ).fetchone()
    if row is None:
        raise WorldError(f"the journal of {strategy} knows no run")
    run, mode, ended, reason = row
    saved = db.execute(
        "SELECT key, value FROM state WHERE run = ? AND key LIKE ?", (run, KEY + "%")
    )
    stories = {
        str(key).removeprefix(KEY): msgspec.json.decode(value, type=RuleStory)
        for key, value in saved
    }
    if not stories:
        how = f"ended before it left anything to tell: {reason}" if reason else "left no story"
        raise WorldError(f"run {run} of {strategy} {how}")
    for t, wall, text in read_traces(db, run, _MOST):
        trace = msgspec.json.decode(text, type=Trace)
        if trace.rule in stories:
            _add(stories[trace.rule], Decision(t, wall, trace))
    for story in stories.values():
        story.decisions.sort(key=lambda each: each.t)
    about = About(
        strategy=strategy,
        run=run,
        kind=mode,
        live=False,
        ended=(reason or "ended") if ended else "",
    )
    return about, stories


def _add(story: RuleStory, decision: Decision) -> None:
    """Add a decision of the journal that the story does not hold by itself."""
    known = {(each.t, each.trace.before, each.trace.after) for each in story.decisions}
    if (decision.t, decision.trace.before, decision.trace.after) not in known:
        story.decisions.append(decision)
