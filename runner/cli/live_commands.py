"""The commands to a strategy that runs: see it, follow it, stop it, close it."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli.options import Json, Name, Shown, State, leave


def status(name: Name = None, state: State = None, json: Json = False) -> None:
    """Show a running strategy: state, rules, positions, money."""
    from runner.cli.operate import status as run

    leave(run(name, state, json))


def why(
    rule: Annotated[
        str | None, typer.Argument(help="the rule; without it, one line for each")
    ] = None,
    name: Annotated[str | None, typer.Option(help="the strategy, when several run")] = None,
    since: Annotated[str | None, typer.Option(help="only the last 30m, 1h, 2d")] = None,
    last: Annotated[int, typer.Option(help="how many decisions are shown")] = 5,
    format: Annotated[Shown, typer.Option(help="text or json")] = Shown.TEXT,
    state: State = None,
) -> None:
    """Say why a rule did or did not trade.

    Of a running strategy, else of its last run.

    Shares are shares of time. What stands in a rule's way is looked at whenever its state changes
    and once a second (four times in its first 20 s), and holds until the next look.
    Where several reasons stand at once each gets an equal part; "alone" is the time in which
    nothing else was in the way: what removing this one reason would have gained. The nearest miss
    of a comparison is the least distance at any look at which it was false.
    """
    from runner.cli.why import why as run

    leave(run(rule, name, state, since=since, last=last, json=format is Shown.JSON))


def tap(
    what: Annotated[str, typer.Argument(help="a stream, a signal or a rule")],
    name: Annotated[str | None, typer.Option(help="the strategy, when several run")] = None,
    limit: Annotated[int | None, typer.Option(help="stop after so many")] = None,
    format: Annotated[Shown, typer.Option(help="text or json")] = Shown.TEXT,
    state: State = None,
) -> None:
    """Follow a stream, a signal or a rule as they pass.

    Of a rule its decisions. Ctrl-C ends it.
    """
    from runner.cli.watching import tap as run

    leave(run(what, name, state, limit=limit, json=format is Shown.JSON))


def top(
    name: Name = None,
    every: Annotated[str, typer.Option(help="how often it is drawn")] = "250ms",
    once: Annotated[bool, typer.Option("--once", help="draw it once")] = False,
    state: State = None,
) -> None:
    """Watch a running strategy.

    Rules and why they wait, stale streams, positions, latencies. Ctrl-C ends it.
    """
    from runner.cli.spans import span
    from runner.cli.watching import top as run

    leave(run(name, state, every_s=(span(every, "--every") or 0) / 1e9, once=once))


def halt(
    name: Name = None,
    why: Annotated[str, typer.Option(help="journaled with your name")] = "",
    state: State = None,
) -> None:
    """Stop all new risk now; positions stay.

    Entries are cancelled. It survives a restart, until `runner resume --yes`.
    """
    from runner.cli.operate import command as run

    leave(run("halt", name, state, why=why))


def resume(
    name: Name = None,
    rule: Annotated[str, typer.Option(help="only this rule, disabled by repeated firing")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="needed after a halt")] = False,
    why: Annotated[str, typer.Option(help="journaled with your name")] = "",
    state: State = None,
) -> None:
    """Trade again after a halt, a pause or a disabled rule."""
    from runner.cli.operate import command as run

    leave(run("resume", name, state, why=why, rule=rule, yes=yes))


def flatten(
    name: Name = None,
    leg: Annotated[str, typer.Option(help="one market only: leaves its partners open")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="needed with --leg")] = False,
    why: Annotated[str, typer.Option(help="journaled with your name")] = "",
    state: State = None,
) -> None:
    """Close every position, in pairs, then stay halted."""
    from runner.cli.operate import command as run

    leave(run("flatten", name, state, why=why, market=leg, yes=yes))


def ack(
    name: Name = None,
    topic: Annotated[str, typer.Option(help="only this page: halt, unhedged, held, ...")] = "",
    state: State = None,
) -> None:
    """Acknowledge the open pages of a strategy.

    They are not repeated then.
    """
    from runner.cli.operate import acknowledge as run

    leave(run(name, state, topic))
