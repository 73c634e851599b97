"""The simulator as a process: its first line, its control API, its end."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runner.sim.launch import Running, SimulatorFailed, launch
from runner.sim.main import Options, run
from runner.sim.simulation import make_key
from tests.patience import PATIENCE_S


def fetch(base: str, path: str) -> object:
    """GET a path and decode the answer."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=PATIENCE_S)
    connection.request("GET", path)
    value = json.loads(connection.getresponse().read())
    connection.close()
    return value


def gone(pid: int, seconds: float = PATIENCE_S) -> bool:
    """Tell whether a process ends within a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with Path(f"/proc/{pid}/stat").open() as stat:  # a zombie has ended too
                if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_it_tells_its_endpoints_serves_them_and_ends_with_the_block() -> None:
    with launch(seed=7) as sim:
        assert set(sim.endpoints) == {"binance_usdm", "bybit_linear", "binance_spot"}
        ends = sim.endpoints["binance_usdm"]
        assert {"rest", "public", "market", "private", "trade", "key", "secret"} == set(ends)
        assert fetch(ends["rest"], "/fapi/v1/ping") == {}
        assert all(url.split("://")[1].startswith("127.0.0.1:") for name, url in ends.items()
                   if name not in ("key", "secret"))  # fmt: skip
        pid = sim.pid
    assert gone(pid)


def test_keys_come_from_the_seed_and_differ_by_exchange() -> None:
    keys = {make_key(seed, name) for seed in (1, 2) for name in ("a", "b")}
    assert len({key.key for key in keys}) == len({key.secret for key in keys}) == 4
    assert make_key(1, "a") == make_key(1, "a")


def test_the_control_api_moves_clock_and_market_and_lists_faults() -> None:
    async def main() -> None:
        async with launch(seed=7, exchanges=["binance_usdm"], dislocations=False) as sim:
            assert set(sim.endpoints) == {"binance_usdm"}
            rest = sim.endpoints["binance_usdm"]["rest"]
            sim.clock(-60_000)
            then = fetch(rest, "/fapi/v1/time")
            assert isinstance(then, dict)
            assert then["serverTime"] == pytest.approx(time.time() * 1000 - 60_000, abs=20_000)
            key = sim.fault("429", route="GET *depth", exchange="binance_usdm")
            assert sim.faults()[key]["name"] == "429"
            sim.clear()
            assert sim.faults() == {}
            before = _bid(sim)
            sim.market({"exchange": "binance_usdm", "symbol": "BTCUSDT", "move_bps": 50,
                        "for_s": 60})  # fmt: skip
            async with asyncio.timeout(PATIENCE_S):
                while _bid(sim) / before != pytest.approx(1.005, abs=0.0005):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert sim.ledger()["binance_usdm"]["balances"] == {"USDT": "10000.00000000"}
            assert sim.orders("nobody") == {"binance_usdm": []}

    asyncio.run(main())


def test_what_another_hand_does_is_on_the_account_and_in_the_ledger() -> None:
    with launch(exchanges=["bybit_linear"], dislocations=False, balance=500) as sim:
        line = {"exchange": "bybit_linear", "symbol": "BTCUSDT"}
        sim.market(line | {"trade": "-0.01"})
        ledger = sim.ledger()["bybit_linear"]
        assert ledger["positions"]["BTCUSDT"]["qty"] == "-0.010"
        assert ledger["orders"]["web-1"][0]["status"] == "filled"
        paid = sum(float(fill["fee"]) for fill in ledger["fills"])
        assert float(ledger["balances"]["USDT"]) == pytest.approx(500 - paid)
        for bad in ({"trade": "much"}, {"trade": "5"}, {"cancel": "web-1"}):
            with pytest.raises(SimulatorFailed, match=r"no quantity|refused: margin|no open order"):
                sim.market(line | bad)


def _bid(sim: Running) -> float:
    rest = sim.endpoints["binance_usdm"]["rest"]
    top = fetch(rest, "/fapi/v1/ticker/bookTicker?symbol=BTCUSDT")
    assert isinstance(top, dict)
    return float(top["bidPrice"])


def test_the_control_api_refuses_what_it_does_not_know() -> None:
    with launch(exchanges=["bybit_linear"]) as sim:
        with pytest.raises(SimulatorFailed, match="earthquake"):
            sim.fault("earthquake")
        with pytest.raises(SimulatorFailed, match="no exchange"):
            sim.market({"exchange": "mtgox", "symbol": "BTCUSDT"})
        with pytest.raises(SimulatorFailed, match="no symbol"):
            sim.market({"exchange": "bybit_linear", "symbol": "DOGEUSDT"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    starter = launch(exchanges=["binance_spot"])
    sim = starter.start()
    os.kill(sim.pid, number)
    assert gone(sim.pid)
    assert starter.stop() == 0


def test_it_ends_when_its_parent_is_killed() -> None:
    text = (
        "from runner.sim.launch import launch; import time\n"
        "print(launch(exchanges=['binance_spot']).start().pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert gone(pid)


def test_a_fault_on_the_command_line_that_does_not_exist_is_one_clear_message() -> None:
    argv = [sys.executable, "-m", "runner.sim", "--fault", '{"name": "earthquake"}']
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert "earthquake" in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(Options(port=port, exchanges=("binance_spot",))) == 3
    assert f"--port {port}" in capsys.readouterr().err
