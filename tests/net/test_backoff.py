"""Backoff and the budget of connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.base.rng import seeded
from runner.net.backoff import Backoff, ConnectionBudget


def test_delays_grow_to_ten_seconds_with_full_jitter_and_restart_on_reset() -> None:
    backoff = Backoff(seeded("backoff"))
    for n in range(40):
        assert 0 <= backoff.next() <= min(10.0, 0.1 * 2**n)
    late = [backoff.next() for _ in range(400)]
    assert min(late) < 1.0 and max(late) > 9.0, "the whole range is used"
    backoff.reset()
    assert backoff.next() <= 0.1


@given(
    st.integers(1, 6),
    st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=60),
)
def test_no_window_ever_holds_more_connections_than_the_limit(
    limit: int, pauses: list[float]
) -> None:
    budget, now, starts = ConnectionBudget(limit, window_s=5.0), 0.0, []
    for pause in pauses:
        now += pause
        wait = budget.book(now)
        assert wait >= 0
        starts.append(now + wait)
    assert starts == sorted(starts), "first come, first served"
    for start in starts:
        assert sum(start <= each < start + 5.0 - 1e-9 for each in starts) <= limit
