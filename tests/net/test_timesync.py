"""Time sync in virtual time: offset by the shortest round trip, and every trip of R-06."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from runner.base.clock import NS_PER_MS, NS_PER_S, SystemClock, VirtualClock
from runner.base.errors import Down
from runner.engine.events import ClockReading
from runner.net.timesync import TimeSync
from tests.patience import PATIENCE_S

MS = NS_PER_MS


class Exchange:
    """A clock `ahead` ns of ours, asked over a line with given delays there and back (ms)."""

    def __init__(self, ahead_ms: float, delays: Iterable[tuple[float, float]] = ()) -> None:
        self.clock = VirtualClock()
        self.ahead = int(ahead_ms * MS)
        self.delays = list(delays)
        self.asked = 0
        self.down = 0
        self.readings: list[ClockReading] = []
        self.sync = TimeSync("binance", self.ask, self.clock, self.readings.append)

    async def ask(self) -> int:
        self.asked += 1
        if self.down:
            self.down -= 1
            raise Down("GET /time: timeout")
        there, back = self.delays[self.asked % len(self.delays)] if self.delays else (2.0, 2.0)
        self.clock.advance(int(there * MS))
        stamp = self.clock.wall() + self.ahead
        self.clock.advance(int(back * MS))
        return stamp

    def measure(self) -> bool:
        return asyncio.run(self.sync.measure())


def test_the_shortest_round_trip_of_five_decides() -> None:
    exchange = Exchange(700, [(3, 90), (2, 2.5), (60, 3), (5, 5), (30, 30)])
    assert exchange.measure()
    (reading,) = exchange.readings
    assert exchange.asked == 5
    assert abs(reading.offset - 700 * MS) <= reading.uncertainty == int(2.25 * MS)
    assert reading.ok and exchange.sync.ok and exchange.sync.why == ""
    assert exchange.sync.now_ms() == (exchange.clock.wall() + reading.offset) // MS


def test_a_measurement_survives_some_failures_but_not_many() -> None:
    exchange = Exchange(0)
    exchange.down = 3
    assert exchange.measure()
    exchange.down = 4
    assert not exchange.measure()
    assert exchange.sync.ok, "the last measurement is young"
    assert "timeout" in exchange.sync.why


def test_before_the_first_measurement_nothing_is_ok() -> None:
    exchange = Exchange(0)
    exchange.down = 8
    assert not exchange.measure()
    assert not exchange.sync.ok and exchange.readings == []


@pytest.mark.parametrize(("one_way", "ok"), [(99.0, True), (101.0, False)])
def test_it_trips_when_the_uncertainty_exceeds_100_ms(one_way: float, ok: bool) -> None:
    exchange = Exchange(5, [(one_way, one_way)])
    exchange.measure()
    assert exchange.readings[-1].ok is ok


def test_an_uncertain_measurement_does_not_replace_a_good_offset() -> None:
    exchange = Exchange(5)
    exchange.measure()
    exchange.delays = [(10, 400)]
    exchange.measure()
    assert not exchange.sync.ok and "uncertain" in exchange.sync.why
    assert exchange.sync.offset == 5 * MS


@pytest.mark.parametrize("step_ms", [2000, -2000, 251, -251])
def test_a_step_of_the_exchange_trips_at_the_next_refresh_and_clears_when_stable(
    step_ms: int,
) -> None:
    exchange = Exchange(0)
    exchange.measure()
    exchange.ahead += step_ms * MS
    exchange.measure()
    assert [reading.ok for reading in exchange.readings] == [True, False]
    assert f"{step_ms:+d} ms" in exchange.sync.why
    assert exchange.sync._wanted.is_set(), "it asks again at once"
    exchange.measure()
    assert exchange.sync.ok
    assert exchange.sync.offset == step_ms * MS


def test_a_small_drift_does_not_trip() -> None:
    exchange = Exchange(0)
    for _ in range(10):
        exchange.ahead += 240 * MS
        exchange.measure()
    assert all(reading.ok for reading in exchange.readings)


def test_a_large_but_stable_offset_only_warns() -> None:
    exchange = Exchange(-6_000)
    exchange.measure()
    assert exchange.sync.ok and exchange.sync.why == "warning: the offset is -6.0 s"


def test_it_trips_when_the_last_good_measurement_is_older_than_five_minutes() -> None:
    exchange = Exchange(0)
    exchange.measure()
    exchange.clock.advance(300 * NS_PER_S)
    exchange.sync.look()
    assert exchange.sync.ok
    exchange.clock.advance(1)
    exchange.sync.look()
    exchange.sync.look()
    assert [reading.ok for reading in exchange.readings] == [True, False], "told once"


@pytest.mark.parametrize("step_s", [2, -2])
def test_a_step_of_our_own_wall_clock_trips_and_asks_at_once(step_s: int) -> None:
    exchange = Exchange(0)
    exchange.measure()
    mono, wall = exchange.clock.mono(), exchange.clock.wall()
    exchange.clock.set(mono + NS_PER_S, wall + (1 + step_s) * NS_PER_S)
    exchange.sync.look()
    assert not exchange.sync.ok and exchange.sync.why == "the local clock was set"
    assert exchange.sync._wanted.is_set()


def test_the_task_measures_at_once_and_again_when_asked() -> None:
    async def test() -> None:
        readings: list[ClockReading] = []
        clock = SystemClock()
        changed = asyncio.Event()

        async def ask() -> int:
            return clock.wall()

        def emit(reading: ClockReading) -> None:
            readings.append(reading)
            changed.set()

        sync = TimeSync("bybit", ask, clock, emit)
        task = asyncio.create_task(sync.run())
        async with asyncio.timeout(PATIENCE_S):
            await changed.wait()
            changed.clear()
            sync.again()
            await changed.wait()
        task.cancel()
        await asyncio.wait([task])
        assert len(readings) == 2 and all(reading.ok for reading in readings)

    asyncio.run(test())
