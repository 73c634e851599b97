"""`validate --online`: what only the exchange can tell of a file that is right by itself (E06).

Each exchange is asked for its time, its instruments and, where the file trades and the secrets are
there, for the rights of the key. Nothing is changed, and no order side is built.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.app.credentials import resolve, reveal
from runner.app.links import Link, codec_for, connect, read_facts
from runner.app.listening import references
from runner.app.startup import wrong_rights
from runner.base.clock import NS_PER_S, Clock
from runner.base.errors import Down, ExchangeError, RateLimited, Rejected, WorldError
from runner.exchanges.api import Credentials
from runner.exchanges.registry import ORDER_TYPES
from runner.spec.market_plan import Network
from runner.spec.plan import Plan

_SILENT = (Network.TESTNET, Network.DEMO)
MOST_OFF_NS = 2_500_000_000
"""half of the receive window that requests are signed with"""


@dataclass(frozen=True, slots=True)
class Problem:
    """What an exchange, or the environment, would refuse; `path` is its place in the file."""

    code: str
    path: str
    message: str


async def look(
    plan: Plan, environ: Mapping[str, str], clock: Clock, warn: Callable[[str], None]
) -> list[Problem]:
    """Ask every exchange of a plan (but simulators, which a run starts itself)."""
    names = [name for name, x in plan.exchanges.items() if x.network is not Network.SIM]
    found = await asyncio.gather(*(_one(plan, name, environ, clock, warn) for name in names))
    problems = [problem for problems in found for problem in problems]
    return problems + _of_sources(plan, environ, warn)


def _of_sources(
    plan: Plan, environ: Mapping[str, str], warn: Callable[[str], None]
) -> list[Problem]:
    """Return what is missing for the doors of sources to open."""
    try:
        reveal(references(plan), environ, warn)
    except WorldError as error:
        return [Problem("E0601", each.split(":")[0], each) for each in _named(error)]
    return []


def _named(error: WorldError) -> list[str]:
    """Return the secrets that an error names, each on a line of its own below what it says."""
    lines = str(error).splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


async def _one(
    plan: Plan, name: str, environ: Mapping[str, str], clock: Clock, warn: Callable[[str], None]
) -> list[Problem]:
    keys, problems = _keys(plan, name, environ, warn)
    link = connect(plan, name, clock, "online", itertools.count(1), lambda reading: None)
    try:
        return problems + await _asked(plan, link, keys, warn)
    finally:
        await link.close()


def _keys(
    plan: Plan, name: str, environ: Mapping[str, str], warn: Callable[[str], None]
) -> tuple[Credentials | None, list[Problem]]:
    exchange = plan.exchanges[name]
    traded = any(m.traded and m.exchange == name for m in plan.markets.values())
    if not traded or exchange.type not in ORDER_TYPES:
        return None, []
    try:
        return resolve({name: exchange}, environ, warn)[name], []
    except WorldError as error:
        path = f"exchanges.{name}.auth"
        return None, [Problem("E0601", path, each) for each in _named(error)]


async def _asked(
    plan: Plan, link: Link, keys: Credentials | None, warn: Callable[[str], None]
) -> list[Problem]:
    path = f"exchanges.{link.plan.name}"
    if not await link.sync.measure():
        return [Problem("E0604", path, f"it cannot be reached: {link.sync.why}")]
    problems = []
    if not link.sync.ok or abs(link.sync.offset) > MOST_OFF_NS:
        seconds = link.sync.offset / NS_PER_S
        why = link.sync.why or f"our clock differs by {seconds:+.1f} s"
        problems.append(Problem("E0603", path, f"the clock is off: {why}"))
    try:
        await read_facts(link, plan)
    except WorldError as error:
        code = "E0604" if isinstance(error.__cause__, Down | RateLimited) else "E0502"
        problems.append(Problem(code, path, str(error)))
    return problems + (await _rights(plan, link, keys, warn) if keys is not None else [])


async def _rights(
    plan: Plan, link: Link, keys: Credentials, warn: Callable[[str], None]
) -> list[Problem]:
    path = f"exchanges.{link.plan.name}.auth"
    codec = codec_for(link.plan, plan, keys, "rest")
    request = codec.key_facts(link.sync.now_ms())
    if request is None:
        return []
    try:
        why = wrong_rights(codec.parse_key_facts(await link.rest.fetch(request)))
    except (Down, RateLimited) as error:
        return [Problem("E0604", path, f"the key cannot be checked: {error}")]
    except ExchangeError as error:  # Bybit refuses inside a 200
        if isinstance(error, Rejected) and link.plan.network in _SILENT:
            warn(f"{link.plan.name}: {link.plan.network} does not tell what the key may do")
            return []
        return [Problem("E0602", path, f"the key is refused: {error}")]
    return [Problem("E0602", path, why)] if why else []
