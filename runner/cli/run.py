"""The commands that run a strategy: dry-run, start, record. From options to an exit code."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from runner import spec
from runner.app import credentials, listening
from runner.app.assembly import Parts
from runner.app.ending import Ending
from runner.app.fates import Fates, left_behind
from runner.app.links import is_loopback
from runner.app.live import LiveOptions, LiveRun
from runner.app.notify.office import Office, references
from runner.app.paper import PaperDesk
from runner.app.report import SIMULATED, RunFacts, build_report, encode
from runner.app.report_text import text
from runner.app.run_folder import Fate, RunFolder, open_folder
from runner.app.run_log import Level
from runner.app.why.gather import gather
from runner.base.errors import FileError, RunnerError, UsageError, WorldError
from runner.base.ids import fingerprint
from runner.base.secret import Secret, redact
from runner.cli.check import print_findings, read_sets
from runner.cli.spans import span
from runner.engine.caretaking import with_care
from runner.exchanges.api import Credentials
from runner.exchanges.registry import ORDER_TYPES
from runner.spec.market_plan import ExchangePlan, Network
from runner.spec.plan import Plan
from runner.store.lock import host_folder, symbol_lock, take_all
from runner.store.state_dir import state_root

DEFAULT_SEED = 7
_PLACES = {
    Network.LIVE: "the live network",
    Network.TESTNET: "the test network",
    Network.DEMO: "the demo network",
    Network.CUSTOM: "your own endpoints",
    Network.SIM: "the simulator",
}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run, as typed."""

    file: Path
    sim: bool = False
    replay: tuple[Path, ...] = ()
    live: bool = False
    run_for: str | None = None
    seed: int | None = None
    balance: float = 10_000.0
    network: str | None = None
    adopt: bool = False
    orphans: Fates = field(default_factory=Fates)
    """what becomes of open trades that no rule of the file goes on with"""
    repair: bool = False
    state: Path | None = None
    sets: tuple[str, ...] = ()
    params: Path | None = None
    json: bool = False
    record: bool = True
    allow_custom_endpoints: bool = False
    log: Level = Level.WARNING
    notify: bool | None = None
    """tell people; None: `start` on real networks does"""


def dry_run(options: Options) -> int:
    """Run with paper fills; nothing in here resolves an exchange's secret or builds a signer."""
    if options.sim and options.replay:
        raise UsageError("--sim and --replay exclude each other")
    plan = _load(options)
    if plan is None:
        return 1
    if options.replay:
        from runner.cli.replay import dry_run_over

        return dry_run_over(plan, options)
    with ExitStack() as stack:
        plan, _ = _place(_public(plan, options), options, stack)
        return _on_sockets(plan, options, None, stack)


def start(options: Options) -> int:
    """Run with signed orders."""
    plan = _load(options)
    if plan is None:
        return 1
    _same_money(plan, options)
    fate = options.orphans.of(plan, adopt=options.adopt)
    if not _simulated_network(plan, options):
        place = state_root(str(options.state) if options.state else None)
        left = fate(left_behind(place, plan.name))
        plan = with_care(plan, left)
        for old in options.orphans.unused(left):
            _warn(f"--adopt {old}=...: nothing of {old} is open")
    traded = _traded(plan)
    with ExitStack() as stack:
        plan, given = _place(plan, options, stack)
        secrets = {name: given[name] for name in traded} if given else _resolve(plan, traded)
        _lock_symbols(plan, secrets, stack)
        return _on_sockets(plan, options, secrets, stack, fate)


def _same_money(plan: Plan, options: Options) -> None:
    """Refuse a start that may trade other money than the person who types it believes."""
    live = [x.name for x in plan.exchanges.values() if x.network is Network.LIVE]
    if options.live and options.sim:
        raise UsageError("--live and --sim exclude each other")
    if live and not options.live and not options.sim:
        raise UsageError(f"{', '.join(live)}: network live trades real money; say --live")
    if options.live and not live:
        networks = ", ".join(f"{x.name}: {x.network.value}" for x in plan.exchanges.values())
        raise UsageError(f"--live: no exchange of the file is on the live network ({networks})")


def record(options: Options, out: Path) -> int:
    """Write the raw frames of a strategy's streams into `out`; no rule is evaluated."""
    from runner.cli.recording import record_frames

    plan = _load(options)
    if plan is None:
        return 1
    with ExitStack() as stack:
        plan, _ = _place(_public(plan, options), options, stack)
        return record_frames(plan, options, out)


def duration(text: str | None) -> int | None:
    """Read the value of `--for`."""
    return span(text, "--for")


def _load(options: Options) -> Plan | None:
    """Check the options and the file and print what is found; None when it has errors."""
    duration(options.run_for)
    if not 0 < options.balance < math.inf:
        raise UsageError(f"--balance {options.balance}: write an amount above zero")
    checked = spec.load(options.file, sets=read_sets(options.sets), params_file=options.params)
    print_findings(checked)
    return checked.plan


