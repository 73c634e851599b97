"""When drills happen: after what was read, once a millisecond, never again after a fault."""

from __future__ import annotations

import asyncio

from runner.app.drilling import EVERY, Drilling


def play(times: list[int], *, fails: bool = False) -> tuple[list[int], list[str]]:
    """Hear frames at these times, the loop coming round after each; return drills and words."""
    walked: list[int] = []
    told: list[str] = []

    async def run() -> None:
        def drill() -> None:
            walked.append(t)
            if fails:
                raise ZeroDivisionError("by nobody")

        drilling = Drilling(drill, told.append)
        for t in times:
            drilling.heard(t)
            assert t not in walked, "frames of the same read come first"
            await asyncio.sleep(0)

    asyncio.run(run())
    return walked, told


def test_it_happens_after_a_frame_and_at_most_once_a_millisecond() -> None:
    assert play([0, 10, EVERY - 1, EVERY, EVERY + 1, 7 * EVERY]) == ([0, EVERY, 7 * EVERY], [])


def test_a_drill_that_fails_is_told_and_was_the_last() -> None:
    walked, told = play([0, EVERY, 2 * EVERY], fails=True)
    assert walked == [0] and len(told) == 1
    assert told[0].startswith("drill: ZeroDivisionError: by nobody; entries may be slower")
