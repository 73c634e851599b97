"""From a `History` event to what windows are warmed with: monotonic times, spans of funding."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from runner.engine.events import History
from runner.lang.warming import Past, PastRate
from runner.market.streams import whole_minutes


def past_of(event: History, streams: Mapping[str, Any]) -> Past:
    """Return the past in monotonic time; streams that the strategy does not have are left out."""
    to_mono = event.t - event.wall
    bars = {
        key: [(at + streams[key].every + to_mono, *values) for at, *values in rows]
        for key, rows in event.bars.items()
        if key in streams
    }
    funding = {
        f"{market}.funding": _spans(rows, to_mono)
        for market, rows in event.funding.items()
        if f"{market}.funding" in streams
    }
    return Past(event.closes, bars, funding)


def _spans(payments: list[tuple[int, float]], to_mono: int) -> list[PastRate]:
    """A payment's rate is that of the time before it, from the payment before on."""
    return [
        (before + to_mono, rate, whole_minutes(at - before))
        for (before, _), (at, rate) in pairwise(payments)
        if at > before
    ]
