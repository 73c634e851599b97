"""The command line: names, arguments, exit codes. Each command imports its floors when it runs.

Exit codes: 0 fine, 1 the file or the result is wrong, 2 the command line is wrong, 3 the
environment is wrong, 4 halted by risk, 5 unclean stop, 70 our bug (with a report path),
130 second Ctrl-C.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="runner",
    help="Trading strategies that are written down, not programmed.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Format(StrEnum):
    """How diagnostics are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


class Drawing(StrEnum):
    """How the wiring is drawn."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


class Shown(StrEnum):
    """How what a run tells is written."""

    TEXT = "text"
    JSON = "json"


class Log(StrEnum):
    """From which level up notices reach standard error; the run's log has them all."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


File = Annotated[Path, typer.Argument(help="the strategy file", show_default=False)]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="a parameter: --set clip=800USDT (repeatable)")
]
Params = Annotated[Path | None, typer.Option("--params", help="a YAML file of parameters")]
State = Annotated[Path | None, typer.Option("--state", help="where runs and journals are kept")]
Json = Annotated[bool, typer.Option("--json", help="the result as JSON on standard output")]
For = Annotated[str | None, typer.Option("--for", help="stop by itself after this long: 30s, 5m")]
Seed = Annotated[int | None, typer.Option(help="seed of the simulator and of paper latency")]
Loud = Annotated[Log, typer.Option("--log", help="notices from this level up, on standard error")]
Name = Annotated[str | None, typer.Argument(help="the strategy; may be left out when one runs")]
Custom = Annotated[
    bool, typer.Option(help="let `network: custom` leave this machine (only with your own proxy)")
]
Notify = Annotated[
    bool | None,
    typer.Option(help="tell people as `notify:` says (default: `start` on a real network does)"),
]
NoRecord = Annotated[bool, typer.Option("--no-record", help="keep no recording of the run")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="where to write")] = Path(),
    template: Annotated[str, typer.Option(help="a shipped strategy: arb, pairs, ...")] = "arb",
    name: Annotated[str | None, typer.Option(help="the strategy's name and file")] = None,
) -> None:
    """Begin: a strategy that validates, its tests, .env.example, the schema for editors."""
    from runner.cli.init import init as run

    _leave(run(folder, template, name))


@app.command()
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
    """Check strategy files: shape, expressions, meaning, exchange facts. No network by itself."""
    from runner.cli.check import validate as run

    _leave(run(files or [], format.value, deny_warnings, set or [], params, online))


@app.command()
def learn(
    type: Annotated[str, typer.Argument(help="binance_usdm, bybit_linear or binance_spot")],
    symbols: Annotated[list[str], typer.Argument(help="symbols that the catalogue does not have")],
    network: Annotated[str, typer.Option(help="live or testnet")] = "live",
) -> None:
    """Ask an exchange for tick, lot and minimums of symbols, and remember them. No key needed."""
    from runner.cli.online import learn as run

    _leave(run(type, symbols, network))


@app.command()
def plan(file: File, set: Sets = None, params: Params = None, json: Json = False) -> None:
    """Say in words what would run: sockets, rules, worst case, costs, assumptions."""
    from runner.cli.check import plan as run

    _leave(run(str(file), set or [], params, json))


@app.command()
def graph(
    file: File,
    format: Annotated[Drawing, typer.Option(help="mermaid, dot, or svg")] = Drawing.MERMAID,
    set: Sets = None,
    params: Params = None,
) -> None:
    """Draw the wiring: streams and sources, signals, rules, orders (svg needs Graphviz)."""
    from runner.cli.check import graph as run

    _leave(run(str(file), set or [], params, format.value))


