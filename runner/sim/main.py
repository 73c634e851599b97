"""The simulator as a process: `python -m runner.sim`.

The first line on standard output is one JSON object with the control URL and the endpoints and
keys of each exchange. It ends on SIGTERM and SIGINT and, with `--with-parent`, when the process
that started it is gone (its standard input closes).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from runner.base.clock import SystemClock
from runner.sim.account import Terms
from runner.sim.catalogue import MONEY
from runner.sim.control import Control
from runner.sim.faults import FaultSpec, UnknownFault
from runner.sim.simulation import EXCHANGES, Simulation
from runner.sim.venue import STANDARD

DEFAULT_SEED = 7


@dataclass(slots=True)
class Options:
    """What `run` needs; `faults` are JSON texts."""

    seed: int = DEFAULT_SEED
    port: int = 0
    exchanges: Sequence[str] = EXCHANGES
    faults: Sequence[str] = field(default_factory=tuple)
    dislocations: bool = True
    with_parent: bool = False
    terms: Terms = STANDARD


def parse(argv: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="runner sim", description="The exchange simulator.")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="decides market and keys")
    parser.add_argument("--port", type=int, default=0, help="port of the control API, 0: any")
    parser.add_argument("--exchange", action="append", choices=EXCHANGES, help="repeatable")
    parser.add_argument("--fault", action="append", default=[], metavar="JSON")
    parser.add_argument("--quiet-market", action="store_true", help="no dislocations")
    parser.add_argument("--balance", type=int, default=10_000, help="USDT an exchange")
    parser.add_argument("--leverage", type=int, default=STANDARD.leverage)
    parser.add_argument("--limit-factor", type=int, default=1, help="widen the rate limits")
    parser.add_argument("--with-parent", action="store_true", help="end when stdin closes")
    given = parser.parse_args(argv)
    return Options(
        seed=given.seed,
        port=given.port,
        exchanges=given.exchange or EXCHANGES,
        faults=given.fault,
        dislocations=not given.quiet_market,
        with_parent=given.with_parent,
        terms=Terms(given.balance * MONEY, given.leverage, given.limit_factor),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and run the simulator."""
    return run(parse(argv))


def run(options: Options) -> int:
    """Run the simulator until it is told to stop; returns the exit code."""
    try:
        faults = [msgspec.json.decode(text, type=FaultSpec) for text in options.faults]
    except msgspec.MsgspecError as error:
        like = '{"name": "disconnect", "exchange": "bybit_linear", "after": 100}'
        sys.stderr.write(f"runner sim: --fault: {error}; write JSON such as {like}\n")
        return 2
    serving = _serve(options, faults)
    try:
        if sys.platform == "win32":
            return asyncio.run(serving)
        import uvloop  # absent on Windows

        return uvloop.run(serving)
    except UnknownFault as error:
        sys.stderr.write(f"runner sim: --fault: {error}\n")
        return 2


async def _serve(options: Options, faults: list[FaultSpec]) -> int:
    simulation = Simulation(
        SystemClock(), options.seed, options.exchanges, options.dislocations, options.terms
    )
    for spec in faults:
        simulation.faults.add(spec)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers here
            loop.add_signal_handler(number, stop.set)
    if options.with_parent:
        _watch_stdin(loop, stop)
    control = Control(simulation)
    try:
        endpoints = await simulation.open()
        try:
            url = await control.open(options.port)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            sys.stderr.write(f"runner sim: --port {options.port}: {why}\n")
            return 3
        first = {"control": url, "exchanges": endpoints}
        if _say(msgspec.json.encode(first).decode()):
            await stop.wait()
    finally:
        await control.close()
        await simulation.close()
    return 0


def _say(line: str) -> bool:
    """Print the first line; False when whoever started the simulator is gone already."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return False
    return True


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop when standard input ends: the parent holds its other end open while it lives."""

    def readable() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin)
            stop.set()

    loop.add_reader(sys.stdin, readable)
