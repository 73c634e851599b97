"""The commands that run something: a strategy, a recorder, a replay, the simulator, a bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runner.cli.adopting import ADOPT_TRADE, read_fates
from runner.cli.options import (
    Custom,
    File,
    For,
    Json,
    Log,
    Loud,
    NoRecord,
    Notify,
    Params,
    Seed,
    Sets,
    State,
    leave,
)


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
    """Run a strategy with paper fills: no order can leave.

    On the live network's public data, the simulator (--sim) or a recording (--replay). No key is
    read.
    """
    from runner.app.run_log import LEVELS
    from runner.cli.run import Options
    from runner.cli.run import dry_run as run

    options = Options(
        file=file, sim=sim, replay=tuple(replay or ()), run_for=for_, seed=seed, balance=balance,
        network=network, state=state, sets=tuple(set or ()), params=params, json=json,
        record=not no_record, allow_custom_endpoints=allow_custom_endpoints, log=LEVELS[log],
        notify=notify,
    )  # fmt: skip
    leave(run(options))


def start(
    file: File,
    sim: Annotated[bool, typer.Option("--sim", help="signed orders to the simulator")] = False,
    live: Annotated[bool, typer.Option("--live", help="really trade on a live network")] = False,
    notify: Notify = None,
    for_: For = None,
    seed: Seed = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="take over positions and orders found; OLD=NEW: a trade")
    ] = False,
    adopt_trade: Annotated[
        list[str] | None,
        typer.Option(ADOPT_TRADE, hidden=True),
    ] = None,
    close_orphans: Annotated[
        bool, typer.Option("--close-orphans", help="first close open trades without a rule")
    ] = False,
    hold_orphans: Annotated[
        bool, typer.Option("--hold-orphans", help="keep open trades without a rule")
    ] = False,
    repair: Annotated[bool, typer.Option(help="put a damaged journal aside and go on")] = False,
    state: State = None,
    set: Sets = None,
    params: Params = None,
    json: Json = False,
    no_record: NoRecord = False,
    allow_custom_endpoints: Custom = False,
    log: Loud = Log.WARNING,
) -> None:
    """Run a strategy with signed orders.

    The first Ctrl-C ends it by the file's `on_stop`, a second one at once.

    A start with an open trade that no rule of the file goes on with (name, markets, sides) is
    refused, unless --adopt OLD=NEW, --close-orphans or --hold-orphans says what becomes of it.
    """
    from runner.app.run_log import LEVELS
    from runner.cli.run import Options
    from runner.cli.run import start as run

    options = Options(
        file=file, sim=sim, live=live, run_for=for_, seed=seed, adopt=adopt,
        orphans=read_fates(adopt_trade or (), close_orphans, hold_orphans), repair=repair,
        state=state, sets=tuple(set or ()), params=params, json=json, record=not no_record,
        allow_custom_endpoints=allow_custom_endpoints, log=LEVELS[log], notify=notify,
    )  # fmt: skip
    leave(run(options))


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
    leave(run(options, out))


def import_(
    format: Annotated[str, typer.Argument(help="hftbacktest or cryptofeed")],
    source: Annotated[Path, typer.Argument(help="the capture file")],
    out: Annotated[Path, typer.Option("--out", help="the recording's folder")],
    exchange: Annotated[str | None, typer.Option(help="adapter: binance_usdm, ...")] = None,
    symbol: Annotated[str | None, typer.Option(help="as the exchange writes it")] = None,
) -> None:
    """Turn a public capture into a recording."""
    from runner.cli.tools import import_capture

    leave(import_capture(format, source, out, exchange, symbol))


def replay(
    run: Annotated[Path, typer.Argument(help="a recorded run (its folder)")],
    json: Json = False,
) -> None:
    """Decide a recorded run again and print the first difference."""
    from runner.cli.tools import replay_run

    leave(replay_run(run, json))


def sim(
    port: Annotated[int, typer.Option(help="0: any free one")] = 0,
    seed: Annotated[int, typer.Option(help="decides the market and the keys")] = 7,
    exchange: Annotated[list[str] | None, typer.Option(help="dialects (default: all)")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="a fault as JSON (repeatable)")] = None,
) -> None:
    """Run the exchange simulator on its own, for any client."""
    from runner.cli.tools import run_simulator

    leave(run_simulator(port, seed, exchange or [], fault or []))


def bench(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="order loopback doors replay journal gate traces (all), ccxt (if there)"
        ),
    ] = None,
    json: Json = False,
    budget: Annotated[float | None, typer.Option(help="fail above this ratio")] = None,
) -> None:
    """Measure tick to signed order, beside a yardstick.

    And webhook to order; all in the same run.
    """
    from runner.cli.tools import bench as run

    leave(run(what or [], json, budget))
