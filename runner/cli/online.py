"""What `validate --online` and `runner learn` ask of exchanges."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from runner import spec
from runner.app.learn import learn as ask
from runner.app.online import Problem, look
from runner.base.clock import SystemClock
from runner.base.errors import UsageError
from runner.lang.diagnostics import Diagnostic, Findings, Mark
from runner.lang.nodes import Mapping
from runner.lang.reader import read
from runner.spec import catalogue, learned
from runner.spec.market_plan import Network

NETWORKS = (Network.LIVE, Network.TESTNET)


def add_online(checked: spec.Checked) -> None:
    """Add what the exchanges say to the findings of a file without errors."""
    if checked.plan is None:
        return
    name = checked.source.name

    def warn(text: str) -> None:
        sys.stderr.write(f"{name}: {text}\n")

    for found in asyncio.run(look(checked.plan, os.environ, SystemClock(), warn)):
        checked.findings.add(_diagnostic(found, checked.source.text))


def _diagnostic(found: Problem, text: str) -> Diagnostic:
    return Diagnostic(found.code, found.message, _place(text, found.path), path=found.path)


def _place(text: str, path: str) -> Mark:
    """Return where the last key of a dotted path stands."""
    node, mark = read(text, Findings()), Mark(1, 1, 2)
    for part in path.split("."):
        if not isinstance(node, Mapping) or part not in node:
            break
        mark, node = node.key(part), node.get(part)
    return mark


def learn(exchange_type: str, symbols: Sequence[str], network: str) -> int:
    """Ask an exchange for instruments and remember them. UsageError for a type or network."""
    if exchange_type not in catalogue.types():
        raise UsageError(f"no type {exchange_type}; there are {', '.join(catalogue.types())}")
    if network not in NETWORKS:
        raise UsageError(f"--network {network}: write {' or '.join(NETWORKS)}")
    rows = asyncio.run(ask(exchange_type, symbols, network, SystemClock()))
    place = learned.keep(exchange_type, rows)
    for symbol, row in rows.items():
        sys.stdout.write(f"{symbol}: {row['row']}  ({row['source']}, {row['date']})\n")
    sys.stderr.write(f"kept in {place}\n")
    return 0