def _public(plan: Plan, options: Options) -> Plan:
    """A dry-run reads the live network's public data unless the user insists (trading.md, 8)."""
    if options.network not in (None, "live", "testnet"):
        raise UsageError(f"--network {options.network}: write live or testnet")
    network = Network(options.network or "live")
    return _with_exchanges(
        plan,
        {
            name: x if x.network is Network.CUSTOM else replace(x, network=network)
            for name, x in plan.exchanges.items()
        },
    )


def _traded(plan: Plan) -> list[str]:
    """Return the exchanges that get orders, and so need keys; FileError when one takes none yet."""
    for market in plan.markets.values():
        type = plan.exchanges[market.exchange].type
        if market.traded and type not in ORDER_TYPES:
            raise FileError(
                f"{market.exchange}: {market.name} is traded, but this version sends no orders to "
                f"{type} (only to {', '.join(sorted(ORDER_TYPES))}); `runner dry-run` runs the file"
            )
    names = {m.exchange for m in plan.markets.values() if m.traded}
    if not names:
        raise FileError("no rule of the file trades: there is nothing to start; use dry-run")
    return sorted(names)


def _resolve(plan: Plan, traded: Sequence[str]) -> dict[str, Credentials]:
    exchanges = {name: plan.exchanges[name] for name in traded}
    return credentials.resolve(exchanges, credentials.of_environment(), _warn)


def _place(plan: Plan, options: Options, stack: ExitStack) -> tuple[Plan, dict[str, Credentials]]:
    """Settle where the exchanges are; with --sim start the simulator and use its keys."""
    if _simulated_network(plan, options):
        return _simulated(plan, options, stack)
    for exchange in plan.exchanges.values():
        away = exchange.network is Network.CUSTOM and not is_loopback(exchange.endpoints or {})
        if away and not options.allow_custom_endpoints:
            raise UsageError(
                f"{exchange.name}: endpoints beyond this machine need --allow-custom-endpoints"
            )
    return plan, {}


def _simulated_network(plan: Plan, options: Options) -> bool:
    return options.sim or any(x.network is Network.SIM for x in plan.exchanges.values())


def _simulated(
    plan: Plan, options: Options, stack: ExitStack
) -> tuple[Plan, dict[str, Credentials]]:
    from runner.sim.launch import SimulatorFailed, launch

    types = sorted({x.type for x in plan.exchanges.values()})
    seed = DEFAULT_SEED if options.seed is None else options.seed
    try:
        sim = stack.enter_context(launch(seed=seed, exchanges=types))
    except SimulatorFailed as error:
        raise WorldError(f"the simulator did not start: {error}") from error
    placed: dict[str, ExchangePlan] = {}
    secrets: dict[str, Credentials] = {}
    for name, exchange in plan.exchanges.items():
        place = dict(sim.endpoints[exchange.type])
        key, secret = place.pop("key", ""), place.pop("secret", "")
        placed[name] = replace(exchange, network=Network.SIM, endpoints=place)
        secrets[name] = Credentials(Secret(key), Secret(secret), None, fingerprint(key))
    return _with_exchanges(plan, placed), secrets


def _with_exchanges(plan: Plan, exchanges: Mapping[str, ExchangePlan]) -> Plan:
    return replace(plan, exchanges=dict(exchanges))


def _lock_symbols(plan: Plan, secrets: Mapping[str, Credentials], stack: ExitStack) -> None:
    """One holder per (exchange, network, key, symbol) on this host (R-28).

    A simulator belongs to its run alone.
    """
    folder = host_folder()
    locks = [
        symbol_lock(
            plan.exchanges[m.exchange].type,
            plan.exchanges[m.exchange].network.value,
            secrets[m.exchange].fingerprint,
            m.symbol,
            plan.name,
            folder,
        )
        for m in plan.markets.values()
        if m.traded and plan.exchanges[m.exchange].network is not Network.SIM
    ]
    stack.enter_context(take_all(locks))