@app.command(context_settings={"ignore_unknown_options": True})  # a code may begin with "-"
def explain(
    topic: Annotated[str, typer.Argument(help="E0403, rules.hedge.policy, zscore, binance -2019")],
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Show the page of a code, a key or a function."""
    from runner.cli.check import explain as run

    _leave(run(" ".join([topic, *(more or [])])))


@app.command("render")
def render_template(file: File, set: Sets = None, params: Params = None) -> None:
    """Print what a template (*.yaml.j2) becomes."""
    from runner.cli.check import render_template as run

    _leave(run(str(file), set or [], params))


@app.command()
def schema(
    key: Annotated[str | None, typer.Option(help="only this key: rules.trade.hedge")] = None,
    check: Annotated[bool, typer.Option("--check", help="fail when it is out of date")] = False,
) -> None:
    """Print the JSON Schema of strategy files (draft-07), which editors read."""
    from runner.cli.check import schema as run

    _leave(run(key, check))


@app.command()
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
    """Run the tests beside the rules: the real engine and paper fills, in virtual time."""
    from runner.cli.trial import moment, run

    if from_:
        _leave(moment(files or [], from_, at, set or [], params, (before, after, every)))

    _leave(run(files or [], name, set or [], params, junit, coverage))


@app.command("dry-run")
def dry_run(
    file: File,
    sim: Annotated[bool, typer.Option("--sim", help="on the built-in simulator, offline")] = False,
    replay: Annotated[
        list[Path] | None, typer.Option("--replay", help="over a recording (repeatable)")
    ] = None,
    for_: For = None,
    seed: Seed = None,
    balance: Annotated[float, typer.Option(help="USDT of each paper account")] = 10_000.0,
    network: Annotated[str | None, typer.Option(help="testnet: insist on the test network")] = None,
    notify: Notify = None,
    state: State = None,
    set: Sets = None,
    params: Params = None,
    json: Json = False,
    no_record: NoRecord = False,
    allow_custom_endpoints: Custom = False,
    log: Loud = Log.WARNING,
) -> None:
    """Run a strategy with paper fills: no key is read, no order can leave."""
    from runner.app.run_log import LEVELS
    from runner.cli.run import Options
    from runner.cli.run import dry_run as run

    options = Options(
        file=file, sim=sim, replay=tuple(replay or ()), run_for=for_, seed=seed, balance=balance,
        network=network, state=state, sets=tuple(set or ()), params=params, json=json,
        record=not no_record, allow_custom_endpoints=allow_custom_endpoints, log=LEVELS[log],
        notify=notify,
    )  # fmt: skip
    _leave(run(options))


@app.command()
def start(
    file: File,
    sim: Annotated[bool, typer.Option("--sim", help="signed orders to the simulator")] = False,
    live: Annotated[bool, typer.Option("--live", help="really trade on a live network")] = False,
    notify: Notify = None,
    for_: For = None,
    seed: Seed = None,
    adopt: Annotated[bool, typer.Option(help="take over orders and positions found")] = False,
    repair: Annotated[bool, typer.Option(help="put a damaged journal aside and go on")] = False,
    state: State = None,
    set: Sets = None,
    params: Params = None,
    json: Json = False,
    no_record: NoRecord = False,
    allow_custom_endpoints: Custom = False,
    log: Loud = Log.WARNING,
) -> None:
    """Run a strategy with signed orders."""
    from runner.app.run_log import LEVELS
    from runner.cli.run import Options
    from runner.cli.run import start as run

    options = Options(
        file=file, sim=sim, live=live, run_for=for_, seed=seed, adopt=adopt, repair=repair,
        state=state, sets=tuple(set or ()), params=params, json=json, record=not no_record,
        allow_custom_endpoints=allow_custom_endpoints, log=LEVELS[log], notify=notify,
    )  # fmt: skip
    _leave(run(options))


@app.command()
def record(
    file: File,
    out: Annotated[Path, typer.Argument(help="the recording's folder")],
    for_: For = None,
    sim: Annotated[bool, typer.Option("--sim", help="of the simulator")] = False,
    seed: Seed = None,
    network: Annotated[str | None, typer.Option(help="live (default) or testnet")] = None,
    allow_custom_endpoints: Custom = False,
    log: Loud = Log.WARNING,
) -> None:
    """Write the raw frames of a strategy's streams to disk."""
    from runner.app.run_log import LEVELS
    from runner.cli.run import Options
    from runner.cli.run import record as run

    options = Options(
        file=file, sim=sim, run_for=for_, seed=seed, network=network, log=LEVELS[log],
        allow_custom_endpoints=allow_custom_endpoints,
    )  # fmt: skip
    _leave(run(options, out))


@app.command("import")
def import_(
    format: Annotated[str, typer.Argument(help="hftbacktest or cryptofeed")],
    source: Annotated[Path, typer.Argument(help="the capture file")],
    out: Annotated[Path, typer.Option("--out", help="the recording's folder")],
    exchange: Annotated[str | None, typer.Option(help="adapter: binance_usdm, ...")] = None,
    symbol: Annotated[str | None, typer.Option(help="as the exchange writes it")] = None,
) -> None:
    """Turn a public capture into a recording."""
    from runner.cli.tools import import_capture

    _leave(import_capture(format, source, out, exchange, symbol))


@app.command()
def replay(
    run: Annotated[Path, typer.Argument(help="a recorded run (its folder)")],
    json: Json = False,
) -> None:
    """Decide a recorded run again and print the first difference."""
    from runner.cli.tools import replay_run

    _leave(replay_run(run, json))


@app.command()
def sim(
    port: Annotated[int, typer.Option(help="0: any free one")] = 0,
    seed: Annotated[int, typer.Option(help="decides the market and the keys")] = 7,
    exchange: Annotated[list[str] | None, typer.Option(help="dialects (default: all)")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="a fault as JSON (repeatable)")] = None,
) -> None:
    """Run the exchange simulator on its own, for any client."""
    from runner.cli.tools import run_simulator

    _leave(run_simulator(port, seed, exchange or [], fault or []))


