"""Broken at random, a strategy gives diagnostics or a plan, never an exception."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from runner.lang.render import as_json, as_text
from runner.spec import load

ROOT = Path(__file__).parents[2]
FILES = [*(ROOT / "strategies").glob("*.yaml"), *(ROOT / "tests" / "golden").glob("*.yaml")]
TEXTS = [f.read_text(encoding="utf-8") for f in sorted(FILES)]
WORDS = """{ } [ ] : , null 1 -1 0 true "x" ' *a &a 15bps 500 USDT BTC params.x bin.book bin.bid
this.cost entered( ( ) > and or not if else buy sell ema gap fill_price in 30m 14bars % e é << !
| # live custom 1e308 params sizing rules - 99999999999999999999""".split()
PIECES = re.compile(r"(\s+|[{}\[\],:()])")


def mutated(rng: random.Random) -> str:
    text = rng.choice(TEXTS)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        pieces = PIECES.split(text)
        at, other = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        match rng.randrange(4):
            case 0:
                pieces[at] = rng.choice(WORDS)
            case 1:
                pieces[at] = ""
            case 2:
                pieces[at], pieces[other] = pieces[other], pieces[at]
            case _:
                pieces.insert(at, rng.choice([*WORDS, "\n", "  ", "\t"]))
        text = "".join(pieces)
    return text


def hold(seed: int, runs: int) -> None:
    rng = random.Random(seed)
    for _ in range(runs):
        text = mutated(rng)
        checked = load(text, environ={})
        assert (checked.plan is None) == (checked.findings.errors > 0), text
        assert bool(as_text(checked)) == bool(checked.findings.items)
        assert as_json([checked]).startswith("{")


def test_four_hundred_mutations() -> None:
    hold(seed=1, runs=400)


@pytest.mark.campaign
def test_fifty_thousand_mutations() -> None:
    hold(seed=2, runs=50_000)
