"""The operator's commands: they find the running strategy and speak to its control socket."""

from __future__ import annotations

import getpass
import json as json_
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.app.control import ask, control_path, runs_elsewhere
from runner.app.report_text import spending_text
from runner.base.clock import SystemClock
from runner.base.errors import UsageError, WorldError
from runner.cli.top_text import gained
from runner.engine.limits import STICKY
from runner.store.lock import alive
from runner.store.state_dir import PAPER, Halted, StateDir, state_root, strategies

_STICKY = frozenset(mode.shown for mode in STICKY)
_CARE = {"hold": "held", "close": "to be closed"}


def status(name: str | None, state: Path | None, json: bool) -> int:
    """Print what a running strategy says of itself."""
    answer = ask(control_path(_running(name, state)), "status")
    sys.stdout.write(json_.dumps(answer) + "\n" if json else _status_text(answer))
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
    sys.stdout.write(_status_text(answer))
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
    raise WorldError(f"{what}{never} (under {_root(state)}){_elsewhere(name, state)}")


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


def _status_text(answer: dict[str, Any]) -> str:
    lines = [
        f"{answer['name']}  {answer['kind']}  run {answer['run']}  "
        f"up {answer['uptime_s']:.0f}s  {answer['state'].upper()}"
        + (f"  {answer['reason']}" if answer["reason"] else "")
    ]
    if answer["state"] in _STICKY:
        lines.append(f"  `runner resume {answer['name']} --yes` lets it trade again")
    loss = answer["day_loss"]
    day = "not known yet" if loss is None else gained(loss)
    lines.append(f"  {'the day so far':<20} {day}  orders open {answer['orders']['open']}")
    for name, each in answer["exchanges"].items():
        clock = each["clock"]
        lines.append(
            f"  {name:<20} {each['type']} {each['network']}  {each['state']}  clock "
            f"{clock['offset_ms']:+.1f}ms +-{clock['uncertainty_ms']:.1f}ms"
        )
    for key, each in answer["streams"].items():
        age = "-" if each["age_ms"] is None else f"{each['age_ms']:.0f}ms old"
        lines.append(f"  {key:<20} {each['state']}  {age}")
    for name, each in answer["sources"].items():
        age = "-" if each["age_ms"] is None else f"{each['age_ms'] / 1000:.1f}s old"
        port = f"  port {each['port']}" if each["port"] else ""
        refused = sum(each["refused"].values())
        lines.append(
            f"  {name:<20} {each['state']}  {age}  {each['type']}{port}  accepted "
            f"{each['accepted']}  lost {each['lost']}  refused {refused}"
            + (f"  {each['down']}" if each["down"] else "")
            + (f"  last refused: {each['last_refusal']}" if each["last_refusal"] else "")
            + (f"  spent {spending_text(each['spent'])}" if each["spent"] else "")
        )
    for name, each in answer["rules"].items():
        refused = sum(each["refusals"].values())
        lines.append(
            f"  {name:<20} {each['state']}  entries {each['entries']}  exits {each['exits']}  "
            f"refused {refused}"
            + (f"  disabled: {each['disabled']}" if each["disabled"] else "")
            + (f"  no rule of the file: {_CARE[each['orphan']]}" if each["orphan"] else "")
            + (f"  leaving {each['leaving']}" if each["leaving"] else "")
        )
        for guard in each["guards"]:
            stands = f"{guard['kind']} at {guard['price']} for {guard['qty']}, {guard['state']}"
            lines.append(f"  {'':<20} at the exchange: {stands}")
        if each["reason"] and not each["disabled"]:
            lines.append(f"  {'':<20} {each['reason']}")
    lines += [f"  position {market:<11} {qty}" for market, qty in answer["positions"].items()]
    lines += [] if answer["positions"] else ["  it holds nothing"]
    for page in answer["notify"]["pages"]:
        count = f" ({page['count']} texts)" if page["count"] > 1 else ""
        lines.append(f"  page {page['topic']:<15} {page['text']}{count}, told {page['told']} times")
    for sink, each in answer["notify"]["sinks"].items():
        if each["failed"]:
            failed = f"{each['failed']} messages not taken: {each['last_failure']}"
            lines.append(f"  notify {sink:<13} {failed}")
    lines += [f"  warning: {text}" for text in answer["warnings"]]
    return "\n".join(lines) + "\n"
