"""What a start was told of open trades in the journal that no rule of the file goes on with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runner.app.run_folder import Fate, restored_from
from runner.engine.orphans import settle
from runner.engine.saved import Saved
from runner.spec.plan import Plan
from runner.spec.rule_plan import Care
from runner.store.past import UNREADABLE, read_only, read_past
from runner.store.settled import settle_tail
from runner.store.state_dir import StateDir


@dataclass(frozen=True, slots=True)
class Fates:
    """The options: pairs of `--adopt OLD=NEW`, and what becomes of all others (None: refused)."""

    adopt: tuple[tuple[str, str], ...] = ()
    care: Care | None = None

    def unused(self, saved: Saved | None) -> list[str]:
        """Return the rules of pairs that had nothing to be adopted."""
        adopted = {each.of for each in saved.settled} if saved is not None else set()
        return [old for old, _ in self.adopt if old not in adopted]

    def of(self, plan: Plan, *, adopt: bool) -> Fate:
        """Return what they do to the journal of a file; `adopt`: the plain option is given too."""
        return partial(_settled, plan, self, adopt)


def left_behind(root: Path, name: str) -> Saved | None:
    """Read what earlier runs of a strategy left, beside whoever holds its journal.

    None when there is nothing, or it cannot be read: opening it will say why.
    """
    state = StateDir.at(root, name, paper=False)
    path = state.journal
    if not path.exists():
        return None
    settle_tail(state)
    try:
        db = read_only(path)
        try:
            return restored_from(read_past(db), path)
        finally:
            db.close()
    except UNREADABLE:
        return None


def _settled(plan: Plan, fates: Fates, adopt: bool, saved: Saved | None) -> Saved | None:
    return None if saved is None else settle(plan, saved, fates.adopt, fates.care, words=adopt)
