"""Observers of a run on sockets: the account it finds, and the halt that outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from runner.app.run_folder import RunFolder
from runner.engine.commands import Command, RunState
from runner.engine.core import Engine
from runner.engine.events import Event, Reconciled
from runner.engine.limits import STICKY, STOP
from runner.store.state_dir import Halted

_LASTING = frozenset(mode.shown for mode in STICKY)


class FirstPictures:
    """Calls `judge` once the first reconciliation of every exchange is in."""

    def __init__(self, exchanges: Iterable[str], judge: Callable[[], None]) -> None:
        self._missing = set(exchanges)
        self._judge = judge

    def event(self, event: Event) -> None:
        """Note a picture; the judgement comes after the engine has taken the last one."""
        if isinstance(event, Reconciled) and event.exchange in self._missing:
            self._missing.discard(event.exchange)
            if not self._missing:
                asyncio.get_running_loop().call_soon(self._judge)

    def command(self, command: Command, t: int) -> None:
        """Commands do not matter here."""


def unexplained(engine: Engine) -> list[str]:
    """Return what the exchanges show and the journal does not explain (R-23), in words."""
    world = engine.world
    found = [
        f"{each.market}: the exchange holds {each.exchange_lots} lots, our journal explains "
        f"{each.own_lots}"
        for each in world.differences.values()
    ]
    found += [
        f"open order {view.cid or view.exchange_id}: {view.side} {view.lots} lots {view.symbol}"
        for view in world.foreign_orders.values()
    ]
    return [*found[:-1], f"{found[-1]}; `--adopt` takes that over"] if found else []


def ruleless(engine: Engine) -> list[str]:
    """Return the open trades that no rule of the file goes on with, and what may become of them."""
    if not engine.orphans:
        return []
    lacks = "no rule of its name, markets and sides is in the file"
    names = ", ".join(x if "(" in x else f"{x} ({lacks})" for x in engine.orphans)
    first = engine.orphans[0].partition(" ")[0]
    alone = "; `--adopt` alone goes on by the file as it is" if "(" in engine.orphans[0] else ""
    return [
        f"the open trade of {names}: `--adopt {first}=NEW` lets the rule NEW go on with it,"
        f" `--close-orphans` closes it first, `--hold-orphans` keeps it{alone}"
    ]


class HaltedWord:
    """Keeps the `halted` file as the run's state is, so that it outlives the process."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def event(self, event: Event) -> None:
        """States come from commands."""

    def command(self, command: Command, t: int) -> None:
        """Write the word on a lasting halt, take it back when the run trades again."""
        if not isinstance(command, RunState):
            return
        if command.state in _LASTING and command.code != STOP:
            wall = self._folder.clock.wall()
            self._folder.state.halt(Halted(code=command.code, why=command.text, wall=wall))
        elif command.state == "active":
            self._folder.state.resume()
