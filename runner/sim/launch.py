"""Start the simulator as a child process, for tests and for `--sim`.

    with launch(seed=7) as sim:              # or: async with launch(seed=7) as sim:
        sim.endpoints["binance_usdm"]["rest"]
        key = sim.fault("accepted_but_lost", exchange="bybit_linear", route="POST /v5/order/*")
        sim.clear(key)
        sim.ledger()["binance_usdm"]["positions"]

The child ends with the block, and also when this process dies.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import select
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

START_S = 20.0
STOP_S = 5.0


class SimulatorFailed(RuntimeError):
    """The simulator did not start, or its control API refused a request."""


@dataclass(slots=True)
class Running:
    """A simulator that runs: `endpoints[exchange type]` and the control API."""

    control: str
    endpoints: dict[str, dict[str, str]]
    pid: int

    def _call(self, method: str, path: str, value: Any = None) -> Any:
        """Ask the control API; blocks for about a millisecond."""
        connection = http.client.HTTPConnection(urlsplit(self.control).netloc, timeout=10)
        try:
            body = None if value is None else msgspec.json.encode(value)
            connection.request(method, path, body)
            answer = connection.getresponse()
            out = msgspec.json.decode(answer.read())
        finally:
            connection.close()
        if answer.status >= 400:
            raise SimulatorFailed(f"{method} {path}: {out}")
        return out

    def fault(
        self,
        name: str,
        *,
        exchange: str | None = None,
        route: str = "*",
        after: int = 0,
        count: int | None = None,
        seed: int = 0,
        **args: Any,
    ) -> str:
        """Add a fault; returns its id. Names and arguments: `runner.sim.faults.NAMES`."""
        spec = {"name": name, "exchange": exchange, "route": route, "after": after,
                "count": count, "seed": seed, "args": args}  # fmt: skip
        return str(self._call("POST", "/fault", spec)["id"])

    def faults(self) -> dict[str, dict[str, Any]]:
        """Return the active faults with their counts."""
        return dict(self._call("GET", "/fault"))

    def clear(self, key: str | None = None) -> None:
        """End one fault, or all."""
        for each in [key] if key is not None else list(self.faults()):
            self._call("DELETE", f"/fault/{each}")

    def ledger(self) -> dict[str, Any]:
        """Return requests, orders, fills, positions and balances of each exchange."""
        return dict(self._call("GET", "/ledger"))

    def orders(self, cid: str) -> dict[str, list[dict[str, Any]]]:
        """Return the orders each exchange holds under a client id."""
        return dict(self._call("GET", f"/orders?cid={quote(cid, safe='')}"))

    def clock(self, skew_ms: int) -> None:
        """Set the exchanges' clocks off the machine's."""
        self._call("POST", "/clock", {"skew_ms": skew_ms})

    def market(self, *script: dict[str, Any], dislocations: bool | None = None) -> None:
        """Run market script lines: {exchange, symbol, move_bps, for_s} or {exchange, funding}."""
        self._call("POST", "/market", {"script": list(script), "dislocations": dislocations})


class launch:
    """Start a simulator for the length of a `with` or `async with` block."""

    def __init__(
        self,
        seed: int = 7,
        exchanges: Iterable[str] = (),
        dislocations: bool = True,
        faults: Iterable[dict[str, Any]] = (),
        balance: int = 10_000,
        leverage: int = 20,
        limit_factor: int = 1,
    ) -> None:
        self._argv = [sys.executable, "-m", "runner.sim", "--seed", str(seed), "--with-parent"]
        self._argv += ["--balance", str(balance), "--leverage", str(leverage)]
        self._argv += ["--limit-factor", str(limit_factor)]
        for name in exchanges:
            self._argv += ["--exchange", name]
        for fault in faults:
            self._argv += ["--fault", msgspec.json.encode(fault).decode()]
        if not dislocations:
            self._argv.append("--quiet-market")
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> Running:
        """Start the child and wait for its first line. Raises SimulatorFailed."""
        # A group of its own: Ctrl-C must end the strategy first, and that in peace.
        child = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        )
        self._child = child
        line = _first_line(child)
        try:
            first = msgspec.json.decode(line)
        except msgspec.DecodeError:
            self.stop()
            raise SimulatorFailed(f"the simulator did not start: {line[:200]!r}") from None
        return Running(first["control"], first["exchanges"], child.pid)

    def stop(self) -> int:
        """End the child; returns its exit code."""
        child, self._child = self._child, None
        if child is None:
            return 0
        assert child.stdin is not None and child.stdout is not None
        child.terminate()
        try:
            code = child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        child.stdin.close()
        child.stdout.close()
        return code

    def __enter__(self) -> Running:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Running:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)


def _first_line(child: subprocess.Popen[bytes]) -> bytes:
    """Read up to the first newline, for at most START_S seconds."""
    assert child.stdout is not None
    descriptor = child.stdout.fileno()
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([descriptor], [], [], START_S)
        part = os.read(descriptor, 65536) if readable else b""
        if not part:
            break
        line += part
    return line
