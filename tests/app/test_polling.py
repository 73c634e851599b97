"""When the loop stays awake: after frames that came close together, and for a moment only."""

from __future__ import annotations

import asyncio

from runner.app.polling import NEAR, Polling


class Time:
    """A clock that goes on by `step` at each look."""

    def __init__(self, step: int) -> None:
        self.now = 0
        self.step = step
        self.looks = 0

    def mono(self) -> int:
        self.looks += 1
        self.now += self.step
        return self.now


def looks(times: list[list[int]], *, cores: int = 2, rounds: int = 50) -> list[int]:
    """Hear the frames of each read, then let the loop go round; a round takes a tenth of `NEAR`.

    Return how often the clock was looked at after each read: once a round, while it is awake.
    """
    found = []

    async def run() -> None:
        clock = Time(NEAR // 10)
        polling = Polling(clock.mono, cores)
        for read in times:
            clock.now, clock.looks = read[0], 0
            for t in read:
                polling.heard(t)
            for _ in range(rounds):
                await asyncio.sleep(0)
            found.append(clock.looks)

    asyncio.run(run())
    return found


def test_near_is_a_matter_of_microseconds() -> None:
    """With 500 ms, which it once was, a quiet market keeps a core busy for ever."""
    assert 200_000 <= NEAR <= 1_000_000


def test_it_stays_awake_after_frames_that_came_near_each_other_and_no_longer() -> None:
    assert looks([[0], [NEAR // 2], [3 * NEAR]]) == [1, 10, 1]


def test_frames_of_one_read_are_one() -> None:
    assert looks([[0, 10, 20], [5 * NEAR, 5 * NEAR + 30]]) == [1, 1]


def test_frames_that_go_on_coming_near_keep_one_watch_not_several() -> None:
    reads = [[n * NEAR // 2] for n in range(6)]
    assert looks(reads, rounds=4) == [1, 4, 4, 4, 4, 4], "heard while it is awake"


def test_a_lone_core_is_left_to_others() -> None:
    assert looks([[0], [NEAR // 2]], cores=1) == [0, 0]
