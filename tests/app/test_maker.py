"""The shipped maker on the simulator, over real sockets: it quotes, is filled, and leaves.

Its windows are made short, for nobody waits half a minute for them; the market is moved by hand.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.sim.launch import Running, launch
from tests.app.simlab import Lab
from tests.patience import PATIENCE_S

SHIPPED = (Path(__file__).parents[2] / "strategies" / "maker.yaml").read_text(encoding="utf-8")
QUICKER = {
    "moves: vol(btc.mid, 30s)": "moves: vol(btc.mid, 2s)",
    "vol(btc.mid, 10s)": "vol(btc.mid, 1s)",
    "for:   1s": "for:   100ms",
    "cooldown: 10s": "cooldown: 200ms",
}
SETS = ("fear=0", "calm=60bps", "wild=80bps", "panic=1000%", "age=1s")
KIND = "bybit_linear"


@pytest.fixture
def sim() -> Iterator[Running]:
    with launch(seed=7, exchanges=[KIND], dislocations=False, limit_factor=100) as running:
        yield running


def written(sim: Running, folder: Path) -> Path:
    """Write the shipped file, with short windows and the simulator's place."""
    text = SHIPPED.split("\ntests:")[0]
    for slow, quick in QUICKER.items():
        assert slow in text
        text = text.replace(slow, quick)
    urls = ", ".join(f'{k}: "{v}"' for k, v in sim.endpoints[KIND].items() if "://" in v)
    text, count = re.subn(r"network: testnet", f"network: custom, endpoints: {{{urls}}}", text)
    assert count == 1
    path = folder / "maker.yaml"
    path.write_text(text, encoding="utf-8")
    return path


class Watched:
    """A dry-run of it under way, and the market that is moved under it."""

    def __init__(self, lab: Lab, child: subprocess.Popen[str]) -> None:
        self.lab = lab
        self.child = child

    def until(self, what: str, true: Callable[[dict[str, Any]], bool]) -> None:
        self.lab.until(self.child, what, true, "maker-btc.paper")

    def moved(self, bps: float, for_s: float, exits: int) -> None:
        """Move the market until it has left so often; once suffices but for a busy machine."""
        deadline = time.monotonic() + PATIENCE_S
        due = 0.0
        while not gone(self.lab.ask("status", "maker-btc.paper"), exits):
            assert time.monotonic() < deadline and self.child.poll() is None
            if time.monotonic() >= due:
                move = {"exchange": KIND, "symbol": "BTCUSDT", "move_bps": bps, "for_s": for_s}
                self.lab.sim.market(move)
                due = time.monotonic() + for_s + 4
            time.sleep(0.05)


def quotes(status: dict[str, Any]) -> bool:
    return bool(status["rules"]["make"]["state"] == "active" and status["orders"]["open"] == 2)


def gone(status: dict[str, Any], exits: int) -> bool:
    left = bool(status) and status["rules"]["make"]["exits"] >= exits
    return left and not status["positions"]


def test_it_leaves_when_the_market_runs_and_when_its_inventory_is_old(
    sim: Running, tmp_path: Path
) -> None:
    lab, state = Lab(sim, tmp_path), str(tmp_path / "state")
    sets = [word for each in SETS for word in ("--set", each)]
    line = lab.command("dry-run", str(written(sim, tmp_path)), "--state", state, "--json", *sets)
    with lab.spawn(line) as child:
        run = Watched(lab, child)
        run.until("it quotes", quotes)
        run.moved(150, 1, exits=1)
        run.until("it quotes again", quotes)
        run.moved(10, 3, exits=2)
        code, report, err = lab.stop(child)
    assert code == 0, err
    assert report["positions"] == {} and report["kind"] == "dry-run"
    rule = report["rules"]["make"]
    assert rule["entries"] >= 2 and rule["exits"] >= 2 and rule["round_trips"] >= 1
    told = lab.operate("why", "make", "--last", "99", "--format", "json")
    decisions = json.loads(told.stdout)["decisions"]
    causes = {d["cause"] for d in decisions if d["after"] == "leaving"}
    assert any("sent" in d.get("path_us", {}) for d in decisions), "stage times outlive the run"
    assert causes >= {"until", "inventory max_age"}
    decided = next((tmp_path / "state").rglob("decisions.jsonl")).read_text()
    rows = (json.loads(line) for line in decided.splitlines())
    tifs = {row["tif"] for row in rows if row.get("purpose") == "close" and row["reduce_only"]}
    assert "ioc" in tifs, "what is old goes at once"
    # a machine too busy to be filled by the first move had nothing to take to the touch
    assert "post_only" in tifs or rule["round_trips"] < 2, "what has time rests"
