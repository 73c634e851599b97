"""The process that is late or takes too much, and the address that is shut out, pause (R-39)."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from runner.app.health import CALM, LATE, LEAST_LEFT, MOST_OWN, Health, Memory, read_memory
from runner.app.readiness import READ_AFTER_BAN, BanHold
from runner.base.clock import NS_PER_S, VirtualClock
from runner.engine.events import Host
from runner.net.http import HttpResponse
from runner.sim.launch import launch
from tests.app.linklab import BINANCE, PICTURE
from tests.app.linklab import Lab as Link
from tests.app.simlab import TYPES, Lab


class Told:
    """What the engine was told, and the memory that is found."""

    def __init__(self) -> None:
        self.clock = VirtualClock(NS_PER_S)
        self.memory = Memory(own=1 << 28, left=1 << 30)
        self.said: list[tuple[str, str, bool]] = []
        self.health = Health(self.clock, self.tell, lambda: self.memory)

    def tell(self, fault: str, text: str, ok: bool = False) -> None:
        self.said.append((fault, text, ok))

    def look(self, late: int = 0, after: int = NS_PER_S) -> None:
        self.clock.advance(after)
        self.health.look(late)


def test_a_late_loop_is_told_once_and_well_again_when_it_was_calm() -> None:
    told = Told()
    told.look(LATE)
    assert told.said == []
    told.look(LATE + 1)
    told.look(3 * LATE)
    assert told.said == [("loop", "the loop was late by 2000ms", False)]
    told.look(after=CALM - 1)
    assert len(told.said) == 1
    told.look(after=1)
    assert told.said[1:] == [("loop", "", True)]
    told.look(LATE + 1)
    assert len(told.said) == 3, "the next time is told anew"


@pytest.mark.parametrize(
    ("memory", "says"),
    [
        (Memory(MOST_OWN + 1, None), "this process takes 2048 MiB of memory / 2048 MiB"),
        (Memory(None, LEAST_LEFT - 1), "63 MiB of memory are left / 64 MiB"),
        (Memory(MOST_OWN, LEAST_LEFT), ""),
        (Memory(None, None), ""),
    ],
)
def test_memory_beyond_its_limits_is_told(memory: Memory, says: str) -> None:
    told = Told()
    told.memory = memory
    told.look()
    assert [text for _, text, _ in told.said] == ([says] if says else [])
    told.memory = Memory(1, 1 << 40)
    told.look(after=CALM)
    assert told.said[1:] == ([("memory", "", True)] if says else [])


def test_what_is_left_is_the_less_of_machine_and_group(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "statm").write_text("9000 1000 500 1 0 800 0\n")
    (tmp_path / "meminfo").write_text("MemTotal: 4000 kB\nMemAvailable:    2000 kB\n")
    assert read_memory(tmp_path, tmp_path) == Memory(1000 * 4096, 2000 << 10)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900000\n")
    assert read_memory(tmp_path, tmp_path).left == 2000 << 10
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.stat").write_text("anon 7\ninactive_file 5000\nactive_file 1000\n")
    assert read_memory(tmp_path, tmp_path).left == 106_000
    assert read_memory(tmp_path / "nowhere", tmp_path / "nowhere") == Memory(None, None)


def test_a_ban_holds_until_it_is_over_and_the_account_was_read_twice() -> None:
    hold = BanHold()
    assert not hold.pictured(0)
    assert hold.begin(10) and not hold.begin(20)
    assert [hold.pictured(t) for t in (15, 20)] == [False, False]
    assert not hold.begin(30), "shut out again: the readings count anew"
    assert [hold.pictured(t) for t in (30, 31)] == [False, True] and READ_AFTER_BAN == 2
    assert not hold.on and hold.begin(50)


def test_a_418_is_told_at_once_and_its_end_after_two_pictures() -> None:
    async def play() -> Link:
        link = Link(BINANCE)
        async with link.running():
            whole = link.http.says[PICTURE[BINANCE]]
            link.http.says[PICTURE[BINANCE]] = HttpResponse(418, {"Retry-After": "2"}, b"{}")
            link.link.reconcile()
            await link.until(lambda: bool(faults(link)))
            link.http.says[PICTURE[BINANCE]] = whole
            assert [(f.fault, f.ok) for f in faults(link)] == [("ban:x", False)]
            assert "HTTP 418" in faults(link)[0].text
            link.clock.advance(3 * NS_PER_S)
            await link.until(lambda: len(faults(link)) > 1)
        return link

    link = asyncio.run(play())
    assert [(f.fault, f.ok) for f in faults(link)] == [("ban:x", False), ("ban:x", True)]


def faults(link: Link) -> list[Host]:
    return [event for event in link.events if isinstance(event, Host)]


def test_the_running_program_pauses_when_it_was_stopped(tmp_path: Path) -> None:
    with launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100, leverage=2
    ) as sim:
        lab = Lab(sim, tmp_path, hold="60s", on_stop="flatten")
        with lab.running() as child:
            lab.until_trading(child)
            child.send_signal(signal.SIGSTOP)
            time.sleep(LATE / NS_PER_S + 0.5)  # it is the time that passes for the process
            child.send_signal(signal.SIGCONT)
            lab.until(child, "late", lambda s: s["state"] == "paused" and "late" in s["reason"])
            assert lab.ask("resume")["ok"]
            lab.until(child, "resumed", lambda s: s["state"] == "active")
            assert lab.stop(child)[0] == 0
