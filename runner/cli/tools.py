"""The commands around a strategy: import, replay, sim, bench."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from runner.base.errors import UsageError


def import_capture(
    format: str, source: Path, out: Path, exchange: str | None, symbol: str | None
) -> int:
    """Turn a public capture into a recording."""
    from runner.app.report_text import count
    from runner.store.importers import import_cryptofeed, import_hftbacktest

    if format == "hftbacktest":
        if not exchange or not symbol:
            like = "--exchange binance_usdm --symbol BTCUSDT"
            raise UsageError(f"import hftbacktest needs --exchange and --symbol, such as {like}")
        done = import_hftbacktest(source, exchange, symbol, out)
    elif format == "cryptofeed":
        done = import_cryptofeed(source, out)
    else:
        raise UsageError(f"no format {format!r}; there are hftbacktest, cryptofeed")
    skipped = f", {count(done.skipped, 'line')} left out" if done.skipped else ""
    sys.stdout.write(
        f"{done.target}: {count(done.frames, 'frame')} and {count(done.answers, 'REST answer')} of "
        f"{', '.join(done.types)} on {count(done.connections, 'connection')}{skipped}\n"
    )
    return 0


def replay_run(run: Path, json: bool) -> int:
    """Decide a recorded run again."""
    from runner.cli.replay import decide_again

    return decide_again(run, json)


def run_simulator(port: int, seed: int, exchanges: Sequence[str], faults: Sequence[str]) -> int:
    """Run the exchange simulator until a signal."""
    from runner.sim.main import main
    from runner.sim.simulation import EXCHANGES

    if not 0 <= port < 65536:
        raise UsageError(f"--port {port}: write a number below 65536, or 0 for any free one")
    for name in exchanges:
        if name not in EXCHANGES:
            raise UsageError(f"--exchange {name}: there are {', '.join(EXCHANGES)}")

    argv = ["--seed", str(seed), "--port", str(port)]
    for name in exchanges:
        argv += ["--exchange", name]
    for fault in faults:
        argv += ["--fault", fault]
    return main(argv)


def bench(what: Sequence[str], json: bool, budget: float | None) -> int:
    """Measure."""
    from runner.app.bench.main import run

    return run(what, json, budget)