@app.command()
def status(name: Name = None, state: State = None, json: Json = False) -> None:
    """Show a running strategy: state, rules, positions, latencies."""
    from runner.cli.operate import status as run

    _leave(run(name, state, json))


@app.command()
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
    """Say why a rule did or did not trade: of a running strategy, else of its last run.

    Shares are shares of time. What stands in a rule's way is looked at whenever its state changes
    and once a second (four times in its first 20 s), and holds until the next look.
    Where several reasons stand at once each gets an equal part; "alone" is the time in which
    nothing else was in the way: what removing this one reason would have gained. The nearest miss
    of a comparison is the least distance at any look at which it was false.
    """
    from runner.cli.why import why as run

    _leave(run(rule, name, state, since=since, last=last, json=format is Shown.JSON))


@app.command()
def tap(
    what: Annotated[str, typer.Argument(help="a stream, a signal or a rule")],
    name: Annotated[str | None, typer.Option(help="the strategy, when several run")] = None,
    limit: Annotated[int | None, typer.Option(help="stop after so many")] = None,
    format: Annotated[Shown, typer.Option(help="text or json")] = Shown.TEXT,
    state: State = None,
) -> None:
    """Follow the values of a stream or a signal, or the decisions of a rule, as they pass."""
    from runner.cli.watching import tap as run

    _leave(run(what, name, state, limit=limit, json=format is Shown.JSON))


@app.command()
def top(
    name: Name = None,
    every: Annotated[str, typer.Option(help="how often it is drawn")] = "250ms",
    once: Annotated[bool, typer.Option("--once", help="draw it once")] = False,
    state: State = None,
) -> None:
    """Watch a running strategy: rules and why they wait, stale streams, positions, latencies."""
    from runner.cli.spans import span
    from runner.cli.watching import top as run

    _leave(run(name, state, every_s=(span(every, "--every") or 0) / 1e9, once=once))


@app.command()
def halt(
    name: Name = None,
    why: Annotated[str, typer.Option(help="journaled with your name")] = "",
    state: State = None,
) -> None:
    """Stop all new risk now and cancel entries; positions stay. Survives a restart."""
    from runner.cli.operate import command as run

    _leave(run("halt", name, state, why=why))


@app.command()
def resume(
    name: Name = None,
    rule: Annotated[str, typer.Option(help="only this rule, disabled by repeated firing")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="needed after a halt")] = False,
    why: Annotated[str, typer.Option(help="journaled with your name")] = "",
    state: State = None,
) -> None:
    """Trade again after a halt, a pause or a disabled rule."""
    from runner.cli.operate import command as run

    _leave(run("resume", name, state, why=why, rule=rule, yes=yes))


@app.command()
def flatten(
    name: Name = None,
    leg: Annotated[str, typer.Option(help="one market only: leaves its partners open")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="needed with --leg")] = False,
    why: Annotated[str, typer.Option(help="journaled with your name")] = "",
    state: State = None,
) -> None:
    """Close every position of the strategy, paired, then stay halted."""
    from runner.cli.operate import command as run

    _leave(run("flatten", name, state, why=why, market=leg, yes=yes))


@app.command()
def ack(
    name: Name = None,
    topic: Annotated[str, typer.Option(help="only this page: halt, unhedged, held, ...")] = "",
    state: State = None,
) -> None:
    """Acknowledge the open pages of a running strategy, so that they are not repeated."""
    from runner.cli.operate import acknowledge as run

    _leave(run(name, state, topic))


@app.command()
def page(
    file: File,
    text: Annotated[str, typer.Option(help="what to say")] = "a test of runner: all is well",
) -> None:
    """Send a test message to everyone whom `notify.page` of a file names."""
    from runner.cli.paging import page as run

    _leave(run(file, text))


@app.command()
def bench(
    what: Annotated[
        list[str] | None, typer.Argument(help="order loopback replay journal gate traces (all)")
    ] = None,
    json: Json = False,
    budget: Annotated[float | None, typer.Option(help="fail above this ratio")] = None,
) -> None:
    """Measure tick to signed order, beside a hand-written client in the same run."""
    from runner.cli.tools import bench as run

    _leave(run(what or [], json, budget))


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        from runner import __version__

        typer.echo(f"runner {__version__}")
        raise typer.Exit


def _leave(code: int) -> None:
    raise typer.Exit(code)


def main() -> None:
    """Run the program; every expected error becomes one message and its exit code."""
    from runner.base.errors import FileError, RunnerError, UsageError
    from runner.base.secret import redact

    try:
        app()
    except RunnerError as error:
        typer.echo(f"error: {redact(str(error))}", err=True)
        code = 1 if isinstance(error, FileError) else 2 if isinstance(error, UsageError) else 3
        sys.exit(code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        from runner.cli.crash_report import write_report

        typer.echo(
            f"error: this is a bug in runner; the report is in {write_report(error)}", err=True
        )
        sys.exit(70)