def _on_sockets(
    plan: Plan,
    options: Options,
    secrets: Mapping[str, Credentials] | None,
    stack: ExitStack,
    fate: Fate | None = None,
) -> int:
    signed = secrets is not None
    simulated = any(x.network is Network.SIM for x in plan.exchanges.values())
    office = _office(plan, options, signed and not simulated)
    heard = _of_sources(plan, simulated)
    folder = open_folder(
        plan,
        state_root(str(options.state) if options.state else None),
        paper=not signed,
        restore=signed and not simulated,
        warm=not simulated,
        mode="start" if signed else "dry-run",
        source="sim" if simulated else "live",
        record=options.record,
        sets=read_sets(options.sets),
        mend=options.repair,
        threshold=options.log,
        fate=fate,
    )
    live = LiveOptions(
        signed=signed,
        balance=Decimal(str(options.balance)),
        run_for_ns=duration(options.run_for),
        adopt=options.adopt,
    )
    run = LiveRun(plan, live, folder, secrets or {}, office, heard)
    ending = Ending(70, "a bug ended the run")
    for line in _begins(run, options):
        folder.log.say(line)
    try:
        ending = _drive(run)
        _report(run, folder, ending, options, simulated)
        if ending.code:
            folder.log.error(ending.reason)
    except RunnerError as error:
        ending = Ending(3, redact(str(error)))
        raise
    except SystemExit:
        ending = Ending(130, "a second signal ended the run at once")
        raise
    except KeyboardInterrupt:  # later ones come to the loop as signals
        ending = Ending(130, "interrupted before it began")
        folder.log.say("interrupted before it began: nothing was sent")
        raise SystemExit(130) from None
    finally:
        folder.close(ending.code, ending.reason)
    return ending.code


def _begins(run: LiveRun, options: Options) -> list[str]:
    """Say what begins, where its orders go, how it ends and how to look at it meanwhile."""
    networks = {x.network for x in run.plan.exchanges.values()}
    where = " and ".join(text for network, text in _PLACES.items() if network in networks)
    of = "" if networks == {Network.SIM} else "the data of "
    what = f"signed orders to {where}" if run.options.signed else f"paper fills on {of}{where}"
    if run.options.signed and Network.LIVE in networks:
        what += ": real money"
    until = f"for {options.run_for}, or until Ctrl-C" if options.run_for else "until Ctrl-C"
    state = f" --state {options.state}" if options.state else ""
    look = ", ".join(f"`runner {each}{state}`" for each in ("status", "why", "top"))
    more = "; `--log info` tells of each trade here" if options.log > Level.INFO else ""
    return [
        f"{run.plan.name}: {run.run_id}, {what}, {until}",
        f"from another terminal: {look}{more}",
    ]


def _office(plan: Plan, options: Options, by_default: bool) -> Office | None:
    """Return who tells people; its secrets are read only then."""
    if not (by_default if options.notify is None else options.notify):
        return None
    secrets = credentials.reveal(references(plan.notify), credentials.of_environment(), _warn)
    return Office(plan.notify, secrets)


def _of_sources(plan: Plan, simulated: bool) -> dict[str, Secret]:
    """Return the secrets of the sources; with the simulator one that is not set is a stand-in."""
    wanted, environment = listening.references(plan), credentials.of_environment()
    absent = {p: r for p, r in wanted.items() if r.env and not environment.get(r.env, "").strip()}
    if not simulated:
        absent = {}
    given = {place: ref for place, ref in wanted.items() if place not in absent}
    secrets = credentials.reveal(given, environment, _warn)
    for place, ref in absent.items():
        _warn(f"{place}: {ref.env} is not set; with the simulator it is `{listening.STAND_IN}`")
        secrets[place] = Secret(listening.STAND_IN)
    return secrets


def _drive(run: LiveRun) -> Ending:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        ending = loop.run(run.run())
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # what is left is to write the report and to close
    return ending


def _report(
    run: LiveRun, folder: RunFolder, ending: Ending, options: Options, simulated: bool
) -> None:
    networks = {name: x.network.value for name, x in run.plan.exchanges.items()}
    market = SIMULATED if simulated else market_word(networks.values())
    kind = "start" if run.options.signed else "dry-run"
    facts = RunFacts(kind, run.run_id, market, networks, ending.code, ending.reason)
    write_report(run.parts, facts, folder, run.desk, options.json, run.listening)


def market_word(networks: Iterable[str]) -> str:
    """Return how a report calls the market of a run: live if any of it is, else each network."""
    names = sorted(set(networks))
    return "live" if "live" in names else " and ".join(names)


def write_report(
    parts: Parts,
    facts: RunFacts,
    folder: RunFolder,
    desk: PaperDesk | None,
    json: bool,
    doors: listening.Listening | None = None,
) -> None:
    """Build the report, keep it beside the run, print it."""
    engine = parts.engine
    report = build_report(
        parts.collector,
        facts,
        engine.funnels,
        evaluations=engine.evaluations,
        paper=desk,
        stories={rule: gather(engine, rule, decisions=False) for rule in parts.plan.rules},
        sources=listening.figures(engine, doors),
    )
    content = encode(report)
    path = folder.write_report(content)
    _print(content.decode() if json else f"{text(report)}\nreport: {path}\n")


def _print(text: str) -> None:
    """Print a result that is on file already; a terminal that is gone is no failure of the run."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit


def _warn(text: str) -> None:
    sys.stderr.write(redact(text) + "\n")
