"""The commands on a strategy file: begin, check, read, draw, test, page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runner.cli.options import Drawing, File, Format, Json, Params, Sets, leave


def init(
    folder: Annotated[Path, typer.Argument(help="where to write")] = Path(),
    template: Annotated[str, typer.Option(help="a shipped strategy: arb, pairs, ...")] = "arb",
    name: Annotated[str | None, typer.Option(help="the strategy's name and file")] = None,
) -> None:
    """Write a first strategy, with tests, to change as you like.

    Beside it: .env.example, the schema for editors, the senders and stand-ins that it names.
    """
    from runner.cli.init import init as run

    leave(run(folder, template, name))


def validate(
    files: Annotated[
        list[str] | None, typer.Argument(help="files, folders, or - (default: strategies/)")
    ] = None,
    format: Annotated[Format, typer.Option(help="how findings are written")] = Format.TEXT,
    deny_warnings: Annotated[bool, typer.Option(help="warnings fail too")] = False,
    set: Sets = None,
    params: Params = None,
    online: Annotated[
        bool, typer.Option("--online", help="ask the exchanges too: clock, symbols, secrets, keys")
    ] = False,
) -> None:
    """Check strategy files, all mistakes at once.

    Shape, expressions, meaning, exchange facts. No network by itself.
    """
    from runner.cli.check import validate as run

    leave(run(files or [], format.value, deny_warnings, set or [], params, online))


def learn(
    type: Annotated[str, typer.Argument(help="binance_usdm, bybit_linear or binance_spot")],
    symbols: Annotated[list[str], typer.Argument(help="symbols that the catalogue does not have")],
    network: Annotated[str, typer.Option(help="live or testnet")] = "live",
) -> None:
    """Ask an exchange about symbols that we do not know.

    Tick, lot and minimums are remembered. No key needed.
    """
    from runner.cli.online import learn as run

    leave(run(type, symbols, network))


def plan(file: File, set: Sets = None, params: Params = None, json: Json = False) -> None:
    """Say in words what would run, and what it can lose.

    Sockets, rules, worst case, costs, assumptions.
    """
    from runner.cli.check import plan as run

    leave(run(str(file), set or [], params, json))


def graph(
    file: File,
    format: Annotated[Drawing, typer.Option(help="mermaid, dot, or svg")] = Drawing.MERMAID,
    set: Sets = None,
    params: Params = None,
) -> None:
    """Draw who feeds whom: streams, signals, rules, orders.

    `--format svg` needs Graphviz.
    """
    from runner.cli.check import graph as run

    leave(run(str(file), set or [], params, format.value))


def explain(
    topic: Annotated[
        str, typer.Argument(help="E0403, rules.hedge.policy, zscore, binance -2019, states")
    ] = "",
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Show the page of a code, a key or a function."""
    from runner.cli.check import explain as run

    leave(run(" ".join([topic, *(more or [])])))


def render_template(file: File, set: Sets = None, params: Params = None) -> None:
    """Print what a template (*.yaml.j2) becomes."""
    from runner.cli.check import render_template as run

    leave(run(str(file), set or [], params))


def schema(
    key: Annotated[str | None, typer.Option(help="only this key: rules.trade.hedge")] = None,
    check: Annotated[bool, typer.Option("--check", help="fail when it is out of date")] = False,
) -> None:
    """Print the JSON Schema that editors read (draft-07)."""
    from runner.cli.check import schema as run

    leave(run(key, check))


def test(
    files: Annotated[
        list[str] | None, typer.Argument(help="files or folders (default: strategies/)")
    ] = None,
    name: Annotated[str, typer.Option("-k", "--name", help="only tests with this in them")] = "",
    set: Sets = None,
    params: Params = None,
    junit: Annotated[Path | None, typer.Option(help="write the results as JUnit XML")] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="which parts of conditions were true and false")
    ] = False,
    from_: Annotated[
        list[Path] | None, typer.Option("--from", help="print a moment of this recording as a test")
    ] = None,
    at: Annotated[str, typer.Option(help="which: 90s from its start, or 2026-03-01T12:00Z")] = "0s",
    before: Annotated[str, typer.Option(help="how much before it")] = "2s",
    after: Annotated[str, typer.Option(help="how much after it")] = "1s",
    every: Annotated[str, typer.Option(help="the step of its series")] = "100ms",
) -> None:
    """Run the tests that stand beside the rules.

    The real engine and paper fills, in virtual time.
    """
    from runner.cli.trial import moment, run

    if from_:
        leave(moment(files or [], from_, at, set or [], params, (before, after, every)))

    leave(run(files or [], name, set or [], params, junit, coverage))


def page(
    file: File,
    text: Annotated[str, typer.Option(help="what to say")] = "a test of runner: all is well",
) -> None:
    """Send a test message to all whom `notify.page` names."""
    from runner.cli.paging import page as run

    leave(run(file, text))
