"""R-37: the exchange cancels what rests when it has not heard from us, and only then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from runner.base.clock import NS_PER_S
from runner.base.errors import Down
from runner.engine.events import Readiness
from runner.sim.launch import Running, launch
from tests.app.linklab import BYBIT
from tests.app.linklab import Lab as LinkLab
from tests.app.simlab import RESTING, TYPES, Lab
from tests.patience import PATIENCE_S

PATH = "POST /fapi/v1/countdownCancelAll"


def counted(lab: LinkLab) -> list[tuple[str, str]]:
    """Return (symbol, ms) of every countdown that was asked for."""
    found = []
    for key, request in zip(lab.http.asked, lab.http.requests, strict=True):
        if key == PATH:
            query = dict(parse_qsl(urlsplit(request.url).query))
            found.append((query["symbol"], query["countdownTime"]))
    return found


def test_it_is_set_at_once_anew_every_thirty_seconds_and_off_at_the_end() -> None:
    async def run() -> None:
        lab = LinkLab(dead_man_ns=120 * NS_PER_S)
        async with lab.running():
            await lab.until(lambda: len(counted(lab)) == 1)
            lab.clock.advance(29 * NS_PER_S)
            await asyncio.sleep(0.12)
            assert counted(lab) == [("BTCUSDT", "120000")]
            lab.clock.advance(1 * NS_PER_S)
            await lab.until(lambda: len(counted(lab)) == 2)
            await lab.link.disarm()
            assert counted(lab)[2:] == [("BTCUSDT", "0")]
            lab.clock.advance(60 * NS_PER_S)
            await asyncio.sleep(0.12)
            assert len(counted(lab)) == 3, "it stays off"

    asyncio.run(run())


def test_what_cannot_be_set_is_told_once_and_tried_again() -> None:
    async def run() -> None:
        lab = LinkLab(dead_man_ns=120 * NS_PER_S)
        lab.http.says[PATH] = Down("502")
        async with lab.running():
            for times in (1, 2, 3):
                await lab.until(lambda times=times: len(counted(lab)) == times)  # type: ignore[misc]
                await lab.settle()
                lab.clock.advance(5 * NS_PER_S)
            assert sum("could not be set" in text for text in lab.notices) == 1
            lab.http.says[PATH] = "{}"
            await lab.until(lambda: len(counted(lab)) == 4)

    asyncio.run(run())


def test_it_runs_out_where_the_key_is_refused_and_is_set_again_after_that() -> None:
    async def run() -> None:
        lab = LinkLab(dead_man_ns=120 * NS_PER_S)
        async with lab.running():
            await lab.until(lambda: len(counted(lab)) == 1)
            lab.link._key_refused("the key lacks the permission")
            assert lab.link.readiness is Readiness.FROZEN
            lab.clock.advance(59 * NS_PER_S)
            await asyncio.sleep(0.12)
            assert len(counted(lab)) == 1, "it would keep alive what we may not cancel"
            lab.clock.advance(1 * NS_PER_S)
            await lab.until(lambda: lab.link.readiness is Readiness.READY)
            await lab.until(lambda: len(counted(lab)) == 2)

    asyncio.run(run())


@pytest.mark.parametrize("lab", [lambda: LinkLab(), lambda: LinkLab(BYBIT)])
def test_nobody_who_did_not_ask_has_one(lab: Callable[[], LinkLab]) -> None:
    async def run() -> None:
        made = lab()
        async with made.running():
            made.clock.advance(60 * NS_PER_S)
            await asyncio.sleep(0.12)
            await made.link.disarm()
            assert counted(made) == []

    asyncio.run(run())


@pytest.fixture
def sim() -> Iterator[Running]:
    with launch(seed=7, exchanges=list(TYPES.values()), dislocations=False) as running:
        yield running


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_after_a_kill_nothing_rests_and_after_a_stop_that_keeps_it_does(
    sim: Running, tmp_path: Path
) -> None:
    lab = Lab(sim, tmp_path, text=RESTING, on_stop="keep", extra="dead_man: 2s, ")
    with lab.running() as child:
        until(lambda: lab.resting() == 1)
        time.sleep(2.5)
        assert lab.resting() == 1, "while it lives the countdown never runs out"
        child.kill()
    until(lambda: lab.resting() == 0)

    with lab.running() as child:
        until(lambda: lab.resting() == 1)
        code, report, err = lab.stop(child)
    assert code == 0, (report, err)
    time.sleep(2.5)
    assert lab.resting() == 1, "`keep` leaves what rests, so the switch was turned off"
