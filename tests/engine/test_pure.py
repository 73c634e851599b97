"""The engine is pure: no clock, no I/O, no randomness, and no hash order in what it decides."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import runner.engine
from tests.patience import PATIENCE_S

HOME = Path(runner.engine.__file__).parent
ROOT = HOME.parents[1]
FOREIGN = {"asyncio", "os", "random", "secrets", "socket", "sqlite3", "threading", "time", "uuid"}
PLAY = """
import hashlib
from tests.engine.stage import arb_plan, btc, narrow, stage, usdt, widen
from runner.engine.events import Operator
from runner.engine.scenario import Fate
from runner.engine.timers import SECOND
s = stage(arb_plan(max_exposure={"all": usdt(2000), "binance": usdt(900), "BTC": usdt(2000)}))
for fate in (Fate.PARTIAL, Fate.UNKNOWN, Fate.REJECTED, Fate.LATE, Fate.LOST, Fate.FILLED):
    s.exchanges["bybit"].default = fate
    widen(s)
    s.run(8 * SECOND)
    narrow(s)
    s.run(8 * SECOND)
s.push(Operator(command="flatten"))
s.run(5 * SECOND)
print(hashlib.sha256(repr(s.log).encode()).hexdigest(), len(s.sent))
"""


def test_nothing_of_the_outer_world_is_imported() -> None:
    for path in HOME.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.split(".")[0] for name in names} & FOREIGN, path.name


def test_it_does_not_know_whether_fills_are_on_paper() -> None:
    for path in HOME.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for name in (getattr(node, "id", ""), getattr(node, "attr", "")):
                assert "paper" not in str(name), path.name


def test_two_processes_with_different_hash_seeds_decide_alike() -> None:
    seen = set()
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", PLAY],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
        )
        seen.add(done.stdout)
    (line,) = seen
    assert int(line.split()[1]) > 10
