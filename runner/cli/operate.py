"""The operator's commands: they find the running strategy and speak to its control socket."""

from __future__ import annotations

import getpass
import json as json_
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.app.control import ask, control_path, runs_elsewhere
from runner.base.clock import SystemClock
from runner.base.errors import UsageError, WorldError
from runner.cli.status_text import status_text
from runner.store.lock import alive
from runner.store.state_dir import PAPER, Halted, StateDir, state_root, strategies


def status(name: str | None, state: Path | None, json: bool) -> int:
    """Print what a running strategy says of itself."""
    answer = ask(control_path(_running(name, state)), "status")
    sys.stdout.write(json_.dumps(answer) + "\n" if json else status_text(answer))
    return 0


def command(
    what: str,
    name: str | None,
    state: Path | None,
    *,
    why: str,
    rule: str = "",
    market: str = "",
    yes: bool = False,
) -> int:
    """Send halt, resume or flatten; `halt NAME` without a process holds for the next start."""
    if what == "halt" and name and not _alive(name, state):
        return _halt_asleep(name, state, why)
    if what == "resume" and name and not _alive(name, state):
        return _resume_asleep(name, state, yes)
    try:
        place = _running(name, state)
    except WorldError as error:
        help_ = f"`runner {what} NAME` is for one that does not run"
        if what == "flatten":
            help_ = "what it holds is closed by a run: start it, then flatten"
        elif name:
            raise
        raise WorldError(f"{error}; {help_}") from None
    fields: dict[str, Any] = {
        "why": why,
        "who": getpass.getuser(),
        "rule": rule,
        "market": market,
        "yes": yes,
    }
    try:
        answer = ask(control_path(place), what, **fields)
    except WorldError as error:
        holder = alive(place.lock)
        if what != "halt" or holder is None:
            raise
        raise WorldError(f"{error}; `kill -USR1 {holder.pid}` halts it too") from None
    if not answer.get("ok"):
        raise UsageError(str(answer.get("error")))
    sys.stdout.write(status_text(answer))
    return 0


def acknowledge(name: str | None, state: Path | None, topic: str) -> int:
    """Close the open pages of a running strategy: they are not repeated."""
    answer = ask(control_path(_running(name, state)), "ack", topic=topic)
    if not answer.get("ok"):
        raise UsageError(str(answer.get("error")))
    closed = answer["acknowledged"]
    sys.stdout.write(f"acknowledged: {', '.join(closed)}\n" if closed else "no page was open\n")
    return 0


@dataclass(frozen=True, slots=True)
class Found:
    """The strategy that is meant, and whether it runs."""

    place: StateDir
    alive: bool


def find(name: str | None, state: Path | None, *, asleep: bool = False) -> Found:
    """Return the one strategy that is meant: one that runs, with `asleep` else the last that ran.

    UsageError for several, WorldError for none.
    """
    known = [each for each in _all(state) if not name or each.name in (name, f"{name}{PAPER}")]
    running = [each for each in known if alive(each.lock)]
    if running and (name or len(running) == 1):
        return Found(running[0], True)
    if running:
        names = ", ".join(each.name for each in running)
        raise UsageError(f"several strategies are running, name one: {names}")
    ran = [each for each in known if each.runs()] if asleep else []
    if ran:
        return Found(max(ran, key=lambda each: each.runs()[-1].path.name), False)
    what = f"{name} is not running" if name else "no strategy is running"
    never = ", and never ran" if asleep else ""
    halted = "".join(f"; {x.name} is halted: its next start does not trade" for x in _halted(known))
    raise WorldError(f"{what}{never} (under {_root(state)}){halted}{_elsewhere(name, state)}")


def _halted(places: list[StateDir]) -> list[StateDir]:
    return [each for each in places if each.halted() is not None]


def _running(name: str | None, state: Path | None) -> StateDir:
    """Return the one running strategy that is meant."""
    return find(name, state).place


def _alive(name: str, state: Path | None) -> bool:
    names = (name, f"{name}{PAPER}")
    return any(alive(each.lock) for each in _all(state) if each.name in names)


def _elsewhere(name: str | None, state: Path | None) -> str:
    """Say where else something runs that may be meant; "" when nothing does."""
    own = [control_path(each) for each in _all(state)]
    places = [Path(each["state_dir"]) for each in runs_elsewhere(own)]
    meant = [each for each in places if not name or each.name in (name, f"{name}{PAPER}")]
    return "".join(f"; {x.name} runs elsewhere: add `--state {x.parent}`" for x in meant)


def _halt_asleep(name: str, state: Path | None, why: str) -> int:
    """Let the next start begin halted; WorldError for a name that may be mistyped.

    Whoever halts believes afterwards that it is halted.
    """
    root, known = _root(state), {each.name.removesuffix(PAPER) for each in _all(state)}
    elsewhere = _elsewhere(name, state)
    if known and name.removesuffix(PAPER) not in known:
        there = ", ".join(sorted(known))
        raise WorldError(f"no {name} ever ran under {root}{elsewhere}; there are {there}")
    if elsewhere:
        raise WorldError(f"{name} is not running under {root}{elsewhere}; nothing was halted")
    place = StateDir.make(root, name, paper=False)
    place.halt(Halted(code="operator", why=why, who=getpass.getuser(), wall=SystemClock().wall()))
    sys.stdout.write(f"{name} is not running; its next start begins halted (under {root})\n")
    return 0


def _resume_asleep(name: str, state: Path | None, yes: bool) -> int:
    from runner.app.lifting import lift_halt  # the journal: what a halt in a hurry must not load

    place = StateDir.at(_root(state), name, paper=False)
    if not place.path.is_dir():
        raise WorldError(f"{name} is not running, and never ran under {_root(state)}")
    if not yes:
        raise UsageError(f"{name} is not running; lifting a halt for its next start needs --yes")
    if not lift_halt(place, SystemClock()):
        raise WorldError(f"{name} is neither running nor halted")
    sys.stdout.write(f"{name}: the halt is lifted; its next start may trade\n")
    return 0


def _root(state: Path | None) -> Path:
    return state_root(str(state) if state else None)


def _all(state: Path | None) -> list[StateDir]:
    return strategies(_root(state))
