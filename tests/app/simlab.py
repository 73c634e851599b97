"""Runs of the real program, as a process, against a simulator that outlives them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.app.control import ask
from runner.base.errors import WorldError
from runner.sim.launch import Running
from tests.inprocess import called
from tests.patience import PATIENCE_S

CHILDREN: list[subprocess.Popen[str]] = []
"""processes of the test under way; `conftest.py` ends those that it left"""
TYPES = {"bin": "binance_usdm", "byb": "bybit_linear"}
CHURN = """
version: 1
name: churn
about: Enters at once, leaves after a moment, again and again; for tests of restarts.
exchanges:
{exchanges}
markets:
  bin: {{exchange: bin, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
  byb: {{exchange: byb, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
rules:
  churn:
    when: gap({first}.bid, {second}.ask) > -10%
    max_skew: 2s
    until: this.age > {hold}
    cooldown: 100ms
    trade:
      size: 300 USDT
      legs:
        - {{market: {first}, side: sell, order: {{type: limit, tif: ioc, collar: 20bps}}}}
        - {{market: {second}, side: buy, order: {{type: limit, tif: ioc, collar: 20bps}}}}
      hedge: {{policy: together, max_gap: 0.002 BTC, repair: cheaper, repair_within: 2s,
              worst: 90bps, on_failure: flatten}}
      close: {{tif: ioc, collar: 20bps, retry: 250ms, worst: 90bps, then: market}}
run: {{on_stop: {on_stop}, stop_within: {within}}}
risk:
  max_order: 600 USDT
  max_position: {{bin: 0.05 BTC, byb: 0.05 BTC}}
  max_daily_loss: {{amount: 1000 USDT, day: "{day}"}}
  max_orders: {{count: 1000, per: 1m}}
  max_firings: {{count: 1000, per: 1m}}
  price_collar: 5%
"""

RESTING = """
version: 1
name: churn
about: Rests one order below the market; for tests of cancels.
exchanges:
{exchanges}
markets:
  bin: {{exchange: bin, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
  byb: {{exchange: byb, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
rules:
  rest:
    when: {first}.ask > {second}.bid * 0.5
    order: {{market: {first}, side: buy, size: 300 USDT, type: limit, tif: gtc,
            price: "{first}.bid * 0.995"}}
run: {{on_stop: {on_stop}}}
risk:
  max_order: 600 USDT
  max_position: {{bin: 0.05 BTC, byb: 0.05 BTC}}
  max_daily_loss: {{amount: 1000 USDT, day: "{day}"}}
  max_orders: {{count: 1000, per: 1m}}
"""

QUOTING = """
version: 1
name: churn
about: Quotes on both exchanges and follows every frame; for tests of changes of orders.
exchanges:
{exchanges}
markets:
  bin: {{exchange: bin, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
  byb: {{exchange: byb, symbol: BTCUSDT, streams: {{book: {{max_age: 2s}}}}}}
rules:
  first: {{when: {first}.book.spread < 1%, quote: {{
    market: {first},
    bid: {{price: {first}.book.micro * (1 - 1bps), qty: 0.004 BTC}},
    ask: {{price: {first}.book.micro * (1 + 1bps), qty: 0.004 BTC}},
    requote: {{when_moved: 0.01bps, at_most_every: 300ms}}, unattended: true,
    inventory: {{limit: 0.02 BTC}}}}}}
  second: {{when: {second}.book.spread < 1%, quote: {{
    market: {second},
    bid: {{price: {second}.book.micro * (1 - 1bps), qty: 0.004 BTC}},
    ask: {{price: {second}.book.micro * (1 + 1bps), qty: 0.004 BTC}},
    requote: {{when_moved: 0.01bps, at_most_every: 300ms}}, unattended: true,
    inventory: {{limit: 0.02 BTC}}}}}}
run: {{on_stop: {on_stop}, stop_within: {within}}}
risk:
  max_order: 600 USDT
  max_position: {{bin: 0.05 BTC, byb: 0.05 BTC}}
  max_daily_loss: {{amount: 1000 USDT, day: "{day}"}}
  max_orders: {{count: 2000, per: 1m}}
  price_collar: 5%
"""


@dataclass
class Lab:
    """A strategy file, a state directory and a simulator."""

    sim: Running
    folder: Path
    first: str = "bin"
    second: str = "byb"
    on_stop: str = "cancel"
    within: str = "40s"
    hold: str = "300ms"
    day: str = "00:00 UTC"
    text: str = CHURN
    extra: str = ""
    """more keys of the first exchange"""
    environment: dict[str, str] = field(default_factory=dict)

    def write(self) -> Path:
        """Write the strategy with this simulator's endpoints; keys go by the environment."""
        exchanges = []
        for name, kind in TYPES.items():
            place = dict(self.sim.endpoints[kind])
            self.environment[f"{name.upper()}_KEY"] = place.pop("key")
            self.environment[f"{name.upper()}_SECRET"] = place.pop("secret")
            urls = ", ".join(f'{key}: "{url}"' for key, url in place.items() if key != "sapi")
            exchanges.append(
                f"  {name}: {{type: {kind}, network: custom, leverage: 2, endpoints: {{{urls}}}, "
                f"{self.extra if name == 'bin' else ''}"
                f"auth: {{key: {{env: {name.upper()}_KEY}}, "
                f"secret: {{env: {name.upper()}_SECRET}}}}}}"
            )
        path = self.folder / "churn.yaml"
        path.write_text(
            self.text.format(
                exchanges="\n".join(exchanges),
                first=self.first,
                second=self.second,
                on_stop=self.on_stop,
                within=self.within,
                hold=self.hold,
                day=self.day,
            )
        )
        return path

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of the program."""
        return [sys.executable, "-c", "from runner.cli.main import main; main()", *arguments]

    def env(self, crash: str = "") -> dict[str, str]:
        """Return an environment with the keys and nothing of the developer's."""
        inherited = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        runtime = {"XDG_STATE_HOME": str(self.folder / "xdg"), "RUNNER_CRASH": crash}
        return {**inherited, **runtime, **self.environment}

    def start(self, *extra: str, crash: str = "") -> subprocess.Popen[str]:
        """Start `runner start` on the strategy."""
        state = str(self.folder / "state")
        line = self.command("start", str(self.write()), "--state", state, "--json", *extra)
        return self._open(line, crash)

    def _open(self, line: list[str], crash: str = "") -> subprocess.Popen[str]:
        child = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env(crash)
        )
        CHILDREN.append(child)
        return child

    @contextmanager
    def running(self, *extra: str) -> Iterator[subprocess.Popen[str]]:
        """Start it for the length of a block; a test that fails leaves no process behind."""
        with _ended(self.start(*extra)) as child:
            yield child

    @contextmanager
    def spawn(self, line: list[str], crash: str = "") -> Iterator[subprocess.Popen[str]]:
        """Start any command line with the lab's environment, for the length of a block."""
        with _ended(self._open(line, crash)) as child:
            yield child

    def run(self, run_for: str, *extra: str, crash: str = "") -> tuple[int, dict[str, Any], str]:
        """Run for a while; return exit code, report and standard error."""
        child = self.start("--for", run_for, *extra, crash=crash)
        out, err = child.communicate(timeout=PATIENCE_S)
        return child.returncode, json.loads(out) if out.strip() else {}, err

    def operate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the operator's commands, in this process but with the lab's environment."""
        return called(*arguments, "--state", str(self.folder / "state"), environment=self.env())

    def ask(self, command: str, name: str = "churn", **fields: Any) -> dict[str, Any]:
        """Speak to the running strategy itself; {} when it does not listen (yet)."""
        for socket in (self.folder / "state" / name).glob("*.sock"):
            try:
                return ask(socket, command, PATIENCE_S, **fields)
            except WorldError:
                continue
        return {}

    def until_trading(
        self, child: subprocess.Popen[str], entries: int = 1, name: str = "churn"
    ) -> dict[str, Any]:
        """Wait until the running strategy has entered so often; return its status."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert child.poll() is None, child.stderr.read() if child.stderr else ""
            status = self.ask("status", name)
            if status and sum(rule["entries"] for rule in status["rules"].values()) >= entries:
                return status
            time.sleep(0.05)
        raise AssertionError("the strategy did not trade in time")

    def until(
        self,
        child: subprocess.Popen[str],
        what: str,
        true: Callable[[dict[str, Any]], bool],
        name: str = "churn",
    ) -> dict[str, Any]:
        """Wait until the running strategy's status is as wanted; return it."""
        deadline = time.monotonic() + PATIENCE_S
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            assert child.poll() is None, child.stderr.read() if child.stderr else ""
            status = self.ask("status", name)
            if status and true(status):
                return status
            time.sleep(0.05)
        raise AssertionError(f"not in time: {what}; {status}")

    def stop(
        self, child: subprocess.Popen[str], by: signal.Signals = signal.SIGTERM
    ) -> tuple[int, dict[str, Any], str]:
        """Send a signal and collect."""
        child.send_signal(by)
        out, err = child.communicate(timeout=PATIENCE_S)
        return child.returncode, json.loads(out) if out.strip() else {}, err

    def positions(self) -> dict[str, float]:
        """Return what the simulator holds, by exchange type, zeros left out."""
        ledger = self.sim.ledger()
        return {
            kind: float(held["qty"])
            for kind in TYPES.values()
            for held in ledger[kind]["positions"].values()
            if float(held["qty"])
        }

    def resting(self) -> int:
        """Return how many orders are open at the exchanges."""
        ledger = self.sim.ledger()
        return sum(
            order["status"] in ("new", "partially_filled", "open", "partial")
            for kind in TYPES.values()
            for orders in ledger[kind]["orders"].values()
            for order in orders
        )

    def doubled(self) -> list[str]:
        """Return client ids that were sent to an exchange as an order more than once."""
        found = []
        for kind in TYPES.values():
            for cid, requests in self.sim.ledger()[kind]["requests"].items():
                if sum(_places(each["route"]) for each in requests) > 1:
                    found.append(cid)
        return found


@contextmanager
def _ended(child: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End a process with the block, and close its pipes."""
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        if child.stdout is not None and not child.stdout.closed:
            child.communicate(timeout=PATIENCE_S)


def _places(route: str) -> bool:
    if any(word in route for word in ("amend", "modify", "cancel")):
        return False
    return "place" in route or "create" in route or route.startswith("POST")
